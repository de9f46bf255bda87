"""Preference pairs that a file or a data set gives: which of them an iteration trains on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from harness.core.config import Component
from harness.core.io import sha256
from harness.errors import ConfigError, InputError
from harness.protocols import RowSource
from harness.training.conversations import UnusableRowError
from harness.training.dropped import LOGGER, DropTable
from harness.training.preference_rows import (
    LeftOutError,
    PairColumns,
    PreferenceRow,
    read_preference,
)
from harness.training.prompt_rows import HubRows, PromptRow, read_rows, unusable_rows

REPEATED, UNUSABLE = "repeated", "unusable"
DOUBLED = 0.5
"""The share of rows whose responses both begin with the prompt, from which that is no accident."""
DOUBLED_LENGTH = 20
"""Characters of a prompt with which two answers do not begin by chance."""


@dataclass(frozen=True)
class PreferenceSelection:
    """The pairs of an iteration, and what was dropped on the way."""

    rows: Sequence[PreferenceRow]
    dropped: DropTable = field(default_factory=DropTable)


class PreferencePairs(Component):
    """Pairs of a file, or of a data set of the hub, in place of or beside a policy's own samples.

    A file is JSON lines, a JSON array, Parquet or CSV; `preference_rows` names the columns and
    forms that are known. Of several iterations each trains on the next part.
    """

    path: Annotated[str, AfterValidator(os.path.expanduser)] | None = None
    """A file, or the hub id of a data set."""
    rows: RowSource | None = None
    """A component that makes the rows; it is used where no path is named."""
    mode: Literal["pairs", "winners", "candidates"] = "pairs"
    """`pairs`: they are trained on as they are. `winners`: the chosen response beats each sample of
    the policy; no oracle is asked. `candidates`: the responses join the policy's samples, and the
    oracle compares them all."""
    iterations: int | None = Field(None, gt=0)
    """The first so many iterations use them, later ones the policy's own samples; None: all."""
    responses: Literal["both", "chosen"] = "both"
    """Which responses become candidates."""
    columns: PairColumns = PairColumns()
    count: int | None = Field(None, gt=0)
    """Use only the first `count` different pairs, of all iterations together."""
    drop_bad: bool = False
    """Whether rows that hold no pair are dropped and counted; otherwise they are refused."""
    subset: str | None = None
    """The configuration of a data set of the hub."""
    split: str = "train"
    revision: str = "main"
    size: int | None = Field(None, gt=0, exclude=True)
    """The pairs of a data set of the hub, for estimates: it is not downloaded for them."""

    result_version: ClassVar[int] = 1

    @property
    def is_file(self) -> bool:
        """Whether the path is a file, and not the id of a data set."""
        path = self.path or ""
        return Path(path).exists() or path.count("/") != 1 or Path(path).suffix in FILE_ENDINGS

    def fingerprint(self) -> dict[str, str]:
        """Return the sha256 of the file; a data set is known by its revision.

        Raises:
            InputError: the file cannot be read.
        """
        if not self.path or not self.is_file:
            return {}
        try:
            return {"path": sha256(Path(self.path))}
        except OSError as error:
            raise InputError(f"cannot read the pairs {self.path}: {error.strerror}") from error

    @property
    def owner(self) -> str:
        """The file, data set or component, for messages."""
        return self.path or type(self.rows).__name__

    def select(self, part: int = 1, parts: int = 1) -> PreferenceSelection:
        """Return the pairs of one of several parts, counted from 1, and what was dropped.

        Raises:
            ConfigError: neither a path nor rows are named.
            InputError: the file cannot be read, a row holds no pair, or no pair is left.
            MissingDependencyError: the hub cannot be reached or does not have the data set.
        """
        selection = select_pairs(
            self._read(),
            self.owner,
            columns=self.columns,
            drop_bad=self.drop_bad,
            count=self.count,
        )
        size = len(selection.rows)
        if size < parts:
            raise InputError(
                f"{self.owner} has {size} pairs for {parts} iterations: set iterations"
            )
        start, end = (size * position // parts for position in (part - 1, part))
        dropped = selection.dropped if part == 1 else DropTable()
        return PreferenceSelection(selection.rows[start:end], dropped)

    def _read(self) -> Iterable[PromptRow]:
        if not self.path:
            if self.rows is None:
                raise ConfigError(
                    "pairs: no file or data set is named: add --set pairs.path=FILE, or a hub id"
                )
            return [PromptRow(f"row {n}", row) for n, row in enumerate(self.rows.rows(), 1)]
        if self.is_file:
            return read_rows(Path(self.path), "pairs")
        return HubRows(self.path, self.revision, self.split, self.subset).load("pairs")


FILE_ENDINGS = frozenset({".jsonl", ".json", ".parquet", ".csv", ".tsv", ".txt"})


def select_pairs(
    rows: Iterable[PromptRow],
    owner: str,
    *,
    columns: PairColumns,
    drop_bad: bool = False,
    count: int | None = None,
) -> PreferenceSelection:
    """Return `count` different pairs of rows.

    Args:
        rows: all rows.
        owner: the file or data set, for messages.
        columns: the columns that are named.
        drop_bad: whether unusable rows are dropped and counted; else they are refused.
        count: None: all.

    Raises:
        InputError: a row is unusable, or no pair is left.
    """
    retained: list[PreferenceRow] = []
    bad, dropped, known = list[str](), DropTable(), set[Any]()
    for row in rows:
        if count is not None and len(retained) == count:
            break
        try:
            pair = _read_row(row, columns)
        except UnusableRowError as error:
            bad.append(f"{row.location}: {error}")
            continue
        except LeftOutError as error:
            dropped.add(str(error), row.location)
            continue
        key = (pair.prompt.id, pair.chosen, pair.rejected)
        if key in known:
            dropped.add(REPEATED, f"{row.location}: {pair.prompt.text}")
            continue
        known.add(key)
        retained.append(pair)
    if bad and not drop_bad:
        raise InputError(unusable_rows(owner, bad, "pairs"))
    for line in bad:
        dropped.add(UNUSABLE, line)
    if not retained:
        raise InputError(_nothing(owner, dropped))
    _check_doubled_prompts(owner, retained)
    _report_scores(owner, retained)
    return PreferenceSelection(retained, dropped)


def _read_row(row: PromptRow, columns: PairColumns) -> PreferenceRow:
    if row.problem:
        raise UnusableRowError(row.problem)
    return read_preference(row.value, columns)


def _nothing(owner: str, dropped: DropTable) -> str:
    if not dropped.count:
        return f"{owner} is empty: it holds no pair"
    row = dropped.rows[0]
    example = f", {row.example}" if row.example else ""
    return f"{owner} holds no pair: all {dropped.count} rows are dropped ({row.reason}{example})"


def _check_doubled_prompts(owner: str, rows: Sequence[PreferenceRow]) -> None:
    """Refuse responses that repeat the prompt, which would then be trained on twice."""
    doubled = sum(_is_doubled(row) for row in rows)
    if doubled > DOUBLED * len(rows):
        raise InputError(
            f"{owner}: in {doubled} of {len(rows)} pairs both responses begin with the prompt's "
            "text, which would stand there twice: take it out of the responses"
        )


def _is_doubled(row: PreferenceRow) -> bool:
    text = row.prompt.text
    both = row.chosen.startswith(text) and row.rejected.startswith(text)
    return both and len(text) > DOUBLED_LENGTH


def _report_scores(owner: str, rows: Sequence[PreferenceRow]) -> None:
    scored = [row.scores for row in rows if row.scores]
    against = sum(chosen < rejected for chosen, rejected in scored)
    if against:
        LOGGER.warning(
            "warning: %s: in %d of %d scored pairs the rejected response has the higher score",
            *(owner, against, len(scored)),
        )
