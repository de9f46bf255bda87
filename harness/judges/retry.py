"""Retries of a request to a judge, and the circuit breaker that stops a run without replies.

Rate limits, server errors, lost connections, time-outs and bodies that are no completion are
retried after a pause (see `harness.core.http`). Any other status, and a rate limit because the
credit is used up, is final, unless it is about one request alone (see `refusals`). A request holds
a slot during an attempt and until its reply is stored, not during a pause.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core.http import (
    Backoff,
    error_text,
    is_connect_failure,
    is_retryable,
    retry_after,
)
from harness.core.secrets import Secret
from harness.core.terminal import one_line
from harness.errors import BudgetError, JudgeError, JudgeRefusedError
from harness.judges import chat_format, refusals
from harness.judges.concurrency import AdaptiveConcurrency
from harness.judges.refusals import Refusal, RefusalTracker
from harness.types import RawReply

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI


FIRST_PAUSE, LONGEST_PAUSE = 0.25, 20.0
UNREACHABLE_TRIES = 3
WATCH_SECONDS = 0.25
TOO_MANY_REQUESTS = 429
REMEDIES = {
    400: "it cannot take this protocol's request; name another judge with --judge",
    401: "set a valid key in the judge's api_key_env (OPENAI_API_KEY)",
    403: "the key may not use this model; set another, or name another judge with --judge",
    404: "name a model that is served there with --judge, or another server with --base-url",
    413: "it cannot take requests of this length; name another judge with --judge",
    422: "it cannot take this protocol's request; name another judge with --judge",
    429: "add credit",
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
        """Repeat a request until its reply is stored, or until this request alone is refused.

        Args:
            index: the index of the request.
            body: the request.
            keep: stores the reply.
            on_failure: called for an attempt without a reply that may have been billed.
            on_refusal: called if the server refuses this request alone.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeError: the judge cannot be reached, or fails at every attempt.
        """
        attempt = 0
        while True:
            try:
                async with self.limiter.slot():
                    await self._ask_once(index, body, keep, on_refusal)
                return
            except TransientError as error:
                attempt += 1
                if error.billed:
                    try:
                        on_failure(index, str(error))
                    except BudgetError:
                        return  # the session asks it again if the budget allows
                self._record(error)
                self._check(error, attempt)
                backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
                await asyncio.sleep(backoff.pause(attempt, error.pause, self.jitter))

    def check_refusals(self, in_flight: int) -> None:
        """Abort if every request in flight was refused and none has been answered.

        Raises:
            JudgeRefusedError: the server's refusal.
        """
        try:
            self.refusals.check(in_flight)
        except Refusal as refusal:
            raise self._permanent_error(refusal) from None

    async def watch(self) -> None:
        """Run until cancelled; raise JudgeError once the judge has not replied for too long."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._check_silence()

    async def _ask_once(
        self, index: int, body: Mapping[str, Any], keep: KeepReply, on_refusal: ReportFailure
    ) -> None:
        try:
            await keep(await self._try(index, body))
        except Refusal as refusal:
            self.breaker.reset()
            if not refusal.explained:
                self.limiter.record_refusal()
            await self._resolve(refusal)
            on_refusal(index, str(refusal))

    async def _try(self, index: int, body: Mapping[str, Any]) -> RawReply:
        started = time.monotonic()
        text = await self._post(body)
        try:
            chat_format.reply_of(text)
        except ValueError as error:
            raise TransientError(str(error), billed=True) from None
        self.breaker.record_answer()
        self.refusals.record_answer()
        self.limiter.record_answer()
        return RawReply(index, text, time.monotonic() - started)

    async def _post(self, body: Mapping[str, Any]) -> str:
        import openai

        try:
            async with asyncio.timeout(self.timeout):
                text = await self.client.post("/chat/completions", cast_to=str, body=body)
            self.has_responded = True
            return self.secret.redact_body(text)
        except openai.APIStatusError as error:
            self.has_responded = True
            raise self._classify_status(error) from None
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

    def _classify_status(self, error: APIStatusError) -> Exception:
        """Return a transient error, a refusal of one request, or a final error."""
        status, message = error.status_code, self._message(error)
        if refusal := refusals.classify_refusal(status, (error.code, error.type), message):
            return refusal
        if is_retryable(status, error.code, error.type):
            pause = retry_after(error.response.headers)
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
        remedy = REMEDIES.get(refusal.status, "look at what the server says")
        return JudgeRefusedError(
            f"{self.judge_name} refuses ({refusal}): {remedy}; "
            "the verdicts so far are stored, and the same command continues from there"
        )

    def _message(self, error: APIStatusError) -> str:
        """Return the server's message in one short line without the key."""
        body = error.body if isinstance(error.body, dict) else {}
        message = body.get("message") or error.body or error.response.reason_phrase
        return one_line(self.secret.redact(error_text(message, error.code)))

    def _record(self, error: TransientError) -> None:
        if error.rate_limited:
            self.limiter.record_rate_limit(error.pause)
        self.breaker.record_failure(str(error), error.pause)

    def _check(self, error: TransientError, attempt: int) -> None:
        """Give up if the judge cannot be reached or has failed too often."""
        if error.unreachable and not self.has_responded and attempt >= UNREACHABLE_TRIES:
            raise JudgeError(
                f"cannot reach {self.judge_name} ({error}): start the server, "
                "or name another with --base-url"
            )
        if attempt >= self.attempts:
            raise JudgeError(
                f"{self.judge_name} failed {attempt} times in a row ({error}): "
                "try again later; the verdicts so far are stored, and the same command continues"
            )
        self._check_silence()

    def _check_silence(self) -> None:
        """Give up on a judge that is silent, unless it has asked for nothing to be sent."""
        if (remaining := self.limiter.remaining_hold()) > 0:
            self.breaker.excuse(remaining)
        self.breaker.check()


