"""HTML from the package's own templates: Jinja with autoescape, the same bytes every time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.terminal import printable

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _finalize(value: Any) -> Any:
    """Take control characters out of texts; markup that is marked as safe stays."""
    return printable(value) if type(value) is str else value


def render_html_template(name: str, **values: Any) -> str:
    """Return a template filled with values: every text is escaped, in one pass.

    A value that looks like a tag of the template stays a text.
    """
    return _environment().get_template(name).render(**values)
