"""Every method of the toy world, from samples to a policy, with the tiny model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.core import config
from harness.core.manifests import read_manifest
from harness.core.workspace import Workspace
from harness.oracles.reward_model import RewardModel
from harness.toy.world import WORDS
from harness.training import records, schedule, tracking
from harness.training.pairing import BestWorst
from harness.training.sft import build_word_tokenizer
from harness.training.spec import TrainSpec
from tests.conftest import tiny
from tests.oracles.tiny import saved

METHODS = [name for name in config.names("train") if name.startswith("toy/")]
LOSSES = {f"toy/{n}" for n in "apo-down apo-zero discopop exo hinge nca r-dpo wpo".split()}
"""Methods that differ from iterative DPO in their loss alone: one iteration shows them."""
SMALL = (
    "prompts.count=12",
    "samples=4",
    "iterations=2",
    "optimiser.epochs=1",
    "optimiser.batch=6",
    "seed=5",
)


def spec(name: str, *overrides: str) -> TrainSpec:
    data = config.load("train", name, (*SMALL, *overrides))
    if data.get("pairs"):
        data = config.load("train", name, (*SMALL, "pairs.count=12", *overrides))
    return config.construct(TrainSpec, {**data, "policy": tiny()})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("methods"))


def logs(workspace: Workspace, method: TrainSpec) -> list[list[dict[str, float]]]:
    """The log of every fit, in order."""
    paths = [path for stage, path in schedule.plan(method, workspace) if stage.name == "optimise"]
    return [tracking.read_log(path / tracking.LOG) for path in paths if path]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_runs_and_begins_where_it_should(workspace, name):
    iterations = 1 if name in LOSSES else 2
    method = spec(name, f"iterations={iterations}")
    run = schedule.train(method, workspace, name)
    assert run.complete
    assert len(set(run.policies)) == iterations + 1
    fits = logs(workspace, method)
    assert len(fits) == iterations * len(method.fits)
    for fit in fits:
        assert all(math.isfinite(row["loss"]) for row in fit)
        # every fit begins at the policy that its objective calls previous
        assert abs(fit[0]["chosen_drift"]) < 1e-4
        assert abs(fit[0]["rejected_drift"]) < 1e-4
    if method.objective.anchors:
        assert abs(fits[0][0]["margin"]) < 1e-4


def test_every_recipe_has_a_toy_of_its_own():
    recipes = {name for name in config.names("train") if "/" not in name}
    toys = {name.removeprefix("toy/") for name in METHODS}
    # the others are the same methods with another policy or oracle, which the toy world lacks
    bases = tuple(toys)
    others = ("-reward-model", "-llama3-instruct", "-llama3-sft", "-tulu3-sft", "-qwen3-8b")
    assert toys < recipes
    assert all(name.endswith(others) and name.startswith(bases) for name in recipes - toys)


def test_win_rates_reach_the_pairs_where_all_are_compared(workspace):
    rates = {}
    for name in ("toy/sppo", "toy/inpo"):
        schedule.train(spec(name), workspace, name)
        path = next(
            path for stage, path in schedule.plan(spec(name), workspace) if stage.name == "pair"
        )
        rates[name] = [pair.win_rates for pair in records.read_pairs(str(path))]
    assert None not in rates["toy/sppo"]
    assert all(1 > chosen > rejected > 0 for chosen, rejected in rates["toy/sppo"])
    # a tournament of four leaves one of six comparisons out
    assert None in rates["toy/inpo"]


def test_truncated_responses_take_no_part_and_are_counted(workspace):
    for keep in (False, True):
        method = spec("toy/sppo", "sampling.max_tokens=7", f"keep_truncated={str(keep).lower()}")
        schedule.train(method, workspace, f"truncated-{keep}")
        path = next(
            path for stage, path in schedule.plan(method, workspace) if stage.name == "pair"
        )
        inputs = {name: entry["path"] for name, entry in read_manifest(path)["inputs"].items()}
        sampled = records.read_completions(inputs["generate"])
        cut = {
            (key, c.index)
            for key, responses in sampled.items()
            for c in responses
            if c.finish_reason == "length"
        }
        met = {
            (key, index)
            for key, matrix in records.read_comparisons(inputs["compare"]).items()
            for match in matrix
            for index in match
        }
        assert 0 < len(cut) < sum(map(len, sampled.values()))
        assert bool(met & cut) == keep
        counts = json.loads((Path(path) / "counts.json").read_text())
        assert counts["truncated"] == len(cut)


def test_rewards_are_kept_and_decide_who_is_best_and_worst(workspace, tmp_path):
    path = saved(
        "LlamaForSequenceClassification", tmp_path, build_word_tokenizer(WORDS), num_labels=1
    )
    data = config.load("train", "toy/inpo", (*SMALL, "iterations=1"))
    data["oracle"] = RewardModel(name="tiny", path=path, dtype="float32")
    method = config.construct(TrainSpec, {**data, "policy": tiny(), "pairing": BestWorst()})
    schedule.train(method, workspace, "reward")
    paths = {stage.name: path for stage, path in schedule.plan(method, workspace)}
    table = records.read_table(Path(paths["compare"]) / records.SCORES)
    rows = zip(table["prompt_id"], table["index"], table["score"], strict=True)
    scores = {(prompt, index): score for prompt, index, score in rows}
    sampled = records.read_completions(str(paths["generate"]))
    pairs = records.read_pairs(str(paths["pair"]))
    assert pairs
    for pair in pairs:
        known = {
            c.token_ids: scores[c.prompt_id, c.index]
            for c in sampled[pair.prompt_id]
            if c.finish_reason == "stop"
        }
        assert known[pair.chosen_ids] == max(known.values())
        assert known[pair.rejected_ids] == min(known.values())
