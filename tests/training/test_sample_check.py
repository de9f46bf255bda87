"""Whether samples are the policy's: an exact test, its errors, and what a run does with it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.core import config
from harness.core.config import Component
from harness.core.stages import ignore_progress
from harness.engines.transformers import TransformersEngine
from harness.errors import CheckError, ConfigError
from harness.protocols import Sampling
from harness.toy.world import ToyCorpus
from harness.training import records, rollout
from harness.training.sample_check import (
    FIGURES,
    RATES,
    check_fit_of_samples,
    check_prompts,
    choose_samples,
    evidence,
    measure_samples,
    token_statistics,
)
from harness.training.spec import TrainSpec
from harness.types import Completion, Message, Policy, Prompt, Request
from tests.conftest import tiny

PLAIN = Sampling(max_tokens=24)


@pytest.fixture(scope="module")
def policy(tiny_policy) -> Policy:
    return Policy("tiny", tiny_policy)


@pytest.fixture(scope="module")
def stranger(tiny_policy, tmp_path_factory) -> Policy:
    """The same architecture and tokenizer with half of the layers' weights turned round."""
    folder = shutil.copytree(tiny_policy, tmp_path_factory.mktemp("stranger") / "policy")
    weights = load_file(folder / "model.safetensors")
    turned = {name: -w if "mlp" in name else w for name, w in weights.items()}
    save_file(turned, folder / "model.safetensors", metadata={"format": "pt"})
    return Policy("stranger", str(folder))


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    texts = dict.fromkeys(text for text, _ in ToyCorpus(count=40).examples())
    return [Prompt(text, (Message("user", text),)) for text in texts]


def sample(policy: Policy, prompts, sampling: Sampling = PLAIN) -> list[Completion]:
    requests = [Request(prompt, 2, seed) for seed, prompt in enumerate(prompts)]
    return TransformersEngine().generate(policy, requests, sampling, lambda _: None)


def test_the_statistics_are_those_of_the_distribution_that_is_sampled():
    logits = torch.tensor([[2.0, 1.0, 0.0, -torch.inf]])
    sampling = Sampling(temperature=2.0, top_p=0.8)
    surprise, entropy, expected = token_statistics(logits, torch.tensor([1]), sampling)
    tempered = np.exp([1.0, 0.5, 0.0])
    tempered /= tempered.sum()  # 0.506, 0.307, 0.186: the first two hold 0.8
    own = tempered[:2] / tempered[:2].sum()
    cost = -np.log(tempered[:2])
    assert float(surprise) == pytest.approx(cost[1], abs=1e-6)
    assert float(entropy) == pytest.approx(own @ cost, abs=1e-6)
    for rate, value in zip((*RATES, *(-r for r in RATES)), expected[0].tolist(), strict=True):
        assert value == pytest.approx(math.log(own @ np.exp(rate * cost)), abs=1e-5)


def simulate(rng: np.random.Generator, tokens: int, shift: float) -> float:
    """Evidence against tokens that are drawn from logits which are `shift` times another's."""
    logits = torch.from_numpy(rng.gumbel(size=(tokens, 50)) * 2).float()
    other = logits + shift * torch.from_numpy(rng.normal(size=(tokens, 50))).float()
    noise = torch.from_numpy(rng.gumbel(size=(tokens, 50)))
    drawn = (other + noise).argmax(-1)
    surprise, _, expected = token_statistics(logits, drawn, Sampling())
    return evidence(surprise, expected[:, : len(RATES)], 1)


def test_evidence_has_no_false_alarms_and_sees_another_policy():
    rng = np.random.default_rng(0)
    own = [simulate(rng, 60, 0.0) for _ in range(200)]
    assert max(own) < 6 < -math.log(1e-6)
    assert min(simulate(rng, 1500, 1.5) for _ in range(3)) > -math.log(1e-6)
    assert min(simulate(rng, 200, 3.0) for _ in range(3)) > -math.log(1e-6)


@pytest.mark.parametrize(
    "sampling",
    [PLAIN, Sampling(temperature=0.6, top_p=0.9, max_tokens=24), Sampling(temperature=0)],
    ids=["plain", "tempered", "greedy"],
)
def test_an_engines_own_samples_pass(policy, prompts, sampling, caplog):
    fit = measure_samples(policy, choose_samples(sample(policy, prompts, sampling)), sampling)
    check_fit_of_samples(fit, policy, sampling)
    assert not caplog.text
    assert fit.too_rare < 5
    assert fit.surprise == pytest.approx(fit.entropy, abs=0.35)


