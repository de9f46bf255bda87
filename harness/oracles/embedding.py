"""A general preference embedding model (GPM, arXiv 2410.02197).

Every response becomes a unit vector v, every prompt a skew-symmetric matrix R of 2 × 2 blocks, and
P(first preferred) = σ(⟨R v_first, v_second⟩ / τ). Preferences may be cyclic, and comparing all
responses to a prompt costs one forward pass per response. Rendered as in the official code: the
tokenizer adds its special tokens to the chat template's text (a second beginning-of-text token if
the template wrote one), and the last token is replaced by the end-of-text token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from harness.core.hub import load_tokenizer
from harness.oracles.hidden_states import StateRequest, TokenRow, hidden_states
from harness.oracles.weights import (
    OracleWeights,
    load_tensors,
    load_with_head,
    render_turns,
    require_complete,
)
from harness.protocols import Advance
from harness.types import Comparison, Message, Policy, Prompt

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HEADS = ("value_head.weight", "prompt_head.weight")


@dataclass(frozen=True, slots=True)
class Embedding:
    """The model's embedding of one response to one prompt."""

    response: Tensor
    """The unit vector v, shape (2 × blocks,)."""
    blocks: Tensor
    """The weights of R's blocks, shape (blocks,): they depend on the prompt only and sum to 1."""


class EmbeddingModel(OracleWeights):
    """P(first preferred) from two embeddings; not transitive."""

    transitive: ClassVar[bool] = False
    tau: float = Field(0.1, gt=0)
    """τ, the temperature of the model's training."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    max_length: int = Field(4096, gt=1)
    """Tokens of a conversation; the end of a longer one is cut off."""
    micro_tokens: int = Field(8192, gt=0, exclude=True)
    """Tokens per batch; a longer conversation forms a batch alone."""

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return the tokens of the forward passes: every response once."""
        return k * (prompt + response)

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1]; `advance` counts responses.

        Raises:
            PolicyError: the model cannot be used or lacks its heads.
        """
        items = {
            (c.prompt.id, text): (c.prompt, text)
            for c in comparisons
            for text in (c.first, c.second)
        }
        embeddings = dict(zip(items, self.embed(list(items.values()), advance), strict=True))
        return [
            preference(
                embeddings[c.prompt.id, c.first], embeddings[c.prompt.id, c.second], self.tau
            )
            for c in comparisons
        ]

    def embed(self, items: Sequence[tuple[Prompt, str]], advance: Advance) -> list[Embedding]:
        """Return the embedding of each response to its prompt.

        Raises:
            PolicyError: the model cannot be used or lacks its heads.
        """
        tokenizer, model, heads = self.load_cached(self._load)
        requests = [state_request(tokenizer, *item, self.max_length) for item in items]
        embeddings = {}
        for index, (prompt_state, row_state) in hidden_states(model, requests, self.micro_tokens):
            embeddings[index] = embed_states(heads, prompt_state, row_state)
            advance(1)
        return [embeddings[index] for index in range(len(items))]

    def _load(
        self, policy: Policy
    ) -> tuple[PreTrainedTokenizerBase, PreTrainedModel, Mapping[str, Tensor]]:
        tokenizer = load_tokenizer(policy)
        model = load_with_head(policy, "AutoModel", self.dtype)
        heads = {name: tensor for name, tensor in load_tensors(policy).items() if name in HEADS}
        require_complete(policy, set(HEADS) - set(heads))
        return (
            tokenizer,
            model,
            {n: tensor.to(model.device, model.dtype) for n, tensor in heads.items()},
        )


def state_request(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, response: str, max_length: int
) -> StateRequest:
    """Render a conversation, and request the states of the prompt's last token and of its own.

    The first state is the same for all responses, because the model is causal.
    """
    prompt_row = render_row(tokenizer, prompt.messages)
    full_row = render_row(tokenizer, [*prompt.messages, Message("assistant", response)])
    row = [*full_row[:max_length][:-1], tokenizer.eos_token_id]
    return StateRequest(row, prompt.id, (min(len(prompt_row), len(row)) - 1, len(row) - 1))


def render_row(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> TokenRow:
    """Render messages in the model's template, with the tokenizer's special tokens."""
    row: TokenRow = tokenizer(render_turns(tokenizer, messages))["input_ids"]
    return row


def embed_states(heads: Mapping[str, Tensor], prompt_state: Tensor, row_state: Tensor) -> Embedding:
    """Return the embedding for the prompt's and the row's last state, each of shape (width,)."""
    import torch
    import torch.nn.functional as F

    with torch.inference_mode():
        value = F.normalize((heads["value_head.weight"] @ row_state).float(), dim=-1)
        blocks = (heads["prompt_head.weight"] @ prompt_state).float().softmax(-1)
    return Embedding(value.cpu(), blocks.cpu())


def preference(first: Embedding, second: Embedding, tau: float) -> float:
    """Return σ(⟨R v_first, v_second⟩ / τ): a block (a, b) of v and (c, d) of v' gives a d' − b c'.

    The sign is the official code's, where R has −λ above the diagonal.
    """
    even, odd = first.response[0::2], first.response[1::2]
    score = first.blocks @ (even * second.response[1::2] - odd * second.response[0::2])
    return float((score / tau).sigmoid())
