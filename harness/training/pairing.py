"""Which of a prompt's K responses meet, and which two are trained on.

A pairing is a generator: it yields the matches of a round and is sent P(i preferred to j) for all
matches so far. Run against an oracle it decides what to ask; run again against the stored matrix it
gives the same pairs, so a pair is a pure function of the comparisons that were kept.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from harness.config import Component
from harness.protocols import Match, Matrix, Pairing
from harness.types import Comparison, Completion, Prompt

Rounds = Generator[Sequence[Match], Matrix, list[Match]]


class Tournament(Component):
    """The paper's tournament: the best of K against the worst, 11 comparisons at K = 8.

    Neighbours meet; then winners meet winners and losers meet losers until one of each is left.
    A tie counts for the first of the two. The pair is kept only if the best strictly beats the
    worst. With an odd number of players the last one has a bye.
    """

    def rounds(self, k: int) -> Rounds:
        """Yield the matches of each round; return [(best, worst)] or nothing."""
        players = list(range(k))
        if k < 2:
            return []
        first = _neighbours(players)
        matrix = yield first
        bye = players[len(first) * 2 :]
        best = [_winner(match, matrix) for match in first] + bye
        worst = [_loser(match, matrix) for match in first] + bye
        while len(best) > 1:
            upper, lower = _neighbours(best), _neighbours(worst)
            matrix = yield [*upper, *lower]
            best = [_winner(m, matrix) for m in upper] + best[len(upper) * 2 :]
            worst = [_loser(m, matrix) for m in lower] + worst[len(lower) * 2 :]
        final = (best[0], worst[0])
        if final[0] == final[1]:
            return []
        if k > 2:
            matrix = yield [final]
        return [final] if _probability(final, matrix) > 0.5 else []


def _neighbours(players: Sequence[int]) -> list[Match]:
    return list(zip(players[::2], players[1::2], strict=False))


def _winner(match: Match, matrix: Matrix) -> int:
    return match[0] if _probability(match, matrix) >= 0.5 else match[1]


def _loser(match: Match, matrix: Matrix) -> int:
    return match[1] if _probability(match, matrix) >= 0.5 else match[0]


def _probability(match: Match, matrix: Matrix) -> float:
    return matrix[match] if match in matrix else 1 - matrix[match[1], match[0]]


def replay(pairing: Pairing, k: int, matrix: Matrix) -> list[Match]:
    """Return the pairs that a pairing makes of comparisons that were kept."""
    rounds = pairing.rounds(k)
    try:
        next(rounds)
        while True:
            rounds.send(matrix)
    except StopIteration as end:
        return list(end.value)


class Table:
    """The comparisons of many prompts, played round by round so that an oracle sees batches."""

    def __init__(
        self,
        pairing: Pairing,
        prompts: Mapping[str, Prompt],
        completions: Mapping[str, Sequence[Completion]],
    ) -> None:
        self.completions, self.prompts = completions, prompts
        self.matrices: dict[str, dict[Match, float]] = {key: {} for key in completions}
        self._rounds = {key: pairing.rounds(len(c)) for key, c in completions.items()}
        self.open: dict[str, list[Match]] = {}
        for key in completions:
            self._step(key, begin=True)

    def questions(self) -> list[Comparison]:
        """Return what the oracle is asked next, in order; identical responses are not asked."""
        return [self._comparison(key, match) for key, match in self._asked()]

    def answer(self, probabilities: Sequence[float]) -> None:
        """Enter the oracle's answers, P(first preferred), and let every prompt go on."""
        for (key, match), probability in zip(self._asked(), probabilities, strict=True):
            self.matrices[key][match] = probability
        for key, matches in list(self.open.items()):
            for match in matches:
                self.matrices[key].setdefault(match, 0.5)
            self._step(key)

    def _asked(self) -> list[tuple[str, Match]]:
        return [
            (key, match)
            for key, matches in self.open.items()
            for match in matches
            if not self._identical(key, match)
        ]

    def _step(self, key: str, *, begin: bool = False) -> None:
        rounds = self._rounds[key]
        try:
            self.open[key] = list(next(rounds) if begin else rounds.send(self.matrices[key]))
        except StopIteration:
            self.open.pop(key, None)

    def _identical(self, key: str, match: Match) -> bool:
        first, second = (self.completions[key][i] for i in match)
        return first.text == second.text

    def _comparison(self, key: str, match: Match) -> Comparison:
        first, second = (self.completions[key][i].text for i in match)
        return Comparison(self.prompts[key], first, second)
