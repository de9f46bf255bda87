"""The files of a report."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_whole
from leaderboard.report.content import Content
from leaderboard.report.drawn import drawn
from leaderboard.report.site import publish as publish_site


def write(
    found: Content, text: str, out: Path | None, figures: Path | None, publish: Path | None
) -> list[Path]:
    """Write what was asked for; the figures are all drawn before the first is written.

    Raises:
        MissingDependencyError: figures are wanted and matplotlib is not installed.
        StoreError: a folder cannot be written.
    """
    made = list(drawn(found.figures)) if figures else []
    files: list[tuple[Path, str | bytes]] = [(Path(figures or "") / name, d) for name, d in made]
    files += [(out, text)] if out else []
    for path, data in files:
        write_whole(path, data)
    site = publish_site(found, text, publish) if publish else []
    return [path for path, _ in files] + site
