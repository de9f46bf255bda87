"""A judge without a server: whoever answers the questions, the verdicts are kept all the same."""

import json

from harness.config import Component
from harness.judges import wire
from harness.judges.desk import Answered, Desk
from harness.judges.wire import Body
from harness.types import JudgeRequest


class Coin(Component):
    """Gives every first answer the same verdict label."""

    model: str = "coin"
    served_as: tuple[str, ...] = ()
    unread_attempts: int = 1
    label: str = "A=B"

    def body(self, request: JudgeRequest) -> Body:
        """Return the whole request: what a verdict is kept under."""
        return wire.body_of(self.model, request)

    def ask(self, desk: Desk) -> None:
        """Answer what the desk gives out as an OpenAI-compatible server would."""
        message = {"role": "assistant", "content": f"[[{self.label}]]"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        while (given := desk.next()) is not None:
            text = json.dumps({"model": self.model, "choices": [choice]})
            desk.keep([Answered(given[0], text, seconds=0.0)])
