"""Pieces of work on this machine: none twice, none half done, none lost with who did it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.hardware import gpu_names, visible_gpus
from harness.core.jobs import ShardedJob
from harness.core.stages import PROVENANCE, TIMING
from harness.core.workspace import Workspace
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine
from harness.errors import CheckError, ConfigError, HarnessError
from harness.launchers.local import LocalLauncher, worker_environments
from harness.training import rollout, schedule
from tests.launchers.conftest import MORTAL, digests, method
from tests.launchers.doing import squares_of, who_did

PARENT = """
import sys
from pathlib import Path
from harness.launchers.local import LocalLauncher
from tests.launchers.doing import squares_of
LocalLauncher(workers=2).spread(squares_of(Path(sys.argv[1]), seconds=60), lambda _: None)
"""
NOBODY = lambda _: None  # noqa: E731


@contextmanager
def squares(told):
    def do(piece: int, out: Path, advance) -> None:
        if piece == told.get("fails"):
            (out / "half").write_text("half of it")
            raise OSError("the machine went away")
        (out / "square").write_text(str(piece**2))
        with open(told["log"], "a") as log:
            log.write(f"{piece}\n")
        advance(1)

    yield do


def of(place: Path, **told) -> ShardedJob:
    return ShardedJob(squares, {"log": str(place / "log"), **told}, (1,) * 4, place / "work")


def test_a_piece_that_failed_leaves_nothing_and_alone_is_missing(tmp_path):
    with pytest.raises(OSError, match="went away"):
        LocalLauncher().map_shards(of(tmp_path, fails=2), lambda _: None)
    assert of(tmp_path).missing() == [2, 3]
    assert [path.name for path in (tmp_path / "work").iterdir() if "shard-" not in path.name] == []
    done: list[int] = []
    LocalLauncher().map_shards(of(tmp_path), done.append)
    assert sum(done) == 4  # two stood, two were done
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3"]  # none twice
    told = [(part / "square").read_text() for part in of(tmp_path).shard_paths()]
    assert told == ["0", "1", "4", "9"]


def test_a_run_in_small_pieces_ends_in_the_same_weights(alone, tmp_path):
    small = method("launcher.shard_size=3")  # 16 prompts: six pieces instead of one
    workspace = Workspace(tmp_path / "small")
    schedule.train(small, workspace, "small")
    assert digests(workspace, small) == digests(alone, small)


def squared(work: ShardedJob) -> list[int]:
    return [int((part / "square").read_text()) for part in work.shard_paths()]


def test_two_workers_share_one_queue(tmp_path):
    work, told = squares_of(tmp_path), []
    LocalLauncher(workers=2).map_shards(work, told.append)
    assert squared(work) == [0, 1, 4, 9, 16, 25, 36, 49]
    assert sum(told) == 8
    shares = who_did(tmp_path).values()
    assert len(shares) == 2
    assert sum(map(len, shares)) == 8  # none twice
    assert min(map(len, shares)) > 1
    log = tmp_path / "work/workers/worker-0.log"
    assert log.read_text() == "ready to square\n"  # what is printed is no report


def test_more_workers_than_pieces_are_not_started(tmp_path):
    work = squares_of(tmp_path, 2)
    LocalLauncher(workers=5).map_shards(work, NOBODY)
    assert squared(work) == [0, 1]
    logs = [path.name for path in (tmp_path / "work/workers").glob("*.log")]
    assert sorted(logs) == ["worker-0.log", "worker-1.log"]


@pytest.mark.parametrize("restarts", [0, 3])
def test_a_killed_workers_piece_goes_to_another(tmp_path, restarts):
    work, told = squares_of(tmp_path, kills=3, times=1), []
    LocalLauncher(workers=2, restarts=restarts).map_shards(work, told.append)
    assert squared(work) == [0, 1, 4, 9, 16, 25, 36, 49]
    assert sum(told) == 8  # what the dead one had told is taken back
    begun = [entry.name.split("-")[0] for entry in (tmp_path / "diary").iterdir()]
    assert sorted(begun) == ["0", "1", "2", "3", "3", "4", "5", "6", "7"]


def test_a_piece_that_kills_twice_is_named_with_its_prompts_and_the_log(tmp_path):
    work = squares_of(tmp_path, kills=3, times=9)
    with pytest.raises(HarnessError, match="prompts 'a3' to 'b3' ended 2 workers") as caught:
        LocalLauncher(workers=2).map_shards(work, NOBODY)
    message = str(caught.value)
    assert "was killed by SIGKILL: ready to square | it is too much" in message
    assert "it is too much" in Path(message.rsplit("Its log: ", 1)[1]).read_text()
    assert 3 in work.missing()
    assert not {0, 1, 2} & set(work.missing())  # what was finished stands


def test_workers_that_cannot_start_are_replaced_so_often_and_no_more(tmp_path):
    launcher = LocalLauncher(workers=2, restarts=1)
    with pytest.raises(HarnessError, match="no worker is left; .* exit code 3: .*no room for"):
        launcher.map_shards(squares_of(tmp_path, unfit=True), NOBODY)
    logs = (tmp_path / "work/workers").glob("*.log")
    assert sum(log.read_text().count("no room") for log in logs) == 3  # two, and one more


def test_a_workers_error_comes_back_as_itself(tmp_path):
    work = squares_of(tmp_path, refuses=7)
    with pytest.raises(CheckError, match="^seven is not square$"):
        LocalLauncher(workers=2).map_shards(work, NOBODY)
    assert work.missing() == [7] or work.missing() == [6, 7]


def test_workers_end_with_their_parent(tmp_path):
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)]) as parent:
        wait_for(lambda: len(list((tmp_path / "diary").glob("*"))) == 2)
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(map(alive, who_did(tmp_path))))


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


def test_two_workers_one_of_them_killed_make_the_same_policy(alone, tmp_path, diary):
    launcher = {"use": "harness.launchers.local:LocalLauncher", "piece": 2, "workers": 2}
    spec = method(launcher=launcher, engine=MORTAL | {"diary": str(diary)})
    workspace = Workspace(tmp_path / "two")
    schedule.train(spec, workspace, "two")
    assert (tmp_path / "killed").exists()
    shares = list(who_did(tmp_path).values())
    assert sum("8" in share for share in shares) == 2  # by the dead one, and by another
    assert all(len(share) > 1 for share in shares[:2])
    assert sum(map(len, shares)) == 9  # eight pieces, one of them twice
    assert digests(workspace, spec) == digests(alone, spec)
    assert not list((workspace.root / "stages").rglob("worker-*.log"))  # gone with the scratch


def test_workers_have_gpus_and_cores_of_their_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.get_num_threads", lambda: 9)
    told = [(e["CUDA_VISIBLE_DEVICES"], e["OMP_NUM_THREADS"]) for e in worker_environments(2, 2)]
    assert told == [("0,1", "4"), ("2,3", "4")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c,GPU-d")
    told = [e["CUDA_VISIBLE_DEVICES"] for e in worker_environments(4, 1)]
    assert told == ["GPU-a", "GPU-b", "GPU-c", "GPU-d"]


def test_gpus_are_called_by_number_unless_they_were_told_by_name():
    assert gpu_names(None, 2) == ["0", "1"]
    assert gpu_names("GPU-a,GPU-b,GPU-c", 3) == ["GPU-a", "GPU-b", "GPU-c"]
    assert gpu_names("4,5,-1,6", 2) == ["4", "5"]  # CUDA sees none behind one that it does not know
    assert gpu_names("", 0) == gpu_names("-1", 0) == []


def test_a_training_has_a_process_a_gpu_and_one_without():
    assert LocalLauncher().processes() == (len(visible_gpus()) or 1)


def test_how_many_processes_train_is_asked_when_they_begin_and_not_to_plan(alone, tmp_path):
    launcher = {"use": "tests.launchers.doing:Counted", "asked": str(tmp_path / "asked")}
    spec, workspace = method(launcher=launcher), Workspace(tmp_path / "runs")
    shutil.copytree(alone.root, workspace.root)
    (path,) = [path for stage, path in schedule.plan(spec, workspace) if stage.name == "optimise"]
    shutil.rmtree(path)
    schedule.plan(spec, workspace)
    assert not (tmp_path / "asked").exists()
    found = schedule.train(spec, workspace, "counted")
    assert (tmp_path / "asked").exists()
    worked = json.loads((Path(found.policies[-1]) / PROVENANCE / TIMING).read_text())
    assert worked["accelerators"] == 2
    (tmp_path / "asked").unlink()
    shutil.rmtree(path)
    schedule.train(method("optimiser.processes=1", launcher=launcher), workspace, "counted")
    assert not (tmp_path / "asked").exists()  # who says how many asks nobody


def test_more_workers_than_gpus_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    work = ShardedJob(squares, {}, (1,), tmp_path / "work", gpus=2)
    with pytest.raises(ConfigError, match="3 with 2 GPUs each, and this machine has 4"):
        LocalLauncher(workers=3).map_shards(work, NOBODY)


def test_the_engine_says_how_many_gpus_a_worker_needs():
    assert rollout.engine_gpus(VLLMEngine(tensor_parallel_size=4)) == 4
    assert rollout.engine_gpus(TransformersEngine()) == 1
