"""The parts of a gang without torchrun: signs of life, pieces given out, GPUs, what is told."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist

from harness.core.jobs import ShardedJob
from harness.errors import CheckError, ConfigError, HarnessError
from harness.launchers import gang, gpus, serving
from harness.launchers.pulse import Pulse
from harness.launchers.torchrun import TorchrunLauncher


@contextmanager
def squares(told):
    def do(piece: int, out: Path, advance) -> None:
        if piece == told.get("raises"):
            raise CheckError("a figure does not hold")
        if piece == told.get("ends"):
            os._exit(7)
        if piece == told.get("ends-once") and not Path(told["place"], "once").exists():
            Path(told["place"], "once").touch()
            os._exit(7)
        (out / "square").write_text(f"{piece**2}")
        advance(1)

    yield do


def work(place: Path, **told) -> ShardedJob:
    return ShardedJob(squares, {"place": str(place), **told}, (1,) * 4, place / "work")


@pytest.fixture
def store(monkeypatch) -> dist.TCPStore:
    """A store for a gang of one, whose variables stand as under torchrun."""
    made = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=30))
    variables = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    variables |= {"MASTER_PORT": str(made.port), gang.HOSTED: "True", gang.SESSION: "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def serving_one(store):
    """A process of a gang that serves, as a thread of this one."""
    with gang.pulse(0, [], patience=30) as heard:
        thread = threading.Thread(target=serving.serve, args=(heard, 0))
        thread.start()
        yield
        heard.tell(serving.END, "0")
        thread.join(10)


def spread(told: ShardedJob) -> int:
    done: list[int] = []
    TorchrunLauncher(patience=30).map_shards(told, done.append)
    return sum(done)


def test_a_piece_whose_process_broke_down_is_done_in_the_next_round(serving_one, tmp_path):
    told = work(tmp_path, **{"ends-once": 2})
    assert spread(told) == 4
    assert [(part / "square").read_text() for part in told.shard_paths()] == ["0", "1", "4", "9"]


def test_a_piece_that_breaks_every_process_ends_the_run_and_so_does_an_error(serving_one, tmp_path):
    broken = r"process 1 of 1 on \S+ ended with exit code 7; .*piece 2 was not finished"
    with pytest.raises(HarnessError, match=broken):
        spread(work(tmp_path, ends=2))
    assert work(tmp_path).missing() == [2, 3]  # the only process that there is has tried twice
    with pytest.raises(CheckError, match="^a figure does not hold$"):
        spread(work(tmp_path, raises=2))


def test_who_falls_silent_is_lost_after_the_patience_and_who_speaks_is_not(store):
    here = Pulse(store, 0, [1, 2], patience=1.5)
    there = Pulse(dist.TCPStore("127.0.0.1", store.port), 1, [0], patience=30)
    for pulse in (here, there):
        pulse.start()
    there.tell("word", "said")
    time.sleep(2.5)
    assert here.lost() == [2]
    assert here.heard("word") is None  # awaited from now on
    there.close()
    time.sleep(2.5)
    assert here.lost() == [1, 2]
    assert here.heard("word") == "said"
    here.close()


def test_a_store_that_is_gone_loses_everybody_at_once():
    made = dist.TCPStore("127.0.0.1", 0, is_master=True)
    pulse = Pulse(dist.TCPStore("127.0.0.1", made.port), 1, [0], patience=600)
    pulse.start()
    time.sleep(0.5)
    assert pulse.lost() == []
    del made
    time.sleep(1)
    assert pulse.lost() == [0]
    with pytest.raises(HarnessError, match="no sign of life.*start the same command again"):
        serving.serve(pulse, 1)


def test_a_dead_gang_at_the_same_store_is_not_joined(store):
    store.add("harness/session", 1)
    store.set("harness/1/alive/0", "34")  # torchrun has restarted everybody: nobody beats here

    def begin() -> None:
        time.sleep(1.5)
        own = dist.TCPStore("127.0.0.1", store.port)
        assert own.add("harness/session", 1) == 2
        for beat in range(1, 30):
            own.set("harness/2/alive/0", str(beat))
            time.sleep(0.2)

    threading.Thread(target=begin, daemon=True).start()
    assert gang.session(store) == "2"


def test_more_processes_than_were_started_are_refused(store, tmp_path):
    with pytest.raises(ConfigError, match="3 processes are to train and 1 were started"):
        TorchrunLauncher().run_group(None, 3)


def test_without_torchrun_the_command_says_how_to_start_it(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="torchrun --nnodes MACHINES .*--launcher torchrun"):
        TorchrunLauncher().launch(print, {}, print)


def placed(rank: int, **more: str) -> dict[str, str]:
    variables = {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "4", **more}
    gpus.keep_own(variables)
    return variables


def test_each_process_has_a_gpu_and_those_that_need_two_take_a_neighbours():
    told = [placed(rank) for rank in range(4)]
    assert [v["CUDA_VISIBLE_DEVICES"] for v in told] == ["0", "1", "2", "3"]
    assert {v["LOCAL_RANK"] for v in told} == {"0"}
    assert [gpus.several(v, 2) for v in told] == ["0,1", None, "2,3", None]
    assert [gpus.several(v, 3) for v in told] == ["0,1,2", None, None, None]  # 3 alone are too few
    some = [placed(rank, CUDA_VISIBLE_DEVICES="4,5,6,7") for rank in range(4)]
    assert [v["CUDA_VISIBLE_DEVICES"] for v in some] == ["4", "5", "6", "7"]
    own = placed(3, CUDA_VISIBLE_DEVICES="6")  # Slurm has bound the task to one
    assert own["CUDA_VISIBLE_DEVICES"] == "6"
    assert gpus.several(own, 2) is None
