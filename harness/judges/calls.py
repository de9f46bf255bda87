"""One request to a judge, tried until it is answered or refused for good.

Tried again, after a pause that doubles and is drawn at random, or that the server names: rate
limits, server errors, lost connections, time-outs, bodies that are no completion. Refused for good:
every other status, and a rate limit whose reason is that the credit is used up; but for a request
that is refused by itself alone (see `refusals`). A request holds a seat of the pace while it is
tried and until its reply is kept, not while it waits for its next try.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from harness.errors import JudgeError, JudgeRefusedError
from harness.judges import refusals, wire
from harness.judges.circuit import Circuit
from harness.judges.desk import Answered
from harness.judges.pace import Pace
from harness.judges.refusals import Refusal, Refusals
from harness.secret import Secret

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that pass."""
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_RETRY_AFTER = 0.25, 20.0, 120.0
UNREACHABLE_TRIES = 3
WATCH_SECONDS = 0.25
LIMITED = 429
SHOWN = 200
MENDS = {
    400: "it cannot take this protocol's request; name another judge with --judge",
    401: "set a valid key in the judge's api_key_env (OPENAI_API_KEY)",
    403: "the key may not use this model; set another, or name another judge with --judge",
    404: "name a model that is served there with --judge, or another server with --base-url",
    413: "it cannot take requests of this length; name another judge with --judge",
    422: "it cannot take this protocol's request; name another judge with --judge",
    429: "add credit",
}


Keep = Callable[[Answered], Awaitable[None]]
"""Returns when a reply is kept."""
Told = Callable[[int, str], None]
"""Told of a place, and what went wrong there."""


class Fault(Exception):
    """A try that failed, and may succeed when it is made again."""

    def __init__(
        self,
        told: str,
        pause: float | None = None,
        *,
        unreachable: bool = False,
        limited: bool = False,
        billed: bool = False,
    ) -> None:
        super().__init__(told)
        self.pause, self.unreachable = pause, unreachable
        self.limited, self.billed = limited, billed


