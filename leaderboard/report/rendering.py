"""The report as one HTML file: nothing is fetched, and only the page's own script may run.

What a result holds stands in data blocks, which no browser runs, and the script sets it as text,
never as markup. The content security policy names the script and the style by their digests, so
that neither a block that is broken out of nor a careless line could run anything else.

The files of a report.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.io import write_atomically
from leaderboard.report.content import Content
from leaderboard.report.figures import draw_figures
from leaderboard.report.site import publish_site as publish_site

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = (
    "dom",
    "texts",
    "table",
    "plot",
    "figures",
    "compare",
    "curves",
    "bridges",
    "diff",
    "comparison",
    "viewer",
    "main",
)
TITLE = "Preference optimisation: report"
GZIP_LEVEL = 6
"""Of gzip: higher ones take twice the time for a hundredth of the size."""


def render_page(content: Content, title: str = TITLE) -> str:
    """Return the whole page."""
    style, script = _asset("style.css"), _script()
    texts = (_text_block(index, data) for index, data in enumerate(content.texts))
    parts = {
        "title": html.escape(title),
        "policy": security_policy(style, script),
        "style": style,
        "script": script,
        "figures": json_block(content.figures),
        "texts": "\n".join(texts),
    }
    return fill_template(_asset("page.html"), parts)


def fill_template(template: str, parts: Mapping[str, str]) -> str:
    """Put each part in its place, in one pass: what looks like a place within a part stays."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def security_policy(style: str, script: str) -> str:
    """Return a content security policy that allows this style and this script and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def json_block(data: Any) -> str:
    """Return plain data as JSON that cannot end the element that it stands in."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def pack(data: Any) -> str:
    """Return plain data as packed JSON (gzip, base64), the same bytes every time."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), GZIP_LEVEL, mtime=0)).decode()


def _text_block(index: int, data: Any) -> str:
    return f'<script type="text/plain" id="texts-{index}">{pack(data)}</script>'


def _script() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def write_report(
    content: Content,
    text: str,
    out: Path | None,
    figures_folder: Path | None,
    site_folder: Path | None,
) -> list[Path]:
    """Write what was asked for; the figures are all drawn before the first is written.

    Raises:
        MissingDependencyError: figures are wanted and matplotlib is not installed.
        StoreError: a folder cannot be written.
    """
    drawings = list(draw_figures(content.figures)) if figures_folder else []
    files: list[tuple[Path, str | bytes]] = [
        (Path(figures_folder or "") / name, d) for name, d in drawings
    ]
    files += [(out, text)] if out else []
    for path, data in files:
        write_atomically(path, data)
    site = publish_site(content, text, site_folder) if site_folder else []
    return [path for path, _ in files] + site
