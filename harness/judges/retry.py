"""One request to a judge, tried until it is answered or refused for good.

Tried again, after a pause that doubles and is drawn at random, or that the server names: rate
limits, server errors, lost connections, time-outs, bodies that are no completion. Refused for good:
every other status, and a rate limit whose reason is that the credit is used up; but for a request
that is refused by itself alone (see `refusals`). A request holds a seat of the pace while it is
tried and until its reply is kept, not while it waits for its next try.

Stops a run whose judge gives no answer any more, and says what it gives instead.
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
from harness.errors import JudgeError, JudgeRefusedError
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
"""Returns when a reply is kept."""
ReportFailure = Callable[[int, str], None]
"""Told of a place, and what went wrong there."""


class TransientError(Exception):
    """A try that failed, and may succeed when it is made again."""

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
    """The line to a judge: what all requests of a call share."""

    client: AsyncOpenAI
    judge_name: str
    """The judge and its address, as errors call it."""
    secret: Secret
    timeout: float
    attempts: int
    limiter: AdaptiveConcurrency
    breaker: CircuitBreaker
    refusals: RefusalTracker
    has_responded: bool = False
    """Whether the server has ever answered."""
    jitter: random.Random = field(default_factory=random.Random)

    async def ask(
        self,
        index: int,
        body: Mapping[str, Any],
        keep: KeepReply,
        on_failure: ReportFailure,
        on_refusal: ReportFailure,
    ) -> None:
        """Ask until there is a reply, and have it kept, or until this request alone is refused.

        `failed` is told of tries that may be on the bill all the same.

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
                    on_failure(index, str(error))
                self._record(error)
                self._check(error, attempt)
                backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
                await asyncio.sleep(backoff.pause(attempt, error.pause, self.jitter))

    def check_refusals(self, in_flight: int) -> None:
        """Stop where nothing is under way but refusals of which nothing will tell what they are.

        Raises:
            JudgeRefusedError: that is so.
        """
        try:
            self.refusals.check(in_flight)
        except Refusal as refusal:
            raise self._permanent_error(refusal) from None

    async def watch(self) -> None:
        """Stop, sooner or later, where nothing is answered any more."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.breaker.check()

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
        """Return a fault where it passes, what may be about one request, or an error for good."""
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
            "the verdicts so far are kept, and the same command goes on from there"
        )

    def _message(self, error: APIStatusError) -> str:
        """Return what the server says: in one line, short, and without the key."""
        body = error.body if isinstance(error.body, dict) else {}
        message = body.get("message") or error.body or error.response.reason_phrase
        return one_line(self.secret.redact(error_text(message, error.code)))

    def _record(self, error: TransientError) -> None:
        if error.rate_limited:
            self.limiter.record_rate_limit(error.pause)
        self.breaker.record_failure(str(error), error.pause)

    def _check(self, error: TransientError, attempt: int) -> None:
        """Give up on a judge that cannot be reached, or that has failed too often."""
        if error.unreachable and not self.has_responded and attempt >= UNREACHABLE_TRIES:
            raise JudgeError(
                f"cannot reach {self.judge_name} ({error}): start the server, "
                "or name another with --base-url"
            )
        if attempt >= self.attempts:
            raise JudgeError(
                f"{self.judge_name} failed {attempt} times in a row ({error}): "
                "try again later; the verdicts so far are kept, and the same command goes on"
            )
        self.breaker.check()


def _root_cause(error: BaseException) -> str:
    """Return what lies at the bottom of a connection that failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


EXCUSED_PAUSE = 5.0
"""Seconds from which a pause that a server names explains its silence."""
LONGEST_EXCUSE = 900.0
"""Seconds for which a server may ask to be left alone before it counts as gone."""
CAUSES_SHOWN = 3


class CircuitBreaker:
    """Knows when the judge last answered, and every failure since."""

    def __init__(
        self, judge_name: str, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.judge_name, self.patience, self.clock = judge_name, patience, clock
        self.last_answer = self.excused_until = clock()
        self.causes: Counter[str] = Counter()

    def reset(self) -> None:
        """Start anew: nothing is being asked."""
        self.last_answer = self.clock()

    def record_answer(self) -> None:
        """Note an answer."""
        self.reset()
        self.causes.clear()

    def record_failure(self, reason: str, pause: float | None) -> None:
        """Note a failure; a long pause that the server names does not count as silence."""
        self.causes[reason] += 1
        if pause and pause >= EXCUSED_PAUSE:
            until = min(self.clock() + pause, self.last_answer + LONGEST_EXCUSE)
            self.excused_until = max(self.excused_until, until)

    def check(self) -> None:
        """Stop where there has been no answer for too long.

        Raises:
            JudgeError: there has been none, and why.
        """
        silent_seconds = self.clock() - max(self.last_answer, self.excused_until)
        if silent_seconds <= self.patience:
            return
        common = self.causes.most_common(CAUSES_SHOWN)
        summary = "; ".join(f"{count} x {cause}" for cause, count in common)
        raise JudgeError(
            f"{self.judge_name} gives no answer for {self.clock() - self.last_answer:.0f} s "
            f"({summary or 'it keeps silent'}): try again later, or give it longer with "
            "--set judge.patience=SECONDS; the verdicts so far are kept, and the same command goes "
            "on from there"
        )
