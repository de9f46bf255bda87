"""A judge without a server: whoever answers the questions, the verdicts are kept all the same."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config import Component
from harness.judges.stored import Keep


class Coin(Component):
    """Gives every first answer the same verdict label."""

    model: str = "coin"
    unread_attempts: int = 1
    label: str = "A=B"

    def ask(self, bodies: Sequence[Mapping[str, Any]], keep: Keep) -> None:
        """Answer every request as an OpenAI-compatible server would."""
        message = {"role": "assistant", "content": f"[[{self.label}]]"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        keep(
            [
                (i, json.dumps({"model": self.model, "choices": [choice]}))
                for i in range(len(bodies))
            ]
        )
