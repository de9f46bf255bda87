"""Hidden states from packs against the model's own, one row at a time."""

from __future__ import annotations

import pytest
import torch
import transformers

from harness.oracles.hidden_states import StateRequest, group_rows, hidden_states, packed_scorer

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "num_labels": 1,
}
WIDE = {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}
FITTING = {
    "Llama": WIDE,
    "Qwen3": WIDE,
    "Mistral": {**WIDE, "sliding_window": 7},
    "Gemma2": {**WIDE, "sliding_window": 7, "query_pre_attn_scalar": 8},
}


def model(kind: str, **extra) -> transformers.PreTrainedModel:
    config = getattr(transformers, f"{kind}Config")(**SIZES, **extra)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny = getattr(transformers, f"{kind}ForSequenceClassification")(config)
        for parameter in tiny.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return tiny.eval()


def requests() -> list[StateRequest]:
    """Rows about two prompts; the second prompt's lone one has nothing to share."""
    rows = [(1, 2, 3, 4), (1, 2, 3, 5, 6), (1, 2, 3, 5, 6, 7, 8, 9, 1, 2, 3, 4), (9, 8, 7)]
    about = ["a", "a", "a", "b"]
    pairs = zip(rows, about, strict=True)
    return [StateRequest(row, prompt, (1, len(row) - 1)) for row, prompt in pairs]


@pytest.mark.parametrize("kind", FITTING)
@pytest.mark.parametrize("budget", [1, 14, 100])
def test_packed_states_are_the_models_own(kind, budget):
    tiny = model(kind, **FITTING[kind])
    with torch.inference_mode():
        tiny.set_attn_implementation("eager")
        own = [
            tiny.base_model(torch.tensor([request.row])).last_hidden_state[0]
            for request in requests()
        ]
    states = dict(hidden_states(tiny, requests(), budget))
    assert tiny.config._attn_implementation == "packed"
    for index, request in enumerate(requests()):
        torch.testing.assert_close(
            states[index], own[index][list(request.positions)], atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("kind", ["Bloom", "Falcon"])
def test_an_architecture_that_does_not_fit_is_read_in_padded_batches(kind):
    tiny = model(kind)
    before = tiny.config._attn_implementation
    assert packed_scorer(tiny) is None
    assert tiny.config._attn_implementation == before
    with torch.inference_mode():
        own = [
            tiny.base_model(torch.tensor([request.row])).last_hidden_state[0]
            for request in requests()
        ]
    for budget in (1, 25):
        for index, states in hidden_states(tiny, requests(), budget):
            expected = own[index][list(requests()[index].positions)]
            torch.testing.assert_close(states, expected, atol=1e-4, rtol=0)


def test_a_model_in_bfloat16_is_packed_too():
    tiny = model("Llama", **WIDE).to(torch.bfloat16)
    with torch.inference_mode():
        own = [
            tiny.base_model(torch.tensor([request.row])).last_hidden_state[0, -1]
            for request in requests()
        ]
    for index, states in hidden_states(tiny, requests(), 100):
        difference = (states[1] - own[index]).float().norm() / own[index].float().norm()
        assert float(difference) < 0.05
    assert tiny.config._attn_implementation == "packed"


def test_a_common_beginning_is_read_once_and_a_pack_keeps_to_its_budget():
    # rows of 4, 5 and 12 tokens begin with the same 3; alone they would be 21
    (row, indices), (lone, last) = group_rows(requests(), 100)
    assert row == ([1, 2, 3], ([4], [5, 6], [5, 6, 7, 8, 9, 1, 2, 3, 4]))
    assert (indices, last) == ([0, 1, 2], [3])
    assert lone == ([9, 8], ([7],))
    # 3 + 1 + 2 tokens fit into 7, the other 9 go with the beginning alone
    assert [indices for _, indices in group_rows(requests(), 7)] == [[0, 1], [2], [3]]


def test_one_row_that_begins_another_still_ends_on_its_own():
    row = (1, 2, 3)
    (shared, _), *_ = group_rows(
        [StateRequest(row, "a", (2,)), StateRequest((*row, 4), "a", (3,))], 100
    )
    assert shared == ([1, 2], ([3], [3, 4]))


def test_rows_that_begin_differently_share_nothing():
    groups = group_rows([StateRequest((1, 2), "a", (1,)), StateRequest((2, 2), "a", (1,))], 100)
    assert groups == [(([1], ([2],)), [0]), (([2], ([2],)), [1])]
