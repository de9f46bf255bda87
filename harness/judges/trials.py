"""Whether a judge can grade a benchmark: one request exactly as the benchmark will send it.

Where a server refuses it, the settings that its message names are tried, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.judges import chat_format
from harness.judges.client import OpenAIClient
from harness.judges.unparsed import describe
from harness.protocols import VerdictParser
from harness.types import JudgeRequest

MOST_TRIES = 5
MINIMUM = re.compile(
    r"(?:>=|at least|minimum(?: value)?(?: of| is)?|greater than or equal to)\D{0,12}(\d+)", re.I
)
SPELLING = "any_spelling=true"

Ask = Callable[[Mapping[str, Any]], Awaitable[tuple[str | None, str]]]
"""Sends a body; returns the reply's text, or None and the server's reason."""
Change = tuple[str, Mapping[str, Any]]
"""A setting as `--set` takes it, and the fields of the client that it changes."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A benchmark's request of full length, and what reads the reply."""

    benchmark: str
    request: JudgeRequest
    parser: VerdictParser


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """Whether a judge can grade a benchmark."""

    can: bool
    """As it is configured."""
    detail: str
    settings: tuple[str, ...] = ()
    """With which it can, if it cannot as it is; they depart from the protocol."""


async def try_request(judge: OpenAIClient, trial: Trial, ask: Ask) -> TrialOutcome:
    """Ask as a benchmark will, and find the settings with which a server accepts it."""
    settings: list[str] = []
    reasons: list[str] = []
    for _ in range(MOST_TRIES):
        body = judge.body(trial.request)
        text, reason = await ask({**body, "model": judge.deployment or judge.model})
        if text is not None:
            return _outcome(trial, body, text, settings, reasons)
        reasons.append(reason)
        change = _change(reason, judge, body)
        if change is None or change[0] in settings:
            break
        settings.append(change[0])
        judge = judge.model_copy(update=dict(change[1]))
    return TrialOutcome(False, f"cannot: {reasons[0]}")


def _outcome(
    trial: Trial, body: Mapping[str, Any], text: str, settings: list[str], reasons: list[str]
) -> TrialOutcome:
    reply = chat_format.reply_of(text)
    parsed = trial.parser.parse([reply])
    if parsed is None:
        return TrialOutcome(False, "cannot: it gives {}; {}".format(*describe(body, reply)))
    if not parsed.spelled:
        reasons.append("it gives {}".format(*describe(body, reply, parsed)))
        settings.append(SPELLING)
    if not settings:
        return TrialOutcome(True, "can")
    options = " ".join(f"--set {setting}" for setting in settings)
    return TrialOutcome(
        False,
        f"cannot as it is ({'; '.join(reasons)}); can with {options} (departs from the protocol)",
        tuple(settings),
    )


def _change(reason: str, judge: OpenAIClient, body: Mapping[str, Any]) -> Change | None:
    """Return the setting that a server's refusal asks for; None if it names none that helps."""
    limit, message = judge.token_limit, reason.lower()
    if limit == "max_tokens" and "max_completion_tokens" in message:
        return _other_limit("max_completion_tokens")
    minimum = MINIMUM.search(reason)
    if limit in message and minimum and int(minimum[1]) > int(body.get(limit) or 0):
        return _parameter(judge, "max_tokens", int(minimum[1]))
    if "temperature" in message and body.get("temperature") not in (None, 1):
        return _parameter(judge, "temperature", 1)
    if "top_p" in message and "top_p" in body:
        return _parameter(judge, "top_p", None)
    if limit in message:
        return _other_limit("max_tokens" if limit != "max_tokens" else "max_completion_tokens")
    return None


def _other_limit(name: str) -> Change:
    return f"judge.token_limit={name}", {"token_limit": name}


def _parameter(judge: OpenAIClient, name: str, value: int | None) -> Change:
    text = "null" if value is None else str(value)
    parameters = {**judge.parameters, name: value}
    return f"judge.parameters.{name}={text}", {"parameters": parameters}
