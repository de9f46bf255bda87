"""Single comparisons as the report shows them, whatever the protocol.

The fields of its items tell a protocol: `rating` (each answer is rated), `preference` (one game a
prompt, its order random) or `won` and `weight` (two games: the baseline's answer first, then the
contestant's). The order of a random game is inferred: the verdict's value is the preference where
the contestant's answer came first, and its complement where the baseline's did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.workspace import Item, damaged_items, items_path, read_graded
from harness.types import Answer, Graded, Verdict
from leaderboard.report.results import LoadedResult
from leaderboard.significance import Items

FIRST_GAME, SECOND_GAME = "#1", "#2"
TIE = 0.5
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class ComparisonGame:
    """One request to the judge and its reply."""

    first_answer: str
    """Whose answer came first: `ours`, `baseline`, or empty where that is unknown or there is one
    answer only."""
    first_score: float | None
    """What the first answer wins, in [0, 1]; None where unparsed, or a rating."""
    own_score: float | None
    """What the contestant's answer wins, in [0, 1], or its rating; None where unparsed."""
    label: str
    text: str
    model: str


@dataclass(frozen=True, slots=True)
class PromptComparison:
    """One prompt's comparison."""

    prompt_id: str
    outcome: float | None
    """What the contestant wins in all games, in [0, 1]; None where unparsed, or rated."""
    rating: float | None
    games: tuple[ComparisonGame, ...]
    answer: str | None
    """None where only verdicts are known."""
    is_truncated: bool

    @property
    def winner(self) -> str:
        """`win`, `tie` or `loss` of the contestant; empty where unparsed or rated."""
        return outcome_label(self.outcome)

    @property
    def is_unparsed(self) -> bool:
        """Whether the reply of a game could not be parsed."""
        return any(game.own_score is None for game in self.games)

    @property
    def is_swapped(self) -> bool:
        """Whether both orders were played and parsed."""
        orders = {game.first_answer for game in self.games if game.own_score is not None}
        return len(orders & {"ours", "baseline"}) == len(self.games) == 2

    @property
    def is_inconsistent(self) -> bool:
        """Whether the two orders have different winners."""
        return self.is_swapped and len({outcome_label(game.own_score) for game in self.games}) > 1


@dataclass(frozen=True, slots=True)
class SharedTexts:
    """Texts that a result's comparisons share with those of other results."""

    prompts: Mapping[str, Sequence[tuple[str, str]]]
    """By id: the turns, each (role, content)."""
    baseline: Mapping[str, str]
    """By prompt id: the baseline's answer."""


def outcome_label(outcome: float | None) -> str:
    """Return `win`, `tie`, `loss`, or nothing."""
    if outcome is None:
        return ""
    return "tie" if abs(outcome - TIE) < TOLERANCE else "win" if outcome > TIE else "loss"


def load_comparisons(loaded: LoadedResult) -> tuple[list[PromptComparison], SharedTexts]:
    """Return a result's comparisons in the order of its items, and their shared texts.

    Raises:
        StoreError: a file beside the result is damaged.
    """
    if not loaded.has_verdicts:
        return [], SharedTexts({}, {})
    graded = read_graded(loaded.path)
    try:
        return _comparisons(loaded.items, graded), _shared_texts(graded)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise damaged_items(items_path(loaded.path), error) from error


def _comparisons(items: Items, graded: Graded) -> list[PromptComparison]:
    answers = {answer.prompt_id: answer for answer in graded.answers}
    verdicts = _verdicts_by_prompt(graded.verdicts, {item["prompt_id"] for item in items})
    return [
        _prompt_comparison(
            item, answers.get(item["prompt_id"]), verdicts.get(item["prompt_id"], ())
        )
        for item in items
    ]


def _shared_texts(graded: Graded) -> SharedTexts:
    prompts = {
        prompt.id: [(turn.role, turn.content) for turn in prompt.messages]
        for prompt in graded.prompts
    }
    return SharedTexts(prompts, {answer.prompt_id: answer.text for answer in graded.baseline})


def _verdicts_by_prompt(
    verdicts: Sequence[Verdict], prompt_ids: set[str]
) -> dict[str, list[Verdict]]:
    by_prompt: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        name = verdict.request_id
        key = name if name in prompt_ids else name.rpartition("#")[0]
        by_prompt.setdefault(key, []).append(verdict)
    return by_prompt


def _prompt_comparison(
    item: Item, answer: Answer | None, verdicts: Sequence[Verdict]
) -> PromptComparison:
    rating = item.get("rating")
    return PromptComparison(
        prompt_id=item["prompt_id"],
        outcome=_outcome(item),
        rating=None if rating is None else float(rating),
        games=tuple(_game(item, verdict) for verdict in verdicts),
        answer=None if answer is None else answer.text,
        is_truncated=answer is not None and answer.finish_reason == "length",
    )


def _outcome(item: Item) -> float | None:
    if "won" in item:
        return float(item["won"] / item["weight"]) if item["weight"] else None
    preference = item.get("preference")
    return None if preference is None else float(preference)


def _game(item: Item, verdict: Verdict) -> ComparisonGame:
    parsed, reply = verdict.parsed, (verdict.text, verdict.model)
    if parsed is None:
        return ComparisonGame(_first_answer(item, verdict, None), None, None, "", *reply)
    value = float(parsed.value)
    if "rating" in item:
        return ComparisonGame("", None, value, parsed.label, *reply)
    first_answer = _first_answer(item, verdict, value)
    own_score = 1 - value if first_answer == "baseline" else value
    return ComparisonGame(first_answer, value, own_score, parsed.label, *reply)


def _first_answer(item: Item, verdict: Verdict, value: float | None) -> str:
    """Return whose answer came first; empty where that is unknown."""
    if "won" in item:
        name = verdict.request_id
        is_swapped = name.endswith(SECOND_GAME)
        return "ours" if is_swapped else "baseline" if name.endswith(FIRST_GAME) else ""
    preference = item.get("preference")
    if value is None or preference is None or abs(value - TIE) < TOLERANCE:
        return ""
    return "ours" if abs(value - preference) < abs(1 - value - preference) else "baseline"
