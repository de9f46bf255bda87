"""The rehearsal of an oracle, an objective and of the room there is; and what is rehearsed when."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from harness.core import config
from harness.core.workspace import Workspace
from harness.errors import CheckError, HarnessError, PolicyError, StoreError
from harness.oracles.judge import JudgeOracle
from harness.training import records, schedule
from harness.training.rehearsal import oracle as asking
from harness.training.rehearsal import room, stages
from harness.training.rehearsal.objective import check_objective
from harness.training.rehearsal.prompts import first_of_each_form
from harness.training.spec import TrainSpec
from harness.types import Message, ParsedVerdict, Prompt, Verdict
from tests.conftest import tiny

USER, SYSTEM = Message("user", "one"), Message("system", "two")
PROMPTS = [Prompt("a", (USER,)), Prompt("b", (USER,)), Prompt("c", (SYSTEM, USER))]


class Rule(config.Component):
    """An oracle of a user's own."""

    accelerators: ClassVar[int] = 0
    transitive: bool = False
    answer: Callable[[list], list]

    def compare(self, comparisons, advance):
        advance(len(comparisons))
        return self.answer(comparisons)


def says_nan(comparisons: list) -> list[float]:
    return [math.nan] * len(comparisons)


def spec(*overrides: str, **parts) -> TrainSpec:
    small = ("prompts.count=8", "samples=2", "iterations=1", "optimiser.epochs=1")
    data = config.load("train", "toy/inpo", (*small, *overrides))
    return config.construct(TrainSpec, {**data, "policy": tiny(), **parts})


def asked(answer, folder: Path, prompts=PROMPTS, **parts) -> dict:
    records.write_prompts(folder, prompts)
    oracle = parts.get("oracle") or Rule(answer=answer)
    inputs = {"prompts-1": str(folder)}
    return asking.rehearse_oracle(spec(oracle=oracle), folder, inputs, lambda count: None)


def test_an_oracle_is_asked_about_a_prompt_of_each_form_in_both_orders(tmp_path):
    questions: list = []

    def answer(comparisons):
        questions.extend(comparisons)
        return [1.0 if c.first < c.second else 0.0 for c in comparisons]

    report = asked(answer, tmp_path)
    assert [c.prompt.id for c in questions] == ["a", "c", "a", "c"]
    assert [(c.second, c.first) for c in questions[2:]] == [
        (c.first, c.second) for c in questions[:2]
    ]
    assert report == {"questions": 4, "answers": [1.0, 0.0], "swapped": [0.0, 1.0]}
    assert [p.id for p in first_of_each_form(PROMPTS)] == ["a", "c"]


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS[:2]])
def test_at_least_two_comparisons_are_asked(prompts, tmp_path):
    assert asked(lambda several: [0.5] * len(several), tmp_path, prompts)["questions"] == 4


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (says_nan, "Rule said nan of prompt 'a'"),
        (lambda several: [0.5] * (len(several) - 1), "Rule gave 1 answers to 2 questions"),
        (lambda several: [1.5] * len(several), "a probability is within 0 and 1"),
        (lambda several: ["A"] * len(several), "a finite number is needed"),
        (lambda several: [math.nan if not c.first else 0.5 for c in several], "said nan"),
    ],
)
def test_an_oracle_that_does_not_answer_with_probabilities_is_refused(answer, message, tmp_path):
    with pytest.raises(CheckError, match=message):
        asked(answer, tmp_path)


def test_an_oracle_that_prefers_whatever_comes_first_is_warned_of(tmp_path, caplog):
    asked(lambda several: [0.9] * len(several), tmp_path)
    assert "Rule prefers the first response of every comparison" in caplog.text


class Judge:
    model = "judge-1"

    def __init__(self, value):
        self.value, self.requests = value, set()

    def judge(self, requests, parser, advance):
        new = {(r.messages, str(r.parameters)) for r in requests} - self.requests
        self.requests |= new
        advance(len(new))
        parsed = None if self.value is None else ParsedVerdict(self.value)
        return [Verdict(r.id, parsed, self.model) for r in requests]


def test_a_paid_judge_is_asked_four_times_and_the_log_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    judge = Judge(0.75)
    asked(None, tmp_path, PROMPTS * 3, oracle=JudgeOracle(judge=judge))
    assert len(judge.requests) == 4  # two comparisons, in both orders
    assert "asked the judge judge-1 for 4 verdicts, which are kept in its store" in caplog.text


def test_a_judge_that_writes_words_is_refused(tmp_path):
    with pytest.raises(CheckError, match="4 of 4 replies of judge-1 are unparsable"):
        asked(None, tmp_path, oracle=JudgeOracle(judge=Judge(None)))


