"""Refusals of a server: of one request alone, or of every request.

A request that is too long, or that a content filter rejects, is refused alone: the run continues
and its verdict is missing. The server says so by a code or in words (an explained refusal). An
unexplained refusal counts as one request's only if others are answered and it is rare: an
unsupported parameter would be refused every time.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.core.http import is_out_of_credit

REQUEST_STATUSES = frozenset({400, 403, 413, 414, 422, 431, 451})
"""Statuses that may be about one request; 403 is also what OpenRouter's moderation answers."""
TOO_LARGE = frozenset({413, 414})
REQUEST_CODES = frozenset(
    {
        "array_above_max_length",
        "content_filter",
        "content_policy_violation",
        "content_moderation",
        "context_length_exceeded",
        "data_inspection_failed",
        "exceed_context_size_error",
        "invalid_prompt",
        "request_too_large",
        "string_above_max_length",
    }
)
"""Codes of OpenAI, Azure OpenAI and compatible servers for a prompt that they reject."""
REQUEST_PHRASES = re.compile(
    r"(maximum|max|available) (context|prompt) (length|window|size)|context (length|window|size)"
    r"|(prompt|input|inputs)\b.{0,60}\b(is|are) too (long|large)"
    r"|input (token count|length)|input validation error: .?inputs"
    r"|content (management )?(policy|filter)|flagged as|safety system|legal reasons"
    r"|(input|prompt|request|content|message)s?\b.{0,20}\b(was|were|been|is|are) (flagged|blocked)",
    re.IGNORECASE,
)
"""The same in words: vLLM, llama.cpp, Text Generation Inference, Gemini, and others."""
NEVER_PASSES = "request too large for"
"""The beginning of OpenAI's message for a single request above the rate limit."""
RECENT_COUNT = 40
"""The number of recent replies and refusals that are considered."""
MAX_BEFORE_ANSWER = 10
"""Refusals before the first reply after which everything counts as refused."""
MAX_UNEXPLAINED = 3
"""The same of unexplained refusals: before the first reply, and among the recent."""
MAX_REFUSED_SHARE = 0.75
"""The largest share of refusals among the recent."""


class Refusal(Exception):
    """A request that a server refuses."""

    def __init__(self, message: str, status: int, *, explained: bool) -> None:
        super().__init__(f"{status}: {message}")
        self.message, self.status, self.explained = message, status, explained


def classify_refusal(status: int, codes: tuple[object, ...], message: str) -> Refusal | None:
    """Return a refusal that may be about one request alone; None: it is about every request.

    Args:
        status: the HTTP status.
        codes: the error's code and type.
        message: the error's message.
    """
    if is_out_of_credit(message, *codes):
        return None
    if status == 429:
        is_too_large = NEVER_PASSES in message.lower()
        return Refusal(message, status, explained=True) if is_too_large else None
    if status not in REQUEST_STATUSES:
        return None
    has_known_code = bool(REQUEST_CODES & {str(code) for code in codes})
    return Refusal(
        message,
        status,
        explained=has_known_code or status in TOO_LARGE or bool(REQUEST_PHRASES.search(message)),
    )


def refuses_everything(answered: int, explained: int, unexplained: int) -> bool:
    """Say whether these numbers of replies and refusals mean that everything is refused."""
    refused, total = explained + unexplained, answered + explained + unexplained
    if not answered:
        return unexplained >= MAX_UNEXPLAINED or refused >= MAX_BEFORE_ANSWER
    often = total >= RECENT_COUNT and refused >= MAX_REFUSED_SHARE * total
    return often or unexplained > max(MAX_UNEXPLAINED, total * MAX_UNEXPLAINED / RECENT_COUNT)


@dataclass
class RefusalTracker:
    """The recent replies and refusals of a judge; belongs to one event loop."""

    recent: deque[Refusal | None] = field(default_factory=lambda: deque(maxlen=RECENT_COUNT))
    """None: answered."""
    undecided: int = 0
    """Unexplained refusals that wait for the first reply."""
    first_answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first reply."""
    count_answered: Callable[[], int] = lambda: 0
    """Returns the number of requests that have a reply, those of earlier runs included."""

    def record_answer(self) -> None:
        """Count a reply."""
        self.recent.append(None)
        self.first_answer.set()

    async def resolve(self, refusal: Refusal) -> None:
        """Return once a refusal is known to be about one request alone.

        Raises:
            Refusal: it is about every request.
        """
        self.recent.append(refusal)
        refused = [entry for entry in self.recent if entry is not None]
        explained = sum(entry.explained for entry in refused)
        is_answered = self.first_answer.is_set() or self.count_answered() > 0
        answered = len(self.recent) - len(refused) or int(is_answered)
        if refuses_everything(answered, explained, len(refused) - explained):
            raise refusal
        if not refusal.explained:
            self.undecided += 1
            await self.first_answer.wait()

    def check(self, in_flight: int, is_last: bool = True) -> None:
        """Do nothing unless every request in flight waits for a first reply.

        If nothing else is left to ask, the replies of earlier runs decide.

        Raises:
            Refusal: no reply can come any more.
        """
        if self.undecided != in_flight or self.first_answer.is_set():
            return
        if is_last and self.count_answered():
            self.first_answer.set()
            return
        raise next(entry for entry in self.recent if entry is not None)
