"""The scripts of benchmarks/, each at its smallest size: what they measure, not how fast."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "benchmarks/RESULTS.md"
NO_SECTION = {"clock", "results", "simulation"}
SCRIPTS = sorted({p.stem for p in (ROOT / "benchmarks").glob("*.py")} - NO_SECTION)
TINY = ("--model", "tiny", "--pairs", "4", "--batch", "2", "--epochs", "2")
STEP = {"step", "anchors", "memory"}


@pytest.fixture(autouse=True)
def threads(monkeypatch) -> Iterator[None]:
    """Scripts set threads and variables for their own process: restore them."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    yield
    torch.set_num_threads(before)


def script(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


def run_script(name: str, directory: Path, *arguments: str) -> dict:
    """Run a script and return the figures that it writes."""
    file = directory / f"{name}.json"
    script(name).main([*arguments, "--json", str(file)])
    return json.loads(file.read_text())


def are_figures(figures: Mapping[str, float], names: set[str]) -> None:
    """Assert that figures have these names and are positive; memory growth may be zero."""
    assert set(figures) == names
    for name, value in figures.items():
        assert math.isfinite(value), name
        assert value > 0 or (value == 0 and name == "memory"), name


def test_theory(tmp_path):
    figures = run_script("theory", tmp_path, "--games", "5", "--iterations", "20", "--actions", "3")
    are_figures(figures, {"seconds", "iteration_nanoseconds", "product_nanoseconds", "ratio"})


def test_generation(tmp_path):
    figures = run_script(
        "generation", tmp_path, "--model", "tiny", "--sequences", "8", "--tokens", "4"
    )
    assert set(figures) == {"transformers' generate", "engine/transformers"}
    for row in figures.values():
        assert set(row) == {"tokens_per_second", "start_seconds", "against_generate"}
        assert row["start_seconds"] > 0
    assert figures["transformers' generate"]["against_generate"] == 1


def test_startup():
    startup = script("startup")
    commands = {name: c for name, c in startup.COMMANDS.items() if "trl" not in name}
    timings = startup.measured(commands, runs=1)
    assert list(timings) == ["python -c pass", "harness --help"]
    for figures in timings.values():
        are_figures(figures, {"seconds", "ours_to_it"})
    assert timings["harness --help"]["ours_to_it"] == 1


def test_demo(tmp_path):
    demo = script("demo")
    small = ("prompts.count=16", "policy.texts.count=192", "iterations=1")
    grading = ("count=8", "baseline.texts.count=192")
    figures = demo.measured(1, tmp_path, small, grading)
    metrics = {metric for bench, metric in figures if bench == "toy-weighted"}
    assert metrics == {"win_rate", "length_controlled_win_rate", "length"}
    assert all(len(by_method) == 3 for by_method in figures.values())


def test_the_demos_tables_by_hand():
    demo = script("demo")
    figures = {("toy", "win_rate"): {"a": [60.0, 62.0, 64.0], "b": [61.0, 60.0, 59.0]}}
    first, second = demo.table(figures)
    assert list(first.values()) == ["toy", "win_rate", "a", 62.0, 2.0, 60.0, 64.0, 3]
    assert second["standard deviation"] == 1.0
    (order,) = demo.orders(figures)
    assert (order["on"], order["of"], order["mean difference"]) == (2, 3, 2.0)


def test_oracles(tmp_path):
    figures = run_script("oracles", tmp_path, "--prompts", "1", "--samples", "2", "--rounds", "1")
    difference = figures.pop("largest_difference")
    are_figures(figures, {"packed_seconds", "padded_seconds", "times_as_fast"})
    assert 0 <= difference < 1e-4  # the two differ in the order of summation only


def test_coverage(tmp_path):
    rows = run_script("coverage", tmp_path, "--simulations", "3")
    assert {row["figure"] for row in rows} >= {"wins, 50 prompts", "weighted games, 80 prompts"}
    for row in rows:
        assert row["covered"] + row["above"] + row["below"] == pytest.approx(100)
        assert row.get("bootstrap alone", 0) <= row["covered"]  # never narrower


def test_arena(tmp_path):
    small = ("--simulations", "2", "--contestants", "3", "--prompts", "30", "--rounds", "30")
    tables = run_script("arena", tmp_path, *small, "--timed", "3")
    assert [row["truth"] for row in tables["coverage"]] == ["transitive", "cyclic", "mixed"]
    for row in tables["coverage"]:
        # two arenas of three pairs
        assert 6 * row["win rates"] / 100 == pytest.approx(round(6 * row["win rates"] / 100))
        assert row["rejected"] in (0, 50, 100)
    (timing,) = tables["speed"]
    are_figures(timing, {"contestants", "seconds"})


def test_power(tmp_path):
    tables = run_script("power", tmp_path, "--simulations", "3")
    assert set(tables) == {"power", "single runs"}
    for row in tables["power"]:
        # three data sets: none, one, two or all
        assert 3 * row["power in percent"] / 100 == pytest.approx(
            round(3 * row["power in percent"] / 100)
        )
        assert row["difference"] > 0


def test_budget(tmp_path):
    rows = run_script("budget", tmp_path, "--simulations", "1")
    assert len(rows) == 4
    for row in rows:
        assert (row["runs"], row["runs above"]) == (1, 0)
        assert 30 < row["least"] == row["most"] <= 100


def test_judging(tmp_path):
    small = ("--requests", "8", "--theirs", "4", "--latency", "0.05", "--concurrency", "4")
    ours, theirs = run_script("judging", tmp_path, *small).values()
    for figures in (ours, theirs):
        are_figures(figures, {"answers_a_second", "ideal", "share_of_ideal"})
    # 4 requests in flight, a reply takes 0.05 s; theirs are 5
    assert ours["ideal"] == pytest.approx(4 / 0.05)
    assert theirs["ideal"] == pytest.approx(5 / 0.05)
    assert ours["answers_a_second"] <= ours["ideal"]


def test_scoring(shared, tmp_path):
    timings = run_script("scoring", tmp_path, "--runs", "1", "--refits", "20")
    *rows, (name, refits) = timings.items()
    for _, figures in rows:
        are_figures(figures, {"ours", "theirs", "times"})
        assert figures["times"] == pytest.approx(figures["theirs"] / figures["ours"])
    assert len(rows) == 4
    assert name == "20 refits of the GLM"
    assert set(refits) == {"ours"}


def test_training_beside_trl():
    training = script("training")
    args = training.parsed([*TINY, "--rounds", "1"])
    timings = training.compared(args, ["tiny"])
    assert list(timings) == [("tiny", name) for name in training.CONTESTANTS]
    for figures in timings.values():
        are_figures(figures, STEP)
    rows = training.table(timings, ["tiny"])
    assert [row["figure"] for row in rows] == ["step", "anchors", "memory"]
    for row in rows:
        are_figures(
            {k: v for k, v in row.items() if "against" in k},
            {f"against {p}" for p in ("trl", "trl compact")},
        )
    ours, theirs = timings["tiny", "harness"], timings["tiny", "trl"]
    # for time the ratio is theirs to ours, for memory ours to theirs
    assert rows[0]["against trl"] == round(theirs["step"] / ours["step"], 3)
    assert rows[2]["against trl"] == round(ours["memory"] / theirs["memory"], 3)


@pytest.mark.parametrize("masters", ["bfloat16", "float32"])
def test_training_alone(tmp_path, masters):
    lean = ("--gradient-checkpointing", "--dtype", "bfloat16", "--masters", masters)
    figures = run_script("training", tmp_path, "--alone", *TINY, *lean, "--peak-tflops", "0.1")
    are_figures(figures, {*STEP, "tokens_per_second", "model_flop_utilisation"})
    # both divide by the same seconds: operations per token, relative to the peak
    training = script("training")
    model = training.MODELS["tiny"]
    pairs = training.drawn(4, model.vocabulary)
    tokens = sum(len(part) for pair in pairs for part in pair)
    work = sum(training.flops_of(model, *map(len, pair)) for pair in pairs)
    ratio = figures["model_flop_utilisation"] / figures["tokens_per_second"]
    assert ratio == pytest.approx(work / tokens / 0.1e12)


def test_the_operations_of_a_pair_by_hand():
    training = script("training")
    model = training.Model(hidden=4, layers=2, heads=2, key_heads=1, intermediate=8, vocabulary=10)
    # 48 + 96 weights a layer, 12 tokens; the head at 7; attention 12 × 2 × 4 operations for each
    # of (5 + 3)² / 2 + 4 × (5 + 2) pairs of tokens
    operations = training.flops_of(model, 5, 3, 4)
    assert operations == 6 * 144 * 2 * 12 + 6 * 40 * 7 + 96 * (32 + 28)


def test_a_whole_run(tmp_path):
    figures = run_script("training", tmp_path, "--iteration", "--prompts", "24", "--rounds", "1")
    seconds = figures["seconds"]
    are_figures(seconds, {"toy/inpo", "toy/iterative-dpo"})
    assert figures["ratio"] == pytest.approx(seconds["toy/inpo"] / seconds["toy/iterative-dpo"])


def test_figures_become_a_table_with_their_conditions(tmp_path):
    page, file = tmp_path / "RESULTS.md", tmp_path / "figures.json"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    rows = [{"model": "body", "must": 1.5, "aim": None}, {"model": "small", "must": 12345.6}]
    file.write_text(json.dumps({"table": rows, "least": {"a": {"seconds": 0.12345}}}))
    for _ in range(2):  # the second time replaces the first
        arguments = ["training", str(file), "--beside", "other work", "--page", str(page)]
        script("results").main(arguments)
    text = page.read_text("utf-8")
    conditions, *tables = re.search(
        r"<!-- measured: training -->\n\n(.*?)\n\n(.*?)\n\n(.*?)\n\n<!-- end -->", text, re.DOTALL
    ).groups()
    assert tables[0].splitlines() == [
        "| model | must | aim |",
        "| --- | ---: | ---: |",
        "| body | 1.5 |  |",
        "| small | 12,346 |  |",
    ]
    assert tables[1].splitlines()[2] == "| a | 0.123 |"
    assert f"torch {torch.__version__}" in conditions
    assert "other work beside it" in conditions
    assert text.count("## ") == PAGE.read_text("utf-8").count("## ")


def test_nested_figures_have_both_names():
    (rows,) = script("results").tables({"seconds": {"a": 2.0, "b": 1.0}, "ratio": 2.0})
    assert rows == [
        {"what": "seconds: a", "figure": 2.0},
        {"what": "seconds: b", "figure": 1.0},
        {"what": "ratio", "figure": 2.0},
    ]


def test_an_unknown_section_is_refused(tmp_path):
    file = tmp_path / "figures.json"
    file.write_text("{}")
    with pytest.raises(SystemExit, match="RESULTS.md has no section nothing: training, "):
        script("results").main(["nothing", str(file), "--beside", "nothing"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_has_its_section_and_the_commands_there_are_its_own(name):
    commands = re.findall(rf"python benchmarks/{name}\.py(.*)", PAGE.read_text("utf-8"))
    assert commands
    source = (ROOT / f"benchmarks/{name}.py").read_text("utf-8")
    if "simulation.run(" in source:
        source += (ROOT / "benchmarks/simulation.py").read_text("utf-8")
    for flag in re.findall(r"--[a-z-]+", " ".join(commands)):
        assert f'"{flag}"' in source
