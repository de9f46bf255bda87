"""AlpacaEval 2.0's published length-controlled win rates, from the published annotations."""

import csv
import gzip
import json

import pytest

from harness.benchmarks.alpaca_eval import length_control
from harness.benchmarks.alpaca_eval.benchmark import AlpacaEval
from harness.statistics.length_control_glm import STRENGTHS, length_controlled_win_rate

MODELS = [
    "claude-2.1",
    "gemma-7b-it",
    "NullModel",
    "phi-2",
    "gpt-3.5-turbo-1106_concise",
    "vicuna-7b-v1.5",
    "FuseChat-Llama-3.1-8B-Instruct",
    "gpt4_1106_preview",
    "alpaca-7b_verbose",
]
BASELINE = "gpt4_1106_preview"
INCOMPLETE = ("phi-2", "alpaca-7b_verbose")
"""Models whose published figure uses the difficulties of the wrong instructions."""


@pytest.fixture(scope="module")
def published(shared):
    with open(shared / "assets/alpaca_eval/published.csv", newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def positions(shared):
    path = shared / "assets/alpaca_eval/alpaca_eval_gpt4_baseline.json"
    return {row["instruction"]: i for i, row in enumerate(json.loads(path.read_text()))}


@pytest.fixture(scope="module")
def gamed(shared):
    return length_control.read_gamed(shared / "assets/alpaca_eval/df_gamed.csv")


def annotations(shared, model):
    with gzip.open(shared / f"assets/alpaca_eval/annotations/{model}.json.gz", "rt") as file:
        return json.load(file)


@pytest.fixture
def fitted(shared, gamed, positions):
    """Return a function that fits annotations by row or by instruction, without an interval."""

    def fit(model, *, upstream, **options):
        rows = annotations(shared, model)
        items = [
            {
                "preference": None if row["preference"] is None else row["preference"] - 1,
                "length": len(row["output_2"]),
                "baseline_length": len(row["output_1"]),
            }
            for row in rows
        ]
        indices = range(len(rows)) if upstream else [positions[row["instruction"]] for row in rows]
        gamed_rows, difficulty = gamed
        judged = length_control.judged_rows(items, indices, difficulty)
        return length_controlled_win_rate(judged, gamed_rows, seed=0, rounds=0, **options)

    return fit


def strength(row):
    """Return the published C, rounded to the grid; None for the baseline, which is not fitted."""
    text = row["regularisation_C_published"]
    return min(STRENGTHS, key=lambda c: abs(c - float(text))) if text else None


@pytest.mark.parametrize("model", MODELS)
def test_at_the_published_c_the_published_figure_is_reproduced(fitted, published, model):
    row = published[model]
    fit = fitted(model, upstream=True, strength=strength(row))
    wanted = float(row["length_controlled_winrate"])
    assert fit.estimate.value == pytest.approx(wanted, abs=1e-5)
    if row["lc_standard_error"]:
        assert fit.published_error == pytest.approx(float(row["lc_standard_error"]), abs=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_by_instruction_only_figures_with_rows_missing_move(fitted, published, model):
    row = published[model]
    value = fitted(model, upstream=False, strength=strength(row)).estimate.value
    column = "lc_with_difficulty_by_instruction"
    assert bool(row[column]) is (model in INCOMPLETE)
    wanted = float(row[column] or row["length_controlled_winrate"])
    assert value == pytest.approx(wanted, abs=1e-3 if row[column] else 1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_at_the_chosen_c_the_figure_is_near(fitted, published, model):
    row = published[model]
    wanted = float(row["length_controlled_winrate"])
    fit = fitted(model, upstream=True, order="introsort")
    assert fit.estimate.value == pytest.approx(wanted, abs=0.16)
    own = fitted(model, upstream=False)
    wanted = float(row["lc_with_difficulty_by_instruction"] or wanted)
    assert own.estimate.value == pytest.approx(wanted, abs=0.16)


def scored(shared, model, **options):
    """Return the score of a model's published verdicts."""
    bench = AlpacaEval(sampling={}, assets=shared / "assets", scoring=options)
    path = shared / f"assets/alpaca_eval/annotations/{model}.json.gz"
    return bench.score(bench.read_verdicts(path))[0]


def test_a_score_has_the_figure_its_interval_and_its_constants(shared, published):
    score = scored(shared, "FuseChat-Llama-3.1-8B-Instruct")
    row, estimates = published["FuseChat-Llama-3.1-8B-Instruct"], score.estimates
    rate = estimates["length_controlled_win_rate"]
    assert rate.value == pytest.approx(float(row["length_controlled_winrate"]), abs=0.16)
    assert rate.low < rate.value < rate.high
    # the published error is the spread of fitted p between instructions, not that of the estimate
    assert rate.standard_error > 1.5 * estimates["lc_standard_error"].value
    notes = "\n".join(score.notes)
    assert "cross-validation chose C = 2.783; it would be" in notes
    assert "at C = 0.3594" in notes
    assert "at C = 21.54" in notes


def test_the_rows_of_a_model_without_some_are_matched_unless_upstream_is_asked_for(
    shared, published
):
    row = published["phi-2"]
    own = scored(shared, "phi-2").estimates["length_controlled_win_rate"]
    as_published = scored(shared, "phi-2", compat="upstream").estimates[
        "length_controlled_win_rate"
    ]
    wanted = float(row["lc_with_difficulty_by_instruction"])
    assert own.value == pytest.approx(wanted, abs=0.16)
    assert as_published.value == pytest.approx(float(row["length_controlled_winrate"]), abs=0.16)


def test_the_baseline_is_half_without_a_note(shared):
    score = scored(shared, BASELINE)
    assert score.estimates["length_controlled_win_rate"].value == 50
    assert score.estimates["lc_standard_error"].value == 0
    assert not any("chose C" in note for note in score.notes)
