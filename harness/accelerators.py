"""Which accelerators this machine lends to a process, and how many of them a component takes.

The kernel's and the driver's own files are read: nothing is imported that would take a device.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol, runtime_checkable

PROCESSOR = "processor"
"""Stands for no accelerator."""
MAKERS = {"nvidia[0-9]*": "NVIDIA", "kfd": "AMD", "dxg": "GPU under WSL"}
"""By what Linux calls a device: whose it is."""
HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""Variables that keep devices from a process: all of them where one is empty or -1."""


@runtime_checkable
class Accelerated(Protocol):
    """What can tell how many accelerators it takes where there are any."""

    @property
    def accelerators(self) -> int:
        """Return how many; 0 where the work is done elsewhere, or needs none."""


def taken(component: object) -> int:
    """Return how many accelerators a component takes; one where it does not tell."""
    return component.accelerators if isinstance(component, Accelerated) else 1


def kind(root: Path = Path("/")) -> str:
    """Return what a process of ours would compute on: an accelerator's name, or `processor`.

    Accelerators that are hidden from it, or that its torch was built without, do not count.

    Args:
        root: Where the system's files lie.
    """
    maker = next((name for glob, name in MAKERS.items() if _devices(root, glob)), None)
    hidden = any(os.environ.get(name, "0").strip() in ("", "-1") for name in HIDING)
    if maker is None or hidden or _without():
        return PROCESSOR
    models = sorted({name for path in _told(root) if (name := _model(path))})
    return " and ".join(models) or maker


def _devices(root: Path, glob: str) -> list[Path]:
    return list((root / "dev").glob(glob))


def _told(root: Path) -> list[Path]:
    return list((root / "proc/driver/nvidia/gpus").glob("*/information"))


def _model(path: Path) -> str:
    found = re.search(r"^Model:\s*(.+?)\s*$", path.read_text(errors="replace"), re.MULTILINE)
    return found[1] if found else ""


def _without() -> bool:
    """Say whether torch is a build for processors alone."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False
