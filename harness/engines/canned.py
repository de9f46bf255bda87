"""An engine without a model: it answers from a table, for tests and for trial configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from harness.core.config import Component
from harness.protocols import Advance, Sampling
from harness.types import Completion, FinishReason, Policy, Request

END = 256


class CannedEngine(Component):
    """Gives fixed answers; tokens are UTF-8 bytes, and 256 ends a turn."""

    accelerators: ClassVar[int] = 0
    text: str = "This is a canned answer."
    """The answer to every prompt that is not in `answers`."""
    answers: Mapping[str, str] = Field(default_factory=dict)
    """Answers by the text of the prompt's last turn."""
    variants: tuple[str, ...] = Field(("",), min_length=1)
    """Endings that samples take in turn, starting at the request's seed; greedy takes the first."""

    def generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        """Answer every request, in order: n completions each, whatever the policy."""
        completions: list[Completion] = []
        for request in requests:
            completions += [self._answer(request, index, sampling) for index in range(request.n)]
            advance(1)
        return completions

    def _answer(self, request: Request, index: int, sampling: Sampling) -> Completion:
        variant = request.seed + index if sampling.temperature else 0
        text = self.answers.get(request.prompt.text, self.text)
        ending = self.variants[variant % len(self.variants)]
        ids = [*(text + ending).encode(), END][: sampling.max_tokens]
        reason: FinishReason = "stop" if ids[-1] == END else "length"
        return Completion(
            prompt_id=request.prompt.id,
            index=index,
            text=bytes(token for token in ids if token != END).decode(errors="ignore"),
            prompt_token_ids=tuple("\n".join(m.content for m in request.prompt.messages).encode()),
            token_ids=tuple(ids),
            finish_reason=reason,
            seed=request.seed,
        )
