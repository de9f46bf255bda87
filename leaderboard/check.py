"""Checks every number of a paper's printed tables against the results.

The comments that `latex` writes hold the options of each table. The tables are rebuilt and compared
line by line: a line of the paper is identified by its first cell, and must hold the numbers of the
rebuilt one. Deleted lines, comments, and changes of layout do not matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import CheckError, InputError
from leaderboard.latex import BEGIN, END, render_latex
from leaderboard.table import Table

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
LAYOUT = re.compile(
    r"\\(?:bfseries|scriptsize|small|textit|textbf|textsuperscript|textdagger|multicolumn\{\d+\})"
    r"(?:\{@?\{?\}?[lcr]\})?"
)


@dataclass(frozen=True, slots=True)
class PrintedBlock:
    """A block of a paper that the leaderboard printed."""

    options: Any
    lines: tuple[tuple[int, str], ...]
    """The lines of tables, each with its line number in the file."""


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """The numbers of compared tables and numbers."""

    tables: int
    numbers: int


def check_numbers(path: Path, rebuild: Callable[[Any], Sequence[Table]]) -> CheckSummary:
    """Compare every printed number with the results.

    Args:
        path: The paper, or a file that it inputs.
        rebuild: Builds tables from a block's options.

    Raises:
        InputError: the file cannot be read, or holds no table printed by the leaderboard.
        CheckError: a number differs from the results, or its line is not in them.
    """
    blocks, numbers, mismatches = list(_blocks(path)), 0, list[str]()
    for block in blocks:
        current = _numbers_by_name(render_latex(rebuild(block.options), block.options).splitlines())
        for line_number, line in block.lines:
            name, printed = _parse_line(line)
            numbers += len(printed)
            mismatches += _mismatches(f"{path}:{line_number}", name, printed, current.get(name, []))
    if mismatches:
        more = f" and {len(mismatches) - 3} more" if len(mismatches) > 3 else ""
        raise CheckError(f"differs from the results: {'; '.join(mismatches[:3])}{more}")
    return CheckSummary(len(blocks), numbers)


def _mismatches(
    location: str, name: str, printed: Sequence[str], current: Sequence[Sequence[str]]
) -> Iterator[str]:
    label = name.replace("\\", "")
    if not current:
        yield f"{location} {label!r} is not in the results"
        return
    if list(printed) in [list(numbers) for numbers in current]:
        return
    nearest = min(current, key=lambda numbers: len(_differing_numbers(printed, numbers)))
    differing = _differing_numbers(printed, nearest)
    yield f"{location} {label!r}: {', '.join(f'{a} is {b}' for a, b in differing[:3])}"


def _differing_numbers(printed: Sequence[str], current: Sequence[str]) -> list[tuple[str, str]]:
    longest = max(len(printed), len(current))
    padded = ([*numbers, *["missing"] * (longest - len(numbers))] for numbers in (printed, current))
    return [(a, b) for a, b in zip(*padded, strict=True) if a != b]


def _blocks(path: Path) -> Iterator[PrintedBlock]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    starts = [i for i, line in enumerate(lines) if line.startswith(BEGIN + "{")]
    if not starts:
        raise InputError(
            f"{path} holds no table that `harness leaderboard --format latex` has printed, or its "
            "comments were removed: print it again"
        )
    for start in starts:
        end = next((i for i in range(start, len(lines)) if lines[i] == END), None)
        if end is None:
            raise InputError(
                f"{path}:{start + 1}: the line {END!r} is missing: print the table again"
            )
        try:
            options = json.loads(lines[start].removeprefix(BEGIN))
        except ValueError as error:
            raise InputError(f"{path}:{start + 1} is damaged ({error}): print it again") from error
        body = [(i + 1, lines[i]) for i in range(start + 1, end) if _is_table_line(lines[i])]
        yield PrintedBlock(options, tuple(body))


def _is_table_line(line: str) -> bool:
    return line.rstrip().endswith(r"\\") and "&" in line and not line.lstrip().startswith("%")


def _numbers_by_name(lines: Sequence[str]) -> dict[str, list[list[str]]]:
    numbers_by_name: dict[str, list[list[str]]] = {}
    for line in filter(_is_table_line, lines):
        name, numbers = _parse_line(line)
        numbers_by_name.setdefault(name, []).append(numbers)
    return numbers_by_name


def _parse_line(line: str) -> tuple[str, list[str]]:
    """Return a line's first cell and the numbers of its other cells."""
    first, *rest = re.split(r"(?<!\\)&", line.rstrip().removesuffix(r"\\"))
    texts = [re.sub(r"[{}]", "", LAYOUT.sub(" ", cell)) for cell in (first, *rest)]
    name = " ".join(texts[0].split())
    return name, [number for text in texts[1:] for number in NUMBER.findall(text)]