@dataclass
class Line:
    """The line to a judge: what all requests of a call share."""

    client: AsyncOpenAI
    who: str
    """The judge and its address, as errors call it."""
    secret: Secret
    timeout: float
    attempts: int
    pace: Pace
    circuit: Circuit
    refusals: Refusals
    reached: bool = False
    """Whether the server has ever answered."""
    jitter: random.Random = field(default_factory=random.Random)

    async def ask(
        self, place: int, body: Mapping[str, Any], keep: Keep, failed: Told, refused: Told
    ) -> None:
        """Ask until there is a reply, and have it kept, or until this request alone is refused.

        `failed` is told of tries that may be on the bill all the same.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeError: the judge cannot be reached, or fails at every attempt.
        """
        tried = 0
        while True:
            try:
                async with self.pace.seat():
                    await self._ask_once(place, body, keep, refused)
                return
            except Fault as fault:
                tried += 1
                if fault.billed:
                    failed(place, str(fault))
                self._note(fault)
                self._check(fault, tried)
                await asyncio.sleep(self._pause(fault, tried))

    def check_refusals(self, under_way: int) -> None:
        """Stop where nothing is under way but refusals of which nothing will tell what they are.

        Raises:
            JudgeRefusedError: that is so.
        """
        try:
            self.refusals.check(under_way)
        except Refusal as refusal:
            raise self._for_good(refusal) from None

    async def watch(self) -> None:
        """Stop, sooner or later, where nothing is answered any more."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.circuit.check()

    async def _ask_once(
        self, place: int, body: Mapping[str, Any], keep: Keep, refused: Told
    ) -> None:
        try:
            await keep(await self._try(place, body))
        except Refusal as refusal:
            self.circuit.rest()
            if not refusal.explained:
                self.pace.refused()
            await self._weigh(refusal)
            refused(place, str(refusal))

    async def _try(self, place: int, body: Mapping[str, Any]) -> Answered:
        begun = time.monotonic()
        text = await self._post(body)
        try:
            wire.reply_of(text)
        except ValueError as error:
            raise Fault(str(error), billed=True) from None
        self.circuit.answered()
        self.refusals.answered()
        self.pace.answered()
        return Answered(place, text, time.monotonic() - begun)

    async def _post(self, body: Mapping[str, Any]) -> str:
        import openai

        try:
            async with asyncio.timeout(self.timeout):
                text = await self.client.post("/chat/completions", cast_to=str, body=body)
            self.reached = True
            return self.secret.clean_body(text)
        except openai.APIStatusError as error:
            self.reached = True
            raise self._refused(error) from None
        except openai.APITimeoutError as error:
            gone = refused_connection(error)
            raise Fault("no answer in time", unreachable=gone, billed=not gone) from None
        except openai.APIConnectionError as error:
            gone = refused_connection(error)
            told = plain(self.secret.clean(_cause(error)))
            raise Fault(told, unreachable=gone, billed=not gone) from None
        except TimeoutError:
            raise Fault(f"no answer within {self.timeout:g} s", billed=True) from None
        except ValueError as error:
            raise Fault(plain(self.secret.clean(str(error))), billed=True) from None

    def _refused(self, error: APIStatusError) -> Exception:
        """Return a fault where it passes, what may be about one request, or an error for good."""
        status, told = error.status_code, self._told(error)
        if found := refusals.refusal(status, (error.code, error.type), told):
            return found
        out_of_credit = "insufficient_quota" in (error.code, error.type)
        if (status in PASSING or status >= 500) and not out_of_credit:
            pause = retry_after(error.response.headers)
            return Fault(f"{status}: {told}", pause, limited=status == LIMITED)
        return self._for_good(Refusal(told, status, explained=False))

    async def _weigh(self, refusal: Refusal) -> None:
        try:
            await self.refusals.weigh(refusal)
        except Refusal as found:
            raise self._for_good(found) from None

    def _for_good(self, refusal: Refusal) -> JudgeRefusedError:
        mend = MENDS.get(refusal.status, "look at what the server says")
        return JudgeRefusedError(
            f"{self.who} refuses ({refusal}): {mend}; "
            "the verdicts so far are kept, and the same command goes on from there"
        )

    def _told(self, error: APIStatusError) -> str:
        """Return what the server says: in one line, short, and without the key."""
        body = error.body if isinstance(error.body, dict) else {}
        told = body.get("message") or error.body or error.response.reason_phrase
        return plain(self.secret.clean(told_by(told, error.code)))

    def _note(self, fault: Fault) -> None:
        if fault.limited:
            self.pace.limited(fault.pause)
        self.circuit.failed(str(fault), fault.pause)

    def _check(self, fault: Fault, tried: int) -> None:
        """Give up on a judge that cannot be reached, or that has failed too often."""
        if fault.unreachable and not self.reached and tried >= UNREACHABLE_TRIES:
            raise JudgeError(
                f"cannot reach {self.who} ({fault}): start the server, "
                "or name another with --base-url"
            )
        if tried >= self.attempts:
            raise JudgeError(
                f"{self.who} failed {tried} times in a row ({fault}): "
                "try again later; the verdicts so far are kept, and the same command goes on"
            )
        self.circuit.check()

    def _pause(self, fault: Fault, tried: int) -> float:
        """Return for how many seconds to wait before the next try.

        What the server names is honoured; from the second try on the pause doubles all the same,
        so that a rate limit that lasts is not mistaken for a judge that always fails.
        """
        drawn = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (tried - 1)) * self.jitter.uniform(0.5, 1)
        if fault.pause is None:
            return drawn
        named = min(fault.pause, LONGEST_RETRY_AFTER) * self.jitter.uniform(1.0, 1.1)
        return max(named, drawn if tried > 1 else 0.0)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait for, given as a number or as a date."""
    if precise := headers.get("retry-after-ms"):
        with suppress(ValueError):
            return max(0.0, float(precise) / 1000)
    told = headers.get("retry-after")
    if not told:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return None


def _cause(error: BaseException) -> str:
    """Return what lies at the bottom of a connection that failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def refused_connection(error: BaseException) -> bool:
    """Say whether there was no connection at all."""
    names = set()
    cause: BaseException | None = error
    while cause is not None:
        names.add(type(cause).__name__)
        cause = cause.__cause__
    return bool(names & {"ConnectError", "ConnectTimeout"})


def told_by(message: Any, *codes: Any) -> str:
    """Return what an error says: its codes, then its message, each once."""
    return ": ".join(dict.fromkeys(str(part) for part in (*codes, message) if part))


def plain(text: str) -> str:
    """Return a server's text in one short line without control characters."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."
