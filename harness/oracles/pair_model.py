"""A general preference model: a language model that is asked which of two responses is better.

RLHFlow's pair-preference-model-LLaMA3-8B: the conversation in a plain template, both responses,
and the answer read from the logits of "A" and "B" at the last position. Both orders are asked and
averaged. Differs from INPO's annotator: the average is kept as it is, not rounded to 0 or 1;
pairings that read only who wins are unchanged by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.errors import PolicyError
from harness.models import load_model, load_tokenizer, render
from harness.oracles.rows import in_both_orders, padded
from harness.oracles.weights import Weights, device
from harness.protocols import Advance
from harness.types import Comparison, Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class PairModel(Weights):
    """P(first preferred) as a pairwise language model says it; not transitive."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    batch_size: int = Field(8, gt=0, exclude=True)
    """Questions in memory at once."""
    transitive: bool = False

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return how many tokens it reads: both responses at once, in both orders."""
        return 2 * comparisons * (prompt + 2 * response)

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1], the mean over both orders.

        Raises:
            PolicyError: the model cannot be used, or "A" and "B" are not single tokens of it.
        """
        import torch

        policy = self.policy()
        tokenizer = load_tokenizer(policy)
        model = load_model(policy, getattr(torch, self.dtype), device())
        tokens = letters(tokenizer)
        return in_both_orders(
            comparisons,
            lambda comparison: question(tokenizer, comparison),
            lambda rows: first_wins(model, tokens, rows),
            self.batch_size,
            advance,
        )


def question(tokenizer: PreTrainedTokenizerBase, comparison: Comparison) -> tuple[int, ...]:
    """Render a comparison as the model was trained on it; without a beginning-of-text token."""
    text = (
        f"[CONTEXT] {context(comparison.prompt.messages)} "
        f"[RESPONSE A] {comparison.first} [RESPONSE B] {comparison.second} \n"
    )
    ids = render_question(tokenizer, text)
    return ids[1:] if ids and ids[0] == tokenizer.bos_token_id else ids


def render_question(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Render one user turn up to where the model answers."""
    return render(tokenizer, [Message("user", text)]).token_ids


def context(messages: Sequence[Message]) -> str:
    """Render a conversation in RLHFlow's plain template, as transformers renders it.

    The template as it is written has two line breaks before a turn and three at the end; of those
    after one of its tags transformers takes one away, and one at the end of the whole. The model's
    training data were made in the same way.
    """
    turns = "".join(f"\n<turn> {m.role}\n {m.content}" for m in messages)
    return f"\n{turns}\n"


def letters(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of "A" and "B"."""
    ids = [tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in ("A", "B")]
    if any(len(one) != 1 for one in ids) or ids[0] == ids[1]:
        raise PolicyError("this tokenizer has no single token for 'A' and 'B': not a pair model")
    return [one[0] for one in ids]


def first_wins(
    model: PreTrainedModel, tokens: Sequence[int], questions: Sequence[Sequence[int]]
) -> list[float]:
    """Return the probability of the first of two tokens at the end of every question."""
    import torch

    inputs = {name: column.to(model.device) for name, column in padded(questions).items()}
    with torch.inference_mode():
        logits = model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1]
    told: list[float] = logits[:, list(tokens)].float().softmax(-1)[:, 0].tolist()
    return told
