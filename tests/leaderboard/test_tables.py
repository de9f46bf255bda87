"""The tables: what shares a column, what stands in it, how it is ordered, what is set apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.types import Estimate
from leaderboard.builder import TableBuilder, TableOptions, build_tables
from leaderboard.columns import format_interval
from leaderboard.formats import table_data
from leaderboard.rows import Document, Row
from leaderboard.table import Table

PAPER = Document("arXiv 1", "v1", "1", "2026-01-01")


def row(label: str = "INPO", value: float = 60.0, **changes) -> Row:
    fields = {
        "label": label,
        "benchmark": "toy",
        "judge": "judge-1",
        "estimates": {"win_rate": Estimate(value, value - 2, value + 2, 1.0)},
        "prompt_count": 400,
        "judged_count": 399,
        "mean_length": 31.25,
        "source": f"{label}.json",
    }
    return Row(**{**fields, **changes})


def tables(*rows: Row, **choice) -> list[Table]:
    return TableBuilder(TableOptions(**choice)).build(rows)


def test_rows_are_ordered_by_win_rate_and_show_interval_length_and_counts():
    (table,) = tables(row("low", 40.0), row("high", 70.0))
    assert table.headings == ("method", "win rate %", "mean length", "n judged")
    assert table.cells[0] == ("high", "70.0 [68.0, 72.0]", "31.2", "399 of 400")
    assert table.cells[1][0] == "low"


def test_other_judges_and_benchmarks_never_share_a_table():
    result = tables(row(), row(judge="judge-2"), row(benchmark="other"))
    assert [t.title for t in result] == [
        "toy, judged by judge-1",
        "toy, judged by judge-2",
        "other, judged by judge-1",
    ]


def test_other_baselines_and_protocol_versions_never_share_a_table_and_say_so():
    result = tables(row(baseline="x"), row(baseline="y"))
    assert [t.title for t in result] == [
        "toy, judged by judge-1, against x",
        "toy, judged by judge-1, against y",
    ]
    result = tables(row(protocol="a" * 64), row(protocol="b" * 64))
    assert [t.title.partition("judge-1, ")[2] for t in result] == [
        "protocol data aaaaaaaa",
        "protocol data bbbbbbbb",
    ]


def test_figures_made_with_upstreams_quirks_have_a_table_of_their_own():
    result = tables(row(), row("other", scoring="upstream"))
    assert [t.title for t in result] == [
        "toy, judged by judge-1",
        "toy, judged by judge-1, scored as upstream",
    ]


COLD, WARM = {"temperature": 0, "max_tokens": 64}, {"temperature": 0.7, "max_tokens": 64}


def test_a_judge_that_was_asked_otherwise_has_a_table_of_its_own_that_says_how():
    result = tables(row("a", judge_settings=COLD), row("b", judge_settings=WARM))
    assert [(t.title, t.cells[0][0]) for t in result] == [
        ("toy, judged by judge-1, judge settings: temperature 0", "a"),
        ("toy, judged by judge-1, judge settings: temperature 0.7", "b"),
    ]
    more = {**COLD, "reasoning_effort": "low"}
    result = tables(row("a", judge_settings=COLD), row("b", judge_settings=more))
    assert [t.title.partition("settings: ")[2] for t in result] == [
        "no reasoning_effort",
        'reasoning_effort "low"',
    ]


def test_a_whole_number_is_the_same_setting_as_its_fraction():
    (table,) = tables(
        row("a", judge_settings=COLD), row("b", judge_settings={**COLD, "temperature": 0.0})
    )
    assert len(table.cells) == 2


def test_who_does_not_tell_how_the_judge_was_asked_joins_the_others_and_is_named():
    (table,) = tables(row("a", judge_settings=COLD), row("from a file", 50.0))
    assert "the judge's settings (temperature, ...) are not known for: from a file" in table.notes
    (table,) = tables(row("a"), row("from a file", 50.0))
    assert not any("not known for" in note for note in table.notes)
    against = {"baseline": "start"}  # nothing is asked about answers that are its own
    (table,) = tables(row("a", judge_settings=COLD, **against), row("start", 50.0, **against))
    assert not any("not known for" in note for note in table.notes)


def test_who_does_not_tell_it_joins_none_of_several():
    result = tables(row("a", judge_settings=COLD), row("b", judge_settings=WARM), row("c"))
    assert [t.cells[0][0] for t in result] == ["a", "b", "c"]
    assert result[2].title.endswith("with unknown judge settings")


def test_the_protocols_titles_do_not_count_ways_of_asking():
    result = tables(
        row("a", judge_settings=COLD, baseline="x"), row("b", judge_settings=WARM, baseline="x")
    )
    assert not any("against" in table.title or "protocol data" in table.title for table in result)


def test_a_wide_table_gives_every_benchmark_and_judge_columns_of_its_own():
    (table,) = tables(row(), row(judge="judge-2", value=50.0), row("b", 30.0), wide=True)
    assert [c.group for c in table.columns] == ["", *["toy, judged by judge-1"] * 2] + [
        "toy, judged by judge-2"
    ] * 2
    assert table.cells[0] == ("INPO", "60.0 [58.0, 62.0]", "31.2", "50.0 [48.0, 52.0]", "31.2")
    assert table.cells[1] == ("b", "30.0 [28.0, 32.0]", "31.2", "–", "–")


def test_a_metric_that_no_row_has_takes_no_column_and_one_that_some_lack_shows_a_dash():
    controlled = {
        "win_rate": Estimate(50.0, 48.0, 52.0),
        "length_controlled_win_rate": Estimate(45.0),
    }
    (with_column,) = tables(row(), row("both", estimates=controlled))
    assert with_column.headings[2] == "length-controlled %"
    assert [cells[2] for cells in with_column.cells] == ["–", "45.0"]
    (without,) = tables(row())
    assert "length-controlled %" not in without.headings


def test_an_interval_that_is_not_known_is_not_shown():
    assert format_interval(Estimate(12.345)) == "12.3"
    assert format_interval(Estimate(7.5, 7.0, 8.0), 2) == "7.50 [7.00, 8.00]"
    assert format_interval(None) == "–"


def test_columns_are_chosen_and_ordered():
    known = row(tokens=12.0, truncated=0.025, run="toy/inpo", iteration=3)
    names = ("method", "iteration", "run", "tokens", "truncated", "dollars", "gpu-hours")
    (table,) = tables(known, columns=names)
    assert table.cells == (("INPO", "3", "toy/inpo", "12.0", "2.5", "–", "–"),)
    (everything,) = tables(known, columns=("all",))
    assert {"win rate %", "judge", "source", "base"} <= set(everything.headings)


def test_gpu_hours_are_shown_with_what_they_count_and_never_as_a_false_zero():
    rows = (
        row("a", 70.0, hours={"H100": 12.34, "CPU": 0.2}),
        row("b", 60.0, hours={"H100": 0.0042}),
        row("c", 50.0, hours={"CPU": 0.031}),
        row("d", 40.0),
    )
    (table,) = tables(*rows, columns=("gpu-hours", "cpu-hours"))
    assert [cells[1:] for cells in table.cells] == [
        ("12.3", "0.20"),
        ("0.0042", "0.0"),
        ("–", "0.031"),
        ("–", "–"),
    ]
    (note,) = [note for note in table.notes if note.startswith("hours: ")]
    assert note.endswith(
        "a stage that methods share counts in full for each of them; on H100: a, b; "
        "on CPUs alone, no GPU hours: c; not known: d"
    )
    assert not any(n.startswith("hours") for n in tables(*rows)[0].notes)


def test_a_row_tells_its_run_iteration_version_commit_and_packages():
    versions = {"preference-harness": "0.1.0", "python": "3.11.7", "commit": "a" * 40 + "+dirty"}
    known = row(run="toy/inpo", iteration=3, versions=versions)
    (table,) = tables(known, columns=("run", "iteration", "version", "commit", "versions", "judge"))
    assert table.cells[0][1:] == (
        *("toy/inpo", "3", "0.1.0", "a" * 10 + "+dirty", "python 3.11.7", "judge-1"),
    )
    (data,) = table_data([table])[0]["rows"][0]["from"]
    assert (data["run"], data["iteration"], data["versions"]) == ("toy/inpo", 3, versions)
    (bare,) = tables(row(), columns=("commit", "versions"))
    assert bare.cells[0][1:] == ("–", "–")


def test_sorting_by_figures_falls_by_texts_rises_and_a_minus_turns_it():
    rows = (row("b", 40.0, mean_length=9.0), row("a", 70.0, mean_length=3.0))
    first = {
        sort: tables(*rows, sort=sort)[0].cells[0][0]
        for sort in ("", "length", "-length", "method", "-method", "-win_rate")
    }
    assert first == {
        "": "a",
        "length": "b",
        "-length": "a",
        "method": "a",
        "-method": "b",
        "-win_rate": "b",
    }


def test_who_lacks_what_is_sorted_by_comes_last_either_way():
    rows = (row("none", 90.0, mean_length=None), row("some", 10.0))
    for sort in ("length", "-length"):
        assert tables(*rows, sort=sort)[0].cells[1][0] == "none"


def test_groups_are_sections():
    rows = (row("a", base="x"), row("b", 70.0, base="y"), row("c", 80.0, base="x"))
    (table,) = tables(*rows, group="base")
    assert [s.title for s in table.sections] == ["base: x", "base: y"]
    assert [line.cells[0].text for line in table.sections[0].rows] == ["c", "a"]


def test_published_rows_stand_apart_under_their_document():
    (table,) = tables(row(), row("theirs", 99.0, document=PAPER, source=PAPER.citation))
    assert [s.is_published for s in table.sections] == [False, True]
    assert table.sections[1].title == "published: arXiv 1 (v1), table 1, read 2026-01-01"


@pytest.mark.parametrize("changes", [{"judge": "judge-2"}, {"baseline": "other"}])
def test_published_rows_of_another_judge_or_baseline_have_a_table_of_their_own(changes):
    ours = row(baseline="start")
    theirs = row(
        "theirs", **{"baseline": "start", **changes}, document=PAPER, source=PAPER.citation
    )
    assert len(tables(ours, theirs)) == 2


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"bench": "toyy"}, "did you mean 'toy'"),
        ({"columns": ("win_rat",)}, "did you mean 'win_rate'"),
        ({"sort": "-lenght"}, "did you mean 'length'"),
        ({"group": "bass"}, "did you mean 'base'"),
        ({"baseline": "iterative"}, "no measured method called 'iterative'"),
    ],
)
def test_what_cannot_be_asked_says_what_can(choice, message):
    with pytest.raises(ConfigError, match=message):
        tables(row(), **choice)


def test_the_top_group_is_set_apart_and_daggers_mark_who_differs(file, runs):
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.1, 0.5, 300)
    for label, lift in (("best", 0.3), ("as good", 0.299), ("DPO", 0.1), ("DPO again", 0.1)):
        file(label, [float(p) for p in hard + lift + rng.uniform(-0.1, 0.1, 300)])
    (table,), _ = build_tables(runs, TableOptions(baseline="DPO"))
    marks = {line.cells[0].text: line.cells[1] for line in table.sections[0].rows}
    assert {name for name, cell in marks.items() if cell.top} == {"best", "as good"}
    assert {name for name, cell in marks.items() if cell.differs} == {"best", "as good"}
    data = table.annotated_notes("bold")
    assert any(note.startswith("bold: not significantly different from the best") for note in data)
    assert any("over 300 shared prompts" in note for note in data)
    # a difference of two uniforms on ±0.1: sd √2 × 0.1 / √3; × 100 / √300 × 3.50, since the six
    # tests of four methods have 5 % together: 1.65 points
    assert float(table.top_note.split()[-1]) == pytest.approx(1.65, abs=0.11)
    assert data[-1].startswith(
        "†: differs from DPO by paired tests over shared prompts (5 %, Holm)"
    )
    # three tests against the baseline: × 3.25
    assert float(data[-1].split()[-1]) == pytest.approx(1.53, abs=0.11)


def test_results_on_other_prompts_are_compared_over_the_shared_ones(file, runs):
    rng = np.random.default_rng(0)
    file("a", list(rng.uniform(0.4, 0.6, 100)))
    file("b", list(rng.uniform(0.6, 0.8, 100)), first=40)
    (table,), _ = build_tables(runs, TableOptions())
    assert "over 60 shared prompts" in table.top_note
    assert [line.cells[1].top for line in table.sections[0].rows] == [True, False]


def test_one_method_alone_and_results_without_items_are_said_to_be_untested(file, runs):
    path = file("a")
    (table,), _ = build_tables(runs, TableOptions())
    assert table.top_note == ""
    assert "only one method: there is nothing to compare it with" in table.notes
    (path.with_suffix("") / "items.json").unlink()
    file("b")
    (table,), _ = build_tables(runs, TableOptions())
    assert any("no paired tests" in note for note in table.notes)


HELD = "hard_prompt_style_controlled_win_rate"


def with_held(path: Path, parts: list[float]) -> None:
    """Add a style-controlled figure to a result, and what each prompt adds to it."""
    beside = path.with_suffix("") / "items.json"
    items = [{**i, HELD: p} for i, p in zip(json.loads(beside.read_text()), parts, strict=True)]
    beside.write_text(json.dumps(items))
    data = json.loads(path.read_text())
    data["score"]["estimates"][HELD] = {"value": float(np.mean(parts))}
    path.write_text(json.dumps(data))


def test_style_controlled_figures_are_tested_by_what_each_prompt_adds(file, runs):
    rng = np.random.default_rng(0)
    same = [float(p) for p in rng.uniform(0.4, 0.6, 200)]
    for label, lift in (("controlled", 20.0), ("DPO", 0.0)):
        with_held(file(label, same), [50 + lift + float(x) for x in rng.normal(0, 30, 200)])
    (table,), _ = build_tables(runs, TableOptions(baseline="DPO"))
    cells = {line.cells[0].text: line.cells[1:3] for line in table.sections[0].rows}
    # the raw figures are equal; a lift of 20 is many times 30 × √(2 / 200) = 3 points
    assert [(c.top, c.differs) for c in cells["controlled"]] == [(True, False), (True, True)]
    assert [(c.top, c.differs) for c in cells["DPO"]] == [(True, False), (False, False)]
    assert not any("no paired tests" in note for note in table.notes)


def test_a_column_without_tests_is_named(file, runs):
    for label in ("a", "b"):
        path = file(label)
        data = json.loads(path.read_text())
        data["score"]["estimates"][HELD] = {"value": 50.0}
        path.write_text(json.dumps(data))
    (table,), _ = build_tables(runs, TableOptions())
    (note,) = [note for note in table.notes if note.startswith("no paired tests")]
    assert note.startswith("no paired tests of hard prompts, style-controlled %: fewer than two")


def test_whose_answers_are_flagged_is_said_below(file, runs):
    path = file("null")
    text = path.read_text().replace('"notes": []', '"notes": ["flagged as possible gaming"]')
    path.write_text(text)
    (table,), _ = build_tables(runs, TableOptions())
    assert "null: flagged as possible gaming" in table.notes


def test_what_the_order_of_folds_changes_and_the_published_error_are_explained(file, runs):
    note = (
        "length_controlled_win_rate: the order of the rows in cross-validation alone makes it 50.63"
    )
    estimate = {"value": 51.0, "low": 48.0, "high": 54.0, "standard_error": 1.5}
    names = ("length_controlled_win_rate", "lc_standard_error")
    score = {
        "estimates": dict.fromkeys(names, estimate),
        "counts": {"asked": 4, "judged": 4},
        "items": [],
        "notes": [note],
    }
    file("INPO", score=score)
    (table,), _ = build_tables(runs, TableOptions(columns=names))
    assert f"INPO: {note}" in table.notes
    assert any(
        line.startswith("lc standard error: as alpaca_eval publishes") for line in table.notes
    )
    (table,), _ = build_tables(runs, TableOptions(columns=("length",)))
    assert not any("cross-validation" in line for line in table.notes)


def test_a_bound_that_rounds_to_zero_has_no_sign():
    assert format_interval(Estimate(-0.04, -0.3, 0.2)) == "0.0 [-0.3, 0.2]"
    assert format_interval(Estimate(7.1, -0.4, 14.0), 0) == "7 [0, 14]"
