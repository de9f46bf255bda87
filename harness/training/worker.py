"""What torchrun starts in every process: `python -m harness.training.worker JOB`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from harness.config import build
from harness.errors import HarnessError
from harness.runs import quiet
from harness.training import launch
from harness.training.optimise import train


def main(path: Path) -> int:
    """Take part in the training that the file describes; return the exit code."""
    launch.end_with_us()
    job = json.loads(path.read_text(encoding="utf-8"))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        train(build(job["spec"]), job["t"], Path(job["out"]), job["inputs"], quiet)
    except HarnessError as error:
        launch.fail(path.parent, error)
        return error.exit_code
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
