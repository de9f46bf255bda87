"""Packed and shared against one padded-free forward a sequence, through each model's own code."""

from __future__ import annotations

import random

import pytest
import torch
import transformers

from harness.errors import CheckError, PolicyError
from harness.scoring import packing
from harness.scoring.head import Head, tile_rows, token_logps
from harness.scoring.scorer import Scorer, check_architecture

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "head_dim": 8,
}
FAMILIES = {
    "llama": (transformers.LlamaConfig, {}),
    "llama, tied": (transformers.LlamaConfig, {"tie_word_embeddings": True}),
    "qwen2": (transformers.Qwen2Config, {}),
    "qwen3": (transformers.Qwen3Config, {}),
    "mistral, window": (transformers.MistralConfig, {"sliding_window": 7}),
    "gemma2, window": (
        transformers.Gemma2Config,
        {"sliding_window": 7, "query_pre_attn_scalar": 8, "final_logit_softcapping": 3.0},
    ),
    "gemma3, window": (transformers.Gemma3TextConfig, {"sliding_window": 7}),
}


def model_of(family: str, own: str = "eager", **changes) -> transformers.PreTrainedModel:
    kind, extra = FAMILIES[family]
    torch.manual_seed(0)
    config = kind(**{**SIZES, **extra, **changes}, pad_token_id=0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=own)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # far from uniform, so that a wrong mask shows
    return model.eval()


def drawn(count: int, longest: int, seed: int = 0, vocabulary: int = 50) -> list[packing.Row]:
    rng = random.Random(seed)

    def tokens(most: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(rng.randint(1, most)))

    return [(tokens(longest), (tokens(longest), tokens(longest))) for _ in range(count)]


def alone(model, rows: list[packing.Row]) -> torch.Tensor:
    """Σ over the response of log softmax(logits at the position before)[token]."""
    told = []
    for prompt, responses in rows:
        for response in responses:
            ids = torch.tensor([[*prompt, *response]])
            logits = model(ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
            picked = torch.log_softmax(logits, -1).gather(-1, ids[0, len(prompt) :, None])
            told.append(picked.double().sum().float())
    return torch.stack(told)


def gradient(model, told: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    weights = torch.linspace(-1, 1, len(told))
    (told * weights).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", ["rows", "dense"])
def test_packed_and_shared_is_what_the_models_own_code_gives(family, backend):
    model = model_of(family)
    rows = [*drawn(2, 90, seed=1), *drawn(3, 12, seed=2)]
    expected = alone(model, rows)
    slopes = gradient(model, expected)
    told = Scorer(model, backend=backend)(packing.pack(rows))
    assert told.dtype == torch.float32
    torch.testing.assert_close(told, expected, atol=1e-4, rtol=0)
    assert float((gradient(model, told) - slopes).norm() / slopes.norm()) < 1e-5


def test_a_sum_over_three_hundred_tokens_is_exact_to_a_ten_thousandth():
    model = model_of("llama", num_hidden_layers=4)
    rng = random.Random(3)
    prompt, chosen, rejected = (tuple(rng.randrange(50) for _ in range(300)) for _ in range(3))
    rows = [(prompt, (chosen, rejected))]
    expected = alone(model, rows)
    slopes = gradient(model, expected)
    told = Scorer(model)(packing.pack(rows))
    torch.testing.assert_close(told, expected, atol=1e-4, rtol=0)
    assert float((gradient(model, told) - slopes).norm() / slopes.norm()) < 1e-5


def test_a_row_may_hold_one_response_or_many():
    model = model_of("llama")
    rows = [((1, 2), ((3, 4, 5),)), ((6,), ((7,), (8, 9), (1, 1, 1)))]
    expected = alone(model, rows)
    torch.testing.assert_close(Scorer(model)(packing.pack(rows)), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_supported_architectures_pass_the_probe(family):
    check_architecture(model_of(family))


def test_a_cap_on_attention_that_the_loaded_code_leaves_out_is_no_difference():
    # weights are loaded with torch's attention, which knows no cap; Gemma 2 was trained with one
    model = model_of("gemma2, window", own="sdpa", attn_logit_softcapping=0.5)
    check_architecture(model)
    assert model.config._attn_implementation == "sdpa"


def test_an_architecture_whose_head_does_more_is_refused():
    config = transformers.CohereConfig(**SIZES, pad_token_id=0, logit_scale=0.25)
    torch.manual_seed(0)
    model = transformers.CohereForCausalLM(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(30)
    with pytest.raises(PolicyError, match="Cohere.* is not supported"):
        check_architecture(model)


def test_an_empty_response_cannot_be_packed():
    with pytest.raises(CheckError, match="row 1 has an empty"):
        packing.pack([((1,), ((2,), (3,))), ((1,), ((2,), ()))])


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_a_head_in_tiles_is_log_softmax_with_its_gradients(softcap):
    torch.manual_seed(0)
    rows, vocabulary = 150, 2**17
    assert rows > tile_rows(vocabulary, torch.device("cpu"))  # 64 a tile: three tiles
    told, expected = [], []
    for make in (told, expected):
        torch.manual_seed(1)
        hidden = torch.randn(rows, 4, requires_grad=True)
        weight = torch.randn(vocabulary, 4, requires_grad=True)
        bias = torch.randn(vocabulary, requires_grad=True)
        targets = torch.randint(vocabulary, (rows,))
        if make is told:
            out = token_logps(hidden, weight, bias, targets, Head(softcap))
        else:
            logits = hidden @ weight.T + bias
            logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
            out = torch.log_softmax(logits, -1).gather(-1, targets[:, None]).squeeze(-1)
        (out * torch.linspace(-1, 1, rows)).sum().backward()
        make += [out.detach(), hidden.grad, weight.grad, bias.grad]
    for mine, plain in zip(told, expected, strict=True):
        torch.testing.assert_close(mine, plain, atol=2e-5, rtol=1e-5)


def test_bfloat16_products_keep_a_float32_softmax():
    hidden, weight = torch.randn(5, 64), torch.randn(50, 64) / 8
    targets = torch.arange(5)
    exact = token_logps(hidden, weight, None, targets, Head())
    rounded = token_logps(hidden.bfloat16(), weight.bfloat16(), None, targets, Head())
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).abs().max()) < 0.05
