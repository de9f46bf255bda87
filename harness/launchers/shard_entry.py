"""The program of a local worker: `python -m harness.launchers.shard_entry DIRECTORY`.

It reads shard numbers from standard input, one per line, and reports on standard output, one JSON
object per line. Everything else that is printed goes to standard error, which is the worker's log.
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

SHARDED_JOB_FILE = "job.json"


def write_job(job: ShardedJob, directory: Path) -> None:
    """Write what a worker needs to run the job's shards."""
    data = {"payload": job.payload, "sizes": job.sizes, "directory": job.directory}
    jobs.write_call(directory / SHARDED_JOB_FILE, job.open, data)


def read_job(directory: Path) -> ShardedJob:
    """Return the job that `write_job` wrote."""
    open_job, data = jobs.read_call(directory / SHARDED_JOB_FILE)
    return ShardedJob(open_job, data["payload"], tuple(data["sizes"]), Path(data["directory"]))


def main(directory: Path) -> int:
    """Run the requested shards until standard input ends; return the exit code."""
    die_with_parent()
    report = reporter()
    try:
        job = read_job(directory)
        with job.open(job.payload) as run:
            report(ready=True)
            for line in sys.stdin:
                jobs.run_shard(job, run, int(line), lambda count: report(advance=count))
                report(ready=True)
    except HarnessError as error:
        report(error=error_files.to_data(error))
        return error.exit_code
    return 0


def reporter() -> Callable[..., None]:
    """Reserve standard output for reports; send everything else that is printed to the log."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # unbuffered: the log holds the last lines of a killed worker

    def report(**message: Any) -> None:
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()

    return report


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
