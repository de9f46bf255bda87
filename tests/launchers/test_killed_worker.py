"""kill -9 on one of two training processes: the run ends in time, says what to do, and goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from harness.core import config
from harness.core.workspace import Workspace
from harness.errors import HarnessError
from harness.training import schedule
from harness.training.spec import TrainSpec
from tests.launchers import gangs

TWO = {"ref": "launcher/local"}


def spec(folder: Path) -> TrainSpec:
    path = gangs.method(folder, TWO, optimiser={"processes": 2})
    return config.construct(TrainSpec, config.load("train", str(path)))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_training_which_goes_on_to_the_same_weights(
    tmp_path, by_one, rank
):
    workspace, killed = tmp_path / "runs", []

    def kill() -> None:
        gangs.wait_for_step(workspace, 8, [])
        os.kill(gangs.process_of(workspace, rank, "harness.launchers.group_entry"), signal.SIGKILL)
        killed.append(time.monotonic())

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(HarnessError, match="ended without a word.*run the same command again") as e:
        schedule.train(spec(tmp_path), Workspace(workspace), "method")
    thread.join()
    assert time.monotonic() - killed[0] < 30
    written = Path(str(e.value).split("See ")[1].split(";")[0])
    assert "SIGKILL" in written.read_text()
    assert 8 <= gangs.steps_done(workspace) < 30
    schedule.train(spec(tmp_path), Workspace(workspace), "method")
    assert 0 < gangs.apart(workspace, by_one) < 1e-5
