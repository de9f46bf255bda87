"""Who else is told the figures of a training: trackio, Weights & Biases, MLflow.

All optional and all behind one protocol; the log in the stage's directory is always written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from harness.config import Component
from harness.training.packages import package


@runtime_checkable
class Tracker(Protocol):
    """Receives figures by name as a training goes on."""

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a training; `config` is plain data."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of a step."""

    def finish(self) -> None:
        """End the training."""


class Packaged(Component):
    """A tracker in a package of its own."""

    package: ClassVar[str]

    def library(self) -> Any:
        """Return the package.

        Raises:
            MissingDependencyError: it is not installed.
        """
        return package(
            self.package,
            f"the tracker needs {self.package}: pip install {self.package}, "
            "or leave optimiser.track out",
        )


class Trackio(Packaged):
    """trackio: local first, nothing leaves the machine unless it is told to."""

    package: ClassVar[str] = "trackio"
    project: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        self.library().init(project=self.project, name=name, config=dict(config))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send a step's figures."""
        self.library().log(dict(figures), step=step)

    def finish(self) -> None:
        """End the run."""
        self.library().finish()


class WeightsAndBiases(Packaged):
    """Weights & Biases; its own environment variables hold the account."""

    package: ClassVar[str] = "wandb"
    project: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        self.library().init(project=self.project, name=name, config=dict(config))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send a step's figures."""
        self.library().log(dict(figures), step=step)

    def finish(self) -> None:
        """End the run."""
        self.library().finish()


class MLflow(Packaged):
    """MLflow; MLFLOW_TRACKING_URI says where its server is."""

    package: ClassVar[str] = "mlflow"
    experiment: str = "preference-harness"

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run."""
        mlflow = self.library()
        mlflow.set_experiment(self.experiment)
        mlflow.start_run(run_name=name)
        mlflow.log_dict(dict(config), "config.json")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send a step's figures."""
        self.library().log_metrics(dict(figures), step=step)

    def finish(self) -> None:
        """End the run."""
        self.library().end_run()
