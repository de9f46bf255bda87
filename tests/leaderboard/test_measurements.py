"""Results become rows: schemas, runs, and everything that can be wrong with a file."""

from __future__ import annotations

import json

import pytest

from harness.core.hardware import CPU
from harness.core.workspace import results
from harness.errors import StoreError
from leaderboard.builder import TableOptions, build_tables
from leaderboard.measurements import read_rows
from leaderboard.significance import prompt_scores
from tests.leaderboard.conftest import run_record, usage


def test_a_row_tells_what_its_result_tells(file, runs):
    file("INPO", truncated=0.25, usage=usage(12.5))
    (row,) = read_rows(runs).rows
    assert (row.judged_count, row.prompt_count, row.mean_length) == (4, 4, 31.25)
    assert (row.tokens, row.truncated, row.dollars) == (10.0, 0.25, 12.5)
    assert row.source == "toy/INPO.json"
    assert row.versions == {"preference-harness": "0.1.0"}


def test_hours_are_summed_over_training_and_answering_by_what_was_computed_on(file, runs):
    file("INPO", hours={"training": {"H100": 3.5, CPU: 0.25}, "answering": {"H100": 0.5}})
    file("small", hours={"training": {CPU: 0.25}, "answering": {CPU: 0.5}})
    file("elsewhere")
    hours = {row.label: (row.gpu_hours, row.cpu_hours) for row in read_rows(runs).rows}
    # 3.5 + 0.5 on the GPU; a result without hours has none, which is not zero
    assert hours == {"INPO": (4.0, 0.25), "small": (None, 0.75), "elsewhere": (None, None)}


@pytest.mark.parametrize(
    "hours", [{"training": {"H100": -1}}, {"training": 3}, {"training": {"": "x"}}]
)
def test_hours_that_are_none_are_damage(file, runs, hours):
    file(hours=hours)
    with pytest.raises(StoreError, match=r"INPO\.json is damaged"):
        read_rows(runs)


def test_the_run_that_a_result_names_is_not_guessed(file, runs):
    run = {"name": "sweep/7", "method": "INPO", "iteration": 2, "base": "sft"}
    file("best of sweep", run=run)
    (row,) = read_rows(runs).rows
    assert (row.run, row.method, row.iteration, row.base) == ("sweep/7", "INPO", 2, "sft")


def test_an_alpaca_eval_annotator_is_the_model_that_it_asks(file, runs):
    file(judges_served=["weighted_alpaca_eval_gpt4_turbo"])
    assert read_rows(runs).rows[0].judge == "gpt-4-1106-preview"


def test_runs_tell_base_method_and_iteration(file, runs):
    (runs / "train" / "toy" / "inpo").mkdir(parents=True)
    record = run_record("toy/inpo", "INPO", ["0", "1", "2"], "sft")
    (runs / "train" / "toy" / "inpo" / "run.json").write_text(record)
    for label in ("INPO", "INPO (iteration 1)", "sft", "elsewhere"):
        file(label)
    rows = {row.label: (row.base, row.iteration, row.run) for row in read_rows(runs).rows}
    assert rows == {
        "INPO": ("sft", 2, "toy/inpo"),
        "INPO (iteration 1)": ("sft", 1, "toy/inpo"),
        "sft": ("sft", 0, ""),
        "elsewhere": ("", None, ""),
    }


def test_an_empty_workspace_says_what_to_run(tmp_path):
    with pytest.raises(StoreError, match="run `harness demo` or `harness eval` first"):
        read_rows(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"score": {}}', '{"schema": "x"}'])
def test_a_damaged_result_is_named(file, runs, text):
    file().write_text(text)
    with pytest.raises(StoreError, match=r"INPO\.json is damaged"):
        read_rows(runs)


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"60"'])
def test_a_figure_that_is_none_is_damage(file, runs, value):
    path = file()
    path.write_text(path.read_text().replace('"value": 60.0', f'"value": {value}'))
    with pytest.raises(StoreError, match=r"INPO\.json is damaged"):
        read_rows(runs)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"preference": "x", "prompt_id": "1"}]'])
def test_damaged_items_are_named(file, runs, text):
    file("a")
    (file("b").with_suffix("") / "items.json").write_text(text)
    with pytest.raises(StoreError, match=r"b/items\.json is damaged"):
        build_tables(runs, TableOptions())


