"""The toy judge: the prompts of its two protocols, and its replies.

The protocols follow AlpacaEval (a weighted choice between two identifiers) and Arena-Hard (a
verdict label). The judge reads only the messages, and knows the exact preference.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.toy.world import ToyPreference
from harness.types import Message, Reply

MODEL = "toy-judge"
WEIGHTED = "Answer with the identifier of the better answer: m or M."
LABELS = "End with a verdict: [[A>>B]], [[A>B]], [[A=B]], [[B>A]] or [[B>>A]]."
SLOTS = {WEIGHTED: ("m", "M"), LABELS: ("A", "B")}
STRONG, WEAK = 0.9, 0.6
"""P(first preferred) above which a verdict is strong, or is not a tie."""


def question(task: str, instruction: str, first: str, second: str) -> tuple[Message, ...]:
    """Return the messages of a judge request under a protocol (`WEIGHTED` or `LABELS`)."""
    first_slot, second_slot = SLOTS[task]
    text = (
        f"[Instruction]\n{instruction}\n[Answer {first_slot}]\n{first}\n"
        f"[Answer {second_slot}]\n{second}\n[End]"
    )
    return Message("system", task), Message("user", text)


def grade(messages: Sequence[Message], request: Mapping[str, Any]) -> Reply:
    """Return the toy judge's reply: exact log-probabilities, or the label for P.

    Raises:
        ValueError: the messages are not a request of this world.
    """
    task, preference = messages[0].content, ToyPreference()
    first_slot, second_slot = SLOTS.get(task, ("", ""))
    pattern = (
        rf"\[Instruction\]\n(.*)\n\[Answer {first_slot}\]\n(.*)\n"
        rf"\[Answer {second_slot}\]\n(.*)\n\[End\]"
    )
    match = re.fullmatch(pattern, messages[-1].content, re.DOTALL)
    if task not in SLOTS or not match:
        raise ValueError("this is not a judge request of the toy world")
    p = preference(*match.groups())
    if task == LABELS:
        return reply(f"The first answer wins with P = {p:.3f}. My verdict is [[{label(p)}]].", None)
    preferred = first_slot if p >= 0.5 else second_slot
    return reply(preferred, (((first_slot, math.log(p)), (second_slot, math.log1p(-p))),))


def label(p: float) -> str:
    """Return the verdict label of P(first preferred)."""
    if p < 0.5:
        return {"A>>B": "B>>A", "A>B": "B>A", "A=B": "A=B"}[label(1 - p)]
    return "A>>B" if p >= STRONG else "A>B" if p >= WEAK else "A=B"


def reply(content: str, top: tuple[tuple[tuple[str, float], ...], ...] | None) -> Reply:
    """Return a reply of the toy judge."""
    return Reply(content, top, "stop", MODEL, prompt_tokens=0, completion_tokens=1)
