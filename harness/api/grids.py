"""Grids: several values a key, every combination of them, and a name for each.

On the command line values are separated by commas; a comma between brackets or quotes belongs to a
value, so that a list is written `betas=[0.9,0.95],[0.9,0.99]`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core import config
from harness.core.seeds import digest
from harness.errors import ConfigError

OPENING, CLOSING = "[{(", "]})"
SAFE_VALUE = re.compile(r"[\w.+-]{1,40}", re.ASCII)
"""A value that can be a part of a run's name as it is."""
DIGEST_DIGITS = 8
SEED_RANGE = re.compile(r"(\d+)-(\d+)")
MAX_SEEDS = 1000
SEED = "seed"


@dataclass(frozen=True)
class Grid:
    """Keys with one value, and keys with several."""

    fixed: Mapping[str, Any]
    varied: Mapping[str, tuple[Any, ...]]

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield the varied values of each combination; the last key changes fastest."""
        for values in itertools.product(*self.varied.values()):
            yield dict(zip(self.varied, values, strict=True))


def parse_grid(settings: Sequence[str] | Mapping[str, Any]) -> Grid:
    """Return a grid from `key=value,value` texts, or from a mapping whose lists are several values.

    Raises:
        ConfigError: a text is no override, a value is empty, or the seed is among the keys.
    """
    if isinstance(settings, Mapping):
        values = {k: tuple(v) if isinstance(v, list | tuple) else (v,) for k, v in settings.items()}
    else:
        values = dict(_parse_text(text) for text in settings)
    if SEED in values:
        raise ConfigError("seeds are not a setting of the grid: give them with --seeds, e.g. 0,1,2")
    for key, several in values.items():
        if not several:
            raise ConfigError(f"{key} has no value")
    unique = {key: tuple(_unique(several)) for key, several in values.items()}
    return Grid(
        {key: several[0] for key, several in unique.items() if len(several) == 1},
        {key: several for key, several in unique.items() if len(several) > 1},
    )


def _parse_text(text: str) -> tuple[str, tuple[Any, ...]]:
    key, equals, values = text.partition("=")
    if not equals:
        config.parse_overrides([text])  # raises
    parts = split_values(values)
    if len(parts) > 1 and not all(part.strip() for part in parts):
        raise ConfigError(f"--set {text!r}: a value between the commas is empty")
    parsed = [config.parse_overrides([f"{key}={part}"])[key] for part in parts]
    return key, tuple(parsed)


def split_values(text: str) -> list[str]:
    """Return the parts of a text between commas that are neither in brackets nor in quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (depth or not parts[-1].strip()):
            quote = character
        elif character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth = max(0, depth - 1)
        elif character == "," and not depth:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def parse_seeds(seeds: str | Sequence[int]) -> tuple[int, ...]:
    """Return seeds from a text such as `0,1` or `0-9`, or from numbers.

    Raises:
        ConfigError: a part is no number, or there are none.
    """
    numbers: list[int] = []
    for part in seeds.split(",") if isinstance(seeds, str) else map(str, seeds):
        text = part.strip()
        if match := SEED_RANGE.fullmatch(text):
            numbers += range(int(match[1]), int(match[2]) + 1)
        elif text.isdecimal():
            numbers.append(int(text))
        else:
            raise ConfigError(f"the seed {text!r} is no number: write --seeds 0,1,2 or --seeds 0-9")
        if len(numbers) > MAX_SEEDS:
            raise ConfigError(f"more than {MAX_SEEDS} seeds")
    if not numbers:
        raise ConfigError("there are no seeds: write --seeds 0,1,2 or --seeds 0-9")
    return tuple(dict.fromkeys(numbers))


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return each dotted key's shortest end that no other key has."""
    names = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1))
        others = [other for other in keys if other != key]
        names[key] = next(
            (e for e in ends if not any(f".{o}".endswith(f".{e}") for o in others)), key
        )
    return names


def describe_settings(settings: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Return `eta=0.1` for every setting, fit for a run's name."""
    return [f"{names[key]}={value_text(value)}" for key, value in settings.items()]


def value_text(value: Any) -> str:
    """Return a value as a part of a name: itself where that is short and plain, else its digest."""
    match value:
        case bool() | None:
            text = str(value).lower()
        case {"use": use}:
            text = str(use).rpartition(":")[2]
        case _:
            text = str(value)
    if SAFE_VALUE.fullmatch(text) and not isinstance(value, Mapping):
        return text
    prefix = f"{text}-" if SAFE_VALUE.fullmatch(text) else ""
    return prefix + digest(value)[:DIGEST_DIGITS]


def _unique(values: Sequence[Any]) -> list[Any]:
    unique: list[Any] = []
    for value in values:
        if not any(value == other and type(value) is type(other) for other in unique):
            unique.append(value)
    return unique
