"""Single comparisons as the report shows them, whatever the protocol.

A protocol is known by the fields of its items: `rating` (one answer is rated), `preference` (one
game a prompt, its order drawn) or `won` and `weight` (two games: the baseline's answer first, then
ours). Which answer came first in a drawn game is read off: the judge's finding is the preference
where ours did, and its complement where the baseline's did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import StoreError
from leaderboard.marks import Items
from leaderboard.report.filed import Filed, read_graded

FIRST_GAME, SECOND_GAME = "#1", "#2"
EVEN = 0.5
CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class Game:
    """One question to the judge and what it said."""

    order: str
    """Whose answer came first: `ours`, `baseline`, or nothing where not known or only one."""
    first: float | None
    """What the first answer wins, in [0, 1]; None where unread, or a rating."""
    ours: float | None
    """What our answer wins, in [0, 1], or its rating; None where unread."""
    label: str
    text: str
    model: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One prompt's comparison."""

    prompt_id: str
    outcome: float | None
    """What our answer wins in all its games, in [0, 1]; None where unread, or rated."""
    rating: float | None
    games: tuple[Game, ...]
    answer: str | None
    """None where only verdicts are known."""
    truncated: bool

    @property
    def winner(self) -> str:
        """Who wins: `win`, `tie` or `loss`; nothing where unread or rated."""
        return named(self.outcome)

    @property
    def unread(self) -> bool:
        """Whether a game could not be read."""
        return any(game.ours is None for game in self.games)

    @property
    def swapped(self) -> bool:
        """Whether both orders were played and read."""
        orders = {game.order for game in self.games if game.ours is not None}
        return len(orders & {"ours", "baseline"}) == len(self.games) == 2

    @property
    def inconsistent(self) -> bool:
        """Whether the two orders do not give the same winner."""
        return self.swapped and len({named(game.ours) for game in self.games}) > 1


@dataclass(frozen=True, slots=True)
class Texts:
    """What a result's comparisons have in common with those of others: prompts, the baseline."""

    prompts: Mapping[str, Sequence[tuple[str, str]]]
    """By id: the turns, each a role and what it says."""
    baseline: Mapping[str, str]
    """By prompt: what the baseline says."""


def named(outcome: float | None) -> str:
    """Say who wins: `win`, `tie`, `loss`, or nothing."""
    if outcome is None:
        return ""
    return "tie" if abs(outcome - EVEN) < CLOSE else "win" if outcome > EVEN else "loss"


def seen(one: Filed) -> tuple[list[Seen], Texts]:
    """Return a result's comparisons in the order of its items, and their common texts.

    Raises:
        StoreError: the file beside the result is damaged.
    """
    if one.graded is None:
        return [], Texts({}, {})
    graded = read_graded(one.graded)
    try:
        return _comparisons(one.items, graded), _texts(graded)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{one.graded} does not fit ({error!r}); run `harness eval` again, or remove it to go "
            "without its comparisons"
        ) from error


def _comparisons(items: Items, graded: Mapping[str, Any]) -> list[Seen]:
    answers = {answer["prompt_id"]: answer for answer in graded["answers"]}
    verdicts = _by_prompt(graded["verdicts"], {item["prompt_id"] for item in items})
    return [
        _seen(item, answers.get(item["prompt_id"]), verdicts.get(item["prompt_id"], ()))
        for item in items
    ]


def _texts(graded: Mapping[str, Any]) -> Texts:
    prompts = {
        _text(prompt["id"]): [(_text(t["role"]), _text(t["content"])) for t in prompt["messages"]]
        for prompt in graded["prompts"]
    }
    baseline = {_text(answer["prompt_id"]): _text(answer["text"]) for answer in graded["baseline"]}
    return Texts(prompts, baseline)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _by_prompt(
    verdicts: Sequence[Mapping[str, Any]], known: set[str]
) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for verdict in verdicts:
        name = verdict["request_id"]
        key = name if name in known else name.rpartition("#")[0]
        found.setdefault(key, []).append(verdict)
    return found


def _seen(
    item: Mapping[str, Any],
    answer: Mapping[str, Any] | None,
    verdicts: Sequence[Mapping[str, Any]],
) -> Seen:
    return Seen(
        prompt_id=_text(item["prompt_id"]),
        outcome=_outcome(item),
        rating=item.get("rating"),
        games=tuple(_game(item, verdict) for verdict in verdicts),
        answer=None if answer is None else _text(answer["text"]),
        truncated=answer is not None and answer["finish_reason"] == "length",
    )


def _outcome(item: Mapping[str, Any]) -> float | None:
    if "won" in item:
        return item["won"] / item["weight"] if item["weight"] else None
    return item.get("preference")


def _game(item: Mapping[str, Any], verdict: Mapping[str, Any]) -> Game:
    reading, said = verdict["reading"], (_text(verdict.get("text", "")), _text(verdict["model"]))
    if reading is None:
        return Game(_place(item, verdict, None), None, None, "", *said)
    value, label = float(reading["value"]), _text(reading["label"])
    if "rating" in item:
        return Game("", None, value, label, *said)
    order = _place(item, verdict, value)
    ours = 1 - value if order == "baseline" else value
    return Game(order, value, ours, label, *said)


def _place(item: Mapping[str, Any], verdict: Mapping[str, Any], value: float | None) -> str:
    """Say whose answer came first; nothing where it cannot be told."""
    if "won" in item:
        name = verdict["request_id"]
        turned = name.endswith(SECOND_GAME)
        return "ours" if turned else "baseline" if name.endswith(FIRST_GAME) else ""
    preference = item.get("preference")
    if value is None or preference is None or abs(value - EVEN) < CLOSE:
        return ""
    return "ours" if abs(value - preference) < abs(1 - value - preference) else "baseline"
