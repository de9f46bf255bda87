"""What an oracle answers, checked before it decides a pair: one finite number for each question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.errors import CheckError
from harness.protocols import Advance, PreferenceOracle, RewardOracle
from harness.types import Comparison, Prompt

ROUNDING = 1e-6
"""How far beyond [0, 1] a probability may lie by rounding in float32; it is moved to the end."""


def checked_probabilities(
    oracle: PreferenceOracle, comparisons: Sequence[Comparison], advance: Advance
) -> list[float]:
    """Return the oracle's P(first preferred to second), in [0, 1], for each comparison.

    Raises:
        CheckError: it answers too few or too many, or something else than a probability.
    """
    answers = _numbers(
        oracle, oracle.compare(comparisons, advance), [c.prompt for c in comparisons]
    )
    for answer, comparison in zip(answers, comparisons, strict=True):
        if not -ROUNDING <= answer <= 1 + ROUNDING:
            raise _wrong(oracle, answer, comparison.prompt, "a probability is within 0 and 1")
    return [min(1.0, max(0.0, answer)) for answer in answers]


def checked_rewards(
    oracle: RewardOracle, responses: Sequence[tuple[Prompt, str]], advance: Advance
) -> list[float]:
    """Return the oracle's reward of each response to its prompt.

    Raises:
        CheckError: it answers too few or too many, or something else than a finite number.
    """
    return _numbers(oracle, oracle.score(responses, advance), [prompt for prompt, _ in responses])


def _numbers(oracle: Any, answers: Any, prompts: Sequence[Prompt]) -> list[float]:
    name = type(oracle).__name__
    if not hasattr(answers, "__len__") or len(answers) != len(prompts):
        count = len(answers) if hasattr(answers, "__len__") else "no list of"
        raise CheckError(
            f"the oracle {name} gave {count} answers to {len(prompts)} questions: it must answer "
            "each, in order"
        )
    return [
        _number(oracle, answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)
    ]


def _number(oracle: Any, answer: Any, prompt: Prompt) -> float:
    try:
        number = float(answer)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if isinstance(answer, str | bytes) or not math.isfinite(number):
        raise _wrong(oracle, answer, prompt, "a finite number is needed")
    return number


def _wrong(oracle: Any, answer: Any, prompt: Prompt, reason: str) -> CheckError:
    return CheckError(
        f"the oracle {type(oracle).__name__} said {answer!r:.60} of prompt {prompt.id!r}: "
        f"{reason}; mend the oracle, and run again"
    )