def test_a_result_of_the_first_schema_is_read_with_what_it_tells(file, runs):
    path = file()
    data = json.loads(path.read_text())
    for key in ("schema", "baseline", "truncated", "sources", "generation", "judge_settings"):
        del data[key]
    path.write_text(json.dumps(data))
    (row,) = read_rows(runs).rows
    assert (row.baseline, row.truncated, row.tokens) == ("", None, None)


def test_a_result_of_the_third_schema_is_read_by_its_old_keys(file, runs):
    hours = {"training": {"processor": 0.25, "H100": 1.0}}
    settings = {"temperature": 0}
    path = file(hours=hours, judge_settings=settings, usage=usage(1.5), schema=3)
    data = json.loads(path.read_text())
    for old, new in results.RENAMED_KEYS.items():
        data[old] = data.pop(new)
    for old, new in results.RENAMED_COUNTS.items():
        for counts in (data["bill"], data["score"]["counts"]):
            counts[old] = counts.pop(new)
    path.write_text(json.dumps(data))
    (row,) = read_rows(runs).rows
    assert (row.tokens, row.dollars, row.judge_settings) == (10.0, 1.5, settings)
    # hours without an accelerator are not GPU hours
    assert (row.gpu_hours, row.cpu_hours) == (1.0, 0.25)


@pytest.mark.parametrize(("schema", "is_kept"), [(2, False), (3, True)])
def test_style_controlled_figures_of_an_older_version_share_no_column(file, runs, schema, is_kept):
    path = file(schema=schema)
    data = json.loads(path.read_text())
    data["score"]["estimates"]["hard_prompt_style_controlled_win_rate"] = {"value": 50.0}
    path.write_text(json.dumps(data))
    measured = read_rows(runs)
    assert ("hard_prompt_style_controlled_win_rate" in measured.rows[0].estimates) is is_kept
    assert measured.rows[0].estimates["win_rate"].value == pytest.approx(60)
    assert [line.partition(" ")[0] for line in measured.messages] == (
        [] if is_kept else ["toy/INPO.json"]
    )


def test_a_result_of_a_newer_schema_is_refused_by_name(file, runs):
    newer = results.RESULT_SCHEMA + 1
    file(schema=newer)
    with pytest.raises(StoreError, match=rf"INPO\.json was written by a newer .*schema {newer}"):
        read_rows(runs)


def test_a_result_without_verdicts_is_left_out_with_a_message(file, runs):
    file("good")
    score = {"estimates": {}, "counts": {}, "items": [], "notes": []}
    file("empty", score=score)
    measured = read_rows(runs)
    assert [row.label for row in measured.rows] == ["good"]
    assert measured.messages == ("toy/empty.json holds no verdicts and is left out",)


def test_two_results_that_tell_nothing_else_are_set_apart_by_their_files(file, runs):
    file("INPO")
    file("INPO", name="copy of INPO")
    labels = [row.label for row in read_rows(runs).rows]
    assert sorted(labels) == ["INPO (file INPO)", "INPO (file copy of INPO)"]


def test_values_are_read_as_each_protocol_weighs_them():
    labels = [
        {"prompt_id": "a", "won": 3.0, "weight": 4, "category": "hard_prompt"},
        {"prompt_id": "b", "won": 0.0, "weight": 0, "category": "hard_prompt"},
        {"prompt_id": "c", "won": 1.0, "weight": 2, "category": "creative_writing"},
    ]
    assert prompt_scores(labels, "win_rate") == {"a": (300.0, 4), "c": (100.0, 2)}
    assert prompt_scores(labels, "hard_prompt_win_rate") == {"a": (300.0, 4)}
    assert prompt_scores(labels, "hard_prompt_style_controlled_win_rate") == {}
    ratings = [
        {"prompt_id": "81#1", "question": 81, "turn": 1, "rating": 7.0},
        {"prompt_id": "81#2", "question": 81, "turn": 2, "rating": 5.0},
        {"prompt_id": "82#1", "question": 82, "turn": 1, "rating": None},
    ]
    assert prompt_scores(ratings, "score") == {"81": (12.0, 2.0)}
    assert prompt_scores(ratings, "turn_2") == {"81": (5.0, 1.0)}
    preferences = [
        {"prompt_id": "a", "preference": 0.25, "length_controlled_win_rate": 31.0},
        {"prompt_id": "b", "preference": None},
    ]
    assert prompt_scores(preferences, "win_rate") == {"a": (25.0, 1.0)}
    assert prompt_scores(preferences, "length_controlled_win_rate") == {"a": (31.0, 1.0)}
