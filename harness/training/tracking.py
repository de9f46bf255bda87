"""Who else is told the figures of a training: trackio, Weights & Biases, MLflow.

All optional and all behind one protocol; the log in the stage's directory is always written.

The log of a training: a line of JSON a step; its speed and its alarms in files of their own.

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
from typing import Any, ClassVar

from harness.core.config import Component
from harness.core.stages import PROVENANCE
from harness.core.versions import import_package
from harness.core.workspace import LOG_FILE as LOG
from harness.core.workspace import read_log
from harness.errors import MissingDependencyError, first_line
from harness.protocols import Tracker
from harness.training.metrics import AlarmMonitor


class PackageTracker(Component):
    """A tracker in a package of its own."""

    package: ClassVar[str]

    def load_package(self) -> Any:
        """Return the package.

        Raises:
            MissingDependencyError: it is not installed.
        """
        return import_package(
            self.package,
            f"the tracker needs {self.package}: pip install {self.package}, "
            "or leave optimiser.tracker out",
        )


class Trackio(PackageTracker):
    """trackio: local first, nothing leaves the machine unless it is told to."""

    package: ClassVar[str] = "trackio"
    project: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        self.load_package().init(project=self.project, name=name, config=dict(config))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send a step's figures."""
        self.load_package().log(dict(metrics), step=step)

    def finish(self) -> None:
        """End the run."""
        self.load_package().finish()


class WeightsAndBiases(PackageTracker):
    """Weights & Biases; its own environment variables hold the account."""

    package: ClassVar[str] = "wandb"
    project: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        self.load_package().init(project=self.project, name=name, config=dict(config))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send a step's figures."""
        self.load_package().log(dict(metrics), step=step)

    def finish(self) -> None:
        """End the run."""
        self.load_package().finish()


class MLflow(PackageTracker):
    """MLflow; MLFLOW_TRACKING_URI says where its server is."""

    package: ClassVar[str] = "mlflow"
    experiment: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        mlflow = self.load_package()
        mlflow.set_experiment(self.experiment)
        mlflow.start_run(run_name=name)
        mlflow.log_dict(dict(config), "config.json")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send a step's figures."""
        self.load_package().log_metrics(dict(metrics), step=step)

    def finish(self) -> None:
        """End the run."""
        self.load_package().end_run()


ALARMS, SPEED = "alarms.jsonl", f"{PROVENANCE}/speed.jsonl"
TIMING_KEYS = ("seconds", "tokens_per_second")


@dataclass
class TrainingLog:
    """Where the figures of every step go: files in `folder`."""

    folder: Path
    monitor: AlarmMonitor
    tracker: Tracker | None = None
    initial_alarms: Sequence[str] = ()
    """Alarms that are known before the first step."""

    @contextmanager
    def open(self, name: str, config: Mapping[str, Any]) -> Iterator[None]:
        """Have the tracker, if there is one, begin a training of that name and end it."""
        self._notify(lambda tracker: tracker.start(name, config))
        try:
            yield
        finally:
            self._notify(lambda tracker: tracker.finish())

    def rewind(self, step: int) -> None:
        """Drop what came after a step, and a line that a killed process left unfinished."""
        (self.folder / PROVENANCE).mkdir(parents=True, exist_ok=True)
        for name in (LOG, ALARMS, SPEED):
            rows = [row for row in read_log(self.folder / name) if step and row["step"] <= step]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (self.folder / name).write_text(text, encoding="utf-8")
        for row in read_log(self.folder / LOG):
            self.monitor.check(row)
        for text in () if step else self.initial_alarms:
            self._raise_alarm(0, text)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a step's figures, and whatever alarm they give."""
        step = int(row["step"])
        self._write(LOG, {k: v for k, v in row.items() if k not in TIMING_KEYS})
        self._write(SPEED, {"step": step} | {k: row[k] for k in TIMING_KEYS if k in row})
        self._notify(lambda tracker: tracker.log(step, {k: row[k] for k in row if k != "step"}))
        for alarm in self.monitor.check(row):
            self._raise_alarm(step, alarm)

    def save(self, out: Path) -> None:
        """Put the log of an ended training into its stage's directory."""
        (out / PROVENANCE).mkdir(exist_ok=True)
        for name in (LOG, ALARMS, SPEED):
            shutil.copy(self.folder / name, out / name)

    def _notify(self, action: Callable[[Tracker], None]) -> None:
        """Tell the tracker; one that fails is told no more, since a training is worth more."""
        if self.tracker is None:
            return
        try:
            action(self.tracker)
        except MissingDependencyError:
            raise
        except Exception as error:  # noqa: BLE001  a package's errors are of any kind
            logging.getLogger(__name__).warning(
                "%s failed (%s) and is told no more; every figure is in %s",
                *(type(self.tracker).__name__, first_line(error), self.folder / LOG),
            )
            self.tracker = None

    def _raise_alarm(self, step: int, text: str) -> None:
        """Write an alarm and say it: something is probably wrong, and the training goes on."""
        self._write(ALARMS, {"step": step, "alarm": text})
        logging.getLogger(__name__).warning("step %d: %s", step, text)

    def _write(self, name: str, row: Mapping[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class NullLog:
    """The log of a process that is not the first of those that train together."""

    def open(self, name: str, config: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Tell nobody."""
        return nullcontext()

    def rewind(self, step: int) -> None:
        """Forget nothing."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def save(self, out: Path) -> None:
        """Write nothing."""
