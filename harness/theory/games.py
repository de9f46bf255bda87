"""Games: a preference matrix per prompt, and the reference policy of the KL regularisation.

A game with many prompts is a contextual game: its policy is one distribution per prompt, and each
of its figures is the mean over prompts, since best responses are taken prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from harness.core.config import Component
from harness.core.io import sha256
from harness.core.seeds import derive
from harness.errors import InputError
from harness.statistics.resampling import Floats

TOLERANCE = 1e-9
"""How far from 1 the sum of P(y ≻ y') and P(y' ≻ y), or of a policy, may lie."""


@dataclass(frozen=True, slots=True)
class Games:
    """A batch of games of one size."""

    preference: Floats
    """P(i ≻ j), shape (games, prompts, actions, actions)."""
    reference: Floats
    """π_ref, shape (games, prompts, actions)."""

    def __post_init__(self) -> None:
        check_preference(self.preference)
        check_policy(self.reference, "the reference policy")

    def rows(self) -> tuple[Floats, Floats]:
        """Return preferences and references with one row per prompt of each game."""
        actions = self.reference.shape[-1]
        return self.preference.reshape(-1, actions, actions), self.reference.reshape(-1, actions)

    def mean(self, values: Floats) -> Floats:
        """Return the mean over prompts, shape (..., games), of values with one entry per row."""
        games, prompts = self.reference.shape[:2]
        means: Floats = values.reshape(*values.shape[:-1], games, prompts).mean(-1)
        return means


class MatrixGame(Component):
    """One game, given by its matrix."""

    name: str
    preference: list[list[float]]
    """P(row ≻ column)."""
    reference: list[float] | None = None
    """π_ref; None: uniform."""

    def draw(self, seed: int) -> Games:
        """Return the game; the seed is ignored."""
        return single_game(self.preference, self.reference)


class MatrixFile(Component):
    """One game from a CSV file of P(row ≻ column), one line per row, without a header."""

    name: str
    path: Path
    reference: list[float] | None = None

    def fingerprint(self) -> dict[str, str]:
        """Return the sha256 of the file."""
        return {"path": sha256(self.path)}

    def draw(self, seed: int) -> Games:
        """Return the game; the seed is ignored.

        Raises:
            InputError: the file cannot be read, or is not a preference matrix.
        """
        try:
            lines = self.path.read_text("utf-8").splitlines()
            cells = [[float(c) for c in line.split(",")] for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: expected a square of numbers, commas between them: {error}"
            ) from error
        return single_game(cells, self.reference)


class GameDistribution(Component):
    """Settings of random games: their number, their size, and the distribution of references."""

    name: str
    games: int = Field(default=1000, gt=0)
    prompts: int = Field(default=1, gt=0)
    """Prompts per game."""
    actions: int = Field(default=6, gt=1)
    concentration: float = Field(default=5.0, gt=0)
    """Concentration of the Dirichlet distribution of references; large values are near uniform."""

    def draw_references(self, rng: np.random.Generator) -> Floats:
        """Draw π_ref, shape (games, prompts, actions)."""
        alpha = np.full(self.actions, self.concentration)
        return rng.dirichlet(alpha, size=(self.games, self.prompts))

    def generator(self, seed: int) -> np.random.Generator:
        """Return the random generator of a seed; it depends on the name of the class."""
        return np.random.default_rng(derive(seed, "games", type(self).__name__))


class Random(GameDistribution):
    """P(i ≻ j) independent and uniform on (0, 1) for every pair: hardly ever transitive."""

    def draw(self, seed: int) -> Games:
        """Return the games."""
        rng = self.generator(seed)
        shape = (self.games, self.prompts, self.actions, self.actions)
        upper = np.triu(rng.random(shape), 1)
        return Games(complete(upper), self.draw_references(rng))


class BradleyTerry(GameDistribution):
    """P(i ≻ j) = σ(r_i − r_j), with normally distributed rewards: always transitive."""

    spread: float = Field(default=1.0, gt=0)
    """The rewards' standard deviation, in nats."""

    def draw(self, seed: int) -> Games:
        """Return the games."""
        rng = self.generator(seed)
        rewards = self.spread * rng.standard_normal((self.games, self.prompts, self.actions))
        difference = rewards[..., :, None] - rewards[..., None, :]
        return Games(1 / (1 + np.exp(-difference)), self.draw_references(rng))


