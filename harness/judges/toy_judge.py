"""The toy world's judge, which serves itself: `--judge toy` needs no server and no key."""

from __future__ import annotations

import atexit
import functools
from contextlib import ExitStack

from harness.judges.client import OpenAIClient
from harness.judges.toy_server import serving
from harness.toy.judge import MODEL, grade


class ToyJudge(OpenAIClient):
    """The client of the toy judge, at `base_url` or else at a server within this process."""

    model: str = MODEL

    def resolve(self) -> OpenAIClient:
        """Return the client; without an address the server is started, and ends with the process.

        OPENAI_BASE_URL is not heeded: nobody else serves the toy judge.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return OpenAIClient(**{**fields, "base_url": self.base_url or _own_server()})


_servers = ExitStack()
atexit.register(_servers.close)  # later the server's thread is gone, and its shutdown would wait


@functools.cache
def _own_server() -> str:
    return _servers.enter_context(serving(grade, MODEL))
