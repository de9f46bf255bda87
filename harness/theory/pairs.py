"""The distribution of an iteration's training pairs (chosen i, rejected j), labels included.

The paper's proposition 6 assumes two independent responses and a label drawn with P(i ≻ j).
Practice takes the best and the worst of K responses, and the more probable response wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from harness.core.config import Component
from harness.core.iterations import replay
from harness.protocols import Match, Pairing
from harness.statistics.resampling import Floats

Labels = Literal["bernoulli", "argmax"]


def _check_power_of_two(samples: int) -> int:
    if samples < 2 or samples & (samples - 1):
        raise ValueError("a bracket needs 2, 4, 8, ... responses")
    return samples


PowerOfTwo = Annotated[int, AfterValidator(_check_power_of_two)]


class IndependentPairs(Component):
    """Two independent responses of π_t: proposition 6's distribution, or with argmax labels."""

    labels: Labels = "bernoulli"
    prompts: int | None = Field(default=None, gt=0)
    """Number of sampled pairs; None: the exact distribution."""

    def weights(self, preference: Floats, policy: Floats, rng: np.random.Generator) -> Floats:
        """Return 2 π_t(i) π_t(j) P(i ≻ j), with P rounded where labels are argmax."""
        pair_probability = policy[:, :, None] * policy[:, None, :]
        # (i, j) and (j, i) are the same comparison; exactly one of the two is chosen
        law = 2 * pair_probability * label_probability(preference, self.labels)
        law /= law.sum((1, 2), keepdims=True)
        return law if self.prompts is None else sample_pairs(law, self.prompts, rng)


class BestAndWorst(Component):
    """The exact distribution of the tournament's pair: best against worst of K, a power of 2.

    Equal to what `harness.training.pairing:Tournament` does to K independent responses, dropped
    prompts aside; blocks of the bracket are independent, so that they are merged two at a time.
    """

    samples: PowerOfTwo = 8
    """K."""
    labels: Labels = "argmax"

    def weights(self, preference: Floats, policy: Floats, rng: np.random.Generator) -> Floats:
        """Return the distribution of (best, worst), relabelled with P for Bernoulli labels."""
        wins = preference >= 0.5  # a tie counts as a win of the first
        block = policy[:, :, None] * np.eye(policy.shape[1])
        for _ in range(int(np.log2(self.samples))):
            block = _merge_blocks(block, wins)
        law = block * (preference > 0.5)
        law /= law.sum((1, 2), keepdims=True)
        return law if self.labels == "argmax" else relabel(law, preference)


class SampledPairing(Component):
    """The pairs that a pairing of `harness train` chooses from K sampled responses per prompt."""

    pairing: Pairing
    samples: int = Field(default=8, gt=1)
    """K."""
    prompts: int = Field(default=1000, gt=0)
    labels: Labels = "argmax"

    def weights(self, preference: Floats, policy: Floats, rng: np.random.Generator) -> Floats:
        """Return the share of each pair among all pairs kept."""
        shares = np.zeros_like(preference)
        for row, (matrix, probabilities) in enumerate(zip(preference, policy, strict=True)):
            size = (self.prompts, self.samples)
            draws = rng.choice(len(probabilities), size=size, p=probabilities)
            for responses in draws.tolist():
                preferences = ResponsePreferences(matrix, responses)
                for chosen, rejected in replay(self.pairing.rounds(self.samples), preferences):
                    shares[row, responses[chosen], responses[rejected]] += 1
        shares /= np.maximum(shares.sum((1, 2), keepdims=True), 1)
        return shares if self.labels == "argmax" else relabel(shares, preference)


class ResponsePreferences(Mapping[Match, float]):
    """P(i preferred to j) of a prompt's responses, looked up lazily in the game's matrix."""

    def __init__(self, matrix: Floats, responses: Sequence[int]) -> None:
        self._matrix, self._responses = matrix, responses

    def __getitem__(self, match: Match) -> float:
        first, second = match
        return float(self._matrix[self._responses[first], self._responses[second]])

    def __iter__(self) -> Iterator[Match]:
        positions = range(len(self._responses))
        return ((i, j) for i in positions for j in positions if i != j)

    def __len__(self) -> int:
        return len(self._responses) * (len(self._responses) - 1)

    def __contains__(self, match: object) -> bool:
        return True


def label_probability(preference: Floats, labels: Labels) -> Floats:
    """Return the probability that the first is labelled chosen: P, or P rounded with ties at ½."""
    return preference if labels == "bernoulli" else (np.sign(preference - 0.5) + 1) / 2


def relabel(weights: Floats, preference: Floats) -> Floats:
    """Return the same pairs with labels drawn with P: soft labels in expectation."""
    pair_probability = weights + np.swapaxes(weights, -1, -2)
    return pair_probability * preference


def sample_pairs(law: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return the shares in a sample of `count` pairs from the distribution `law`."""
    counts = rng.multinomial(count, law.reshape(len(law), -1) / law.sum((1, 2))[:, None])
    shares: Floats = counts.reshape(law.shape) / count
    return shares


def _merge_blocks(block: Floats, wins: np.ndarray) -> Floats:
    """Return the distribution of (best, worst) of two blocks from that of one, (rows, n, n)."""
    eye = np.eye(block.shape[-1])
    first = np.broadcast_to(eye[:, None, :], (*wins.shape[-2:], len(eye)))
    second = np.broadcast_to(eye[None, :, :], first.shape)
    winner = np.where(wins[..., None], first, second)
    loser = np.where(wins[..., None], second, first)
    upper = np.einsum("gac,gabe->gcbe", block, winner)
    both_sides = np.einsum("gcbe,gbd->gcde", upper, block)
    merged: Floats = np.einsum("gcde,gcdf->gef", both_sides, loser)
    return merged
