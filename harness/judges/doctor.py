"""Asks a judge's server what it can do, with two or three calls of a few tokens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import JudgeError
from harness.judges import identity, wire
from harness.judges.calls import plain, refused_connection
from harness.judges.client import OpenAIJudge
from harness.types import JudgeRequest, Message

QUESTION = (Message("user", "Answer with the letter A and nothing else."),)
LIMITS = ("x-ratelimit-limit-requests", "x-ratelimit-limit-tokens")
LOGPROBS = {"logprobs": True, "top_logprobs": 5}
OTHER = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
FEW = 16
"""Tokens that a reply may have: some servers refuse a limit of one."""

State = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    told: str


@dataclass
class _Visit:
    """A look at one judge, and what it has found so far."""

    judge: OpenAIJudge
    headers: dict[str, str] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)

    def note(self, what: str, state: State, told: str) -> None:
        self.found.append(Finding(what, state, plain(self.judge.secret().clean(told))))


def examine(judge: Any) -> list[Finding]:
    """Say what a judge's server can do; a finding that is bad makes the judge unusable.

    Raises:
        JudgeError: the judge is of a kind that has no server of its own to ask, or has no key.
    """
    if not isinstance(judge, OpenAIJudge):
        raise JudgeError(
            f"{type(judge).__name__} has no address that could be asked: name a judge that is "
            "served somewhere (for a panel its members, one by one)"
        )
    visit = _Visit(judge)
    asyncio.run(_look(visit))
    return visit.found


async def _look(visit: _Visit) -> None:
    import openai

    judge = visit.judge
    async with judge.connected(visit.headers.update) as client:
        try:
            listed = await client.get("/models", cast_to=str)
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                visit.note("reachable", "ok", judge.url)
                visit.note("key", "bad", f"{error.status_code}: set {judge.api_key_env}")
                return
            listed = "{}"
        except openai.APIConnectionError as error:
            gone = "nobody listens there" if refused_connection(error) else str(error)
            visit.note("reachable", "bad", f"{judge.url}: {gone}")
            return
        visit.note("reachable", "ok", judge.url)
        _models(visit, listed)
        await _call(visit, client)
    limits = [
        f"{visit.headers[name]} {name.rpartition('-')[2]}"
        for name in LIMITS
        if name in visit.headers
    ]
    visit.note("rate limits", "note", f"{', '.join(limits)} a minute" if limits else "not told")


def _models(visit: _Visit, listed: str) -> None:
    """Look for the model in the server's list, and for the day on which it goes."""
    wanted = visit.judge.called or visit.judge.model
    try:
        rows = {row["id"]: row for row in json.loads(listed)["data"]}
    except (ValueError, LookupError, TypeError):
        visit.note("listed", "note", "the server lists no models")
        return
    if wanted not in rows:
        visit.note("listed", "note", f"{wanted} is not among the {len(rows)} models listed")
        return
    visit.note("listed", "ok", wanted)
    if ends := rows[wanted].get("shutdown_date"):
        visit.note("shutdown date", "note", _day(ends))


async def _call(visit: _Visit, client: Any) -> None:
    """Ask something small: with log-probabilities, then without, under either name of the limit."""
    limit = visit.judge.token_limit
    tries = [(name, more) for more in (LOGPROBS, {}) for name in (limit, OTHER[limit])]
    told = ""
    for name, more in tries:
        body = {**visit.judge.body(JudgeRequest("doctor", QUESTION, {**more})), name: FEW}
        body["model"] = visit.judge.called or visit.judge.model
        text, seconds, told = await _asked(client, body)
        if text is not None:
            _answered(visit, text, name, seconds)
            return
    visit.note("answers", "bad", told)


async def _asked(client: Any, body: Mapping[str, Any]) -> tuple[str | None, float, str]:
    import openai

    begun = time.monotonic()
    try:
        text = await client.post("/chat/completions", cast_to=str, body=body)
        wire.reply_of(text)
    except (openai.APIError, ValueError) as error:
        return None, 0.0, str(error)
    return text, time.monotonic() - begun, ""


def _answered(visit: _Visit, text: str, limit: str, seconds: float) -> None:
    judge, reply = visit.judge, wire.reply_of(text)
    visit.note("answers", "ok", f"{seconds:.2f} s a call")
    fits = limit == judge.token_limit
    mend = "" if fits else f": set judge.token_limit={limit}"
    visit.note("length limit", "ok" if fits else "bad", f"takes {limit}{mend}")
    name = identity.served(reply.model)
    known = identity.acceptable(judge.model, judge.served_as, ())
    told = name if name in known else f"{name}: say --accept-judge {name} if that is the one"
    visit.note("serves", "ok" if name in known else "bad", told)
    if identity.moving(judge.model, judge.url):
        visit.note("name", "note", "an alias, which may come to mean another model")
    has = bool(reply.top_logprobs)
    told = "given" if has else "not given: AlpacaEval's weighted judge needs them"
    visit.note("log-probabilities", "ok" if has else "note", told)


def _day(told: Any) -> str:
    """Return a date that a server gives as text or as seconds since 1970."""
    if isinstance(told, int | float):
        return time.strftime("%Y-%m-%d", time.gmtime(told))
    return str(told)
