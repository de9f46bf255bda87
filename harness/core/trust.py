"""Whose code may run: what `use:` names is imported only if the user vouches for its module.

Run records, results and the `configs/` of a working folder are data: opening somebody's folder runs
none of the code in it. Without asking, modules are imported of

- this package, and packages that the user has installed in this Python;
- folders that are trusted: `harness trust DIR`, `--trust DIR`, or the variable HARNESS_TRUST;
- folders on the module path, if the user has named the module himself: with `--set`, in Python, or
  in a YAML file that he named by its path (then its folder must be on PYTHONPATH).

A file of the working folder's `configs/` that the user has not named by its path may not name a
program, lines of shell or another server for a key either (`SENSITIVE`).

The check precedes the import, which would run the code, and also covers `--dry-run`. What the
process has imported already is not checked: it runs no new code.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.core.terminal import shorten
from harness.errors import ConfigError

TRUST_VARIABLE = "HARNESS_TRUST"
"""Environment variable: trusted folders of this process and of those that it starts."""
SENSITIVE = {
    "python": "is a program that would run",
    "setup": "is shell code that would run",
    "arguments": "is handed to a program, which may load code",
    "include": "is a folder of tasks, which may hold code",
    "api_key_env": "chooses a key of yours that would be sent",
    "base_url": "is an address to which your key would be sent",
}
"""Keys of a configuration that need trust though they name no module, and what they could do."""
OWN_PACKAGES = ("harness", "baselines", "leaderboard")

_named_modules: set[str] = set()
"""Top-level modules that the user has named with `--set` or in Python."""
_modules_of_named_files: set[str] = set()
"""Top-level modules that a YAML file names which the user has named by its path."""
_named_files: set[Path] = set()
"""YAML files that the user has named by their paths."""


def import_module(module: str) -> ModuleType:
    """Import a module that a configuration names, if its code may run.

    Raises:
        ConfigError: its folder is not trusted, or there is no such module.
        ImportError: the module cannot be imported.
    """
    if module not in sys.modules:
        check_module(module)
    return importlib.import_module(module)


def check_module(module: str) -> None:
    """Check that the code of a module may run; import nothing.

    Raises:
        ConfigError: its folder is not trusted, or there is no such module.
    """
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts) or parts[-1] == "__main__":
        raise ConfigError(
            f"{module!r} is not the name of a module: write `use: package.module:Name`"
        )
    if parts[0] in sys.stdlib_module_names:
        raise ConfigError(f"{module!r} is a module of Python itself: it holds no component")
    origins = _find(parts[0])
    for origin in origins:
        if not _is_allowed(parts[0], origin.parent):
            raise ConfigError(_refusal(module, origin))
    for origin in origins:
        if origin.parent not in _module_path():
            sys.path.append(str(origin.parent))


def name_by_user(value: Any) -> None:
    """Note the modules and the YAML files that a value names which the user has typed."""
    _named_modules.update(_modules(value))
    _named_files.update(_files(value))


def name_file(path: Path) -> None:
    """Note that the user has named a YAML file by its path."""
    _named_files.add(path.resolve())


def read_by_user(path: Path, data: Any) -> None:
    """Note what a YAML file names, if the user has named that file by its path."""
    if path.resolve() in _named_files:
        _modules_of_named_files.update(_modules(data))
        _named_files.update(_files(data))


def check_sensitive(path: Path, data: Any) -> None:
    """Refuse sensitive keys in a file of the working folder's `configs/` that nobody vouches for.

    Raises:
        ConfigError: there is one, and the working folder is not trusted.
    """
    folder = Path.cwd().resolve()
    own = Path(__file__).resolve().parents[2]
    file = path.resolve()
    is_data = path.is_relative_to(Path.cwd() / "configs") and folder != own
    if not is_data or file in _named_files or is_trusted(folder):
        return
    for key, value in _sensitive_values(data):
        raise ConfigError(
            f"{path}: {key} {shorten(repr(value))} {SENSITIVE[key]}, and its folder is not "
            f"trusted; if you know it, run `harness trust {folder}` or add --trust {folder}"
        )


def _sensitive_values(data: Any) -> Iterator[tuple[str, Any]]:
    from harness.core.http import is_loopback  # not needed by most commands

    match data:
        case Mapping():
            for key, value in data.items():
                is_local = key == "base_url" and is_loopback(str(value))
                if key in SENSITIVE and value and not is_local:
                    yield str(key), value
                yield from _sensitive_values(value)
        case list():
            for inner in data:
                yield from _sensitive_values(inner)


def trust_for_now(folder: Path) -> None:
    """Trust a folder in this process and in those that it starts.

    Raises:
        ConfigError: there is no such folder.
    """
    entries = [os.environ.get(TRUST_VARIABLE, ""), str(_existing(folder))]
    os.environ[TRUST_VARIABLE] = os.pathsep.join(filter(None, entries))


def trust(folder: Path) -> Path:
    """Trust a folder, and those in it, until `distrust`; return its absolute path.

    Raises:
        ConfigError: there is no such folder, or the list cannot be read or written.
    """
    resolved = _existing(folder)
    _write({*remembered(), resolved})
    return resolved


def distrust(folder: Path) -> Path:
    """Trust a folder no longer; return its absolute path.

    Raises:
        ConfigError: it was not trusted, or the list cannot be read or written.
    """
    resolved = folder.resolve()
    if resolved not in remembered():
        raise ConfigError(f"{resolved} is not in the list of `harness trust --list`")
    _write({known for known in remembered() if known != resolved})
    return resolved


def remembered() -> list[Path]:
    """Return the folders that `harness trust` has recorded, sorted.

    Raises:
        ConfigError: the list cannot be read.
    """
    path = list_path()
    try:
        folders = json.loads(path.read_text(encoding="utf-8"))["folders"]
        return sorted(Path(folder) for folder in folders)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged ({error}): remove it, and trust anew") from error


def list_path() -> Path:
    """Return the file with the folders that the user trusts."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "preference-harness" / "trusted.json"


