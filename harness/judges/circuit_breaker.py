"""The circuit breaker: it stops a run whose judge does not reply."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from harness.errors import JudgeError

NEVER = float("-inf")
EXCUSED_PAUSE = 5.0
"""Seconds: a pause of this length that the server asks for excuses its silence."""
LONGEST_EXCUSE = 900.0
"""Seconds: a server that asks for a longer pause counts as unavailable."""
CAUSES_SHOWN = 3


class CircuitBreaker:
    """Records the last reply and the failures since; stops a run whose judge does not reply."""

    def __init__(
        self, judge_name: str, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.judge_name, self.patience, self.clock = judge_name, patience, clock
        self.last_answer = self.excused_until = clock()
        self.causes: Counter[str] = Counter()

    def reset(self) -> None:
        """Restart the clock: nothing is in flight."""
        self.last_answer = self.clock()

    def record_answer(self) -> None:
        """Record a reply."""
        self.reset()
        self.causes.clear()

    def record_failure(self, reason: str, pause: float | None) -> None:
        """Record a failure; a long pause that the server asks for does not count as silence."""
        self.causes[reason] += 1
        if pause and pause >= EXCUSED_PAUSE:
            self.excuse(pause)

    def excuse(self, seconds: float) -> None:
        """Do not count the next seconds as silence: the server has asked for them."""
        until = min(self.clock() + seconds, self.last_answer + LONGEST_EXCUSE)
        self.excused_until = max(self.excused_until, until)

    @property
    def listening_since(self) -> float:
        """When the last reply came, or the last pause that the server asked for ended."""
        return max(self.last_answer, self.excused_until)

    def skip(self, seconds: float) -> None:
        """Leave out seconds in which this process did not run: it was stopped, or asleep."""
        self.last_answer += seconds
        self.excused_until += seconds

    def check(self, due: float = NEVER) -> None:
        """Do nothing while the judge replies.

        Args:
            due: when the attempts in flight have had their time-out; silence counts from then.

        Raises:
            JudgeError: it has not replied for too long; the message names the causes.
        """
        silent_seconds = self.clock() - max(self.listening_since, due)
        if silent_seconds <= self.patience:
            return
        common = self.causes.most_common(CAUSES_SHOWN)
        summary = "; ".join(f"{count} x {cause}" for cause, count in common)
        raise JudgeError(
            f"{self.judge_name} has not replied for {self.clock() - self.last_answer:.0f} s "
            f"({summary or 'no response at all'}): try again later, or wait longer with "
            "--set judge.patience=SECONDS; the verdicts so far are stored, and the same command "
            "continues from there"
        )
