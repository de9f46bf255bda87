"""`harness leaderboard` as it is typed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness import errors
from harness.cli.main import main

FORMATS = ("rich", "md", "latex", "csv", "json", "html", "svg")
PRINTED = """
import json, sys
from typer.testing import CliRunner
from harness.cli.main import app
done = [CliRunner().invoke(app, c, catch_exceptions=False) for c in json.loads(sys.argv[1])]
json.dump([d.stdout for d in done], sys.stdout)
"""


def leaderboard(cwd: Path, *arguments: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "harness", "leaderboard", *arguments),
        cwd=cwd,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def twenty(file, tmp_path) -> Path:
    """A workspace with twenty results of 805 prompts."""
    rng = random.Random(0)
    for i in range(20):
        file(f"method {i}", [min(1.0, rng.random() + i / 80) for _ in range(805)])
    return tmp_path


def test_a_table_is_printed_without_heavy_packages(twenty):
    """What makes it a table in a second: torch, pandas and matplotlib take seconds to import."""
    code = (
        "import sys; from typer.testing import CliRunner; from harness.cli.main import app; "
        "print(CliRunner().invoke(app, ['leaderboard']).stdout); "
        "print([n for n in ('torch', 'pandas', 'matplotlib', 'scipy.stats') if n in sys.modules])"
    )
    command = (sys.executable, "-c", code)
    process = subprocess.run(command, cwd=twenty, capture_output=True, text=True, check=True)
    assert "method 19" in process.stdout
    assert process.stdout.splitlines()[-1] == "[]"


def test_every_format_is_the_same_to_the_byte(twenty):
    asked = ("--published", "all", "--wide", "--baseline", "method 3")
    commands = [("leaderboard", "--format", form, *asked) for form in FORMATS]
    first, second = (
        json.loads(
            subprocess.run(
                (sys.executable, "-c", PRINTED, json.dumps(commands)),
                cwd=twenty,
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for seed in ("1", "4711")
    )
    for form, ours, theirs in zip(FORMATS, first, second, strict=True):
        assert ours == theirs, form
        assert "method 19" in ours.replace("&#160;", " "), form


def test_a_table_is_written_whole_printed_and_checked(twenty):
    process = leaderboard(
        twenty, "--format", "latex", "--sort", "-win_rate", "--to", "out/table.tex"
    )
    assert (process.returncode, process.stdout) == (0, "")
    checked = leaderboard(twenty, "--check", "out/table.tex", "--json")
    # 20 lines: a figure with its bounds, a mean length, n judged of n asked
    assert json.loads(checked.stdout) == {"tables": 1, "numbers": 20 * 6}
    path = twenty / "out" / "table.tex"
    path.write_text(path.read_text().replace("805 of 805", "804 of 805", 1))
    changed = leaderboard(twenty, "--check", "out/table.tex")
    assert changed.returncode == errors.CheckError.exit_code
    assert "804 is 805" in changed.stderr


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("--columns", "win_rte"), errors.ConfigError, "did you mean 'win_rate'?"),
        (("--bench", "toyy"), errors.ConfigError, "did you mean 'toy'?"),
        (("--baseline", "nobody"), errors.ConfigError, "no measured method called 'nobody'"),
        (("--paper", "inpoo"), errors.ConfigError, "did you mean 'inpo'?"),
        (("--template", "no.tex"), errors.InputError, "cannot read the template"),
        (("--check", "no.tex"), errors.InputError, "cannot read no.tex"),
        (("--to", "runs/results"), errors.StoreError, "cannot write"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(
    file, tmp_path, monkeypatch, capsys, arguments, kind, message
):
    file()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness", "leaderboard", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert stop.value.code == kind.exit_code, printed.err
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_result_without_verdicts_is_reported_of_beside_the_table(file, tmp_path):
    file("good")
    file("empty", score={"estimates": {}, "counts": {}, "items": [], "notes": []})
    process = leaderboard(tmp_path)
    assert "good" in process.stdout
    assert process.stderr == "toy/empty.json holds no verdicts and is left out\n"


def test_the_paper_is_printed_without_any_result(tmp_path):
    process = leaderboard(tmp_path, "--paper", "inpo")
    assert process.returncode == 0
    assert "42.6" in process.stdout
    assert not (tmp_path / "runs").exists()


def test_two_hundred_results_stand_beside_published_ones(file, tmp_path):
    rng = random.Random(1)
    for i in range(200):
        file(f"method {i:03}", [rng.random() for _ in range(805 - i % 3)])
    process = leaderboard(tmp_path, "--published", "all", "--format", "csv")
    assert process.stdout.count("method ") == 200
