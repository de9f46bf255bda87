"""Published figures beside measured ones: whose columns they share, and whose they never do."""

from __future__ import annotations

import pytest

from harness.types import Estimate
from leaderboard.report.published import group_with_published, published_figures
from leaderboard.rows import Row

TURBO = "gpt-4-1106-preview"


def measured(label: str = "INPO", judge: str = TURBO, **changes: str) -> Row:
    estimates = {"length_controlled_win_rate": Estimate(40.0, 38.0, 42.0)}
    published = {"baseline": "gpt4_1106_preview", "source": f"{judge}/{label}.json", **changes}
    return Row(label, "alpaca-eval", judge, estimates, 805, 805, 2000.0, **published)


def laid_out(*rows: Row):
    every = group_with_published(rows)
    group = next(g for g in every if rows[0] in g.rows)
    return published_figures(group, every)


def test_only_the_same_judge_and_baseline_share_the_columns():
    published = laid_out(measured())
    assert [table["same"] for table in published["tables"]].count(True) == 1
    same = next(table for table in published["tables"] if table["same"])
    (section,) = (s for s in same["sections"] if "table 1," in s["citation"])
    assert section["citation"] == "arXiv 2407.00617 (ICLR 2025), table 1, read 2026-11-25"
    inpo = next(row for row in section["rows"] if row["label"].startswith("INPO (PM)"))
    # INPO's table 1 prints 42.6, with one decimal and no interval
    assert inpo["figures"]["length_controlled_win_rate"] == {
        "value": 42.6,
        "low": None,
        "high": None,
        "digits": 1,
    }
    # MNPO's tables are by gpt-5-mini, gpt-4.1 and a judge that is not named
    others = [table["title"] for table in published["tables"] if not table["same"]]
    assert len(others) == 3
    assert all(TURBO not in title for title in others)


@pytest.mark.parametrize("changes", [{"judge": "judge-1"}, {"baseline": "another"}])
def test_under_another_judge_or_against_another_baseline_none_does(changes):
    published = laid_out(measured(**changes))
    assert not any(table["same"] for table in published["tables"])


def test_where_it_is_not_plain_which_protocol_none_does():
    published = laid_out(measured(protocol="a" * 16), measured("other", protocol="b" * 16))
    assert not any(table["same"] for table in published["tables"])


def test_documents_are_shown_that_have_a_method_which_is_measured():
    shown = {document["name"]: document["shown"] for document in laid_out(measured())["documents"]}
    assert shown["arXiv 2407.00617 (ICLR 2025)"]
    assert not shown["tatsu-lab/alpaca_eval (cd543a1)"]
    other = laid_out(measured("of my own"))
    assert not any(document["shown"] for document in other["documents"])


def test_benchmarks_on_which_nothing_is_published_have_nothing_beside():
    row = Row("INPO", "toy", "judge-1", {"win_rate": Estimate(50.0)}, 10, 10, 1.0, "toy/INPO.json")
    assert laid_out(row) is None
