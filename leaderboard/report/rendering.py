"""The report as one HTML file that loads nothing, and in which only its own script may run.

Results are in data blocks, which no browser runs, and the script sets them as text, never as
markup. The content security policy names the script and the style by their digests, so that neither
markup that breaks out of a block nor a bug could run anything else.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from harness.core.io import write_atomically
from leaderboard.html import render_html_template
from leaderboard.report.content import Content
from leaderboard.report.figures import draw_figures
from leaderboard.report.site import publish_site

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
"""Higher levels take twice the time to save a hundredth of the size."""


def render_page(content: Content, title: str = TITLE) -> str:
    """Return the whole page."""
    style, script = _asset("style.css"), _script()
    return render_html_template(
        "report.html",
        title=title,
        policy=security_policy(style, script),
        style=style,
        script=script,
        figures=json_block(content.figures),
        texts=[pack(data) for data in content.texts],
    )


def security_policy(style: str, script: str) -> str:
    """Return a content security policy that allows this style and this script only."""
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
    """Return plain data as JSON that cannot end the element around it."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def pack(data: Any) -> str:
    """Return plain data as compressed JSON (gzip, base64), the same bytes every time."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), GZIP_LEVEL, mtime=0)).decode()


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
    """Write the page, the figures and the site as requested, once all figures are drawn.

    Raises:
        MissingDependencyError: figures need matplotlib, which is not installed.
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