def is_trusted(folder: Path) -> bool:
    """Return whether a folder, or one that holds it, is trusted."""
    resolved = folder.resolve()
    return any(known in (resolved, *resolved.parents) for known in _trusted_folders())


def _trusted_folders() -> list[Path]:
    return [*_folders_for_now(), *remembered()]


def _folders_for_now() -> list[Path]:
    return _entries(TRUST_VARIABLE)


def _entries(variable: str) -> list[Path]:
    return [Path(p).resolve() for p in os.environ.get(variable, "").split(os.pathsep) if p]


def _module_path() -> set[Path]:
    return {Path(os.path.realpath(entry)) for entry in sys.path}


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: name one that exists")
    return folder.resolve()


def _write(folders: Iterable[Path]) -> None:
    path, text = list_path(), json.dumps({"folders": sorted(map(str, folders))}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _modules(value: Any) -> Iterator[str]:
    """Yield the top-level module of every `use` in a value."""
    match value:
        case Mapping():
            if "use" in value:
                yield str(value["use"]).partition(":")[0].partition(".")[0]
            for inner in value.values():
                yield from _modules(inner)
        case list() | tuple():
            for inner in value:
                yield from _modules(inner)


def _files(value: Any) -> Iterator[Path]:
    """Yield every YAML file that a `ref` in a value names by its path."""
    match value:
        case Mapping():
            name = str(value.get("ref", "")).partition("/")[2]
            if name.endswith((".yaml", ".yml")):
                yield Path(name).resolve()
            for inner in value.values():
                yield from _files(inner)
        case list() | tuple():
            for inner in value:
                yield from _files(inner)


def _find(module: str) -> list[Path]:
    """Return the files, or the folders, of a top-level module; none where an import hook has it.

    Raises:
        ConfigError: there is no such module.
    """
    spec = importlib.machinery.PathFinder.find_spec(module)
    if spec is None and importlib.util.find_spec(module) is not None:
        return []  # an import hook of an installed package, e.g. of an editable installation
    if spec is None:
        search = [str(path) for path in _folders_beside()]
        spec = importlib.machinery.PathFinder.find_spec(module, search)
    if spec is None:
        raise ConfigError(
            f"there is no module {module!r}: install it, put its folder on PYTHONPATH, or name "
            "the folder with --trust DIR"
        )
    locations = spec.submodule_search_locations or [spec.origin or ""]
    return [Path(os.path.realpath(Path(at).parent)) / Path(at).name for at in locations]


def _folders_beside() -> list[Path]:
    """Return the folders off the module path that are searched, trusted ones first."""
    here = Path.cwd()
    around = [folder for folder in _trusted_folders() if folder in (here, *here.parents)]
    return [*_folders_for_now(), *around, here, *(file.parent for file in _named_files)]


def _is_allowed(module: str, folder: Path) -> bool:
    return (
        (module in OWN_PACKAGES and folder == Path(__file__).resolve().parents[2])
        or (module in _named_modules and folder in _module_path())
        or (module in _modules_of_named_files and folder in _entries("PYTHONPATH"))
        or folder in _installed_folders()
        or is_trusted(folder)
    )


def _installed_folders() -> set[Path]:
    """Return the folders of installed packages, and of those that are installed as editable."""
    import site
    import sysconfig

    names = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    names |= {site.getusersitepackages()} if site.ENABLE_USER_SITE else set()
    folders = {Path(name).resolve() for name in names}
    editable = (
        folder / line.strip()
        for folder in folders
        for file in folder.glob("*.pth")
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
    )
    return folders | {Path(os.path.realpath(folder)) for folder in editable}


def _refusal(module: str, origin: Path) -> str:
    folder = origin.parent
    name = module.partition(".")[0]
    file = next((p for p in (origin, origin / "__init__.py") if p.is_file()), origin)
    path = f", or set PYTHONPATH={folder}" if name in _modules_of_named_files else ""
    return (
        f"this would run {file}, and its folder is not trusted; if you know that code, run "
        f"`harness trust {folder}` or add --trust {folder}{path}"
    )
