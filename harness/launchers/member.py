"""What every process of a group runs: `python -m harness.launchers.member FOLDER`.

Whoever starts it sets the variables by which torch's processes find each other (RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR, MASTER_PORT), as torchrun does. Where one group after the other meets at
the same store, it gives each a name (HARNESS_GROUP).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness import work
from harness.errors import HarnessError
from harness.isolation import end_with_parent
from harness.launchers import failures

TASK = "task.json"
GROUP = "HARNESS_GROUP"
BACKENDS = "cpu:gloo,cuda:nccl"
"""What carries tensors between processes with GPUs: shards may lie in the processor's memory."""


def main(place: Path) -> int:
    """Take part in the task that lies in a folder; return the exit code."""
    import torch
    import torch.distributed as dist

    end_with_parent()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    meet(BACKENDS if torch.cuda.is_available() else "gloo")
    try:
        do, told = work.read(place / TASK)
        do(told)
    except HarnessError as error:
        failures.leave(place, error)
        return error.exit_code
    dist.destroy_process_group()
    return 0


def meet(backend: str) -> None:
    """Make torch's default group of all processes that were started for this task."""
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    name = os.environ.get(GROUP)
    if name is None:
        dist.init_process_group(backend)
        return
    store, rank, size = next(rendezvous("env://"))
    own = PrefixStore(name, store)
    dist.init_process_group(backend, store=own, rank=rank, world_size=size)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
