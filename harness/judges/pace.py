"""How many requests a judge is sent at a time: more while all is well, fewer when it says so.

Additive increase, multiplicative decrease, decided once a window of as many answers as there are
requests in flight. Until the first answer only a few requests knock. A decrease goes to what was
answered, so that nothing should be refused then; if as much still is, it is taken back: those
refusals do not come from our pace (a faulty gateway, somebody else's traffic).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

KNOCKING, START = 3, 64
SMALLEST_WINDOW = 16
DECREASE = 0.95
"""Of what was answered: a little less than that is asked next."""
BEARABLE = 0.5
"""The largest share of refusals that may have another cause than our pace."""
LONG_PAUSE = 1.0
"""Seconds from which a pause that a server names is one for all requests."""
LONGEST_HOLD = 120.0
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
KINDS = ("requests", "tokens")


@dataclass
class _Window:
    """What came back since the last decision."""

    skipped: int
    """Answers to come that were asked for under the limit before."""
    answered: int = 0
    limited: int = 0


@dataclass(frozen=True)
class _Trial:
    """How it was before the last decrease."""

    limit: float
    share: float
    """Of the window that was refused."""


class Pace:
    """The seats of a judge's line; of one event loop."""

    def __init__(self, ceiling: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.ceiling, self.clock = ceiling, clock
        self.limit = float(min(KNOCKING, ceiling))
        self.in_flight = 0
        self.held_until = 0.0
        self._knocking, self._slow_start = True, True
        self._tolerated = 0.0
        self._trial: _Trial | None = None
        self._window = _Window(0)
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[None]:
        """Wait for a seat and hold it while the context is open."""
        await self._sit()
        try:
            yield
        finally:
            self.in_flight -= 1
            self._call()

    def answered(self) -> None:
        """Count an answer."""
        if self._knocking:
            self._knocking = False
            self._set(float(min(START, self.ceiling)))
        self._count(limited=False)
        self._call()

    def refused(self) -> None:
        """Let another request knock beside one that keeps its seat until something is answered."""
        if self._knocking:
            self._set(min(float(KNOCKING), self.limit + 1))
            self._call()

    def limited(self, pause: float | None) -> None:
        """Count a refusal for too many requests; a long pause that it names holds for all."""
        if pause is not None and pause >= LONG_PAUSE:
            self.hold(pause)
        if not self._knocking:
            self._count(limited=True)

    def hold(self, seconds: float) -> None:
        """Send nothing for so long."""
        until = self.clock() + min(seconds, LONGEST_HOLD)
        self.held_until = max(self.held_until, until)

    def told(self, headers: Mapping[str, str]) -> None:
        """Read a server's own account of what is left; hold where that is nothing."""
        for kind in KINDS:
            if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0":
                self.hold(seconds_of(headers.get(f"x-ratelimit-reset-{kind}", "")))

    async def _sit(self) -> None:
        if self._waiting or not self._free():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self._call()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.in_flight -= 1
                raise
        else:
            self.in_flight += 1

    def _free(self) -> bool:
        return self.in_flight < int(self.limit) and self.clock() >= self.held_until

    def _call(self) -> None:
        """Give seats to those who wait; where all are held, look again when that ends."""
        while self._waiting and self._free():
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
        if self._waiting and (left := self.held_until - self.clock()) > 0:
            asyncio.get_running_loop().call_later(left + 0.001, self._call)

    def _count(self, limited: bool) -> None:
        window = self._window
        if window.skipped:
            window.skipped -= 1
            return
        window.limited += limited
        window.answered += not limited
        if window.limited + window.answered >= max(SMALLEST_WINDOW, int(self.limit)):
            self._decide(window)

    def _decide(self, window: _Window) -> None:
        share = window.limited / (window.limited + window.answered)
        trial, self._trial = self._trial, None
        if share <= self._tolerated * 1.3 + 0.05 * (self._tolerated > 0):
            self._tolerated *= 1.0 if share else 0.9
            self._grow()
        elif trial and share > trial.share / 3:
            self._tolerated = max(share, trial.share)
            self._set(trial.limit)
        else:
            self._slow_start = False
            self._trial = _Trial(self.limit, share) if share <= BEARABLE else None
            self._set(max(1.0, DECREASE * self.limit * (1 - share)))

    def _grow(self) -> None:
        step = self.limit if self._slow_start else max(1.0, self.limit / 8)
        self._set(min(float(self.ceiling), self.limit + step))

    def _set(self, limit: float) -> None:
        changed = int(limit) != int(self.limit)
        self.limit = limit
        self._window = _Window(self.in_flight if changed else 0)


def seconds_of(text: str) -> float:
    """Return the seconds of a duration as rate-limit headers write it: `1s`, `6m0s`, `120ms`."""
    found = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text.strip())
    if not found:
        return float(text) if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else 0.0
    return sum(float(number) * UNITS[unit] for number, unit in found)
