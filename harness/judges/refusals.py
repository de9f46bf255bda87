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

REQUEST_STATUSES = frozenset({400, 413, 422})
"""That may be about one request."""
REQUEST_CODES = frozenset(
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
REQUEST_PHRASES = re.compile(
    r"(maximum|max|available) (context|prompt) (length|window|size)|context (length|window|size)"
    r"|(prompt|input|inputs)\b.{0,60}\b(is|are) too (long|large)"
    r"|input (token count|length)|input validation error: .?inputs"
    r"|content (management )?(policy|filter)|flagged as|safety system",
    re.IGNORECASE,
)
"""The same in words: vLLM, llama.cpp, Text Generation Inference, Gemini, and others."""
NEVER_PASSES = "request too large for"
"""How OpenAI begins a rate limit that one request alone exceeds, so that it never passes."""
RECENT_COUNT = 40
"""Of how many answers and refusals the last are looked at."""
MAX_BEFORE_ANSWER = 10
"""Refusals without a single answer from which all would be refused."""
MAX_UNEXPLAINED = 3
"""As many without a word of explanation: before the first answer, and of the recent ones."""
MAX_REFUSED_SHARE = 0.75
"""The largest share of the recent ones that may be refused."""


class Refusal(Exception):
    """A request that a server will not take."""

    def __init__(self, message: str, status: int, *, explained: bool) -> None:
        super().__init__(f"{status}: {message}")
        self.message, self.status, self.explained = message, status, explained


def classify_refusal(status: int, codes: tuple[object, ...], message: str) -> Refusal | None:
    """Return a refusal that may be about one request alone; None: it is about all.

    `codes` are those that the server gives (code, type), `told` is what it says.
    """
    if status == 429:
        is_too_large = NEVER_PASSES in message.lower()
        return Refusal(message, status, explained=True) if is_too_large else None
    if status not in REQUEST_STATUSES:
        return None
    has_known_code = bool(REQUEST_CODES & {str(code) for code in codes})
    return Refusal(
        message,
        status,
        explained=has_known_code or status == 413 or bool(REQUEST_PHRASES.search(message)),
    )


def refuses_everything(answered: int, explained: int, unexplained: int) -> bool:
    """Say whether so many refusals beside so many answers mean that everything is refused."""
    refused, total = explained + unexplained, answered + explained + unexplained
    if not answered:
        return unexplained >= MAX_UNEXPLAINED or refused >= MAX_BEFORE_ANSWER
    often = total >= RECENT_COUNT and refused >= MAX_REFUSED_SHARE * total
    return often or unexplained > max(MAX_UNEXPLAINED, total * MAX_UNEXPLAINED / RECENT_COUNT)


@dataclass
class RefusalTracker:
    """What has become of a judge's requests lately; of one event loop."""

    recent: deque[Refusal | None] = field(default_factory=lambda: deque(maxlen=RECENT_COUNT))
    """None: answered."""
    undecided: int = 0
    """Unexplained ones that wait for the first answer to tell what they are."""
    first_answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something has been answered."""

    def record_answer(self) -> None:
        """Count an answer."""
        self.recent.append(None)
        self.first_answer.set()

    async def resolve(self, refusal: Refusal) -> None:
        """Return once a refusal is known to be about its own request alone.

        Raises:
            Refusal: it is about all.
        """
        self.recent.append(refusal)
        refused = [entry for entry in self.recent if entry is not None]
        explained = sum(entry.explained for entry in refused)
        answered = len(self.recent) - len(refused) or int(self.first_answer.is_set())
        if refuses_everything(answered, explained, len(refused) - explained):
            raise refusal
        if not refusal.explained:
            self.undecided += 1
            await self.first_answer.wait()

    def check(self, in_flight: int) -> None:
        """Stop where all that is under way waits for an answer that nothing will bring.

        Raises:
            Refusal: that is so.
        """
        if self.undecided == in_flight and not self.first_answer.is_set():
            raise next(entry for entry in self.recent if entry is not None)
