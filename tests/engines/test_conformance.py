"""What every engine owes its callers: one suite for all of them, three generations an engine."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.core.hub import load_tokenizer, render_conversation
from harness.engines.canned import CannedEngine
from harness.engines.openai import OpenAIEngine
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine
from harness.protocols import GenerationEngine, KeepsPolicy, Sampling
from harness.types import Completion, Policy, Request
from tests.engines.conftest import TEMPLATE, WORDS, make_model, make_tokenizer

ENGINES = ("canned", "transformers", pytest.param("vllm", marks=pytest.mark.vllm), "openai")
VARIANTS = tuple(f" w{i}" for i in range(7))


@dataclass(frozen=True)
class Runs:
    """What an engine answered, and how it may be read."""

    asked: list[Request]
    sampled: list[Completion]
    moved: list[Completion]
    """The first and the last request again, among others and the other way round."""
    greedy: list[Completion]
    """The first request's prompt with two seeds, three tokens at most."""
    parts: list[Completion]
    """The last request of the first run, then the two before it, of one resident engine."""
    advanced: list[int]
    decode: Callable[[Sequence[int]], str]
    prompt_ids: Callable[[Request], tuple[int, ...]]

    def of(self, run: list[Completion], at: int) -> list[tuple[int, str, tuple[int, ...]]]:
        """The samples of one of the requests asked, wherever a run has them."""
        request = self.asked[at]
        return [(c.index, c.text, c.token_ids) for c in run if c.prompt_id == request.prompt.id]


@contextmanager
def create_engine(name: str, serve: Callable[..., str]) -> Iterator[GenerationEngine]:
    canned = CannedEngine(text="w3 w1 w4", variants=VARIANTS)
    match name:
        case "canned":
            yield canned
        case "transformers":
            yield TransformersEngine(batch_size=5)
        case "openai":
            yield OpenAIEngine(base_url=serve(canned), body={"return_token_ids": True})
        case _:
            if importlib.util.find_spec("vllm") is None:
                pytest.skip("vLLM is not installed: make vllm")
            yield VLLMEngine()


