"""Shards on this machine: none twice, none half done, none lost with its worker."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.config import Component
from harness.core.hardware import gpu_names, visible_gpus
from harness.core.jobs import GroupJob, ShardedJob
from harness.core.manifests import read_manifest
from harness.core.workspace import Workspace
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine
from harness.errors import CheckError, ConfigError, HarnessError
from harness.launchers import error_files
from harness.launchers.local import LocalLauncher, lost_process_error, worker_environments
from harness.training import rollout, schedule
from harness.types import Advance
from tests.launchers.killed_workers import ENGINE
from tests.launchers.small_runs import digests, small_spec, stage_path
from tests.launchers.toy_jobs import fail_once, refuse_sum, results, shards_by_process, squares_of

PARENT = """
import sys
from pathlib import Path
from harness.launchers.local import LocalLauncher
from tests.launchers.toy_jobs import squares_of
LocalLauncher(workers=2).map_shards(squares_of(Path(sys.argv[1]), seconds=60), lambda _: None)
"""


def ignore(count: int) -> None:
    """Progress that nobody watches."""


@contextmanager
def logged_squares(payload):
    def run_shard(shard: int, out: Path, advance) -> None:
        if shard == payload.get("fails"):
            (out / "half").write_text("half of it")
            raise OSError("the machine went away")
        (out / "square").write_text(str(shard**2))
        with open(payload["log"], "a") as log:
            log.write(f"{shard}\n")
        advance(1)

    yield run_shard


def logged_job(directory: Path, **faults) -> ShardedJob:
    payload = {"log": str(directory / "log"), **faults}
    return ShardedJob(logged_squares, payload, (1,) * 4, directory / "work")


class CountingLauncher(Component):
    """A launcher that notes when it is asked for its processes, which are two."""

    calls: str
    inner: LocalLauncher = LocalLauncher()
    shard_size: int = 512

    def processes(self) -> int:
        Path(self.calls).touch()
        return 2

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        self.inner.map_shards(job, advance)

    def run_group(self, job: GroupJob, processes: int) -> None:
        raise CheckError(f"{processes} processes are to train")


def test_a_piece_that_failed_leaves_nothing_and_alone_is_missing(tmp_path):
    with pytest.raises(OSError, match="went away"):
        LocalLauncher().map_shards(logged_job(tmp_path, fails=2), ignore)
    assert logged_job(tmp_path).missing() == [2, 3]
    assert [path.name for path in (tmp_path / "work").iterdir() if "shard-" not in path.name] == []
    done: list[int] = []
    LocalLauncher().map_shards(logged_job(tmp_path), done.append)
    assert sum(done) == 4  # two stood, two were done
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3"]  # none twice
    assert results(logged_job(tmp_path)) == [0, 1, 4, 9]


def test_a_run_in_small_pieces_ends_in_the_same_weights(alone, tmp_path, tiny_policy):
    small = small_spec(
        tiny_policy, "launcher.shard_size=3"
    )  # 16 prompts: six shards instead of one
    workspace = Workspace(tmp_path / "small")
    schedule.train(small, workspace, "small")
    assert digests(workspace, small) == digests(alone, small)


def test_two_workers_share_one_queue(tmp_path):
    job, progress = squares_of(tmp_path, processes=2), []
    LocalLauncher(workers=2).map_shards(job, progress.append)
    assert results(job) == [0, 1, 4, 9, 16, 25, 36, 49]
    assert sum(progress) == 8
    shares = shards_by_process(tmp_path).values()
    assert len(shares) == 2
    assert sum(map(len, shares)) == 8  # none twice
    log = tmp_path / "work/workers/worker-0.log"
    assert log.read_text() == "ready to square\n"  # what is printed is no report


def test_more_workers_than_pieces_are_not_started(tmp_path):
    job = squares_of(tmp_path, 2)
    LocalLauncher(workers=5).map_shards(job, ignore)
    assert results(job) == [0, 1]
    logs = [path.name for path in (tmp_path / "work/workers").glob("*.log")]
    assert sorted(logs) == ["worker-0.log", "worker-1.log"]


@pytest.mark.parametrize("restarts", [0, 3])
def test_a_killed_workers_piece_goes_to_another(tmp_path, restarts):
    job, progress = squares_of(tmp_path, kills=3, times=1), []
    LocalLauncher(workers=2, restarts=restarts).map_shards(job, progress.append)
    assert results(job) == [0, 1, 4, 9, 16, 25, 36, 49]
    assert sum(progress) == 8  # the progress of the dead one is taken back
    shards = [entry.name.split("-")[0] for entry in (tmp_path / "diary").iterdir()]
    assert sorted(shards) == ["0", "1", "2", "3", "3", "4", "5", "6", "7"]


def test_a_piece_that_kills_twice_is_named_with_its_prompts_and_the_log(tmp_path):
    job = squares_of(tmp_path, kills=3, times=9)
    with pytest.raises(HarnessError, match="prompts 'a3' to 'b3' ended 2 workers") as caught:
        LocalLauncher(workers=2).map_shards(job, ignore)
    message = str(caught.value)
    assert "was killed by SIGKILL: ready to square | it is too much" in message
    assert "it is too much" in Path(message.rsplit("Its log: ", 1)[1]).read_text()
    assert 3 in job.missing()
    assert not {0, 1, 2} & set(job.missing())  # what was finished stands


def test_workers_that_cannot_start_are_replaced_so_often_and_no_more(tmp_path):
    launcher = LocalLauncher(workers=2, restarts=1)
    with pytest.raises(HarnessError, match="no worker is left; .* exit code 3: .*no room for"):
        launcher.map_shards(squares_of(tmp_path, cannot_start=True), ignore)
    logs = (tmp_path / "work/workers").glob("*.log")
    assert sum(log.read_text().count("no room") for log in logs) == 3  # two, and one more


def test_a_workers_error_comes_back_as_itself(tmp_path):
    job = squares_of(tmp_path, refuses=7)
    with pytest.raises(CheckError, match="^seven is not square$"):
        LocalLauncher(workers=2).map_shards(job, ignore)
    assert job.missing() == [7] or job.missing() == [6, 7]


def test_an_error_of_the_group_comes_back_as_itself(tmp_path):
    with pytest.raises(CheckError, match="^no sum of 2 is wanted: 3$"):
        LocalLauncher().run_group(GroupJob(refuse_sum, {}, tmp_path), 2)


def test_a_fault_of_one_process_of_two_is_named_with_its_traceback(tmp_path):
    with pytest.raises(HarnessError, match="^ValueError: there is no seventh day; ") as caught:
        LocalLauncher().run_group(GroupJob(fail_once, {}, tmp_path), 2)
    assert "in fail_once" in Path(str(caught.value).rpartition("is in ")[2]).read_text()


def test_the_first_error_of_a_group_stays_and_a_lost_process_is_none(tmp_path):
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")
    error_files.write_unexpected(tmp_path, lost, "log")
    assert error_files.read(tmp_path) is None
    error_files.write(tmp_path, CheckError("the cause"))
    error_files.write_unexpected(tmp_path, KeyError("later"), "log")
    assert str(error_files.read(tmp_path)) == "the cause"


@pytest.mark.parametrize(("printed", "words"), [("-9 (SIGKILL)", "perhaps for memory"), ("", "")])
def test_a_process_that_says_nothing_is_out_of_memory_only_if_it_was_killed(
    tmp_path, printed, words
):
    (tmp_path / "log").write_text(printed)
    message = str(lost_process_error(2, tmp_path / "log"))
    assert ("memory" in message) == bool(words)
    assert words in message


def test_workers_end_with_their_parent(tmp_path):
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)]) as parent:
        wait_for(lambda: len(list((tmp_path / "diary").glob("*"))) == 2)
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(map(alive, shards_by_process(tmp_path))))


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def test_two_workers_one_of_them_killed_make_the_same_samples(alone, tmp_path, tiny_policy, diary):
    launcher = {"use": "harness.launchers.local:LocalLauncher", "shard_size": 2, "workers": 2}
    engine = ENGINE | {"diary": str(diary)}
    spec = small_spec(tiny_policy, launcher=launcher, engine=engine)
    workspace = Workspace(tmp_path / "two")
    (generate,) = [stage for stage, _ in schedule.plan(spec, workspace) if stage.name == "generate"]
    sampled = workspace.stages.materialize(generate)
    assert (tmp_path / "killed").exists()
    shares = list(shards_by_process(tmp_path).values())
    assert sum("8" in share for share in shares) == 2  # by the dead one, and by another
    assert sum(map(len, shares)) == 9  # eight shards, one of them twice
    digest = read_manifest(stage_path(alone.root, "generate"))["digest"]
    assert read_manifest(Path(sampled.path))["digest"] == digest
    assert not list((workspace.root / "stages").rglob("worker-*.log"))  # gone with the scratch


def test_workers_have_gpus_and_cores_of_their_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.get_num_threads", lambda: 9)
    pairs = [(e["CUDA_VISIBLE_DEVICES"], e["OMP_NUM_THREADS"]) for e in worker_environments(2, 2)]
    assert pairs == [("0,1", "4"), ("2,3", "4")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c,GPU-d")
    names = [e["CUDA_VISIBLE_DEVICES"] for e in worker_environments(4, 1)]
    assert names == ["GPU-a", "GPU-b", "GPU-c", "GPU-d"]


def test_gpus_are_called_by_number_unless_visible_by_name():
    assert gpu_names(None, 2) == ["0", "1"]
    assert gpu_names("GPU-a,GPU-b,GPU-c", 3) == ["GPU-a", "GPU-b", "GPU-c"]
    assert gpu_names("4,5,-1,6", 2) == ["4", "5"]  # CUDA sees none behind one that it does not know
    assert gpu_names("", 0) == gpu_names("-1", 0) == []


def test_a_training_has_a_process_a_gpu_and_one_without():
    assert LocalLauncher().processes() == (len(visible_gpus()) or 1)


def test_how_many_processes_train_is_asked_when_they_begin_and_not_to_plan(
    alone, tmp_path, tiny_policy
):
    calls = tmp_path / "calls"
    launcher = {"use": "tests.launchers.test_local:CountingLauncher", "calls": str(calls)}
    spec, workspace = small_spec(tiny_policy, launcher=launcher), Workspace(tmp_path / "runs")
    shutil.copytree(alone.root, workspace.root)
    (path,) = [path for stage, path in schedule.plan(spec, workspace) if stage.name == "optimise"]
    shutil.rmtree(path)
    schedule.plan(spec, workspace)
    assert not calls.exists()
    with pytest.raises(CheckError, match="^2 processes are to train$"):
        schedule.train(spec, workspace, "counted")
    calls.unlink()
    alone_again = small_spec(tiny_policy, "optimiser.processes=1", launcher=launcher)
    schedule.train(alone_again, workspace, "counted")
    assert not calls.exists()  # a spec that says how many asks no launcher


def test_more_workers_than_gpus_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    job = ShardedJob(logged_squares, {}, (1,), tmp_path / "work", gpus=2)
    with pytest.raises(ConfigError, match="3 with 2 GPUs each, and this machine has 4"):
        LocalLauncher(workers=3).map_shards(job, ignore)


def test_the_engine_says_how_many_gpus_a_worker_needs():
    assert rollout.engine_gpus(VLLMEngine(tensor_parallel_size=4)) == 4
    assert rollout.engine_gpus(TransformersEngine()) == 1
