"""Who has sampled a response, and what an oracle scores: from the schedule to the objective."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from harness.core import config
from harness.core.stages import Stage
from harness.core.workspace import Workspace
from harness.errors import ConfigError, InputError
from harness.oracles.reward_model import RewardModel
from harness.toy.world import WORDS
from harness.training import records, schedule
from harness.training.optimisation import assemble_batch
from harness.training.pairing import BestWorst
from harness.training.schedule import Schedule
from harness.training.sft import build_word_tokenizer
from harness.training.spec import TrainSpec, reward_oracles
from harness.types import Pair
from tests.conftest import tiny
from tests.oracles.tiny import saved

SMALL = ("prompts.count=8", "iterations=2", "optimiser.epochs=1", "optimiser.batch=8")


def spec(name: str, *overrides: str) -> TrainSpec:
    data = config.load("train", name, (*SMALL, *overrides))
    return config.construct(TrainSpec, {**data, "policy": tiny()})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("samplers"))


def paths(method: TrainSpec, workspace: Workspace, name: str) -> list[str]:
    return [str(path) for stage, path in schedule.plan(method, workspace) if stage.name == name]


def test_xpo_trains_on_pairs_of_the_policy_and_the_reference(workspace):
    method = spec("toy/xpo", "samples=4")
    schedule.train(method, workspace, "xpo")
    generated = paths(method, workspace, "generate")
    assert len(generated) == 4  # two policies, two iterations
    first = [records.read_completions(path) for path in generated[:2]]
    assert all(len(responses) == 2 for by_prompt in first for responses in by_prompt.values())
    # at first both are the same policy, whose samples must not be the same
    texts = [[c.text for responses in each.values() for c in responses] for each in first]
    assert texts[0] != texts[1]
    by_tokens = [
        {(c.prompt_id, c.token_ids) for responses in each.values() for c in responses}
        for each in first
    ]
    names = {("policy", "reference"): (0, 1), ("reference", "policy"): (1, 0)}
    pairs = records.read_pairs(paths(method, workspace, "pair")[0])
    assert pairs
    for pair in pairs:
        chosen, rejected = names[pair.samplers]
        assert (pair.prompt_id, pair.chosen_ids) in by_tokens[chosen]
        assert (pair.prompt_id, pair.rejected_ids) in by_tokens[rejected]


def sampled_policies(method: TrainSpec) -> tuple[list[object], dict[str, list[int]]]:
    """The policies, and which of them each iteration's stages sample."""
    policies = Schedule(method).policies()
    indices: dict[str, list[int]] = {}
    for policy in policies[1:]:
        pair = policy.inputs["pair"]
        for name, stage in pair.inputs.items():
            if name.startswith("generate"):
                indices.setdefault(name, []).append(policies.index(stage.inputs["policy"]))
    return policies, indices


def test_each_name_is_a_policy_of_its_own():
    three = ("iterations=4", "samples=6", "sample_from=[policy, reference, previous-2]")
    _, indices = sampled_policies(spec("toy/iterative-dpo", *three))
    assert indices == {
        "generate": [0, 1, 2, 3],
        "generate-reference": [0, 0, 0, 0],
        "generate-previous-2": [0, 0, 1, 2],  # pi_1 where there is none yet
    }
    moving = ("reference={every: 2}", "iterations=4", "samples=4", "sample_from=[policy,reference]")
    assert sampled_policies(spec("toy/iterative-dpo", *moving))[1]["generate-reference"] == [
        *(0, 0, 2, 2)
    ]


def test_a_single_sampler_changes_no_stage():
    stages = [
        [(s.name, s.config) for s in walk(Schedule(method).policies()[1])]
        for method in (spec("toy/inpo"), spec("toy/inpo", "sample_from=[policy]"))
    ]
    assert stages[0] == stages[1]
    assert "sampler" not in str(stages[0])


def walk(node: object) -> list[Stage]:
    if not isinstance(node, Stage):
        return []
    return [node, *(stage for inner in node.inputs.values() for stage in walk(inner))]


