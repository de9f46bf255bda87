"""From one judge to another, as the report reads it; the file is `harness judge bridge`'s own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leaderboard.report.bridges import read_bridges
from leaderboard.report.content import build_content
from tests.leaderboard.report.conftest import LOST, WON


@pytest.fixture
def folder(workspace) -> Path:
    folder = workspace.root / "results/bridge"
    folder.mkdir(parents=True)
    return folder


def test_a_bridges_figures_are_in_percent_under_both_judges(folder, bridge, workspace):
    (folder / "old--new.json").write_text(json.dumps(bridge))
    ((bridge_data,), notes) = read_bridges(workspace.root)
    assert notes == []
    assert (bridge_data["old"], bridge_data["new"], bridge_data["benchmark"]) == (
        "judge-1",
        "judge-2",
        "toy",
    )
    assert [metric["name"] for metric in bridge_data["metrics"]] == ["win_rate"]
    assert bridge_data["rows"][0]["figures"]["win_rate"]["new"] == {
        "value": 40.0,
        "low": 38.0,
        "high": 42.0,
    }
    assert bridge_data["kappa"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    # of a preference that runs from 0 to 1: 0.05, in points of the win rate 5
    assert bridge_data["bias"]["value"] == pytest.approx(5.0)
    assert [(share["name"], share["judge"], share["n"]) for share in bridge_data["shares"]] == [
        ("first", "old", None),
        ("first", "new", None),
        ("same", "new", 60),
        ("repeated", "new", 20),
        ("swapped", "new", 20),
    ]
    assert [share["figure"]["value"] for share in bridge_data["shares"]] == pytest.approx(
        [50, 70, 75, 90, 80]
    )
    assert bridge_data["cost"]["dollars"] == 1.25
    counts = [["calls", 60], ["prompt tokens", 600], ["completion tokens", 60]]
    assert bridge_data["cost"]["counts"] == counts


def test_what_was_not_asked_and_is_not_known_is_left_out(folder, bridge, workspace):
    del bridge["order_consistency"]
    bridge |= {"self_consistency": None, "rank_correlation": {"value": None}, "cost": {}}
    (folder / "old--new.json").write_text(json.dumps(bridge))
    ((bridge_data,), _) = read_bridges(workspace.root)
    assert [share["name"] for share in bridge_data["shares"]] == ["first", "first", "same"]
    assert (bridge_data["order"], bridge_data["shift"], bridge_data["cost"]["dollars"]) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    "damage", ["{", "[]", "{}", '{"models": 3}', "\x00", '{"models": [], "from": 1}']
)
def test_a_file_that_is_no_bridge_is_reported_and_left_out(play, folder, workspace, damage):
    play("one", [WON, LOST])
    (folder / "old.json").write_text(damage)
    content = build_content(workspace.root)
    assert content.figures["bridges"] == []
    (bridge_data,) = content.messages
    assert "bridge/old.json is not a comparison of two judges" in bridge_data
    assert "run `harness judge bridge` again" in bridge_data
