"""Machines on which the user starts the same command: torchrun's processes, its store and ranks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from harness.core.config import Component
from harness.core.jobs import GroupJob, ShardedJob
from harness.launchers import gang, leading
from harness.types import Advance


class TorchrunLauncher(Component):
    """Has all processes that torchrun started sample, compare, score and train; the first leads."""

    shard_size: int = Field(512, gt=0)
    """How many prompts a process samples or compares, or pairs it scores, at a time."""
    patience: float = Field(60.0, gt=0)
    """Seconds without a sign of life after which a process counts as lost."""

    @property
    def is_leader(self) -> bool:
        """Whether this process tells the user how the run goes."""
        return os.environ.get("RANK", "0") == "0"

    def processes(self) -> int:
        """Return how many processes there are for a training."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    def launch(self, run: gang.Run, told: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Run in the first process, and serve it in the others."""
        gang.conduct(run, told, self.patience)

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        """Have every piece done that does not stand; a lost process's piece goes to another."""
        leading.spread(job, advance, self.patience)

    def run_group(self, job: GroupJob, processes: int) -> None:
        """Have so many processes call the task's function, in one group of torch's."""
        leading.together(job, processes, self.patience)
