"""Text from outside (a server, a model, a log) made safe to print."""

from __future__ import annotations

import re

LONG_LINE, SHORT_LINE = 200, 60
"""Characters of a server's message, and of a value, that an error message quotes."""
_COLOURS = re.compile(r"(\x1b\[[0-9;]*m)")
"""What rich writes for the style of a cell."""


def printable(text: str) -> str:
    """Return a text with a space for every character that could steer a terminal.

    These are control characters and escape sequences' first character, line breaks, invisible
    characters, those that change the direction of writing, and halves of surrogate pairs.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def printable_lines(text: str, *, colours: bool = False) -> str:
    """Return a text of several lines with every line printable; tabs are kept.

    Args:
        text: any text.
        colours: keep sequences that only set colours and styles: of a text that is printable but
            for the styles that the harness gave it.
    """
    if colours:
        parts = _COLOURS.split(text)
        return "".join(p if i % 2 else printable_lines(p) for i, p in enumerate(parts))
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def one_line(text: str, limit: int | None = LONG_LINE) -> str:
    """Return a text as one printable line.

    Args:
        text: any text.
        limit: characters after which the line is cut off with `...`; None to keep all.
    """
    line = " ".join(printable(text).split())
    return line if limit is None or len(line) <= limit else line[:limit] + "..."


def shorten(text: str) -> str:
    """Return a text as one short line, as an error message quotes it."""
    return one_line(text, SHORT_LINE)
