"""Manifests of stages: what went in, what came out; and whether a directory is what it promises.

A stage's directory is named by the digest of what went into it. The manifest must give that name,
hold its own sha256, and list every file with its sha256. A copy of each manifest is kept beside the
stages, so that a stage whose files were removed still says what its result was.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.documents import parse_json
from harness.core.file_hashes import hashes_in
from harness.core.io import json_type, write_atomically
from harness.core.model_files import is_model_file
from harness.core.seeds import canonical, digest
from harness.core.terminal import shorten
from harness.core.versions import installed_versions
from harness.errors import StoreError

MANIFEST = "manifest.json"
STORE = "stages"
"""The directory of a workspace that holds its stages."""
COPIES = ".manifests"
"""A directory of the store with a copy of every manifest, by stage and result."""
PROVENANCE = "provenance"
"""A directory in a stage's directory for records of its run (logs, speeds). They differ from run to
run, so they are left out of the result's digest."""
LAYOUT = 3
"""The version of a stage's directory and manifest; part of every digest, so that results of another
layout are not reused. Layout 2 had no sum, and paths that were absolute."""
SUM = "sha256"
STAGE_NAME = re.compile(r"[a-z-]+-[0-9a-f]{20}")
"""The name of a stage's directory."""

Manifest = dict[str, Any]
FIELDS: Mapping[str, type] = {
    **dict.fromkeys(("stage", "digest"), str),
    **dict.fromkeys(("config", "inputs", "files", "provenance"), dict),
    "version": int,
}


@dataclass(frozen=True, slots=True)
class StageFinding:
    """A directory of the store that is not what it should be."""

    path: Path
    problem: str
    """One line: what is wrong, and the command that mends it."""


def stage_name(
    stage: str, version: int, config: Any, inputs: Mapping[str, str], layout: int = LAYOUT
) -> str:
    """Return the name of a stage's directory.

    Args:
        stage: what the stage does.
        version: the version of its code.
        config: plain data: what changes its result apart from the inputs.
        inputs: the digests of its inputs by name.
        layout: the version of the store.
    """
    content = {
        "layout": layout,
        "stage": stage,
        "version": version,
        "config": canonical(config) if layout > 2 else config,
        "inputs": dict(inputs),
    }
    return f"{stage}-{digest(content)[:20]}"


