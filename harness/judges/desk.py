"""What a client is handed its requests by, and hands the replies to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.judges.wire import Body
from harness.types import JudgeRequest


@dataclass(frozen=True, slots=True)
class Answered:
    """A judge's reply to one request."""

    place: int
    """Which request, as `Desk.next` named it."""
    text: str
    """The response's body, as it came."""
    seconds: float
    """From the try that was answered to its last byte."""


class Desk(Protocol):
    """Gives out requests one at a time, so that no more are in memory than are being asked."""

    def next(self) -> tuple[int, Body] | None:
        """Return a place and what is to be asked there; None: nothing at the moment."""
        ...

    def done(self) -> bool:
        """Say whether nothing will be given out any more."""
        ...

    def keep(self, answered: Sequence[Answered]) -> None:
        """Store replies; on return they are on the disk.

        Raises:
            StoreError: they could not be stored.
        """
        ...

    def failed(self, place: int, told: str) -> None:
        """Note a try without a verdict that may be on the bill all the same."""
        ...

    def refused(self, place: int, told: str) -> None:
        """Keep that the server will not take one request, and why.

        Raises:
            StoreError: it could not be stored.
        """
        ...


@runtime_checkable
class Client(Protocol):
    """Asks a judge, and remembers nothing."""

    @property
    def model(self) -> str:
        """The model that is asked for, and that must be served."""
        ...

    @property
    def unread_attempts(self) -> int:
        """How many replies a request may have, follow-ups included, while none can be read."""
        ...

    @property
    def served_as(self) -> tuple[str, ...]:
        """Other names under which the same model may be served."""
        ...

    def body(self, request: JudgeRequest) -> Body:
        """Return the whole request: what a verdict is kept under."""
        ...

    def ask(self, desk: Desk) -> None:
        """Ask what the desk gives out until it is done.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good; what it said is kept.
        """
        ...


class Tray:
    """A desk over a list of requests; replies are kept in memory, by place."""

    def __init__(self, bodies: Sequence[Body]) -> None:
        self._bodies = iter(enumerate(bodies))
        self._left = len(bodies)
        self.replies: dict[int, Answered] = {}
        self.failures: list[str] = []
        self.refusals: dict[int, str] = {}

    def next(self) -> tuple[int, Body] | None:
        """Return the next request, in order."""
        return next(self._bodies, None)

    def done(self) -> bool:
        """Say whether every request has its reply, or is refused."""
        return len(self.replies) + len(self.refusals) == self._left

    def keep(self, answered: Sequence[Answered]) -> None:
        """Keep replies."""
        self.replies |= {one.place: one for one in answered}

    def failed(self, place: int, told: str) -> None:
        """Note what went wrong."""
        self.failures.append(told)

    def refused(self, place: int, told: str) -> None:
        """Keep what was refused."""
        self.refusals[place] = told
