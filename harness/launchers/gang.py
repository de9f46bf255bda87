"""Processes that were all started with the same command, on one machine or on many.

The first of them runs the schedule and tells the user; all of them, the first as well, serve: they
start a process for their part of every task and watch it. They meet at torch's store, which is
torchrun's or the first process's. When one process is lost the others end in bounded time.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.hardware import has_nvidia_device
from harness.core.io import write_atomically
from harness.errors import ConfigError, HarnessError
from harness.launchers import gpus
from harness.launchers.pulse import BEAT, Pulse, alive
from harness.launchers.serving import END, LOST, bye, serve

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

SESSION = "HARNESS_GANG"
"""The variable with the number of the gang that meets at the store: a restarted one is another."""
HOSTED = "TORCHELASTIC_USE_AGENT_STORE"
"""torchrun's own: "True" where the store is open already."""
WHY = "TORCHELASTIC_ERROR_FILE"
"""torchrun's own: the file with the reason why a process failed."""
ARRIVAL = 600.0
"""Seconds that the first process waits for the others to come, as long as torchrun does."""
FAREWELL = 10.0
"""Seconds that it waits for them to go."""


@dataclass(frozen=True)
class Place:
    """This process among those that were started together."""

    rank: int
    size: int

    @staticmethod
    def here() -> Place:
        """Return this process's place, from the variables that torchrun sets.

        Raises:
            ConfigError: they are not set.
        """
        try:
            return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        except (KeyError, ValueError) as error:
            raise ConfigError(
                "this process was not started by torchrun: on every machine run `torchrun "
                "--nnodes MACHINES --nproc-per-node GPUS --rdzv-backend c10d --rdzv-endpoint "
                "HOST:PORT -m harness train NAME --launcher torchrun`"
            ) from error


Run = Callable[[Mapping[str, Any]], None]


def conduct(run: Run, told: Mapping[str, Any], patience: float) -> None:
    """Run in the first process; serve it in the others.

    Raises:
        HarnessError: what the run raised, in the first process; in another one, that the first is
            lost.
        SystemExit: with the first process's exit code, in another one, where the run failed.
    """
    place = Place.here()
    with recorded():
        take_part(run, told, place, patience)


def take_part(run: Run, told: Mapping[str, Any], place: Place, patience: float) -> None:
    """Lead or serve."""
    if has_nvidia_device():
        gpus.keep_own(os.environ)
    hosting = place.rank == 0 and os.environ.get(HOSTED) != "True"
    store = connect(hosting)
    os.environ[HOSTED] = "True"
    if place.rank == 0:
        os.environ[SESSION] = str(store.add("harness/session", 1))
        lead(run, told, place, patience)
    else:
        os.environ[SESSION] = session(store)
        with pulse(place.rank, [0], patience) as heard:
            code = serve(heard, place.rank)
        if code:
            raise SystemExit(code)


@contextmanager
def recorded() -> Iterator[None]:
    """Leave an error where torchrun looks for what it tells last."""
    try:
        yield
    except HarnessError as error:
        if path := os.environ.get(WHY):
            told = {"message": str(error), "timestamp": int(time.time())}
            write_atomically(Path(path), json.dumps(told))
        raise


def lead(run: Run, told: Mapping[str, Any], place: Place, patience: float) -> None:
    """Run while a thread serves this process's part, and let everybody know how it ended."""
    with pulse(0, range(1, place.size), patience) as heard:
        gather(heard)
        serving = threading.Thread(target=serve_quietly, args=(heard,), daemon=True)
        serving.start()
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, told_to_end)
        code = 1
        try:
            run(told)
            code = 0
        except HarnessError as error:
            code = error.exit_code
            raise
        finally:
            heard.tell(END, str(code))
            part(heard, place.size)


def told_to_end(number: int, frame: object) -> None:
    """Say why the run ends where whoever started this process ends it."""
    raise HarnessError(
        "told to end (SIGTERM), as torchrun does when a process has ended, here or elsewhere: "
        "start the same command again on every machine; it goes on from what stands"
    )


def serve_quietly(heard: Pulse) -> None:
    """Serve beside the run, which itself notices what goes wrong."""
    with suppress(HarnessError):
        serve(heard, 0)


def gather(heard: Pulse) -> None:
    """Wait until every process has come.

    Raises:
        HarnessError: one has not.
    """
    deadline = time.monotonic() + ARRIVAL
    while not heard.begun():
        if time.monotonic() > deadline:
            raise HarnessError(
                f"not every process has come within {ARRIVAL:.0f} s: was the same command started "
                "on every machine, and does each see the others?"
            )
        time.sleep(BEAT)


def part(heard: Pulse, size: int) -> None:
    """Wait a little until everybody knows that this is the end: the store may end with us."""
    deadline = time.monotonic() + FAREWELL
    while not all([heard.heard(bye(rank)) for rank in range(size) if rank not in heard.lost()]):
        if time.monotonic() > deadline:
            return
        time.sleep(BEAT)


@contextmanager
def pulse(rank: int | None, others: Any, patience: float) -> Iterator[Pulse]:
    """Yield what this process hears of the others in the gang that it belongs to."""
    found = Pulse(met(), rank, others, patience)
    found.start()
    try:
        yield found
    finally:
        found.close()


def met() -> Store:
    """Return the store with this gang's keys only."""
    from torch.distributed.distributed_c10d import PrefixStore

    return PrefixStore(f"harness/{os.environ[SESSION]}", connect())


def connect(hosting: bool = False) -> Store:
    """Return the store at which the processes meet.

    Raises:
        HarnessError: it cannot be reached, or its port is taken.
    """
    import torch.distributed

    stores: Any = torch.distributed
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    wait = timedelta(seconds=ARRIVAL)
    try:
        store: Store = stores.TCPStore(
            host, port, is_master=hosting, wait_for_workers=False, timeout=wait
        )
    except RuntimeError as error:
        what = "open" if hosting else "reach"
        raise HarnessError(
            f"cannot {what} {host}:{port}, where the processes meet "
            f"({str(error).splitlines()[0]}): set MASTER_ADDR and MASTER_PORT"
        ) from error
    return store


def session(store: Store) -> str:
    """Return the number of the gang whose first process is alive, once there is one.

    torchrun may restart all processes at the same store: what an earlier gang left there is dead.

    Raises:
        HarnessError: there is none.
    """
    deadline, before = time.monotonic() + ARRIVAL, (0, 0)
    while time.monotonic() < deadline:
        number = store.add("harness/session", 0)
        key = f"harness/{number}/{alive(0)}"
        now = (number, int(store.get(key)) if store.check([key]) else 0)
        if now[0] == before[0] and now[1] > before[1] > 0:
            return str(number)
        before = now
        time.sleep(5 * BEAT)
    raise HarnessError(LOST)
