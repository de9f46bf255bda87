from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import LlamaForCausalLM

from harness.core.config import identity
from harness.core.hub import load_tokenizer, render_conversation
from harness.engines.transformers import TransformersEngine, uniforms
from harness.errors import EngineError, PolicyError
from harness.protocols import Sampling
from harness.types import Completion, Policy, Request

Ask = Callable[..., Request]
END = 1


def generate(
    policy: Policy, requests: list[Request], sampling: Sampling, batch_size: int = 64
) -> list[Completion]:
    engine = TransformersEngine(batch_size=batch_size)
    return engine.generate(policy, requests, sampling, lambda _: None)


def distribution(
    policy: Policy, ids: tuple[int, ...], temperature: float, top_p: float
) -> torch.Tensor:
    """The next token's probabilities, written out: softmax, then the smallest set above top_p."""
    model = LlamaForCausalLM.from_pretrained(policy.path).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, -1].double()
    probabilities = (logits / temperature).softmax(-1)
    nucleus_tokens, mass = [], 0.0
    for token in probabilities.argsort(descending=True).tolist():
        if mass >= top_p:
            break
        nucleus_tokens.append(token)
        mass += float(probabilities[token])
    nucleus = torch.zeros_like(probabilities)
    nucleus[nucleus_tokens] = probabilities[nucleus_tokens]
    return nucleus / nucleus.sum()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.5, 0.8)])
def test_tokens_come_as_often_as_the_softmax_says(
    policy: Policy, ask: Ask, temperature: float, top_p: float
) -> None:
    n = 4000
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=1)
    completions = generate(policy, [ask("w1 w2", n, seed=3)], sampling, batch_size=n)
    expected = distribution(policy, completions[0].prompt_token_ids, temperature, top_p) * n
    counts = Counter(c.token_ids[0] for c in completions)
    assert all(expected[token] > 0 for token in counts)
    common = [token for token in range(len(expected)) if expected[token] >= 5]
    rest = n - sum(counts[t] for t in common), n - sum(float(expected[t]) for t in common)
    pairs = [(counts[t], float(expected[t])) for t in common] + ([rest] if rest[1] > 1e-6 else [])
    chi_square = sum(
        (observed - expected_count) ** 2 / expected_count for observed, expected_count in pairs
    )
    assert chi_square < stats.chi2.ppf(0.999, len(pairs) - 1)


def test_a_response_is_what_one_row_without_cache_or_padding_draws(
    policy: Policy, ask: Ask
) -> None:
    """The oracle: token by token over the whole row, with the row's own numbers."""
    requests = [ask("w1", 2, 5), ask("w2 w3 w4 w5 w6 w7", 3, 6)]
    for completion in generate(
        policy, requests, Sampling(temperature=1.3, top_p=0.9, max_tokens=20)
    ):
        ids, drawn = completion.prompt_token_ids, []
        for number in uniforms([completion.seed], [completion.index], 20)[0]:
            cumulative = distribution(policy, (*ids, *drawn), 1.3, 0.9).cumsum(0)
            drawn.append(int((cumulative <= number * cumulative[-1]).sum()))
            if drawn[-1] == END:
                break
        assert completion.token_ids == tuple(drawn)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_the_batch_size_changes_nothing(policy: Policy, ask: Ask, batch_size: int) -> None:
    requests = [ask(" ".join(["w5", "w9"] * length), 3, length) for length in (4, 1, 3, 2, 6)]
    sampling = Sampling(max_tokens=20)
    assert generate(policy, requests, sampling, batch_size) == generate(policy, requests, sampling)


def test_greedy_is_what_the_library_gives(policy: Policy, ask: Ask) -> None:
    completions = generate(
        policy, [ask("w1"), ask("w2 w3 w4 w5")], Sampling(temperature=0, max_tokens=20)
    )
    model = LlamaForCausalLM.from_pretrained(policy.path).eval()
    for completion in completions:
        prompt = torch.tensor([completion.prompt_token_ids])
        generated = model.generate(prompt, do_sample=False, max_new_tokens=20)
        assert completion.token_ids == tuple(generated[0, prompt.shape[1] :].tolist())


