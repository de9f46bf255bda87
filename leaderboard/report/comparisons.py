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
from leaderboard.report.results import LoadedResult, read_graded
from leaderboard.significance import Items

FIRST_GAME, SECOND_GAME = "#1", "#2"
TIE = 0.5
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class ComparisonGame:
    """One question to the judge and what it said."""

    first_answer: str
    """Whose answer came first: `ours`, `baseline`, or nothing where not known or only one."""
    first_score: float | None
    """What the first answer wins, in [0, 1]; None where unread, or a rating."""
    own_score: float | None
    """What our answer wins, in [0, 1], or its rating; None where unread."""
    label: str
    text: str
    model: str


@dataclass(frozen=True, slots=True)
class PromptComparison:
    """One prompt's comparison."""

    prompt_id: str
    outcome: float | None
    """What our answer wins in all its games, in [0, 1]; None where unread, or rated."""
    rating: float | None
    games: tuple[ComparisonGame, ...]
    answer: str | None
    """None where only verdicts are known."""
    is_truncated: bool

    @property
    def winner(self) -> str:
        """Who wins: `win`, `tie` or `loss`; nothing where unread or rated."""
        return outcome_label(self.outcome)

    @property
    def is_unparsed(self) -> bool:
        """Whether a game could not be read."""
        return any(game.own_score is None for game in self.games)

    @property
    def is_swapped(self) -> bool:
        """Whether both orders were played and read."""
        orders = {game.first_answer for game in self.games if game.own_score is not None}
        return len(orders & {"ours", "baseline"}) == len(self.games) == 2

    @property
    def is_inconsistent(self) -> bool:
        """Whether the two orders do not give the same winner."""
        return self.is_swapped and len({outcome_label(game.own_score) for game in self.games}) > 1


@dataclass(frozen=True, slots=True)
class SharedTexts:
    """What a result's comparisons have in common with those of others: prompts, the baseline."""

    prompts: Mapping[str, Sequence[tuple[str, str]]]
    """By id: the turns, each a role and what it says."""
    baseline: Mapping[str, str]
    """By prompt: what the baseline says."""


def outcome_label(outcome: float | None) -> str:
    """Say who wins: `win`, `tie`, `loss`, or nothing."""
    if outcome is None:
        return ""
    return "tie" if abs(outcome - TIE) < TOLERANCE else "win" if outcome > TIE else "loss"


def load_comparisons(loaded: LoadedResult) -> tuple[list[PromptComparison], SharedTexts]:
    """Return a result's comparisons in the order of its items, and their common texts.

    Raises:
        StoreError: the file beside the result is damaged.
    """
    if loaded.graded_path is None:
        return [], SharedTexts({}, {})
    graded = read_graded(loaded.graded_path)
    try:
        return _comparisons(loaded.items, graded), _read_texts(graded)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{loaded.graded_path} does not fit ({error!r}); run `harness eval` again, or remove it to go "
            "without its comparisons"
        ) from error


def _comparisons(items: Items, graded: Mapping[str, Any]) -> list[PromptComparison]:
    answers = {answer["prompt_id"]: answer for answer in graded["answers"]}
    verdicts = _verdicts_by_prompt(graded["verdicts"], {item["prompt_id"] for item in items})
    return [
        _prompt_comparison(
            item, answers.get(item["prompt_id"]), verdicts.get(item["prompt_id"], ())
        )
        for item in items
    ]


def _read_texts(graded: Mapping[str, Any]) -> SharedTexts:
    prompts = {
        _text(prompt["id"]): [(_text(t["role"]), _text(t["content"])) for t in prompt["messages"]]
        for prompt in graded["prompts"]
    }
    baseline = {_text(answer["prompt_id"]): _text(answer["text"]) for answer in graded["baseline"]}
    return SharedTexts(prompts, baseline)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _verdicts_by_prompt(
    verdicts: Sequence[Mapping[str, Any]], prompt_ids: set[str]
) -> dict[str, list[Mapping[str, Any]]]:
    by_prompt: dict[str, list[Mapping[str, Any]]] = {}
    for verdict in verdicts:
        name = verdict["request_id"]
        key = name if name in prompt_ids else name.rpartition("#")[0]
        by_prompt.setdefault(key, []).append(verdict)
    return by_prompt


def _prompt_comparison(
    item: Mapping[str, Any],
    answer: Mapping[str, Any] | None,
    verdicts: Sequence[Mapping[str, Any]],
) -> PromptComparison:
    return PromptComparison(
        prompt_id=_text(item["prompt_id"]),
        outcome=_outcome(item),
        rating=item.get("rating"),
        games=tuple(_game(item, verdict) for verdict in verdicts),
        answer=None if answer is None else _text(answer["text"]),
        is_truncated=answer is not None and answer["finish_reason"] == "length",
    )


def _outcome(item: Mapping[str, Any]) -> float | None:
    if "won" in item:
        return item["won"] / item["weight"] if item["weight"] else None
    return item.get("preference")


def _game(item: Mapping[str, Any], verdict: Mapping[str, Any]) -> ComparisonGame:
    parsed, reply = verdict["parsed"], (_text(verdict.get("text", "")), _text(verdict["model"]))
    if parsed is None:
        return ComparisonGame(_first_answer(item, verdict, None), None, None, "", *reply)
    value, label = float(parsed["value"]), _text(parsed["label"])
    if "rating" in item:
        return ComparisonGame("", None, value, label, *reply)
    first_answer = _first_answer(item, verdict, value)
    own_score = 1 - value if first_answer == "baseline" else value
    return ComparisonGame(first_answer, value, own_score, label, *reply)


def _first_answer(item: Mapping[str, Any], verdict: Mapping[str, Any], value: float | None) -> str:
    """Say whose answer came first; nothing where it cannot be told."""
    if "won" in item:
        name = verdict["request_id"]
        is_swapped = name.endswith(SECOND_GAME)
        return "ours" if is_swapped else "baseline" if name.endswith(FIRST_GAME) else ""
    preference = item.get("preference")
    if value is None or preference is None or abs(value - TIE) < TOLERANCE:
        return ""
    return "ours" if abs(value - preference) < abs(1 - value - preference) else "baseline"
