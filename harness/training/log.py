"""The log of a training: a line of JSON a step, alarms among them, told to trackers as well.

Written as the training goes, so that a killed one leaves it; one that goes on from a checkpoint
drops what came after it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.training.alarms import Watch
from harness.training.trackers import Tracker

LOG = "made/log.jsonl"
"""In a stage's directory, among what tells how it was made."""


@dataclass
class Log:
    """Where the figures of every step go."""

    path: Path
    watch: Watch
    tracker: Tracker | None = None
    at_first: Sequence[str] = ()
    """Alarms that are known before the first step."""

    def rewind(self, step: int) -> None:
        """Drop what came after a step, and a line that a killed process left unfinished."""
        kept = [row for row in read(self.path) if step and row["step"] <= step]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        for row in kept:
            self.watch.see(row)
        for text in () if step else self.at_first:
            self.alarm(0, text)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a step's figures, and whatever alarm they give."""
        self._write(row)
        if self.tracker:
            self.tracker.log(int(row["step"]), {k: v for k, v in row.items() if k != "step"})
        for alarm in self.watch.see(row):
            self.alarm(int(row["step"]), alarm)

    def alarm(self, step: int, text: str) -> None:
        """Write an alarm and say it: something is probably wrong, and the training goes on."""
        self._write({"step": step, "alarm": text})
        logging.getLogger(__name__).warning("step %d: %s", step, text)

    def keep(self, out: Path) -> None:
        """Put the log of an ended training into its stage's directory."""
        (out / LOG).parent.mkdir(exist_ok=True)
        shutil.copy(self.path, out / LOG)

    def _write(self, row: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Return a log's rows; a last line that is not whole is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def figures(path: Path) -> list[dict[str, Any]]:
    """Return a log's figures, a row a step, without the alarms."""
    return [row for row in read(path) if "alarm" not in row]
