"""A screen for answers that play the judge instead of answering (arXiv 2410.07137).

None of the signs changes a figure; a result that shows one is flagged and says which.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
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
"""What stands in the judges' prompts and verdicts, and hardly ever in an honest answer."""
MIN_DUPLICATE_LENGTH = 60
"""Characters under which answers may well be equal without a fault."""
MAX_IDENTICAL, MAX_JUDGE_TEXT, MAX_JUMP, MAX_UNPARSED = 0.05, 0.02, 15.0, 0.05
"""From which share of answers (jump: points) on a sign is flagged; the honest stay far below."""


def screen(graded: Graded, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return the signs (shares of answers or verdicts; points) and which of them are flagged."""
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
    """Return what a reader of the figures must know of the screen."""
    if not signs["flagged"]:
        return ()
    summary = ", ".join(f"{name.replace('_', ' ')} {signs[name]:.3g}" for name in signs["flagged"])
    return (f"flagged as possible gaming of the judge: {summary}",)


def identical_share(texts: Sequence[str]) -> float | None:
    """Return the share of answers that another prompt's answer equals; short ones do not count."""
    counts = Counter(text.strip() for text in texts if len(text.strip()) >= MIN_DUPLICATE_LENGTH)
    return sum(count for count in counts.values() if count > 1) / len(texts) if texts else None


def length_control_jump(estimates: Mapping[str, Estimate]) -> float | None:
    """Return by how many points length control raises the win rate."""
    if WIN_RATE not in estimates or LENGTH_CONTROLLED not in estimates:
        return None
    return estimates[LENGTH_CONTROLLED].value - estimates[WIN_RATE].value


def share(flags: Any) -> float | None:
    """Return the share of true values; None where there are none at all."""
    values = list(flags)
    return sum(values) / len(values) if values else None
