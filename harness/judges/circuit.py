"""Stops a run whose judge gives no answer any more, and says what it gives instead."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from harness.errors import JudgeError

EXCUSING = 5.0
"""Seconds from which a pause that a server names explains its silence."""
LONGEST_EXCUSE = 900.0
"""Seconds for which a server may ask to be left alone before it counts as gone."""
SHOWN = 3


class Circuit:
    """Knows when the judge last answered, and every failure since."""

    def __init__(
        self, who: str, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.who, self.patience, self.clock = who, patience, clock
        self.last = self.excused_until = clock()
        self.causes: Counter[str] = Counter()

    def rest(self) -> None:
        """Start anew: nothing is being asked."""
        self.last = self.clock()

    def answered(self) -> None:
        """Note an answer."""
        self.rest()
        self.causes.clear()

    def failed(self, told: str, pause: float | None) -> None:
        """Note a failure; a long pause that the server names does not count as silence."""
        self.causes[told] += 1
        if pause and pause >= EXCUSING:
            until = min(self.clock() + pause, self.last + LONGEST_EXCUSE)
            self.excused_until = max(self.excused_until, until)

    def check(self) -> None:
        """Stop where there has been no answer for too long.

        Raises:
            JudgeError: there has been none, and why.
        """
        silent = self.clock() - max(self.last, self.excused_until)
        if silent <= self.patience:
            return
        common = self.causes.most_common(SHOWN)
        told = "; ".join(f"{count} x {cause}" for cause, count in common)
        raise JudgeError(
            f"{self.who} gives no answer for {self.clock() - self.last:.0f} s "
            f"({told or 'it keeps silent'}): try again later, or give it longer with "
            "--set judge.patience=SECONDS; the verdicts so far are kept, and the same command goes "
            "on from there"
        )
