"""PairRM (LLM-Blender, arXiv 2306.02561): a DeBERTa that reads both responses at once.

Uses the Hugging Face weights (llm-blender/PairRM-hf) without the llm-blender package. A row holds
the source and two candidates, each after a marker token; a small head scores the states of a
candidate's and the source's markers, and P = σ(difference of the scores), averaged over both
orders. Prompts are truncated to 1,224 tokens, responses to about 412.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from harness.core.hardware import default_device
from harness.core.hub import LOAD_ERRORS, NO_REMOTE_CODE, check_policy_path
from harness.core.lean_transformers import import_generation
from harness.errors import PolicyError, first_line
from harness.oracles.hidden_states import TokenRow
from harness.oracles.weights import OracleWeights, check_tokens, load_tensors, require_complete
from harness.protocols import Advance
from harness.types import Comparison, Message, Policy

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SOURCE, FIRST, SECOND = "<|source|>", "<|candidate1|>", "<|candidate2|>"
BODY, HEAD = "pretrained_model.", "head_layer."


class PairRanker(OracleWeights):
    """P(first preferred) by a pairwise ranker; not transitive."""

    transitive: ClassVar[bool] = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    source_length: int = Field(1224, gt=0)
    """Tokens of a prompt."""
    candidate_length: int = Field(412, gt=0)
    """Tokens of a response; both responses share the tokens that a short prompt leaves."""
    batch_size: int = Field(8, gt=0, exclude=True)
    """Rows per batch."""

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return the tokens of the forward passes: both responses at once, in both orders."""
        return 2 * comparisons * (prompt + 2 * response)

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1], the mean over both orders.

        Raises:
            PolicyError: the model cannot be used or lacks its head.
        """
        tokenizer, body, head = self.load_cached(self._load)
        marks = [tokenizer.convert_tokens_to_ids(mark) for mark in (SOURCE, FIRST, SECOND)]
        return compare_both_orders(
            comparisons,
            lambda comparison: self.render(tokenizer, comparison),
            lambda rows: probability_of_first(body, head, marks, rows),
            self.batch_size,
            advance,
        )

    def _load(
        self, policy: Policy
    ) -> tuple[PreTrainedTokenizerBase, PreTrainedModel, Mapping[str, Tensor]]:
        return load_ranker_tokenizer(policy), *load_ranker(policy, self.dtype)

    def render(self, tokenizer: PreTrainedTokenizerBase, comparison: Comparison) -> TokenRow:
        """Concatenate source and candidates, each with its special tokens and truncation limit."""

        def ids(text: str, max_length: int) -> list[int]:
            token_ids: list[int] = tokenizer(text, truncation=True, max_length=max_length)[
                "input_ids"
            ]
            return token_ids

        source = ids(SOURCE + source_text(comparison.prompt.messages), self.source_length)
        remaining = self.source_length + 2 * self.candidate_length - len(source)
        first, second = FIRST + comparison.first, SECOND + comparison.second
        return [*source, *ids(first, remaining // 2), *ids(second, remaining // 2)]


def compare_both_orders(
    comparisons: Sequence[Comparison],
    render: Callable[[Comparison], TokenRow],
    score_rows: Callable[[Sequence[TokenRow]], Sequence[float]],
    batch_size: int,
    advance: Advance,
) -> list[float]:
    """Return P(first preferred) of each comparison, in [0, 1], averaged over both orders.

    Args:
        comparisons: each is scored as it is and swapped.
        render: renders one order.
        score_rows: returns P(first preferred) of the rows of one batch.
        batch_size: rows per batch, the shortest first.
        advance: called with the number of finished comparisons.
    """
    rows = [render(c) for comparison in comparisons for c in (comparison, comparison.swap())]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    probabilities = [0.0] * len(rows)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        for index, value in zip(batch, score_rows([rows[i] for i in batch]), strict=True):
            probabilities[index] = value
        advance((start + len(batch)) // 2 - start // 2)
    return [(a + 1 - b) / 2 for a, b in zip(probabilities[::2], probabilities[1::2], strict=True)]


def source_text(messages: Sequence[Message]) -> str:
    """Return a single instruction unchanged, and a longer conversation with its roles."""
    if len(messages) == 1:
        return messages[0].content
    return "\n".join(f"{m.role.upper()}: {m.content}" for m in messages)


def load_ranker_tokenizer(policy: Policy) -> PreTrainedTokenizerBase:
    """Return the ranker's tokenizer; it has no chat template.

    Raises:
        PolicyError: there is none, or it lacks the marker tokens.
    """
    import_generation()
    from transformers import AutoTokenizer

    check_policy_path(policy)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            policy.path, revision=policy.revision, **NO_REMOTE_CODE
        )
    except LOAD_ERRORS as error:
        raise PolicyError(f"no tokenizer in {policy.path}: {first_line(error)}") from error
    require_complete(policy, {SOURCE, FIRST, SECOND} - set(tokenizer.get_vocab()))
    return tokenizer


def load_ranker(policy: Policy, dtype: str) -> tuple[PreTrainedModel, Mapping[str, Tensor]]:
    """Return the DeBERTa and its head's tensors, on the default device.

    Raises:
        PolicyError: the path holds no such model.
    """
    import_generation()
    import torch
    from transformers import AutoConfig, AutoModel

    loaded = load_tensors(policy)
    config = AutoConfig.from_pretrained(policy.path, revision=policy.revision, **NO_REMOTE_CODE)
    body = AutoModel.from_config(config, **NO_REMOTE_CODE)
    state = {
        name.removeprefix(BODY): tensor for name, tensor in loaded.items() if name.startswith(BODY)
    }
    head = {
        name.removeprefix(HEAD): tensor for name, tensor in loaded.items() if name.startswith(HEAD)
    }
    missing = body.load_state_dict(state, strict=False).missing_keys
    require_complete(
        policy, {*missing, *({"1.weight", "1.bias", "4.weight", "4.bias"} - set(head))}
    )
    torch_dtype = getattr(torch, dtype)
    return body.to(default_device(), torch_dtype).eval(), {
        name: t.to(default_device(), torch_dtype) for name, t in head.items()
    }


def probability_of_first(
    body: PreTrainedModel,
    head: Mapping[str, Tensor],
    marks: Sequence[int],
    rows: Sequence[TokenRow],
) -> list[float]:
    """Return P(first candidate preferred) for every row."""
    import torch
    import torch.nn.functional as F

    check_tokens(body, rows)
    width = max(len(row) for row in rows)
    pad = body.config.pad_token_id or 0
    ids = torch.tensor([list(row) + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with torch.inference_mode():
        hidden = body(ids.to(body.device), attention_mask=mask.to(body.device)).last_hidden_state
        source, *candidates = (
            hidden[torch.arange(len(rows)), (ids == mark).int().argmax(-1)] for mark in marks
        )

        def score_candidate(candidate: Tensor) -> Tensor:
            pair = torch.cat([source, candidate], -1)
            inner = torch.tanh(F.linear(pair, head["1.weight"], head["1.bias"]))
            return F.linear(inner, head["4.weight"], head["4.bias"])

        first, second = (score_candidate(candidate).float() for candidate in candidates)
    probabilities: list[float] = (first - second).mean(-1).sigmoid().tolist()
    return probabilities