def test_what_the_folder_recommends_is_not_followed(
    policy: Policy, ask: Ask, tmp_path: Path
) -> None:
    folder = shutil.copytree(policy.path, tmp_path / "model")
    generated = json.loads((folder / "generation_config.json").read_text())
    generated |= {"repetition_penalty": 5.0, "temperature": 0.1, "do_sample": True, "top_k": 1}
    (folder / "generation_config.json").write_text(json.dumps(generated))
    requests, sampling = [ask("w1 w2", 4, 1)], Sampling(max_tokens=12)
    recommending = Policy("recommending", str(folder))
    assert generate(recommending, requests, sampling) == generate(policy, requests, sampling)


def test_a_response_ends_where_the_context_does(policy: Policy, ask: Ask) -> None:
    short, long = (
        ask("w1", 8, 2),
        ask(" ".join(["w1"] * 52), 8, 2),
    )  # 54 of 64 tokens with its roles
    completions = generate(policy, [short, long], Sampling(max_tokens=30))
    assert {len(c.token_ids) for c in completions[8:] if c.finish_reason == "length"} == {10}
    assert max(len(c.token_ids) for c in completions[:8]) > 10


def test_a_prompt_that_fills_the_context_is_an_error(policy: Policy, ask: Ask) -> None:
    with pytest.raises(EngineError, match="has 72 tokens and the context of tiny has 64: no room"):
        generate(policy, [ask(" ".join(["w1"] * 70))], Sampling())


def test_a_tokenizer_without_chat_template_is_an_error(
    policy: Policy, ask: Ask, tmp_path: Path
) -> None:
    folder = shutil.copytree(policy.path, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(PolicyError, match=r"no chat template.*--set policy\.chat_template"):
        generate(Policy("plain", str(folder)), [ask("w1")], Sampling())


def test_nothing_asked_is_nothing_answered(policy: Policy, ask: Ask) -> None:
    assert generate(policy, [], Sampling()) == []
    assert generate(policy, [ask("w1", n=0)], Sampling()) == []


def test_the_prompt_is_rendered_once_and_for_all(policy: Policy, ask: Ask) -> None:
    request = ask("w1 w2")
    (completions,) = generate(policy, [request], Sampling(max_tokens=1))
    tokenizer = load_tokenizer(policy)
    assert tokenizer.decode(completions.prompt_token_ids) == "<user> w1 w2 <assistant>"
    assert (
        completions.prompt_token_ids
        == render_conversation(tokenizer, request.prompt.messages).token_ids
    )


def test_only_what_changes_samples_is_part_of_the_identity() -> None:
    other = TransformersEngine(batch_size=3, device="cpu", selection_reason="there is no GPU")
    assert identity(other) == identity(TransformersEngine())
    assert identity(TransformersEngine(dtype="bfloat16")) != identity(other)


def test_stream_zero_is_splitmix64_from_state_zero() -> None:
    # The published generator's first two outputs from state 0; the upper 53 bits make the number.
    expected = [(word >> 11) / 2**53 for word in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)]
    assert uniforms([0], [0], 2)[0].tolist() == expected


def test_a_row_depends_on_its_own_seed_and_index_only() -> None:
    many = uniforms([5, 6, 5], [0, 0, 1], 9)
    assert np.array_equal(many[2], uniforms([5], [1], 4)[0].tolist() + many[2, 4:].tolist())
    assert len({tuple(row) for row in many}) == 3


def test_numbers_are_uniform_along_rows_steps_and_indices() -> None:
    numbers = uniforms([seed for seed in range(500) for _ in range(8)], [*range(8)] * 500, 24)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # 96000 numbers with standard deviation 1/sqrt(12): the mean's is 0.00093.
    assert abs(numbers.mean() - 0.5) < 4 * 0.00093
    cube = numbers.reshape(500, 8, 24) - 0.5
    for a, b in (
        (cube[1:], cube[:-1]),
        (cube[:, 1:], cube[:, :-1]),
        (cube[..., 1:], cube[..., :-1]),
    ):
        correlation = (a * b).mean() * 12
        assert abs(correlation) < 4 / np.sqrt(a.size)