class Loss:
    anchors: ClassVar[frozenset[str]] = frozenset({"reference"})
    win_rates = False

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, batch):
        return self.loss(batch.policy.chosen - batch.policy.rejected)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (torch.mean, "shape"),
        (lambda h: h / 0, "inf"),
        (lambda h: h.detach(), "no gradient"),
        (lambda h: h * 0, "no gradient"),
        (lambda h: (h - h.detach()).abs().sqrt(), "gradient of the objective Loss is not finite"),
    ],
)
def test_an_objective_that_cannot_be_minimised_is_refused(loss, message):
    with pytest.raises(CheckError, match=message):
        check_objective(Loss(loss))


@pytest.mark.parametrize("name", config.names("train"))
def test_every_recipes_objective_can_be_minimised(name):
    check_objective(config.build(config.load("train", name)["objective"]))


def test_a_disk_without_room_is_refused_with_the_numbers(tmp_path):
    room.check_disk(tmp_path / "new/runs", 3, 1e6, 1e6)
    with pytest.raises(StoreError, match=r"writes 5,?000\.?.* GB: 3 policies of 1"):
        room.check_disk(tmp_path / "new/runs", 3, 1e12 * 1e3, 2e15)


def test_a_training_that_no_gpu_holds_is_refused(caplog):
    method = config.construct(TrainSpec, config.load("train", "inpo"))
    # 8.03e9 parameters × 16 bytes on 8 GPUs: 16.06 GB each
    with pytest.raises(PolicyError, match=r"take 16\.1 GB on each of 8 GPUs of 15\.0 GB"):
        room.check_memory(method, 8, 15e9)
    room.check_memory(method, 8, 20e9)
    assert "training takes about" in caplog.text  # activations are an estimate
    caplog.clear()
    room.check_memory(method, 8, 141e9)
    assert not caplog.text


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory) -> tuple[Workspace, stages.Rehearsal]:
    workspace = Workspace(tmp_path_factory.mktemp("runs"))
    return workspace, schedule.rehearse_all(spec(), workspace)


def test_a_rehearsal_is_cached_for_other_recipes_and_seeds(rehearsed):
    workspace, first = rehearsed
    assert not first.cached
    for overrides in ((), ("seed=3",), ("objective.eta=0.3", "samples=4"), ("optimiser.epochs=2",)):
        again = schedule.rehearse_all(spec(*overrides), Workspace(workspace.root))
        assert again == stages.Rehearsal(first.seconds, True, first.policy, first.oracle)
    assert not list((workspace.root / "stages").glob("generate-*"))


def test_another_policy_setting_rehearses_the_policy_and_not_the_oracle(rehearsed):
    workspace, first = rehearsed
    with_adapters = schedule.rehearse_all(spec("optimiser.lora={rank: 2}"), workspace)
    assert not with_adapters.cached
    assert with_adapters.policy != first.policy
    assert len(list((workspace.root / "stages").glob("rehearse-oracle-*"))) == 1
    assert len(list((workspace.root / "stages").glob("rehearse-policy-*"))) == 2


def test_in_one_process_a_rehearsal_is_not_repeated_for_another_workspace(
    rehearsed, tmp_path, monkeypatch, tiny_store
):
    monkeypatch.setattr(stages, "rehearse_policy", None)
    method, workspace = spec(), Workspace(tmp_path)
    start = rehearsed[0].stages.materialize(schedule.Schedule(method).policies()[0])
    (workspace.root / "stages").mkdir()
    (workspace.root / "stages" / Path(start.path).name).symlink_to(start.path)
    assert schedule.rehearse_all(method, workspace).policy == rehearsed[1].policy


def test_a_training_rehearses_first_unless_the_user_says_no(tmp_path):
    wrong = spec(oracle=Rule(answer=says_nan))
    with pytest.raises(CheckError, match="said nan"):
        schedule.train(wrong, Workspace(tmp_path), "wrong")
    assert not list((tmp_path / "stages").glob("generate-*"))
    with pytest.raises(CheckError, match="said nan"):
        schedule.train(wrong, Workspace(tmp_path), "wrong", rehearse=False)
    assert list((tmp_path / "stages").glob("generate-*"))


def test_the_rehearsal_is_no_stage_of_the_method():
    names = {stage.name for stage, _ in schedule.plan(spec(), Workspace(Path("nowhere")))}
    assert not {name for name in names if name.startswith("rehearse")}


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("engine.base_url=https://nowhere.invalid/v1", "export OPENAI_API_KEY="),
        ("engine={ref: engine/vllm, python: /nowhere/python}", "no interpreter '/nowhere/python'"),
    ],
)
def test_an_engine_that_cannot_sample_is_refused_before_anything_is_computed(
    engine, message, tmp_path, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    overrides = ("engine={ref: engine/openai}", engine) if "base_url" in engine else (engine,)
    with pytest.raises(HarnessError, match=message):
        schedule.prepared(spec(*overrides), Workspace(tmp_path))
    assert not list(tmp_path.iterdir())
