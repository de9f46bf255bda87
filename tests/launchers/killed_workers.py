"""Work whose process is killed once, after a shard's computation and before its commit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.core.config import Component
from harness.engines.transformers import TransformersEngine
from harness.types import Completion

ENGINE = {"use": "tests.launchers.killed_workers:KilledOnceEngine"}


class KilledOnceEngine(Component):
    """An engine whose process is killed when it has sampled the middle prompt."""

    inner: TransformersEngine = TransformersEngine()
    diary: str | None = Field(None, exclude=True)
    """Where it notes who sampled what; None: nothing is killed."""
    gpus: ClassVar[int] = 1

    def generate(self, policy, requests, sampling, advance) -> list[Completion]:
        return self.inner.generate(policy, requests, sampling, advance)

    @contextmanager
    def resident(self, policy, requests, sampling) -> Iterator:
        with self.inner.resident(policy, requests, sampling) as answer:

            def answer_once(positions: Sequence[int], advance) -> list[Completion]:
                completions = answer(positions, advance)
                if self.diary is not None:
                    note(Path(self.diary), positions[0], kill=len(requests) // 2 in positions)
                return completions

            yield answer_once


def note(diary: Path, shard: int, *, kill: bool) -> None:
    (diary / f"{shard}-{os.getpid()}").touch()
    time.sleep(0.2)  # so that the other worker takes its share
    killed = diary.parent / "killed"
    if kill and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
