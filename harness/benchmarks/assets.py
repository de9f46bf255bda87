"""Downloads that go on where they were interrupted.

Protocol data: where it is, what it must be, and how it is brought from its official home.

What there is stands in `configs/assets/`, one file a set. A file is pinned by its own sha256, or by
that of its content (JSON or JSON lines, parsed and dumped canonically) where only another layout of
it was seen.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import model_validator

from harness.core.config import Component, build, load, names
from harness.core.io import flush_file, report_disk_errors, sha256
from harness.core.seeds import digest
from harness.errors import AssetError
from harness.protocols import AssetConverter

TIMEOUT_SECONDS = 60
CHUNK = 1 << 20
PARTIAL, NOT_SATISFIABLE = 206, 416


class DownloadError(Exception):
    """A download that could not be ended; what came of it is kept."""


def fetch(url: str, path: Path) -> None:
    """Download into a file, going on at its end where the server can.

    Raises:
        Interrupted: the server cannot be reached, refuses, or broke off.
    """
    offset = path.stat().st_size if path.is_file() else 0
    request = urllib.request.Request(url)
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            _write_body(response, path, from_start=response.status != PARTIAL)
    except urllib.error.HTTPError as error:
        if error.code != NOT_SATISFIABLE:  # nothing is left to come
            raise _download_error(error, f"{error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise _download_error(error, str(getattr(error, "reason", None) or error)) from error


def _write_body(response: http.client.HTTPResponse, path: Path, *, from_start: bool) -> None:
    expected = response.headers.get("content-length")
    received = 0
    with path.open("wb" if from_start else "ab") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            received += len(chunk)
    if expected is not None and received < int(expected):
        raise http.client.IncompleteRead(b"", int(expected) - received)


def _download_error(error: BaseException, detail: str) -> DownloadError:
    return DownloadError(
        f"cannot be fetched ({detail}); try again: it goes on where it was; or fetch it elsewhere "
        "and name its folder with --assets DIR (laid out as SET/FILE)"
    )


FOLDER_VARIABLE = "HARNESS_ASSETS"
"""Environment variable: the folder with the sets."""
MIRROR_VARIABLE = "HARNESS_ASSETS_URL"
"""Environment variable: a copy of the official homes, laid out as SET/FILE."""


class AssetFile(Component):
    """One file, and what tells it from another."""

    name: str
    remote_path: str | None = None
    """Where it lies at its home; None: under its name."""
    url: str | None = None
    """Where it lies, where that is not at the set's home."""
    converter: AssetConverter | None = None
    """What makes it out of what is downloaded."""
    sha256: str | None = None
    content_sha256: str | None = None
    stand_in_sha256: str | None = None
    """Of another file that may be used in its place, and is told where it is."""
    unpinned: bool = False
    """Nothing tells it from another: it was not seen when the others were pinned."""

    @model_validator(mode="after")
    def _check_pin(self) -> AssetFile:
        if (self.sha256 is not None) + (self.content_sha256 is not None) + self.unpinned != 1:
            raise ValueError("give sha256, content_sha256 or unpinned, one of them")
        return self

    def check(self, path: Path) -> None:
        """Raise an AssetError when `path` is not this file."""
        if self.unpinned:
            return
        expected = self.sha256 or self.content_sha256
        is_json_lines = self.name.endswith(".jsonl")
        actual = sha256(path) if self.sha256 else _content_sha256(path, is_json_lines)
        if actual != expected and not self.is_stand_in(path):
            raise AssetError(
                f"{path} is not the published {self.name} (sha256 {actual}, not {expected})"
            )

    def is_stand_in(self, path: Path) -> bool:
        """Say whether `path` is the file that may be used in this one's place."""
        return self.stand_in_sha256 is not None and sha256(path) == self.stand_in_sha256


class AssetSet(Component):
    """The files of one protocol, at one revision of their official home."""

    home: str
    revision: str
    files: list[AssetFile]

    def file(self, name: str) -> AssetFile:
        """Return the file of that name.

        Raises:
            AssetError: the set has none.
        """
        for file in self.files:
            if file.name == name:
                return file
        raise AssetError(f"no protocol data called {name!r}")


