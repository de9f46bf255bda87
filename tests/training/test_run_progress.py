"""Stage k of n, dollars, the hours at the measured speed, and the steps of other processes."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from harness.core import config
from harness.core.stages import StageStore
from harness.training import run_progress, schedule
from harness.training.optimisation import step_count
from harness.training.run_progress import Pace, RunProgress, follow_log, follow_run, known_gpu
from harness.training.spec import TrainSpec
from harness.training.trainer import show_step
from tests.conftest import tiny

COUNTS = {"prompts": 2, "generate": 2, "compare": 2, "pair": 2, "anchor": 4, "optimise": 2}


@dataclass
class Bar:
    """What a display was told."""

    done: int = 0
    dollars: float = 0.0
    status: str = ""
    labels: list[str] = field(default_factory=list)

    def __call__(self, count: int) -> None:
        self.done += count

    def add_cost(self, dollars: float) -> None:
        self.dollars += dollars

    def show_status(self, text: str) -> None:
        self.status = text

    @contextmanager
    def track(self, label: str, total: int):
        self.labels.append(label)
        yield self


def test_the_plan_is_scaled_by_what_the_first_stages_took():
    planned = {"generate": 1.0, "compare": 0.4, "anchor": 0.1, "optimise": 1.4}
    pace = Pace(COUNTS, planned, dollars_per_hour=10)
    assert pace.add("prompts", 0.001) is None
    # two stages of 0.6 h instead of 1.0 h, so the other 1.9 h become 1.2 × 1.9 = 2.28 h
    line = "2.9 h ($29) planned, 3.5 h ($35) at the measured speed"
    assert pace.add("generate", 0.6) == line
    assert pace.add("generate", 0.6) is None
    # 1.2 + 2 × 0.3 + (1.8 / 1.4) × 1.5
    assert pace.add("compare", 0.3) == "2.9 h ($29) planned, 3.7 h ($37) at the measured speed"


def test_without_a_plan_a_whole_iteration_is_measured_first():
    pace = Pace(COUNTS, {})
    for kind, hours in (("generate", 0.2), ("compare", 0.1), ("pair", 0.0), ("anchor", 0.05)):
        assert pace.add(kind, hours) is None
    # 2 × 0.2 + 2 × 0.1 + 4 × 0.05 + 2 × 0.1
    assert pace.add("optimise", 0.1) == "1.0 h at the measured speed"
    assert Pace({"generate": 1}, {"generate": 0.01}).add("generate", 0.02) is None  # not worth it


@pytest.mark.parametrize(
    ("device", "memory"),
    [
        ("NVIDIA H100 80GB HBM3", 80),
        ("NVIDIA A100-SXM4-40GB", 40),
        ("NVIDIA A100-SXM4-80GB", 80),
        ("NVIDIA RTX A6000", 48),
        ("NVIDIA GeForce RTX 3090", 24),
        ("NVIDIA H200", 141),
    ],
)
def test_a_drivers_name_of_a_gpu_is_known(device, memory):
    gpu = known_gpu(device)
    assert gpu is not None
    assert gpu.memory == memory


def test_the_cpu_is_no_known_gpu():
    assert known_gpu("CPU") is None


def small() -> TrainSpec:
    settings = ("iterations=2", "prompts.count=32", "samples=2")
    data = config.load("train", "toy/inpo", settings)
    return config.construct(TrainSpec, {**data, "policy": tiny()})


def test_a_known_machine_has_a_plan_of_the_stages_that_are_left(workspace, monkeypatch):
    monkeypatch.setattr(run_progress, "device_name", lambda: "NVIDIA H100 80GB HBM3")
    spec = small()
    progress = follow_run(spec, workspace.stages, schedule.plan(spec, workspace))
    assert progress.total == sum(progress.pace.counts.values())
    assert {"generate", "anchor", "optimise"} <= progress.pace.planned.keys()
    assert progress.pace.dollars_per_hour == 3.99


def test_a_stage_has_its_number_and_what_the_gpus_have_cost(tmp_path, monkeypatch):
    bar, clock = Bar(), [0.0]
    monkeypatch.setattr(run_progress.time, "monotonic", lambda: clock[0])
    pace = Pace(COUNTS, {}, dollars_per_hour=36.0)
    progress = RunProgress(StageStore(tmp_path, bar.track), 14, 3, pace, spent=2.0)
    with progress.numbered().track("iteration 1 · generate", 5) as advance:
        clock[0] = 100.0
        advance(2)
        advance.show_status("well")
    assert bar.labels == ["stage 4 of 14 · iteration 1 · generate"]
    assert (bar.done, bar.status) == (2, "well")
    assert bar.dollars == pytest.approx(3.0)  # 100 s at a cent a second
    line = f"stopped in stage 4 of 14: 3 are kept in {tmp_path}, and this one's"
    assert progress.stopped().startswith(line)


def test_steps_of_other_processes_are_shown_as_they_are_logged(tmp_path, monkeypatch):
    monkeypatch.setattr(run_progress, "POLL_SECONDS", 0.01)
    (tmp_path / "provenance").mkdir()
    rows = [{"step": step, "loss": 0.5 / step} for step in (1, 2, 3)]
    speeds = [{"step": step, "tokens_per_second": 1234.5} for step in (1, 2, 3)]
    (tmp_path / "provenance" / "speed.jsonl").write_text("\n".join(map(json.dumps, speeds)))
    bar, shown = Bar(), threading.Event()
    monkeypatch.setattr(
        bar, "show_status", lambda text: (setattr(bar, "status", text), shown.set())
    )
    with follow_log(tmp_path, bar):
        (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
        assert shown.wait(5)
    assert bar.done == 3
    assert bar.status == "loss 0.1667, 1,234 tokens/s"


def test_a_display_without_a_status_is_only_advanced():
    show_step(lambda count: None, {"loss": 1.0, "tokens_per_second": 2.0})


def test_the_steps_of_a_group_are_known_before_it_starts():
    spec = config.construct(
        TrainSpec, config.load("train", "toy/inpo", ("optimiser.batch=4", "optimiser.epochs=2"))
    )
    assert step_count(spec, 10) == 6  # 4, 4, 2 pairs, twice
