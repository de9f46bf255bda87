"""AlpacaEval's leaderboard rows beside what the harness makes of the same annotations.

Of every model in `published.csv` whose annotations are there. The length-controlled win rate is
held twice: at the C of the published weights, where it is the published figure, and at the C that
cross-validation chooses here, which depends on the machine in alpaca_eval itself.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.benchmarks.alpaca_eval_length import METRIC, Scoring
from harness.errors import AssetError
from harness.statistics.length_controlled_glm import STRENGTHS
from harness.types import Figure, Graded, Score

if TYPE_CHECKING:
    from harness.benchmarks.alpaca_eval import AlpacaEval

TABLE, FOLDER = "alpaca_eval/published.csv", "alpaca_eval/annotations"
EXACT, AT_C, BY_INSTRUCTION, CHOSEN = 1e-6, 1e-5, 1e-3, 0.16
"""Tolerances, in percentage points; of counts the first."""
LOST = 2.0
"""By how many characters a mean length may differ where answers are missing."""
ESTIMATES = ("win_rate", "discrete_win_rate")
COUNTS = ("n_wins", "n_wins_base", "n_draws", "n_total")
WHY_CHOSEN = "cross-validation chooses another C: its folds depend on numpy and the processor"
WHY_LENGTH = "published over answers that the annotations do not hold"
WHY_ROWS = "published with difficulties looked up by row; rows are missing"
Row = Mapping[str, str]


def published(benchmark: AlpacaEval, folder: Path) -> Iterator[Figure]:
    """Yield every published figure with its recomputation.

    Raises:
        AssetError: there is no table of published rows.
    """
    if not (table := folder / TABLE).is_file():
        raise AssetError(f"{table} is missing: name a folder that has it with --assets DIR")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = folder / FOLDER / f"{row['model']}.json.gz"
        if path.is_file():
            (graded,) = benchmark.read_verdicts(path)
            yield from _figures(benchmark, graded, row)


def _figures(benchmark: AlpacaEval, graded: Graded, row: Row) -> Iterator[Figure]:
    exact = _score(benchmark, graded, compat="upstream", C=_published_c(row))
    yield from _plain(exact, row)
    yield from _length_controlled(benchmark, graded, exact, row)


def _plain(score: Score, row: Row) -> Iterator[Figure]:
    rate = score.estimates["win_rate"]
    found = {name: score.estimates[name].value for name in ESTIMATES}
    found |= {"standard_error": rate.standard_error or 0.0}
    found |= {name: float(score.counts[name]) for name in COUNTS}
    for name, value in found.items():
        if row.get(name):
            yield Figure(f"{row['model']} {name}", float(row[name]), value, EXACT)
    complete = score.counts["asked"] == 805
    length, told = float(score.counts["avg_length"]), row.get("avg_length")
    if told:
        why = "" if float(told) == length else WHY_LENGTH
        tolerance = EXACT if complete else LOST
        yield Figure(f"{row['model']} avg_length", float(told), length, tolerance, why)


def _length_controlled(
    benchmark: AlpacaEval, graded: Graded, exact: Score, row: Row
) -> Iterator[Figure]:
    if not row.get("length_controlled_winrate"):
        return
    name, wanted = row["model"], float(row["length_controlled_winrate"])
    at = f" at C = {_published_c(row):.4g}" if row.get("regularisation_C_published") else ""
    yield Figure(f"{name} {METRIC}{at}", wanted, exact.estimates[METRIC].value, AT_C)
    if row.get("lc_standard_error"):
        error = exact.estimates["lc_standard_error"].value
        yield Figure(f"{name} lc_standard_error{at}", float(row["lc_standard_error"]), error, AT_C)
    chosen = _score(benchmark, graded, compat="upstream").estimates[METRIC].value
    why = "" if abs(chosen - wanted) <= AT_C else WHY_CHOSEN
    yield Figure(f"{name} {METRIC}, C chosen", wanted, chosen, CHOSEN, why)
    if told := row.get("lc_with_difficulty_by_instruction"):
        own = _score(benchmark, graded, C=_published_c(row)).estimates[METRIC].value
        what = f"{name} {METRIC}{at}, difficulties by instruction"
        yield Figure(what, float(told), own, BY_INSTRUCTION, f"{wanted:.2f} was {WHY_ROWS}")


def _score(benchmark: AlpacaEval, graded: Graded, **options: object) -> Score:
    scoring = Scoring.model_validate({**options, "rounds": 0})
    return benchmark.model_copy(update={"scoring": scoring}).score([graded])[0]


def _published_c(row: Row) -> float | None:
    """Return the published C, on the grid of those tried; None where nothing was fitted."""
    told = row.get("regularisation_C_published")
    return min(STRENGTHS, key=lambda c: abs(c - float(told))) if told else None
