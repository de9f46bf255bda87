"""A judge that only repeats what is in the store: nothing is asked and nothing is spent."""

from __future__ import annotations

from pydantic import Field

from harness.config import Component
from harness.errors import JudgeError
from harness.judges import wire
from harness.judges.desk import Desk
from harness.types import JudgeRequest


class Replay(Component):
    """Repeats the stored verdicts of a model; bring some with `harness verdicts import`."""

    model: str
    """Whose verdicts are repeated."""
    served_as: tuple[str, ...] = Field((), exclude=True)
    """Other names under which they may have been given."""
    unread_attempts: int = Field(5, gt=0)
    """How many replies to a request are looked for while none can be read."""

    def body(self, request: JudgeRequest) -> wire.Body:
        """Return what a verdict is kept under."""
        return wire.body_of(self.model, request)

    def ask(self, desk: Desk) -> None:
        """Refuse to ask.

        Raises:
            JudgeError: there is something to ask.
        """
        if desk.next() is not None:
            raise JudgeError(
                f"not all verdicts of {self.model} are in the store (`harness eval --dry-run` "
                "counts those that are missing): bring them with `harness verdicts import FILE`, "
                "or name a judge that can be asked with --judge"
            )
