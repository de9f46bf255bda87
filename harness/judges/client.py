"""A judge behind an OpenAI-compatible server; the client asks and remembers nothing.

OpenAI itself, Azure OpenAI (its address ends in `/openai/v1`, a deployment's name is `called`), and
any server that speaks the same protocol.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from harness import types
from harness.core.async_bridge import run_coroutine
from harness.core.config import Component
from harness.core.http import has_secrets, is_loopback
from harness.core.secrets import Secret, redact_logs
from harness.errors import ConfigError, JudgeError
from harness.judges import chat_format
from harness.judges.concurrency import PROBE_LIMIT, AdaptiveConcurrency
from harness.judges.refusals import RefusalTracker
from harness.judges.retry import CircuitBreaker, RetryingCaller
from harness.protocols import RequestQueue
from harness.types import JudgeRequest, RawReply

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_SECONDS, GATHER_SECONDS, POLL_SECONDS = 5.0, 0.005, 0.05
SECRET_IN_URL = (
    "an address is shown and kept, so it must hold no name, password or query: put the key into "
    "the environment (api_key_env names the variable)"
)
TASKS_PER_SLOT = 2
"""How many requests may wait for their next try, as a multiple of those in flight."""


class OpenAIClient(Component):
    """Asks a model over the Chat Completions API; where it runs does not change what it says."""

    model: str
    deployment: str | None = Field(default=None, exclude=True)
    """What this server calls the model (a deployment's name at Azure); None: the same."""
    served_as: tuple[str, ...] = Field(default=(), exclude=True)
    """Other names under which the server may serve it, e.g. the dated one behind an alias."""
    base_url: str | None = Field(default=None, exclude=True, repr=False)
    """None: what OPENAI_BASE_URL says, or OpenAI itself."""
    api_key_env: str = Field(
        default="OPENAI_API_KEY", exclude=True, repr=False, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"
    )
    """The environment variable with the key; a server on this machine needs none."""
    concurrency: int = Field(default=64, gt=0, exclude=True)
    """The most requests in flight at a time; how many there are follows from how it goes."""
    timeout: float = Field(default=120.0, gt=0, exclude=True)
    """Seconds for one try, from its start to the last byte."""
    patience: float = Field(default=45.0, gt=0, exclude=True)
    """Seconds without a single answer after which the run stops; more for one that thinks long."""
    attempts: int = Field(default=16, gt=0, exclude=True)
    """Tries a request before a judge that answers with faults is given up."""
    unparsed_attempts: int = Field(default=5, gt=0)
    """How often a request is asked in all whose replies cannot be read."""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the length limit; OpenAI's newer models take the second name only."""
    retry_refused: bool = Field(default=False, exclude=True)
    """Ask once more what a server has refused before: another one may take it."""
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    """Laid over the protocol's own, e.g. reasoning_effort: none; null takes one away."""

    @field_validator("base_url")
    @classmethod
    def _reject_secrets(cls, url: str | None) -> str | None:
        if url and has_secrets(url):
            raise ValueError(SECRET_IN_URL)
        return url

    @property
    def url(self) -> str:
        """Where the judge is asked.

        Raises:
            ConfigError: OPENAI_BASE_URL holds what an address must not hold.
        """
        if not self.base_url and has_secrets(os.environ.get("OPENAI_BASE_URL", "")):
            raise ConfigError(f"OPENAI_BASE_URL: {SECRET_IN_URL}")
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL

    @property
    def display_name(self) -> str:
        """The judge and its address, as errors call it."""
        key = os.environ.get(self.api_key_env, "")
        return Secret(key).redact(f"the judge {self.model} at {self.url}")

    def body(self, request: JudgeRequest) -> types.Body:
        """Return the whole request: what a verdict is kept under."""
        parameters = {**request.parameters, **self.parameters}
        limit = parameters.pop("max_tokens", None)
        parameters.setdefault(self.token_limit, limit)
        sent_parameters = {key: value for key, value in parameters.items() if value is not None}
        return chat_format.body_of(
            self.model, JudgeRequest(request.id, request.messages, sent_parameters)
        )

    def ask(self, queue: RequestQueue) -> None:
        """Ask what the desk gives out until it is done, as many at a time as the judge bears.

        A request counts as in flight until its reply is kept: however the process ends, no more
        than `concurrency` answers are lost.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeError: it cannot be reached, or gives no answer; what it said is kept.
        """
        try:
            run_coroutine(self._ask(queue))
        except ExceptionGroup as group:
            raise _first_error(group) from None

    def connect(self, on_headers: Callable[[Mapping[str, str]], None]) -> AsyncOpenAI:
        """Return the connection; `told` is given the headers of every response.

        Raises:
            JudgeError: there is no key.
        """
        import openai

        redact_logs(self.secret())

        async def listen(response: Any) -> None:
            on_headers(response.headers)

        return openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.key(),
            max_retries=0,  # `Line` alone retries
            timeout=openai.Timeout(self.timeout, connect=CONNECT_SECONDS),
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=not is_loopback(self.url), event_hooks={"response": [listen]}
            ),
        )

    def key(self) -> str:
        """Return the key.

        Raises:
            JudgeError: there is none, and the server is not on this machine.
        """
        key = os.environ.get(self.api_key_env)
        if not key and not is_loopback(self.url):
            raise JudgeError(
                f"{self.display_name} needs a key: set {self.api_key_env}, or "
                "name a server on this machine with --base-url http://127.0.0.1:PORT/v1"
            )
        return key or "none"

    def secret(self) -> Secret:
        """Return the key as what is kept out of everything.

        Raises:
            JudgeError: there is none, and the server is not on this machine.
        """
        return Secret(self.key())

    async def _ask(self, queue: RequestQueue) -> None:
        limiter, buffer = AdaptiveConcurrency(self.concurrency), _ReplyBuffer(queue)
        async with self.connect(limiter.read_headers) as client:
            caller = RetryingCaller(
                client=client,
                judge_name=self.display_name,
                secret=self.secret(),
                timeout=self.timeout,
                attempts=self.attempts,
                limiter=limiter,
                breaker=CircuitBreaker(self.display_name, self.patience),
                refusals=RefusalTracker(),
            )
            try:
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(caller.watch())
                    await self._dispatch(queue, caller, buffer, group)
                    watch.cancel()
            finally:
                buffer.flush()

    async def _dispatch(
        self,
        queue: RequestQueue,
        caller: RetryingCaller,
        buffer: _ReplyBuffer,
        group: asyncio.TaskGroup,
    ) -> None:
        """Start a task for every request; return when all are answered."""
        tasks: set[asyncio.Task[None]] = set()
        max_tasks = max(PROBE_LIMIT, TASKS_PER_SLOT * self.concurrency)
        while True:
            async with caller.limiter.slot():
                item = queue.next() if len(tasks) < max_tasks else None
            if item is not None:
                index, body = item
                payload = body if self.deployment is None else {**body, "model": self.deployment}
                task = group.create_task(
                    caller.ask(
                        index, payload, buffer.add, queue.record_failure, queue.record_refusal
                    )
                )
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                await asyncio.sleep(0)
            elif tasks:
                caller.check_refusals(len(tasks))
                await asyncio.wait(tasks, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            elif queue.is_done():
                return
            else:
                caller.breaker.reset()
                await asyncio.sleep(POLL_SECONDS)


class _ReplyBuffer:
    """Replies that came at about the same time, kept together: flushing a disk takes its time."""

    def __init__(self, queue: RequestQueue) -> None:
        self.queue, self.replies = queue, list[RawReply]()
        self.flush_task: asyncio.Task[None] | None = None

    async def add(self, reply: RawReply) -> None:
        """Return when the reply is kept."""
        self.replies.append(reply)
        if self.flush_task is None or self.flush_task.done():
            self.flush_task = asyncio.create_task(self._flush_soon())
            self.flush_task.add_done_callback(_retrieve_exception)
        await asyncio.shield(self.flush_task)

    async def _flush_soon(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        self.flush()

    def flush(self) -> None:
        """Keep what has gathered."""
        replies, self.replies = self.replies, []
        if replies:
            self.queue.keep(replies)


def _retrieve_exception(task: asyncio.Task[None]) -> None:
    """Take note of how a task ended, though all who waited for it may be gone."""
    if not task.cancelled():
        task.exception()


def _first_error(group: ExceptionGroup[Exception]) -> Exception:
    """Return the first of the errors that ended the tasks."""
    error = group.exceptions[0]
    return _first_error(error) if isinstance(error, ExceptionGroup) else error
