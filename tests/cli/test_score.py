"""`harness score`, `verify`, `import` and `export`, as a user would type them."""

import json

import pytest
from typer.testing import CliRunner

from harness.api import components
from harness.cli.main import app
from harness.errors import CheckError, ConfigError, InputError


@pytest.fixture
def run(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_ASSETS", str(shared / "assets"))
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "runs"))

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return invoke


@pytest.fixture
def annotations(shared):
    return shared / "assets/alpaca_eval/annotations/claude-2.1.json.gz"


@pytest.fixture
def battles(shared):
    return shared / "assets/arena_hard_v0.1/battles/dw_0815.jsonl.gz"


def test_annotations_are_scored(run, annotations):
    shown = run("score", "alpaca-eval", annotations, "--set", "score.rounds=20")
    assert "win_rate 15.73" in shown
    assert "length_controlled_win_rate 25.25" in shown
    assert "asked 805  judged 805  unparsed 0" in shown
    (data,) = json.loads(
        run("score", "alpaca-eval", annotations, "--set", "score.C=0.3594", "--json")
    )
    assert data["score"]["details"]["length_controlled_win_rate"]["C"] == 0.3594
    assert "items" not in data["score"] or data["score"]["items"] == []


def test_battles_are_scored_as_upstream_where_that_is_asked_for(run, battles):
    scores = json.loads(run("score", "arena-hard", battles, "--compat", "upstream", "--json"))
    rates = {row["label"]: row["score"]["estimates"]["win_rate"] for row in scores}
    assert rates["llama3_70b"] == {
        "value": 52.88,
        "low": 50.03,
        "high": 55.02,
        "standard_error": None,
    }
    shown = run("score", "arena-hard", battles, "--label", "llama3_70b")
    assert shown.startswith("llama3_70b on arena-hard")
    with pytest.raises(InputError, match="no contestant called 'x'"):
        run("score", "arena-hard", battles, "--label", "x")


def test_everything_published_is_verified(run):
    by_benchmark = json.loads(run("verify", "--json"))
    assert set(by_benchmark) >= {"alpaca-eval", "arena-hard"}
    figures = [figure for rows in by_benchmark.values() for figure in rows]
    assert len(figures) >= 94 + 75
    assert all(figure["holds"] for figure in figures)
    shown = run("verify", "arena-hard")
    assert shown.startswith("arena-hard: 75 of 75 as published")


def test_a_benchmark_without_protocol_data_does_not_mind_a_folder_with_some(shared, monkeypatch):
    monkeypatch.setenv("HARNESS_ASSETS", "elsewhere")  # so that it is as before afterwards
    assert (
        components.build_judged_benchmark("toy-labels", [], shared / "assets", None).name
        == "toy-labels"
    )
    benchmark = components.build_judged_benchmark("mt-bench", [], shared / "assets", None)
    assert len(benchmark.prompts()) == 80


def test_a_figure_that_is_not_as_published_is_an_error(run, shared, tmp_path, monkeypatch):
    copied = tmp_path / "assets"
    copied.mkdir()
    for entry in (shared / "assets").iterdir():
        if entry.name != "arena_hard_v0.1":
            (copied / entry.name).symlink_to(entry)
    folder = copied / "arena_hard_v0.1"
    (folder / "battles").mkdir(parents=True)
    source = shared / "assets/arena_hard_v0.1/battles"
    (folder / "battles/dw_0815.jsonl.gz").symlink_to(source / "dw_0815.jsonl.gz")
    table = (source / "dw_0815.csv").read_text().replace("52.88", "53.88")
    (folder / "battles/dw_0815.csv").write_text(table)
    with pytest.raises(
        CheckError, match=r"1 figures differ from the published ones: .*llama3_70b score"
    ):
        run("verify", "arena-hard", "--assets", copied)


def test_what_was_never_published_cannot_be_verified(run):
    with pytest.raises(ConfigError, match="toy-labels has no published figures"):
        run("verify", "toy-labels")


def test_results_come_in_and_go_out(run, battles, tmp_path):
    filed = run("import", "arena-hard", battles, "--label", "llama3_70b").split()
    assert filed[0].endswith("results/arena-hard/llama3_70b.json")
    written = run("export", "arena-hard", "llama3_70b", "--to", tmp_path / "out").split()
    assert str(tmp_path / "out/arena_hard_battles.jsonl") in written
    shown = run("score", "arena-hard", tmp_path / "out/arena_hard_battles.jsonl")
    assert "win_rate 52.88" in shown
    assert "llama3_70b" in run("leaderboard", "--format", "csv")
