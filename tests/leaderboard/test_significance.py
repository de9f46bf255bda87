"""How far each method lies from a named one: paired, with its interval."""

from __future__ import annotations

import pytest
import scipy.stats

from harness.errors import ConfigError
from leaderboard.builder import TableOptions, build_tables
from leaderboard.formats import render_markdown


def lines(runs, **asked):
    (table,) = build_tables(runs, TableOptions(baseline="start", differences=True, **asked))[0]
    return table, {
        line.sources[0].label: line.sources[0] for s in table.sections for line in s.rows
    }


def test_by_hand(file, runs):
    # 100 prompts, 40 of them won instead of lost and 10 lost instead of won: 30 points apart
    file("start", [0.0] * 50 + [1.0] * 50)
    file("INPO", [1.0] * 40 + [0.0] * 10 + [0.0] * 10 + [1.0] * 40)
    table, rows = lines(runs)
    difference = rows["INPO"].estimates["win_rate_difference"]
    assert difference.value == pytest.approx(30)
    # the spread of 100 differences of 100 (40 times), -100 (10), 0 (50): sqrt(41.4) = 6.43
    error = ((40 * 70**2 + 10 * 130**2 + 50 * 30**2) / 99 / 100) ** 0.5
    assert difference.standard_error == pytest.approx(error, rel=0.05)
    reach = scipy.stats.t.ppf(0.975, 99) * difference.standard_error
    assert (difference.low, difference.high) == pytest.approx((30 - reach, 30 + reach))
    assert "win_rate_difference" not in rows["start"].estimates
    text = render_markdown([table])
    assert "Δ win rate %" in text
    assert "Δ: paired differences" in text


def test_a_constant_shift_is_certain(file, runs):
    file("start", [0.25, 0.5, 0.75])
    file("INPO", [0.5, 0.75, 1.0])
    difference = lines(runs)[1]["INPO"].estimates["win_rate_difference"]
    assert (difference.low, difference.value, difference.high) == pytest.approx((25, 25, 25))


def test_only_shared_prompts_count(file, runs):
    file("start", [0.0] * 10)
    file("INPO", [1.0] * 10, first=5)  # five of each are the other's
    (table, rows) = lines(runs)
    assert rows["INPO"].estimates["win_rate_difference"].value == pytest.approx(100)


def test_from_whom_must_be_said(file, runs):
    file("start", [0.0, 1.0])
    with pytest.raises(ConfigError, match="differences need a baseline"):
        build_tables(runs, TableOptions(differences=True))


def test_without_items_there_is_none(file, runs):
    for label in ("start", "INPO"):
        (file(label).with_suffix("") / "items.json").unlink()
    assert "win_rate_difference" not in lines(runs)[1]["INPO"].estimates


def test_equal_verdicts_leave_what_their_prompts_do_not_show(file, runs):
    file("start", [0.0, 1.0] * 30)
    file("INPO", [0.0, 1.0] * 30)
    difference = lines(runs)[1]["INPO"].estimates["win_rate_difference"]
    # nothing of 60 differs: another prompt may differ by all, 6 of 100 may
    assert difference.value == 0
    assert -7 < difference.low < -2
    assert 2 < difference.high < 7
