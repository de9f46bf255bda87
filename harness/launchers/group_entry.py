"""What every process of a group runs: `python -m harness.launchers.group_entry FOLDER`.

Whoever starts it sets the variables by which torch's processes find each other (RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR, MASTER_PORT), as torchrun does. Where one group after the other meets at
the same store, it gives each a name (HARNESS_GROUP).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.core import jobs
from harness.core.processes import die_with_parent
from harness.errors import HarnessError
from harness.launchers import error_files

GROUP_JOB_FILE = "task.json"
GROUP = "HARNESS_GROUP"
BACKENDS = "cpu:gloo,cuda:nccl"
"""What carries tensors between processes with GPUs: shards may lie in the processor's memory."""


def main(directory: Path) -> int:
    """Take part in the task that lies in a folder; return the exit code."""
    import torch
    import torch.distributed as dist

    die_with_parent()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    join_group(BACKENDS if torch.cuda.is_available() else "gloo")
    try:
        run, payload = jobs.read_call(directory / GROUP_JOB_FILE)
        run(payload)
    except HarnessError as error:
        error_files.write(directory, error)
        return error.exit_code
    dist.destroy_process_group()
    return 0


def join_group(backend: str) -> None:
    """Make torch's default group of all processes that were started for this task."""
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    name = os.environ.get(GROUP)
    if name is None:
        dist.init_process_group(backend)
        return
    store, rank, size = next(rendezvous("env://"))
    group_store = PrefixStore(name, store)
    dist.init_process_group(backend, store=group_store, rank=rank, world_size=size)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
