"""What the library reports while it works: lines of the logger `harness`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.core.stages import Artifact, Stage

LOGGER = logging.getLogger("harness")


def report_stage(stage: Stage, artifact: Artifact) -> None:
    """Log that a stage was created, or that its result was cached."""
    state = "created" if artifact.created else "cached"
    LOGGER.info("%s: %s in %s", stage.label or stage.name, state, artifact.path)
