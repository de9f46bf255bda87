"""The log of a training: a line of JSON a step; its speed and its alarms in files of their own.

Written as the training goes, so that a killed one leaves it; one that goes on from a checkpoint
drops what came after it. The figures come out the same when the training is made again, the speed
does not, and so lies among what does not count in the stage's digest.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import MissingDependencyError
from harness.models import first_line
from harness.runs import MADE
from harness.training.alarms import Watch
from harness.training.trackers import Tracker

LOG, ALARMS, SPEED = "log.jsonl", "alarms.jsonl", f"{MADE}/speed.jsonl"
TIMED = ("seconds", "tokens_per_second")


@dataclass
class Log:
    """Where the figures of every step go: files in `folder`."""

    folder: Path
    watch: Watch
    tracker: Tracker | None = None
    at_first: Sequence[str] = ()
    """Alarms that are known before the first step."""

    @contextmanager
    def open(self, name: str, config: Mapping[str, Any]) -> Iterator[None]:
        """Have the tracker, if there is one, begin a training of that name and end it."""
        self._tell(lambda tracker: tracker.start(name, config))
        try:
            yield
        finally:
            self._tell(lambda tracker: tracker.finish())

    def rewind(self, step: int) -> None:
        """Drop what came after a step, and a line that a killed process left unfinished."""
        (self.folder / MADE).mkdir(parents=True, exist_ok=True)
        for name in (LOG, ALARMS, SPEED):
            rows = [row for row in read(self.folder / name) if step and row["step"] <= step]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (self.folder / name).write_text(text, encoding="utf-8")
        for row in read(self.folder / LOG):
            self.watch.see(row)
        for text in () if step else self.at_first:
            self._alarm(0, text)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a step's figures, and whatever alarm they give."""
        step = int(row["step"])
        self._write(LOG, {k: v for k, v in row.items() if k not in TIMED})
        self._write(SPEED, {"step": step} | {k: row[k] for k in TIMED if k in row})
        self._tell(lambda tracker: tracker.log(step, {k: row[k] for k in row if k != "step"}))
        for alarm in self.watch.see(row):
            self._alarm(step, alarm)

    def keep(self, out: Path) -> None:
        """Put the log of an ended training into its stage's directory."""
        (out / MADE).mkdir(exist_ok=True)
        for name in (LOG, ALARMS, SPEED):
            shutil.copy(self.folder / name, out / name)

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        """Tell the tracker; one that fails is told no more, since a training is worth more."""
        if self.tracker is None:
            return
        try:
            what(self.tracker)
        except MissingDependencyError:
            raise
        except Exception as error:  # noqa: BLE001  a package's errors are of any kind
            logging.getLogger(__name__).warning(
                "%s failed (%s) and is told no more; every figure is in %s",
                *(type(self.tracker).__name__, first_line(error), self.folder / LOG),
            )
            self.tracker = None

    def _alarm(self, step: int, text: str) -> None:
        """Write an alarm and say it: something is probably wrong, and the training goes on."""
        self._write(ALARMS, {"step": step, "alarm": text})
        logging.getLogger(__name__).warning("step %d: %s", step, text)

    def _write(self, name: str, row: Mapping[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class Unwritten:
    """The log of a process that is not the first of those that train together."""

    def open(self, name: str, config: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Tell nobody."""
        return nullcontext()

    def rewind(self, step: int) -> None:
        """Forget nothing."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def keep(self, out: Path) -> None:
        """Write nothing."""


def read(path: Path) -> list[dict[str, Any]]:
    """Return a file's rows; a last line that is not whole is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
