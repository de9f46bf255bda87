"""What every worker of this machine runs: `python -m harness.launchers.shard_entry FOLDER`.

It reads from standard input which piece to do next, a number a line, and tells on standard output
how far it is, a line of JSON each. What others print there goes where its errors go: to its log.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.core import jobs
from harness.core.jobs import ShardedJob
from harness.core.processes import die_with_parent
from harness.errors import HarnessError
from harness.launchers import error_files

SHARDED_JOB_FILE = "work.json"


def write_job(job: ShardedJob, directory: Path) -> None:
    """Write what a worker must know of the work."""
    data = {"told": job.payload, "sizes": job.sizes, "place": job.directory}
    jobs.write_call(directory / SHARDED_JOB_FILE, job.open, data)


def read_job(directory: Path) -> ShardedJob:
    """Return the work that was handed over."""
    open_job, data = jobs.read_call(directory / SHARDED_JOB_FILE)
    return ShardedJob(open_job, data["told"], tuple(data["sizes"]), Path(data["place"]))


def main(directory: Path) -> int:
    """Do the pieces that are asked for until no more are; return the exit code."""
    die_with_parent()
    report = reporter()
    try:
        job = read_job(directory)
        with job.open(job.payload) as run:
            report(free=True)
            for line in sys.stdin:
                jobs.run_shard(job, run, int(line), lambda count: report(advance=count))
                report(free=True)
    except HarnessError as error:
        report(error=error_files.to_data(error))
        return error.exit_code
    return 0


def reporter() -> Callable[..., None]:
    """Keep standard output for reports; have everything else that is printed go to the log."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # unbuffered: a killed worker's last words are in its log

    def report(**message: Any) -> None:
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()

    return report


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
