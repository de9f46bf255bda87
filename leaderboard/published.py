"""Rows of what others have published: one CSV a document, a line a figure.

Every line names the document, its version, the table and the day on which it was read. Where a
document does not say who judged or against whom, the protocol's own judge and baseline stand there
(AlpacaEval 2.0 and Arena-Hard v0.1: gpt-4-1106-preview; MT-Bench: gpt-4), or `not stated` where the
document uses several. Figures are printed as published, with two decimals at most.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.config import known
from harness.errors import ConfigError
from harness.types import Estimate
from leaderboard.rows import Document, Row

FOLDER = Path(__file__).parent / "published"
ALL = "all"
MOST_DIGITS = 2
Line = dict[str, str]


def documents() -> list[str]:
    """Return the names by which documents can be asked for."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


def published(names: Iterable[str]) -> list[Row]:
    """Return the rows of documents, in the order of their tables.

    Raises:
        ConfigError: there is no document of that name.
    """
    wanted = list(names)
    for name in wanted:
        if name not in (ALL, *documents()):
            raise ConfigError(f"no document called {name!r}{known(name, [*documents(), ALL])}")
    chosen = [name for name in documents() if name in wanted or ALL in wanted]
    return [row for name in chosen for row in _rows(FOLDER / f"{name}.csv")]


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        keys = ("version", "table", "label", "base", "iteration", "benchmark", "judge")
        groups.setdefault(tuple(line[key] for key in keys), []).append(line)
    return (_row(group) for group in groups.values())


def _row(lines: Sequence[Line]) -> Row:
    first = lines[0]
    document = Document(*(first[key] for key in ("document", "version", "table", "read")))
    return Row(
        label=first["label"],
        benchmark=first["benchmark"],
        judge=first["judge"],
        estimates={line["metric"]: _estimate(line) for line in lines},
        asked=None,
        judged=None,
        mean_length=_number(_first(lines, "mean_length")),
        source=document.told,
        baseline=first["baseline"],
        tokens=_number(_first(lines, "tokens")),
        base=first["base"],
        method=first["ours"] or first["label"],
        iteration=int(first["iteration"]) if first["iteration"] else None,
        notes=tuple(dict.fromkeys(line["note"] for line in lines if line["note"])),
        document=document,
        ours=first["ours"],
        digits={line["metric"]: _digits(line["value"]) for line in lines},
    )


def _estimate(line: Line) -> Estimate:
    low, high, error = (_number(line[key]) for key in ("low", "high", "standard_error"))
    return Estimate(float(line["value"]), low, high, error)


def _first(lines: Sequence[Line], key: str) -> str:
    return next((line[key] for line in lines if line[key]), "")


def _number(text: str) -> float | None:
    return float(text) if text else None


def _digits(text: str) -> int:
    return min(MOST_DIGITS, len(text.partition(".")[2]))
