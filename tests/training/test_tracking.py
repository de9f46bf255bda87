"""The log and its trackers: alarms survive a resumption, and a failing tracker stops nothing."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys

import pytest

from harness.training import metrics, tracking
from harness.training.tracking import TrainingLog

PACKAGES = {"Trackio": "trackio", "WeightsAndBiases": "wandb", "MLflow": "mlflow"}


def test_an_alarm_is_written_and_said_and_survives_a_resumption(tmp_path, caplog):
    first = TrainingLog(tmp_path, metrics.AlarmMonitor(), initial_alarms=["truncated: 3 of 4"])
    first.rewind(0)
    with caplog.at_level(logging.WARNING):
        for step in range(1, 26):
            first.add({"step": step, "loss": 1.0, "seconds": 0.5, "tokens_per_second": 10.0})
    assert "flat loss" in caplog.text
    again = TrainingLog(tmp_path, metrics.AlarmMonitor(), initial_alarms=["truncated: 3 of 4"])
    with (tmp_path / tracking.LOG).open("a") as file:
        file.write('{"step": 26, "lo')  # a killed process's last line
    again.rewind(22)
    again.add({"step": 23, "loss": 1.0, "seconds": 0.5, "tokens_per_second": 10.0})
    assert [row["step"] for row in tracking.read_log(tmp_path / tracking.LOG)] == list(range(1, 24))
    assert [row["step"] for row in tracking.read_log(tmp_path / tracking.ALARMS)] == [0, 20]
    assert json.loads((tmp_path / tracking.SPEED).read_text().splitlines()[-1]) == {
        "step": 23,
        "seconds": 0.5,
        "tokens_per_second": 10.0,
    }


class MemoryTracker:
    """A tracker in memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict]] = []

    def start(self, name, config) -> None:
        self.name = name

    def log(self, step, figures) -> None:
        self.rows.append((step, dict(figures)))

    def finish(self) -> None:
        self.ended = True


def test_a_tracker_receives_every_metric(tmp_path):
    tracker = MemoryTracker()
    log = TrainingLog(tmp_path, metrics.AlarmMonitor(), tracker)
    log.rewind(0)
    log.add({"step": 1, "loss": 0.5, "seconds": 2.0, "tokens_per_second": 3.0})
    assert tracker.rows == [(1, {"loss": 0.5, "seconds": 2.0, "tokens_per_second": 3.0})]


@pytest.mark.parametrize("name", ["Trackio", "WeightsAndBiases", "MLflow"])
def test_a_tracker_whose_package_is_missing_says_so(name):
    from harness.errors import MissingDependencyError

    package = PACKAGES[name]
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
        getattr(tracking, name)().start("run", {})


class Failing(MemoryTracker):
    """A tracker whose server has gone."""

    def log(self, step, figures) -> None:
        raise ConnectionError("no route to host")

    def finish(self) -> None:
        raise AssertionError("called although it has failed")


def test_a_tracker_that_fails_stops_no_training_and_receives_no_more(tmp_path, caplog):
    log = TrainingLog(tmp_path, metrics.AlarmMonitor(), Failing())
    with caplog.at_level(logging.WARNING), log.open("run", {}):
        log.rewind(0)
        for step in (1, 2):
            log.add({"step": step, "loss": 0.5, "seconds": 2.0, "tokens_per_second": 3.0})
    assert caplog.text.count("Failing failed (no route to host) and is disabled") == 1
    assert [row["step"] for row in tracking.read_log(tmp_path / tracking.LOG)] == [1, 2]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("Trackio", "trackio/preference-harness.db"),
        ("WeightsAndBiases", "wandb/offline-run-*/run-*.wandb"),
        ("MLflow", "mlruns/*/*/metrics/gradient_norm"),
    ],
)
def test_the_trackers_own_packages_take_our_metrics(name, pattern, tmp_path):
    # in a process of its own: each keeps threads and its place for good
    package = PACKAGES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: it does not go with the pins of other packages")
    code = (
        f"from harness.training.tracking import {name}\n"
        f"tracker = {name}()\n"
        "tracker.start('iteration 1 · optimise', {'objective': {'eta': 0.005}, 'lora': None})\n"
        "for step in (1, 2):\n"
        "    tracker.log(step, {'loss': 0.5, 'gradient_norm': 2.0})\n"
        "tracker.finish()\n"
    )
    settings = {
        "TRACKIO_DIR": f"{tmp_path}/trackio",
        "HF_HOME": str(tmp_path),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "WANDB_CONSOLE": "off",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_DISABLE_CODE": "true",
        "MLFLOW_TRACKING_URI": f"file://{tmp_path}/mlruns",
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob(pattern))) == 1


def test_a_tracker_begins_and_ends_with_the_training(tmp_path):
    tracker = MemoryTracker()
    with (
        pytest.raises(KeyError),
        TrainingLog(tmp_path, metrics.AlarmMonitor(), tracker).open("run", {"eta": 1}),
    ):
        raise KeyError
    assert (tracker.name, tracker.ended) == ("run", True)


def test_a_missing_package_is_reported_before_anything_is_made(tmp_path):
    from harness.core import config
    from harness.core.workspace import Workspace
    from harness.errors import MissingDependencyError
    from harness.training import schedule
    from harness.training.spec import TrainSpec

    missing = next((n for n, p in PACKAGES.items() if importlib.util.find_spec(p) is None), None)
    if missing is None:
        pytest.skip("every tracker is installed")
    wanted = f"optimiser.tracker={{use: 'harness.training.tracking:{missing}'}}"
    spec = config.construct(TrainSpec, config.load("train", "toy/inpo", (wanted,)))
    with pytest.raises(MissingDependencyError, match=f"pip install {PACKAGES[missing]}"):
        schedule.train(spec, Workspace(tmp_path), "run")
    assert list(tmp_path.iterdir()) == []
