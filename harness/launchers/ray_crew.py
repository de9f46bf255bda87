"""Workers on a Ray cluster: actors, each on a node that has room."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import work
from harness.errors import HarnessError, StoreError
from harness.launchers import failures
from harness.launchers.dispatch import Event, Free, Lost, Told
from harness.launchers.worker import WORK, hand_over, taken_over
from harness.work import Do, Work

LEAVING_SECONDS = 10.0

Said = dict[str, Any]
"""What an actor answers: how far it has come, or the error that it met, as plain data."""


class Actor:
    """What an actor of the cluster holds: the work, open."""

    def __init__(self) -> None:
        self.held = ExitStack()
        self.work: Work
        self.do: Do

    def begin(self, place: str, log: str, folder: str) -> Said:
        """Open the work that lies in a place, from now on in the folder of whoever asks."""
        try:
            see(Path(place), WORK)
            with open(log, "ab", buffering=0) as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr
            with suppress(OSError):  # only who uses relative paths needs the same folder
                os.chdir(folder)
            self.work = taken_over(Path(place))
            self.do = self.held.enter_context(self.work.open(self.work.told))
        except HarnessError as error:
            return {"error": failures.told(error)}
        return {"advance": 0}

    def finish(self, piece: int) -> Said:
        """Do a piece."""
        counts: list[int] = []
        try:
            work.finish(self.work, self.do, piece, counts.append)
        except HarnessError as error:
            return {"error": failures.told(error)}
        return {"advance": sum(counts)}

    def leave(self) -> None:
        """Put away what is held."""
        self.held.close()


def see(place: Path, name: str) -> None:
    """Look whether this node sees where the work lies.

    Raises:
        StoreError: it does not.
    """
    if not (place / name).is_file():
        raise StoreError(
            f"the node {platform.node()} does not see {place}: every node of a cluster must see "
            "the workspace under the same path; name a shared folder with --workspace"
        )


@dataclass
class RayCrew:
    """Actors, spoken to in calls whose results come when they are done."""

    ray: Any
    place: Path
    need: dict[str, int]
    """What each takes of the cluster: CPU, GPU."""
    patience: float
    """Seconds that may pass while nobody has started."""
    actors: dict[int, Any] = field(default_factory=dict)
    calls: dict[Any, int] = field(default_factory=dict)
    """Whose every call is that is under way."""
    ready: set[int] = field(default_factory=set)

    def start(self, worker: int) -> None:
        """Ask for an actor; it starts once a node has room."""
        kind = self.ray.remote(num_cpus=self.need["CPU"], num_gpus=self.need["GPU"])(Actor)
        self.ready.discard(worker)
        self.actors[worker] = kind.remote()
        told = (str(self.place), str(self.log(worker)), os.getcwd())
        self.calls[self.actors[worker].begin.remote(*told)] = worker

    def give(self, worker: int, piece: int) -> None:
        """Have an actor do a piece."""
        self.calls[self.actors[worker].finish.remote(piece)] = worker

    def hear(self) -> list[Event]:
        """Wait until a call has ended.

        Raises:
            HarnessError: what an actor raised; or no node has had room for one all the time.
        """
        patience = None if self.ready else self.patience
        done, _ = self.ray.wait(list(self.calls), timeout=patience)
        if not done:
            raise nobody(self.need, self.patience, self.ray.available_resources())
        return [event for call in done for event in self._events(call)]

    def _events(self, call: Any) -> list[Event]:
        worker = self.calls.pop(call)
        try:
            said = self.ray.get(call)
        except self.ray.exceptions.RayActorError as error:
            self.ready.discard(worker)
            self._end(self.actors.pop(worker))
            return [Lost(worker, how(error))]
        if "error" in said:
            raise failures.made(said["error"])
        self.ready.add(worker)
        return [Told(worker, said["advance"]), Free(worker)]

    def log(self, worker: int) -> Path:
        """Return where everything goes that an actor prints."""
        return self.place / f"worker-{worker}.log"

    def dismiss(self) -> None:
        """Have every actor put away what it holds."""
        calls = [self.actors[worker].leave.remote() for worker in self.ready]
        if calls:
            self.ray.wait(calls, num_returns=len(calls), timeout=LEAVING_SECONDS)

    def end(self) -> None:
        """End every actor, at once."""
        while self.actors:
            self._end(self.actors.popitem()[1])

    def _end(self, actor: Any) -> None:
        self.ray.kill(actor)


@contextmanager
def crew(ray: Any, work: Work, need: dict[str, int], patience: float) -> Iterator[RayCrew]:
    """Yield a crew for the work, of whom nobody outlives the block."""
    place = work.place / "workers"
    hand_over(work, place)
    found = RayCrew(ray, place, need, patience)
    try:
        yield found
        found.dismiss()
    finally:
        found.end()


def how(error: Exception) -> str:
    """Say how an actor ended: of Ray's many lines the sentence that tells why, if one does."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = [line for line in lines if line.startswith("The actor is dead because")]
    told, *_ = [*why, *lines, type(error).__name__]
    return f"was lost ({told.partition('. ')[0].removesuffix('.')})"


def nobody(need: dict[str, int], seconds: float, free: dict[str, float]) -> HarnessError:
    """Return the error that says that the cluster starts no worker."""
    wanted = ", ".join(f"{count} {name}" for name, count in need.items() if count)
    left = ", ".join(f"{free.get(name, 0):g} {name}" for name in need)
    return HarnessError(
        f"no worker has started in {seconds:.0f} seconds: each takes {wanted}, and the cluster "
        f"has free: {left}; look at `ray status`, or ask for less with launcher.cpus_a_worker"
    )
