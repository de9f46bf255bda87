"""How `harness theory` shows what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from harness.theory.report import Report


def print_tables(report: Report) -> None:
    """Print a report's tables for a terminal."""
    from leaderboard.render import rich_text
    from leaderboard.table import of_texts

    tables = [of_texts(t.title, t.headings, t.texts(), t.notes) for t in report.tables]
    typer.echo(rich_text(tables), nl=False)
