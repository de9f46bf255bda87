"""What a server refuses: one request alone, or everything that it is asked.

A request that is too long, or that a filter will not have, is refused by itself: the run goes on
and the verdict is missing. A server says so by a code or in words. What it refuses without such a
word counts as refused by itself only if others are answered, and if it stays a rare thing: an
unknown parameter would be refused every time.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field

STATUSES = frozenset({400, 413, 422})
"""That may be about one request."""
CODES = frozenset(
    {
        "array_above_max_length",
        "content_filter",
        "content_policy_violation",
        "context_length_exceeded",
        "data_inspection_failed",
        "exceed_context_size_error",
        "invalid_prompt",
        "request_too_large",
        "string_above_max_length",
    }
)
"""OpenAI, Azure OpenAI and those who speak their protocol, of a prompt they will not have."""
WORDS = re.compile(
    r"(maximum|max|available) (context|prompt) (length|window|size)|context (length|window|size)"
    r"|(prompt|input|inputs)\b.{0,60}\b(is|are) too (long|large)"
    r"|input (token count|length)|input validation error: .?inputs"
    r"|content (management )?(policy|filter)|flagged as|safety system",
    re.IGNORECASE,
)
"""The same in words: vLLM, llama.cpp, Text Generation Inference, Gemini, and others."""
NEVER_PASSES = "request too large for"
"""How OpenAI begins a rate limit that one request alone exceeds, so that it never passes."""
RECENT = 40
"""Of how many answers and refusals the last are looked at."""
UNANSWERED = 10
"""Refusals without a single answer from which all would be refused."""
UNEXPLAINED = 3
"""As many without a word of explanation: before the first answer, and of the recent ones."""
MOST = 0.75
"""The largest share of the recent ones that may be refused."""


class Refusal(Exception):
    """A request that a server will not take."""

    def __init__(self, told: str, status: int, *, explained: bool) -> None:
        super().__init__(f"{status}: {told}")
        self.told, self.status, self.explained = told, status, explained


def refusal(status: int, codes: tuple[object, ...], told: str) -> Refusal | None:
    """Return a refusal that may be about one request alone; None: it is about all.

    `codes` are those that the server gives (code, type), `told` is what it says.
    """
    if status == 429:
        large = NEVER_PASSES in told.lower()
        return Refusal(told, status, explained=True) if large else None
    if status not in STATUSES:
        return None
    named = bool(CODES & {str(code) for code in codes})
    return Refusal(told, status, explained=named or status == 413 or bool(WORDS.search(told)))


def of_all(answered: int, explained: int, unexplained: int) -> bool:
    """Say whether so many refusals beside so many answers mean that everything is refused."""
    refused, total = explained + unexplained, answered + explained + unexplained
    if not answered:
        return unexplained >= UNEXPLAINED or refused >= UNANSWERED
    often = total >= RECENT and refused >= MOST * total
    return often or unexplained > max(UNEXPLAINED, total * UNEXPLAINED / RECENT)


@dataclass
class Refusals:
    """What has become of a judge's requests lately; of one event loop."""

    recent: deque[Refusal | None] = field(default_factory=lambda: deque(maxlen=RECENT))
    """None: answered."""
    open: int = 0
    """Unexplained ones that wait for the first answer to tell what they are."""
    first: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something has been answered."""

    def answered(self) -> None:
        """Count an answer."""
        self.recent.append(None)
        self.first.set()

    async def weigh(self, refusal: Refusal) -> None:
        """Return once a refusal is known to be about its own request alone.

        Raises:
            Refusal: it is about all.
        """
        self.recent.append(refusal)
        told = [one for one in self.recent if one is not None]
        explained = sum(one.explained for one in told)
        answered = len(self.recent) - len(told) or int(self.first.is_set())
        if of_all(answered, explained, len(told) - explained):
            raise refusal
        if not refusal.explained:
            self.open += 1
            await self.first.wait()

    def check(self, under_way: int) -> None:
        """Stop where all that is under way waits for an answer that nothing will bring.

        Raises:
            Refusal: that is so.
        """
        if self.open == under_way and not self.first.is_set():
            raise next(one for one in self.recent if one is not None)
