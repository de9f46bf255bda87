"""A general preference model: a language model that says which of two responses is better.

RLHFlow's pair-preference-model-LLaMA3-8B: the input is the conversation in a plain template and
both responses; P comes from the logits of "A" and "B" at the last position, averaged over both
orders. The inputs of one prompt share a prefix, which is computed once.

Differs from INPO's annotator: the average is not rounded to 0 or 1, which changes nothing for a
pairing that reads the winner only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.core.hardware import default_device
from harness.core.hub import load_model, load_tokenizer, render_conversation
from harness.errors import PolicyError
from harness.oracles.hidden_states import StateRequest, hidden_states
from harness.oracles.weights import OracleWeights
from harness.protocols import Advance
from harness.types import Comparison, Message, Policy

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_DIFFERENCE = 0.01
"""Largest difference from the model's own probability; bfloat16 has three digits."""


class PairModel(OracleWeights):
    """P(first preferred) by a pairwise language model; not transitive."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    micro_tokens: int = Field(8192, gt=0, exclude=True)
    """Tokens per batch; a longer input forms a batch alone."""
    transitive: bool = False

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return the tokens of the forward passes: both responses at once, in both orders."""
        return 2 * comparisons * (prompt + 2 * response)

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1], the mean over both orders.

        Raises:
            PolicyError: the model cannot be used, or its tokenizer splits "A" or "B".
        """
        tokenizer, model, tokens = self.load_cached(self._load)
        both_orders = [c for comparison in comparisons for c in (comparison, comparison.swap())]
        rows = [question(tokenizer, c) for c in both_orders]
        requests = [
            StateRequest(r, c.prompt.id, (len(r) - 1,))
            for r, c in zip(rows, both_orders, strict=True)
        ]
        probabilities: dict[int, float] = {}
        for index, state in hidden_states(model, requests, self.micro_tokens):
            probabilities[index] = probability_of_first(model, tokens, state[0])
            advance(
                int(index ^ 1 in probabilities)
            )  # a comparison is finished with its second order
        return [
            (probabilities[i] + 1 - probabilities[i + 1]) / 2 for i in range(0, len(both_orders), 2)
        ]

    def _load(
        self, policy: Policy
    ) -> tuple[PreTrainedTokenizerBase, PreTrainedModel, Sequence[int]]:
        import torch

        tokenizer = load_tokenizer(policy)
        model = load_model(policy, getattr(torch, self.dtype), default_device())
        tokens = letter_tokens(tokenizer)
        check_head(model, tokens)
        return tokenizer, model, tokens


def question(tokenizer: PreTrainedTokenizerBase, comparison: Comparison) -> tuple[int, ...]:
    """Render a comparison in the model's training format, without a beginning-of-text token."""
    text = (
        f"[CONTEXT] {context(comparison.prompt.messages)} "
        f"[RESPONSE A] {comparison.first} [RESPONSE B] {comparison.second} \n"
    )
    ids = render_question(tokenizer, text)
    return ids[1:] if ids and ids[0] == tokenizer.bos_token_id else ids


def render_question(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Render one user message up to the start of the model's reply."""
    return render_conversation(tokenizer, [Message("user", text)]).token_ids


def context(messages: Sequence[Message]) -> str:
    """Render a conversation in RLHFlow's plain template, as transformers renders it.

    The template's source has two line breaks before a turn and three at the end; transformers
    removes one after each template tag and one at the end, as it did for the model's training data.
    """
    turns = "".join(f"\n<turn> {m.role}\n {m.content}" for m in messages)
    return f"\n{turns}\n"


def letter_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of "A" and "B"."""
    ids = [tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in ("A", "B")]
    if any(len(token_ids) != 1 for token_ids in ids) or ids[0] == ids[1]:
        raise PolicyError("this tokenizer has no single tokens for 'A' and 'B': not a pair model")
    return [token_ids[0] for token_ids in ids]


def probability_of_first(model: PreTrainedModel, tokens: Sequence[int], state: Tensor) -> float:
    """Return the probability of the first of two tokens after a state, shape (width,)."""
    import torch

    with torch.inference_mode():
        logits = model.get_output_embeddings()(state)[list(tokens)].float()
        cap = getattr(model.config, "final_logit_softcapping", None)
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        return float(logits.softmax(-1)[0])


def check_head(model: PreTrainedModel, tokens: Sequence[int]) -> None:
    """Compare the probability computed from a state with the model's own logits.

    Raises:
        PolicyError: they differ: the model's head does more than multiply.
    """
    import torch

    ids = torch.tensor([[*tokens, *tokens]], device=model.device)
    with torch.inference_mode():
        expected = model(ids, use_cache=False).logits[0, -1, list(tokens)].float().softmax(-1)[0]
        state = model.base_model(ids, use_cache=False).last_hidden_state[0, -1]
    if abs(float(expected) - probability_of_first(model, tokens, state)) > MAX_DIFFERENCE:
        raise PolicyError(
            f"{type(model).__name__} transforms its logits after the head: "
            "not supported as a pair model"
        )