def folder(root: Path | None = None) -> Path:
    """Return where the sets are: the folder given, HARNESS_ASSETS, or the user's cache."""
    if configured := root or os.environ.get(FOLDER_VARIABLE):
        return Path(configured)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "preference-harness" / "assets"


def require(name: str, root: Path | None = None) -> Path:
    """Return the path of `SET/FILE`, after a look that it is the published file.

    Raises:
        AssetError: it is missing, or another.
    """
    kind, _, file = name.partition("/")
    path = folder(root) / kind / file
    pull_it = f"`harness assets pull {kind}`"
    if not path.is_file():
        raise AssetError(
            f"{name} is missing in {folder(root)}: bring it with {pull_it}, or name a folder "
            f"that has it with --assets DIR or {FOLDER_VARIABLE}"
        )
    try:
        _asset_set(kind).file(file).check(path)
    except AssetError as error:
        raise AssetError(f"{error}: remove it and bring it with {pull_it}") from error
    return path


def is_stand_in(name: str, root: Path | None = None) -> bool:
    """Say whether `SET/FILE`, which is there, is only the published file's stand-in."""
    kind, _, file = name.partition("/")
    return _asset_set(kind).file(file).is_stand_in(folder(root) / kind / file)


def pull(sets: Sequence[str] = (), root: Path | None = None) -> list[Path]:
    """Bring the sets named (all, if none is) and return their files; what is right stays.

    Raises:
        AssetError: a file cannot be had, or is not the published one; nothing of it is kept.
        ConfigError: there is no set of that name.
    """
    paths = []
    for kind in sets or names("assets"):
        assets = _asset_set(kind)
        for file in assets.files:
            path = folder(root) / kind / file.name
            if _state(file, path) != "present":
                _download(_url(kind, assets, file), file, path)
            paths.append(path)
    return paths


def listing(root: Path | None = None) -> list[dict[str, str]]:
    """Return every file that a protocol needs: `asset`, `path`, and `state`.

    The state is present, missing or damaged.
    """
    return [
        {"asset": f"{kind}/{file.name}", "path": str(path), "state": _state(file, path)}
        for kind in names("assets")
        for file in _asset_set(kind).files
        for path in [folder(root) / kind / file.name]
    ]


def _asset_set(kind: str) -> AssetSet:
    return _load_set(kind, Path.cwd())


@lru_cache(maxsize=16)
def _load_set(kind: str, directory: Path) -> AssetSet:
    """Return a set; a folder `configs` at the place may have one of its own."""
    asset_set: AssetSet = build(load("assets", kind), f"assets/{kind}")
    return asset_set


def _state(file: AssetFile, path: Path) -> str:
    if not path.is_file():
        return "missing"
    try:
        file.check(path)
    except AssetError:
        return "damaged"
    return "present"


def _url(kind: str, assets: AssetSet, file: AssetFile) -> str:
    if mirror := os.environ.get(MIRROR_VARIABLE):
        source = file.url.rpartition("/")[2] if file.url else file.name
        return f"{mirror.rstrip('/')}/{kind}/{source}"
    return file.url or f"{assets.home}/{assets.revision}/{file.remote_path or file.name}"


def _download(url: str, file: AssetFile, path: Path) -> None:
    """Bring a file; what came of it before an interruption is kept, and gone on from."""
    partial_path, complete_path = (
        path.with_name(f".{path.name}.{suffix}") for suffix in ("part", str(os.getpid()))
    )
    with report_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fetch(url, partial_path)
            if file.converter:
                content = file.converter.convert(partial_path.read_text(encoding="utf-8"))
                complete_path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
            else:
                partial_path.replace(complete_path)
            file.check(complete_path)
            flush_file(complete_path)
            complete_path.replace(path)
            partial_path.unlink(missing_ok=True)
        except DownloadError as error:
            raise AssetError(f"{url} {error}") from error
        except (AssetError, ValueError) as error:
            partial_path.unlink(missing_ok=True)
            raise AssetError(f"{url}: {error}; nothing was kept") from error
        finally:
            complete_path.unlink(missing_ok=True)


def _content_sha256(path: Path, is_json_lines: bool = False) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = (
            [json.loads(x) for x in text.split("\n") if x] if is_json_lines else json.loads(text)
        )
        return digest(content)
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(f"{path} cannot be read as JSON ({type(error).__name__})") from error