def test_an_oracles_rewards_reach_the_objective(workspace, tmp_path):
    path = saved(
        "LlamaForSequenceClassification", tmp_path, build_word_tokenizer(WORDS), num_labels=1
    )
    objective = "objective={use: 'baselines.rebel:REBEL', eta: 5.0}"
    data = config.load("train", "toy/inpo", (*SMALL, "iterations=1", "samples=4"))
    data |= {"oracle": RewardModel(name="tiny", path=path, dtype="float32")}
    data |= {"policy": tiny(), "pairing": BestWorst()}
    data |= {"objective": config.load("train", "toy/rebel", (objective,))["objective"]}
    method = config.construct(TrainSpec, data)
    schedule.train(method, workspace, "rebel")
    scores = records.read_scores(paths(method, workspace, "compare")[0])
    sampled = records.read_completions(paths(method, workspace, "generate")[0])
    pairs = records.read_pairs(paths(method, workspace, "pair")[0])
    assert pairs
    for pair in pairs:
        by_tokens = {
            c.token_ids: scores[pair.prompt_id].get(c.index) for c in sampled[pair.prompt_id]
        }
        assert pair.rewards == (by_tokens[pair.chosen_ids], by_tokens[pair.rejected_ids])
        assert pair.rewards[0] > pair.rewards[1]
    live = torch.zeros(len(pairs), 2)
    batch = assemble_batch(live, pairs, {"previous": live}, range(len(pairs)))
    assert batch.rewards.chosen.tolist() == pytest.approx([p.rewards[0] for p in pairs])


def test_a_batch_says_who_has_sampled_what():
    pairs = [
        Pair("a", (1,), (2,), (3,), 0.9, samplers=("reference", "policy")),
        Pair("b", (1,), (2,), (3,), 0.9),
    ]
    live = torch.zeros(2, 2)
    batch = assemble_batch(live, pairs, {"previous": live}, [0, 1])
    assert batch.sampled_by("reference").chosen.tolist() == [1.0, 0.0]
    assert batch.sampled_by("policy").chosen.tolist() == [0.0, 1.0]
    assert batch.sampled_by("policy").rejected.tolist() == [1.0, 1.0]
    assert batch.sampled_by("data").chosen.tolist() == [0.0, 0.0]


def test_scores_of_a_data_set_are_the_rewards_of_its_pairs(workspace, tmp_path):
    file = tmp_path / "pairs.jsonl"
    row = '{"prompt": "sort d b", "chosen": "b d . plain", "rejected": "d b . plain"%s}'
    objective = "objective={use: 'baselines.rebel:REBEL', eta: 5.0}"
    overrides = ("iterations=1", f"pairs.path={file}", objective, "pairs.mode=pairs")
    file.write_text(row % ', "score_chosen": 7, "score_rejected": 2.5')
    method = spec("toy/dpo", *overrides)
    schedule.train(method, workspace, "scored")
    (pair,) = records.read_pairs(paths(method, workspace, "read-pairs")[0])
    assert pair.rewards == (7.0, 2.5)
    file.write_text(row % "")
    with pytest.raises(InputError, match="reads rewards, and 1 of 1 pairs have no scores"):
        schedule.train(spec("toy/dpo", *overrides), workspace, "no scores")


def test_the_oracles_that_have_rewards_are_named():
    assert reward_oracles() == [
        "fsfairx-llama3-rm",
        "skywork-reward-v2-llama-3.1-8b",
        "skywork-reward-v2-qwen3-0.6b",
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("objective={use: 'baselines.rebel:REBEL', eta: 5}",),
            "the oracle RuleOracle has not; those that have: fsfairx-llama3-rm, skywork",
        ),
        (
            ("objective={use: 'baselines.xpo:XPO', beta: 0.1, alpha: 0.1}",),
            "the objective needs responses of reference: set it to [policy, reference]",
        ),
        (("sample_from=[reference, policy]",), "it begins with policy"),
        (("sample_from=[policy, previous]",), "previous-2, previous-3"),
        (("sample_from=[policy, reference, reference]", "samples=6"), "each once"),
        (("sample_from=[policy, reference]", "samples=5"), "5 are no equal shares of 2 policies"),
        (("sample_from=[policy, reference]", "reference=previous"), "the reference is the policy"),
        (
            (
                "objective={use: 'baselines.rebel:REBEL', eta: 5}",
                "pairs={path: x, mode: winners}",
            ),
            "no oracle is asked of winners",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(overrides, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        spec("toy/inpo", *overrides)


def test_files_of_pairs_without_samplers_are_as_before(tmp_path: Path):
    records.write_pairs(tmp_path, [Pair("a", (1,), (2,), (3,), 0.9)])
    assert set(records.read_table(tmp_path / records.PAIRS)) == {
        *("prompt_id", "prompt_ids", "chosen_ids", "rejected_ids", "probability", "win_rates")
    }
    assert records.read_pairs(str(tmp_path)) == [Pair("a", (1,), (2,), (3,), 0.9)]
