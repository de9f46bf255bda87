"""What local engines share: prompts as token ids, and token ids as completions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.hub import (
    configured_context_length,
    end_token_ids,
    load_tokenizer,
    render_conversation,
)
from harness.errors import EngineError
from harness.types import Completion, FinishReason, Policy, Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class GenerationJob:
    """Requests as token ids, with the limits of the policy."""

    tokenizer: PreTrainedTokenizerBase
    requests: Sequence[Request]
    prompts: Sequence[tuple[int, ...]]
    """One rendered conversation per request."""
    ends: tuple[int, ...]
    """The tokens that end a turn."""
    context_length: int | None
    """The policy's context in tokens, prompt included; None if its configuration has none."""

    def response_limit(self, position: int, max_tokens: int) -> int:
        """Return the most tokens of a response: `max_tokens`, or what the context leaves."""
        remaining = (
            max_tokens
            if self.context_length is None
            else self.context_length - len(self.prompts[position])
        )
        return min(remaining, max_tokens)

    def completion(self, position: int, index: int, token_ids: Sequence[int]) -> Completion:
        """Return sample `index` of the request at `position`, decoded without special tokens."""
        request = self.requests[position]
        reason: FinishReason = "stop" if token_ids and token_ids[-1] in self.ends else "length"
        return Completion(
            prompt_id=request.prompt.id,
            index=index,
            text=str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)),
            prompt_token_ids=self.prompts[position],
            token_ids=tuple(token_ids),
            finish_reason=reason,
            seed=request.seed,
        )


def prepare(policy: Policy, requests: Sequence[Request], limit: int | None = None) -> GenerationJob:
    """Render the requests for a policy; `limit` shortens its context (tokens).

    Raises:
        PolicyError: the policy has no usable configuration, tokenizer or chat template.
        EngineError: a prompt fills the context, so that there is no room for a response.
    """
    tokenizer = load_tokenizer(policy)
    prompts = [
        render_conversation(tokenizer, request.prompt.messages).token_ids for request in requests
    ]
    context = shortest((limit, configured_context_length(policy)))
    for request, prompt in zip(requests, prompts, strict=True):
        if context is not None and len(prompt) >= context:
            raise EngineError(
                f"prompt {request.prompt.id!r} has {len(prompt)} tokens and the context of "
                f"{policy.name} has {context}: no room for a response; drop the prompt, or "
                "choose a longer context"
            )
    return GenerationJob(tokenizer, requests, prompts, end_token_ids(tokenizer, policy), context)


def shortest(lengths: Iterable[int | None]) -> int | None:
    """Return the smallest known length, or None."""
    return min((length for length in lengths if length is not None), default=None)
