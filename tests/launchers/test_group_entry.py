"""kill -9 on one of two training processes: the run ends in time, says what to do, and resumes."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from harness.errors import HarnessError
from tests.launchers import small_runs


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.faults), 1])
def test_a_killed_process_ends_the_training_which_goes_on_to_the_same_weights(
    tmp_path, tiny_policy, by_one, rank
):
    workspace, killed = tmp_path / "runs", []
    shutil.copytree(by_one, workspace)  # with its samples, anchors and pairs
    shutil.rmtree(small_runs.stage_path(workspace, "optimise"))
    shutil.rmtree(workspace / "train")
    two = {"processes": 2}
    path = small_runs.write_method(tmp_path, tiny_policy, {"ref": "launcher/local"}, optimiser=two)

    def kill() -> None:
        small_runs.wait_for_step(workspace, 4)
        process = small_runs.process_of(workspace, rank, "harness.launchers.group_entry")
        os.kill(process, signal.SIGKILL)
        killed.append(time.monotonic())

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(HarnessError, match="without an error.*run the same command again") as e:
        small_runs.train_method(path, workspace)
    thread.join()
    assert time.monotonic() - killed[0] < 30
    log = Path(str(e.value).split("see ")[1].split(";")[0])
    assert "SIGKILL" in log.read_text()
    assert 4 <= small_runs.steps_done(workspace) < 15
    small_runs.train_method(path, workspace)
    assert small_runs.training_processes(workspace) == 2
    assert 0 < small_runs.largest_difference(workspace, by_one) < 1e-5
    last, alone = (small_runs.optimisation_log(root)[-1]["loss"] for root in (workspace, by_one))
    assert last == pytest.approx(alone, rel=1e-3)
