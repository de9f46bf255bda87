"""Generation with any server that speaks the OpenAI protocol, one chat completion per sample.

Servers differ in what `n` and a seed do together, so every sample is a separate request with its
own seed. How reproducible a seed is depends on the server.

A request that the server refuses, or fails at every time, leaves its sample missing if others are
answered (see `harness.core.refusals`); if many are, or none is answered, generation fails.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from harness.core import connections
from harness.core.async_bridge import run_coroutine
from harness.core.completion_bodies import first_choice, load_body, message_of
from harness.core.config import Component
from harness.core.error_bodies import ServerError, read_error, read_error_text
from harness.core.http import (
    SECRET_IN_URL,
    Backoff,
    address_fault,
    has_secrets,
    is_connect_failure,
    is_loopback,
    is_out_of_credit,
    is_retryable,
    redirect_text,
    retry_after,
)
from harness.core.hub import load_tokenizer, named_end_token_ids
from harness.core.refusals import classify_refusal, refuses_everything
from harness.core.secrets import Secret, redact_logs, refuse_keys
from harness.core.seeds import derive
from harness.core.terminal import one_line, shorten
from harness.core.thinking import read_content, read_text
from harness.engines.reloading import reload_policy
from harness.errors import EngineError, first_line
from harness.protocols import Advance, Sampling
from harness.types import CUT_OFF, Completion, FinishReason, Policy, Request, finish_word

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

BACKOFF = Backoff(first=1.0, longest=60.0)
NO_CHOICE = "it answered without a choice"


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
    reload_url: str | None = Field(None, repr=False, exclude=True)
    """Where the server is asked to load another policy's folder, which it must see under the same
    path: `http://HOST:PORT/collective_rpc` of vLLM (started with VLLM_SERVER_DEV_MODE=1), or
    `/update_weights_from_disk` of SGLang. None: the server keeps its model."""
    concurrency: int = Field(32, gt=0, exclude=True)
    """The most requests in flight."""
    attempts: int = Field(6, gt=0, exclude=True)
    """Attempts per request before a transient failure counts as permanent."""
    timeout: float = Field(600.0, gt=0, exclude=True)
    """The most seconds that a request may take."""
    retry_missing: bool = Field(False, exclude=True)
    """Ask again the prompts that an earlier run left without an answer; also `--retry-unread`."""
    selection_reason: str = Field("", exclude=True)
    """Why `engine: auto` selected it; empty if the user named it."""

    @field_validator("base_url", "reload_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return url
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

    def check_ready(self) -> None:
        """Raise EngineError if the key is missing."""
        super().check_ready()
        self._key()

    def load_policy(self, policy: Policy) -> None:
        """Have the server load a policy; do nothing without `reload_url`.

        Raises:
            EngineError: the server cannot be reached, or does not load it.
            ConfigError: the address, or a proxy that the environment names, is malformed.
        """
        if self.reload_url is not None:
            is_same_server = urlsplit(self.reload_url)[:2] == urlsplit(self.base_url)[:2]
            key = self._key() if is_same_server else "none"
            reload_policy(self.reload_url, policy.path, key, self.timeout)

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
        gaps = _Gaps()

        async def run_worker(client: AsyncOpenAI) -> None:
            for position, (
                request,
                index,
            ) in rows:  # every worker takes its next from the same iterator
                try:
                    reply = await self._request(
                        client, self._body(policy, request, index, sampling)
                    )
                except _Missing as missing:
                    gaps.add(missing)
                    completions[position] = _missing_completion(request, index, str(missing))
                else:
                    gaps.answered += 1
                    completions[position] = self._completion(request, index, reply)
                remaining[id(request)] -= 1
                if not remaining[id(request)]:
                    advance(1)

        key, url = self._key(), self.base_url
        redact_logs(Secret(key))
        async with connections.open_async(url, key, self.timeout) as client:
            await asyncio.gather(*(run_worker(client) for _ in range(self.concurrency)))
        gaps.check()
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
        extra = {**_rendering(policy), **self.body}
        return {
            "model": self.model or policy.name,
            "messages": [m.as_dict() for m in request.prompt.messages],
            **{key: value for key, value in parameters.items() if key not in self.body},
            **{key: value for key, value in extra.items() if value is not None},
        }

    async def _request(self, client: AsyncOpenAI, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a reply with a choice; failures that may pass are retried.

        Raises:
            _Missing: the server refuses this request, or fails at every attempt.
            EngineError: it refuses for good, is too busy, or cannot be reached.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return await self._try(client, body)
            except _Failure as failure:
                if not failure.may_pass or attempt == self.attempts:
                    raise self._final_error(failure, attempt) from failure
                await asyncio.sleep(BACKOFF.pause(attempt, failure.pause))
        raise AssertionError("the last attempt returns or raises")

    async def _try(self, client: AsyncOpenAI, body: Mapping[str, Any]) -> Mapping[str, Any]:
        from openai import APIError, APIStatusError

        try:
            data = load_body(await client.post("/chat/completions", cast_to=str, body=body))
        except APIStatusError as error:
            raise _status_failure(error) from error
        except APIError as error:
            reached = not is_connect_failure(error)
            raise _Failure(first_line(error), may_pass=True, is_own=reached) from error
        except ValueError as error:  # a body that is no JSON
            raise _Failure(first_line(error), may_pass=True, is_own=True) from error
        try:
            described = {"error": first_choice(data).get("error")}
        except (LookupError, TypeError):
            described = data
        if described is data or read_error(described):
            raise _described_failure(read_error(described), 200, NO_CHOICE)
        reply: Mapping[str, Any] = data
        return reply

    def _final_error(self, failure: _Failure, attempts: int) -> Exception:
        """Return that one sample is missing, or that generation fails."""
        error = self._engine_error(failure, attempts)
        if not failure.is_own:
            return error
        times = f"no answer in {attempts} attempts" if attempts > 1 else "refused"
        message = Secret(self._key()).redact(one_line(f"{times}: {failure}"))
        return _Missing(message, error, explained=failure.explained)

    def _completion(self, request: Request, index: int, reply: Mapping[str, Any]) -> Completion:
        choice = first_choice(reply)
        # a content filter ends a response too: the protocol has no third reason
        word = finish_word(read_text(choice.get("finish_reason")))
        reason: FinishReason = "length" if word in CUT_OFF else "stop"
        return Completion(
            prompt_id=request.prompt.id,
            index=index,
            text=read_content(message_of(choice).get("content"))[0],
            prompt_token_ids=_token_ids(reply.get("prompt_token_ids")),
            token_ids=_token_ids(choice.get("token_ids")),
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

    def _engine_error(self, failure: _Failure, attempts: int) -> EngineError:
        remedy = {
            None: "check that the server runs and engine.base_url is right",
            200: "is it an OpenAI-compatible server, and does engine.base_url end in /v1?",
            401: f"check that {self.api_key_env} holds its key",
            402: "add credit",
            403: f"check that {self.api_key_env} holds a key for this model",
            404: "name a model that it serves with --set engine.model=NAME",
            429: "wait, or lower engine.concurrency",
        }.get(failure.status, "see the server's log")
        attempts_text = f" after {attempts} attempts" if attempts > 1 else ""
        message = f"{self.base_url} failed{attempts_text}: {one_line(str(failure))}; {remedy}"
        return EngineError(Secret(self._key()).redact(message))


class _Failure(Exception):
    """An attempt without a reply."""

    def __init__(
        self,
        message: str,
        *,
        may_pass: bool,
        is_own: bool,
        status: int | None = None,
        explained: bool = False,
        pause: float | None = None,
    ) -> None:
        super().__init__(message)
        self.may_pass, self.is_own, self.status = may_pass, is_own, status
        self.explained, self.pause = explained, pause


class _Missing(Exception):
    """A sample that the server does not give, while it may give others."""

    def __init__(self, message: str, error: EngineError, *, explained: bool) -> None:
        super().__init__(message)
        self.error, self.explained = error, explained


@dataclass
class _Gaps:
    """The samples that are missing beside those that are answered."""

    answered: int = 0
    explained: int = 0
    unexplained: int = 0
    last: _Missing | None = None

    def add(self, missing: _Missing) -> None:
        """Count a missing sample; raise EngineError if so many mean that the server is at fault."""
        self.explained += missing.explained
        self.unexplained += not missing.explained
        self.last = missing
        if refuses_everything(self.answered, self.explained, self.unexplained):
            raise missing.error from missing

    def check(self) -> None:
        """Raise EngineError if nothing was answered."""
        if self.last is not None and not self.answered:
            raise self.last.error from self.last


def _rendering(policy: Policy) -> dict[str, Any]:
    """Return what has vLLM's and SGLang's servers render and end turns as the policy does."""
    extra: dict[str, Any] = {}
    if policy.template_arguments:
        extra["chat_template_kwargs"] = dict(policy.template_arguments)
    if policy.end_tokens:
        extra["stop_token_ids"] = named_end_token_ids(load_tokenizer(policy), policy)
    return extra


def _token_ids(value: Any) -> tuple[int, ...]:
    """Return the token ids that vLLM reports on request; none where the server reports none."""
    is_list = isinstance(value, list) and all(isinstance(token, int) for token in value)
    return tuple(value) if is_list else ()


def _missing_completion(request: Request, index: int, reason: str) -> Completion:
    return Completion(request.prompt.id, index, reason, (), (), "missing", request.seed)


def _status_failure(error: APIStatusError) -> _Failure:
    response = error.response
    described = read_error_text(response.text)
    words = redirect_text(error.status_code, response.headers) or first_line(error)
    failure = _described_failure(described, error.status_code, words)
    asked = retry_after(response.headers)
    failure.pause = failure.pause if asked is None else asked
    return failure


def _described_failure(error: ServerError | None, status: int, fallback: str) -> _Failure:
    """Return what a status and the error in the body mean."""
    codes, delay = (error.codes, error.delay) if error else ((), None)
    message = error.message if error and error.message else fallback
    if status == 200 and error and (error.status or is_out_of_credit(message)):
        status = error.status or 402
    refusal = classify_refusal(status, codes, message)
    text = fallback if status == 200 and not error else f"{status}: {message}"
    return _Failure(
        text,
        may_pass=refusal is None and (status == 200 or is_retryable(status, *codes, message)),
        is_own=refusal is not None or status == 200 or status >= 500,
        status=status,
        explained=refusal is not None and refusal.explained,
        pause=delay,
    )
