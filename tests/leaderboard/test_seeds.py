"""Runs of one setting that differ in their seed become one row, and say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leaderboard.builder import TableBuilder, TableOptions, build_tables
from leaderboard.formats import render_markdown, table_data
from leaderboard.measurements import read_rows
from leaderboard.seeds import pool_seeds
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
    assert row.estimates["win_rate"].standard_error == pytest.approx((prompts + 100 / 3) ** 0.5)


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
