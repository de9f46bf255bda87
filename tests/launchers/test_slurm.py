"""A job's Ray cluster makes what one process makes; requeued, or left alone, it resumes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.manifests import read_manifest
from harness.errors import CheckError, ConfigError, HarnessError, MissingDependencyError
from harness.launchers import error_files, slurm
from harness.launchers.slurm import SlurmLauncher
from tests.launchers import slurm_cluster, small_runs
from tests.launchers.toy_jobs import count_nodes, do_nothing, squares_of

pytest.importorskip("submitit")
pytest.importorskip("ray")

SMALL = {"ref": "launcher/slurm", "gpus": 0, "cores": 1, "shard_size": 12, "hours": 0.5}
WHY_NOT = slurm_cluster.missing()
FAKE = {
    "sbatch": 'cp "$1" "$SEEN"; echo "Submitted batch job 17"',
    "squeue": 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1',
    "srun": "exit 0",
}
"""Slurm's commands where only the submission is looked at."""
TASK = """
import sys
from harness.launchers.slurm_task import SlurmTask
SlurmTask(sys.argv[1], nodes=2, cpus=1, gpus=0, start_timeout=120)()
"""


@pytest.fixture
def script(tmp_path, monkeypatch) -> Path:
    """Where a fake sbatch leaves the job's script."""
    for name, text in FAKE.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.sh"))
    return tmp_path / "seen.sh"


def test_the_job_is_asked_for_as_the_fields_say(tmp_path, script):
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
    lines: list[str] = []
    with pytest.raises(HarnessError, match=r"job 17 ended before its run.*slurm/mine/17; the same"):
        launcher.launch(do_nothing, {"root": tmp_path, "name": "mine"}, lines.append)
    assert lines[0] == f"Slurm job 17: its logs are in {tmp_path}/slurm/mine/17"
    text = script.read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.MULTILINE))
    expected = {
        "nodes": "2",
        "ntasks-per-node": "1",  # the task that starts Ray on the node
        "gpus-per-node": "4",
        "cpus-per-task": "32",  # 8 for each GPU's worker
        "time": "90",
        "mem": "64GB",
        "partition": "long",
        "account": "lab",
        "job-name": "harness-mine",
    }
    assert options | expected == options
    assert "#SBATCH --exclusive" in text.splitlines()
    assert text.index("module load cuda") < text.index("\nsrun ")
    assert launcher.processes() == 8
    token = tmp_path / "slurm/mine/token"
    assert token.stat().st_mode & 0o077 == 0  # nobody else can use the cluster
    assert len(token.read_text()) == 64


def test_an_error_of_the_run_comes_back_as_itself(tmp_path, script, monkeypatch):
    directory = tmp_path / "slurm/mine"
    submit = slurm.SlurmLauncher._submit

    def fail(self, directory):
        error_files.write(directory, CheckError("seven is not square"))
        return submit(self, directory)

    monkeypatch.setattr(slurm.SlurmLauncher, "_submit", fail)
    for _ in range(2):
        with pytest.raises(CheckError, match="^seven is not square$"):
            SlurmLauncher().launch(do_nothing, {"root": tmp_path, "name": "mine"}, lambda _: None)
    assert error_files.read(directory) is not None


def test_without_slurm_the_command_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="no Slurm here.*on a login node"):
        SlurmLauncher().launch(do_nothing, {"root": tmp_path, "name": "mine"}, print)


def test_outside_its_job_the_launcher_says_how_to_start_one(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="harness train NAME --launcher slurm"):
        SlurmLauncher().map_shards(squares_of(tmp_path), lambda _: None)


def test_a_jobs_cluster_makes_what_one_process_makes(tmp_path, tiny_policy, by_one):
    launcher = {**SMALL, "cluster": "local"}
    path = small_runs.write_method(tmp_path, tiny_policy, launcher)
    command = small_runs.start_command(path, tmp_path / "runs")
    output, _ = command.communicate(timeout=240)
    assert command.returncode == 0, output
    assert "run 'method': " in output
    assert small_runs.stage_names(tmp_path / "runs") == small_runs.stage_names(by_one)
    for name in ("generate", "compare", "pair", "anchor"):
        paths = [small_runs.stage_path(root, name) for root in (tmp_path / "runs", by_one)]
        assert len({read_manifest(path)["digest"] for path in paths}) == 1, name
    assert small_runs.largest_difference(tmp_path / "runs", by_one) < 1e-5


def test_the_tasks_of_two_nodes_form_one_cluster_and_end_together(tmp_path):
    slurm.prepare(tmp_path, count_nodes, {})
    node = socket.gethostname()
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": node, "SLURM_NTASKS": "2"}
    job |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_LOCALID": "0", "SUBMITIT_EXECUTOR": "slurm"}
    job |= {"PYTHONPATH": str(small_runs.ROOT), "MASTER_PORT": str(small_runs.free_port())}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-c", TASK, str(tmp_path)],
            env=os.environ | job | {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)},
        )
        for rank in range(2)
    ]
    codes = [task.wait(120) for task in tasks]
    assert codes == [1, 0]  # the first raises the run's error, the other lent its node
    error = error_files.read(tmp_path)
    assert isinstance(error, CheckError)
    assert str(error) == "2 nodes with 2 CPUs"


@pytest.mark.faults
@pytest.mark.skipif(WHY_NOT is not None, reason=f"no Slurm on this machine: {WHY_NOT}")
def test_a_real_job_queued_again_and_left_by_its_command_goes_on(tmp_path, tiny_policy, by_one):
    path = small_runs.write_method(tmp_path, tiny_policy, SMALL)
    workspace = tmp_path / "runs"
    directory = tmp_path / "cluster"
    directory.mkdir()
    with slurm_cluster.cluster(directory) as environment:
        first = small_runs.start_command(path, workspace, environment)
        small_runs.wait_for_step(workspace, 4, [first])
        subprocess.run(["scancel", "--signal=USR2", "--user=root"], env=environment, check=True)
        first.kill()
        before, _ = first.communicate()
        second = small_runs.start_command(path, workspace, environment)
        after, _ = second.communicate(timeout=300)
    logs = "".join(log.read_text() for log in workspace.glob("slurm/method/*/*_log.*"))
    assert second.returncode == 0, after + logs
    jobs = [re.findall(r"Slurm job (\d+)", text) for text in (before, after)]
    assert jobs[0] == jobs[1] == ["1"]
    assert logs.count("Starting with JobEnvironment") == 2  # one task, twice
    assert small_runs.largest_difference(workspace, by_one) < 1e-5
