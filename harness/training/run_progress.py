"""How far a run is: stage k of n, dollars so far, and the hours that its measured speed leads to.

The plan's hours rest on shares of a GPU's peak that were chosen (configs/gpu). After the first
stage of each kind they are replaced by measured ones: a kind counts as often as it runs, at the
mean of the stages that have run; those that have not run yet are planned hours times what the
others took of theirs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.core import config
from harness.core.hardware import device_name, visible_gpus
from harness.core.manifests import load_manifest
from harness.core.stages import Artifact, Stage, StageStore
from harness.core.workspace import LOG_FILE, read_log
from harness.training.estimate import GPU, TrainingCost, estimate_training
from harness.training.spec import TrainSpec
from harness.training.tracking import SPEED
from harness.training.trainer import show_step
from harness.types import Advance, CostDisplay, StatusDisplay

LOGGER = logging.getLogger(__name__)
LONG = 0.1
"""Hours below which a run's speed is not worth a line."""
POLL_SECONDS = 1.0


@dataclass
class Pace:
    """Planned and measured hours by kind of stage."""

    counts: Mapping[str, int]
    """Stages that run, by kind."""
    planned: Mapping[str, float]
    """Hours of all stages of a kind; empty where the machine is not known."""
    dollars_per_hour: float | None = None
    measured: dict[str, list[float]] = field(default_factory=dict)
    """Hours of the stages that have run, by kind."""

    def add(self, kind: str, hours: float) -> str | None:
        """Note the hours of a stage; return a line on the whole run where that is news."""
        is_first = kind not in self.measured
        self.measured.setdefault(kind, []).append(hours)
        total = self.projected()
        is_news = is_first and (kind in self.planned or kind == "optimise")
        if not is_news or total is None or total < LONG:
            return None
        planned = sum(self.planned.values())
        plan = f"{_hours(planned)}{self._price(planned)} planned, " if planned else ""
        return f"{plan}{_hours(total)}{self._price(total)} at the measured speed"

    def projected(self) -> float | None:
        """Return the hours of all stages at the measured speed; None: one kind is not known."""
        means = {kind: sum(hours) / len(hours) for kind, hours in self.measured.items()}
        known = [kind for kind in means if self.planned.get(kind)]
        spent = sum(means[kind] * self.counts[kind] for kind in known)
        ratio = spent / sum(self.planned[kind] for kind in known) if known else None
        total = 0.0
        for kind, count in self.counts.items():
            if kind in means:
                total += means[kind] * count
            elif kind in self.planned and ratio is not None:
                total += self.planned[kind] * ratio
            elif kind in ("generate", "compare", "anchor", "optimise"):
                return None
        return total

    def _price(self, hours: float) -> str:
        return "" if self.dollars_per_hour is None else f" (${hours * self.dollars_per_hour:,.0f})"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} minutes"


@dataclass
class RunProgress:
    """Numbers the stages of a run as they run, and says what its speed leads to."""

    store: StageStore
    """Where progress goes."""
    total: int
    done: int
    pace: Pace
    spent: float = 0.0
    """Dollars, of the stages that are done."""

    def numbered(self) -> StageStore:
        """Return the store, whose stages are numbered."""
        return replace(self.store, track=self.track, on_stage=self.on_stage)

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Show progress with the stage's number and what all GPUs have cost so far."""
        number = f"stage {min(self.done + 1, self.total)} of {self.total}"
        with self.store.track(f"{number} · {label}", total) as advance:
            if self.pace.dollars_per_hour is None or not isinstance(advance, CostDisplay):
                yield advance
                return
            advance.add_cost(self.spent)
            yield _PricedAdvance(advance, self.pace.dollars_per_hour / 3600)

    def on_stage(self, stage: Stage, artifact: Artifact) -> None:
        """Count a stage, and say what is known of the hours now."""
        self.store.on_stage(stage, artifact)
        if not artifact.created:
            return
        self.done += 1
        hours = load_manifest(Path(artifact.path))["provenance"]["seconds"] / 3600
        self.spent += hours * (self.pace.dollars_per_hour or 0.0)
        if line := self.pace.add(stage.name, hours):
            LOGGER.info("%s", line)

    def stopped(self) -> str:
        """Return what is kept of a run that is stopped."""
        return (
            f"stopped in stage {min(self.done + 1, self.total)} of {self.total}: {self.done} are "
            f"kept in {self.store.root}, and this one's finished shards or latest checkpoint"
        )


@dataclass
class _PricedAdvance:
    """Adds what all GPUs cost in the time that passes."""

    inner: Advance
    dollars_per_second: float
    last: float = field(default_factory=lambda: time.monotonic())

    def __call__(self, count: int) -> None:
        now = time.monotonic()
        self.add_cost((now - self.last) * self.dollars_per_second)
        self.last = now
        self.inner(count)

    def add_cost(self, dollars: float) -> None:
        if isinstance(self.inner, CostDisplay):
            self.inner.add_cost(dollars)

    def show_status(self, text: str) -> None:
        if isinstance(self.inner, StatusDisplay):
            self.inner.show_status(text)


def follow_run(
    spec: TrainSpec, store: StageStore, plan: Sequence[tuple[Stage, Path | None]]
) -> RunProgress:
    """Return the progress of a run whose stages are planned."""
    counts: dict[str, int] = {}
    for stage, path in plan:
        if path is None:
            counts[stage.name] = counts.get(stage.name, 0) + 1
    cached = sum(path is not None for _, path in plan)
    cost = machine_cost(spec) if counts else None
    shares = {stage.name: sum(s.name == stage.name for s, _ in plan) for stage, _ in plan}
    planned = {
        stage.stage: stage.hours * counts[stage.stage] / shares[stage.stage]
        for stage in (cost.stages if cost else ())
        if stage.hours is not None and stage.stage in counts
    }
    pace = Pace(counts, planned, cost.dollars_per_hour if cost else None)
    return RunProgress(store, len(plan), cached, pace)


def machine_cost(spec: TrainSpec) -> TrainingCost | None:
    """Return the estimate for the GPUs of this machine; None: they are not in configs/gpu."""
    gpu = known_gpu(device_name())
    return estimate_training(spec, gpu, max(1, len(visible_gpus()))) if gpu else None


def known_gpu(device: str) -> GPU | None:
    """Return the GPU of configs/gpu whose name a driver reports, e.g. `NVIDIA A100-SXM4-40GB`."""
    for name in config.names("gpu"):
        if all(part in device.upper() for part in name.upper().split("-")):
            gpu: GPU = config.build(config.load("gpu", name), "gpu")
            return gpu
    return None


@contextmanager
def follow_log(directory: Path, advance: Advance) -> Iterator[None]:
    """Show the steps that other processes write to a training's log, while the context is open."""
    ended = threading.Event()

    def follow() -> None:
        shown = 0
        while not ended.wait(POLL_SECONDS):
            rows, speeds = read_log(directory / LOG_FILE), read_log(directory / SPEED)
            advance(len(rows) - shown)
            if len(rows) > shown and speeds:
                show_step(advance, {**rows[-1], **speeds[-1]})
            shown = len(rows)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
