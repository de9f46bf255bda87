"""Every number of a table that was printed for a paper, made again from the results.

The block of comments that `latex` writes says what was asked for. The tables are made again and
compared, line by line: a line of the paper is known by its first cell, and must hold the numbers
that stand there now. Lines that were taken out, comments, and changes of layout are no matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import CheckError, InputError
from leaderboard.latex import BEGIN, END, latex
from leaderboard.table import Table

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
LAYOUT = re.compile(
    r"\\(?:bfseries|scriptsize|small|textit|textbf|textsuperscript|textdagger|multicolumn\{\d+\})"
    r"(?:\{@?\{?\}?[lcr]\})?"
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a paper that was printed by the leaderboard."""

    asked: Any
    lines: tuple[tuple[int, str], ...]
    """The lines of tables, each with its number in the file."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How much was compared."""

    tables: int
    numbers: int


def check(path: Path, make: Callable[[Any], Sequence[Table]]) -> Checked:
    """Compare every number with what is made of the results now.

    Args:
        path: The paper, or a file that it inputs.
        make: Makes tables again from what was asked for.

    Raises:
        InputError: the file cannot be read, or holds nothing that was printed by the leaderboard.
        CheckError: a number is not what the results give, or belongs to nobody.
    """
    blocks, numbers, wrong = list(_blocks(path)), 0, list[str]()
    for block in blocks:
        now = _by_name(latex(make(block.asked), block.asked).splitlines())
        for number, line in block.lines:
            name, printed = _read(line)
            numbers += len(printed)
            wrong += _compared(f"{path}:{number}", name, printed, now.get(name, []))
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckError(f"not what the results give: {'; '.join(wrong[:3])}{more}")
    return Checked(len(blocks), numbers)


def _compared(
    where: str, name: str, printed: Sequence[str], now: Sequence[Sequence[str]]
) -> Iterator[str]:
    told = name.replace("\\", "")
    if not now:
        yield f"{where} {told!r} is not in the results"
        return
    if list(printed) in [list(numbers) for numbers in now]:
        return
    nearest = min(now, key=lambda numbers: len(_apart(printed, numbers)))
    apart = _apart(printed, nearest)
    yield f"{where} {told!r}: {', '.join(f'{a} is {b}' for a, b in apart[:3])}"


def _apart(printed: Sequence[str], now: Sequence[str]) -> list[tuple[str, str]]:
    longest = max(len(printed), len(now))
    padded = ([*numbers, *["missing"] * (longest - len(numbers))] for numbers in (printed, now))
    return [(a, b) for a, b in zip(*padded, strict=True) if a != b]


def _blocks(path: Path) -> Iterator[Block]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    begun = [i for i, line in enumerate(lines) if line.startswith(BEGIN + "{")]
    if not begun:
        raise InputError(
            f"{path} holds no table that `harness leaderboard --format latex` has printed, or its "
            "comments were taken out: print it again"
        )
    for at in begun:
        end = next((i for i in range(at, len(lines)) if lines[i] == END), None)
        if end is None:
            raise InputError(f"{path}:{at + 1}: the line {END!r} is missing: print the table again")
        try:
            asked = json.loads(lines[at].removeprefix(BEGIN))
        except ValueError as error:
            raise InputError(f"{path}:{at + 1} is damaged ({error}): print it again") from error
        body = [(i + 1, lines[i]) for i in range(at + 1, end) if _is_line(lines[i])]
        yield Block(asked, tuple(body))


def _is_line(line: str) -> bool:
    return line.rstrip().endswith(r"\\") and "&" in line and not line.lstrip().startswith("%")


def _by_name(lines: Sequence[str]) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    for line in filter(_is_line, lines):
        name, numbers = _read(line)
        found.setdefault(name, []).append(numbers)
    return found


def _read(line: str) -> tuple[str, list[str]]:
    """Return a line's first cell and the numbers of the others."""
    first, *rest = re.split(r"(?<!\\)&", line.rstrip().removesuffix(r"\\"))
    texts = [re.sub(r"[{}]", "", LAYOUT.sub(" ", cell)) for cell in (first, *rest)]
    name = " ".join(texts[0].split())
    return name, [number for text in texts[1:] for number in NUMBER.findall(text)]
