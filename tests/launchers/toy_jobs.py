"""Jobs that need no model: importable by name in every worker, and light to import."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from harness.core.jobs import ShardedJob
from harness.errors import CheckError


def squares_of(directory: Path, count: int = 8, **faults) -> ShardedJob:
    """Square the numbers below `count`; `faults` says what fails."""
    names = tuple(f"prompts 'a{n}' to 'b{n}'" for n in range(count))
    diary = directory / "diary"
    diary.mkdir(exist_ok=True)
    payload = {"diary": str(diary), **faults}
    return ShardedJob(squares, payload, (1,) * count, directory / "work", names=names)


@contextmanager
def squares(payload):
    diary = Path(payload["diary"])
    sys.stdout.write("ready to square\n")
    if payload.get("cannot_start"):
        sys.stdout.write("no room for the weights\n")
        os._exit(3)

    def run_shard(shard: int, out: Path, advance) -> None:
        (diary / f"{shard}-{os.getpid()}").touch()
        (out / "square").write_text(str(shard**2))
        advance(1)
        time.sleep(payload.get("seconds", 0))
        wait_for_processes(diary, payload.get("processes", 1))
        if shard == payload.get("refuses"):
            raise CheckError("seven is not square")
        attempts = len(list(diary.glob(f"{shard}-*")))
        if shard == payload.get("kills") and attempts <= payload["times"]:
            sys.stdout.write("it is too much\n")
            os.kill(os.getpid(), signal.SIGKILL)

    yield run_shard


def wait_for_processes(diary: Path, count: int) -> None:
    """Wait until a number of processes have begun a shard, so that each has a share."""
    deadline = time.monotonic() + 60
    while len({entry.name.split("-")[1] for entry in diary.iterdir()}) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def results(job: ShardedJob) -> list[int]:
    return [int((path / "square").read_text()) for path in job.shard_paths()]


def shards_by_process(directory: Path) -> dict[str, set[str]]:
    """The shards that each process began, from the diary in a directory."""
    shards: dict[str, set[str]] = {}
    for entry in (directory / "diary").iterdir():
        shard, process = entry.name.split("-")
        shards.setdefault(process, set()).add(shard)
    return shards


def refuse_sum(payload) -> None:
    """A group whose processes add their ranks, and then fail."""
    import torch
    import torch.distributed as dist

    total = torch.tensor(float(dist.get_rank() + 1))
    dist.all_reduce(total)
    raise CheckError(f"no sum of {dist.get_world_size()} is wanted: {total.item():g}")


def fail_once(payload) -> None:
    """A group of which one process fails by a fault of its own, while the others wait for it."""
    import torch
    import torch.distributed as dist

    if dist.get_rank() == 1:
        raise ValueError("there is no seventh day")
    dist.all_reduce(torch.zeros(1))


def count_nodes(payload) -> None:
    """A run in a Slurm job that fails with what its cluster consists of."""
    import ray

    cpus = ray.cluster_resources()["CPU"]
    raise CheckError(f"{len(ray.nodes())} nodes with {cpus:g} CPUs")


def do_nothing(payload) -> None:
    """A run of nothing."""
