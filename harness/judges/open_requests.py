"""The requests of a run that have no reply yet, and what becomes of one that always fails.

A request whose attempts are spent waits for evidence. Many replies to others since then, or a run
in which nothing else is left to ask, show that the fault is the request's own: it ends without a
verdict, with its reason. Where many fail, or nothing was ever answered, the judge is at fault, and
the run ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from harness.core.refusals import MAX_UNEXPLAINED, RECENT_COUNT, refuses_everything


@dataclass(eq=False)
class OpenRequest:
    """A request without a reply."""

    scope: asyncio.Timeout
    """Ends the request from outside."""
    failures: int = 0
    reason: str = ""
    """Of the last failure; empty before the first."""
    is_own: bool = False
    """Whether that failure may be due to the request: the server was reached and not busy."""
    is_spent: bool = False
    """Whether it waits for evidence."""
    answers_before: int = 0
    """The replies to other requests until its attempts were spent."""
    failed_at: float = float("-inf")
    started: float | None = None
    """When the attempt in flight began; None during a pause."""

    @property
    def ending(self) -> str:
        """Why it has no verdict."""
        attempts = "1 attempt" if self.failures == 1 else f"{self.failures} attempts"
        return f"no reply in {attempts} ({self.reason})"


@dataclass
class OpenRequests:
    """All open requests of a run; belongs to one event loop."""

    count_answered: Callable[[], int]
    """Returns the number of requests with a reply, those of earlier runs included."""
    clock: Callable[[], float] = time.monotonic
    requests: set[OpenRequest] = field(default_factory=set)
    answers: int = 0
    """Replies in this run."""
    ended: int = 0
    """Requests that ended without a verdict."""
    is_last: bool = False
    """Whether nothing is left to ask but the open requests."""

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[OpenRequest]:
        """Hold a request open during the context.

        Raises:
            TimeoutError: it was ended.
        """
        async with asyncio.timeout(None) as scope:
            request = OpenRequest(scope)
            self.requests.add(request)
            try:
                yield request
            finally:
                self.requests.discard(request)

    def record_failure(self, request: OpenRequest, reason: str, is_own: bool) -> None:
        """Record a failed attempt."""
        request.failures, request.reason, request.is_own = request.failures + 1, reason, is_own
        request.failed_at = self.clock()

    def record_spent(self, request: OpenRequest) -> None:
        """Record that a request has no attempts left."""
        request.is_spent, request.answers_before = True, self.answers

    def first_due(self, since: float, timeout: float) -> float:
        """Return when the attempts that deserve patience have had their time-out.

        Those are in flight for requests that have not failed since the last reply; an attempt that
        began after that is counted from then, so that new ones do not extend the time for ever.

        Args:
            since: when the last reply came, or the last pause that the server asked for ended.
            timeout: seconds of one attempt.
        """
        starts = [r.started for r in self.requests if r.started is not None and r.failed_at < since]
        return max((min(start, since) for start in starts), default=float("-inf")) + timeout

    def check(self, undecided: int) -> OpenRequest | None:
        """End the spent requests for which there is evidence; return one that shows that all fail.

        Args:
            undecided: open requests that were refused and wait for a first reply.
        """
        spent = [request for request in self.requests if request.is_spent]
        is_stuck = self.is_last and len(spent) + undecided == len(self.requests)
        ready = [r for r in spent if is_stuck or self.answers - r.answers_before >= RECENT_COUNT]
        return None if self._end(ready) else ready[0]

    def end_silent(self) -> bool:
        """End the last few requests if all of them keep failing; say whether they were ended."""
        few = self.is_last and 0 < len(self.requests) <= MAX_UNEXPLAINED
        return few and all(r.is_own for r in self.requests) and self._end(list(self.requests))

    def _end(self, requests: Sequence[OpenRequest]) -> bool:
        """End requests without a verdict; False if there are too many of them."""
        if not requests:
            return True
        answered = max(self.answers, self.count_answered())
        if not answered or refuses_everything(answered, 0, self.ended + len(requests)):
            return False
        self.ended += len(requests)
        for request in requests:
            request.scope.reschedule(asyncio.get_running_loop().time())
            request.is_spent = False
        return True
