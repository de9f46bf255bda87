"""Asks a judge's server what it can do, with two or three calls of a few tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.core.async_bridge import run_coroutine
from harness.core.http import is_connect_failure
from harness.core.terminal import one_line
from harness.errors import JudgeError
from harness.judges import chat_format, model_check
from harness.judges.client import OpenAIClient
from harness.types import JudgeRequest, Message

QUESTION = (Message("user", "Answer with the letter A and nothing else."),)
LIMITS = ("x-ratelimit-limit-requests", "x-ratelimit-limit-tokens")
LOGPROBS = {"logprobs": True, "top_logprobs": 5}
OTHER_LIMIT = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
REPLY_TOKENS = 16
"""Tokens that a reply may have: some servers refuse a limit of one."""

FindingState = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """One thing that was looked at."""

    subject: str
    state: FindingState
    detail: str


@dataclass
class _Examination:
    """A look at one judge, and what it has found so far."""

    judge: OpenAIClient
    headers: dict[str, str] = field(default_factory=dict)
    findings: list[ServerFinding] = field(default_factory=list)

    def add(self, subject: str, state: FindingState, detail: str) -> None:
        self.findings.append(
            ServerFinding(subject, state, one_line(self.judge.secret().redact(detail)))
        )


def examine(judge: Any) -> list[ServerFinding]:
    """Say what a judge's server can do; a finding that is bad makes the judge unusable.

    Raises:
        JudgeError: the judge is of a kind that has no server of its own to ask, or has no key.
    """
    if not isinstance(judge, OpenAIClient):
        raise JudgeError(
            f"{type(judge).__name__} has no address that could be asked: name a judge that is "
            "served somewhere (for a panel its members, one by one)"
        )
    examination = _Examination(judge)
    run_coroutine(_examine_server(examination))
    return examination.findings


async def _examine_server(examination: _Examination) -> None:
    import openai

    judge = examination.judge
    async with judge.connect(examination.headers.update) as client:
        try:
            listing = await client.get("/models", cast_to=str)
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                examination.add("reachable", "ok", judge.url)
                examination.add("key", "bad", f"{error.status_code}: set {judge.api_key_env}")
                return
            listing = "{}"
        except openai.APIConnectionError as error:
            reason = "nobody listens there" if is_connect_failure(error) else str(error)
            examination.add("reachable", "bad", f"{judge.url}: {reason}")
            return
        examination.add("reachable", "ok", judge.url)
        _check_listing(examination, listing)
        await _check_call(examination, client)
    limits = [
        f"{examination.headers[name]} {name.rpartition('-')[2]}"
        for name in LIMITS
        if name in examination.headers
    ]
    examination.add(
        "rate limits", "note", f"{', '.join(limits)} a minute" if limits else "not told"
    )


def _check_listing(examination: _Examination, listing: str) -> None:
    """Look for the model in the server's list, and for the day on which it goes."""
    wanted = examination.judge.deployment or examination.judge.model
    try:
        rows = {row["id"]: row for row in json.loads(listing)["data"]}
    except (ValueError, LookupError, TypeError):
        examination.add("listed", "note", "the server lists no models")
        return
    if wanted not in rows:
        examination.add("listed", "note", f"{wanted} is not among the {len(rows)} models listed")
        return
    examination.add("listed", "ok", wanted)
    if ends := rows[wanted].get("shutdown_date"):
        examination.add("shutdown date", "note", _date_text(ends))


async def _check_call(examination: _Examination, client: Any) -> None:
    """Ask something small: with log-probabilities, then without, under either name of the limit."""
    limit = examination.judge.token_limit
    tries = [(name, extra) for extra in (LOGPROBS, {}) for name in (limit, OTHER_LIMIT[limit])]
    reason = ""
    for name, extra in tries:
        body = {
            **examination.judge.body(JudgeRequest("doctor", QUESTION, {**extra})),
            name: REPLY_TOKENS,
        }
        body["model"] = examination.judge.deployment or examination.judge.model
        text, seconds, reason = await _ask(client, body)
        if text is not None:
            _check_answer(examination, text, name, seconds)
            return
    examination.add("answers", "bad", reason)


async def _ask(client: Any, body: Mapping[str, Any]) -> tuple[str | None, float, str]:
    import openai

    started = time.monotonic()
    try:
        text = await client.post("/chat/completions", cast_to=str, body=body)
        chat_format.reply_of(text)
    except (openai.APIError, ValueError) as error:
        return None, 0.0, str(error)
    return text, time.monotonic() - started, ""


def _check_answer(examination: _Examination, text: str, limit: str, seconds: float) -> None:
    judge, reply = examination.judge, chat_format.reply_of(text)
    examination.add("answers", "ok", f"{seconds:.2f} s a call")
    is_expected = limit == judge.token_limit
    remedy = "" if is_expected else f": set judge.token_limit={limit}"
    examination.add("length limit", "ok" if is_expected else "bad", f"takes {limit}{remedy}")
    name = model_check.served_name(reply.model)
    known = model_check.accepted_names(judge.model, judge.served_as, ())
    detail = name if name in known else f"{name}: say --accept-judge {name} if that is the one"
    examination.add("serves", "ok" if name in known else "bad", detail)
    if model_check.is_alias(judge.model, judge.url):
        examination.add("name", "note", "an alias, which may come to mean another model")
    has_logprobs = bool(reply.top_logprobs)
    detail = "given" if has_logprobs else "not given: AlpacaEval's weighted judge needs them"
    examination.add("log-probabilities", "ok" if has_logprobs else "note", detail)


def _date_text(value: Any) -> str:
    """Return a date that a server gives as text or as seconds since 1970."""
    if isinstance(value, int | float):
        return time.strftime("%Y-%m-%d", time.gmtime(value))
    return str(value)
