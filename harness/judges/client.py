"""A judge behind an OpenAI-compatible server; the client asks and remembers nothing."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field

from harness.config import Component
from harness.errors import JudgeError
from harness.judges.calls import Line
from harness.judges.stored import Keep

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OFFICIAL = "https://api.openai.com/v1"
CONNECT_SECONDS, GATHER_SECONDS = 5.0, 0.01


class OpenAIJudge(Component):
    """Asks a model over the Chat Completions API; where it runs does not change what it says."""

    model: str
    base_url: str | None = Field(None, exclude=True)
    """None: what OPENAI_BASE_URL says, or OpenAI itself."""
    api_key_env: str = Field("OPENAI_API_KEY", exclude=True)
    """The environment variable with the key; a server on this machine needs none."""
    concurrency: int = Field(32, gt=0, exclude=True)
    """Requests in flight at a time."""
    timeout: float = Field(120.0, gt=0, exclude=True)
    """Seconds for one try, from its start to the last byte."""
    attempts: int = Field(8, gt=0, exclude=True)
    """Tries a request before a judge that answers with faults is given up."""
    unread_attempts: int = Field(2, gt=0)
    """How often a request is asked in all whose replies cannot be read."""

    @property
    def url(self) -> str:
        """Where the judge is asked."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL

    def ask(self, bodies: Sequence[Mapping[str, Any]], keep: Keep) -> None:
        """Ask every request once; `keep` is given the replies as they come, a few at a time.

        A request counts as in flight until its reply is kept: however the process ends, no more
        than `concurrency` answers are lost.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good; what it said is kept.
        """
        try:
            asyncio.run(self._ask(bodies, keep))
        except ExceptionGroup as group:
            raise _first(group) from None

    async def _ask(self, bodies: Sequence[Mapping[str, Any]], keep: Keep) -> None:
        waiting, basket = iter(enumerate(bodies)), _Basket(keep)
        async with self._connected() as client:
            line = Line(client, self.model, self.url, self._key(), self.timeout, self.attempts)

            async def work() -> None:
                for place, body in waiting:
                    await basket.add(place, await line.ask(body))

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.concurrency, len(bodies))):
                        group.create_task(work())
            finally:
                basket.empty()

    def _connected(self) -> AsyncOpenAI:
        import openai

        return openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self._key(),
            max_retries=0,  # `Line` alone retries
            timeout=openai.Timeout(self.timeout, connect=CONNECT_SECONDS),
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not _loopback(self.url)),
        )

    def _key(self) -> str:
        key = os.environ.get(self.api_key_env)
        if not key and not _loopback(self.url):
            raise JudgeError(
                f"the judge {self.model} at {self.url} needs a key: set {self.api_key_env}, or "
                "name a server on this machine with --base-url http://127.0.0.1:PORT/v1"
            )
        return key or "none"


class _Basket:
    """Replies that came at about the same time, kept together: flushing a disk takes its time."""

    def __init__(self, keep: Keep) -> None:
        self.keep, self.replies = keep, list[tuple[int, str]]()

    async def add(self, place: int, reply: str) -> None:
        """Return when the reply is kept."""
        self.replies.append((place, reply))
        await asyncio.sleep(GATHER_SECONDS)
        self.empty()

    def empty(self) -> None:
        """Keep what has gathered."""
        replies, self.replies = self.replies, []
        if replies:
            self.keep(replies)


def _loopback(url: str) -> bool:
    """Say whether an address is on this machine: no key is needed and no proxy asked."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Return the first of the errors that ended the workers."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
