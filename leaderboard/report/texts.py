"""The texts of comparisons as plain data under short names: there are thousands of them."""

from __future__ import annotations

from typing import Any

from leaderboard.report.seen import Game, Seen, Texts


def shared_texts(texts: Texts) -> dict[str, Any]:
    """Return a group's prompts and the baseline's answers by prompt id."""
    return {"prompts": dict(texts.prompts), "baseline": dict(texts.baseline)}


def compact(one: Seen, own: Texts, shared: Texts, disagreed: set[str]) -> dict[str, Any]:
    """Return a comparison under short names; what is shared by the group is left out."""
    flags = {
        "disagree": one.prompt_id in disagreed,
        "inconsistent": one.inconsistent,
        "unread": one.unread,
        "truncated": one.truncated,
    }
    told = {
        "id": one.prompt_id,
        "a": one.answer,
        "o": one.outcome,
        "r": one.rating,
        "f": [name for name, holds in flags.items() if holds],
        "g": [_game(game) for game in one.games],
    }
    theirs = own.baseline.get(one.prompt_id)
    return told if theirs == shared.baseline.get(one.prompt_id) else {**told, "b": theirs}


def _game(game: Game) -> list[Any]:
    return [game.order, game.ours, game.label, game.text, game.model]
