"""Configuration: YAML in, validated components out.

The directory is the registry: `configs/<kind>/<name>.yaml` is what the command line calls `<name>`.
A mapping with a key `use: package.module:Name` becomes that component; its other keys are the
fields. A mapping with `ref: kind/name` starts from that file; its other keys override the file's.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from harness.core import trust
from harness.core.documents import MAX_DEPTH, parse_yaml, read_yaml
from harness.core.extras import missing_extra
from harness.core.retired import config_replacement, new_key, new_use
from harness.core.source_code import code_digests
from harness.core.terminal import shorten
from harness.errors import ConfigError

C = TypeVar("C")

IDENTIFIED_BY = "identified_by"
"""The key in a component's description under which digests of what it stands for are kept: of the
files that its fields name, of its code if it is not part of the harness; its version if it is."""
SOURCE_CODE, CLASS_VERSION, FILE_CONTENT = "source code", "class version", "file content"

MAX_FILES, MAX_REFERENCE_DEPTH = 1000, 32
"""Files that the references of one configuration may name, and how deep one leads to another."""


HomePath = Annotated[str, AfterValidator(os.path.expanduser)]
"""A path that may begin with `~`."""


class Component(BaseModel):
    """Base of everything that a configuration builds: frozen, strict about keys, finite numbers.

    A field declared with `Field(exclude=True)` does not change results (a batch size, a time-out):
    it is left out of `identity`, and so of the digests that name stages.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )

    result_version: ClassVar[int] = 1
    """Raised when the class gives another result than before from the same fields."""

    def fingerprint(self) -> Mapping[str, str] | str | None:
        """Return what identifies the content of the files that the component reads; None: no file.

        By the field that names the file: its content then counts, and not where it lies. One text:
        the content of files whose names are part of the identity.
        """
        return None

    def resolve(self) -> Component:
        """Return what a configuration builds: this component, or the one that it chooses."""
        return self

    def in_workspace(self, root: Path) -> Self:
        """Return this component with the files that it writes, and its parts do, in a workspace."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        parts = {name: part for name, part in values.items() if isinstance(part, Component)}
        moved = {name: part.in_workspace(root) for name, part in parts.items()}
        changes = {name: part for name, part in moved.items() if part is not parts[name]}
        return self.model_copy(update=changes) if changes else self

    def check_ready(self) -> None:
        """Raise what a first use would raise, as far as it costs nothing to know; so do its parts.

        It is called before hours of work whose result the component needs: an oracle's key.
        """
        for name in type(self).model_fields:
            for part in _parts(getattr(self, name)):
                part.check_ready()


def _parts(value: Any) -> Iterator[Component]:
    for item in value if isinstance(value, list | tuple) else (value,):
        if isinstance(item, Component):
            yield item


def roots() -> list[Path]:
    """Return the directories that are searched: the user's, the checkout's, the wheel's."""
    package = Path(__file__).parents[1]
    return [Path.cwd() / "configs", package.parent / "configs", package / "_configs"]


def names(kind: str) -> list[str]:
    """Return the names that the command line accepts for a kind of configuration."""
    paths = set()
    for root in roots():
        paths |= {p.relative_to(root / kind).with_suffix("") for p in (root / kind).rglob("*.yaml")}
    return sorted(path.as_posix() for path in paths)


def kinds() -> list[str]:
    """Return the kinds of configuration."""
    return sorted(
        {p.name for root in roots() if root.is_dir() for p in root.iterdir() if p.is_dir()}
    )


def find(kind: str, name: str) -> Path:
    """Return the file of a configuration, by its name or its path.

    Raises:
        ConfigError: there is none; the message lists the known names.
    """
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    for root in roots():
        if (path := root / kind / f"{name}.yaml").is_file():
            return path
    if replacement := config_replacement(kind, name):
        raise ConfigError(f"the {kind} {name!r} was removed: {replacement}")
    raise ConfigError(f"no {kind} called {name!r}{suggest(name, names(kind))}")


