"""The demo: its figures, and that killing it at any moment changes nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import finish_demo, start_demo


def results(workspace: Path) -> dict[str, dict]:
    """Return results by benchmark and label."""
    data_by_key = {}
    for path in (workspace / "results").glob("*/*.json"):
        data = json.loads(path.read_text())
        data_by_key[data["benchmark"], data["label"]] = data
    return data_by_key


@pytest.mark.demo
def test_inpo_beats_the_starting_policy_and_every_row_is_honest(tmp_path):
    tables = json.loads(finish_demo(start_demo(tmp_path)))
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
    """Kill the demo after some seconds; return whether it was still running."""
    process = start_demo(workspace, "--quick", threads=3)  # the demo has its own number
    time.sleep(seconds)
    alive = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def test_five_kills_at_random_moments_change_nothing(quick_demo, tmp_path):
    rng = random.Random(20)
    delays = [rng.uniform(0.15, 0.35) * quick_demo.seconds for _ in range(5)]
    assert all([killed(tmp_path, delay) for delay in delays])
    assert finish_demo(start_demo(tmp_path, "--quick")) == quick_demo.tables
    assert figures(tmp_path) == figures(Path(quick_demo.workspace))


def figures(workspace: Path) -> dict[tuple[str, str], dict]:
    return {key: data["score"] for key, data in results(workspace).items()}


def test_a_quick_demo_ranks_nothing(quick_demo):
    for table in json.loads(quick_demo.tables):
        methods = [row["cells"]["method"] for row in table["rows"]]
        assert methods == sorted(methods, key=str.casefold)


def test_the_same_command_again_makes_and_asks_nothing(quick_demo, tmp_path):
    workspace = tmp_path / "runs"
    shutil.copytree(quick_demo.workspace, workspace)
    process = start_demo(workspace, "--quick")
    out, err = process.communicate(timeout=300)
    assert out == quick_demo.tables
    assert "done in" not in err
    assert all(data["new_requests"] == 0 for data in results(workspace).values())
