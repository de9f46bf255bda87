"""The report as one HTML file: nothing is fetched, and only the page's own script may run.

What a result holds stands in data blocks, which no browser runs, and the script sets it as text,
never as markup. The content security policy names the script and the style by their digests, so
that neither a block that is broken out of nor a careless line could run anything else.
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

from leaderboard.report.content import Content

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
LEVEL = 6
"""Of gzip: higher ones take twice the time for a hundredth of the size."""


def page(content: Content, title: str = TITLE) -> str:
    """Return the whole page."""
    style, script = _asset("style.css"), _script()
    texts = (_text(at, data) for at, data in enumerate(content.texts))
    parts = {
        "title": html.escape(title),
        "policy": policy(style, script),
        "style": style,
        "script": script,
        "figures": block(content.figures),
        "texts": "\n".join(texts),
    }
    return filled(_asset("page.html"), parts)


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Put each part in its place, in one pass: what looks like a place within a part stays."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def policy(style: str, script: str) -> str:
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


def block(data: Any) -> str:
    """Return plain data as JSON that cannot end the element that it stands in."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(data: Any) -> str:
    """Return plain data as packed JSON (gzip, base64), the same bytes every time."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), LEVEL, mtime=0)).decode()


def _text(at: int, data: Any) -> str:
    return f'<script type="text/plain" id="texts-{at}">{packed(data)}</script>'


def _script() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
