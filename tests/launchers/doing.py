"""What the launchers' tests have done: importable by its name in every worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.core.config import Component
from harness.core.jobs import GroupJob, ShardedJob
from harness.engines.transformers import TransformersEngine
from harness.errors import CheckError
from harness.launchers.local import LocalLauncher
from harness.training import reference_logps
from harness.types import Advance, Completion


def squares_of(place: Path, count: int = 8, **told) -> ShardedJob:
    """Work on so many numbers; `told` says what befalls whom."""
    names = tuple(f"prompts 'a{n}' to 'b{n}'" for n in range(count))
    diary = place / "diary"
    diary.mkdir(exist_ok=True)
    given = {"diary": str(diary), **told}
    return ShardedJob(squares, given, (1,) * count, place / "work", names=names)


@contextmanager
def squares(told):
    diary = Path(told["diary"])
    sys.stdout.write("ready to square\n")
    if told.get("unfit"):
        sys.stdout.write("no room for the weights\n")
        os._exit(3)

    def do(piece: int, out: Path, advance) -> None:
        (diary / f"{piece}-{os.getpid()}").touch()
        (out / "square").write_text(str(piece**2))
        advance(1)
        time.sleep(told.get("seconds", 0.05))
        if piece == told.get("refuses"):
            raise CheckError("seven is not square")
        if piece == told.get("kills") and len(list(diary.glob(f"{piece}-*"))) <= told["times"]:
            sys.stdout.write("it is too much\n")
            os.kill(os.getpid(), signal.SIGKILL)

    yield do


def who_did(place: Path) -> dict[str, set[str]]:
    """The pieces that each process began."""
    found: dict[str, set[str]] = {}
    for entry in (place / "diary").iterdir():
        piece, process = entry.name.split("-")
        found.setdefault(process, set()).add(piece)
    return found


class Mortal(Component):
    """An engine whose process is killed once, when it has sampled a piece and not written it."""

    inner: TransformersEngine = TransformersEngine()
    diary: str | None = Field(None, exclude=True)
    """Where it notes who sampled what; None: nobody is killed."""
    gpus: ClassVar[int] = 1

    def generate(self, policy, requests, sampling, advance) -> list[Completion]:
        return self.inner.generate(policy, requests, sampling, advance)

    @contextmanager
    def resident(self, policy, requests, sampling) -> Iterator:
        with self.inner.resident(policy, requests, sampling) as answer:

            def mortal(positions: Sequence[int], advance) -> list[Completion]:
                found = answer(positions, advance)
                if self.diary is not None:
                    self._note(positions, len(requests))
                return found

            yield mortal

    def _note(self, positions: Sequence[int], count: int) -> None:
        (Path(self.diary) / f"{positions[0]}-{os.getpid()}").touch()
        time.sleep(0.2)  # so that the other worker comes to its share
        killed = Path(self.diary).parent / "killed"
        if count // 2 in positions and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def mortal_scoring(told) -> Iterator:
    """Score an anchor's pieces; one worker is killed when it has scored a piece, not kept it."""
    diary = Path(told["diary"])
    with reference_logps.shard_scorer(told["told"]) as do:

        def mortal(piece: int, out: Path, advance) -> None:
            do(piece, out, advance)
            (diary / f"{piece}-{os.getpid()}").touch()
            time.sleep(0.2)  # so that the other worker comes to its share
            killed = diary.parent / "killed"
            if piece == 2 and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        yield mortal


class Counted(Component):
    """A launcher that notes when it is asked for processes, of which it has two."""

    asked: str
    inner: LocalLauncher = LocalLauncher()
    piece: int = 512

    def processes(self) -> int:
        Path(self.asked).touch()
        return 2

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        self.inner.map_shards(job, advance)

    def run_group(self, job: GroupJob, processes: int) -> None:
        self.inner.run_group(job, processes)


def gathered(told) -> None:
    """Every process of a group adds its number."""
    import torch
    import torch.distributed as dist

    total = torch.tensor(float(dist.get_rank() + 1))
    dist.all_reduce(total)
    if told.get("refuses"):
        raise CheckError("no sum is wanted")
    if dist.get_rank() == 0:
        Path(told["out"]).write_text(f"{total.item():g} of {dist.get_world_size()}")
