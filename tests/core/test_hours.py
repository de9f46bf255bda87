"""Hours of training and answering: which stages count, and when they are unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core import hardware
from harness.core.hours import compute_hours
from harness.core.manifests import MANIFEST, with_sum
from harness.core.stages import ExternalInput, Stage, StageStore, record_timing

GPU = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> StageStore:
    monkeypatch.setattr(hardware, "device_name", lambda: GPU)
    return StageStore(tmp_path / "stages")


def stage(name: str, text: str, inputs=None, *, accelerators: int = 0) -> Stage:
    def run(out, paths, track):
        (out / "text").write_text(name + text)

    device = accelerators > 0
    return Stage(
        name, 1, {"text": text}, inputs or {}, run, device=device, accelerators=accelerators
    )


def timed(store: StageStore, node: Stage, seconds: float) -> Path:
    """Create a stage whose manifest reports this duration."""
    path = Path(store.materialize(node).path)
    manifest = json.loads((path / MANIFEST).read_text())
    provenance = manifest["provenance"]
    provenance["seconds"] = seconds
    provenance["accelerator_seconds"] = seconds * provenance["accelerators"]
    (path / MANIFEST).write_text(json.dumps(with_sum(manifest)))
    return path


def trained(store: StageStore) -> tuple[Stage, Path]:
    """π_1's sample (1 GPU, 1 h), its pairs (no device, ½ h), two fits (4 GPUs, 2 h and 3 h)."""
    base = ExternalInput("org/model", "digest")
    sample = stage("generate", "", {"policy": base}, accelerators=1)
    pair = stage("pair", "", {"generate": sample})
    first, second = (
        stage("optimise", text, {"policy": base, "pair": pair}, accelerators=4)
        for text in ("a", "b")
    )
    for node, hours in ((sample, 1), (pair, 0.5), (first, 2), (second, 3)):
        timed(store, node, 3600 * hours)
    answer = stage("answer", "", {"policy": first}, accelerators=2)
    rival = stage("answer", "", {"policy": second}, accelerators=2)
    timed(store, rival, 3600)
    return rival, timed(store, answer, 900)


def test_hours_are_wall_clock_times_accelerators_of_all_that_the_answers_rest_on(store):
    _, answer = trained(store)
    assert compute_hours(answer) == {
        "training": {GPU: pytest.approx(1 * 1 + 4 * 2), "CPU": pytest.approx(0.5)},
        "answering": {GPU: pytest.approx(2 * 0.25)},
    }


def test_a_shared_stage_counts_in_full_for_both_and_once_for_each(store):
    rival, _ = trained(store)
    hours = compute_hours(Path(store.materialize(rival).path))
    # the sample is shared with the other method, and reached in two ways from this one
    assert hours["training"][GPU] == pytest.approx(1 * 1 + 4 * 3)
    assert hours["answering"][GPU] == pytest.approx(2)


def test_a_moved_store_has_the_same_hours(store, tmp_path):
    _, answer = trained(store)
    before = compute_hours(answer)
    store.root.rename(tmp_path / "moved")
    assert compute_hours(tmp_path / "moved" / answer.name) == before


def test_an_older_stage_or_a_missing_one_makes_the_sum_unknown_not_zero(store):
    _, answer = trained(store)
    (sample,) = store.root.glob("generate-*")
    manifest = json.loads((sample / MANIFEST).read_text())
    del manifest["provenance"]["accelerators"]
    (sample / MANIFEST).write_text(json.dumps(with_sum(manifest)))
    assert compute_hours(answer) is None
    (sample / MANIFEST).unlink()
    assert compute_hours(answer) is None


def test_a_stage_whose_files_were_deleted_still_counts(store):
    _, answer = trained(store)
    before = compute_hours(answer)
    for path in store.root.glob("optimise-*/text"):
        path.unlink()
    assert compute_hours(answer) == before


def test_parallel_workers_count_for_as_long_as_each_worked(store):
    def run(out, paths, track):
        # eight workers for an hour each, within a second of this wall clock
        record_timing(out, seconds=8 * 3600)

    samples = store.materialize(Stage("generate", 1, {}, {}, run, device=True, accelerators=2))
    manifest = json.loads((Path(samples.path) / MANIFEST).read_text())
    assert manifest["provenance"]["accelerator_seconds"] == 2 * 8 * 3600
    inputs = {"samples": ExternalInput(samples.path, "x")}
    answer = timed(store, stage("answer", "", inputs, accelerators=1), 0)
    assert compute_hours(answer)["training"] == {GPU: pytest.approx(16)}


def test_a_training_on_other_hosts_reports_their_accelerators(store, monkeypatch):
    def run(out, paths, track):
        record_timing(out, accelerators=8, accelerator=GPU)  # 8 processes, on hosts of a cluster

    monkeypatch.setattr(hardware, "device_name", lambda: hardware.CPU)  # there is none here
    weights = store.materialize(Stage("optimise", 1, {}, {}, run, device=True, accelerators=1))
    provenance = json.loads((Path(weights.path) / MANIFEST).read_text())["provenance"]
    assert (provenance["accelerator"], provenance["accelerators"]) == (GPU, 8)
    assert provenance["accelerator_seconds"] == 8 * provenance["seconds"]


def test_a_stage_without_an_accelerator_counts_as_cpu_hours(store):
    answer = timed(store, stage("answer", ""), 1800)
    assert compute_hours(answer) == {"training": {}, "answering": {"CPU": 0.5}}


def test_the_digest_does_not_depend_on_the_device(store, tmp_path, monkeypatch):
    on_gpu = store.materialize(stage("answer", "", accelerators=1))
    monkeypatch.setattr(hardware, "device_name", lambda: hardware.CPU)
    on_cpu = StageStore(tmp_path / "other").materialize(stage("answer", "", accelerators=1))
    assert on_gpu.digest == on_cpu.digest
    assert Path(on_gpu.path).name == Path(on_cpu.path).name
