"""A game as a language: a small transformer plays it through the stages of `harness train`.

A prompt is "play" and its number; action k is k times "on" and then "stop" (the last action has no
"stop"), so that an action's probability is a product over tokens, and every response that ends in
time is an action. All of them can be enumerated: the policy is known exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pydantic import Field

from harness.config import Component
from harness.models import end_ids, load_tokenizer, render
from harness.statistics.resampling import Floats
from harness.theory.games import Game, Games
from harness.theory.measures import duality_gap
from harness.theory.report import Cell, Findings
from harness.types import Message, Pair, Policy, Prompt

Score = Callable[[Policy, Sequence[Pair]], Sequence[float]]


def words_of(action: int, actions: int) -> str:
    """Return the response that is an action."""
    return " ".join(["on"] * action + ["stop"] * (action < actions - 1))


def action_of(response: str, actions: int) -> int | None:
    """Return the action that a response is, or None."""
    spoken = {words_of(action, actions): action for action in range(actions)}
    return spoken.get(" ".join(response.split()))


def prompt_of(number: int) -> str:
    """Return the text of a prompt of the game."""
    return f"play {number}"


class GameTexts(Component):
    """What the policy is first fine-tuned on: responses as often as the reference has them."""

    game: Game
    count: int = Field(default=1000, gt=0)
    """Texts a prompt."""

    def examples(self) -> list[tuple[str, str]]:
        """Return (prompt, response) pairs, each response in its share, rounded."""
        return list(self._examples(self.game.draw(0)))

    def _examples(self, games: Games) -> Iterator[tuple[str, str]]:
        for number, reference in enumerate(games.reference[0]):
            for action, share in enumerate(reference):
                spoken = words_of(action, len(reference))
                yield from [(prompt_of(number), spoken)] * round(share * self.count)

    def words(self) -> list[str]:
        """Return every word that prompts and responses hold."""
        return ["play", "on", "stop", *map(str, range(self.game.draw(0).reference.shape[1]))]


class GamePrompts(Component):
    """The game's prompts over and over; each is asked `count` times an iteration."""

    game: Game
    count: int | None = Field(default=512, gt=0)

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return prompts that differ in their ids alone, so that samples differ."""
        numbers = range(self.game.draw(0).reference.shape[1])
        return [
            Prompt(f"{iteration}-{number}-{i}", (Message("user", prompt_of(number)),))
            for number in numbers
            for i in range(self.count or 1)
        ]


class GamePreference(Component):
    """The rule of the game's oracle; what is no action loses to every action."""

    game: Game

    def __call__(self, prompt: str, first: str, second: str) -> float:
        """Return P(first ≻ second)."""
        preference = self._preferences()[int(prompt.split()[-1])]
        one, other = (action_of(spoken, len(preference)) for spoken in (first, second))
        if one is None or other is None:
            return ((one is not None) - (other is not None) + 1) / 2
        return float(preference[one, other])

    def _preferences(self) -> Floats:
        found: Floats = self.game.draw(0).preference[0]
        return found


def every_response(policy: Policy, game: Game) -> list[Pair]:
    """Return each prompt with each action as a row to be scored: both of a pair are the same."""
    tokenizer = load_tokenizer(policy)
    end = end_ids(tokenizer, policy.path)[0]
    _, prompts, actions = game.draw(0).reference.shape
    found = []
    for number in range(prompts):
        ids = render(tokenizer, [Message("user", prompt_of(number))]).token_ids
        for action in range(actions):
            told = tokenizer(words_of(action, actions), add_special_tokens=False)["input_ids"]
            found.append(Pair(prompt_of(number), ids, (*told, end), (*told, end), 0.5))
    return found


def exact_policy(logps: Sequence[float], game: Game) -> tuple[Floats, float]:
    """Return the policy, shape (prompts, actions), and the largest mass outside the actions.

    Args:
        logps: log π of `every_response`, in its order, in nats.
        game: the game that is played.
    """
    mass = np.exp(np.asarray(logps, dtype=np.float64)).reshape(game.draw(0).reference.shape[1:])
    total = mass.sum(-1, keepdims=True)
    return mass / total, float(1 - total.min())


def played(policies: Sequence[Policy], game: Game, score: Score) -> Findings:
    """Tell what policies play, from π_1 on; `score` gives log π of every pair's chosen response."""
    preference, reference = game.draw(0).rows()
    rows: list[tuple[Cell, ...]] = []
    for t, policy in enumerate(policies):
        found, outside = exact_policy(score(policy, every_response(policy, game)), game)
        gap = float(duality_gap(preference, found, reference, 0.0).mean())
        shares = " / ".join(" ".join(f"{p:.3f}" for p in row) for row in found)
        rows.append((str(t), shares, gap, outside))
    start = float(duality_gap(preference, reference, reference, 0.0).mean())
    return Findings(
        f"{game.name}, played by a transformer",
        ("iteration", "policy", "gap", "outside"),
        tuple(rows),
        (
            f"gap: of the original game, over prompts; the reference's is {start:.4f}",
            "outside: the mass on responses that are no action, left out of the policy",
        ),
    )
