"""Adaptive concurrency: the number of requests in flight follows the judge's rate limits.

Additive increase, multiplicative decrease, decided once per window of as many responses as there
are requests in flight. Until the first reply only a few probes are sent. A decrease goes to the
share that was answered, so that no request should be rate-limited afterwards; if as many still are,
it is reverted, because they have another cause (a faulty gateway, other clients).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from harness.core.http import reset_seconds

PROBE_LIMIT, START_LIMIT = 3, 64
SMALLEST_WINDOW = 16
DECREASE = 0.95
"""The new limit as a share of what was answered."""
MAX_EXCUSED_SHARE = 0.5
"""The largest share of rate-limited requests that may have another cause."""
LONG_PAUSE = 1.0
"""Seconds: a pause of this length that the server asks for applies to all requests."""
LONGEST_HOLD = 120.0
KINDS = ("requests", "tokens")
NOTHING = re.compile(r"-\d+|0+(\.0*)?")
"""What servers write for nothing left."""


@dataclass
class _Window:
    """The responses since the last decision."""

    skipped: int
    """Responses still to come to requests sent under the previous limit."""
    answered: int = 0
    rate_limited: int = 0


@dataclass(frozen=True)
class _Trial:
    """The state before the last decrease."""

    limit: float
    share: float
    """The share of the window that was rate-limited."""


class AdaptiveConcurrency:
    """A limiter whose limit adapts; belongs to one event loop."""

    def __init__(self, ceiling: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.ceiling, self.clock = ceiling, clock
        self.limit = float(min(PROBE_LIMIT, ceiling))
        self.in_flight = 0
        self.held_until = 0.0
        self._probing, self._slow_start = True, True
        self._tolerated_share = 0.0
        self._trial: _Trial | None = None
        self._window = _Window(0)
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it while the context is open."""
        await self._acquire()
        try:
            yield
        finally:
            self.in_flight -= 1
            self._wake_waiters()

    def is_free(self) -> bool:
        """Say whether a request could be sent at once."""
        return not self._waiting and self._has_free_slot()

    def record_answer(self) -> None:
        """Count a reply."""
        if self._probing:
            self._probing = False
            self._set_limit(float(min(START_LIMIT, self.ceiling)))
        self._count(rate_limited=False)
        self._wake_waiters()

    def record_refusal(self) -> None:
        """Allow one more probe beside a refused one, which holds its slot until a reply."""
        if self._probing:
            self._set_limit(min(float(PROBE_LIMIT), self.limit + 1))
            self._wake_waiters()

    def record_rate_limit(self, pause: float | None) -> None:
        """Count a rate-limited request; a long pause that it asks for applies to all."""
        if pause is not None and pause >= LONG_PAUSE:
            self.hold(pause)
        if not self._probing:
            self._count(rate_limited=True)

    def hold(self, seconds: float) -> None:
        """Send nothing for some seconds."""
        until = self.clock() + min(seconds, LONGEST_HOLD)
        self.held_until = max(self.held_until, until)

    def read_headers(self, headers: Mapping[str, str]) -> None:
        """Read the rate-limit headers of a response; hold where nothing remains."""
        for kind in KINDS:
            if NOTHING.fullmatch(headers.get(f"x-ratelimit-remaining-{kind}", "").strip()):
                reset = headers.get(f"x-ratelimit-reset-{kind}", "")
                self.hold(reset_seconds(reset, headers))

    def remaining_hold(self) -> float:
        """Return the seconds for which nothing will be sent."""
        return max(0.0, self.held_until - self.clock())

    async def _acquire(self) -> None:
        if self._waiting or not self._has_free_slot():
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self._wake_waiters()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.in_flight -= 1
                raise
        else:
            self.in_flight += 1

    def _has_free_slot(self) -> bool:
        return self.in_flight < int(self.limit) and self.clock() >= self.held_until

    def _wake_waiters(self) -> None:
        """Hand free slots to waiting requests; during a hold, try again when it ends."""
        while self._waiting and self._has_free_slot():
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)
        if self._waiting and (remaining := self.held_until - self.clock()) > 0:
            asyncio.get_running_loop().call_later(remaining + 0.001, self._wake_waiters)

    def _count(self, rate_limited: bool) -> None:
        window = self._window
        if window.skipped:
            window.skipped -= 1
            return
        window.rate_limited += rate_limited
        window.answered += not rate_limited
        if window.rate_limited + window.answered >= max(SMALLEST_WINDOW, int(self.limit)):
            self._decide(window)

    def _decide(self, window: _Window) -> None:
        share = window.rate_limited / (window.rate_limited + window.answered)
        trial, self._trial = self._trial, None
        if share <= self._tolerated_share * 1.3 + 0.05 * (self._tolerated_share > 0):
            self._tolerated_share *= 1.0 if share else 0.9
            self._grow()
        elif trial and share > trial.share / 3:
            self._tolerated_share = max(share, trial.share)
            self._set_limit(trial.limit)
        else:
            self._slow_start = False
            self._trial = _Trial(self.limit, share) if share <= MAX_EXCUSED_SHARE else None
            self._set_limit(max(1.0, DECREASE * self.limit * (1 - share)))

    def _grow(self) -> None:
        step = self.limit if self._slow_start else max(1.0, self.limit / 8)
        self._set_limit(min(float(self.ceiling), self.limit + step))

    def _set_limit(self, limit: float) -> None:
        changed = int(limit) != int(self.limit)
        self.limit = limit
        self._window = _Window(self.in_flight if changed else 0)
