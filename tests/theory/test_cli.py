"""`harness theory`: its tables, files and errors."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import ConfigError, HarnessError, InputError
from harness.theory import results
from harness.theory.results import (
    Curve,
    ExperimentResult,
    ResultTable,
    Subplot,
    format_cell,
    log_spaced_iterations,
)
from harness.types import Estimate

SMALL = ("--set", "iterations=10")


def run(tmp_path, *arguments: str):
    command = ("theory", "run", *arguments, "--workspace", str(tmp_path))
    return CliRunner().invoke(app, command, catch_exceptions=True)


def test_it_prints_a_table_and_writes_figures(tmp_path):
    done = run(tmp_path, "convergence", "--methods", "inpo,iterative-dpo", *SMALL)
    assert done.exit_code == 0, done.output
    assert "iterative DPO" in done.stdout
    names = {path.name for path in (tmp_path / "theory" / "convergence").iterdir()}
    assert names == {"convergence.svg", "convergence.pdf", "simplex.svg", "simplex.pdf"}


def test_json_has_the_figures_as_numbers(tmp_path):
    done = run(
        tmp_path, "ablation", "--json", "--set", "taus=[0.0, 0.1]", "--set", "game.games=5", *SMALL
    )
    (table,) = json.loads(done.stdout)
    assert [row["τ"] for row in table["rows"]] == ["0", "0.1"]
    assert table["rows"][0]["gap, last"]["value"] > 0


def test_a_game_comes_from_a_csv_file(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("0.5,0.9\n0.1,0.5\n")
    done = run(tmp_path, "convergence", "--game", str(path), "--methods", "inpo", *SMALL)
    assert "mine: 1 game" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("convergenc",), ConfigError, "did you mean 'convergence'?"),
        (("convergence", "--game", "comall"), ConfigError, "did you mean 'comal'?"),
        (("convergence", "--methods", "inpoo"), ConfigError, "did you mean 'inpo'?"),
        (("convergence", "--set", "tau=-0.1"), ConfigError, "tau: .* greater than 0"),
        (("ablation", "--set", "taus=[0.7]"), ConfigError, "tau must lie between 0 and eta"),
        (("regret", "--set", "ratios=[0.5]"), ConfigError, "greater than or equal to 1, got 0.5"),
        (
            ("convergence", "--set", "game.reference=[1.0, 0.0, 0.0]"),
            InputError,
            "gives action 1 the probability 0",
        ),
        (("selection", "--set", "samples=[2, 6]"), ConfigError, "a bracket needs 2, 4, 8"),
        (("convergence", "--game", "none.csv"), InputError, "none.csv"),
    ],
)
def test_invalid_arguments_are_an_error(tmp_path, arguments, kind, message):
    done = run(tmp_path, *arguments)
    assert isinstance(done.exception, HarnessError)
    assert isinstance(done.exception, kind)
    with pytest.raises(kind, match=message):
        raise done.exception


def test_figures_are_the_same_bytes_each_time(tmp_path):
    subplot = Subplot("a", "T", "gap", (Curve("one", [1, 10], [0.1, 0.01]),))
    result = ExperimentResult((ResultTable("t", ("a",), ()),), {"figure": (subplot, subplot)})
    first, second = (results.write_figures(result, tmp_path / name) for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_numbers_have_three_digits():
    assert format_cell(Estimate(0.12345, 0.1, 0.2)) == "0.123 [0.100, 0.200]"
    assert format_cell(3.2e-7) == "3.2e-07"
    assert format_cell(0.0) == "0.000"
    assert format_cell(1600.0) == "1600"
    assert log_spaced_iterations(30) == [1, 2, 3, 5, 10, 20, 30]
