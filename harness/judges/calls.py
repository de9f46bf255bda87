"""One request to a judge, tried until it is answered or refused for good.

Tried again, after a pause that doubles and is drawn at random, or that the server names: rate
limits, server errors, lost connections, time-outs, bodies that are no completion. Refused for good:
every other status, and a rate limit whose reason is that the credit is used up. A request holds a
seat of the pace while it is tried and until its reply is kept, not while it waits for its next try.
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
from harness.judges import wire
from harness.judges.circuit import Circuit
from harness.judges.desk import Answered
from harness.judges.pace import Pace

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that pass."""
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_RETRY_AFTER = 0.25, 20.0, 120.0
UNREACHABLE_TRIES = 3
WATCH_SECONDS = 0.25
LIMITED = 429
HIDDEN, SHORTEST_KEY = "***", 8
SHOWN = 200
MENDS = {
    400: "it cannot take this protocol's request; name another judge with --judge",
    401: "set a valid key in the judge's api_key_env (OPENAI_API_KEY)",
    403: "the key may not use this model; set another, or name another judge with --judge",
    404: "name a model that is served there with --judge, or another server with --base-url",
    429: "add credit",
}


Keep = Callable[[Answered], Awaitable[None]]
"""Returns when a reply is kept."""
Failed = Callable[[int, str], None]
"""Told of a place's try that failed, and may be on the bill all the same."""


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
    key: str = field(repr=False)
    timeout: float
    attempts: int
    pace: Pace
    circuit: Circuit
    reached: bool = False
    """Whether the server has ever answered."""
    jitter: random.Random = field(default_factory=random.Random)

    async def ask(self, place: int, body: Mapping[str, Any], keep: Keep, failed: Failed) -> None:
        """Ask until there is a reply, and have it kept.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeError: the judge cannot be reached, or fails at every attempt.
        """
        tried = 0
        while True:
            try:
                async with self.pace.seat():
                    await keep(await self._try(place, body))
                return
            except Fault as fault:
                tried += 1
                if fault.billed:
                    failed(place, str(fault))
                self._note(fault)
                self._check(fault, tried)
                await asyncio.sleep(self._pause(fault, tried))

    async def watch(self) -> None:
        """Stop, sooner or later, where nothing is answered any more."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.circuit.check()

    async def _try(self, place: int, body: Mapping[str, Any]) -> Answered:
        begun = time.monotonic()
        text = await self._post(body)
        try:
            wire.reply_of(text)
        except ValueError as error:
            raise Fault(str(error), billed=True) from None
        self.circuit.answered()
        self.pace.answered()
        return Answered(place, text, time.monotonic() - begun)

    async def _post(self, body: Mapping[str, Any]) -> str:
        import openai

        try:
            async with asyncio.timeout(self.timeout):
                text = await self.client.post("/chat/completions", cast_to=str, body=body)
            self.reached = True
            return self._clean(text)
        except openai.APIStatusError as error:
            self.reached = True
            raise self._refused(error) from None
        except openai.APITimeoutError as error:
            gone = refused_connection(error)
            raise Fault("no answer in time", unreachable=gone, billed=not gone) from None
        except openai.APIConnectionError as error:
            gone = refused_connection(error)
            raise Fault(self._clean(_cause(error)), unreachable=gone, billed=not gone) from None
        except TimeoutError:
            raise Fault(f"no answer within {self.timeout:g} s", billed=True) from None
        except ValueError as error:
            raise Fault(self._clean(plain(str(error))), billed=True) from None

    def _refused(self, error: APIStatusError) -> Exception:
        """Return a fault where the refusal passes, and an error where it is for good."""
        status, told = error.status_code, self._told(error)
        out_of_credit = "insufficient_quota" in (error.code, error.type)
        if (status in PASSING or status >= 500) and not out_of_credit:
            pause = retry_after(error.response.headers)
            return Fault(f"{status}: {told}", pause, limited=status == LIMITED)
        mend = MENDS.get(status, "look at what the server says")
        return JudgeRefusedError(
            f"{self.who} refuses ({status}: {told}): {mend}; "
            "the verdicts so far are kept, and the same command goes on from there"
        )

    def _clean(self, text: str) -> str:
        """Return a reply as it came; but a server that repeats the key does not get it stored."""
        return text.replace(self.key, HIDDEN) if len(self.key) >= SHORTEST_KEY else text

    def _told(self, error: APIStatusError) -> str:
        """Return what the server says: in one line, short, and without the key."""
        body = error.body if isinstance(error.body, dict) else {}
        told = str(body.get("message") or error.body or error.response.reason_phrase)
        parts = [str(part) for part in (error.code, told) if part]
        return plain(": ".join(dict.fromkeys(parts)).replace(self.key, HIDDEN))

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
    return plain(str(error) or type(error).__name__)


def refused_connection(error: BaseException) -> bool:
    """Say whether there was no connection at all."""
    names = set()
    cause: BaseException | None = error
    while cause is not None:
        names.add(type(cause).__name__)
        cause = cause.__cause__
    return bool(names & {"ConnectError", "ConnectTimeout"})


def plain(text: str) -> str:
    """Return a server's text in one short line without control characters."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."
