"""The failures that make no noise: each gives its alarm once, and a healthy training gives none."""

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
from harness.types import Pair

END, START = 9, 1
PACKAGES = {"Trackio": "trackio", "WeightsAndBiases": "wandb", "MLflow": "mlflow"}


def pair(prompt=(START, 5), chosen=(5, END), rejected=(6, END)) -> Pair:
    return Pair("p", prompt, chosen, rejected, 0.9)


def alarms_of(losses: list[float], **figures) -> list[str]:
    watch = metrics.AlarmMonitor()
    rows = ({"step": i + 1, "loss": loss, **figures} for i, loss in enumerate(losses))
    return [alarm for row in rows for alarm in watch.check(row)]


def test_healthy_pairs_and_a_falling_loss_give_no_alarm():
    assert metrics.pair_alarms([pair()] * 10, (END,), START) == []
    assert alarms_of([0.6931 - 0.001 * i for i in range(50)], chosen_drift=0.0, entropy=2.0) == []


def test_a_doubled_beginning_of_text():
    alarms = metrics.pair_alarms([pair(prompt=(START, START, 5)), pair()], (END,), START)
    assert alarms == ["double beginning of text: in 1 of 2 prompts"]
    assert metrics.pair_alarms([pair(prompt=(5, 5))], (END,), None) == []


def test_responses_without_an_end():
    assert (
        "no response has" in metrics.pair_alarms([pair(chosen=(5,), rejected=(6,))], (END,), 1)[0]
    )
    # 2 of 18 is above a tenth, 2 of 20 is not
    for healthy, expected in ((8, 1), (9, 0)):
        pairs = [pair(chosen=(5,), rejected=(6,)), *[pair()] * healthy]
        assert len(metrics.pair_alarms(pairs, (END,), START)) == expected


def test_a_loss_that_does_not_move():
    assert [a.partition(":")[0] for a in alarms_of([0.6931] * 60)] == ["flat loss"]
    assert alarms_of([0.6931] * 19) == []


def test_live_and_stored_apart_at_the_first_step():
    (alarm,) = alarms_of([1.0, 1.0], chosen_drift=0.7)
    assert alarm.startswith("live apart from stored: 0.7 nats")


def test_entropy_that_collapses():
    watch = metrics.AlarmMonitor()
    assert watch.check({"step": 1, "loss": 1.0, "entropy": 2.0}) == []
    assert watch.check({"step": 5, "loss": 1.0, "entropy": 1.1}) == []
    assert watch.check({"step": 9, "loss": 1.0, "entropy": 0.9})[0].startswith("collapsing entropy")
    assert watch.check({"step": 12, "loss": 1.0, "entropy": 0.8}) == []


def test_losing_on_held_out_comparisons():
    watch = metrics.AlarmMonitor()
    (alarm,) = watch.check({"step": 30, "loss": 1.0, "held_out_accuracy": 0.4})
    assert "40 %" in alarm


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


def test_a_tracker_is_told_every_figure(tmp_path):
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
        raise AssertionError("told although it has failed")


def test_a_tracker_that_fails_stops_no_training_and_is_told_no_more(tmp_path, caplog):
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
def test_the_trackers_own_packages_take_what_they_are_told(name, pattern, tmp_path):
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


def test_a_missing_package_is_told_before_anything_is_made(tmp_path):
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
