"""The embedding model: the skew-symmetric form by hand, the cost, the rendering."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from harness.errors import PolicyError
from harness.oracles.embedding import Embedding, EmbeddingModel, preference, state_request
from harness.types import Comparison
from tests.oracles.tiny import PROMPT, TEXTS, all_pairs, saved, tokenizer


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("embedding")
    saved("LlamaForCausalLM", folder)
    weights = load_file(Path(folder) / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    weights["value_head.weight"] = torch.randn(4, 16, generator=generator)
    weights["prompt_head.weight"] = torch.randn(2, 16, generator=generator)
    save_file(weights, Path(folder) / "model.safetensors", {"format": "pt"})
    return str(folder)


def oracle(path: str, **settings) -> EmbeddingModel:
    return EmbeddingModel(name="tiny", path=path, dtype="float32", **settings)


def test_the_form_by_hand():
    # one block of weight 1, quarter turn apart: (1, 0) against (0, 1) gives 1 * 1 - 0 * 0 = 1
    block = torch.ones(1)
    east, north = (
        Embedding(torch.tensor([1.0, 0.0]), block),
        Embedding(torch.tensor([0.0, 1.0]), block),
    )
    assert preference(east, north, tau=0.5) == pytest.approx(1 / (1 + math.exp(-2)))
    assert preference(north, east, tau=0.5) == pytest.approx(1 / (1 + math.exp(2)))
    assert preference(east, east, tau=0.5) == 0.5


def test_preferences_may_run_in_a_circle():
    thirds = [2 * math.pi * i / 3 for i in range(3)]
    points = [Embedding(torch.tensor([math.cos(a), math.sin(a)]), torch.ones(1)) for a in thirds]
    around = [preference(points[i], points[(i + 1) % 3], tau=0.1) for i in range(3)]
    assert all(p > 0.99 for p in around)


def test_it_is_the_official_formula_with_matrices(path):
    model = AutoModel.from_pretrained(path)
    weights = load_file(Path(path) / "model.safetensors")
    requests = [state_request(tokenizer(), PROMPT, text, 4096) for text in TEXTS[:2]]
    with torch.inference_mode():
        hidden = [model(torch.tensor([request.row]))[0][0] for request in requests]
    first, second = (
        torch.nn.functional.normalize(weights["value_head.weight"] @ h[-1], dim=0) for h in hidden
    )
    scales = (weights["prompt_head.weight"] @ hidden[0][requests[0].positions[0]]).softmax(0)
    turn = torch.zeros(4, 4)
    for block, scale in enumerate(scales):
        turn[2 * block, 2 * block + 1], turn[2 * block + 1, 2 * block] = -scale, scale
    expected = torch.sigmoid((turn @ first) @ second / 0.1).item()
    preferences = oracle(path).compare([Comparison(PROMPT, *TEXTS[:2])], lambda _: None)
    assert preferences == pytest.approx([expected], abs=1e-5)
    assert abs(expected - 0.5) > 0.02


@pytest.mark.parametrize("size", [1, 20, 8192])
def test_all_pairs_cost_one_pass_a_response_and_are_skew(path, size):
    passes: list[int] = []
    there = oracle(path, micro_tokens=size).compare(all_pairs(), passes.append)
    assert sum(passes) == 4
    back = oracle(path).compare([c.swap() for c in all_pairs()], lambda _: None)
    assert [a + b for a, b in zip(there, back, strict=True)] == pytest.approx([1.0] * 6, abs=1e-5)


def test_the_row_ends_with_the_end_of_text_and_knows_where_the_prompt_ends():
    tokenizer_ = tokenizer(bos=True)
    request = state_request(tokenizer_, PROMPT, "four five", 4096)
    text = tokenizer_.decode(request.row)
    assert text == "<s> <|user|> one two three <|end|> <|assistant|> four five <|end|>"
    prompt_end, last = request.positions
    assert tokenizer_.decode(request.row[: prompt_end + 1]) == "<s> <|user|> one two three <|end|>"
    assert last == len(request.row) - 1
    short = state_request(tokenizer_, PROMPT, "four five", 4)
    assert tokenizer_.decode(short.row) == "<s> <|user|> one <|end|>"
    assert short.positions == (3, 3)


def test_weights_without_its_heads_are_refused(tmp_path):
    path = saved("LlamaForCausalLM", tmp_path)
    with pytest.raises(PolicyError, match=r"lacks prompt_head\.weight, value_head\.weight"):
        oracle(path).compare([Comparison(PROMPT, "one", "two")], lambda _: None)
