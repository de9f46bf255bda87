"""Runs of one setting that differ in their seed become one row, and say so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from leaderboard.builder import TableBuilder, TableOptions, build_tables
from leaderboard.formats import render_markdown, table_data
from leaderboard.measurements import read_rows
from leaderboard.seeds import _without_seed, pool_seeds
from leaderboard.significance import ItemsReader


def of(seed: int, method: str = "INPO", setting: str = "a") -> dict:
    run = {"name": f"{method}-{seed}", "method": method, "iteration": 3, "base": "start"}
    return {"run": run | {"seed": seed, "setting": setting}, "hours": {"training": {"H100": 2.0}}}


def wins(rate: float, count: int = 100) -> list[float]:
    return [1.0] * int(rate * count) + [0.0] * (count - int(rate * count))


@pytest.fixture
def seeded(file, runs) -> Path:
    for seed, rate in enumerate((0.6, 0.7, 0.8)):
        label = f"INPO (seed {seed})" if seed else "INPO"
        file(label, wins(rate), **of(seed))
    file("DPO", wins(0.65), **of(0, "DPO", "b"))
    return runs


def test_a_setting_is_one_row_with_the_mean_of_its_seeds(seeded):
    rows = pool_seeds(read_rows(seeded).rows, ItemsReader())
    by_label = {row.label: row for row in rows}
    assert set(by_label) == {"INPO", "DPO"}
    row = by_label["INPO"]
    assert row.estimates["win_rate"].value == pytest.approx(70)
    assert (row.judged_count, row.prompt_count) == (300, 300)
    assert row.hours == {"H100": 6.0}
    # by hand: the mean of three seeds is 100 for 60 prompts, 66.7 and 33.3 for 10 each, 0 for 20
    parts = [(30, 60), (200 / 3 - 70, 10), (100 / 3 - 70, 10), (-70, 20)]
    prompts = sum(n * d**2 for d, n in parts) / 99 / 100
    # left by the means of prompts and seeds: 200 a prompt where seeds agree, else 4866.7
    noise = (80 * 200 + 20 * 14600 / 3) / (2 * 99) / 300
    error = (prompts - noise + 100 / 3) ** 0.5
    assert row.estimates["win_rate"].standard_error == pytest.approx(error)


def test_seeds_of_another_setting_stay_apart(file, runs):
    file("INPO", wins(0.6), **of(0))
    file("INPO (seed 1)", wins(0.7), **of(1, setting="another learning rate"))
    assert len(pool_seeds(read_rows(runs).rows, ItemsReader())) == 2


def test_the_table_tells_the_seeds_and_tests_count_them(seeded):
    apart = build_tables(seeded, TableOptions(baseline="DPO"))[0]
    (table,) = build_tables(
        seeded, TableOptions(pool=True, baseline="DPO", columns=("win_rate", "seeds"))
    )[0]
    text = render_markdown([table])
    assert "mean over seeds 0, 1, 2 (win rate % 60.0 / 70.0 / 80.0)" in text
    rows = {
        row["cells"]["method"]["text"]
        if isinstance(row["cells"]["method"], dict)
        else row["cells"]["method"]: row
        for row in table_data([table])[0]["rows"]
    }
    assert rows["INPO"]["from"][0]["seeds"] == [0, 1, 2]
    # 10 points over each of 80 alike prompts would be certain for one seed; between seeds it is not
    assert not rows["INPO"]["cells"]["win rate %"]["differs"]
    single = {row["cells"]["method"]: row for row in table_data(apart)[0]["rows"]}
    assert single["INPO (seed 2)"]["cells"]["win rate %"]["differs"]


def test_what_is_not_known_of_one_seed_is_not_known_of_all(file, runs):
    file("INPO", wins(0.6), **of(0))
    file("INPO (seed 1)", wins(0.7), **(of(1) | {"hours": None}))
    (row,) = pool_seeds(read_rows(runs).rows, ItemsReader())
    assert row.hours is None


def test_without_items_there_is_a_mean_and_no_interval(seeded):
    for path in seeded.rglob("items.json"):
        path.unlink()
    row = next(r for r in pool_seeds(read_rows(seeded).rows, ItemsReader()) if r.label == "INPO")
    assert row.estimates["win_rate"].value == pytest.approx(70)
    assert row.estimates["win_rate"].low is None


def test_nothing_changes_where_nobody_asked(seeded):
    rows = read_rows(seeded).rows
    labels = {
        line.sources[0].label
        for t in TableBuilder(TableOptions()).build(rows)
        for s in t.sections
        for line in s.rows
    }
    assert labels == {"INPO", "INPO (seed 1)", "INPO (seed 2)", "DPO"}
    assert json.loads(json.dumps(TableOptions(pool=True).to_data())) == {"pool": True}


def test_seeds_are_pooled_by_their_setting_whatever_they_are_called(file, runs):
    for eta in ("0.1", "0.2"):
        for seed in (0, 1):
            run = {"name": f"sweep/eta-{eta}-seed-{seed}", "setting": eta}
            record = of(seed)["run"] | run
            file(f"INPO eta={eta} s{seed}", wins(0.6 + seed / 10), run=record)
    rows = pool_seeds(read_rows(runs).rows, ItemsReader())
    assert {row.label for row in rows} == {"INPO eta=0.1", "INPO eta=0.2"}
    assert all(row.estimates["win_rate"].value == pytest.approx(65) for row in rows)


def test_settings_of_one_label_are_distinguished_by_their_runs(file, runs):
    for eta in ("0.1", "0.2"):
        for seed in (0, 1):
            run = of(seed)["run"] | {"name": f"eta-{eta}-seed-{seed}", "setting": eta}
            file(f"{'INPO' if eta == '0.1' else 'ours'} {'ab'[seed]}", wins(0.6), run=run)
    rows = pool_seeds(read_rows(runs).rows, ItemsReader())
    assert {row.label for row in rows} == {"INPO (eta-0.1)", "INPO (eta-0.2)"}


@pytest.mark.parametrize(
    ("label", "seed", "bare"),
    [
        ("INPO (seed 1)", 1, "INPO"),
        ("INPO (eta=0.1, seed 1)", 1, "INPO (eta=0.1)"),
        ("INPO (seed 1, eta=0.1)", 1, "INPO (eta=0.1)"),
        ("eta-0.1-seed-10", 10, "eta-0.1"),
        ("INPO_s0", 0, "INPO"),
        ("models1", 1, "models1"),
        ("seed 1.5", 1, "seed 1.5"),
        ("INPO s1", 0, "INPO s1"),
    ],
)
def test_a_label_without_its_seed(label, seed, bare):
    assert _without_seed(label, seed) == bare


def test_a_run_that_was_graded_twice_counts_once_and_the_table_says_so(seeded, file):
    file("INPO again", wins(0.6), **of(0))
    (table,) = build_tables(seeded, TableOptions(pool=True))[0]
    text = render_markdown([table])
    assert "mean over seeds 0, 1, 2 (" in text
    assert "300 of 300" in text
    assert "INPO again: the same run and seed as INPO: counted once" in text


def test_one_run_under_two_labels_is_one_row_of_one_seed(file, runs):
    file("INPO", wins(0.6), **of(0))
    file("INPO again", wins(0.6), **of(0))
    (row,) = pool_seeds(read_rows(runs).rows, ItemsReader())
    assert len(row.repeats) == 1
    assert row.judged_count == 100


def test_rows_of_one_seed_are_marked_and_take_the_variation_of_the_others(file, runs):
    for seed, rate in enumerate((0.4, 0.5, 0.6)):
        file(f"INPO (seed {seed})", wins(rate, 1000), **of(seed))
    file("DPO", wins(0.58, 1000), **of(0, "DPO", "b"))
    file("answers of a file", wins(0.9, 1000))
    (table,) = build_tables(runs, TableOptions(pool=True))[0]
    text = render_markdown([table])
    assert "DPO (1 seed)" in text
    assert "1 seed: DPO; their intervals are over prompts alone" in text
    cells = {row.cells[0].text: row.cells[1] for s in table.sections for row in s.rows}
    assert set(cells) == {"INPO", "DPO (1 seed)", "answers of a file"}
    assert "each method is one training seed" not in text
    # 8 points over 1000 alike prompts would be certain; seeds that are 10 apart do not show them
    pooled = build_tables(runs, TableOptions(pool=True, baseline="DPO"))[0][0]
    marks = {row.cells[0].text: row.cells[1] for s in pooled.sections for row in s.rows}
    assert not marks["INPO"].differs
    single = build_tables(runs, TableOptions(baseline="DPO"))[0][0]
    apart = {row.cells[0].text: row.cells[1] for s in single.sections for row in s.rows}
    assert apart["INPO (seed 1)"].differs


def test_differences_are_over_seeds_as_well(seeded):
    options = TableOptions(pool=True, differences=True, baseline="DPO")
    (table,) = build_tables(seeded, options)[0]
    row = next(r.sources[0] for s in table.sections for r in s.rows if r.cells[0].text == "INPO")
    difference = row.estimates["win_rate_difference"]
    assert difference.value == pytest.approx(5)
    # 70 against 65; both vary by seeds: (100 / 3 + 100 of the pooled variance, scaled) ** 0.5 > 11
    assert difference.standard_error > 11
    assert difference.low < 0 < difference.high


def test_an_interval_over_two_seeds_lies_between_0_and_100(file, runs):
    for seed, rate in enumerate((0.99, 0.8)):
        file(f"INPO (seed {seed})", wins(rate), **of(seed))
    (row,) = pool_seeds(read_rows(runs).rows, ItemsReader())
    estimate = row.estimates["win_rate"]
    assert 0 <= estimate.low < estimate.value < estimate.high <= 100


def test_seeds_that_win_nothing_leave_what_their_prompts_do_not_show(file, runs):
    for seed in (0, 1):
        file(f"INPO (seed {seed})", wins(0.0), **of(seed))
    (row,) = pool_seeds(read_rows(runs).rows, ItemsReader())
    # 1 - 0.025^(1 / 100)
    assert row.estimates["win_rate"].high == pytest.approx(3.62, abs=0.01)


def test_results_without_a_setting_are_left_alone(file, runs):
    for seed in (0, 1):
        file(f"INPO (seed {seed})", wins(0.5), **of(seed, setting=""))
    rows = pool_seeds(read_rows(runs).rows, ItemsReader())
    assert [row.label for row in rows] == ["INPO (seed 0)", "INPO (seed 1)"]


def test_a_table_of_single_seeds_says_what_its_tests_leave_out(file, runs):
    file("INPO", wins(0.6, 200), **of(0))
    file("DPO", wins(0.5, 200)[::-1], **of(0, "DPO", "b"))
    note = next(
        note
        for note in build_tables(runs, TableOptions())[0][0].notes
        if note.startswith("each method is one training seed")
    )
    assert "12 to 14 % with 200 prompts won or lost" in note
    assert re.search(r"marked as different in \d+ % \(win rate %\)", note)


def test_answers_from_files_have_no_note_on_seeds(file, runs):
    file("one", wins(0.6))
    file("two", wins(0.5)[::-1])
    assert not any("seed" in note for note in build_tables(runs, TableOptions())[0][0].notes)
