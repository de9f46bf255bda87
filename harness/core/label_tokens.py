"""Probabilities of labels from the most likely tokens in one place of a judge's reply.

Tokens that spell a label alike are summed: servers decode different tokens to one text, and write
a word's beginning as a blank, `▁` or `Ġ`. Spellings with a blank that hold less than a thousandth
of what the plain ones do are left out, as the published code does not read them: with GPT-4 as the
judge the figures are then the published ones to the last verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WORD_BEGINNINGS = "▁Ġ"
"""How vocabularies write the blank before a word."""
NEGLIGIBLE = 1e-3
"""Of the plain spellings' probability: less in spellings with a blank is left out."""
ROUNDING = 1e-4
"""How far a log-probability may lie above 0 by rounding."""


@dataclass(frozen=True, slots=True)
class LabelProbabilities:
    """What the tokens in one place say of some labels."""

    logprobs: dict[str, float]
    """By label, in nats; minus infinity if no token spells it."""
    spelled: bool
    """Whether a label is among the tokens without a blank before it."""

    @property
    def mass(self) -> float:
        """The probability of all labels together, at most 1."""
        return min(1.0, sum(map(math.exp, self.logprobs.values())))

    def share(self, label: str) -> float:
        """Return the probability of a label, given that it is one of them."""
        highest = max(self.logprobs.values())
        weights = {name: math.exp(value - highest) for name, value in self.logprobs.items()}
        return weights[label] / sum(weights.values())


def read_labels(
    top: Sequence[tuple[str, float]], labels: Sequence[str]
) -> LabelProbabilities | None:
    """Return the labels' probabilities; None if they cannot be read.

    That is so if no token is a label, if a label's probability is 0 or unknown (NaN), or if any
    log-probability lies above 0: then they are none.

    Args:
        top: tokens with their log-probabilities, in nats.
        labels: the labels, in the protocol's spelling.
    """
    if any(value > ROUNDING for _, value in top):
        return None
    plain: dict[str, list[float]] = {label: [] for label in labels}
    blank: dict[str, list[float]] = {label: [] for label in labels}
    for token, value in dict.fromkeys(top):  # a server may list the sampled token twice
        if (label := _label(token)) in plain:
            (plain if token == label else blank)[label].append(value)
    logprobs = {label: _combined(plain[label], blank[label]) for label in labels}
    if any(map(math.isnan, logprobs.values())) or max(logprobs.values()) == -math.inf:
        return None
    return LabelProbabilities(logprobs, any(_is_spelled(token, labels) for token, _ in top))


def _label(token: str) -> str:
    return token.strip().lstrip(WORD_BEGINNINGS).strip()


def _is_spelled(token: str, labels: Sequence[str]) -> bool:
    return token.lstrip(WORD_BEGINNINGS) in labels


def _combined(plain: Sequence[float], blank: Sequence[float]) -> float:
    """Return the logarithm of a label's probability in both spellings."""
    total = _log_sum([*plain, *blank])
    negligible = _log_sum(plain) + math.log(NEGLIGIBLE)
    return _log_sum(plain) if plain and _log_sum(blank) < negligible else total


def _log_sum(values: Sequence[float]) -> float:
    """Return the logarithm of a sum of probabilities, exact for a single one."""
    highest = max(values, default=-math.inf)
    if len(values) < 2 or highest == -math.inf or any(map(math.isnan, values)):
        return math.nan if any(map(math.isnan, values)) else highest
    return highest + math.log(sum(math.exp(value - highest) for value in values))
