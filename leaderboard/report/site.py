"""A folder that GitHub Pages or a Space serves as it stands.

DIR/index.html                              the report
DIR/README.md  .nojekyll                    what a Space and GitHub Pages want to find
DIR/models/<label>/README.md                text for the model's card
DIR/models/<label>/.eval_results/*.yaml     its results, for the model's repository on the hub
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import yaml

from harness.files import write_whole
from leaderboard.report.card import by_label, card, results
from leaderboard.report.content import Content

LONGEST = 120


def publish(content: Content, page: str, folder: Path) -> list[Path]:
    """Write the site, the page last; return its files.

    Raises:
        StoreError: the disk is full or not writable.
    """
    found = []
    for name, text in (*files(content), ("index.html", page)):
        write_whole(folder / name, text)
        found.append(folder / name)
    return found


def files(content: Content) -> Iterator[tuple[str, str]]:
    """Yield (path within the site, text) of all but the page."""
    yield ".nojekyll", ""
    yield "README.md", _space()
    for label, told in by_label(content.figures["groups"]).items():
        place = f"models/{folder_of(label)}"
        yield f"{place}/README.md", card(label, told)
        for name, text in results(told):
            yield f"{place}/.eval_results/{name}", text


def folder_of(label: str) -> str:
    """Return a name for a contestant's folder: percent-encoded, so that none leaves the site."""
    name = re.sub(r"^\.", "%2E", quote(label, safe=" +,@()=", errors="replace"))
    if len(name) > LONGEST or not name.strip():
        return f"{name[:LONGEST].strip()}-{hashlib.sha256(_bytes(label)).hexdigest()[:12]}"
    return name


def _bytes(label: str) -> bytes:
    return label.encode(errors="replace")


def _space() -> str:
    told = {"title": "Preference optimisation", "sdk": "static", "app_file": "index.html"}
    text = "The report is index.html; models/ holds text and results for the models' own pages."
    return f"---\n{yaml.safe_dump(told, sort_keys=False)}---\n\n{text}\n"
