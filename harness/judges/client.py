"""The client of a judge behind an OpenAI-compatible server; it stores nothing.

It reaches OpenAI, Azure OpenAI (an address that ends in `/openai/v1`, and a `deployment`), and any
server of the same protocol.
"""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from harness import types
from harness.core import connections
from harness.core.async_bridge import run_coroutine
from harness.core.config import Component
from harness.core.http import SECRET_IN_URL, address_fault, has_secrets, is_loopback
from harness.core.refusals import RefusalTracker
from harness.core.secrets import Secret, redact_logs, refuse_keys
from harness.core.terminal import shorten
from harness.errors import ConfigError, JudgeError
from harness.judges import chat_format
from harness.judges.circuit_breaker import CircuitBreaker
from harness.judges.concurrency import PROBE_LIMIT, AdaptiveConcurrency
from harness.judges.open_requests import OpenRequests
from harness.judges.retry import RetryingCaller
from harness.protocols import RequestQueue
from harness.types import JudgeRequest, RawReply

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PLACEHOLDERS = frozenset({"NAME", "MODEL", "MODEL_NAME", "MODEL-NAME", "YOUR-MODEL", "YOUR_MODEL"})
"""Names of a model that a configuration leaves for its user to replace, in capitals."""
OPENAI_URL = "https://api.openai.com/v1"
GATHER_SECONDS, POLL_SECONDS = 0.005, 0.05
TASKS_PER_SLOT = 2
"""The largest number of requests in flight or in a pause, as a multiple of the slots."""


def _url_fault(url: str) -> str:
    """Say why an address cannot be a judge's; empty if it can."""
    if has_secrets(url):
        return SECRET_IN_URL
    fault = address_fault(url)
    return f"{shorten(url)!r} is no address of a server: {fault}" if fault else ""


