"""Preference pairs from rows: the columns and the forms that published data sets have.

A row's chosen and rejected are texts, messages, or whole conversations that share all but the last
turn. Known without settings: TRL's explicit and implicit prompts, UltraFeedback-binarized (the
prompt in a column and again as the first turn), HelpSteer3, Anthropic's HH (a dialogue of `Human:`
and `Assistant:` as one text), and SPIN's `real` and `generated`. Unlike TRL, no prompt is cut at
the first character that differs: two answers that begin alike keep their beginnings.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.config import Component
from harness.core.seeds import digest
from harness.core.terminal import shorten
from harness.training.conversations import UnusableRowError, read_text, read_turns, value_kind
from harness.types import Message, Prompt

EQUAL, EMPTY, TIE, EMPTY_TURN = "identical", "empty response", "tie", "empty turn"
NO_SHARED_PROMPT, LAST_TURN = "different prompts", "not ended by the assistant"
PROMPT_COLUMNS = ("prompt", "context", "context_messages", "question", "instruction")
RESPONSE_COLUMNS = (
    ("chosen", "rejected"),
    ("response1", "response2"),
    ("real", "generated"),
)
"""The columns of the two responses; the first two that a row has are read."""
SCORE_COLUMNS = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen-rating", "rejected-rating"),
    ("chosen_rating", "rejected_rating"),
    ("rating_chosen", "rating_rejected"),
)
PREFERENCE = "overall_preference"
"""HelpSteer3's label, from −3 (the first response is much better) to 3 (the second is)."""
HH_TEXT = re.compile(r"\s*Human:.*\n\nAssistant:", re.DOTALL)
HH_TURN = re.compile(r"(?:^\s*|\n\n)(Human|Assistant):")
HH_ROLES = {"Human": "user", "Assistant": "assistant"}


class PairColumns(Component):
    """The columns of a data set's pairs; None: the known one that a row has."""

    prompt: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    score_chosen: str | None = None
    """A score of the chosen response, on the scale of `score_rejected`."""
    score_rejected: str | None = None
    probability: str | None = None
    """P(chosen preferred), in [0, 1]."""


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A prompt with a chosen and a rejected response, as texts."""

    prompt: Prompt
    chosen: str
    rejected: str
    probability: float = 1.0
    """P(chosen preferred)."""
    scores: tuple[float, float] | None = None
    """Of the chosen and the rejected response."""


class LeftOutError(ValueError):
    """A row whose pair cannot be trained on, as it occurs in published sets; the text is why."""


def read_preference(row: Any, columns: PairColumns) -> PreferenceRow:
    """Return the pair of a row.

    Args:
        row: a mapping of columns.
        columns: those that are named.

    Raises:
        UnusableRowError: the row is not what a pair looks like.
        LeftOutError: it is a pair that cannot be trained on: a tie, two equal responses, ...
    """
    if not isinstance(row, Mapping):
        raise UnusableRowError(
            f"is {value_kind(row)}: expected a JSON object with 'chosen' and 'rejected'"
        )
    names = _response_columns(row, columns)
    first, second = (_content(row[name], name) for name in names)
    prompt = _prompt_turns(row, columns, bool(first.context or second.context))
    turns = _shared_turns(prompt, first, second)
    if (system := row.get("system")) and turns[0].role != "system":
        turns = [Message("system", read_text(system, "system")), *turns]
    chosen, rejected = first.response, second.response
    if _is_second_better(row, names):
        chosen, rejected = rejected, chosen
    if not (chosen.strip() and rejected.strip()):
        raise LeftOutError(EMPTY)
    if chosen == rejected:
        raise LeftOutError(EQUAL)
    for name, content in zip(names, (first, second), strict=True):
        read_text(content.response, name)  # no half of a character
    identifier = digest([[m.role, m.content] for m in turns])[:16]
    return PreferenceRow(
        Prompt(identifier, tuple(turns)),
        chosen,
        rejected,
        _probability(row, columns),
        _scores(row, columns),
    )


@dataclass(frozen=True, slots=True)
class _Content:
    """What a column of a response holds: the response, and perhaps the turns before it."""

    response: str
    context: tuple[Message, ...] = ()


def _response_columns(row: Mapping[str, Any], columns: PairColumns) -> tuple[str, str]:
    present = (pair for pair in RESPONSE_COLUMNS if all(name in row for name in pair))
    known = next(present, RESPONSE_COLUMNS[0])
    names = (columns.chosen or known[0], columns.rejected or known[1])
    for name, key in zip(names, ("chosen", "rejected"), strict=True):
        if name not in row:
            raise UnusableRowError(
                f"has no column {name!r} (it has {shorten(', '.join(map(str, row))) or 'none'}): "
                f"name the column with --set pairs.columns.{key}=COLUMN"
            )
    return names


def _content(value: Any, name: str) -> _Content:
    """Read a response: text, a message, messages, or a whole conversation."""
    value = _parsed(value)
    if isinstance(value, str):
        turns = read_hh(value)
        return _split(turns) if turns else _Content(value)
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, Sequence) and len(value) and _is_silent(value[-1]):
        raise LeftOutError(EMPTY)
    return _split(read_turns(value, name))


def _parsed(value: Any) -> Any:
    """Return the messages that a text holds as JSON, in a CSV file say; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("[{"):
        return value
    try:
        messages = json.loads(value)
    except (ValueError, RecursionError):
        return value
    keys = ({"role", "content"}, {"from", "value"})
    is_chat = all(isinstance(m, dict) and any(k <= m.keys() for k in keys) for m in messages)
    return messages if is_chat else value  # an answer may well be JSON


