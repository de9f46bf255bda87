"""From a workspace to tables, and the same tables again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leaderboard import paper
from leaderboard.build import Builder
from leaderboard.check import Checked, check
from leaderboard.choice import Choice, again
from leaderboard.measured import measured
from leaderboard.published import published
from leaderboard.table import Table


def made(workspace: Path, choice: Choice) -> tuple[list[Table], tuple[str, ...]]:
    """Return the tables that a user asks for, and what must be told of results left out.

    Raises:
        StoreError: there are no results, or one is damaged.
        ConfigError: nothing there fits the choice.
    """
    found = measured(workspace, needed=not (choice.paper or choice.published))
    if choice.paper:
        return paper.tables(choice.paper, found.rows), found.told
    rows = [*found.rows, *published(choice.published)]
    return Builder(choice).tables(rows), found.told


def checked(path: Path, workspace: Path) -> Checked:
    """Make every number again that a paper holds of this workspace's tables, and compare.

    Raises:
        InputError: the file cannot be read, or holds no such table.
        CheckError: a number is not what the results give.
    """

    def make(asked: Any) -> list[Table]:
        return made(workspace, again(asked))[0]

    return check(path, make)