class Cyclic(GameDistribution):
    """Each action beats the half of the others that follow it: rock-paper-scissors in general."""

    actions: int = Field(default=3, gt=2)
    weakest: float = Field(default=0.55, gt=0.5, le=1)
    strongest: float = Field(default=0.95, gt=0.5, le=1)
    """P(i ≻ j) is uniform between the two where i beats j."""

    def draw(self, seed: int) -> Games:
        """Return the games.

        With an even number of actions, opposite actions tie.
        """
        rng, n = self.generator(seed), self.actions
        wins = rng.uniform(self.weakest, self.strongest, (self.games, self.prompts, n, n))
        ahead = (np.arange(n) - np.arange(n)[:, None]) % n
        matrix = np.where(ahead * 2 < n, wins, 1 - np.swapaxes(wins, -1, -2))
        return Games(np.where(ahead * 2 % n == 0, 0.5, matrix), self.draw_references(rng))


def complete(upper: Floats) -> Floats:
    """Return the preference matrix with the given part above the diagonal."""
    actions = upper.shape[-1]
    below = np.tril(np.ones((actions, actions)), -1) * (1 - np.swapaxes(upper, -1, -2))
    matrix: Floats = upper + below + np.eye(actions) / 2
    return matrix


def single_game(preference: Sequence[Sequence[float]], reference: Sequence[float] | None) -> Games:
    """Return a single game of one prompt.

    Raises:
        InputError: it is not a preference matrix, or the reference is not a policy of its size.
    """
    sizes = {len(row) for row in preference}
    if sizes != {len(preference)}:
        raise InputError(
            f"a preference matrix is square: {len(preference)} rows of {sorted(sizes)} columns"
        )
    matrix = np.array(preference, dtype=np.float64)
    policy = np.full(len(matrix), 1 / len(matrix)) if reference is None else np.array(reference)
    if policy.shape != matrix.shape[:1]:
        raise InputError(f"the reference has {len(policy)} actions, the matrix {len(matrix)}")
    return Games(matrix[None, None], policy.astype(np.float64)[None, None])


def check_preference(preference: Floats) -> None:
    """Check that matrices hold P(i ≻ j), shape (..., actions, actions).

    Raises:
        InputError: a value is outside [0, 1], or P + Pᵀ is not 1.
    """
    outside = ~((preference >= 0) & (preference <= 1))
    if outside.any():
        *_, i, j = np.argwhere(outside)[0]
        value = preference[outside][0]
        raise InputError(f"P({i}, {j}) is {value:g}: a preference lies in [0, 1]")
    deviation = np.abs(preference + np.swapaxes(preference, -1, -2) - 1)
    if deviation.max() > TOLERANCE:
        *location, i, j = np.unravel_index(int(deviation.argmax()), deviation.shape)
        matrix = preference[tuple(location)]
        raise InputError(
            f"P({i}, {j}) = {matrix[i, j]:g} and P({j}, {i}) = {matrix[j, i]:g}: in a preference "
            "matrix they sum to 1, and the diagonal is 0.5"
        )


def check_policy(policy: Floats, label: str = "the policy") -> None:
    """Check that policies are distributions with full support, shape (..., actions).

    Raises:
        InputError: a probability is not positive, or they do not sum to 1.
    """
    if not (policy > 0).all():
        action = int(np.argwhere(~(policy > 0))[0][-1])
        raise InputError(
            f"{label} gives action {action} the probability {policy[~(policy > 0)][0]:g}: "
            "KL needs every action's to be positive, e.g. 1e-9"
        )
    if np.abs(policy.sum(-1) - 1).max() > TOLERANCE:
        raise InputError(f"{label} sums to {policy.sum(-1).ravel()[0]:g}: probabilities sum to 1")
