"""The protocol data: what belongs to it, and how it is downloaded from its official home.

The sets are described in `configs/assets/`, one file a set. A file is pinned by its own sha256, or
by that of its content (JSON or JSON lines, parsed and dumped canonically) where only a copy with
another layout was seen.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import model_validator

from harness.core.config import Component, build, load, names
from harness.core.hub import ASSETS_VARIABLE, assets_directory
from harness.core.io import flush_file, report_disk_errors, sha256
from harness.core.seeds import digest
from harness.errors import AssetError, first_line
from harness.protocols import AssetConverter

MIRROR_VARIABLE = "HARNESS_ASSETS_URL"
"""Environment variable: the URL of a copy of the official homes, laid out as SET/FILE."""
TIMEOUT_SECONDS = 60
CHUNK = 1 << 20


@runtime_checkable
class FileConverter(Protocol):
    """Converts a downloaded file that is no text into the content of an asset."""

    def convert_file(self, path: Path) -> Any:
        """Return the content, to be written as JSON; raise ValueError on another file."""


class AssetFile(Component):
    """One file of a set, and the pin that identifies it."""

    name: str
    remote_path: str | None = None
    """The path at the set's home; None: the file's name."""
    url: str | None = None
    """The address of a file that is not at the set's home."""
    converter: AssetConverter | FileConverter | None = None
    """Converts the download into the file."""
    sha256: str | None = None
    content_sha256: str | None = None
    stand_in_sha256: str | None = None
    """The sha256 of another file that may replace this one; scores then say so."""
    unpinned: bool = False
    """True for a file that was not available when the others were pinned: it is not checked."""

    @model_validator(mode="after")
    def _check_pin(self) -> AssetFile:
        if (self.sha256 is not None) + (self.content_sha256 is not None) + self.unpinned != 1:
            raise ValueError("give exactly one of sha256, content_sha256 and unpinned")
        return self

    def check(self, path: Path) -> None:
        """Raise an AssetError if `path` is not this file."""
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
        """Say whether `path` is the file that may replace this one."""
        return self.stand_in_sha256 is not None and sha256(path) == self.stand_in_sha256


class AssetSet(Component):
    """The files of one protocol, at one revision of their official home."""

    home: str
    revision: str
    files: list[AssetFile]

    def file(self, name: str) -> AssetFile:
        """Return the file of that name.

        Raises:
            AssetError: the set has no such file.
        """
        for file in self.files:
            if file.name == name:
                return file
        raise AssetError(f"no protocol data called {name!r}")


def require(name: str, root: Path | None = None) -> Path:
    """Return the path of `SET/FILE` after checking that it is the published file.

    Raises:
        AssetError: the file is missing, or is not the published one.
    """
    kind, _, file = name.partition("/")
    directory = assets_directory(root)
    path = directory / kind / file
    pull_command = f"`harness assets pull {kind}`"
    if not path.is_file():
        raise AssetError(
            f"{name} is missing in {directory}: download it with {pull_command}, or name a "
            f"directory that has it with --assets DIR or {ASSETS_VARIABLE}"
        )
    try:
        _asset_set(kind).file(file).check(path)
    except AssetError as error:
        raise AssetError(f"{error}: remove it and download it with {pull_command}") from error
    return path


def read(name: str, root: Path | None = None) -> str:
    """Return the text of `SET/FILE`, which may also lie there gzipped, after checking it.

    Raises:
        AssetError: the file is missing, or is not the published one.
    """
    kind, _, file = name.partition("/")
    packed = assets_directory(root) / kind / f"{file}.gz"
    if (assets_directory(root) / name).is_file() or not packed.is_file():
        return require(name, root).read_text(encoding="utf-8")
    data, expected = _decompress(packed), _asset_set(kind).file(file).sha256
    if expected not in (None, hashlib.sha256(data).hexdigest()):
        raise AssetError(
            f"{packed} is not the published {file}: remove it and download it with "
            f"`harness assets pull {kind}`"
        )
    return data.decode()


