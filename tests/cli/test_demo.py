"""The demo: its figures, and that kills at any moment change nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HARNESS = (sys.executable, "-m", "harness")


def demo(workspace: Path, *options: str) -> subprocess.Popen[str]:
    command = (*HARNESS, "demo", "--json", "--workspace", str(workspace), *options)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=540)
    assert process.returncode == 0, err[-2000:]
    return out


def results(workspace: Path) -> dict[str, dict]:
    """By benchmark and label: what was measured."""
    data_by_key = {}
    for path in (workspace / "results").glob("*/*.json"):
        data = json.loads(path.read_text())
        data_by_key[data["benchmark"], data["label"]] = data
    return data_by_key


@pytest.mark.demo
def test_inpo_beats_the_starting_policy_and_every_row_is_honest(tmp_path):
    tables = json.loads(finished(demo(tmp_path)))
    assert [len(table["rows"]) for table in tables] == [4, 4]
    measured = results(tmp_path)
    for benchmark in ("toy-weighted", "toy-labels"):
        inpo = measured[benchmark, "INPO"]["score"]["estimates"]["win_rate"]
        assert inpo["value"] >= 65
        assert inpo["low"] > 50
        start = measured[benchmark, "toy-start"]
        assert start["score"]["estimates"]["win_rate"]["value"] == 50
    for data in measured.values():
        counts = data["score"]["counts"]
        assert counts["judged"] == counts["asked"] == 400
        assert counts["unparsed"] == 0
        for estimate in data["score"]["estimates"].values():
            assert estimate["low"] <= estimate["value"] <= estimate["high"]


def killed(workspace: Path, seconds: float) -> bool:
    """Kill the demo after a while; say whether it was still running."""
    process = demo(workspace, "--quick")
    time.sleep(seconds)
    alive = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def test_five_kills_at_random_moments_change_nothing(tmp_path):
    start = time.monotonic()
    expected = finished(demo(tmp_path / "whole", "--quick"))
    duration = time.monotonic() - start
    rng = random.Random(20)
    alive = [killed(tmp_path / "killed", rng.uniform(0.15, 0.35) * duration) for _ in range(5)]
    assert all(alive)
    assert finished(demo(tmp_path / "killed", "--quick")) == expected
    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")


def figures(workspace: Path) -> dict[tuple[str, str], dict]:
    return {key: data["score"] for key, data in results(workspace).items()}


def test_the_same_command_again_makes_and_asks_nothing(tmp_path):
    first = finished(demo(tmp_path, "--quick"))
    process = demo(tmp_path, "--quick")
    out, err = process.communicate(timeout=300)
    assert out == first
    assert "done in" not in err
    assert all(data["new_requests"] == 0 for data in results(tmp_path).values())
