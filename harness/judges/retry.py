"""Retries of a request to a judge.

Rate limits, server errors, lost connections, time-outs and bodies that are no completion are
retried after a pause (see `harness.core.http`). Any other status, and a rate limit because the
credit is used up, is final, unless it is about one request alone (see `harness.core.refusals`). A
request that fails at every attempt while others are answered ends without a verdict (see
`open_requests`). A request holds a slot during an attempt and until its reply is stored, not during
a pause.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core import error_bodies
from harness.core.completion_bodies import load_body
from harness.core.error_bodies import ServerError
from harness.core.http import (
    Backoff,
    error_text,
    is_connect_failure,
    is_out_of_credit,
    is_retryable,
    redirect_text,
    retry_after,
)
from harness.core.refusals import Refusal, RefusalTracker, classify_refusal
from harness.core.secrets import Secret
from harness.core.terminal import one_line, shorten
from harness.errors import BudgetError, JudgeError, JudgeRefusedError
from harness.judges import chat_format
from harness.judges.circuit_breaker import CircuitBreaker
from harness.judges.concurrency import AdaptiveConcurrency
from harness.judges.open_requests import OpenRequest, OpenRequests
from harness.types import RawReply

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI


FIRST_PAUSE, LONGEST_PAUSE = 0.25, 20.0
UNREACHABLE_TRIES = 3
WATCH_SECONDS = 0.25
LATE_SECONDS = 2.0
"""A look that comes later than this shows that the process was stopped, or the machine asleep."""
NO_CREDIT, TOO_MANY_REQUESTS = 402, 429
REMEDIES = {
    400: "it cannot take this protocol's request; name another judge with --judge",
    NO_CREDIT: "add credit",
    401: "set a valid key in the judge's api_key_env (OPENAI_API_KEY)",
    403: "the key may not use this model; set another, or name another judge with --judge",
    404: "name a model that is served there with --judge, or another server with --base-url",
    413: "it cannot take requests of this length; name another judge with --judge",
    422: "it cannot take this protocol's request; name another judge with --judge",
    429: "add credit",
    451: "it cannot take this protocol's request; name another judge with --judge",
}


KeepReply = Callable[[RawReply], Awaitable[None]]
"""Returns when a reply is stored."""
ReportFailure = Callable[[int, str], None]
"""Receives the index of a request and the reason."""


class TransientError(Exception):
    """An attempt that failed and may succeed when it is repeated."""

    def __init__(
        self,
        reason: str,
        pause: float | None = None,
        *,
        unreachable: bool = False,
        rate_limited: bool = False,
        billed: bool = False,
    ) -> None:
        super().__init__(reason)
        self.pause, self.unreachable = pause, unreachable
        self.rate_limited, self.billed = rate_limited, billed


@dataclass
class RetryingCaller:
    """Asks requests until each has a reply; holds what the requests of a run share."""

    client: AsyncOpenAI
    judge_name: str
    """The judge and its address, for error messages."""
    secret: Secret
    timeout: float
    attempts: int
    limiter: AdaptiveConcurrency
    breaker: CircuitBreaker
    refusals: RefusalTracker
    open_requests: OpenRequests
    has_responded: bool = False
    """Whether the server has ever replied."""
    jitter: random.Random = field(default_factory=random.Random)

    async def ask(
        self,
        index: int,
        body: Mapping[str, Any],
        keep: KeepReply,
        on_failure: ReportFailure,
        on_refusal: ReportFailure,
    ) -> None:
        """Repeat a request until its reply is stored, or until this request alone is given up.

        Args:
            index: the index of the request.
            body: the request.
            keep: stores the reply.
            on_failure: called for an attempt without a reply that may have been billed.
            on_refusal: called if the server refuses this request alone, or fails at it every time.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeError: the judge cannot be reached, or fails at every attempt.
        """
        try:
            async with self.open_requests.admit() as request:
                await self._ask_until_stored(request, index, body, keep, on_failure, on_refusal)
        except TimeoutError:
            on_refusal(index, request.ending)

    def check_open(self) -> None:
        """Decide about the requests that wait for evidence (see `open_requests`, `refusals`).

        Raises:
            JudgeRefusedError: every request in flight was refused and none has been answered.
            JudgeError: the judge fails at every request.
        """
        if failing := self.open_requests.check(self.refusals.undecided):
            raise self._failed_error(failing)
        try:
            self.refusals.check(len(self.open_requests.requests), self.open_requests.is_last)
        except Refusal as refusal:
            raise self._permanent_error(refusal) from None

    async def watch(self) -> None:
        """Run until cancelled; raise JudgeError once the judge has not replied for too long."""
        while True:
            looked = self.breaker.clock()
            await asyncio.sleep(WATCH_SECONDS)
            late = self.breaker.clock() - looked - WATCH_SECONDS
            if late > LATE_SECONDS:
                self.breaker.skip(late)
            self._check_silence()

    async def _ask_until_stored(
        self,
        request: OpenRequest,
        index: int,
        body: Mapping[str, Any],
        keep: KeepReply,
        on_failure: ReportFailure,
        on_refusal: ReportFailure,
    ) -> None:
        while True:
            try:
                async with self.limiter.slot():
                    await self._ask_once(request, index, body, keep, on_refusal)
                return
            except TransientError as error:
                if error.billed:
                    try:
                        on_failure(index, str(error))
                    except BudgetError:
                        return  # the session asks it again if the budget allows
                self._record(request, error)
                await self._check(request, error)
                backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
                await asyncio.sleep(backoff.pause(request.failures, error.pause, self.jitter))

    async def _ask_once(
        self,
        request: OpenRequest,
        index: int,
        body: Mapping[str, Any],
        keep: KeepReply,
        on_refusal: ReportFailure,
    ) -> None:
        try:
            await keep(await self._try(request, index, body))
        except Refusal as refusal:
            self.breaker.reset()
            if not refusal.explained:
                self.limiter.record_refusal()
            await self._resolve(refusal)
            on_refusal(index, str(refusal))

    async def _try(self, request: OpenRequest, index: int, body: Mapping[str, Any]) -> RawReply:
        request.started = started = self.breaker.clock()
        try:
            text = await self._post(body)
        finally:
            request.started = None
        self._check_reply(text)
        self.breaker.record_answer()
        self.refusals.record_answer()
        self.limiter.record_answer()
        self.open_requests.answers += 1
        return RawReply(index, text, self.breaker.clock() - started)

    def _check_reply(self, text: str) -> None:
        """Raise for a body that is no completion, by the error that it describes."""
        if error := _error_in_completion(text):
            message = self._words(error.message, error.codes)
            if error.status is not None or is_out_of_credit(message):
                raise self._classify(error.status or NO_CREDIT, error.codes, message, error.delay)
            raise TransientError(f"200: {message}", error.delay, billed=True)
        try:
            chat_format.reply_of(text)
        except ValueError as error:
            words = self.secret.redact(shorten(text)) or "it is empty"
            raise TransientError(f"{error}: {words}", billed=True) from None

    async def _post(self, body: Mapping[str, Any]) -> str:
        import openai

        try:
            async with asyncio.timeout(self.timeout):
                text = await self.client.post("/chat/completions", cast_to=str, body=body)
            self.has_responded = True
            return self.secret.redact_body(text)
        except openai.APIStatusError as error:
            self.has_responded = True
            raise self._classify_response(error) from None
        except openai.APITimeoutError as error:
            unreachable = is_connect_failure(error)
            raise TransientError(
                "no answer in time", unreachable=unreachable, billed=not unreachable
            ) from None
        except openai.APIConnectionError as error:
            unreachable = is_connect_failure(error)
            message = one_line(self.secret.redact(_root_cause(error)))
            raise TransientError(message, unreachable=unreachable, billed=not unreachable) from None
        except TimeoutError:
            raise TransientError(f"no answer within {self.timeout:g} s", billed=True) from None
        except ValueError as error:
            raise TransientError(one_line(self.secret.redact(str(error))), billed=True) from None

    def _classify_response(self, response: APIStatusError) -> Exception:
        """Return what the status and the body of a response mean."""
        headers, text = response.response.headers, response.response.text
        error = error_bodies.read_error_text(text)
        redirect = redirect_text(response.status_code, headers)
        fallback = redirect or text or response.response.reason_phrase
        codes, delay = (error.codes, error.delay) if error else ((), None)
        message = self._words(error.message if error else fallback, codes)
        asked = retry_after(headers)
        return self._classify(
            response.status_code, codes, message, delay if asked is None else asked
        )

    def _classify(
        self, status: int, codes: tuple[str, ...], message: str, pause: float | None
    ) -> Exception:
        """Return a transient error, a refusal of one request, or a final error."""
        if refusal := classify_refusal(status, codes, message):
            return refusal
        if is_retryable(status, *codes, message):
            return TransientError(
                f"{status}: {message}", pause, rate_limited=status == TOO_MANY_REQUESTS
            )
        return self._permanent_error(Refusal(message, status, explained=False))

    async def _resolve(self, refusal: Refusal) -> None:
        try:
            await self.refusals.resolve(refusal)
        except Refusal as error:
            raise self._permanent_error(error) from None

    def _permanent_error(self, refusal: Refusal) -> JudgeRefusedError:
        status = NO_CREDIT if is_out_of_credit(refusal.message) else refusal.status
        remedy = REMEDIES.get(status, "look at what the server says")
        return JudgeRefusedError(
            f"{self.judge_name} refuses ({refusal}): {remedy}; "
            "the verdicts so far are stored, and the same command continues from there"
        )

    def _failed_error(self, request: OpenRequest) -> JudgeError:
        return JudgeError(
            f"{self.judge_name} failed {request.failures} times in a row ({request.reason}): "
            "try again later; the verdicts so far are stored, and the same command continues"
        )

    def _words(self, message: str, codes: tuple[str, ...]) -> str:
        """Return an error's code in words and its message in one short line without the key."""
        words = [code for code in codes[:1] if not code.isdigit()]
        return one_line(self.secret.redact(error_text(message, *words)))

    def _record(self, request: OpenRequest, error: TransientError) -> None:
        if error.rate_limited:
            self.limiter.record_rate_limit(error.pause)
        self.breaker.record_failure(str(error), error.pause)
        is_own = not (error.rate_limited or error.unreachable)
        self.open_requests.record_failure(request, str(error), is_own)

    async def _check(self, request: OpenRequest, error: TransientError) -> None:
        """Give up if the judge cannot be reached or has failed too often.

        A request that has spent its attempts waits here until it is ended or the run is.
        """
        if error.unreachable and not self.has_responded and request.failures >= UNREACHABLE_TRIES:
            raise JudgeError(
                f"cannot reach {self.judge_name} ({error}): start the server, "
                "or name another with --base-url"
            )
        if request.failures >= self.attempts:
            if not request.is_own:
                raise self._failed_error(request)
            self.open_requests.record_spent(request)
            await asyncio.Event().wait()
        self._check_silence()

    def _check_silence(self) -> None:
        """Give up on a judge that is silent, unless it has asked for nothing to be sent."""
        if (remaining := self.limiter.remaining_hold()) > 0:
            self.breaker.excuse(remaining)
        due = self.open_requests.first_due(self.breaker.listening_since, self.timeout)
        try:
            self.breaker.check(due)
        except JudgeError:
            if not self.open_requests.end_silent():
                raise
            self.breaker.reset()


def _error_in_completion(text: str) -> ServerError | None:
    """Return the error that a body with the status 200 describes beside or in place of a choice."""
    if '"error"' not in text and '"choices"' in text:
        return None
    try:
        data = load_body(text)
    except ValueError:
        return None
    choices = data.get("choices") if isinstance(data, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict):
        return error_bodies.read_error({"error": first.get("error")})
    return error_bodies.read_error(data)


def _root_cause(error: BaseException) -> str:
    """Return the message of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
