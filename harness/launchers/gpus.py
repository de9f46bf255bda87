"""Which of a machine's GPUs is whose, where several processes were started on it."""

from __future__ import annotations

from collections.abc import MutableMapping

VISIBLE = "CUDA_VISIBLE_DEVICES"
ALL = "HARNESS_DEVICES"
"""The variable with all GPUs of the processes of this machine."""
PLACE = "HARNESS_LOCAL_RANK"
"""The variable with this process's number on its machine."""


def keep_own(environment: MutableMapping[str, str]) -> None:
    """Leave a process, and all that it starts, one GPU; note whose the others are."""
    place = int(environment["LOCAL_RANK"])
    here = int(environment.get("LOCAL_WORLD_SIZE", place + 1))
    told = environment.get(VISIBLE)
    devices = told.split(",") if told else [str(number) for number in range(here)]
    environment[ALL], environment[PLACE] = ",".join(devices), str(place)
    environment[VISIBLE] = devices[place] if place < len(devices) else devices[0]
    environment["LOCAL_RANK"] = "0"


def several(environment: MutableMapping[str, str], gpus: int) -> str | None:
    """Return the GPUs with which a process does what needs several: its own and its neighbours'.

    None: its own belongs to such a neighbour.
    """
    place, devices = int(environment[PLACE]), environment[ALL].split(",")
    found = devices[place : place + gpus]
    return ",".join(found) if place % gpus == 0 and len(found) == gpus else None
