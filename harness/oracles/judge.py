"""A judge as an oracle: a language model behind a server says which response is better.

The prompt is this harness's own, not a benchmark's. The preference comes from the probabilities of
"A" and "B" if the server returns them, else from the letter, and is averaged over both orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from harness.core.config import Component
from harness.core.label_tokens import read_labels
from harness.errors import CheckError
from harness.protocols import Advance, Judge
from harness.types import Comparison, JudgeRequest, Message, ParsedVerdict, Reply, Verdict

SYSTEM_PROMPT = (
    "You are given a conversation and two answers, A and B, that could continue it. Decide which "
    "answer serves the user better: correct first, then helpful, then no longer than it need be. "
    "The order of the answers means nothing. Reply with one letter, A or B, and nothing else."
)
LETTERS = ("A", "B")
MARKS = "*_`\"'()[]{}.:"
"""What may surround the letter."""
PARAMETERS = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 20}


class JudgeOracle(Component):
    """P(first preferred) by a judge; not transitive."""

    transitive: ClassVar[bool] = False
    accelerators: ClassVar[int] = 0
    """None in this process: the judge's server has its own."""
    judge: Judge
    max_unparsed: float = Field(0.01, ge=0, le=1)
    """Largest share of replies that may be unparsable."""

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1], the mean over the parsed orders.

        A comparison without a parsed order counts as 0.5.

        Raises:
            CheckError: too many replies are unparsable.
            JudgeError: the judge cannot be reached, or refuses permanently.
        """
        requests = [
            JudgeRequest(f"{i}/{order}", question(ordered), PARAMETERS)
            for i, comparison in enumerate(comparisons)
            for order, ordered in enumerate((comparison, comparison.swap()))
        ]
        verdicts = self.judge.judge(requests, self, advance)
        unparsed = sum(verdict.parsed is None for verdict in verdicts)
        if unparsed > self.max_unparsed * len(verdicts):
            raise CheckError(
                f"{unparsed} of {len(verdicts)} replies of {self.judge.model} are unparsable: it "
                "must reply A or B; use another judge, or allow more with "
                "--set oracle.max_unparsed=SHARE"
            )
        return [average(*both) for both in zip(verdicts[::2], verdicts[1::2], strict=True)]

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return P(A preferred) from the last reply; None if it says neither letter.

        Without log-probabilities the letter must stand alone: "Answer B is better" says neither.
        """
        reply = replies[-1]
        if reply.is_filtered:
            return None
        if reply.top_logprobs:
            read = read_labels(reply.top_logprobs[0], LETTERS)
            return ParsedVerdict(read.share("A"), mass=read.mass) if read else None
        letter = reply.content.strip().strip(MARKS)
        return ParsedVerdict(float(letter == "A")) if letter in LETTERS else None

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Repeat the request."""
        return request


def question(comparison: Comparison) -> tuple[Message, ...]:
    """Render the judge's prompt."""
    turns = "\n\n".join(f"[{m.role}]\n{m.content}" for m in comparison.prompt.messages)
    text = f"{turns}\n\n[Answer A]\n{comparison.first}\n\n[Answer B]\n{comparison.second}"
    return Message("system", SYSTEM_PROMPT), Message("user", text)


def average(forward: Verdict, swapped: Verdict) -> float:
    """Return the mean of P(first preferred) over the parsed orders; 0.5 without any."""
    probabilities = [forward.parsed.value] if forward.parsed else []
    probabilities += [1 - swapped.parsed.value] if swapped.parsed else []
    return sum(probabilities) / len(probabilities) if probabilities else 0.5
