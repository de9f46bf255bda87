"""Tables through a user's own template: Jinja in a sandbox that loads no other files.

A template sees `tables` (see `formats.table_data`) and `options`. Its output is escaped by the
ending of its name: LaTeX (`table.tex`, `table.tex.j2`), HTML, or Markdown; for any other name,
control characters are removed. LaTeX uses braces itself, so there tags are `<< value >>` and
`<% for ... %>`. `value | safe` prints text unescaped.
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
    """Text that a template prints unescaped."""


def render_template(path: Path, tables: Sequence[Table], options: Any) -> str:
    """Return a template filled with tables.

    Raises:
        InputError: it cannot be read, does not fit, or does something that the sandbox forbids.
    """
    from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
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
        return sandbox.from_string(text).render(tables=formats.table_data(tables), options=options)
    except TemplateError as error:
        line = error.lineno if isinstance(error, TemplateSyntaxError) else None
        raise InputError(f"{path}{f', line {line}' if line else ''}: {error}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not fit the tables: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read the template {path}: {error.strerror}") from error


def _kind(path: Path) -> str:
    stripped = path.with_suffix("") if path.suffix in ENDINGS else path
    return stripped.suffix.lower()


def _escape_for(kind: str) -> Callable[[Any], str]:
    """Return the function that escapes the output of a kind of template."""
    by_kind: dict[str, Callable[[str], str]] = {
        ".tex": escape_latex,
        ".html": lambda text: escape(printable(text)),
        ".md": formats.escape_markdown,
    }
    escape_value = by_kind.get(kind, printable)
    return lambda value: str(value) if isinstance(value, SafeText) else escape_value(str(value))