def test_the_samples_of_another_policy_are_refused_with_the_figures(policy, stranger, prompts):
    fit = measure_samples(policy, choose_samples(sample(stranger, prompts)), PLAIN)
    with pytest.raises(CheckError, match=r"not π_t's: .* nats a token under tiny, .*another model"):
        check_fit_of_samples(fit, policy, PLAIN)


def test_samples_that_are_too_likely_are_warned_of(policy, prompts, caplog):
    cold = sample(policy, prompts, Sampling(temperature=0.3, max_tokens=24))
    check_fit_of_samples(measure_samples(policy, choose_samples(cold), PLAIN), policy, PLAIN)
    assert "likelier than π_t's" in caplog.text
    assert "top_k" in caplog.text


def test_prompts_that_are_rendered_otherwise_are_refused(policy, prompts):
    by_id = {prompt.id: prompt for prompt in prompts}
    (first, *_) = sample(policy, prompts[:1])
    check_prompts(policy, by_id, [first])
    other = replace(first, prompt_token_ids=(1, *first.prompt_token_ids))
    with pytest.raises(CheckError, match="tokens instead of .*another tokenizer or chat template"):
        check_prompts(policy, by_id, [other])


def test_tokens_that_are_missing_or_unknown_are_refused(policy):
    silent = Completion("p", 0, "text", (), (), "stop", 0)
    with pytest.raises(CheckError, match="return_token_ids=true"):
        choose_samples([silent])
    assert choose_samples([replace(silent, finish_reason="missing")]) == []
    beyond = replace(silent, prompt_token_ids=(1,), token_ids=(2, 10**6))
    with pytest.raises(CheckError, match="token 1000000 of a vocabulary"):
        measure_samples(policy, [beyond], PLAIN)


class Served(Component):
    """A server of one model, in this process."""

    folder: str
    """What it serves."""
    diary: str
    """Where it notes how many prompts it was asked at a time, and what it was told to load."""
    reload_url: str | None = None

    def load_policy(self, policy) -> None:
        self._note(policy.path)

    def generate(self, policy, requests, sampling, advance) -> list[Completion]:
        self._note(len(requests))
        own = Policy("served", self.folder)
        return TransformersEngine().generate(own, requests, sampling, advance)

    def _note(self, text) -> None:
        with open(self.diary, "a") as diary:
            diary.write(f"{text}\n")


def served(folder: str, diary, *overrides: str) -> TrainSpec:
    settings = ("prompts.count=12", "samples=2", "iterations=1", "launcher.shard_size=4")
    data = config.load("train", "toy/inpo", (*settings, *overrides))
    engine = Served(folder=folder, diary=str(diary))
    return config.construct(TrainSpec, {**data, "policy": tiny(), "engine": engine})


def run_generation(spec: TrainSpec, folder, policy: str):
    out = folder / "generate"
    for directory in (folder / "prompts", out):
        directory.mkdir(exist_ok=True)
    records.write_prompts(folder / "prompts", spec.prompts.prompts(1))
    inputs = {"policy": policy, "prompts": str(folder / "prompts")}
    rollout.generate(spec, 1, out, inputs, ignore_progress)
    return out


def test_a_server_of_another_model_stops_a_run_after_its_first_prompts(
    tmp_path, tiny_policy, stranger
):
    diary = tmp_path / "diary"
    with pytest.raises(CheckError, match="not π_t's"):
        run_generation(served(stranger.path, diary), tmp_path, tiny_policy)
    assert diary.read_text().split() == [tiny_policy, "4"]
    out = run_generation(served(tiny_policy, diary), tmp_path, tiny_policy)
    assert diary.read_text().split()[2:] == [tiny_policy, "4", "4", "4"]
    assert sum(map(len, records.read_completions(str(out)).values())) == 24
    figures = json.loads((out / "provenance" / FIGURES).read_text())
    assert figures["responses"] == 8


def test_a_server_that_keeps_its_model_cannot_sample_later_policies(tmp_path, tiny_policy):
    for override in ("iterations=2", "head_to_head_prompts=3"):
        with pytest.raises(ConfigError, match=r"keeps one model.*set engine\.reload_url"):
            served(tiny_policy, tmp_path / "diary", override)
