"""What differs between the configuration of a run and another one, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.core.config import CLASS_VERSION, FILE_CONTENT, IDENTIFIED_BY, SOURCE_CODE
from harness.core.seeds import canonical


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between the descriptions of two configurations, an item a key.

    Neither where a file lies nor how a number is written counts. What the old description does not
    know of the files and the code behind a component, an older version having written it, is taken
    to be the same.
    """
    recorded, current = dict(_components(old)), dict(_components(new))
    locations = {
        _join(key, name)
        for key in recorded.keys() & current.keys()
        for name in recorded[key][IDENTIFIED_BY].keys() & current[key][IDENTIFIED_BY].keys()
    }
    first, second = (dict(_settings(canonical(data))) for data in (old, new))
    keys = (first.keys() | second.keys()) - locations
    changed = sorted(key for key in keys if first.get(key) != second.get(key))
    texts = [f"{key}: {first.get(key)!r} → {second.get(key)!r}" for key in changed]
    for key in sorted(recorded.keys() & current.keys()):
        texts += _contents(key, recorded[key], current[key])
    return texts


def _settings(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting by its dotted key."""
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for key, inner in value.items():
        if key != IDENTIFIED_BY:
            yield from _settings(inner, _join(prefix, key))


def _components(value: Any, prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every component of which more than its settings is known, by its dotted key."""
    if not isinstance(value, Mapping):
        return
    if IDENTIFIED_BY in value:
        yield prefix, value
    for key, inner in value.items():
        yield from _components(inner, _join(prefix, key))


def _contents(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield what has changed behind the same settings of a component."""
    if old.get("use") != new.get("use"):
        return  # that is a difference already
    before, after = old[IDENTIFIED_BY], new[IDENTIFIED_BY]
    for what in sorted({*before, *after}):
        if before.get(what) == after.get(what):
            continue
        if what == SOURCE_CODE:
            files = _changed_files(before.get(what, {}), after.get(what, {}))
            yield f"the code of {new['use']} ({', '.join(files)}) has changed"
        elif what == CLASS_VERSION:
            yield f"{new['use']} is of another version"
        elif what == FILE_CONTENT:
            yield f"a file that {key} reads has another content"
        else:
            yield f"{key}.{what} ({new.get(what)}) has another content"


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
