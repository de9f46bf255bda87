"""What every process of a gang does: start a process for its part of each task, and watch it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.core.processes import die_with_parent
from harness.errors import HarnessError
from harness.launchers import error_files, gpus
from harness.launchers.group_entry import GROUP
from harness.launchers.pulse import BEAT, Pulse

END = "end"
"""Told by the first process when it ends: its exit code."""
LOST = (
    "the first process of this run gives no sign of life: its machine shows why it ended; start "
    "the same command again on every machine, and the run goes on from what stands"
)


@dataclass(frozen=True)
class Errand:
    """A task as it is told to whoever takes part in it."""

    module: str
    """Started as `python -m MODULE PLACE NUMBER`."""
    place: str
    """A folder that every machine sees."""
    processes: int
    """How many take part, the first ones."""
    gpus: int = 1
    """How many GPUs each needs, where there are GPUs."""


@dataclass(frozen=True)
class Report:
    """How a process's part of a task ended."""

    code: int
    """The exit code; below 0 the signal that killed it."""
    error: Mapping[str, str] | None = None
    """What it raised, where it told."""
    last: str = ""
    """The last line that it wrote, where it did not."""


def task(number: int) -> str:
    """Return the key of a task."""
    return f"task/{number}"


def stopped(number: int) -> str:
    """Return the key that tells that a task has failed."""
    return f"stopped/{number}"


def report(number: int, rank: int) -> str:
    """Return the key of a process's report on a task."""
    return f"report/{number}/{rank}"


def host(rank: int) -> str:
    """Return the key of the name of a process's machine."""
    return f"host/{rank}"


def bye(rank: int) -> str:
    """Return the key that tells that a process knows of the end."""
    return f"bye/{rank}"


def serve(heard: Pulse, rank: int) -> int:
    """Take part in task after task; return the first process's exit code when it ends.

    Raises:
        HarnessError: it is lost.
    """
    number = 0
    heard.tell(host(rank), socket.gethostname())
    while (end := heard.heard(END)) is None:
        if 0 in heard.lost():
            raise HarnessError(LOST)
        if told := heard.heard(task(number)):
            errand = Errand(**json.loads(told))
            if rank < errand.processes:
                ended = attend(heard, errand, number, rank)
                heard.tell(report(number, rank), json.dumps(asdict(ended)))
            number += 1
        else:
            time.sleep(BEAT / 2)
    heard.tell(bye(rank), "1")
    return int(end)


def attend(heard: Pulse, errand: Errand, number: int, rank: int) -> Report:
    """Run a process for one's part of a task, as long as it is wanted."""
    environment = os.environ | {"WORLD_SIZE": str(errand.processes), GROUP: task(number)}
    if errand.gpus > 1 and gpus.ALL in environment:
        devices = gpus.several(environment, errand.gpus)
        if devices is None:
            return Report(0)
        environment[gpus.VISIBLE] = devices
    place = Path(errand.place)
    written = place / f"process-{rank}.log"
    with written.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", errand.module, errand.place, str(number)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
            preexec_fn=belong,
        )
        try:
            while process.poll() is None:
                if heard.heard(stopped(number)) or heard.heard(END) or 0 in heard.lost():
                    break
                time.sleep(BEAT / 2)
        finally:
            process.kill()
            code = process.wait()
    return reported(place, written, code)


def belong() -> None:
    """End with the parent, and leave to it what Slurm tells all of a job: that its time is up."""
    die_with_parent()
    for told in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(told, signal.SIG_IGN)


def reported(place: Path, written: Path, code: int) -> Report:
    """Return how a process ended: by the error that it left, or by the last line that it wrote."""
    error = error_files.read(place) if code > 0 else None
    if error is not None and error.exit_code == code:
        return Report(code, error_files.to_data(error))
    lines = [line for line in written.read_text(errors="replace").splitlines() if line.strip()]
    return Report(code, last=lines[-1] if lines else "")
