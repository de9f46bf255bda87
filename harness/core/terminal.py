"""Text from outside (a server, a model, a log) made safe to print."""

from __future__ import annotations

LONG_LINE, SHORT_LINE = 200, 60
"""Characters of a server's message, and of a value, that an error message quotes."""


def printable(text: str) -> str:
    """Return a text with a space for every character that could steer a terminal.

    These are control characters and escape sequences' first character, line breaks, invisible
    characters, those that change the direction of writing, and halves of surrogate pairs.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


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
