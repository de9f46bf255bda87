"""Which of a prompt's K responses are compared, and which two are trained on.

A pairing is a generator: it yields the matches of a round and is sent P(i preferred to j) for all
matches so far. Run against an oracle it decides what to ask; run again on the stored matrix it
returns the same pairs, so the pairs are a pure function of the stored comparisons.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from pydantic import Field

from harness.core.config import Component
from harness.protocols import Match, Matrix, Pairing
from harness.types import Comparison, Completion, Prompt

Rounds = Generator[Sequence[Match], Matrix, list[Match]]


class Tournament(Component):
    """The paper's tournament: the best of K against the worst, 11 comparisons at K = 8.

    Neighbours meet; then winners meet winners and losers meet losers until one of each is left.
    A tie counts for the first of the two. The pair is kept only if the best strictly beats the
    worst. With an odd number of players the last one has a bye.
    """

    margin: float = Field(0.0, ge=0, lt=0.5)
    """P(best preferred to worst) must exceed ½ by more than this; the paper has 0."""

    def rounds(self, k: int) -> Rounds:
        """Yield the matches of each round; return [(best, worst)] or nothing."""
        players = list(range(k))
        if k < 2:
            return []
        first = _neighbor_matches(players)
        matrix = yield first
        bye = players[len(first) * 2 :]
        best = [_winner(match, matrix) for match in first] + bye
        worst = [_loser(match, matrix) for match in first] + bye
        while len(best) > 1:
            upper, lower = _neighbor_matches(best), _neighbor_matches(worst)
            matrix = yield [*upper, *lower]
            best = [_winner(m, matrix) for m in upper] + best[len(upper) * 2 :]
            worst = [_loser(m, matrix) for m in lower] + worst[len(lower) * 2 :]
        final = (best[0], worst[0])
        if final[0] == final[1]:
            return []
        if k > 2:
            matrix = yield [final]
        return _decisive([final], matrix, self.margin)


class BestWorst(Component):
    """The response with the highest win rate against the one with the lowest.

    All are compared with each other. With a scalar reward they have the largest and the smallest
    reward, since the mean of σ(r_i − r_j) over j grows with r_i. Ties go to the first.
    """

    margin: float = Field(0.0, ge=0, lt=0.5)
    """P(best preferred to worst) must exceed ½ by more than this."""

    def rounds(self, k: int) -> Rounds:
        """Yield all matches; return [(best, worst)] or nothing."""
        if k < 2:
            return []
        matrix = yield _all_matches(k)
        rates = [win_rate(i, k, matrix) for i in range(k)]
        return _decisive([(rates.index(max(rates)), rates.index(min(rates)))], matrix, self.margin)


class MaxRandom(Component):
    """The response with the highest win rate against a random other one.

    Samples of one policy are exchangeable, so the one sampled after the best is a random one.
    """

    margin: float = Field(0.0, ge=0, lt=0.5)
    """P(best preferred to the other) must exceed ½ by more than this."""

    def rounds(self, k: int) -> Rounds:
        """Yield all matches; return [(best, other)] or nothing."""
        if k < 2:
            return []
        matrix = yield _all_matches(k)
        rates = [win_rate(i, k, matrix) for i in range(k)]
        best = rates.index(max(rates))
        return _decisive([(best, (best + 1) % k)], matrix, self.margin)


class AllPairs(Component):
    """Every two responses of which one is preferred, the preferred one first."""

    margin: float = Field(0.0, ge=0, lt=0.5)
    """P(preferred) must exceed ½ by more than this."""

    def rounds(self, k: int) -> Rounds:
        """Yield all matches; return the decided ones."""
        if k < 2:
            return []
        matrix = yield _all_matches(k)
        ordered = [(_winner(match, matrix), _loser(match, matrix)) for match in _all_matches(k)]
        return _decisive(ordered, matrix, self.margin)


class AcrossSamplers(Component):
    """Pairs of responses that two policies have sampled: one of each, the preferred one first.

    The i-th response of the first policy is compared with the i-th of each other policy.
    """

    margin: float = Field(0.0, ge=0, lt=0.5)
    """P(preferred) must exceed ½ by more than this."""

    def rounds(self, k: int) -> Rounds:
        """Yield the matches between the first half and the second; return the decided ones."""
        return self.rounds_between(["first"] * (k // 2) + ["second"] * (k - k // 2))

    def rounds_between(self, samplers: Sequence[str]) -> Rounds:
        """Yield the matches between responses of different samplers; return the decided ones."""
        groups: dict[str, list[int]] = {}
        for position, name in enumerate(samplers):
            groups.setdefault(name, []).append(position)
        first, *others = groups.values() if groups else [[]]
        matches = [match for other in others for match in zip(first, other, strict=False)]
        if not matches:
            return []
        matrix = yield matches
        ordered = [(_winner(match, matrix), _loser(match, matrix)) for match in matches]
        return _decisive(ordered, matrix, self.margin)


@runtime_checkable
class PairsSamplers(Protocol):
    """A pairing that looks at who has sampled the responses."""

    def rounds_between(self, samplers: Sequence[str]) -> Rounds:
        """Yield the rounds as `rounds` does, given the sampler of each response by name."""


def start_rounds(
    pairing: Pairing, players: Sequence[Completion], sampler: Callable[[int], str]
) -> Rounds:
    """Return the rounds of a pairing between some responses.

    Args:
        pairing: the rule.
        players: the responses that may be compared.
        sampler: returns the name of the policy that has sampled a response, by its index.
    """
    if isinstance(pairing, PairsSamplers):
        return pairing.rounds_between([sampler(player.index) for player in players])
    return pairing.rounds(len(players))


def _all_matches(k: int) -> list[Match]:
    return list(itertools.combinations(range(k), 2))


def _decisive(matches: Sequence[Match], matrix: Matrix, margin: float) -> list[Match]:
    return [m for m in matches if m[0] != m[1] and probability(m, matrix) > 0.5 + margin]


def _neighbor_matches(players: Sequence[int]) -> list[Match]:
    return list(zip(players[::2], players[1::2], strict=False))


def _winner(match: Match, matrix: Matrix) -> int:
    return match[0] if probability(match, matrix) >= 0.5 else match[1]


def _loser(match: Match, matrix: Matrix) -> int:
    return match[1] if probability(match, matrix) >= 0.5 else match[0]


def probability(match: Match, matrix: Matrix) -> float:
    """Return P(first preferred) of a match that was played in this order or the other."""
    return matrix[match] if match in matrix else 1 - matrix[match[1], match[0]]


def win_rate(i: int, k: int, matrix: Matrix) -> float:
    """Return the mean of P(i preferred) over all k responses, with ½ against itself.

    It estimates P(y_i ≻ π) if the responses are samples of π.
    """
    others = sum(probability((i, j), matrix) for j in range(k) if j != i)
    return (others + 0.5) / k


def is_complete(k: int, matrix: Matrix) -> bool:
    """Say whether all k responses were compared with each other."""
    return all((i, j) in matrix or (j, i) in matrix for i, j in _all_matches(k))


def compares_all(pairing: Pairing, k: int) -> bool:
    """Say whether a pairing compares all of k responses with each other."""
    return is_complete(k, dict.fromkeys(next(pairing.rounds(k)), 0.5))


def comparison_count(pairing: Pairing, k: int) -> int:
    """Return how many comparisons a pairing asks for if the first response always wins."""
    rounds = pairing.rounds(k)
    matrix: dict[Match, float] = {}
    try:
        matches = next(rounds)
        while True:
            matrix |= {(i, j): float(i < j) for i, j in matches}
            matches = rounds.send(matrix)
    except StopIteration:
        return len(matrix)


def index_by_position(players: Sequence[Completion], matrix: Matrix) -> dict[Match, float]:
    """Return a matrix keyed by positions in `players` from one keyed by completion indices."""
    positions = {completion.index: position for position, completion in enumerate(players)}
    return {(positions[i], positions[j]): p for (i, j), p in matrix.items()}


class ComparisonRounds:
    """The comparisons of many prompts, played round by round, so that the oracle gets batches."""

    def __init__(
        self,
        pairing: Pairing,
        prompts: Mapping[str, Prompt],
        players: Mapping[str, Sequence[Completion]],
        sampler: Callable[[int], str] = lambda _: "policy",
    ) -> None:
        self.players, self.prompts = players, prompts
        self.pending: dict[str, list[Match]] = {}
        self._matrices: dict[str, dict[Match, float]] = {key: {} for key in players}
        self._rounds = {key: start_rounds(pairing, c, sampler) for key, c in players.items()}
        for key in players:
            self._step(key, is_first=True)

    def next_comparisons(self) -> list[Comparison]:
        """Return the next comparisons, in order; identical responses are not compared."""
        return [self._comparison(key, match) for key, match in self._matches_to_compare()]

    def record_answers(self, probabilities: Sequence[float]) -> None:
        """Record the oracle's P(first preferred), and advance every prompt to its next round."""
        for (key, match), probability in zip(
            self._matches_to_compare(), probabilities, strict=True
        ):
            self._matrices[key][match] = probability
        for key, matches in list(self.pending.items()):
            for match in matches:
                self._matrices[key].setdefault(match, 0.5)
            self._step(key)

    @property
    def matrices(self) -> dict[str, dict[Match, float]]:
        """The partial K × K matrices by prompt, keyed by the indices of the completions."""
        return {
            key: {(players[i].index, players[j].index): p for (i, j), p in matrix.items()}
            for key, matrix in self._matrices.items()
            for players in [self.players[key]]
        }

    def _matches_to_compare(self) -> list[tuple[str, Match]]:
        return [
            (key, match)
            for key, matches in self.pending.items()
            for match in matches
            if not self._is_identical(key, match)
        ]

    def _step(self, key: str, *, is_first: bool = False) -> None:
        rounds = self._rounds[key]
        try:
            self.pending[key] = list(next(rounds) if is_first else rounds.send(self._matrices[key]))
        except StopIteration:
            self.pending.pop(key, None)

    def _is_identical(self, key: str, match: Match) -> bool:
        first, second = (self.players[key][i] for i in match)
        return first.text == second.text

    def _comparison(self, key: str, match: Match) -> Comparison:
        first, second = (self.players[key][i].text for i in match)
        return Comparison(self.prompts[key], first, second)
