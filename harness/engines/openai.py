"""Generation with any server that speaks the OpenAI protocol, one chat completion per sample.

Servers differ in what `n` and a seed do together, so every sample is a separate request with its
own seed. How reproducible a seed is depends on the server.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from harness.core import connections
from harness.core.async_bridge import run_coroutine
from harness.core.config import Component
from harness.core.http import (
    SECRET_IN_URL,
    Backoff,
    address_fault,
    has_secrets,
    is_loopback,
    is_retryable,
    retry_after,
)
from harness.core.secrets import Secret, redact_logs, refuse_keys
from harness.core.seeds import derive
from harness.core.terminal import shorten
from harness.core.thinking import read_content
from harness.errors import EngineError, first_line
from harness.protocols import Advance, Sampling
from harness.types import Completion, FinishReason, Policy, Request

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

BACKOFF = Backoff(first=1.0, longest=60.0)


class OpenAIEngine(Component):
    """Samples from a server; completions have token ids only if the server reports them."""

    accelerators: ClassVar[int] = 0
    """The server's accelerators are not counted."""
    base_url: str = Field(repr=False)
    """The address up to and including `/v1`."""
    model: str | None = None
    """The server's name of the model; None: the policy's name."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable with the key; a server on this machine needs none."""
    body: Mapping[str, Any] = Field(default_factory=dict)
    """Further keys of every request; with `return_token_ids: true` vLLM reports the tokens. Null
    takes away a key that would be sent, e.g. `max_tokens`."""
    concurrency: int = Field(32, gt=0, exclude=True)
    """The most requests in flight."""
    attempts: int = Field(6, gt=0, exclude=True)
    """Attempts per request before a transient failure counts as permanent."""
    timeout: float = Field(600.0, gt=0, exclude=True)
    """The most seconds that a request may take."""
    selection_reason: str = Field("", exclude=True)
    """Why `engine: auto` selected it; empty if the user named it."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if has_secrets(url):
            raise ValueError(SECRET_IN_URL)
        if fault := address_fault(url):
            raise ValueError(f"{shorten(url)!r} is no address of a server: {fault}")
        return url

    @field_validator("body")
    @classmethod
    def _check_body(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        refuse_keys(body, "body")
        if fixed := {"model", "messages"} & body.keys():
            raise ValueError(f"leave out {', '.join(sorted(fixed))}: the request has its own")
        return body

    def generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        """Answer every request, in order: n completions each.

        Raises:
            EngineError: there is no key, or the server cannot be reached or refuses permanently.
            ConfigError: the address, or a proxy that the environment names, is malformed.
        """
        return run_coroutine(self._generate(policy, requests, sampling, advance))

    async def _generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        samples = [(request, index) for request in requests for index in range(request.n)]
        rows = iter(enumerate(samples))
        remaining = Counter(id(request) for request, _ in samples)
        completions: dict[int, Completion] = {}

        async def run_worker(client: AsyncOpenAI) -> None:
            for position, (
                request,
                index,
            ) in rows:  # every worker takes its next from the same iterator
                reply = await self._request(client, self._body(policy, request, index, sampling))
                completions[position] = self._completion(request, index, reply)
                remaining[id(request)] -= 1
                if not remaining[id(request)]:
                    advance(1)

        key, url = self._key(), self.base_url
        redact_logs(Secret(key))
        async with connections.open_async(url, key, self.timeout) as client:
            await asyncio.gather(*(run_worker(client) for _ in range(self.concurrency)))
        return [completions[position] for position in range(len(samples))]

    def _body(
        self, policy: Policy, request: Request, index: int, sampling: Sampling
    ) -> dict[str, Any]:
        parameters = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": derive(request.seed, index),
        }
        return {
            "model": self.model or policy.name,
            "messages": [m.as_dict() for m in request.prompt.messages],
            **{key: value for key, value in parameters.items() if key not in self.body},
            "extra_body": {key: value for key, value in self.body.items() if value is not None},
        }

    async def _request(self, client: AsyncOpenAI, body: Mapping[str, Any]) -> Any:
        """Return a reply with a choice; failures that may pass are retried."""
        from openai import APIError, APIStatusError

        for attempt in range(1, self.attempts + 1):
            try:
                reply: Any = await client.chat.completions.create(**body)
            except APIError as error:
                if attempt == self.attempts or not is_transient(error):
                    raise self._engine_error(error, attempt) from error
                headers = error.response.headers if isinstance(error, APIStatusError) else {}
                await asyncio.sleep(BACKOFF.pause(attempt, retry_after(headers)))
            else:
                if not getattr(reply, "choices", None):
                    raise EngineError(
                        f"{self.base_url} answered without a choice; is it an OpenAI-compatible "
                        "server, and does engine.base_url end in /v1?"
                    )
                return reply
        raise AssertionError("the last attempt returns or raises")

    def _completion(self, request: Request, index: int, reply: Any) -> Completion:
        choice = reply.choices[0]
        # a content filter ends a response too: the protocol has no third reason
        reason: FinishReason = "length" if choice.finish_reason == "length" else "stop"
        return Completion(
            prompt_id=request.prompt.id,
            index=index,
            text=read_content(choice.message.content)[0],
            prompt_token_ids=tuple(getattr(reply, "prompt_token_ids", None) or ()),
            token_ids=tuple(getattr(choice, "token_ids", None) or ()),
            finish_reason=reason,
            seed=request.seed,
        )

    def _key(self) -> str:
        key = os.environ.get(self.api_key_env, "")
        if not key and not is_loopback(self.base_url):
            raise EngineError(
                f"no key for {self.base_url}: set it with `export {self.api_key_env}=...`, "
                "or name another variable with --set engine.api_key_env=NAME"
            )
        return key or "none"

    def _engine_error(self, error: APIError, attempts: int) -> EngineError:
        status = getattr(error, "status_code", None)
        remedy = {
            None: "check that the server runs and engine.base_url is right",
            401: f"check that {self.api_key_env} holds its key",
            403: f"check that {self.api_key_env} holds a key for this model",
            404: "name a model that it serves with --set engine.model=NAME",
            429: "wait, or lower engine.concurrency",
        }.get(status, "see the server's log")
        attempts_text = f" after {attempts} attempts" if attempts > 1 else ""
        message = f"{self.base_url} failed{attempts_text}: {first_line(error)}; {remedy}"
        return EngineError(Secret(self._key()).redact(message))


def is_transient(error: APIError) -> bool:
    """Say whether a failure may pass."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIStatusError):
        return is_retryable(error.status_code, error.code, error.type)
    return isinstance(error, APIConnectionError)
