"""The judge that a configuration describes, with its memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.judges.batched import BatchedJudge
from harness.judges.client import OpenAIJudge
from harness.judges.panel import Panel, PanelJudge
from harness.judges.stored import StoredJudge, Terms


def remembering(asked: Any, path: Path, terms: Terms) -> StoredJudge | BatchedJudge | PanelJudge:
    """Return a judge, or a panel of judges, whose verdicts are kept in the store at `path`.

    Raises:
        ConfigError: this kind of judge takes no batches.
    """
    if isinstance(asked, Panel):
        return PanelJudge([_one(member, path, terms) for member in asked.members], asked.rule)
    return _one(asked, path, terms)


def _one(asked: Any, path: Path, terms: Terms) -> StoredJudge | BatchedJudge:
    if terms.batch is None:
        return StoredJudge(asked, path, terms)
    if not isinstance(asked, OpenAIJudge):
        raise ConfigError(f"{type(asked).__name__} takes no batches: leave out --batch, --resume")
    return BatchedJudge(asked, path, terms)