def is_stand_in(name: str, root: Path | None = None) -> bool:
    """Say whether `SET/FILE`, which must exist, is only a stand-in for the published file."""
    kind, _, file = name.partition("/")
    return _asset_set(kind).file(file).is_stand_in(assets_directory(root) / kind / file)


def missing_verdicts(path: Path) -> AssetError:
    """Return the error of published verdicts that are not in the protocol data."""
    return AssetError(
        f"no published verdicts in {path}: name a directory that has them with --assets DIR"
    )


def pull(sets: Sequence[str] = (), root: Path | None = None) -> list[Path]:
    """Download the named sets (default: all) and return their files; intact files are kept.

    Raises:
        AssetError: a file cannot be downloaded, or is not the published one and is discarded.
        ConfigError: there is no set of that name.
    """
    paths = []
    for kind in sets or names("assets"):
        assets = _asset_set(kind)
        for file in assets.files:
            path = assets_directory(root) / kind / file.name
            if _state(file, path) != "present":
                _download(_url(kind, assets, file), file, path)
            paths.append(path)
    return paths


def listing(root: Path | None = None) -> list[dict[str, str]]:
    """Return every file of the protocol data: `asset`, `path`, and `state`.

    The state is present, missing or damaged.
    """
    return [
        {"asset": f"{kind}/{file.name}", "path": str(path), "state": _state(file, path)}
        for kind in names("assets")
        for file in _asset_set(kind).files
        for path in [assets_directory(root) / kind / file.name]
    ]


def _asset_set(kind: str) -> AssetSet:
    return _load_set(kind, Path.cwd())


@lru_cache(maxsize=16)
def _load_set(kind: str, working_directory: Path) -> AssetSet:
    """Return a set; `configs` in the working directory may define its own."""
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
    """Download a file beside its path and move it there once it is checked."""
    download, complete = (
        path.with_name(f".{path.name}.{os.getpid()}.{suffix}") for suffix in ("part", "new")
    )
    with report_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fetch(url, download)
            _convert(url, file, download, complete)
            flush_file(complete)
            complete.replace(path)
        finally:
            download.unlink(missing_ok=True)
            complete.unlink(missing_ok=True)


def _convert(url: str, file: AssetFile, download: Path, complete: Path) -> None:
    """Turn a download into the file of the set, and check it."""
    try:
        if file.converter:
            content = _converted(file.converter, download)
            complete.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
        else:
            download.replace(complete)
        file.check(complete)
    except (AssetError, ValueError) as error:
        raise AssetError(f"{url}: {error}; nothing was kept") from error


def _converted(converter: AssetConverter | FileConverter, download: Path) -> Any:
    if isinstance(converter, FileConverter):
        return converter.convert_file(download)
    return converter.convert(download.read_text(encoding="utf-8"))


def _fetch(url: str, path: Path) -> None:
    """Download a URL; an interrupted download starts over when it is run again.

    Raises:
        AssetError: the server cannot be reached, refuses, or broke off.
    """
    import pooch
    import requests

    download = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS, chunk_size=CHUNK)
    try:
        download(url, str(path), None)
    except requests.RequestException as error:
        raise AssetError(
            f"{url} cannot be downloaded ({_cause(error)}); try again: the download starts over; "
            "or download it elsewhere and name its directory with --assets DIR (laid out as "
            "SET/FILE)"
        ) from error


def _cause(error: BaseException) -> str:
    """Return the error at the root of a failed request, in one line."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    while error.__context__ is not None:
        error = error.__context__
    return first_line(error)


def _decompress(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise AssetError(f"{path} cannot be read ({type(error).__name__})") from error


def _content_sha256(path: Path, is_json_lines: bool = False) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = (
            [json.loads(line) for line in text.split("\n") if line]
            if is_json_lines
            else json.loads(text)
        )
        return digest(content)
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(f"{path} cannot be read as JSON ({type(error).__name__})") from error
