"""Checks what a judge's server can do, with small calls and one as each benchmark sends."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.core.async_bridge import run_coroutine
from harness.core.completion_bodies import load_json
from harness.core.http import is_connect_failure
from harness.core.terminal import one_line, shorten
from harness.errors import JudgeError
from harness.judges import chat_format, model_check
from harness.judges.client import OpenAIClient
from harness.judges.readiness import QUESTION, REPLY_TOKENS
from harness.judges.trials import Trial, try_request
from harness.judges.vllm import VLLMClient
from harness.types import JudgeRequest

LIMITS = ("x-ratelimit-limit-requests", "x-ratelimit-limit-tokens")
LOGPROBS = {"logprobs": True, "top_logprobs": 5}
OTHER_LIMIT = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
LAST_SECOND = 253_402_300_799
"""The end of the year 9999, in seconds since 1970."""
IMPOSSIBLE_MODEL = "no-model-can-have-this-name-7f3a"

FindingState = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """The result of one check."""

    subject: str
    state: FindingState
    detail: str


@dataclass
class _Inspection:
    """The findings on one judge so far."""

    judge: OpenAIClient
    headers: dict[str, str] = field(default_factory=dict)
    findings: list[ServerFinding] = field(default_factory=list)

    def add(self, subject: str, state: FindingState, detail: str) -> None:
        self.findings.append(
            ServerFinding(subject, state, one_line(self.judge.secret().redact(detail)))
        )


def examine(judge: Any, trials: Sequence[Trial] = ()) -> list[ServerFinding]:
    """Return what a judge's server can do; a `bad` finding makes the judge unusable.

    A finding under a benchmark's name says whether the judge can grade it, or with which settings.
    It works inside a running event loop. A judge that serves itself is served for as long as that.

    Raises:
        JudgeError: the judge is no OpenAIClient, has no key, or its own server does not start.
    """
    if isinstance(judge, VLLMClient):
        judge.check_ready()
        with judge.connected() as client:
            return examine(client, trials)
    if not isinstance(judge, OpenAIClient):
        raise JudgeError(
            f"{type(judge).__name__} has no address: name a judge that has a "
            "server (instead of a panel its members, one at a time)"
        )
    inspection = _Inspection(judge)
    run_coroutine(_examine_server(inspection, trials))
    return inspection.findings


async def _examine_server(inspection: _Inspection, trials: Sequence[Trial]) -> None:
    import openai

    judge = inspection.judge
    async with judge.connect(inspection.headers.update) as client:
        try:
            listing = await client.get("/models", cast_to=str)
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                inspection.add("reachable", "ok", judge.url)
                inspection.add("key", "bad", f"{error.status_code}: set {judge.api_key_env}")
                return
            listing = "{}"
        except openai.APIConnectionError as error:
            reason = "no server listens there" if is_connect_failure(error) else str(error)
            inspection.add("reachable", "bad", f"{judge.url}: {reason}")
            return
        inspection.add("reachable", "ok", judge.url)
        if note := model_check.retirement_note(judge):
            has_retired = judge.retires is not None and judge.retires <= model_check.today()
            inspection.add("retirement", "bad" if has_retired else "note", note)
        _check_listing(inspection, listing)
        if await _check_call(inspection, client):
            await _check_echo(inspection, client)
            for trial in trials:
                await _check_trial(inspection, client, trial)
    limits = [
        f"{inspection.headers[name]} {name.rpartition('-')[2]}"
        for name in LIMITS
        if name in inspection.headers
    ]
    inspection.add(
        "rate limits", "note", f"{', '.join(limits)} a minute" if limits else "not reported"
    )


def _check_listing(inspection: _Inspection, listing: str) -> None:
    """Look for the model in the server's list, and for its shutdown date."""
    wanted = inspection.judge.deployment or inspection.judge.model
    try:
        rows = {row["id"]: row for row in load_json(listing)["data"]}
    except (ValueError, LookupError, TypeError):
        inspection.add("listed", "note", "the server lists no models")
        return
    if wanted not in rows:
        inspection.add("listed", "note", f"{wanted} is not among the {len(rows)} models listed")
        return
    inspection.add("listed", "ok", wanted)
    if ends := rows[wanted].get("shutdown_date"):
        inspection.add("shutdown date", "note", _date_text(ends))


