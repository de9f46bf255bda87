"""The log of a training, and the experiment trackers that may receive it as well.

`log.jsonl` has a line a step; alarms and speed have files of their own. The log is written as
training proceeds, so a killed process leaves it behind; a training that resumes from a checkpoint
drops the lines after it. Metrics are reproducible and count in the stage's digest; speed is not and
does not. Trackers (trackio, Weights & Biases, MLflow) are optional.
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
from harness.core.manifests import PROVENANCE
from harness.core.versions import import_package
from harness.core.workspace import LOG_FILE as LOG
from harness.core.workspace import read_log
from harness.errors import MissingDependencyError, first_line
from harness.protocols import Tracker
from harness.training.metrics import AlarmMonitor

ALARMS, SPEED = "alarms.jsonl", f"{PROVENANCE}/speed.jsonl"
TIMING_KEYS = ("seconds", "tokens_per_second")


class PackageTracker(Component):
    """A tracker that an optional package provides."""

    package: ClassVar[str]

    def load_package(self) -> Any:
        """Import the package.

        Raises:
            MissingDependencyError: it is not installed.
        """
        return import_package(
            self.package,
            f"the tracker needs {self.package}: pip install {self.package}, "
            "or leave optimiser.tracker out",
        )


class _ProjectTracker(PackageTracker):
    """A package whose module has wandb's functions `init`, `log` and `finish`."""

    project: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Start a run."""
        self.load_package().init(project=self.project, name=name, config=dict(config))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send a step's metrics."""
        self.load_package().log(dict(metrics), step=step)

    def finish(self) -> None:
        """End the run."""
        self.load_package().finish()


class Trackio(_ProjectTracker):
    """trackio: it stores runs locally and sends nothing unless it is configured to."""

    package: ClassVar[str] = "trackio"


class WeightsAndBiases(_ProjectTracker):
    """Weights & Biases; the account comes from its own environment variables."""

    package: ClassVar[str] = "wandb"


class MLflow(PackageTracker):
    """MLflow; MLFLOW_TRACKING_URI names its server."""

    package: ClassVar[str] = "mlflow"
    experiment: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Start a run."""
        mlflow = self.load_package()
        mlflow.set_experiment(self.experiment)
        mlflow.start_run(run_name=name)
        mlflow.log_dict(dict(config), "config.json")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send a step's metrics."""
        self.load_package().log_metrics(dict(metrics), step=step)

    def finish(self) -> None:
        """End the run."""
        self.load_package().end_run()


@dataclass
class TrainingLog:
    """Writes the metrics of every step to files in `directory`, and to a tracker if given."""

    directory: Path
    monitor: AlarmMonitor
    tracker: Tracker | None = None
    initial_alarms: Sequence[str] = ()
    """Alarms raised before the first step."""

    @contextmanager
    def open(self, name: str, config: Mapping[str, Any]) -> Iterator[None]:
        """Start a run of the tracker, if there is one, and finish it with the context."""
        self._notify(lambda tracker: tracker.start(name, config))
        try:
            yield
        finally:
            self._notify(lambda tracker: tracker.finish())

    def rewind(self, step: int) -> None:
        """Drop the lines after a step, and a line that a killed process left unfinished."""
        (self.directory / PROVENANCE).mkdir(parents=True, exist_ok=True)
        for name in (LOG, ALARMS, SPEED):
            rows = [row for row in read_log(self.directory / name) if step and row["step"] <= step]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (self.directory / name).write_text(text, encoding="utf-8")
        for row in read_log(self.directory / LOG):
            self.monitor.check(row)
        for text in () if step else self.initial_alarms:
            self._raise_alarm(0, text)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a step's metrics and the alarms that they raise."""
        step = int(row["step"])
        self._write(LOG, {k: v for k, v in row.items() if k not in TIMING_KEYS})
        self._write(SPEED, {"step": step} | {k: row[k] for k in TIMING_KEYS if k in row})
        self._notify(lambda tracker: tracker.log(step, {k: row[k] for k in row if k != "step"}))
        for alarm in self.monitor.check(row):
            self._raise_alarm(step, alarm)

    def save(self, out: Path) -> None:
        """Copy the log of a finished training into its stage's directory."""
        (out / PROVENANCE).mkdir(exist_ok=True)
        for name in (LOG, ALARMS, SPEED):
            shutil.copy(self.directory / name, out / name)

    def _notify(self, action: Callable[[Tracker], None]) -> None:
        """Call the tracker; after its first failure it is disabled, and training continues."""
        if self.tracker is None:
            return
        try:
            action(self.tracker)
        except MissingDependencyError:
            raise
        except Exception as error:  # noqa: BLE001  a package's errors are of any kind
            logging.getLogger(__name__).warning(
                "%s failed (%s) and is disabled; all metrics are in %s",
                *(type(self.tracker).__name__, first_line(error), self.directory / LOG),
            )
            self.tracker = None

    def _raise_alarm(self, step: int, text: str) -> None:
        """Write an alarm and log a warning; the training continues."""
        self._write(ALARMS, {"step": step, "alarm": text})
        logging.getLogger(__name__).warning("step %d: %s", step, text)

    def _write(self, name: str, row: Mapping[str, Any]) -> None:
        with (self.directory / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class NullLog:
    """The log of every process of a group but the first: it records nothing."""

    def open(self, name: str, config: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def rewind(self, step: int) -> None:
        """Do nothing."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Do nothing."""

    def save(self, out: Path) -> None:
        """Do nothing."""
