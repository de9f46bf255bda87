"""Device work that whatever process, on whatever machine, can do a part of.

It crosses to other processes as plain data: a function by its name, components as the
configuration that builds them again. All of them see the same folders.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness import config
from harness.accelerators import PROCESSOR, kind
from harness.files import flush, flush_directory, write_whole, writing
from harness.types import Advance

WORKED = "worked.json"
"""A file in a piece's folder: how long it took (`seconds`), and on what (`accelerator`)."""
Do = Callable[[int, Path, Advance], None]
"""Does the piece of that number: writes its result into an empty folder, tells how far it is."""


@dataclass(frozen=True)
class Work:
    """Work in pieces; a piece comes out the same whoever does it, and in whatever order."""

    open: Callable[[Mapping[str, Any]], AbstractContextManager[Do]]
    """Importable by its name; the context holds what is dear to load, and is left at the end."""
    told: Mapping[str, Any]
    """What `open` is given: plain data, paths and components."""
    sizes: tuple[int, ...]
    """What every piece tells of its progress, in all."""
    place: Path
    """Where each piece's result lies, a folder each; what stands there is not done again."""
    gpus: int = 1
    """How many GPUs whoever does it needs, where there are GPUs."""
    names: tuple[str, ...] = ()
    """What an error calls each piece."""

    def part(self, piece: int) -> Path:
        """Return where a piece's result lies once it is whole."""
        return self.place / f"part-{piece:05d}"

    def parts(self) -> list[Path]:
        """Return where the results lie, in the order of the pieces."""
        return [self.part(piece) for piece in range(len(self.sizes))]

    def missing(self) -> list[int]:
        """Return the pieces that nobody has finished.

        The folder is listed, which on a network file system shows what other machines have done; a
        file that was looked for by its name too early may stay unseen there for a minute.
        """
        found = {path.name for path in self.place.iterdir()} if self.place.is_dir() else set()
        return [piece for piece in range(len(self.sizes)) if self.part(piece).name not in found]

    def seconds(self) -> float:
        """Return how long whoever did the pieces was at them, in all; loading is left out."""
        return float(sum(told["seconds"] for told in self._worked()))

    def accelerator(self) -> str | None:
        """Return what the pieces were computed on; None: no piece tells."""
        kinds = {told["accelerator"] for told in self._worked()}
        return " and ".join(sorted(kinds - {PROCESSOR} or kinds)) or None

    def _worked(self) -> Iterator[Any]:
        paths = (path / WORKED for path in self.parts())
        return (json.loads(path.read_text("utf-8")) for path in paths if path.is_file())

    def name(self, piece: int) -> str:
        """Return what an error calls a piece."""
        return self.names[piece] if self.names else f"piece {piece}"


@dataclass(frozen=True)
class Task:
    """What several processes do together: each calls the same function with the same words."""

    do: Callable[[Mapping[str, Any]], None]
    """Importable by its name; torch's default process group stands when it is called."""
    told: Mapping[str, Any]
    """What it is given: plain data, paths and components."""
    place: Path
    """A folder for what the processes leave for whoever waits for them."""


@runtime_checkable
class Launcher(Protocol):
    """Where device work is done: by which processes, on which machines."""

    piece: int
    """How many prompts a worker samples or compares, or pairs it scores, at a time."""

    def processes(self) -> int:
        """Return how many processes it has for a training that does not say how many it wants.

        Asked once the training begins: it may have to look at machines, or to join a cluster.
        """

    def spread(self, work: Work, advance: Advance) -> None:
        """Have every piece done that does not stand; a lost worker's piece goes to another."""

    def together(self, task: Task, processes: int) -> None:
        """Have so many processes call the task's function, in one group of torch's."""


@runtime_checkable
class Conductor(Protocol):
    """A launcher that has a whole run elsewhere, or in processes that began it together."""

    leads: bool
    """Whether this process is the one that tells the user how the run goes."""

    def conduct(
        self,
        run: Callable[[Mapping[str, Any]], None],
        told: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        """Have a function, importable by its name, called once with plain data and components."""


def finish(work: Work, do: Do, piece: int, advance: Advance) -> None:
    """Do a piece and put its result in place, whole; of two that did the same, the first stands."""
    part = work.part(piece)
    aside = part.with_name(f".{part.name}-{platform.node()}-{os.getpid()}")
    with writing(part):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        begun = time.monotonic()
        try:
            do(piece, aside, advance)
            told = {"seconds": time.monotonic() - begun, "accelerator": kind()}
            (aside / WORKED).write_text(json.dumps(told), encoding="utf-8")
            flush(aside)
            place_first(aside, part)
            flush_directory(part.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def place_first(aside: Path, part: Path) -> None:
    """Rename a folder into place, unless one stands there."""
    try:
        aside.rename(part)
    except OSError:
        if not part.is_dir():
            raise


def write(path: Path, function: Callable[..., Any], told: Mapping[str, Any]) -> None:
    """Write a function's name and what it is given, for another process."""
    data = {
        "function": f"{function.__module__}:{function.__qualname__}",
        "told": config.written(told),
        "path": [entry for entry in sys.path if entry],
    }
    write_whole(path, json.dumps(data, indent=1))


def read(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function that was written, and what it is given, its components built.

    What could be imported where it was written can be imported here from now on.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    sys.path.extend(entry for entry in data["path"] if entry not in sys.path)
    module, _, name = data["function"].partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    told: dict[str, Any] = config.built(data["told"])
    return function, told
