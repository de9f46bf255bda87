"""YAML and JSON that somebody else may have written, read within limits.

A document may not take a machine's memory or its stack, nor mean two things at once: its size, its
depth, its nodes (with every alias unfolded) and its numbers have limits, an anchor may not hold
itself, and a mapping may not have a key twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml

MAX_BYTES = 10_000_000
MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_NUMBER = 64
"""Characters of a number: a double is exact with 17 digits."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml, where it is installed, is ten times as fast."""


class _StrictLoader(_Loader):  # type: ignore[misc]
    """Refuses a mapping with a key twice, which YAML forbids and its loader lets pass."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        earlier: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in earlier:
                    raise ValueError(f"the key {key!r} is there twice, {_at(key_node.start_mark)}")
                earlier.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not YAML, or goes beyond a limit; one line.
    """
    _check_size(path.stat().st_size)
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML document.

    Raises:
        ValueError: it is not YAML, or goes beyond a limit; one line.
    """
    try:
        _check_events(text)
        loader = _StrictLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _check_events(text: str) -> None:
    """Refuse what is too large or too deep before anything is built of it; events are flat."""
    _check_size(len(text))
    sizes: dict[str | None, int] = {}  # nodes below each finished anchor, aliases unfolded
    open_nodes: list[tuple[str | None, int]] = []  # (anchor, nodes before it)
    nodes = 0
    event: Any
    for event in yaml.parse(text, Loader=_Loader):
        match event:
            case yaml.AliasEvent():
                if event.anchor not in sizes:
                    raise ValueError(
                        f"the alias *{event.anchor} {_at(event.start_mark)} holds itself, or "
                        "there is no such anchor"
                    )
                nodes += sizes[event.anchor]
            case yaml.ScalarEvent():
                _check_number(event)
                nodes += 1
                sizes |= {event.anchor: 1} if event.anchor else {}
            case yaml.CollectionStartEvent():
                open_nodes.append((event.anchor, nodes))
                nodes += 1
                sizes.pop(event.anchor, None)
            case yaml.CollectionEndEvent():
                anchor, before = open_nodes.pop()
                sizes |= {anchor: nodes - before} if anchor else {}
        if len(open_nodes) > MAX_DEPTH:
            raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES:
            raise ValueError(f"it unfolds to more than {MAX_NODES:,} values")


def _check_number(event: Any) -> None:
    is_tagged = event.tag is not None and event.tag.endswith((":int", ":float", ":timestamp"))
    is_number = event.implicit[0] and event.value[:1] in "+-.0123456789" and ":" not in event.value
    is_number |= event.implicit[0] and set(event.value) <= set("+-._:0123456789")
    if (is_tagged or is_number) and len(event.value) > MAX_NUMBER:
        raise ValueError(f"a number of {len(event.value):,} characters {_at(event.start_mark)}")


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 1_000_000} MB")


def _at(mark: Any) -> str:
    return f"in line {mark.line + 1}"


def parse_json(text: str | bytes) -> Any:
    """Return the content of a JSON document.

    Raises:
        ValueError: it is not JSON, or goes beyond a limit; one line.
    """
    try:
        data = json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise ValueError(f"it nests deeper than {MAX_DEPTH} levels") from error
    _check_depth(data)
    return data


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for value in level for inner in _children(value)]
        if not level:
            return
    raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")


def _children(value: Any) -> Collection[Any]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
    return ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return data


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