@pytest.fixture(scope="module", params=ENGINES)
def runs(
    request: pytest.FixtureRequest,
    policy: Policy,
    ask: Callable[..., Request],
    serve: Callable[..., str],
) -> Iterator[Runs]:
    first, second, third = ask("w1 w2", 4, 11), ask("w3", 2, 12), ask("w4 w5 w6 w7 w8", 3, 13)
    other, reseeded = ask("w9 w9", 1, 14), ask("w1 w2", 4, 21)
    asked, advanced = [first, second, third, other, reseeded], []
    tokenizer = load_tokenizer(policy)
    local = request.param in ("transformers", "vllm")
    with create_engine(request.param, serve) as engine:

        def run(requests: list[Request], sampling: Sampling) -> list[Completion]:
            return engine.generate(policy, requests, sampling, advanced.append)

        yield Runs(
            asked,
            run([first, second, third], Sampling(max_tokens=12)),
            run([third, other, first, reseeded], Sampling(max_tokens=12)),
            run([first, reseeded], Sampling(temperature=0, max_tokens=3)),
            in_parts(engine, policy, [first, second, third]),
            advanced,
            decode=(lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
            if local
            else (lambda ids: bytes(i for i in ids if i < 256).decode()),
            prompt_ids=(lambda r: render_conversation(tokenizer, r.prompt.messages).token_ids)
            if local
            else (lambda r: tuple(r.prompt.text.encode())),
        )


def in_parts(engine: GenerationEngine, policy: Policy, requests: list[Request]) -> list[Completion]:
    if not isinstance(engine, KeepsPolicy):
        return []
    progress: list[int] = []
    with engine.resident(policy, requests, Sampling(max_tokens=12)) as answer:
        completions = answer([2], progress.append) + answer([0, 1], progress.append)
    assert progress == [1, 1, 1]
    return completions


def test_a_resident_engine_answers_in_parts_as_it_does_at_once(runs: Runs) -> None:
    if not runs.parts:
        pytest.skip("this engine has nothing to keep")
    for at in (0, 1, 2):
        assert runs.of(runs.parts, at) == runs.of(runs.sampled, at)
    assert next(c.prompt_id for c in runs.parts) == runs.asked[2].prompt.id


def test_completions_come_in_the_order_of_the_requests(runs: Runs) -> None:
    expected = [(r.prompt.id, i, r.seed) for r in runs.asked[:3] for i in range(r.n)]
    assert [(c.prompt_id, c.index, c.seed) for c in runs.sampled] == expected


def test_the_same_request_gives_the_same_samples_among_other_neighbours(runs: Runs) -> None:
    for at in (0, 2):
        assert runs.of(runs.sampled, at) == runs.of(runs.moved, at)


def test_samples_of_a_request_differ(runs: Runs) -> None:
    assert len({text for _, text, _ in runs.of(runs.sampled, 0)}) > 1


def test_another_seed_gives_other_samples(runs: Runs) -> None:
    assert runs.of(runs.moved, 0) != runs.of(runs.moved, 4)


def test_no_temperature_means_no_chance(runs: Runs) -> None:
    assert len(runs.greedy) == 8
    assert len({(c.text, c.token_ids) for c in runs.greedy}) == 1


def test_max_tokens_ends_a_response_and_says_so(runs: Runs) -> None:
    assert [(len(c.token_ids), c.finish_reason) for c in runs.greedy] == [(3, "length")] * 8
    assert all(len(c.token_ids) <= 12 for c in runs.sampled)


def test_only_a_response_that_ended_has_its_end_token(runs: Runs) -> None:
    ends = {c.token_ids[-1] for c in runs.sampled + runs.moved if c.finish_reason == "stop"}
    assert len(ends) == 1
    assert all(not ends & set(c.token_ids) for c in runs.sampled if c.finish_reason == "length")


def test_the_text_is_what_the_tokens_say(runs: Runs) -> None:
    assert all(c.text == runs.decode(c.token_ids) for c in runs.sampled)
    assert all("<" not in c.text for c in runs.sampled)


def test_the_prompt_is_the_rendered_conversation(runs: Runs) -> None:
    expected = {r.prompt.id: runs.prompt_ids(r) for r in runs.asked}
    assert all(c.prompt_token_ids == expected[c.prompt_id] for c in runs.sampled)


def test_progress_is_reported_once_a_request(runs: Runs) -> None:
    assert runs.advanced == [1] * 9


@pytest.fixture
def long_policy(tmp_path: Path) -> Policy:
    """The small model with 4,096 positions."""
    folder = tmp_path / "long"
    make_tokenizer(TEMPLATE).save_pretrained(folder)
    make_model(seed=0, positions=4096).save_pretrained(folder)
    return Policy("long", str(folder))


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM: make vllm")
def test_a_batch_beyond_the_token_budget_is_answered(
    long_policy: Policy, ask: Callable[..., Request]
) -> None:
    """On the CPU a prompt that is computed in part ends vLLM: 64 prompts of 60 tokens, one long."""
    words = random.Random(0).choices(WORDS, k=9000)
    asked = [
        ask(" ".join(words[60 * i : 60 * (i + 1)]), 1 + 7 * (i % 8 == 0), i) for i in range(64)
    ]
    asked.append(ask(" ".join(words[-3000:]), 2, 99))
    with VLLMEngine().resident(long_policy, asked, Sampling(max_tokens=8)) as answer:
        together = answer(range(len(asked)), lambda _: None)
        again = answer([0, len(asked) - 1], lambda _: None)  # from the prefix cache
    assert len(together) == 64 + 7 * 8 + 2
    for request in (asked[0], asked[-1]):
        first, second = (
            [c.token_ids for c in run if c.prompt_id == request.prompt.id]
            for run in (together, again)
        )
        assert first == second
        assert len(set(first)) > 1  # samples of one prompt differ
