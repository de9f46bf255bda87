"""The only functions that print: they leave out what could steer a terminal.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import typer

from harness.core.terminal import printable, printable_lines


def print_line(text: object = "") -> None:
    """Print a line, or several, to standard output, without what could steer a terminal."""
    typer.echo(printable_lines(str(text)))


def print_text(text: str, *, colours: bool = False) -> None:
    """Print a text that ends its last line itself; `colours` keeps the styles of rich."""
    typer.echo(printable_lines(text, colours=colours), nl=False)


def notify(text: str) -> None:
    """Print a line to standard error."""
    typer.echo(printable_lines(text), err=True)


def confirm(question: str) -> None:
    """Ask a question on the terminal; the command ends unless the answer is yes."""
    typer.confirm(printable(question), abort=True, err=True)


def print_error(text: str) -> None:
    """Print a line to standard error, in red on a terminal."""
    typer.secho(printable(text), fg="red", err=True)
