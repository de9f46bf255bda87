"""Complete runs of a tiny policy: shared stages, checks, and resumption."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.core import config
from harness.core.io import sha256
from harness.core.manifests import MANIFEST, PROVENANCE, read_manifest, result_digest, with_sum
from harness.core.stages import TIMING, Stage
from harness.core.workspace import Run, Workspace, read_logps
from harness.errors import CheckError, RunExistsError, StoreError
from harness.training import records, schedule, tracking
from harness.training.optimisation import assemble_batch, read_columns
from harness.training.reference_logps import frozen_logps
from harness.training.sources import trained_policy
from harness.training.spec import TrainSpec
from harness.types import Policy
from tests.conftest import tiny

SMALL = (
    "prompts.count=24",
    "samples=4",
    "iterations=2",
    "optimiser.epochs=1",
    "optimiser.batch=8",
    "optimiser.learning_rate=5e-3",
)


def spec(name: str = "toy/inpo", *overrides: str) -> TrainSpec:
    data = config.load("train", name, (*SMALL, *overrides))
    return config.construct(TrainSpec, {**data, "policy": tiny()})


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Workspace, dict[str, Run]]:
    workspace = Workspace(tmp_path_factory.mktemp("runs"))
    methods = ("toy/inpo", "toy/iterative-dpo", "toy/inpo-without-kl")
    return workspace, {name: schedule.train(spec(name), workspace, name) for name in methods}


def stages(workspace: Workspace, name: str, method: str = "toy/inpo") -> list[tuple[Stage, Path]]:
    return [s for s in schedule.plan(spec(method), workspace) if s[0].name == name]


def copied(workspace: Workspace, folder: Path, isolate: bool = False) -> Workspace:
    """A workspace with the same stages, for a test that removes or adds some."""
    copy = Workspace(folder / "copy", isolate=isolate)
    shutil.copytree(workspace.root, copy.root)
    return copy


def test_a_run_makes_a_policy_an_iteration(trained):
    _, runs = trained
    for run in runs.values():
        assert run.complete
        assert len(set(run.policies)) == 3
        assert (Path(run.policy(None)) / "model.safetensors").is_file()
        assert run.policy(0) == run.policies[0]


def test_a_policy_tells_which_run_made_it_and_after_how_many_iterations(trained):
    _, runs = trained
    last, first = (trained_policy(runs["toy/inpo"], iteration).run() for iteration in (None, 1))
    setting, _ = last.pop("setting"), first.pop("config")
    assert last.pop("config") == config.without_locations(runs["toy/inpo"].config)
    known = {"name": "toy/inpo", "method": "INPO", "iteration": 2, "base": "tiny"}
    assert last == known | {"seed": runs["toy/inpo"].config["seed"]}
    assert first == {**last, "iteration": 1, "setting": setting}


def test_another_seed_is_another_label_of_the_same_setting(trained):
    run_ = trained[1]["toy/inpo"]
    other = replace(run_, config=run_.config | {"seed": 7})
    assert (
        trained_policy(run_, None).run()["setting"] == trained_policy(other, None).run()["setting"]
    )
    assert [trained_policy(other, t).name for t in (None, 1)] == [
        "INPO (seed 7)",
        "INPO (seed 7, iteration 1)",
    ]
    changed = replace(run_, config=run_.config | {"samples": 5})
    assert (
        trained_policy(changed, None).run()["setting"]
        != trained_policy(run_, None).run()["setting"]
    )


@pytest.mark.parametrize(
    ("name", "default_name", "label"),
    [
        ("toy/inpo", "toy/inpo", "INPO"),
        ("mine", "mine", "INPO"),  # of mine.yaml
        ("eta-0.1", "toy/inpo", "eta-0.1"),
        ("toy/inpo", "toy/selm", "toy/inpo"),
        ("toy/inpo", None, "INPO"),  # of an older version, which did not record the default
        ("INPO", None, "INPO"),
        ("eta-0.1", None, "eta-0.1"),
    ],
)
def test_a_run_with_a_name_of_its_own_is_labelled_by_it(trained, name, default_name, label):
    run = replace(trained[1]["toy/inpo"], name=name, default_name=default_name)
    assert [trained_policy(run, t).name for t in (None, 1)] == [label, f"{label} (iteration 1)"]


def test_the_start_has_no_run_of_its_own(trained):
    _, runs = trained
    assert not hasattr(trained_policy(runs["toy/inpo"], 0), "run")  # all runs share the start


def test_every_stage_tells_what_it_was_computed_on_and_fits_their_processes(trained):
    workspace, runs = trained
    provenance = read_manifest(Path(runs["toy/inpo"].policies[1]))["provenance"]
    assert isinstance(provenance["accelerator"], str)
    for name in ("generate", "anchor"):
        path = stages(workspace, name)[0][1]
        worked = json.loads((path / PROVENANCE / TIMING).read_text())
        assert 0 < worked["seconds"] < read_manifest(path)["provenance"]["seconds"]
        assert worked["accelerator"] == provenance["accelerator"]
    takes = [s.accelerators for s, _ in stages(workspace, "optimise")]
    assert takes == [1, 1]
    sharded = schedule.plan(spec("toy/inpo", "optimiser.processes=4"), workspace)
    assert {s.accelerators for s, _ in sharded if s.name == "optimise"} == {4}
    # a rule labels the toy world's pairs
    assert {s.accelerators for s, _ in sharded if s.name in ("compare", "pair")} == {0}


def test_methods_share_the_first_generation_and_nothing_later(trained):
    workspace, _ = trained
    methods = ("toy/inpo", "toy/iterative-dpo", "toy/inpo-without-kl")
    for name in ("generate", "compare", "pair"):
        paths = [[path for _, path in stages(workspace, name, method)] for method in methods]
        assert len({first for first, _ in paths}) == 1
        inpo, dpo, _ = (second for _, second in paths)
        assert inpo != dpo


def test_the_first_iteration_scores_one_anchor_since_previous_is_reference(trained):
    workspace, _ = trained
    anchors = [path for _, path in stages(workspace, "anchor")]
    assert len(anchors) == 3  # iteration 1: one; iteration 2: previous and reference


def test_every_margin_is_zero_on_the_rows_that_are_trained_on(trained):
    # π = π_t = π_ref in iteration 1: the stored log-probabilities stand for all three
    workspace, _ = trained
    for method in ("toy/inpo", "toy/iterative-dpo"):
        stage, path = stages(workspace, "optimise", method)[0]
        inputs = {k: v["path"] for k, v in read_manifest(path)["inputs"].items()}
        pairs, columns = records.read_pairs(inputs["pair"]), read_columns(inputs)
        items = range(len(pairs))
        batch = assemble_batch(columns["previous"], pairs, columns, items)
        objective = spec(method).objective
        assert torch.equal(objective.margin(batch), torch.zeros(len(pairs)))


def test_the_first_step_of_every_iteration_starts_at_the_stored_policy(trained):
    workspace, _ = trained
    for method in ("toy/inpo", "toy/iterative-dpo", "toy/inpo-without-kl"):
        for _, path in stages(workspace, "optimise", method):
            first = tracking.read_log(path / tracking.LOG)[0]
            assert abs(first["chosen_drift"]) < 1e-4
            assert abs(first["rejected_drift"]) < 1e-4


def test_pairs_are_the_sampled_tokens_and_never_evaluated_prompts(trained):
    from harness.toy.world import held_out_instructions

    workspace, _ = trained
    excluded = set(held_out_instructions())
    for _, path in stages(workspace, "pair"):
        directory = read_manifest(path)["inputs"]["generate"]["path"]
        sampled = records.read_completions(directory)
        for pair in records.read_pairs(str(path)):
            tokens = [c.token_ids for c in sampled[pair.prompt_id]]
            assert {pair.chosen_ids, pair.rejected_ids} <= set(tokens)
            assert pair.chosen_ids != pair.rejected_ids
            assert pair.prompt_id not in excluded
            assert pair.probability > 0.5


def test_the_second_iteration_sees_other_prompts(trained):
    workspace, _ = trained
    first, second = (records.read_prompts(str(p)) for _, p in stages(workspace, "prompts"))
    assert not {p.id for p in first} & {p.id for p in second}


def test_the_same_run_again_makes_nothing(trained):
    workspace, runs = trained
    created: list[str] = []
    watched = Workspace(
        workspace.root, on_stage=lambda s, a: created.append(s.name) if a.created else None
    )
    assert schedule.train(spec(), watched, "toy/inpo") == runs["toy/inpo"]
    assert created == []


def test_a_lost_stage_is_made_again_and_comes_out_the_same(trained, tmp_path):
    workspace, runs = trained
    copy = copied(workspace, tmp_path)
    _, path = stages(copy, "optimise")[1]
    before = read_manifest(path)["digest"]
    shutil.rmtree(path)
    schedule.train(spec(), copy, "again")
    assert read_manifest(path)["digest"] == before


def test_a_name_that_another_configuration_took_is_refused(trained):
    workspace, _ = trained
    with pytest.raises(RunExistsError, match=r"objective.eta: 0.2 → 0.3.*--name"):
        schedule.train(spec("toy/inpo", "objective.eta=0.3"), workspace, "toy/inpo")


def test_a_run_that_has_not_ended_says_how_far_it_came():
    unfinished = Run("r", "INPO", {}, ["a", "b"], False, {})
    with pytest.raises(StoreError, match="1 iterations are done"):
        unfinished.policy(None)
    assert unfinished.policy(1) == "b"
    with pytest.raises(StoreError, match="iterations 0 to 1"):
        unfinished.policy(2)


def test_anchors_of_other_weights_stop_the_run(trained, tmp_path):
    workspace, _ = trained
    copy = copied(workspace, tmp_path)
    _, path = stages(copy, "optimise")[0]
    shutil.rmtree(path)
    _, anchor = stages(copy, "anchor")[0]
    chosen, rejected = read_logps(str(anchor))
    records.write_logps(anchor, [value + 0.01 for value in chosen], rejected)
    with pytest.raises(StoreError, match=r"damaged \(logps.parquet has another content\)"):
        schedule.train(spec(), copy, "again")
    manifest = json.loads((anchor / MANIFEST).read_text())
    manifest["files"][records.LOGPS]["sha256"] = sha256(anchor / records.LOGPS)
    manifest["digest"] = result_digest(manifest["files"])
    (anchor / MANIFEST).write_text(json.dumps(with_sum(manifest)))
    with pytest.raises(CheckError, match="0.01 nats from the stored ones"):
        schedule.train(spec(), copy, "again")


def test_processes_of_their_own_make_the_same_policies(trained, tmp_path):
    # sampling and optimising in processes of their own; the stages between are cached
    workspace, runs = trained
    copy = copied(workspace, tmp_path, isolate=True)
    for path in [stages(copy, name)[0][1] for name in ("generate", "optimise")]:
        shutil.rmtree(path)
    run = schedule.train(spec("toy/inpo", "iterations=1"), copy, "isolated")
    same = [read_manifest(Path(path))["digest"] for path in runs["toy/inpo"].policies[:2]]
    assert [read_manifest(Path(path))["digest"] for path in run.policies] == same


def test_bfloat16_stays_near_float32(trained):
    workspace, _ = trained
    anchors = stages(workspace, "anchor")
    _, path = anchors[0]
    inputs = {k: v["path"] for k, v in read_manifest(path)["inputs"].items()}
    pairs = records.read_pairs(inputs["pair"])
    policy = Policy("tiny", inputs["policy"])
    exact, rounded = (
        torch.tensor(frozen_logps(policy, pairs, dtype, lambda _: None))
        for dtype in ("float32", "bfloat16")
    )
    apart = (exact - rounded).abs()
    assert 0 < float(apart.max()) < 1


def test_the_other_seed_samples_otherwise(trained, tmp_path):
    workspace, _ = trained
    plan = schedule.plan(spec("toy/inpo", "seed=1"), workspace)
    cached = {stage.name for stage, path in plan if path}
    assert cached == {"fine-tune", "prompts"}


def test_bfloat16_begins_at_the_stored_policy_as_exactly_as_float32(trained, tmp_path):
    # live and stored come from the same packs: the check holds to 1e-6 nats in bfloat16 too
    workspace = copied(trained[0], tmp_path)
    low = spec("toy/inpo", "dtype=bfloat16", "tolerance=1e-6", "iterations=1")
    assert schedule.train(low, workspace, "low").complete


def test_held_out_pairs_are_looked_at_and_not_trained_on(trained, tmp_path):
    workspace = copied(trained[0], tmp_path)
    method = spec("toy/inpo", "iterations=1", "optimiser.held_out=0.25", "optimiser.epochs=8")
    run = schedule.train(method, workspace, "held-out")
    rows = tracking.read_log(Path(run.policies[1]) / tracking.LOG)
    looks = [row["held_out_accuracy"] for row in rows if "held_out_accuracy" in row]
    assert looks[0] == 0.0  # nothing has moved yet
    assert all(0 <= share <= 1 for share in looks)
    (_, pair), *_ = [s for s in schedule.plan(method, workspace) if s[0].name == "pair"]
    count = len(records.read_pairs(str(pair)))
    trained_on = count - round(0.25 * count)
    assert len(rows) == 8 * -(-trained_on // 8)
