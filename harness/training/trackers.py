"""Who else is told the figures of a training: trackio, Weights & Biases, MLflow.

All optional and all behind one protocol; the log in the stage's directory is always written.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from harness.config import Component
from harness.errors import MissingDependencyError


@runtime_checkable
class Tracker(Protocol):
    """Receives figures by name as a training goes on."""

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a training; `config` is plain data."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of a step."""

    def finish(self) -> None:
        """End the training."""


class Trackio(Component):
    """trackio: local first, nothing leaves the machine unless it is told to."""

    project: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        _package("trackio").init(project=self.project, name=name, config=dict(config))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send a step's figures."""
        _package("trackio").log(dict(figures), step=step)

    def finish(self) -> None:
        """End the run."""
        _package("trackio").finish()


class WeightsAndBiases(Component):
    """Weights & Biases; its own environment variables hold the account."""

    project: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        _package("wandb").init(project=self.project, name=name, config=dict(config))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send a step's figures."""
        _package("wandb").log(dict(figures), step=step)

    def finish(self) -> None:
        """End the run."""
        _package("wandb").finish()


class MLflow(Component):
    """MLflow; MLFLOW_TRACKING_URI says where its server is."""

    experiment: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        mlflow = _package("mlflow")
        mlflow.set_experiment(self.experiment)
        mlflow.start_run(run_name=name)
        mlflow.log_dict(dict(config), "config.json")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send a step's figures."""
        _package("mlflow").log_metrics(dict(figures), step=step)

    def finish(self) -> None:
        """End the run."""
        _package("mlflow").end_run()


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"the tracker needs {name}: pip install {name}, or leave optimiser.track out"
        ) from error
