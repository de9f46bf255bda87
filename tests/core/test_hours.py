"""Hours of training and answering: which stages count, and what is not known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core import hardware
from harness.core.hours import compute_hours
from harness.core.stages import MANIFEST, ExternalInput, Stage, StageStore, record_timing

GPU = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> StageStore:
    monkeypatch.setattr(hardware, "device_name", lambda: GPU)
    return StageStore(tmp_path / "stages")


def stage(name: str, text: str, inputs=None, *, takes: int | None = None) -> Stage:
    def make(out, paths, track):
        (out / "text").write_text(name + text)

    device = takes is not None
    return Stage(
        name, 1, {"text": text}, inputs or {}, make, device=device, accelerators=takes or 0
    )


def timed(store: StageStore, stage: Stage, seconds: float) -> Path:
    """Make a stage; let its manifest say that it took so long."""
    path = Path(store.materialize(stage).path)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["provenance"]["seconds"] = seconds
    manifest["provenance"]["accelerator_seconds"] = seconds * manifest["provenance"]["accelerators"]
    (path / MANIFEST).write_text(json.dumps(manifest))
    return path


def trained(store: StageStore) -> tuple[Stage, Path]:
    """π_1's sample (1 GPU, 1 h), its pairs (no device, ½ h), two fits (4 GPUs, 2 h and 3 h)."""
    base = ExternalInput("org/model", "digest")
    sample = stage("generate", "", {"policy": base}, takes=1)
    pair = stage("pair", "", {"generate": sample})
    ours, theirs = (
        stage("optimise", text, {"policy": base, "pair": pair}, takes=4) for text in ("a", "b")
    )
    for taken, hours in ((sample, 1), (pair, 0.5), (ours, 2), (theirs, 3)):
        timed(store, taken, 3600 * hours)
    answer = stage("answer", "", {"policy": ours}, takes=2)
    rival = stage("answer", "", {"policy": theirs}, takes=2)
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
    # the sample is shared with the other method, and reached by two ways from this one
    assert hours["training"][GPU] == pytest.approx(1 * 1 + 4 * 3)
    assert hours["answering"][GPU] == pytest.approx(2)


def test_a_store_that_was_moved_tells_the_same(store, tmp_path):
    _, answer = trained(store)
    before = compute_hours(answer)
    store.root.rename(tmp_path / "moved")
    assert compute_hours(tmp_path / "moved" / answer.name) == before


def test_an_older_stage_or_one_that_is_gone_makes_the_sum_unknown_and_no_nought(store):
    _, answer = trained(store)
    (sample,) = store.root.glob("generate-*")
    manifest = json.loads((sample / MANIFEST).read_text())
    del manifest["provenance"]["accelerators"]
    (sample / MANIFEST).write_text(json.dumps(manifest))
    assert compute_hours(answer) is None
    (sample / MANIFEST).unlink()
    assert compute_hours(answer) is None


def test_workers_side_by_side_count_for_as_long_as_each_was_at_it(store):
    def make(out, paths, track):
        record_timing(
            out, seconds=8 * 3600
        )  # eight workers for an hour each, within this wall clock's second

    artifact = store.materialize(Stage("generate", 1, {}, {}, make, device=True, accelerators=2))
    provenance = json.loads((Path(artifact.path) / MANIFEST).read_text())["provenance"]
    assert provenance["accelerator_seconds"] == 2 * 8 * 3600
    answer = timed(
        store, stage("answer", "", {"samples": ExternalInput(artifact.path, "x")}, takes=1), 0
    )
    assert compute_hours(answer)["training"] == {GPU: pytest.approx(16)}


def test_who_trained_tells_on_how_many_of_what_wherever_that_was(store, monkeypatch):
    def make(out, paths, track):
        record_timing(out, accelerators=8, accelerator=GPU)  # 8 processes, on machines of a cluster

    monkeypatch.setattr(hardware, "device_name", lambda: hardware.CPU)  # there is none here
    artifact = store.materialize(Stage("optimise", 1, {}, {}, make, device=True, accelerators=1))
    provenance = json.loads((Path(artifact.path) / MANIFEST).read_text())["provenance"]
    assert (provenance["accelerator"], provenance["accelerators"]) == (GPU, 8)
    assert provenance["accelerator_seconds"] == 8 * provenance["seconds"]


def test_what_takes_no_accelerator_is_of_the_processor(store):
    answer = timed(store, stage("answer", "", takes=0), 1800)
    assert compute_hours(answer) == {"training": {}, "answering": {"CPU": 0.5}}


def test_the_digest_does_not_depend_on_what_was_computed_on(store, tmp_path, monkeypatch):
    first = store.materialize(stage("answer", "", takes=1))
    monkeypatch.setattr(hardware, "device_name", lambda: hardware.CPU)
    second = StageStore(tmp_path / "other").materialize(stage("answer", "", takes=1))
    assert first.digest == second.digest
    assert Path(first.path).name == Path(second.path).name
