"""The program of each process of a group: `python -m harness.launchers.group_entry DIRECTORY`.

torchrun starts it, with the variables by which torch's processes meet (RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR, MASTER_PORT).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.core import jobs
from harness.core.hardware import group_backend
from harness.core.processes import die_with_parent
from harness.errors import HarnessError
from harness.launchers import error_files

GROUP_JOB_FILE = "group.json"
LOG = "processes.log"
"""What all processes print."""


def main(directory: Path) -> int:
    """Join the group, and call the function of the job in a directory; return the exit code."""
    import torch
    import torch.distributed as dist

    die_with_parent()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(group_backend(torch.cuda.is_available()))
    try:
        run, payload = jobs.read_call(directory / GROUP_JOB_FILE)
        run(payload)
    except HarnessError as error:
        error_files.write(directory, error)
        return error.exit_code
    except Exception as error:
        error_files.write_unexpected(directory, error, str(directory / LOG))
        raise
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
