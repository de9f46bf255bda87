"""A judge without a server: the harness stores the verdicts of any client."""

import json

from harness.core.config import Component
from harness.judges import chat_format
from harness.protocols import RequestQueue
from harness.types import Body, JudgeRequest, RawReply


class Coin(Component):
    """Gives every first answer the same verdict label."""

    model: str = "coin"
    served_as: tuple[str, ...] = ()
    unparsed_attempts: int = 1
    url: str = ""
    concurrency: int = 1
    retry_missing: bool = False
    display_name: str = "the coin"
    label: str = "A=B"

    def body(self, request: JudgeRequest) -> Body:
        """Return the whole request, under which its verdict is stored."""
        return chat_format.body_of(self.model, request)

    def ask(self, queue: RequestQueue) -> None:
        """Answer every request of the queue as an OpenAI-compatible server would."""
        message = {"role": "assistant", "content": f"[[{self.label}]]"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        while (item := queue.next()) is not None:
            text = json.dumps({"model": self.model, "choices": [choice]})
            queue.keep([RawReply(item[0], text, seconds=0.0)])
