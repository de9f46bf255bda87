"""Locks on a workspace: shared while stages are made or read, exclusive while they are removed.

The kernel releases a lock however its process ends, so none is ever left behind.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from harness.core.io import report_disk_errors
from harness.core.manifests import STORE
from harness.core.workspace.runs import Workspace
from harness.errors import StoreError

WORKSPACE_LOCK = ".workspace"
"""The lock of the whole workspace, beside those of its stages."""


def locks_directory(workspace: Workspace) -> Path:
    """Return the directory of a workspace's locks; `harness.core.stages` has one a stage there."""
    return workspace.root / STORE / ".locks"


@contextmanager
def in_use(workspace: Workspace) -> Iterator[None]:
    """Keep others from removing anything from the workspace while the block runs.

    Raises:
        StoreError: something is being removed, or the workspace cannot be written.
    """
    with report_disk_errors(workspace.root), _open_lock(workspace) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"another command is removing stages from {workspace.root}: "
                "run this one again when it has ended"
            ) from error
        yield


@contextmanager
def exclusive(workspace: Workspace) -> Iterator[None]:
    """Be the only one in the workspace while the block runs.

    Raises:
        StoreError: a training, an evaluation or another removal is active.
    """
    with report_disk_errors(workspace.root), ExitStack() as stack:
        lock = stack.enter_context(_open_lock(workspace))
        active = active_stages(workspace)
        if active or not _try_lock(lock):
            work = f"{active[0]} is being made" if active else "a training or an evaluation runs"
            raise StoreError(
                f"{workspace.root} is in use ({work}): run this again when that command has ended"
            )
        yield


def active_stages(workspace: Workspace) -> list[str]:
    """Return the names of the stages that a process is making at the moment."""
    active = []
    for path in sorted(locks_directory(workspace).glob("[!.]*")):
        with path.open() as lock:
            if not _try_lock(lock):
                active.append(path.name)
    return active


@contextmanager
def _open_lock(workspace: Workspace) -> Iterator[IO[str]]:
    directory = locks_directory(workspace)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / WORKSPACE_LOCK).open("w") as lock:
        try:
            yield lock
        finally:
            _remove_if_empty(workspace, lock)


def _remove_if_empty(workspace: Workspace, lock: IO[str]) -> None:
    """Remove the lock of a workspace in which nothing was made, so that no folder is left."""
    directory = locks_directory(workspace)
    if any(path.name != WORKSPACE_LOCK for path in directory.glob("*")) or not _try_lock(lock):
        return
    if not any(path != directory for path in directory.parent.iterdir()):
        (directory / WORKSPACE_LOCK).unlink(missing_ok=True)
        for folder in (directory, directory.parent, workspace.root):
            with suppress(OSError):  # it holds something else
                folder.rmdir()


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
