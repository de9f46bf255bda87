"""Results side by side: `harness.leaderboard`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.components import open_workspace
from harness.api.frames import load_pandas
from harness.api.judging import RUNS

if TYPE_CHECKING:
    import pandas as pd

    from harness.core.workspace import Workspace
    from leaderboard.builder import TableOptions
    from leaderboard.table import Table


@dataclass(frozen=True)
class Leaderboard:
    """The tables that `harness leaderboard` prints."""

    tables: Sequence[Table]
    options: TableOptions
    omissions: Sequence[str] = ()
    """Why results of the workspace were left out."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row a table and method; estimates have columns for the value and its ends."""
        pandas = load_pandas()
        parts = {table.title: table.to_frame() for table in self.tables}
        frame: pd.DataFrame = pandas.concat(parts, names=["table", None])
        return frame

    def to_latex(self) -> str:
        """Return the tables in LaTeX (booktabs), as `harness leaderboard --format latex`."""
        from leaderboard.latex import render_latex

        return render_latex(self.tables, self.options.to_data())

    def to_markdown(self) -> str:
        """Return the tables in Markdown."""
        from leaderboard.formats import render_markdown

        return render_markdown(self.tables)

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables)


def leaderboard(
    *,
    workspace: str | Path | Workspace = RUNS,
    bench: str = "",
    columns: Sequence[str] = (),
    sort: str = "",
    group: str = "",
    baseline: str = "",
    differences: bool = False,
    wide: bool = False,
    published: Sequence[str] = (),
    pool_seeds: bool = False,
    sweep: str = "",
    paper: str = "",
) -> Leaderboard:
    """Set the results of a workspace side by side.

    Args:
        workspace: where the results are.
        bench: only this benchmark.
        columns: what to show; empty for the usual columns.
        sort: a column; with a minus before it, in reverse order.
        group: `method`, `base` or `iteration`: a section for each.
        baseline: the method that the others are compared with.
        differences: columns with each method's difference from the baseline.
        wide: one table across benchmarks.
        published: documents whose published figures are added; `all` for all.
        pool_seeds: one row for the seeds of a setting.
        sweep: only the runs of this sweep.
        paper: the document whose own tables are laid out.

    Raises:
        StoreError: there are no results, or one is damaged.
        ConfigError: there is no such benchmark, column or method.
    """
    from leaderboard.builder import TableOptions, build_tables

    options = TableOptions(
        bench=bench,
        columns=tuple(columns),
        sort=sort,
        group=group,
        baseline=baseline,
        differences=differences,
        wide=wide,
        published=tuple(published),
        pool=pool_seeds,
        sweep=sweep,
        paper=paper,
    )
    tables, omissions = build_tables(open_workspace(workspace).root, options)
    return Leaderboard(tables, options, omissions)
