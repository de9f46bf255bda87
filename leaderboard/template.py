"""Tables through a template of the user's own: Jinja, in a sandbox, with nothing to load.

A template sees `tables` (see `render.data`) and `asked`. Whatever it prints is escaped for the kind
of file that its name says: LaTeX (`table.tex`, `table.tex.j2`), HTML, or Markdown; any other name:
control characters are taken out. In LaTeX, where braces are taken, tags are `<< value >>` and
`<% for ... %>`. `value | safe` prints text as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from harness.core.terminal import printable
from harness.errors import InputError
from leaderboard import formats
from leaderboard.latex import escape_latex
from leaderboard.table import Table

TAGS = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}
ENDINGS = (".j2", ".jinja", ".jinja2")


class SafeText(str):
    """Text that a template prints as it is."""


def render_template(path: Path, tables: Sequence[Table], options: Any) -> str:
    """Return what a template makes of the tables.

    Raises:
        InputError: it cannot be read, does not fit, or reaches for what the sandbox withholds.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    kind = _kind(path)
    escaping = _escape_for(kind)
    tags: dict[str, Any] = TAGS if kind == ".tex" else {}
    sandbox = ImmutableSandboxedEnvironment(
        finalize=escaping,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **tags,
    )
    sandbox.filters["safe"] = SafeText
    try:
        text = path.read_text(encoding="utf-8")
        return sandbox.from_string(text).render(tables=formats.table_data(tables), asked=options)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"{path}{f', line {line}' if line else ''}: {error}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not fit the tables: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read the template {path}: {error.strerror}") from error


def _kind(path: Path) -> str:
    stripped = path.with_suffix("") if path.suffix in ENDINGS else path
    return stripped.suffix.lower()


def _escape_for(kind: str) -> Callable[[Any], str]:
    """Return what is done to everything that a template of a kind prints."""
    by_kind: dict[str, Callable[[str], str]] = {
        ".tex": escape_latex,
        ".html": lambda text: escape(printable(text)),
        ".md": formats.escape_markdown,
    }
    escape_value = by_kind.get(kind, printable)
    return lambda value: str(value) if isinstance(value, SafeText) else escape_value(str(value))
