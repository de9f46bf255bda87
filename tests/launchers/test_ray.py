"""A real cluster of two nodes on this machine: its results, also when it loses a worker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.jobs import GroupJob
from harness.core.workspace import Workspace
from harness.errors import CheckError, ConfigError, HarnessError, MissingDependencyError, StoreError
from harness.launchers.ray import QUIET_VARIABLES, RayLauncher
from harness.launchers.ray_workers import ShardActor
from harness.training import schedule
from tests.launchers import small_runs
from tests.launchers.toy_jobs import refuse_sum, results, shards_by_process, squares_of

pytest.importorskip("ray", reason="Ray is not installed: pip install 'preference-harness[cluster]'")
OWN_CLUSTER = """
import sys, psutil
from pathlib import Path
from harness.launchers.ray import RayLauncher
from tests.launchers.toy_jobs import squares_of
job = squares_of(Path(sys.argv[1]), 2)
RayLauncher(address="local", workers=1).map_shards(job, lambda _: None)
names = {child.name(): child.pid for child in psutil.Process().children(recursive=True)}
print(names["raylet"])
"""
KEPT_VARIABLES = ("PATH", "PYTHONPATH", "HOME", "RAY_worker_niceness")


def ignore(count: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def address():
    """Two nodes with a processor each."""
    os.environ.update(QUIET_VARIABLES)
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def test_a_killed_workers_shard_goes_to_another(address, tmp_path):
    job, progress = squares_of(tmp_path, kills=3, times=1, processes=2), []
    RayLauncher(address=address).map_shards(job, progress.append)
    assert results(job) == [0, 1, 4, 9, 16, 25, 36, 49]
    assert sum(progress) == 8
    shares = list(shards_by_process(tmp_path).values())
    assert sum(map(len, shares)) == 9  # eight shards, one of them twice
    assert sum("3" in share for share in shares) == 2  # by the dead one, and by another


def test_two_processes_of_the_cluster_train_what_one_process_does(
    alone, address, tmp_path, tiny_policy
):
    copy = Workspace(tmp_path / "runs")
    shutil.copytree(alone.root, copy.root)
    shutil.rmtree(small_runs.stage_path(copy.root, "optimise"))
    launcher = {"use": "harness.launchers.ray:RayLauncher", "address": address}
    spec = small_runs.small_spec(tiny_policy, "optimiser.processes=2", launcher=launcher)
    schedule.train(spec, copy, "two")
    assert small_runs.training_processes(copy.root) == 2
    assert small_runs.largest_difference(copy.root, alone.root) < 1e-5


def test_a_piece_that_kills_twice_is_named_with_its_prompts_and_the_log(address, tmp_path):
    job = squares_of(tmp_path, kills=3, times=9)
    with pytest.raises(HarnessError, match="prompts 'a3' to 'b3' ended 2 workers") as caught:
        RayLauncher(address=address).map_shards(job, ignore)
    assert "it is too much" in Path(str(caught.value).rsplit("Its log: ", 1)[1]).read_text()
    assert not {0, 1, 2} & set(job.missing())


def test_a_workers_error_comes_back_as_itself(address, tmp_path):
    with pytest.raises(CheckError, match="^seven is not square$"):
        RayLauncher(address=address).map_shards(squares_of(tmp_path, refuses=7), ignore)


def test_an_error_of_the_group_comes_back_as_itself(address, tmp_path):
    job = GroupJob(refuse_sum, {}, tmp_path / "group")
    with pytest.raises(CheckError, match="^no sum of 1 is wanted: 1$"):
        RayLauncher(address=address).run_group(job, 1)


def test_a_cluster_that_is_too_small_is_reported_at_once(address, tmp_path):
    with pytest.raises(ConfigError, match="takes 64 CPUs, and the whole cluster has 2"):
        RayLauncher(address=address, cpus_per_worker=64).map_shards(squares_of(tmp_path), ignore)
    job = GroupJob(refuse_sum, {}, tmp_path / "group")
    with pytest.raises(ConfigError, match="processes: 3, and the cluster has room for 2"):
        RayLauncher(address=address).run_group(job, 3)


def test_a_training_has_a_process_a_gpu_of_the_cluster_and_one_without(address):
    assert RayLauncher(address=address).processes() == 1
    single, four = RayLauncher(), RayLauncher(cpus_per_worker=4)
    assert single.training_processes({"CPU": 64.0, "GPU": 16.0}) == 16
    assert four.training_processes({"CPU": 24.0, "GPU": 16.0}) == 6  # 24 / 4 < 16
    with pytest.raises(ConfigError, match="takes 4 CPUs, and the whole cluster has 2"):
        four.training_processes({"CPU": 2.0, "GPU": 1.0})


def test_a_worker_that_never_has_room_is_reported_after_a_while(address, tmp_path):
    launcher = RayLauncher(address=address, workers=1, cpus_per_worker=2, start_timeout=1)
    with pytest.raises(HarnessError, match="no worker has started in 1 seconds: each takes 2 CPU"):
        launcher.map_shards(squares_of(tmp_path), ignore)  # each node has one


def test_a_node_that_does_not_see_the_workspace_says_so(tmp_path):
    reply = ShardActor().load(str(tmp_path / "elsewhere"), str(tmp_path / "log"), str(tmp_path))
    assert reply["error"]["kind"] == StoreError.__name__
    assert "does not see" in reply["error"]["message"]
    assert "--workspace" in reply["error"]["message"]


def test_without_ray_its_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        MissingDependencyError, match=r"pip install 'preference-harness\[cluster\]'"
    ):
        RayLauncher().map_shards(squares_of(tmp_path), ignore)


def test_a_cluster_of_its_own_prints_nothing_and_ends_with_the_process(tmp_path):
    completed = subprocess.run(
        [sys.executable, "-c", OWN_CLUSTER, str(tmp_path)],
        env={k: v for k, v in os.environ.items() if k in KEPT_VARIABLES},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stderr
    assert results(squares_of(tmp_path, 2)) == [0, 1]
    assert completed.stderr == ""  # nothing of Ray's
    assert int(completed.stdout) > 0
    deadline = time.monotonic() + 60
    while Path(f"/proc/{completed.stdout.strip()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_address_where_nobody_answers_is_reported_in_a_line():
    code = "from harness.launchers.ray import connect; connect('ray://127.0.0.1:9')"
    completed = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "1"},
        capture_output=True,
        text=True,
    )
    last = completed.stderr.strip().splitlines()[-1]
    assert "HarnessError: no Ray cluster answers at 'ray://127.0.0.1:9'" in last
    assert "RAY_AUTH_MODE=token" in last