def _find_named(kind: str, name: str) -> Path:
    """Return the file of a configuration that the user names, and note it if by its path."""
    path = find(kind, name)
    if path == Path(name):
        trust.name_file(path)
    return path


def suggest(name: str, candidates: Iterable[str]) -> str:
    """Return the end of an error message: the probable and the known names."""
    candidates = sorted(candidates)
    matches = difflib.get_close_matches(name, candidates, n=1)
    guess = f"; did you mean {matches[0]!r}?" if matches else "."
    return f"{guess} Known: {', '.join(candidates) or 'none'}."


def load(
    kind: str,
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] | Mapping[str, Any] = (),
) -> dict[str, Any]:
    """Read a configuration, apply overrides, and follow its references.

    Args:
        kind: a folder of configs, e.g. `train`.
        source: a name of that kind, a YAML file, or the content of one.
        overrides: `a.b=value` texts, or a mapping whose keys may be dotted.

    Raises:
        ConfigError: there is no such configuration, or it cannot be read.
    """
    nested = [_nest(key, value) for key, value in parse_overrides(overrides).items()]
    trust.name_by_user(nested)
    reader = _Reader()
    if isinstance(source, Mapping):
        trust.name_by_user(source)
        data = reader.with_base(dict(source))
    else:
        data = reader.read(_find_named(kind, str(source)))
    for override in nested:
        data = merge(data, override)
    followed: dict[str, Any] = reader.follow(data)
    return followed


