"""A job's tasks make what one process makes; queued again, and left alone, it goes on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError, MissingDependencyError
from harness.launchers.slurm import SlurmLauncher
from tests.launchers import gangs, slurm_cluster

pytest.importorskip("submitit")

SMALL = {"ref": "launcher/slurm", "gpus": 0, "tasks": 2, "cores": 1, "piece": 5, "hours": 0.5}
WHY_NOT = slurm_cluster.missing()
FAKE = {
    "sbatch": 'cp "$1" "$SEEN"; echo "Submitted batch job 17"',
    "squeue": 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1',
    "srun": "exit 0",
}
"""Slurm's commands where only what is submitted is looked at."""


def begun(path: Path, workspace: Path, environment=os.environ) -> subprocess.Popen[str]:
    """Start the command as on a login node."""
    command = ("-m", "harness", "train", str(path), "--workspace", str(workspace))
    variables = {**environment, "PYTHONPATH": str(gangs.ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def nothing(told) -> None:
    """A run of nothing."""


def test_the_job_is_asked_for_as_the_fields_say(tmp_path, monkeypatch):
    for name, text in FAKE.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    seen = tmp_path / "seen.sh"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(seen))
    launcher = SlurmLauncher(
        nodes=2,
        gpus=4,
        hours=1.5,
        memory=64,
        partition="long",
        account="lab",
        setup=("module load cuda",),
        options={"exclusive": True},
    )
    told: list[str] = []
    with pytest.raises(HarnessError, match=r"job 17 ended before its run.*slurm/mine/17; the same"):
        launcher.launch(nothing, {"root": tmp_path, "name": "mine"}, told.append)
    assert told[0] == f"Slurm job 17: its logs are in {tmp_path}/slurm/mine/17"
    lines = seen.read_text().splitlines()
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", seen.read_text(), re.MULTILINE))
    assert (
        asked
        | {
            "nodes": "2",
            "ntasks-per-node": "4",  # a process a GPU
            "gpus-per-node": "4",
            "cpus-per-task": "8",
            "time": "90",
            "mem": "64GB",
            "partition": "long",
            "account": "lab",
            "job-name": "harness-mine",
        }
        == asked
    )
    assert "#SBATCH --exclusive" in lines
    assert lines.index("module load cuda") < next(
        number for number, line in enumerate(lines) if line.startswith("srun ")
    )
    assert launcher.processes() == 8


def test_without_slurm_the_command_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="no Slurm here.*on a login node"):
        SlurmLauncher().launch(nothing, {"root": tmp_path, "name": "mine"}, print)


def test_two_tasks_make_what_one_process_makes(tmp_path, by_one):
    path = gangs.method(tmp_path, {**SMALL, "cluster": "local"})
    command = begun(path, tmp_path / "runs")
    told, _ = command.communicate(timeout=240)
    assert command.returncode == 0, told
    assert "run 'method': " in told
    names = [
        sorted(p.name for p in (w / "stages").glob("*-*")) for w in (tmp_path / "runs", by_one)
    ]
    assert names[0] == names[1]
    assert 0 < gangs.apart(tmp_path / "runs", by_one) < 1e-5


def test_what_the_run_raises_comes_back_as_it_was(tmp_path):
    launcher = {**SMALL, "cluster": "local", "tasks": 1}
    path = gangs.method(tmp_path, launcher, max_length=1)
    command = begun(path, tmp_path / "runs")
    told, _ = command.communicate(timeout=240)
    assert command.returncode == 11, told
    assert "error: iteration 1 has no training pair" in told


@pytest.mark.faults
@pytest.mark.skipif(WHY_NOT is not None, reason=f"no Slurm on this machine: {WHY_NOT}")
def test_a_real_job_queued_again_and_left_by_its_command_goes_on(tmp_path, by_one):
    path, workspace = gangs.method(tmp_path, SMALL), tmp_path / "runs"
    place = tmp_path / "cluster"
    place.mkdir()
    with slurm_cluster.cluster(place) as environment:
        first = begun(path, workspace, environment)
        gangs.wait_for_step(workspace, 8, [first])
        subprocess.run(["scancel", "--signal=USR2", "--user=root"], env=environment, check=True)
        first.kill()
        before, _ = first.communicate()
        second = begun(path, workspace, environment)
        after, _ = second.communicate(timeout=300)
    logs = "".join(log.read_text() for log in workspace.glob("slurm/method/*/*_log.*"))
    assert second.returncode == 0, after + logs
    jobs = [re.findall(r"Slurm job (\d+)", text) for text in (before, after)]
    assert jobs[0] == jobs[1] == ["1"]
    assert logs.count("Starting with JobEnvironment") == 4  # two tasks, twice
    assert gangs.apart(workspace, by_one) < 1e-5