async def _check_trial(inspection: _Inspection, client: Any, trial: Trial) -> None:
    """Ask as a benchmark will."""

    async def ask(body: Mapping[str, Any]) -> tuple[str | None, str]:
        text, _, reason = await _ask(client, body)
        return text, one_line(reason)

    outcome = await try_request(inspection.judge, trial, ask)
    inspection.add(trial.benchmark, "ok" if outcome.can else "bad", outcome.detail)


async def _check_echo(inspection: _Inspection, client: Any) -> None:
    """Ask for a model that cannot be: a server that replies under its name replies under any."""
    body = inspection.judge.body(JudgeRequest("doctor", QUESTION, {"max_tokens": REPLY_TOKENS}))
    text, _, _ = await _ask(client, {**body, "model": IMPOSSIBLE_MODEL})
    if text is not None and chat_format.reply_of(text).model == IMPOSSIBLE_MODEL:
        detail = "the server repeats whatever name was asked for: it proves nothing about the model"
        inspection.add("name", "note", detail)


async def _check_call(inspection: _Inspection, client: Any) -> bool:
    """Make a small call: with and without log-probabilities, under both names of the limit.

    Return whether one was answered.
    """
    limit = inspection.judge.token_limit
    tries = [(name, extra) for extra in (LOGPROBS, {}) for name in (limit, OTHER_LIMIT[limit])]
    reason = ""
    for name, extra in tries:
        body = {
            **inspection.judge.body(JudgeRequest("doctor", QUESTION, {**extra})),
            name: REPLY_TOKENS,
        }
        body["model"] = inspection.judge.deployment or inspection.judge.model
        text, seconds, reason = await _ask(client, body)
        if text is not None:
            _check_answer(inspection, text, name, seconds)
            return True
    inspection.add("answers", "bad", reason)
    return False


async def _ask(client: Any, body: Mapping[str, Any]) -> tuple[str | None, float, str]:
    import openai

    started = time.monotonic()
    try:
        text = await client.post("/chat/completions", cast_to=str, body=body)
        chat_format.reply_of(text)
    except (openai.APIError, ValueError) as error:
        return None, 0.0, str(error)
    return text, time.monotonic() - started, ""


def _check_answer(inspection: _Inspection, text: str, limit: str, seconds: float) -> None:
    judge, reply = inspection.judge, chat_format.reply_of(text)
    inspection.add("answers", "ok", f"{seconds:.2f} s a call")
    is_expected = limit == judge.token_limit
    remedy = "" if is_expected else f": set judge.token_limit={limit}"
    inspection.add("length limit", "ok" if is_expected else "bad", f"accepts {limit}{remedy}")
    name = model_check.served_name(reply.model)
    known = model_check.accepted_names(judge.model, judge.served_as, ())
    detail = (
        name
        if name in known
        else f"{name}: use --accept-judge {name} if that is the model you mean"
    )
    inspection.add("serves", "ok" if name in known else "bad", detail)
    if model_check.is_alias(judge.model, judge.url):
        inspection.add("name", "note", "an alias, which may refer to another model later")
    has_logprobs = bool(reply.top_logprobs)
    detail = (
        "available" if has_logprobs else "not available: AlpacaEval's weighted judge needs them"
    )
    inspection.add("log-probabilities", "ok" if has_logprobs else "note", detail)


def _date_text(value: Any) -> str:
    """Return a date, which servers write as text or as seconds since 1970."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and 0 <= value <= LAST_SECOND:
        return time.strftime("%Y-%m-%d", time.gmtime(value))
    return f"not a date: {shorten(str(value))}"
