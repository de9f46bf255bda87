"""Arenas as they are filed: every comparison, and what follows from them.

<workspace>/arenas/<name>.json holds the first arena of a name, <name>~<digits>.json another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.documents import parse_json
from harness.core.io import file_name, write_atomically
from harness.core.seeds import digest
from harness.core.workspace.integrity import check_record, with_sum
from harness.core.workspace.runs import Workspace
from harness.errors import StoreError

ARENA_SCHEMA = 1
ARENA_REMEDY = "remove it and run the same `harness arena` again, which asks nothing anew"


def arena_paths(workspace: Workspace) -> list[Path]:
    """Return the files of a workspace's arenas, sorted."""
    return sorted((workspace.root / "arenas").glob("*.json"))


def arena_path(workspace: Workspace, name: str, identity: Mapping[str, Any]) -> Path:
    """Return the file of an arena: the one that holds its identity, or else a free one.

    Raises:
        StoreError: the first arena of this name is damaged.
    """
    stem, mark = file_name(name).replace("~", "%7E"), digest(identity)
    first, other = (
        workspace.root / "arenas" / f"{stem}{suffix}.json" for suffix in ("", f"~{mark[:16]}")
    )
    is_own = not first.exists() or digest(read_arena(first)["identity"]) == mark
    return first if is_own else other


def write_arena(
    workspace: Workspace, name: str, identity: Mapping[str, Any], content: Mapping[str, Any]
) -> Path:
    """Write an arena, with the sha256 of itself, and return its file.

    Raises:
        StoreError: the disk is full or not writable, or an arena of this name is damaged.
    """
    path = arena_path(workspace, name, identity)
    record = with_sum({"schema": ARENA_SCHEMA, "name": name, "identity": identity, **content})
    write_atomically(path, json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return path


def read_arena(path: Path) -> dict[str, Any]:
    """Return an arena as it was written.

    Raises:
        StoreError: the file cannot be read, or was changed after it was written.
    """
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise TypeError("it is no mapping")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}): {ARENA_REMEDY}") from error
    check_record(path, record, ARENA_REMEDY)
    return record
