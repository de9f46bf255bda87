"""Results as data frames and as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from harness.core.extras import missing_extra

if TYPE_CHECKING:
    import pandas as pd

    from harness.types import Estimate

ESTIMATE_COLUMNS = ("value", "low", "high", "standard_error")


def load_pandas() -> Any:
    """Import pandas.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error
    return pd


def to_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a data frame; a key that a row lacks is missing there."""
    frame: pd.DataFrame = load_pandas().DataFrame.from_records([dict(row) for row in rows])
    return frame


def estimates_frame(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """Return estimates as a data frame, one row a metric, indexed by its name."""
    rows = {
        name: {column: getattr(estimate, column) for column in ESTIMATE_COLUMNS}
        for name, estimate in estimates.items()
    }
    columns = list(ESTIMATE_COLUMNS)
    frame: pd.DataFrame = load_pandas().DataFrame.from_dict(rows, orient="index", columns=columns)
    return frame


def estimates_html(title: str, estimates: Mapping[str, Estimate], notes: Sequence[str]) -> str:
    """Return estimates as an HTML table under a title, with notes below."""
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{estimate}</td></tr>"
        for name, estimate in estimates.items()
    )
    below = "".join(f"<p><small>{escape(note)}</small></p>" for note in notes)
    head = "<thead><tr><th>metric</th><th>estimate and 95 % interval</th></tr></thead>"
    return f"<p><b>{escape(title)}</b></p><table>{head}<tbody>{rows}</tbody></table>{below}"
