"""AlpacaEval 2.0's length-controlled win rate: the protocol data, and what is said of the fit.

`df_gamed.csv` holds the gamed baseline's rows and, by `index`, the difficulty of the instruction at
that place of the eval set. Difficulties are looked up by instruction; alpaca_eval looks them up by
the row's place, which is another's where an instruction before it has no row (`upstream`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.benchmarks import assets
from harness.errors import AssetError, CheckError
from harness.statistics.length_controlled_glm import (
    Gamed,
    Judged,
    LengthControlled,
    length_controlled_win_rate,
)
from harness.statistics.resampling import Floats
from harness.types import Estimate

GAMED = "alpaca_eval/df_gamed.csv"
METRIC = "length_controlled_win_rate"
STAND_IN = (
    f"{GAMED} is a reconstruction: at a given C {METRIC} is as published, but the C chosen, and "
    "with it the figure by about 0.15 points, can differ"
)

Found = tuple[dict[str, Estimate], tuple[str, ...]]


def estimates(
    items: Sequence[Mapping[str, Any]],
    places: Sequence[int],
    folder: Path,
    *,
    seed: int,
    upstream: bool = False,
) -> Found:
    """Return the estimates, in percent, and the notes; without the data, a note alone.

    Args:
        items: The score's rows, unread ones included.
        places: Of each item's instruction in the eval set.
        folder: With the protocol data.
        seed: Of the bootstrap.
        upstream: Make alpaca_eval's folds and look difficulties up by the row's place.
    """
    try:
        gamed, difficulty = read(assets.require(GAMED, folder))
        rows = judged(items, range(len(items)) if upstream else places, difficulty)
        order: Literal["stable", "introsort"] = "introsort" if upstream else "stable"
        found = length_controlled_win_rate(rows, gamed, seed=seed, order=order)
    except (AssetError, CheckError) as error:
        return {}, (f"no {METRIC}: {error}",)
    told = (STAND_IN,) if assets.stand_in(GAMED, folder) else ()
    published = {"lc_standard_error": Estimate(found.published_error)}
    return {METRIC: found.estimate, **published}, (*_told(found), *told)


def read(path: Path) -> tuple[Gamed, dict[int, float]]:
    """Return the gamed rows, and every instruction's difficulty by its place in the eval set.

    Raises:
        AssetError: the file is not what it should be.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        difficulty = {int(row["index"]): float(row["instruction_difficulty"]) for row in rows}
        columns = ("preference", "std_delta_len", "instruction_difficulty")
        return Gamed(*(_column(rows, name) for name in columns)), difficulty
    except (OSError, ValueError, LookupError) as error:
        raise AssetError(f"{path} cannot be read ({error})") from error


def judged(
    items: Sequence[Mapping[str, Any]], places: Sequence[int], difficulty: Mapping[int, float]
) -> Judged:
    """Return the items as the model's rows.

    Raises:
        CheckError: there is an instruction of unknown difficulty.
    """
    if unknown := sorted(set(places) - set(difficulty)):
        raise CheckError(f"no difficulty is known of the instruction at place {unknown[0]}")
    preferences = [np.nan if i["preference"] is None else i["preference"] for i in items]
    return Judged(
        np.array(preferences, dtype=np.float64),
        np.array([item["length"] for item in items], dtype=np.float64),
        np.array([item["baseline_length"] for item in items], dtype=np.float64),
        np.array([difficulty[place] for place in places]),
    )


def _column(rows: Sequence[Mapping[str, str]], name: str) -> Floats:
    return np.array([float(row[name] or "nan") for row in rows])


def _told(found: LengthControlled) -> tuple[str, ...]:
    if found.strength is None:
        return ()
    near = " and ".join(f"{value:.2f} at C = {c:.4g}" for c, value in found.neighbours.items())
    return (f"{METRIC}: cross-validation chose C = {found.strength:.4g}; it would be {near}",)
