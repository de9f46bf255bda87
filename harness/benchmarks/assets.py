"""Protocol data: where it is, what it must be, and how it is brought from its official home.

What there is stands in `configs/assets/`, one file a set. A file is pinned by its own sha256, or by
that of its content (JSON or JSON lines, parsed and dumped canonically) where only another layout of
it was seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import model_validator

from harness.config import Component, build, load, names
from harness.errors import AssetError
from harness.files import flush_file, sha256, writing
from harness.seeds import digest

FOLDER = "HARNESS_ASSETS"
"""Environment variable: the folder with the sets."""
MIRROR = "HARNESS_ASSETS_URL"
"""Environment variable: a copy of the official homes, laid out as SET/FILE."""


@runtime_checkable
class Maker(Protocol):
    """Makes a file's content out of another that is downloaded."""

    def make(self, text: str) -> Any:
        """Return the content, to be written as JSON."""
        ...


class AssetFile(Component):
    """One file, and what tells it from another."""

    name: str
    at: str | None = None
    """Where it lies at its home; None: under its name."""
    url: str | None = None
    """Where it lies, where that is not at the set's home."""
    made: Maker | None = None
    """What makes it out of what is downloaded."""
    sha256: str | None = None
    content_sha256: str | None = None
    stand_in_sha256: str | None = None
    """Of another file that may be used in its place, and is told where it is."""
    unpinned: bool = False
    """Nothing tells it from another: it was not seen when the others were pinned."""

    @model_validator(mode="after")
    def _pinned(self) -> AssetFile:
        if (self.sha256 is not None) + (self.content_sha256 is not None) + self.unpinned != 1:
            raise ValueError("give sha256, content_sha256 or unpinned, one of them")
        return self

    def check(self, path: Path) -> None:
        """Raise an AssetError when `path` is not this file."""
        if self.unpinned:
            return
        wanted = self.sha256 or self.content_sha256
        lines = self.name.endswith(".jsonl")
        found = sha256(path) if self.sha256 else _content_sha256(path, lines)
        if found != wanted and not self.is_stand_in(path):
            raise AssetError(
                f"{path} is not the published {self.name} (sha256 {found}, not {wanted})"
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


def folder(given: Path | None = None) -> Path:
    """Return where the sets are: the folder given, HARNESS_ASSETS, or the user's cache."""
    if chosen := given or os.environ.get(FOLDER):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "preference-harness" / "assets"


def require(name: str, given: Path | None = None) -> Path:
    """Return the path of `SET/FILE`, after a look that it is the published file.

    Raises:
        AssetError: it is missing, or another.
    """
    kind, _, file = name.partition("/")
    path = folder(given) / kind / file
    pull_it = f"`harness assets pull {kind}`"
    if not path.is_file():
        raise AssetError(
            f"{name} is missing in {folder(given)}: bring it with {pull_it}, or name a folder "
            f"that has it with --assets DIR or {FOLDER}"
        )
    try:
        _set(kind).file(file).check(path)
    except AssetError as error:
        raise AssetError(f"{error}: remove it and bring it with {pull_it}") from error
    return path


def stand_in(name: str, given: Path | None = None) -> bool:
    """Say whether `SET/FILE`, which is there, is only the published file's stand-in."""
    kind, _, file = name.partition("/")
    return _set(kind).file(file).is_stand_in(folder(given) / kind / file)


def pull(wanted: Sequence[str] = (), given: Path | None = None) -> list[Path]:
    """Bring the sets named (all, if none is) and return their files; what is right stays.

    Raises:
        AssetError: a file cannot be had, or is not the published one; nothing of it is kept.
        ConfigError: there is no set of that name.
    """
    found = []
    for kind in wanted or names("assets"):
        assets = _set(kind)
        for file in assets.files:
            path = folder(given) / kind / file.name
            if _state(file, path) != "present":
                _download(_url(kind, assets, file), file, path)
            found.append(path)
    return found


def listing(given: Path | None = None) -> list[dict[str, str]]:
    """Return every file that a protocol needs: `asset`, `path`, and `state`.

    The state is present, missing or damaged.
    """
    return [
        {"asset": f"{kind}/{file.name}", "path": str(path), "state": _state(file, path)}
        for kind in names("assets")
        for file in _set(kind).files
        for path in [folder(given) / kind / file.name]
    ]


def _set(kind: str) -> AssetSet:
    return _built(kind, Path.cwd())


@lru_cache(maxsize=16)
def _built(kind: str, place: Path) -> AssetSet:
    """Return a set; a folder `configs` at the place may have one of its own."""
    found: AssetSet = build(load("assets", kind), f"assets/{kind}")
    return found


def _state(file: AssetFile, path: Path) -> str:
    if not path.is_file():
        return "missing"
    try:
        file.check(path)
    except AssetError:
        return "damaged"
    return "present"


def _url(kind: str, assets: AssetSet, file: AssetFile) -> str:
    if mirror := os.environ.get(MIRROR):
        source = file.url.rpartition("/")[2] if file.url else file.name
        return f"{mirror.rstrip('/')}/{kind}/{source}"
    return file.url or f"{assets.home}/{assets.revision}/{file.at or file.name}"


def _download(url: str, file: AssetFile, path: Path) -> None:
    """Bring a file; what came of it before an interruption is kept, and gone on from."""
    from harness.benchmarks.downloads import Interrupted, fetch

    part, whole = (path.with_name(f".{path.name}.{end}") for end in ("part", str(os.getpid())))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fetch(url, part)
            if file.made:
                content = file.made.make(part.read_text(encoding="utf-8"))
                whole.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
            else:
                part.replace(whole)
            file.check(whole)
            flush_file(whole)
            whole.replace(path)
            part.unlink(missing_ok=True)
        except Interrupted as error:
            raise AssetError(f"{url} {error}") from error
        except (AssetError, ValueError) as error:
            part.unlink(missing_ok=True)
            raise AssetError(f"{url}: {error}; nothing was kept") from error
        finally:
            whole.unlink(missing_ok=True)


def _content_sha256(path: Path, lines: bool = False) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = [json.loads(x) for x in text.split("\n") if x] if lines else json.loads(text)
        return digest(content)
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(f"{path} cannot be read as JSON ({type(error).__name__})") from error
