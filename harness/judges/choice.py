"""The judge that a configuration describes, with its memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.judges.panel import Panel, PanelJudge
from harness.judges.stored import StoredJudge, Terms


def remembering(asked: Any, path: Path, terms: Terms) -> StoredJudge | PanelJudge:
    """Return a judge, or a panel of judges, whose verdicts are kept in the store at `path`."""
    if isinstance(asked, Panel):
        return PanelJudge([StoredJudge(one, path, terms) for one in asked.members], asked.rule)
    return StoredJudge(asked, path, terms)
