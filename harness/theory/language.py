"""A game as a language: a small transformer plays it through the stages of `harness train`.

A prompt is "play" and its number; action k is k times "on" and then "stop" (the last action has no
"stop"), so that an action's probability is a product over tokens, and every response that ends in
time is an action. All actions can be enumerated, so that the policy is known exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pydantic import Field

from harness.core.config import Component
from harness.core.hub import end_token_ids, load_tokenizer, render_conversation
from harness.protocols import GameSource
from harness.statistics.resampling import Floats
from harness.theory.games import Games
from harness.theory.nash import duality_gap
from harness.theory.results import Cell, ResultTable
from harness.types import Message, Pair, Policy, Prompt

PairScorer = Callable[[Policy, Sequence[Pair]], Sequence[float]]


def response_for(action: int, actions: int) -> str:
    """Return the response that plays an action."""
    return " ".join(["on"] * action + ["stop"] * (action < actions - 1))


def parse_action(response: str, actions: int) -> int | None:
    """Return the action that a response plays; None: it is not an action."""
    actions_by_response = {response_for(action, actions): action for action in range(actions)}
    return actions_by_response.get(" ".join(response.split()))


def prompt_text(number: int) -> str:
    """Return the text of a prompt of the game."""
    return f"play {number}"


class GameCorpus(Component):
    """Texts for fine-tuning the initial policy, with responses at the reference's frequencies."""

    game: GameSource
    count: int = Field(default=1000, gt=0)
    """Texts per prompt."""

    def examples(self) -> list[tuple[str, str]]:
        """Return (prompt, response) pairs, each response as often as its rounded share."""
        return list(self._examples(self.game.draw(0)))

    def _examples(self, games: Games) -> Iterator[tuple[str, str]]:
        for number, reference in enumerate(games.reference[0]):
            for action, share in enumerate(reference):
                response = response_for(action, len(reference))
                yield from [(prompt_text(number), response)] * round(share * self.count)

    def words(self) -> list[str]:
        """Return every word of the prompts and responses."""
        return ["play", "on", "stop", *map(str, range(self.game.draw(0).reference.shape[1]))]


class GamePrompts(Component):
    """The game's prompts, each repeated `count` times per iteration."""

    game: GameSource
    count: int | None = Field(default=512, gt=0)

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return prompts; repetitions differ in their ids, so that their samples differ."""
        numbers = range(self.game.draw(0).reference.shape[1])
        return [
            Prompt(f"{iteration}-{number}-{i}", (Message("user", prompt_text(number)),))
            for number in numbers
            for i in range(self.count or 1)
        ]


class GamePreference(Component):
    """The rule of the game's oracle; a response that is not an action loses to every action."""

    game: GameSource

    def __call__(self, prompt: str, first: str, second: str) -> float:
        """Return P(first ≻ second)."""
        preference = self._preference_matrices()[int(prompt.split()[-1])]
        first_action, second_action = (
            parse_action(response, len(preference)) for response in (first, second)
        )
        if first_action is None or second_action is None:
            return ((first_action is not None) - (second_action is not None) + 1) / 2
        return float(preference[first_action, second_action])

    def _preference_matrices(self) -> Floats:
        matrices: Floats = self.game.draw(0).preference[0]
        return matrices


def enumerate_responses(policy: Policy, game: GameSource) -> list[Pair]:
    """Return a pair for each prompt and action, with the same response on both sides."""
    tokenizer = load_tokenizer(policy)
    end = end_token_ids(tokenizer, policy)[0]
    _, prompts, actions = game.draw(0).reference.shape
    pairs = []
    for number in range(prompts):
        ids = render_conversation(tokenizer, [Message("user", prompt_text(number))]).token_ids
        for action in range(actions):
            response_ids = tokenizer(response_for(action, actions), add_special_tokens=False)[
                "input_ids"
            ]
            pairs.append(
                Pair(prompt_text(number), ids, (*response_ids, end), (*response_ids, end), 0.5)
            )
    return pairs


def exact_policy(logps: Sequence[float], game: GameSource) -> tuple[Floats, float]:
    """Return the policy, shape (prompts, actions), and the largest mass outside the actions.

    Args:
        logps: log π of the responses of `enumerate_responses`, in its order, in nats.
        game: The game that is played.
    """
    mass = np.exp(np.asarray(logps, dtype=np.float64)).reshape(game.draw(0).reference.shape[1:])
    total = mass.sum(-1, keepdims=True)
    return mass / total, float(1 - total.min())


def tabulate_policies(
    policies: Sequence[Policy], game: GameSource, score: PairScorer
) -> ResultTable:
    """Return the exact policies from π_1 on; `score` gives log π of each pair's chosen response."""
    preference, reference = game.draw(0).rows()
    rows: list[tuple[Cell, ...]] = []
    for t, policy in enumerate(policies):
        exact, outside = exact_policy(score(policy, enumerate_responses(policy, game)), game)
        gap = float(duality_gap(preference, exact, reference, 0.0).mean())
        shares = " / ".join(" ".join(f"{p:.3f}" for p in row) for row in exact)
        rows.append((str(t), shares, gap, outside))
    start = float(duality_gap(preference, reference, reference, 0.0).mean())
    return ResultTable(
        f"{game.name}, played by a transformer",
        ("iteration", "policy", "gap", "outside"),
        tuple(rows),
        (
            f"gap: of the original game, over prompts; the reference's is {start:.4f}",
            "outside: the mass on responses that are not an action, left out of the policy",
        ),
    )