def _root_cause(error: BaseException) -> str:
    """Return the message of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


EXCUSED_PAUSE = 5.0
"""Seconds: a pause of this length that the server asks for excuses its silence."""
LONGEST_EXCUSE = 900.0
"""Seconds: a server that asks for a longer pause counts as unavailable."""
CAUSES_SHOWN = 3


class CircuitBreaker:
    """Records the last reply and the failures since; stops a run whose judge does not reply."""

    def __init__(
        self, judge_name: str, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.judge_name, self.patience, self.clock = judge_name, patience, clock
        self.last_answer = self.excused_until = clock()
        self.causes: Counter[str] = Counter()

    def reset(self) -> None:
        """Restart the clock: nothing is in flight."""
        self.last_answer = self.clock()

    def record_answer(self) -> None:
        """Record a reply."""
        self.reset()
        self.causes.clear()

    def record_failure(self, reason: str, pause: float | None) -> None:
        """Record a failure; a long pause that the server asks for does not count as silence."""
        self.causes[reason] += 1
        if pause and pause >= EXCUSED_PAUSE:
            self.excuse(pause)

    def excuse(self, seconds: float) -> None:
        """Do not count the next seconds as silence: the server has asked for them."""
        until = min(self.clock() + seconds, self.last_answer + LONGEST_EXCUSE)
        self.excused_until = max(self.excused_until, until)

    def check(self) -> None:
        """Do nothing while the judge replies.

        Raises:
            JudgeError: it has not replied for too long; the message names the causes.
        """
        silent_seconds = self.clock() - max(self.last_answer, self.excused_until)
        if silent_seconds <= self.patience:
            return
        common = self.causes.most_common(CAUSES_SHOWN)
        summary = "; ".join(f"{count} x {cause}" for cause, count in common)
        raise JudgeError(
            f"{self.judge_name} has not replied for {self.clock() - self.last_answer:.0f} s "
            f"({summary or 'no response at all'}): try again later, or wait longer with "
            "--set judge.patience=SECONDS; the verdicts so far are stored, and the same command "
            "continues from there"
        )
