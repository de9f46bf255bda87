"""Progress of long steps: a bar on a terminal, else a plain line at intervals."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.cli.printing import notify
from harness.core.terminal import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from harness.types import Advance

PROGRESS_SECONDS = 30.0
"""The interval of progress lines where standard error is no terminal."""
SETTLING_SECONDS = 1.0
"""Steps within this time come from a store: they say nothing of the rate."""
RATE_LINES = 10
"""The lines over which a rate is taken."""


@dataclass
class ProgressLines:
    """Progress as plain lines, for log files and batch systems: count, costs and status."""

    label: str
    total: int
    """0: unknown."""
    done: int = 0
    dollars: float | None = None
    """Spent so far; None: nothing that has a price."""
    status: str = ""
    """How the work is going."""
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_LINES))
    """Seconds, and the steps done until then: at the beginning, and at the latest lines."""

    def __call__(self, count: int) -> None:
        """Count steps."""
        self.done += count

    def add_cost(self, dollars: float) -> None:
        """Count dollars."""
        self.dollars = (self.dollars or 0.0) + dollars

    def show_status(self, text: str) -> None:
        """Say how the work is going."""
        self.status = text

    def line(self, seconds: float) -> str:
        """Return the steps done at a time, their rate, the time that is left, and the cost."""
        before, done = self.marks[0] if self.marks else (0.0, 0)
        rate = 60 * (self.done - done) / (seconds - before) if seconds > before else 0.0
        self.marks.append((seconds, self.done))
        steps = f"{self.done} of {self.total}" if self.total else f"{self.done} done"
        parts = [f"{self.label}: {steps}", f"{_rate(rate)} a minute"]
        if self.total and rate:
            parts.append(f"{_time_left((self.total - self.done) / rate)} left")
        if self.status:
            parts.append(self.status)
        if self.dollars is not None:
            parts.append(f"${self.dollars:.2f} so far")
        return ", ".join(parts)

    def show(self, ended: threading.Event) -> None:
        """Print a line at intervals until the event is set, also where nothing advances."""
        started = time.monotonic()
        ended.wait(SETTLING_SECONDS)
        self.marks.append((time.monotonic() - started, self.done))
        while not ended.wait(PROGRESS_SECONDS):
            text = self.line(time.monotonic() - started)
            notify(f"  {text}")


def _rate(steps_a_minute: float) -> str:
    return f"{steps_a_minute:.0f}" if steps_a_minute >= 10 else f"{steps_a_minute:.1f}"


def _time_left(minutes: float) -> str:
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


@dataclass
class ProgressBar:
    """A bar of rich; an `Advance` with costs and a status."""

    progress: Progress
    task: TaskID
    dollars: float = 0.0

    def __call__(self, count: int) -> None:
        """Count steps."""
        self.progress.advance(self.task, count)

    def add_cost(self, dollars: float) -> None:
        """Count dollars."""
        self.dollars += dollars
        self.progress.update(self.task, cost=f"${self.dollars:.2f}")

    def show_status(self, text: str) -> None:
        """Say how the work is going."""
        self.progress.update(self.task, status=printable(text))


@contextmanager
def track(label: str, total: int) -> Iterator[Advance]:
    """Show a progress bar while the context is open; a line at intervals if it is no terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        lines, ended = ProgressLines(label, total), threading.Event()
        thread = threading.Thread(target=lines.show, args=(ended,), daemon=True)
        thread.start()
        try:
            yield lines
        finally:
            ended.set()
            thread.join()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TextColumn("{task.fields[cost]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(printable(label), total=total or None, cost="", status="")
        yield ProgressBar(progress, task)
