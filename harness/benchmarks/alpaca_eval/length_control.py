"""AlpacaEval 2.0's length-controlled win rate: its protocol data, and the notes on its fit.

`df_gamed.csv` holds the rows of the gamed baseline and, by `index`, the difficulty of the
instruction at that index of the eval set. Difficulties are looked up by instruction; alpaca_eval
looks them up by row number, which is wrong after an instruction without a row (`upstream`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.benchmarks import assets
from harness.core.config import Component
from harness.core.io import read_csv
from harness.errors import AssetError, CheckError
from harness.statistics.length_control_glm import (
    GamedRows,
    LengthControlFit,
    ModelRows,
    length_controlled_win_rate,
)
from harness.statistics.resampling import Floats
from harness.types import Estimate

GAMED = "alpaca_eval/df_gamed.csv"
METRIC = "length_controlled_win_rate"
ORDER_TOLERANCE = 0.1
"""Points by which the order of the folds may change the figure without a note."""
ORDER_PHRASE = "the order of the rows in cross-validation"
ERROR_NOTE = (
    "lc_standard_error is alpaca_eval's own: the spread of fitted win rates between instructions; "
    f"the error of {METRIC} is its interval's, over resampled instructions"
)
STAND_IN_NOTE = (
    f"{GAMED} is a reconstruction: at a given C {METRIC} is as published, but the chosen C can "
    "differ, which changes it by about 0.15 points"
)
FOREIGN_NOTE = (
    f"{METRIC}: without the difficulty term, which is published for AlpacaEval's instructions and "
    "baseline only"
)
BY_ROW_NOTE = (
    f"{METRIC}: difficulties were looked up by row number, as alpaca_eval does, although the "
    "instructions or the baseline are not AlpacaEval's"
)


class AlpacaEvalScoring(Component):
    """How the scores are computed from the verdicts."""

    compat: Literal["upstream"] | None = None
    """`upstream`: alpaca_eval's folds, and its lookup of difficulties by row number."""
    C: float | None = Field(default=None, gt=0)
    """The inverse penalty strength; None: chosen by cross-validation, as published."""
    seed: int = 0
    """The seed of the bootstraps."""
    rounds: int = Field(default=1000, ge=0)
    """Refits for the length-controlled interval; 0: no interval."""


@dataclass(frozen=True)
class LengthControlResult:
    """Estimates in percent, with notes and the constants of the fit."""

    estimates: dict[str, Estimate] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    contributions: tuple[float, ...] = ()
    """Each item's contribution to the length-controlled win rate, in percent."""


def estimates(
    items: Sequence[Mapping[str, Any]],
    positions: Sequence[int] | None,
    folder: Path,
    *,
    scoring: AlpacaEvalScoring,
) -> LengthControlResult:
    """Return the estimates, or only a note if the data is missing.

    Args:
        items: The score's rows, unparsed ones included.
        positions: The index of each item's instruction in the eval set; None: the instructions or
            the baseline are not AlpacaEval's.
        folder: The directory with the protocol data.
        scoring: The variant, C, and the bootstrap's seed and size.
    """
    upstream = scoring.compat == "upstream"
    indices = range(len(items)) if upstream else positions
    try:
        gamed, difficulty = read_gamed(assets.require(GAMED, folder))
        fit = length_controlled_win_rate(
            judged_rows(items, indices, difficulty),
            gamed,
            seed=scoring.seed,
            rounds=scoring.rounds,
            order="introsort" if upstream else "stable",
            strength=scoring.C,
        )
    except (AssetError, CheckError) as error:
        return LengthControlResult(notes=(f"no {METRIC}: {error}",))
    stand_in_note = (STAND_IN_NOTE,) if assets.is_stand_in(GAMED, folder) else ()
    foreign_note = (BY_ROW_NOTE if upstream else FOREIGN_NOTE,) if positions is None else ()
    published = {"lc_standard_error": Estimate(fit.published_error)}
    details = _details(
        fit, difficulty="none" if indices is None else "row" if upstream else "instruction"
    )
    return LengthControlResult(
        {METRIC: fit.estimate, **published},
        (
            *_strength_note(fit, chosen=scoring.C is None),
            *_order_note(fit),
            ERROR_NOTE,
            *foreign_note,
            *stand_in_note,
        ),
        details | ({"compat": "upstream"} if upstream else {}),
        tuple(map(float, fit.contributions)),
    )


@lru_cache(maxsize=2)
def read_gamed(path: Path) -> tuple[GamedRows, dict[int, float]]:
    """Return the gamed rows, and the instructions' difficulties by index in the eval set.

    Raises:
        AssetError: the file cannot be read.
    """
    try:
        rows = read_csv(path)
        difficulty = {int(row["index"]): float(row["instruction_difficulty"]) for row in rows}
        columns = ("preference", "std_delta_len", "instruction_difficulty")
        return GamedRows(*(_column(rows, name) for name in columns)), difficulty
    except (OSError, ValueError, LookupError) as error:
        raise AssetError(f"{path} cannot be read ({error})") from error


def judged_rows(
    items: Sequence[Mapping[str, Any]],
    positions: Sequence[int] | None,
    difficulty: Mapping[int, float],
) -> ModelRows:
    """Return the items as the model's rows; without positions they have no difficulties.

    Raises:
        CheckError: the difficulty of an instruction is unknown.
    """
    if unknown := sorted(set(positions or ()) - set(difficulty)):
        raise CheckError(f"the difficulty of the instruction at index {unknown[0]} is unknown")
    preferences = [np.nan if i["preference"] is None else i["preference"] for i in items]
    return ModelRows(
        np.array(preferences, dtype=np.float64),
        np.array([item["length"] for item in items], dtype=np.float64),
        np.array([item["baseline_length"] for item in items], dtype=np.float64),
        None if positions is None else np.array([difficulty[position] for position in positions]),
    )


def _column(rows: Sequence[Mapping[str, str]], name: str) -> Floats:
    return np.array([float(row[name] or "nan") for row in rows])


def _strength_note(fit: LengthControlFit, *, chosen: bool) -> tuple[str, ...]:
    if fit.strength is None:
        return ()
    near = " and ".join(f"{value:.2f} at C = {c:.4g}" for c, value in fit.neighbors.items())
    how = "cross-validation chose" if chosen else "set to"
    return (f"{METRIC}: {how} C = {fit.strength:.4g}; it would be {near}",)


def _order_note(fit: LengthControlFit) -> tuple[str, ...]:
    """Return a note where the order of the rows in cross-validation changes the figure."""
    low, high = fit.order_range
    if high - low <= ORDER_TOLERANCE:
        return ()
    return (
        f"{METRIC}: {ORDER_PHRASE} alone makes it {low:.2f} to {high:.2f}; the order here is fixed",
    )


def _details(fit: LengthControlFit, difficulty: str) -> dict[str, Any]:
    """Return C, the win rate at the neighbouring values of C, and the lookup of difficulties."""
    near = {f"{c:.6g}": value for c, value in fit.neighbors.items()}
    constants = {
        "C": fit.strength,
        "at_neighbouring_C": near,
        "by_order_of_folds": list(fit.order_range),
        "difficulty_by": difficulty,
    }
    return {METRIC: constants}
