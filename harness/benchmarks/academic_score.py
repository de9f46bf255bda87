"""Figures of academic tasks: a mean over each task's items, and the plain average of the tasks.

A task's figure is compared with lm-eval's own, and refused where the two differ: then it is no
mean over items. The average weighs tasks alike, however many items they have. An item adds to it

    average + N / (T n_t) (x - mean_t)

of N items in T tasks, n_t in its own, worth x: the mean of this is the average, and its spread is
that of items drawn anew within each task, so that paired tests need to know of no tasks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.benchmarks.academic_process import RECORDS
from harness.errors import CheckError, StoreError
from harness.seeds import digest
from harness.types import Score

TASK = "task.json"
AVERAGE = "average"
SEED, PERCENT = 0, 100
SAME = 1e-9
"""How far a figure may lie from lm-eval's own."""


@dataclass(frozen=True)
class Examined:
    """A task that a policy has taken."""

    key: str
    folder: Path
    asked: Mapping[str, Any]
    """What was meant: task, version, shots, metric, filter, chat, limit."""
    facts: Mapping[str, Any]
    """What lm-eval tells."""
    records: tuple[Mapping[str, Any], ...]
    """One an item."""


@dataclass(frozen=True, slots=True)
class Item:
    """What one item is worth."""

    name: str
    points: float
    weight: float


def read(key: str, folder: Path) -> Examined:
    """Read a task's stage.

    Raises:
        StoreError: a file of it is damaged.
    """
    try:
        asked = json.loads((folder / TASK).read_text(encoding="utf-8"))
        lines = (folder / RECORDS).read_text(encoding="utf-8").split("\n")
        records = tuple(json.loads(line) for line in lines if line)
        return Examined(key, folder, asked, asked.pop("told"), records)
    except (OSError, ValueError, LookupError) as error:
        raise StoreError(f"{folder} is damaged ({error}); remove it and run again") from error


def check(one: Examined) -> None:
    """Refuse a figure that is not what lm-eval has.

    Raises:
        CheckError: the mean over the items is not lm-eval's figure, or is none.
    """
    own, theirs = _mean(items(one)), one.facts["figure"]
    if theirs is not None and abs(own - theirs) > SAME * max(1.0, abs(theirs)):
        raise CheckError(
            f"{one.key}: {one.asked['metric']} is {theirs:.6g} by lm-eval, but the mean over its "
            f"items is {own:.6g}: it is no mean over items; name another with "
            f"--set tasks.{one.key}.metric=..."
        )


def score(found: Sequence[Examined], limit: int | None) -> Score:
    """Return every task's figure and the average, in percent, and what each item adds to them."""
    from harness.statistics.bootstrap import interval

    worth = {one.key: _influences(items(one)) for one in found}
    means = {key: sum(own.values()) / len(own) for key, own in worth.items()}
    average = sum(means.values()) / len(means)
    count = sum(len(own) for own in worth.values())
    rows: list[dict[str, Any]] = []
    for key, own in worth.items():
        scale = count / (len(worth) * len(own))
        for name, value in own.items():
            adds = average + scale * (value - means[key])
            rows.append({"prompt_id": name, "category": key, key: value, AVERAGE: adds})
    estimates = {
        AVERAGE: interval([row[AVERAGE] for row in rows], seed=SEED),
        **{key: interval(list(own.values()), seed=SEED) for key, own in worth.items()},
    }
    there = sum(one.facts["items"] for one in found)
    return Score(
        estimates=estimates,
        counts={"asked": there, "scored": count},
        items=tuple(rows),
        notes=_notes(found, limit, count, there),
        details={"tasks": {one.key: _stated(one) for one in found}},
    )


def items(one: Examined) -> list[Item]:
    """Return what each item of a task is worth; one of several parts counts as many times.

    Raises:
        CheckError: a value is neither a number nor a list of them.
    """
    return [_item(one, record) for record in one.records]


def sources(found: Sequence[Examined]) -> dict[str, str]:
    """Return by task a digest of its definition, its items, and how it was asked."""
    return {
        one.key: digest(
            {
                "asked": {name: one.asked[name] for name in ("metric", "filter", "chat")},
                "configs": one.facts["configs"],
                "items": [[record["id"], record["doc"]] for record in one.records],
            }
        )
        for one in found
    }


def _item(one: Examined, record: Mapping[str, Any]) -> Item:
    name = f"{one.key}/{record['id']}"
    match record["value"]:
        case bool() | int() | float() as value:
            return Item(name, float(value), 1.0)
        case [*values] if values and all(isinstance(v, int | float) for v in values):
            return Item(name, float(sum(values)), float(len(values)))
    raise CheckError(
        f"{one.key}: {one.asked['metric']} of item {record['id']} is no number: name another with "
        f"--set tasks.{one.key}.metric=..."
    )


def _mean(found: Sequence[Item]) -> float:
    return sum(item.points for item in found) / sum(item.weight for item in found)


def _influences(found: Sequence[Item]) -> dict[str, float]:
    """Return what each item adds to the figure, in percent; the mean of it is the figure.

    Where all weigh the same that is an item's own value.
    """
    mean = _mean(found)
    middle = sum(item.weight for item in found) / len(found)
    return {
        item.name: PERCENT * (mean + (item.points - mean * item.weight) / middle) for item in found
    }


def _stated(one: Examined) -> dict[str, Any]:
    names = ("task", "version", "shots", "metric", "filter")
    told = {"items": one.facts["items"], "scored": one.facts["scored"]}
    figures = {"lm_eval": one.facts["lm_eval"], "figures": one.facts["figures"]}
    return {name: one.asked[name] for name in names} | told | figures


def _notes(found: Sequence[Examined], limit: int | None, count: int, there: int) -> tuple[str, ...]:
    """Say how the tasks were taken, and that a sample is one."""
    version = ", ".join(sorted({one.facts["lm_eval"] for one in found}))
    chat = "in" if all(one.asked["chat"] for one in found) else "without"
    told = "; ".join(
        f"{one.key}: {one.asked['task']} {one.asked['version']}, {one.asked['shots']} shots, "
        f"{one.asked['metric']}" + _filter(one)
        for one in found
    )
    sample = (
        (f"a sample: the first {limit} items of each of lm-eval's tasks, {count} of {there}",)
        if limit
        else ()
    )
    return (*sample, f"by lm-eval {version}, {chat} the chat template; {told}")


def _filter(one: Examined) -> str:
    return "" if one.asked["filter"] == "none" else f" ({one.asked['filter']})"
