"""Audit the input before any money is spent: how prompts are rendered and what was answered.

A *stop* ends the evaluation before the judge is asked; a *warning* becomes a note of the result.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import PolicyError
from harness.types import Answer, Answers, Policy, Prompt

MAX_TRUNCATED_SHARE = 0.01
"""The share of answers that may end at the token limit without a warning."""
MAX_TRACES_SHARE = 0.01
"""The share of answers with traces of a faulty pipeline above which the judge is not asked."""
Level = Literal["stop", "warning"]


@dataclass(frozen=True, slots=True)
class Trace:
    """What a faulty pipeline leaves in answers."""

    pattern: re.Pattern[str]
    description: str
    remedy: str


TRACES = (
    Trace(
        re.compile(
            r"\A\s*(?:<(?:think(?:ing)?|thought|reasoning|seed:think)>|\[THINK\]|◁think▷"
            r"|<\|(?:channel|begin_of_thought|START_THINKING)\|>)"
            r"|</(?:think(?:ing)?|seed:think)>|\[/THINK\]|◁/think▷"
            r"|<\|(?:end_of_thought|END_THINKING)\|>|<\|channel\|>\s*final"
        ),
        "hold a model's thought (<think> or its end)",
        "the judge would grade it; keep what follows the thought",
    ),
    Trace(
        re.compile(
            r"(?:<\|[A-Za-z][A-Za-z_]{1,24}\|>|</s>|\[/INST\]|<end_of_turn>|<turn\|>|<eos>|<pad>"
            r"|<｜end▁of▁sentence｜>|\[e~\[)\s*\Z"
        ),
        "end in an end-of-turn token as text, e.g. <|eot_id|>",
        "the judge would see it; decode without special tokens",
    ),
    Trace(
        re.compile(r"\A\s*\$ERROR\$\s*\Z"),
        "are $ERROR$, which FastChat writes where a call failed",
        "answer these prompts again",
    ),
)


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """A flaw of the input that would mislead readers of the figure."""

    level: Level
    message: str


def rendering_facts(policy: Policy, prompts: Sequence[Prompt]) -> dict[str, Any] | None:
    """Return how a policy's tokenizer renders the prompts; None if the policy has no tokenizer.

    `leading_bos` is the largest number of beginning-of-text tokens that begin a prompt (ChatML has
    one a turn, which is no fault), `ends` are the tokens that end a turn, and `own_template` is
    true for the tokenizer's own chat template.
    """
    from harness.core.hub import end_token_ids, load_tokenizer, render_conversation

    if not Path(policy.path).is_dir() and "/" not in policy.path:
        return None
    try:
        tokenizer = load_tokenizer(policy)
    except PolicyError:
        return None
    renderings = [render_conversation(tokenizer, prompt.messages) for prompt in prompts]
    bos_id = tokenizer.bos_token_id
    template = str(tokenizer.chat_template)
    return {
        "chat_template_sha256": hashlib.sha256(template.encode()).hexdigest(),
        "own_template": policy.chat_template is None,
        "bos": bos_id,
        "leading_bos": max((_leading(r.token_ids, bos_id) for r in renderings), default=0),
        "longest_prompt": max((len(r.token_ids) for r in renderings), default=0),
        "ends": list(end_token_ids(tokenizer, policy)),
    }


def _leading(token_ids: Sequence[int], token: int | None) -> int:
    return next((i for i, t in enumerate(token_ids) if t != token), len(token_ids))


def check_rendering(facts: Mapping[str, Any] | None) -> list[AuditFinding]:
    """Return the faults in the rendering of the prompts."""
    if facts is None:
        return []
    findings = []
    if (count := facts.get("leading_bos", 0)) > 1:
        message = (
            f"a rendered prompt begins with {count} beginning-of-text tokens, which the policy "
            "never saw in training: fix the template with --set policy.chat_template=FILE"
        )
        findings.append(AuditFinding("stop", message))
    if not facts["ends"]:
        message = "the policy names no end-of-text token: every answer runs to the token limit"
        findings.append(AuditFinding("stop", message))
    if not facts["own_template"]:
        findings.append(AuditFinding("warning", "the chat template is not the tokenizer's own"))
    return findings


def check_answers(answers: Sequence[Answer]) -> list[AuditFinding]:
    """Return the faults in the answers."""
    empty = sum(not answer.text.strip() for answer in answers)
    findings = []
    if answers and empty == len(answers):
        findings.append(AuditFinding("stop", f"all {empty} answers are empty"))
    elif empty:
        findings.append(AuditFinding("warning", f"{empty} of {len(answers)} answers are empty"))
    share = truncated_share(answers)
    if share is not None and share > MAX_TRUNCATED_SHARE:
        message = f"{share:.1%} of the answers are cut off at the token limit"
        findings.append(AuditFinding("warning", message))
    return findings + [finding for trace in TRACES for finding in _check_trace(trace, answers)]


def _check_trace(trace: Trace, answers: Sequence[Answer]) -> list[AuditFinding]:
    """Return a finding if answers hold what a pipeline left behind: a stop if many do."""
    count = sum(bool(trace.pattern.search(answer.text)) for answer in answers)
    if not count:
        return []
    level: Level = "stop" if count > MAX_TRACES_SHARE * len(answers) else "warning"
    message = f"{count} of {len(answers)} answers {trace.description}: {trace.remedy}"
    return [AuditFinding(level, message)]


def check_quotes(answers: Answers) -> list[AuditFinding]:
    """Return a stop if a file of answers quotes other prompts than the benchmark's."""
    if not answers.altered:
        return []
    message = (
        f"{len(answers.altered)} of {len(answers.answers)} answers are to other prompts than the "
        f"benchmark's of the same ids, e.g. {answers.altered[0]} (translated?)"
    )
    return [AuditFinding("stop", message)]


def check_references(prompts: Sequence[Prompt], judge: str) -> list[AuditFinding]:
    """Return a finding for each judge, other than `judge`, that wrote the reference answers."""
    reference_judges = {
        prompt.meta["references"] for prompt in prompts if "references" in prompt.meta
    }
    return [
        AuditFinding(
            "stop",
            f"{judge} would judge against the reference answers of {name}: give its own with "
            "--set references=FILE",
        )
        for name in sorted(reference_judges - {judge})
    ]


def truncated_share(answers: Sequence[Answer]) -> float | None:
    """Return the share of answers that ended at the token limit; None if unknown."""
    reasons = finish_reasons(answers)
    known = sum(count for reason, count in reasons.items() if reason != "unknown")
    return reasons.get("length", 0) / known if known else None


def finish_reasons(answers: Sequence[Answer]) -> dict[str, int]:
    """Count how the answers ended: `stop`, `length`, or `unknown` (not recorded)."""
    return dict(sorted(Counter(a.finish_reason or "unknown" for a in answers).items()))
