"""Two machines give what one gives; a lost process ends all, and the same command goes on.

One of the two is killed in `make test`, the one that serves; HARNESS_FAULTS=1 kills the first too.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from harness.core.stages import read_manifest
from tests.launchers import gangs

LAUNCHER = {"ref": "launcher/torchrun", "piece": 5, "patience": 20}
KILLED = (0, 1) if os.environ.get("HARNESS_FAULTS") else (1,)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("machines")
    machines = gangs.Machines(gangs.method(folder, LAUNCHER), folder / "runs")
    codes, told = machines.ended()
    assert codes == [0, 0], told
    return folder, told


def test_two_machines_make_the_stages_that_one_makes(whole, by_one):
    folder, _ = whole
    assert gangs.names(folder / "runs") == gangs.names(by_one)
    for name in ("generate", "compare", "pair", "anchor"):
        digests = {read_manifest(gangs.stage(w, name))["digest"] for w in (folder / "runs", by_one)}
        assert len(digests) == 1, name
    assert 0 < gangs.apart(folder / "runs", by_one) < 1e-5  # summed in another order


def test_one_process_tells_the_user(whole):
    _, told = whole
    assert sorted("run 'method': " in text for text in told) == [False, True]
    assert sum(text.count("generate: done in") for text in told) == 1


@pytest.mark.parametrize("rank", KILLED)
def test_a_killed_process_ends_the_command_and_the_same_command_goes_on(
    whole, by_one, tmp_path, rank
):
    folder, _ = whole
    workspace = tmp_path / "runs"
    shutil.copytree(folder / "runs", workspace)
    shutil.rmtree(gangs.stage(workspace, "optimise"))
    path = gangs.method(tmp_path, LAUNCHER)
    machines = gangs.Machines(path, workspace)
    gangs.wait_for_step(workspace, 8, machines.processes)
    machines.kill(rank)
    began = time.monotonic()
    codes, told = machines.ended()
    assert time.monotonic() - began < 60
    assert all(codes), told
    assert any("start the same command again on every machine" in text for text in told), told
    done = gangs.steps_done(workspace)
    assert 8 <= done < 30
    codes, told = gangs.Machines(path, workspace).ended()
    assert codes == [0, 0], told
    assert gangs.apart(workspace, by_one) < 1e-5