def build_manifest(facts: Mapping[str, Any], path: Path, provenance: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a result.

    Args:
        facts: the stage's name, version, label, configuration, and inputs (path and digest).
        path: the directory with the result.
        provenance: where and when it ran.
    """
    paths = [file for file in sorted(path.rglob("*")) if file.is_file()]
    files = {
        file.relative_to(path).as_posix(): {"sha256": value, "bytes": file.stat().st_size}
        for file, value in zip(paths, hashes_in(path.parent).sha256s(paths), strict=True)
    }
    manifest = {
        "layout": LAYOUT,
        **facts,
        "files": files,
        "digest": result_digest(files),
        "provenance": {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **provenance},
        "versions": installed_versions(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count()},
    }
    return with_sum(manifest)


def with_sum(manifest: Mapping[str, Any]) -> Manifest:
    """Return a manifest with its own sha256."""
    return {**manifest, SUM: _sum(manifest)}


def result_digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the digest of a result: of the names and the content of its files."""
    names = [name for name in files if not name.startswith(f"{PROVENANCE}/")]
    return digest({name: files[name]["sha256"] for name in names})


def load_manifest(path: Path) -> Manifest:
    """Return the manifest of a result, checked against the directory's name; no file is read.

    The paths of its inputs are those of this store, wherever it was when they were written.

    Raises:
        StoreError: the manifest is missing or damaged, or it is that of another directory.
    """
    try:
        manifest = parse_manifest((path / MANIFEST).read_text(encoding="utf-8"))
        name = manifest_name(manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_dir():
            raise damaged_stage(path, "it has no manifest") from error
        raise missing_stage(path) from error
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged_stage(path, shorten(str(error))) from error
    if name != path.name:
        raise StoreError(
            f"{path} is not what its name says: by its manifest it is {name}; rename it back, "
            f"or {_remedy(path)}"
        )
    return with_paths(manifest, path.parent)


def read_manifest(path: Path, files: Collection[str] | None = None) -> Manifest:
    """Return the manifest of a result after checking the content of its files.

    A file that was read before and has not changed since is not read again.

    Args:
        path: the stage's directory.
        files: the names of the files to check; None: all of them.

    Raises:
        StoreError: the manifest is damaged, or a file is missing or has another content.
    """
    manifest = load_manifest(path)
    if problems := file_problems(path, manifest, files):
        raise damaged_stage(path, "; ".join(problems[:3]))
    return manifest


def verify_stages(root: Path) -> Iterator[StageFinding]:
    """Read every file of every stage in a store again; yield what is wrong.

    Args:
        root: the directory of the stages.
    """
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name.startswith("."):
            continue
        if not STAGE_NAME.fullmatch(path.name):
            yield StageFinding(path, f"{path} is no stage; move it elsewhere")
            continue
        try:
            manifest = load_manifest(path)
        except StoreError as error:
            yield StageFinding(path, str(error))
            continue
        if problems := file_problems(path, manifest, again=True):
            yield StageFinding(path, str(damaged_stage(path, "; ".join(problems))))
        elif extra := extra_files(path, manifest):
            names = ", ".join(extra[:3])
            yield StageFinding(path, f"{path} holds what the stage did not write: {names}")
    for copy in sorted((root / COPIES).glob("*/*.json")):
        if _read_copy(copy) is None:
            yield StageFinding(copy, f"{copy} is damaged; remove it: rm {shlex.quote(str(copy))}")


def file_problems(
    path: Path, manifest: Manifest, files: Collection[str] | None = None, *, again: bool = False
) -> list[str]:
    """Return what is wrong with a result's files, a line a file.

    Args:
        path: the stage's directory.
        manifest: its manifest.
        files: the names of the files to check; None: all, and none that a model would read besides.
        again: whether to read them even if they have not changed since they were last read.
    """
    listed = manifest["files"]
    names = [name for name in listed if files is None or name in files]
    problems = [f"{name} is missing" for name in names if not (path / name).is_file()]
    present = [name for name in names if (path / name).is_file()]
    try:
        changed = changed_files(path, {name: listed[name]["sha256"] for name in present}, again)
    except OSError as error:
        return [*problems, str(error)]
    problems += [f"{name} has another content" for name in changed]
    if files is None:
        foreign = [name for name in extra_files(path, manifest) if is_model_file(name)]
        problems += [f"{name} is not of this stage" for name in foreign]
    return problems


def changed_files(path: Path, expected: Mapping[str, str], again: bool = False) -> list[str]:
    """Return the names of the files whose sha256 is not the expected one.

    Raises:
        OSError: a file cannot be read.
    """
    hashes = hashes_in(path.parent)
    for read_again in (True,) if again else (False, True):
        actual_sums = hashes.sha256s([path / name for name in expected], again=read_again)
        pairs = zip(expected.items(), actual_sums, strict=True)
        expected = {name: value for (name, value), actual in pairs if actual != value}
    return list(expected)


def extra_files(path: Path, manifest: Manifest) -> list[str]:
    """Return the files in a stage's directory that its manifest does not list."""
    names = (p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if p.is_file())
    return [name for name in names if name != MANIFEST and name not in manifest["files"]]


def damaged_stage(path: Path, reason: str) -> StoreError:
    """Return the error about a stage that is not what was stored."""
    return StoreError(f"{path} is damaged ({reason}); {_remedy(path)}")


def missing_stage(path: Path) -> StoreError:
    """Return the error about a stage that is recorded and does not exist."""
    return StoreError(
        f"{path} is missing; run the command that made it again (of a policy: `harness train`), or "
        "copy it from where the workspace is whole"
    )


def parse_manifest(text: str) -> Manifest:
    """Return a manifest from its text.

    Raises:
        ValueError: it is not JSON, or its own sha256 or its result's digest is another.
        TypeError: it has another shape.
        LookupError: a field is missing.
    """
    manifest = parse_json(text)
    if not isinstance(manifest, dict):
        raise TypeError(f"its manifest holds {json_type(manifest)}")
    for name, kind in FIELDS.items():
        if name not in manifest:
            raise LookupError(f"its manifest has no {name}")
        if not isinstance(manifest[name], kind):
            raise TypeError(f"in its manifest {name!r} is {json_type(manifest[name])}")
    if not all(isinstance(entry["sha256"], str) for entry in manifest["files"].values()):
        raise TypeError("in its manifest a file has no sha256")
    if manifest.get("layout", 2) > 2 and manifest[SUM] != _sum(manifest):
        raise ValueError("its manifest was changed")
    if manifest["digest"] != result_digest(manifest["files"]):
        raise ValueError("its manifest contradicts itself")
    return manifest


def manifest_name(manifest: Manifest) -> str:
    """Return the name that a manifest gives its directory."""
    inputs = {name: entry["digest"] for name, entry in manifest["inputs"].items()}
    facts = (manifest["stage"], manifest["version"], manifest["config"], inputs)
    return stage_name(*facts, layout=manifest.get("layout", 2))


def with_paths(manifest: Manifest, root: Path) -> Manifest:
    """Return a manifest with its inputs' paths in the store at `root`; external ones stay."""
    is_old = manifest.get("layout", 2) < 3
    inputs = {
        name: {**entry, "path": path_in_store(str(entry["path"]), root, is_old=is_old)}
        for name, entry in manifest["inputs"].items()
    }
    return {**manifest, "inputs": inputs}


def path_in_store(recorded: str, root: Path, *, is_old: bool = False) -> str:
    """Return where a recorded stage is in the store at `root`; an external path stays as it is.

    Args:
        recorded: the path, as `recorded_path` gives it.
        root: the directory of the stages.
        is_old: whether an older version has written it, which recorded all paths whole.
    """
    name = Path(recorded).name
    is_stage = STAGE_NAME.fullmatch(name) and (is_old or recorded == f"{STORE}/{name}")
    return str(root / name) if is_stage else recorded


def recorded_path(path: str, root: Path) -> str:
    """Return a path as it is recorded: a stage's as `stages/NAME`, an external folder's whole."""
    location = Path(path)
    if STAGE_NAME.fullmatch(location.name) and is_same_path(location.parent, root):
        return f"{STORE}/{location.name}"
    return str(location.absolute()) if location.is_dir() else path


def is_same_path(first: Path, second: Path) -> bool:
    """Say whether two paths are one directory, also by a link."""
    return os.path.realpath(first) == os.path.realpath(second)


def keep_manifest(root: Path, name: str, result: str) -> None:
    """Keep a copy of the manifest of a stored result, for when the stage's files are removed."""
    copy = _copy_path(root, name, result)
    if not copy.is_file():
        with suppress(StoreError, OSError):  # a workspace that cannot be written needs no copy
            write_atomically(copy, (root / name / MANIFEST).read_bytes())


def kept_manifests(root: Path, name: str) -> list[Manifest]:
    """Return the manifests of a stage's results that are known, whether their files exist or not.

    Copies that are damaged, or of another stage, are left out.
    """
    copies = (_read_copy(path) for path in sorted((root / COPIES / name).glob("*.json")))
    return [with_paths(manifest, root) for manifest in copies if manifest is not None]


def known_manifest(root: Path, name: str, result: str | None = None) -> Manifest:
    """Return the manifest of a stage, from its directory or from the copy that was kept.

    Args:
        root: the directory of the stages.
        name: the name of the stage's directory.
        result: the digest of its result, of several that are known.

    Raises:
        StoreError: none is known, or that in its directory is damaged.
    """
    known = [load_manifest(root / name)] if (root / name).is_dir() else []
    known += kept_manifests(root, name)
    if not known:
        raise missing_stage(root / name)
    return next((manifest for manifest in known if manifest["digest"] == result), known[0])


def _copy_path(root: Path, name: str, result: str) -> Path:
    return root / COPIES / name / f"{result[:20]}.json"


def _read_copy(path: Path) -> Manifest | None:
    try:
        manifest = parse_manifest(path.read_text(encoding="utf-8"))
        is_own = manifest_name(manifest) == path.parent.name
        return manifest if is_own and manifest["digest"].startswith(path.stem) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _sum(manifest: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in manifest.items() if key != SUM})


def _remedy(path: Path) -> str:
    return f"remove it and run again: rm -r {shlex.quote(str(path))}"
