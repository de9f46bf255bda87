"""Untrusted text on a terminal: no escape sequence leaves the harness, whatever brought it."""

from __future__ import annotations

import ast
import os
import pty
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from harness.cli import display, main, printing
from harness.core.terminal import one_line, printable_lines
from harness.errors import JudgeError

ROOT = Path(__file__).parents[2]
HOSTILE = "evil\x1b]0;pwned\x07\x1b[31mRED\x1b[2K\x9b1A\u202e\x7f\x08"
OWN_PROTOCOL = {
    "harness/engines/vllm_worker.py",
    "harness/benchmarks/academic/worker.py",
    "harness/launchers/shard_entry.py",
    "harness/launchers/ray_workers.py",
}
"""Programs whose streams another process of the harness reads, or a log file holds."""


def is_safe(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in text)


def test_lines_and_tabs_stay_and_nothing_steers():
    assert printable_lines("a\tb\nc\n") == "a\tb\nc\n"
    assert is_safe(printable_lines(HOSTILE))
    assert is_safe(one_line(HOSTILE, limit=None))
    assert "pwned" in printable_lines(HOSTILE)


def test_only_colours_are_kept_where_the_harness_set_them():
    text = f"\x1b[1mbest\x1b[0m {HOSTILE.replace(chr(27) + '[31m', '')}\n"
    shown = printable_lines(text, colours=True)
    assert shown.startswith("\x1b[1mbest\x1b[0m evil ]0;pwned ")
    assert is_safe(shown.replace("\x1b[1m", "").replace("\x1b[0m", ""))


@pytest.mark.parametrize(
    "show",
    [
        printing.print_line,
        printing.print_text,
        printing.notify,
        lambda text: display.print_json({text: text}),
        lambda text: display.report_error(JudgeError(text)),
        lambda text: main.print_traceback(ValueError, ValueError(text), None),
        lambda text: main.print_warning(text, UserWarning, text, 1),
    ],
)
def test_whatever_prints_makes_it_printable(show, capsys):
    show(HOSTILE)
    shown = "".join(capsys.readouterr())
    assert "pwned" in shown
    assert is_safe(shown)


def test_a_run_named_by_an_attacker_does_not_reach_a_terminal(tmp_path):
    folder = tmp_path / "runs/train/x\x1b]0;pwned\x07"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "harness", "ls", "runs"]
    subprocess.run(command, cwd=tmp_path, stdout=follower, stderr=follower, check=True)
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert "pwned" in shown
    assert is_safe(shown.replace("\r", ""))


def calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


PRINTERS = ("print", "echo", "secho", "style", "rprint", "confirm", "prompt", "warn", "showwarning")


def test_nothing_else_prints():
    """Only `printing`, a rich console into a text, and `main` and a child for tracebacks print."""
    allowed = {
        "harness/cli/printing.py": {"typer.confirm", "typer.echo", "typer.secho"},
        "harness/cli/main.py": {"sys.stderr.write"},
        "harness/core/processes.py": {"sys.stderr.write"},
        "leaderboard/formats.py": {"console.print"},
    }
    for package in ("harness", "baselines", "leaderboard"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name in OWN_PROTOCOL:
                continue
            printing = {
                call
                for call in calls(path)
                if (call.rpartition(".")[2] in PRINTERS and not call.startswith("printing."))
                or call.startswith(("sys.stdout.w", "sys.stderr.w"))
            }
            assert printing <= allowed.get(name, set()), name


def test_a_log_line_of_a_library_is_printable_too(capsys):
    import logging

    main.make_logs_printable()
    logging.getLogger("some.library").warning("the server says %s", HOSTILE)
    shown = capsys.readouterr().err
    assert not shown or is_safe(shown)
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, HOSTILE, (), None)
    assert is_safe(logging.lastResort.format(record))


def test_a_warning_is_one_that_can_be_printed(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", main.print_warning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(HOSTILE, stacklevel=1)
    assert is_safe(capsys.readouterr().err)
