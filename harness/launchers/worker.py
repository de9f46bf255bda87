"""What every worker of this machine runs: `python -m harness.launchers.worker FOLDER`.

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

from harness import work
from harness.errors import HarnessError
from harness.isolation import end_with_parent
from harness.launchers import failures
from harness.work import Work

WORK = "work.json"


def hand_over(work_: Work, place: Path) -> None:
    """Write what a worker must know of the work."""
    told = {"told": work_.told, "sizes": work_.sizes, "place": work_.place}
    work.write(place / WORK, work_.open, told)


def taken_over(place: Path) -> Work:
    """Return the work that was handed over."""
    opened, told = work.read(place / WORK)
    return Work(opened, told["told"], tuple(told["sizes"]), Path(told["place"]))


def main(place: Path) -> int:
    """Do the pieces that are asked for until no more are; return the exit code."""
    end_with_parent()
    tell = reporter()
    try:
        work_ = taken_over(place)
        with work_.open(work_.told) as do:
            tell(free=True)
            for line in sys.stdin:
                work.finish(work_, do, int(line), lambda count: tell(advance=count))
                tell(free=True)
    except HarnessError as error:
        tell(error=failures.told(error))
        return error.exit_code
    return 0


def reporter() -> Callable[..., None]:
    """Keep standard output for reports; have everything else that is printed go to the log."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # unbuffered: a killed worker's last words are in its log

    def tell(**told: Any) -> None:
        pipe.write(json.dumps(told) + "\n")
        pipe.flush()

    return tell


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
