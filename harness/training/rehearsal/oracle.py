"""An oracle's part of a rehearsal: it is asked a few comparisons in both orders."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.protocols import Judge, RewardOracle
from harness.training.oracle_answers import checked_probabilities, checked_rewards
from harness.training.rehearsal.prompts import QUESTION, first_of_each_form, read_data
from harness.training.rollout import keep_weights
from harness.training.spec import TrainSpec
from harness.types import Advance, Comparison, Prompt

LOGGER = logging.getLogger(__name__)
RESPONSES = (("", "Yes."), ("I do not know.", "Here is one answer, with a reason."))
"""What a policy may say; the empty response too, which ends its turn at once."""
MAX_PROMPTS, JUDGED_PROMPTS = 8, 2
"""Prompts that an oracle is asked about, and a judge, each of whose replies may cost something."""


def rehearse_oracle(
    spec: TrainSpec, out: Path, inputs: Mapping[str, str], advance: Advance
) -> dict[str, Any]:
    """Have the oracle compare responses to a prompt of each form, in both orders.

    Returns:
        `questions`, the number of comparisons; `answers`, P(first preferred) of those as they are;
        `swapped`, P(first preferred) of the same in the other order.

    Raises:
        CheckError: an answer is no probability, or they are too few.
        PolicyError: its model cannot be used, or its chat template refuses a prompt.
        JudgeError: its judge cannot be asked.
    """
    asked = _comparisons(spec, read_data(inputs).prompts or [QUESTION])
    replies: list[int] = []
    with keep_weights(spec.oracle):
        answers = checked_probabilities(spec.oracle, asked, replies.append)
        swapped = checked_probabilities(
            spec.oracle, [comparison.swap() for comparison in asked], lambda count: None
        )
        if isinstance(spec.oracle, RewardOracle):
            responses = [(c.prompt, text) for c in asked for text in (c.first, c.second)]
            checked_rewards(spec.oracle, responses, advance)
    _report(spec, answers, swapped, sum(replies))
    return {"questions": 2 * len(asked), "answers": answers, "swapped": swapped}


def _comparisons(spec: TrainSpec, prompts: Sequence[Prompt]) -> list[Comparison]:
    limit = JUDGED_PROMPTS if _judge(spec) else MAX_PROMPTS
    chosen = first_of_each_form(prompts)[:limit]
    chosen += [p for p in prompts[:limit] if p not in chosen][: max(0, 2 - len(chosen))]
    chosen *= -(-2 // len(chosen))  # of a single prompt both pairs of responses are compared
    return [Comparison(p, *RESPONSES[i % len(RESPONSES)]) for i, p in enumerate(chosen)]


def _judge(spec: TrainSpec) -> Judge | None:
    judge = getattr(spec.oracle, "judge", None)
    return judge if isinstance(judge, Judge) else None


def _report(
    spec: TrainSpec, answers: Sequence[float], swapped: Sequence[float], replies: int
) -> None:
    name = type(spec.oracle).__name__
    if judge := _judge(spec):
        LOGGER.info(
            "the rehearsal asked the judge %s for %d verdicts, which are kept in its store",
            judge.model,
            replies,
        )
    for side, word in ((1, "first"), (-1, "second")):
        if all(side * (p - 0.5) > 0 for p in (*answers, *swapped)):
            LOGGER.warning(
                "the oracle %s prefers the %s response of every comparison, and also when their "
                "order is changed: does it read which is which?",
                name,
                word,
            )
