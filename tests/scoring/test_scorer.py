"""Packed and shared against one padded-free forward a sequence, through each model's own code."""

from __future__ import annotations

import copy
import random

import pytest
import torch
import transformers

from harness.errors import CheckError, PolicyError
from harness.scoring import packing
from harness.scoring.architectures import context_length
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
GRADIENT_ERROR = 400 * torch.finfo(torch.float32).eps
"""Relative, of a whole gradient, after a few hundred roundings; a wrong mask gives about 1."""


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


def alone(model, rows: list[packing.Row]) -> tuple[torch.nn.Module, torch.Tensor]:
    """The model in float64, and the sum of log softmax(logits)[token] over each response."""
    exact = copy.deepcopy(model).double()
    sums = []
    for prompt, responses in rows:
        for response in responses:
            ids = torch.tensor([[*prompt, *response]])
            logits = exact(ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
            picked = torch.log_softmax(logits, -1).gather(-1, ids[0, len(prompt) :, None])
            sums.append(picked.sum())
    return exact, torch.stack(sums)


def rounding(values: torch.Tensor, terms: int = 1) -> float:
    """What float32 may lose in values of this size, each a sum of so many terms: four roundings.

    The errors of a sum are independent, so that they grow with the root of its length.
    """
    return 4 * torch.finfo(torch.float32).eps * terms**0.5 * float(values.detach().abs().max())


def gradient(model, sums: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    weights = torch.linspace(-1, 1, len(sums))
    (sums * weights).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def assert_exact(model, rows: list[packing.Row], backend: str | None = None) -> None:
    """The scorer's sums and their gradient are the float64 model's, up to float32's rounding."""
    exact, expected = alone(model, rows)
    slopes = gradient(exact, expected)
    logps = Scorer(model, backend=backend)(packing.pack(rows))
    assert logps.dtype == torch.float32
    torch.testing.assert_close(logps.double(), expected, atol=rounding(expected), rtol=0)
    assert float((gradient(model, logps) - slopes).norm() / slopes.norm()) < GRADIENT_ERROR


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", ["rows", "dense"])
def test_packed_and_shared_is_what_the_models_own_code_gives(family, backend):
    assert_exact(model_of(family), [*drawn(2, 90, seed=1), *drawn(3, 12, seed=2)], backend)


def test_a_sum_over_three_hundred_tokens_is_exact_to_float32s_rounding():
    rng = random.Random(3)
    prompt, chosen, rejected = (tuple(rng.randrange(50) for _ in range(300)) for _ in range(3))
    assert_exact(model_of("llama", num_hidden_layers=4), [(prompt, (chosen, rejected))])


def test_a_row_may_hold_one_response_or_many():
    rows = [((1, 2), ((3, 4, 5),)), ((6,), ((7,), (8, 9), (1, 1, 1)))]
    assert_exact(model_of("llama"), rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_supported_architectures_pass_the_probe(family):
    check_architecture(model_of(family))


def test_a_cap_on_attention_that_the_loaded_code_leaves_out_is_no_difference():
    # weights are loaded with torch's attention, which knows no cap; Gemma 2 was trained with one
    model = model_of("gemma2, window", own="sdpa", attn_logit_softcapping=0.5)
    check_architecture(model)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "config",
    [
        transformers.CohereConfig(**SIZES, pad_token_id=0, logit_scale=0.25),
        transformers.GraniteConfig(**SIZES, pad_token_id=0, logits_scaling=4.0),
    ],
    ids=["cohere", "granite"],
)
def test_a_head_that_scales_its_logits_is_scored_so(config):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(30)
    check_architecture(model)


def test_a_window_that_attention_is_not_handed_is_found_beyond_the_window():
    # as PhiMoE's code has it, its mask knows the window and its attention does not
    model = model_of("gemma3, window")
    for layer in model.model.layers:
        layer.self_attn.sliding_window = None
    with pytest.raises(PolicyError, match="not supported: its log-probabilities"):
        check_architecture(model)


def test_an_architecture_that_takes_no_packed_rows_is_refused_in_one_line():
    config = transformers.StableLmConfig(**{**SIZES, "pad_token_id": 0})
    with pytest.raises(PolicyError, match=r"StableLm.* is not supported: it cannot score packed"):
        check_architecture(transformers.StableLmForCausalLM(config))


def test_rows_end_where_longer_ones_would_change_the_constants_of_their_pack():
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    config = transformers.Phi3Config(
        **SIZES,
        pad_token_id=0,
        rope_parameters={**rope, "rope_theta": 10000.0, "original_max_position_embeddings": 256},
        original_max_position_embeddings=256,
    )
    assert context_length(config) == 256
    assert context_length(transformers.LlamaConfig(**SIZES)) == 1024


def test_an_empty_response_cannot_be_packed():
    with pytest.raises(CheckError, match="row 1 has an empty"):
        packing.pack([((1,), ((2,), (3,))), ((1,), ((2,), ()))])


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_a_head_in_tiles_is_log_softmax_with_its_gradients(softcap):
    rows, vocabulary = 150, 2**17
    assert rows > tile_rows(vocabulary, torch.device("cpu"))  # 64 a tile: three tiles
    torch.manual_seed(1)
    inputs = [torch.randn(size) for size in ((rows, 4), (vocabulary, 4), (vocabulary,))]
    targets = torch.randint(vocabulary, (rows,))

    def results(dtype: torch.dtype, logps) -> list[torch.Tensor]:
        leaves = [x.to(dtype, copy=True).requires_grad_() for x in inputs]
        out = logps(*leaves)
        (out * torch.linspace(-1, 1, rows, dtype=dtype)).sum().backward()
        return [out.detach(), *(leaf.grad for leaf in leaves)]

    def plain(hidden, weight, bias):
        logits = hidden @ weight.T + bias
        logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
        return torch.log_softmax(logits, -1).gather(-1, targets[:, None]).squeeze(-1)

    tiled = results(torch.float32, lambda *leaves: token_logps(*leaves, targets, Head(softcap)))
    exact = results(torch.float64, plain)
    # a row's gradient is a sum over the vocabulary, a weight's one over the rows
    for mine, theirs, terms in zip(tiled, exact, (1, vocabulary, rows, rows), strict=True):
        torch.testing.assert_close(mine.double(), theirs, atol=rounding(theirs, terms), rtol=0)


def test_bfloat16_products_keep_a_float32_softmax():
    hidden, weight = torch.randn(5, 64), torch.randn(50, 64) / 8
    targets = torch.arange(5)
    exact = token_logps(hidden, weight, None, targets, Head())
    rounded = token_logps(hidden.bfloat16(), weight.bfloat16(), None, targets, Head())
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).abs().max()) < 0.05
