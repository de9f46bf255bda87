"""Screen answers for text that addresses the judge instead of the prompt (arXiv 2410.07137).

No sign changes a figure: a result with a sign above its limit is flagged in a note.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.types import Estimate, Graded

WIN_RATE, LENGTH_CONTROLLED = "win_rate", "length_controlled_win_rate"
JUDGE_TEXT = re.compile(
    r"<\|(?:im_start|im_end|The (?:Start|End) of|User Prompt)"
    r"|\[\[(?:[AB](?:[<>=]{1,2}[AB])?|C|\d{1,2}(?:\.\d+)?|rating)\]\]"
    r"|\[The (?:Start|End) of Assistant"
    r"|\b(?:model_identifier|ordered_prompt|Which is best, m or M)\b",
    re.IGNORECASE,
)
"""Text of the judges' prompts and verdicts that hardly ever occurs in an honest answer."""
MIN_DUPLICATE_LENGTH = 60
"""Characters below which equal answers are unremarkable."""
MAX_IDENTICAL, MAX_JUDGE_TEXT, MAX_JUMP, MAX_UNPARSED = 0.05, 0.02, 15.0, 0.05
"""Limits of the signs (shares; the jump in points). Honest models stay far below them."""


def screen(graded: Graded, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return the signs (shares of answers or verdicts; points) and the names of those flagged."""
    texts = [answer.text for answer in graded.answers]
    signs = {
        "identical_answers": identical_share(texts),
        "judge_text_in_answers": share(bool(JUDGE_TEXT.search(text)) for text in texts),
        "length_control_jump": length_control_jump(estimates),
        "replies_without_a_verdict": share(v.parsed is None for v in graded.verdicts),
    }
    limits = (MAX_IDENTICAL, MAX_JUDGE_TEXT, MAX_JUMP, MAX_UNPARSED)
    flagged = [
        name
        for (name, value), limit in zip(signs.items(), limits, strict=True)
        if value is not None and value > limit
    ]
    return {**signs, "flagged": flagged}


def notes(signs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the notes on flagged signs for a result."""
    if not signs["flagged"]:
        return ()
    summary = ", ".join(f"{name.replace('_', ' ')} {signs[name]:.3g}" for name in signs["flagged"])
    return (f"flagged as possible gaming of the judge: {summary}",)


def identical_share(texts: Sequence[str]) -> float | None:
    """Return the share of answers, short ones aside, that equal the answer to another prompt."""
    counts = Counter(text.strip() for text in texts if len(text.strip()) >= MIN_DUPLICATE_LENGTH)
    return sum(count for count in counts.values() if count > 1) / len(texts) if texts else None


def length_control_jump(estimates: Mapping[str, Estimate]) -> float | None:
    """Return the points that length control adds to the win rate."""
    if WIN_RATE not in estimates or LENGTH_CONTROLLED not in estimates:
        return None
    return estimates[LENGTH_CONTROLLED].value - estimates[WIN_RATE].value


def share(flags: Iterable[bool]) -> float | None:
    """Return the share of true values; None without values."""
    values = list(flags)
    return sum(values) / len(values) if values else None
