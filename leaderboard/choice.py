"""What a user asks of the leaderboard, as plain data that a printed table can carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import InputError


@dataclass(frozen=True, slots=True)
class Choice:
    """What a user asks of the tables."""

    bench: str = ""
    """Only this benchmark; empty: all."""
    columns: tuple[str, ...] = ()
    """In order; none: the default ones."""
    sort: str = ""
    """A column's name; empty: the first metric. Figures fall, texts rise; `-NAME` turns it."""
    group: str = ""
    """`base`, `method` or `iteration`: a section each."""
    baseline: str = ""
    """The method that others are said to differ from; empty: none."""
    differences: bool = False
    """A column beside each figure: how far it lies from the baseline's."""
    wide: bool = False
    """One table across benchmarks instead of one for each."""
    published: tuple[str, ...] = ()
    """The documents whose figures stand beside; `all` for all."""
    pool: bool = False
    """One row for the seeds of a setting."""
    paper: str = ""
    """The document whose own tables are laid out; empty: none."""

    def told(self) -> dict[str, Any]:
        """Return what was asked for, as plain data; what was not is left out."""
        return {key: value for key, value in asdict(self).items() if value}


def again(told: Mapping[str, Any]) -> Choice:
    """Return what was asked for when a table was printed.

    Raises:
        InputError: it is nothing that this version could have been asked for.
    """
    try:
        lists = {key: tuple(told[key]) for key in ("columns", "published") if key in told}
        return Choice(**{**told, **lists})
    except TypeError as error:
        raise InputError(f"the table was printed by another version ({error})") from error