def parse_overrides(overrides: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides by dotted key; of two for one key the later counts."""
    if isinstance(overrides, Mapping):
        return dict(overrides)
    parsed: dict[str, Any] = {}
    for override in overrides:
        key, value = _parse_override(override)
        parsed.pop(key, None)  # the later one is also applied later
        parsed[key] = value
    return parsed


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `new` into `old` by key; a mapping with its own `use` or `ref` replaces the old one."""
    merged = dict(old)
    for key, value in new.items():
        existing = merged.get(key)
        match existing, value:
            case Mapping(), Mapping() if not {"use", "ref"} & set(value):
                merged[key] = merge(existing, value)
            case _:
                merged[key] = value
    return merged


def build(spec: Mapping[str, Any], where: str = "") -> Any:
    """Import the component that `use` names and construct it from the remaining keys.

    Args:
        spec: a mapping with the key `use: package.module:Name`.
        where: the path of the mapping in its configuration, for error messages.

    Raises:
        ConfigError: it is no component, its code is not trusted (`harness.core.trust`) or cannot
            be imported, or a key or a value does not fit it.
    """
    fields = dict(spec)
    fields.pop(IDENTIFIED_BY, None)  # of a component as a run's record describes it
    component = _import_component(str(fields.pop("use")), where)
    return construct(component, fields, where).resolve()


def _import_component(target: str, where: str) -> type[Component]:
    module, _, attribute = target.partition(":")
    try:
        component = getattr(trust.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, SyntaxError, ConfigError) as error:
        if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
            raise missing from error
        if replacement := new_use(target):
            message = f"{target!r} is now {replacement!r}"
        else:
            message = f"cannot import {target!r}: {error}"
        raise ConfigError(f"{_prefix(where)}{message}") from error
    if not (isinstance(component, type) and issubclass(component, Component)):
        raise ConfigError(
            f"{_prefix(where)}{target!r} is no component: `use` names a class that is derived from "
            "harness.Component"
        )
    return component


def construct(component: Callable[..., C], fields: Mapping[str, Any], where: str = "") -> C:
    """Construct a component, building nested components first.

    Raises:
        ConfigError: a key or a value does not fit; the message names the key.
    """
    _refuse_retired_keys(component, fields, where)
    arguments = {key: _build_nested(value, _join_keys(where, key)) for key, value in fields.items()}
    for key, value in arguments.items():
        if isinstance(value, Mapping | list):  # of other values the component's fields say it
            _refuse_infinite(value, _join_keys(where, key))
    try:
        return component(**arguments)
    except ValidationError as error:
        message = "; ".join(_explain(component, detail, where) for detail in error.errors())
        raise ConfigError(message) from error
    except TypeError as error:
        raise ConfigError(f"{_prefix(where)}{error}") from error


def identity(value: Any) -> Any:
    """Return plain data that identifies a component: everything that changes its results.

    Raises:
        ConfigError: the object is neither plain data nor a Component.
    """
    return without_locations(description(value))


def without_locations(data: Any) -> Any:
    """Return descriptions without the fields that only say where a file is."""
    match data:
        case Mapping():
            located = data.get(IDENTIFIED_BY, {})
            return {k: without_locations(inner) for k, inner in data.items() if k not in located}
        case list():
            return [without_locations(inner) for inner in data]
    return data


def description(value: Any) -> Any:
    """Return plain data that identifies a component, and from which `build` makes it again.

    Fields that change no result are left out. Digests of files and code are under `identified_by`.

    Raises:
        ConfigError: the object is neither plain data nor a Component.
    """
    match value:
        case Component():
            fields = {
                name: description(getattr(value, name))
                for name, info in type(value).model_fields.items()
                if not info.exclude
            }
            return {"use": qualified_name(type(value)), **fields, **_identified_by(value)}
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return str(value)
        case Mapping():
            return {str(key): description(inner) for key, inner in value.items()}
        case list() | tuple():
            return [description(inner) for inner in value]
        case set() | frozenset():
            return sorted(description(inner) for inner in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return description(dataclasses.asdict(value))
    if inspect.isroutine(value) and value.__qualname__.isidentifier():
        code = code_digests(value)
        reference = {"use": qualified_name(value)}
        return {**reference, IDENTIFIED_BY: {SOURCE_CODE: code}} if code else reference
    raise ConfigError(f"{value!r} has no identity; make its class a harness.core.config.Component")


def _identified_by(component: Component) -> dict[str, Any]:
    prints = component.fingerprint()
    known: dict[str, Any] = (
        {FILE_CONTENT: prints} if isinstance(prints, str) else {**(prints or {})}
    )
    if code := code_digests(type(component)):
        known[SOURCE_CODE] = code
    if component.result_version > 1:
        known[CLASS_VERSION] = component.result_version
    return {IDENTIFIED_BY: known} if known else {}


def to_data(value: Any) -> Any:
    """Return components as plain data with all their fields; `from_data` rebuilds them."""
    match value:
        case Component():
            fields = {name: to_data(getattr(value, name)) for name in type(value).model_fields}
            return {"use": qualified_name(type(value)), **fields}
        case Mapping():
            return {str(key): to_data(inner) for key, inner in value.items()}
        case list() | tuple():
            return [to_data(inner) for inner in value]
        case Path():
            return str(value)
    return value


def from_data(data: Any) -> Any:
    """Return plain data with every component in it constructed, at any depth."""
    return _build_nested(data, "")


def qualified_name(value: type | Callable[..., Any]) -> str:
    """Return the `module:Name` under which a class or a function can be imported."""
    return f"{value.__module__}:{value.__qualname__}"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not YAML as it should be: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping, got {type(data).__name__}.")
    trust.read_by_user(path, data)
    trust.check_sensitive(path, data)
    return data


class _Reader:
    """Reads what one configuration refers to, and ends where references never would."""

    def __init__(self) -> None:
        self.files = 0

    def read(self, path: Path, depth: int = 0) -> dict[str, Any]:
        """Return the content of a file, merged into the file that its `ref` names."""
        self.files += 1
        if depth > MAX_REFERENCE_DEPTH or self.files > MAX_FILES:
            raise ConfigError(
                f"{path}: its references lead back to itself, or to more than {MAX_FILES} files"
            )
        return self.with_base(_read_yaml(path), depth)

    def with_base(self, data: dict[str, Any], depth: int = 0) -> dict[str, Any]:
        """Merge a mapping into the file that its `ref` names."""
        if "ref" not in data:
            return data
        overrides = {key: value for key, value in data.items() if key != "ref"}
        kind, _, name = str(data["ref"]).partition("/")
        return merge(self.read(find(kind, name), depth + 1), overrides)

    def follow(self, value: Any, depth: int = 0) -> Any:
        """Follow every reference, after the overrides, so that none that was replaced is read."""
        match value:
            case {"ref": _}:
                return self.follow(self.with_base(value, depth), depth + 1)
            case dict():
                return {key: self.follow(inner, depth) for key, inner in value.items()}
            case list():
                return [self.follow(inner, depth) for inner in value]
            case _:
                return value


def _parse_override(override: str) -> tuple[str, Any]:
    """Split `objective.eta=0.1` into its key and its value."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(
            f"--set {shorten(override)!r}: write it as key.key=value, e.g. objective.eta=0.0075"
        )
    if key.count(".") >= MAX_DEPTH:
        raise ConfigError(f"--set {shorten(key)}: a key of more than {MAX_DEPTH} parts")
    try:
        return key, parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"--set {shorten(override)}: the value is not YAML: {error}") from error


def _nest(key: str, value: Any) -> dict[str, Any]:
    """Turn `objective.eta` and 0.1 into `{"objective": {"eta": 0.1}}`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _build_nested(value: Any, where: str) -> Any:
    match value:
        case Mapping() if "use" in value:
            return build(value, where)
        case Mapping():
            return {
                key: _build_nested(inner, _join_keys(where, key)) for key, inner in value.items()
            }
        case list():
            return [_build_nested(item, f"{where}[{i}]") for i, item in enumerate(value)]
        case _:
            return value


def _refuse_retired_keys(component: Callable[..., Any], keys: Iterable[str], where: str) -> None:
    known = inspect.signature(component).parameters
    for key in keys:
        if key not in known and (replacement := new_key(key, known)):
            raise ConfigError(f"{_prefix(where)}{key!r} is now {replacement!r}")


def _refuse_infinite(value: Any, where: str) -> None:
    match value:
        case float() if not math.isfinite(value):
            raise ConfigError(f"{where}: expected a finite number, got {value}")
        case Mapping():
            for key, inner in value.items():
                _refuse_infinite(inner, _join_keys(where, str(key)))
        case list() | tuple():
            for i, inner in enumerate(value):
                _refuse_infinite(inner, f"{where}[{i}]")


def _explain(component: Any, detail: ErrorDetails, where: str) -> str:
    *path, key = [str(part) for part in detail["loc"]] or [""]
    location = _join_keys(where, ".".join([*path, key]))
    if detail["type"] == "extra_forbidden":
        fields = () if path else getattr(component, "model_fields", ())
        if replacement := new_key(key, fields):
            return f"{_prefix(_join_keys(where, '.'.join(path)))}{key!r} is now {replacement!r}"
        return f"unknown key {location!r}{suggest(key, fields) if fields else '.'}"
    if detail["type"] == "missing":
        return f"{location} is missing: set it in the file or with --set {location}=..."
    if detail["type"] in ("float_parsing", "int_parsing"):
        kind = "number" if detail["type"] == "float_parsing" else "whole number"
        return f"{location}: expected a {kind}, got {detail['input']!r}; write it out, e.g. 0.3333"
    message = detail["msg"][0].lower() + detail["msg"][1:]
    if detail["type"] == "is_instance_of" and detail["input"] in names(key):
        return f"{location}: a name is written --set '{location}={{ref: {key}/{detail['input']}}}'"
    if not _may_show_value(component, key):
        return f"{_prefix(location)}{message}"
    return f"{_prefix(location)}{message}, got {detail['input']!r}"


def _may_show_value(component: Any, key: str) -> bool:
    """Return whether an error may quote a field's value: one without a `repr` may hold a key."""
    field = getattr(component, "model_fields", {}).get(key)
    return field is None or bool(field.repr)


def _join_keys(where: str, key: str) -> str:
    return f"{where}.{key}" if where and key else where or key


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""
