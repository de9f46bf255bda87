"""A real cluster of two nodes on this machine: what it makes, also when it loses a worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from harness.core.jobs import GroupJob
from harness.core.workspace import Workspace
from harness.errors import CheckError, ConfigError, HarnessError, MissingDependencyError, StoreError
from harness.launchers.ray import QUIET_VARIABLES, RayLauncher
from harness.launchers.ray_workers import ShardActor
from harness.training import schedule
from tests.launchers.conftest import MORTAL, digests, method
from tests.launchers.doing import gathered, squares_of, who_did

pytest.importorskip("ray", reason="Ray is not installed: pip install 'preference-harness[cluster]'")
NOBODY = lambda _: None  # noqa: E731


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


@pytest.fixture(scope="module")
def trained(address, tmp_path_factory):
    """A run on the cluster, of which a worker was killed; where it is, and where its diary is."""
    place = tmp_path_factory.mktemp("ray")
    (place / "diary").mkdir()
    launcher = {"use": "harness.launchers.ray:RayLauncher", "piece": 2, "address": address}
    spec = method(launcher=launcher, engine=MORTAL | {"diary": str(place / "diary")})
    workspace = Workspace(place / "runs")
    schedule.train(spec, workspace, "ray")
    return workspace, spec, place


def test_a_run_of_which_a_worker_was_killed_is_what_one_process_makes(alone, trained):
    workspace, spec, place = trained
    assert (place / "killed").exists()
    shares = list(who_did(place).values())
    assert sum(map(len, shares)) == 9  # eight pieces, one of them twice
    assert sum("8" in share for share in shares) == 2
    assert sum(len(share) > 1 for share in shares) >= 2  # two had several
    assert digests(workspace, spec) == digests(alone, spec)


def weights(workspace: Workspace, **keys):
    found = schedule.train(method("optimiser.processes=2", **keys), workspace, "two")
    return load_file(Path(found.policies[-1]) / "model.safetensors")


def test_two_processes_of_the_cluster_train_what_two_of_torchrun_do(alone, trained, tmp_path):
    _, spec, _ = trained
    made = []
    for name, launcher in (("ray", spec.launcher), ("local", method().launcher)):
        copy = Workspace(tmp_path / name)
        shutil.copytree(alone.root, copy.root)
        (path,) = [p for s, p in schedule.plan(spec, copy) if s.name == "optimise"]
        shutil.rmtree(path)
        made.append(weights(copy, launcher=launcher))
    ray, local = made
    assert ray.keys() == local.keys()
    assert max(float((ray[name] - local[name]).abs().max()) for name in ray) < 1e-5


def test_a_piece_that_kills_twice_is_named_with_its_prompts_and_the_log(address, tmp_path):
    work = squares_of(tmp_path, kills=3, times=9)
    with pytest.raises(HarnessError, match="prompts 'a3' to 'b3' ended 2 workers") as caught:
        RayLauncher(address=address).map_shards(work, NOBODY)
    assert "it is too much" in Path(str(caught.value).rsplit("Its log: ", 1)[1]).read_text()
    assert not {0, 1, 2} & set(work.missing())


def test_a_workers_error_comes_back_as_itself(address, tmp_path):
    with pytest.raises(CheckError, match="^seven is not square$"):
        RayLauncher(address=address).map_shards(squares_of(tmp_path, refuses=7), NOBODY)


def test_an_error_of_the_group_comes_back_as_itself(address, tmp_path):
    task = GroupJob(gathered, {"refuses": True}, tmp_path / "task")
    with pytest.raises(CheckError, match="^no sum is wanted$"):
        RayLauncher(address=address).run_group(task, 2)


def test_a_cluster_that_is_too_small_is_told_at_once(address, tmp_path):
    with pytest.raises(ConfigError, match="takes 64 CPUs, and the whole cluster has 2"):
        RayLauncher(address=address, cpus_per_worker=64).map_shards(squares_of(tmp_path), NOBODY)
    task = GroupJob(gathered, {}, tmp_path / "task")
    with pytest.raises(ConfigError, match="processes: 3, and the cluster has room for 2"):
        RayLauncher(address=address).run_group(task, 3)


def test_a_training_has_a_process_a_gpu_of_the_cluster_and_one_without(address):
    assert RayLauncher(address=address).processes() == 1
    one, four = RayLauncher(), RayLauncher(cpus_per_worker=4)
    assert one.training_processes({"CPU": 64.0, "GPU": 16.0}) == 16
    assert (
        four.training_processes({"CPU": 24.0, "GPU": 16.0}) == 6
    )  # 24 / 4: the processors are the fewer
    with pytest.raises(ConfigError, match="takes 4 CPUs, and the whole cluster has 2"):
        four.training_processes({"CPU": 2.0, "GPU": 1.0})


def test_a_worker_that_never_has_room_is_told_after_a_while(address, tmp_path):
    launcher = RayLauncher(address=address, workers=1, cpus_per_worker=2, start_timeout=1)
    with pytest.raises(HarnessError, match="no worker has started in 1 seconds: each takes 2 CPU"):
        launcher.map_shards(squares_of(tmp_path), NOBODY)  # each node has one


def test_a_node_that_does_not_see_the_workspace_says_so(tmp_path):
    said = ShardActor().load(str(tmp_path / "elsewhere"), str(tmp_path / "log"), str(tmp_path))
    assert said["error"]["kind"] == StoreError.__name__
    assert "does not see" in said["error"]["message"]
    assert "--workspace" in said["error"]["message"]


def test_without_ray_its_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        MissingDependencyError, match=r"pip install 'preference-harness\[cluster\]'"
    ):
        RayLauncher().map_shards(squares_of(tmp_path), NOBODY)


def test_the_command_trains_on_a_cluster_of_its_own_and_prints_what_it_always_prints(
    tmp_path, tiny_policy
):
    policy = f"policy={{use: 'harness.training.sources:Pretrained', name: t, path: {tiny_policy}}}"
    small = ("prompts.count=8", "samples=2", "iterations=1", "optimiser.epochs=1")
    launched = ("launcher.address=local", "launcher.workers=1", "launcher.shard_size=4")
    sets = [word for key in (policy, *small, *launched) for word in ("--set", key)]
    command = ["-m", "harness", "train", "toy/inpo", "--launcher", "ray", *sets, "--json"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, *command, "--workspace", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"]
    told = [line for line in done.stderr.splitlines() if "INPO" not in line]
    assert told == []  # nothing of Ray's


def test_an_address_where_nobody_answers_is_told_in_a_line():
    code = "from harness.launchers.ray import joined; joined('ray://127.0.0.1:9')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "1"},
        capture_output=True,
        text=True,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "HarnessError: no Ray cluster answers at 'ray://127.0.0.1:9'" in last
    assert "RAY_AUTH_MODE=token" in last
