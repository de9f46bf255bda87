"""From one judge to another, as the report reads it; the file is `harness judge bridge`'s own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leaderboard.report.bridges import read_bridges
from leaderboard.report.content import build_content
from tests.leaderboard.report.conftest import LOST, WON


@pytest.fixture
def place(workspace) -> Path:
    folder = workspace.root / "results/bridge"
    folder.mkdir(parents=True)
    return folder


def test_a_bridges_figures_are_in_percent_under_both_judges(place, bridge, workspace):
    (place / "old--new.json").write_text(json.dumps(bridge))
    ((told,), notes) = read_bridges(workspace.root)
    assert notes == []
    assert (told["old"], told["new"], told["benchmark"]) == ("judge-1", "judge-2", "toy")
    assert [metric["name"] for metric in told["metrics"]] == ["win_rate"]
    assert told["rows"][0]["figures"]["win_rate"]["new"] == {
        "value": 40.0,
        "low": 38.0,
        "high": 42.0,
    }
    assert told["kappa"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    # of a preference that runs from 0 to 1: 0.05, in points of the win rate 5
    assert told["bias"]["value"] == pytest.approx(5.0)
    assert [(one["name"], one["judge"], one["n"]) for one in told["shares"]] == [
        ("first", "old", None),
        ("first", "new", None),
        ("same", "new", 60),
        ("repeated", "new", 20),
        ("swapped", "new", 20),
    ]
    assert [one["figure"]["value"] for one in told["shares"]] == pytest.approx([50, 70, 75, 90, 80])
    assert told["cost"]["dollars"] == 1.25
    counts = [["calls", 60], ["prompt tokens", 600], ["completion tokens", 60]]
    assert told["cost"]["counts"] == counts


def test_what_was_not_asked_and_is_not_known_is_left_out(place, bridge, workspace):
    del bridge["order_consistency"]
    bridge |= {"self_consistency": None, "rank_correlation": {"value": None}, "cost": {}}
    (place / "old--new.json").write_text(json.dumps(bridge))
    ((told,), _) = read_bridges(workspace.root)
    assert [one["name"] for one in told["shares"]] == ["first", "first", "same"]
    assert (told["order"], told["shift"], told["cost"]["dollars"]) == (None, None, None)


@pytest.mark.parametrize(
    "damage", ["{", "[]", "{}", '{"models": 3}', "\x00", '{"models": [], "from": 1}']
)
def test_a_file_that_is_no_bridge_is_told_and_left_out(play, place, workspace, damage):
    play("one", [WON, LOST])
    (place / "old.json").write_text(damage)
    found = build_content(workspace.root)
    assert found.figures["bridges"] == []
    (told,) = found.messages
    assert "bridge/old.json is not a comparison of two judges" in told
    assert "run `harness judge bridge` again" in told
