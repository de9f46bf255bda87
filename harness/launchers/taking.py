"""What does pieces of a work, as long as there are any: `python -m harness.launchers.taking`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.core import jobs
from harness.core.jobs import RunShard, ShardedJob
from harness.core.processes import die_with_parent
from harness.errors import HarnessError
from harness.launchers import error_files
from harness.launchers.gang import met

OF_A_GROUP = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def main(place: Path, number: int) -> int:
    """Do pieces of the work that lies in a folder; return the exit code."""
    die_with_parent()
    store = met()
    for name in OF_A_GROUP:  # an engine is not to think that it is one of several
        os.environ.pop(name, None)

    def advance(count: int) -> None:
        store.add(done(number), count)

    try:
        work_, pieces = read(place, number)
        with ExitStack() as stack:
            do: RunShard | None = None
            for piece in taken(store, number, pieces):
                do = do or stack.enter_context(work_.open(work_.payload))
                jobs.run_shard(work_, do, piece, advance)
    except HarnessError as error:
        error_files.write(place, error)
        return error.exit_code
    return 0


def taken(store: Any, number: int, pieces: list[int]) -> Iterator[int]:
    """Yield pieces that nobody else takes: the store counts how many are given out."""
    while (given := store.add(f"given/{number}", 1)) <= len(pieces):
        yield pieces[given - 1]


def done(number: int) -> str:
    """Return the key of how much of a task is done."""
    return f"done/{number}"


def write(place: Path, number: int, work_: ShardedJob, pieces: list[int]) -> None:
    """Write the work for whoever takes its pieces."""
    told = {"told": work_.payload, "sizes": work_.sizes, "place": work_.directory, "pieces": pieces}
    jobs.write_call(place / f"work-{number}.json", work_.open, told)


def read(place: Path, number: int) -> tuple[ShardedJob, list[int]]:
    """Return the work that was written, and which of its pieces are to be done."""
    opened, told = jobs.read_call(place / f"work-{number}.json")
    found = ShardedJob(opened, told["told"], tuple(told["sizes"]), Path(told["place"]))
    return found, told["pieces"]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