class OpenAIClient(Component):
    """Asks a model over the Chat Completions API; its address is no part of its identity."""

    model: str
    deployment: str | None = Field(default=None, exclude=True)
    """The server's name of the model (at Azure, of the deployment); None: `model`."""
    served_as: tuple[str, ...] = Field(default=(), exclude=True)
    """Other names that the server may reply with, e.g. the dated name behind an alias."""
    base_url: str | None = Field(default=None, exclude=True, repr=False)
    """None: the value of OPENAI_BASE_URL, or OpenAI."""
    api_key_env: str = Field(
        default="OPENAI_API_KEY", exclude=True, repr=False, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"
    )
    """The environment variable with the API key; a server on this machine needs none."""
    concurrency: int = Field(default=64, gt=0, exclude=True)
    """The largest number of requests in flight; the actual number adapts to the server."""
    timeout: float = Field(default=120.0, gt=0, exclude=True)
    """Seconds for one attempt, up to the last byte."""
    patience: float = Field(default=45.0, gt=0, exclude=True)
    """Seconds without any reply, counted from the time-out of what is in flight, after which the
    run stops."""
    attempts: int = Field(default=16, gt=0, exclude=True)
    """Attempts per request."""
    unparsed_attempts: int = Field(default=5, gt=0)
    """Replies per request while none can be parsed."""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The server's name of the length limit; OpenAI's newer models accept the second only."""
    retry_missing: bool = Field(default=False, exclude=True)
    """Ask again what a server refused in an earlier run, or failed at every time; also
    `--retry-unread`."""
    retires: datetime.date | None = Field(default=None, exclude=True, repr=False)
    """The first day on which the provider does not serve the model."""
    replaced_by: str | None = Field(default=None, exclude=True, repr=False)
    """The model that the provider names in its place."""
    source: str | None = Field(default=None, exclude=True, repr=False)
    """Where the date was read."""
    read: datetime.date | None = Field(default=None, exclude=True, repr=False)
    """When it was read."""
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    """Override the protocol's parameters, e.g. reasoning_effort: none; null removes one."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if fault := _url_fault(url or OPENAI_URL):
            raise ValueError(fault)
        return url

    @field_validator("parameters")
    @classmethod
    def _reject_keys(cls, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        refuse_keys(parameters, "parameters")
        return parameters

    @property
    def url(self) -> str:
        """The server's base URL.

        Raises:
            ConfigError: OPENAI_BASE_URL is no address, or has a user, a password or a query.
        """
        url = self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
        if fault := _url_fault(url):
            raise ConfigError(f"OPENAI_BASE_URL: {fault}")
        return url

    @property
    def display_name(self) -> str:
        """The judge and its address, for error messages."""
        key = os.environ.get(self.api_key_env, "")
        return Secret(key).redact(f"the judge {self.model} at {self.url}")

    def body(self, request: JudgeRequest) -> types.Body:
        """Return the whole request, whose digest is the key of its verdicts.

        Raises:
            ConfigError: the model is a placeholder.
        """
        self.check_model()
        parameters = {**request.parameters, **self.parameters}
        limit = parameters.pop("max_tokens", None)
        parameters.setdefault(self.token_limit, limit)
        sent_parameters = {key: value for key, value in parameters.items() if value is not None}
        return chat_format.body_of(
            self.model, JudgeRequest(request.id, request.messages, sent_parameters)
        )

    def check_model(self) -> None:
        """Refuse a model's name that was left as a placeholder.

        Raises:
            ConfigError: it is one; how to set it.
        """
        if self.model.upper().strip("<>{}") in PLACEHOLDERS:
            raise ConfigError(
                f"the judge's model is the placeholder {self.model!r}: say which model the server "
                "serves, with --set judge.model=..."
            )

    def ask(self, queue: RequestQueue) -> None:
        """Ask the requests of a queue until it is done, as many at a time as the judge accepts.

        A request counts as in flight until its reply is stored: however the process ends, at most
        `concurrency` replies are lost. It works inside a running event loop.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeError: it cannot be reached or does not reply; earlier replies are stored.
        """
        try:
            run_coroutine(self._ask(queue))
        except ExceptionGroup as group:
            raise _first_error(group) from None

    def connect(self, on_headers: Callable[[Mapping[str, str]], None]) -> AsyncOpenAI:
        """Return the connection; `on_headers` receives the headers of every response.

        Raises:
            JudgeError: there is no key.
            ConfigError: a proxy that the environment names is no address.
        """
        redact_logs(self.secret())
        return connections.open_async(self.url, self.key(), self.timeout, on_headers)

    def key(self) -> str:
        """Return the API key.

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
        """Return the API key for redaction.

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
                refusals=RefusalTracker(count_answered=queue.count_answered),
                open_requests=OpenRequests(queue.count_answered),
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
        """Start a task per request; return when the queue is done."""
        tasks: set[asyncio.Task[None]] = set()
        max_tasks = max(PROBE_LIMIT, TASKS_PER_SLOT * self.concurrency)
        while True:
            can_send = caller.limiter.is_free() and len(tasks) < max_tasks
            item = queue.next() if can_send else None
            caller.open_requests.is_last = (can_send and item is None) or len(tasks) >= max_tasks
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
                caller.check_open()
                await asyncio.wait(tasks, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            elif queue.is_done():
                return
            else:
                caller.breaker.reset()
                await asyncio.sleep(POLL_SECONDS)


class _ReplyBuffer:
    """Stores replies that arrive together in one transaction, because each flush is slow."""

    def __init__(self, queue: RequestQueue) -> None:
        self.queue, self.replies = queue, list[RawReply]()
        self.flush_task: asyncio.Task[None] | None = None

    async def add(self, reply: RawReply) -> None:
        """Return when the reply is stored."""
        self.replies.append(reply)
        if self.flush_task is None or self.flush_task.done():
            self.flush_task = asyncio.create_task(self._flush_soon())
            self.flush_task.add_done_callback(_retrieve_exception)
        await asyncio.shield(self.flush_task)

    async def _flush_soon(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        self.flush()

    def flush(self) -> None:
        """Store the replies in the buffer."""
        replies, self.replies = self.replies, []
        if replies:
            self.queue.keep(replies)


def _retrieve_exception(task: asyncio.Task[None]) -> None:
    """Retrieve a task's exception, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()


def _first_error(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first_error(error) if isinstance(error, ExceptionGroup) else error
