"""A judge as an oracle: a language model behind a server is asked which response is better.

The question is this harness's own and is no benchmark's. The answer is read from the likelihoods of
"A" and "B" where the server tells them, else from the letter. Both orders are asked and averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from harness.core.config import Component
from harness.errors import CheckError
from harness.protocols import Advance, Judge
from harness.types import Comparison, JudgeRequest, Message, ParsedVerdict, Reply, Verdict

SYSTEM_PROMPT = (
    "You are given a conversation and two answers, A and B, that could continue it. Decide which "
    "answer serves the user better: correct first, then helpful, then no longer than it need be. "
    "The order of the answers means nothing. Reply with one letter, A or B, and nothing else."
)
PARAMETERS = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 20}


class JudgeOracle(Component):
    """P(first preferred) as a judge says it; not transitive."""

    transitive: ClassVar[bool] = False
    accelerators: ClassVar[int] = 0
    """The judge's server has its own."""
    judge: Judge
    unread: float = Field(0.01, ge=0, le=1)
    """Largest share of questions whose answer cannot be read."""

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1], the mean over the orders that were read.

        A comparison of which neither order could be read is a half: nobody prefers anything.

        Raises:
            CheckError: too many answers cannot be read.
            JudgeError: the judge cannot be reached, or refuses for good.
        """
        requests = [
            JudgeRequest(f"{i}/{order}", question(ordered), PARAMETERS)
            for i, comparison in enumerate(comparisons)
            for order, ordered in enumerate((comparison, comparison.swap()))
        ]
        verdicts = self.judge.judge(requests, self, advance)
        unparsed = sum(verdict.parsed is None for verdict in verdicts)
        if unparsed > self.unread * len(verdicts):
            raise CheckError(
                f"{unparsed} of {len(verdicts)} answers of {self.judge.model} cannot be read: it must "
                "answer A or B; ask another judge, or allow more with --set oracle.unread=SHARE"
            )
        return [average(*both) for both in zip(verdicts[::2], verdicts[1::2], strict=True)]

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Read P(A preferred) in the last reply; None where it says neither letter."""
        reply = replies[-1]
        if reply.top_logprobs:
            likelihoods = {
                token.strip(): math.exp(logp) for token, logp in reversed(reply.top_logprobs[0])
            }
            a, b = likelihoods.get("A", 0.0), likelihoods.get("B", 0.0)
            return ParsedVerdict(a / (a + b)) if a + b > 0 else None
        letter = reply.content.strip()[:1]
        return ParsedVerdict(float(letter == "A")) if letter in ("A", "B") else None

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask the same again."""
        return request


def question(comparison: Comparison) -> tuple[Message, ...]:
    """Render what the judge is asked."""
    turns = "\n\n".join(f"[{m.role}]\n{m.content}" for m in comparison.prompt.messages)
    text = f"{turns}\n\n[Answer A]\n{comparison.first}\n\n[Answer B]\n{comparison.second}"
    return Message("system", SYSTEM_PROMPT), Message("user", text)


def average(forward: Verdict, swapped: Verdict) -> float:
    """Return the mean of P(first preferred) over the orders that could be read; ½ without any."""
    probabilities = [forward.parsed.value] if forward.parsed else []
    probabilities += [1 - swapped.parsed.value] if swapped.parsed else []
    return sum(probabilities) / len(probabilities) if probabilities else 0.5