def _is_silent(turn: Any) -> bool:
    """Say whether a message is an answer without text, which data sets do have."""
    content = turn.get("content", turn.get("value")) if isinstance(turn, Mapping) else None
    return isinstance(content, str) and not content.strip()


def _split(turns: Sequence[Message]) -> _Content:
    if turns[-1].role != "assistant":
        raise LeftOutError(LAST_TURN)
    return _Content(turns[-1].content, tuple(turns[:-1]))


def read_hh(text: str) -> list[Message]:
    """Return the turns of a text in the form of Anthropic's HH; none if it has another form.

    An empty `Assistant:` at the end, with which a prompt may end, is no turn.
    """
    if not HH_TEXT.match(text):
        return []
    parts = HH_TURN.split(text)
    turns = [
        Message(HH_ROLES[name], content.strip())
        for name, content in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return turns[:-1] if not turns[-1].content else turns


def _prompt_turns(row: Mapping[str, Any], columns: PairColumns, is_optional: bool) -> list[Message]:
    """Return the turns of the prompt's column; none: the responses hold it."""
    known = next((n for n in PROMPT_COLUMNS if row.get(n) is not None), "")
    name = columns.prompt or known
    if name not in row:
        if is_optional and not columns.prompt:
            return []
        present = shorten(", ".join(map(str, row)))
        raise UnusableRowError(
            f"has no column {name or 'prompt'!r} (it has {present}): name the prompt's column with "
            "--set pairs.columns.prompt=COLUMN"
        )
    value = row[name]
    value = _parsed(value)
    turns = read_hh(value) if isinstance(value, str) else []
    turns = turns or read_turns(value, name)
    if name == "instruction" and (more := row.get("input")):
        turns[0] = Message("user", f"{turns[0].content}\n{read_text(more, 'input')}")
    return turns


def _shared_turns(prompt: Sequence[Message], first: _Content, second: _Content) -> list[Message]:
    """Return the turns before both responses: the prompt's, which conversations may repeat."""
    contexts = [_full_context(prompt, content) for content in (first, second)]
    if contexts[0] != contexts[1]:
        raise LeftOutError(NO_SHARED_PROMPT)
    turns = contexts[0]
    if not turns or turns[-1].role != "user":
        raise UnusableRowError("holds no turn of the user before the responses")
    if not all(turn.content.strip() for turn in turns):
        raise LeftOutError(EMPTY_TURN)
    return turns


def _full_context(prompt: Sequence[Message], content: _Content) -> list[Message]:
    turns = list(content.context)
    if not turns:
        return list(prompt)
    spoken = [turn for turn in turns if turn.role != "system"]
    if not prompt or turns == list(prompt):
        return turns
    if spoken == list(prompt) or _is_text_of(prompt, spoken):
        return turns
    if turns == [turn for turn in prompt if turn.role != "system"]:
        return list(prompt)
    raise LeftOutError(NO_SHARED_PROMPT)


def _is_text_of(prompt: Sequence[Message], spoken: Sequence[Message]) -> bool:
    """Say whether a prompt of one turn is the first or the last question of a conversation."""
    if len(prompt) != 1 or not spoken:
        return False
    texts = (spoken[0].content.strip(), spoken[-1].content.strip())
    return prompt[0].content.strip() in texts


def _is_second_better(row: Mapping[str, Any], names: tuple[str, str]) -> bool:
    """Read HelpSteer3's label, where the columns of the responses say nothing."""
    if names != ("response1", "response2"):
        return False
    preference = _number(row.get(PREFERENCE), PREFERENCE)
    if not preference:
        raise LeftOutError(TIE)
    return preference > 0


def _probability(row: Mapping[str, Any], columns: PairColumns) -> float:
    name = columns.probability or "probability"
    if columns.probability is None and _is_missing(row.get(name)):
        return 1.0
    value = _number(row.get(name), name)
    if not 0 <= value <= 1:
        raise UnusableRowError(f"{name} is {value:g}: a probability is within 0 and 1")
    return value


def _scores(row: Mapping[str, Any], columns: PairColumns) -> tuple[float, float] | None:
    chosen_and_rejected = (columns.score_chosen, columns.score_rejected)
    if any(chosen_and_rejected):
        first, second = (
            _number(row.get(name or ""), name or "score") for name in chosen_and_rejected
        )
        return first, second
    for names in SCORE_COLUMNS:
        if not any(_is_missing(row.get(name)) for name in names):
            first, second = (_number(row[name], name) for name in names)
            return first, second
    return None


def _is_missing(value: Any) -> bool:
    """Say whether a cell is empty: null, NaN in Parquet, no text in CSV."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(value: Any, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UnusableRowError(f"{name} is {shorten(str(value))!r}: expected a number")
    return number
