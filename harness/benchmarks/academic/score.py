"""Scores of academic tasks: the mean over each task's items, and the unweighted average of tasks.

A task's score is compared with lm-eval's own, and refused if the two differ, since the metric is
then not a mean over items. Tasks have equal weight in the average, however many items they have.
An item's contribution to the average is

    average + N / (T n_t) (x - mean_t)

for N items in T tasks, n_t of them in its own, and the item's value x. The mean of the
contributions is the average, and their variance is that of resampling items within tasks, so that
paired tests need not know about tasks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.benchmarks.academic.process import RECORDS
from harness.core.seeds import digest
from harness.errors import CheckError, StoreError
from harness.statistics.contributions import ratio_contributions
from harness.types import Score

TASK = "task.json"
AVERAGE = "average"
SEED, PERCENT = 0, 100
TOLERANCE = 1e-9
"""The relative difference from lm-eval's own score that counts as equal."""


@dataclass(frozen=True)
class TaskResult:
    """The outcome of a task for one policy."""

    key: str
    folder: Path
    settings: Mapping[str, Any]
    """The configuration: task, version, shots, metric, filter, chat, limit."""
    facts: Mapping[str, Any]
    """lm-eval's report."""
    records: tuple[Mapping[str, Any], ...]
    """One record per item."""


@dataclass(frozen=True, slots=True)
class ItemScore:
    """The points of one item, and its weight: its number of parts."""

    name: str
    points: float
    weight: float


def read_task(key: str, folder: Path) -> TaskResult:
    """Read a task's stage.

    Raises:
        StoreError: a file is damaged.
    """
    try:
        settings = json.loads((folder / TASK).read_text(encoding="utf-8"))
        lines = (folder / RECORDS).read_text(encoding="utf-8").split("\n")
        records = tuple(json.loads(line) for line in lines if line)
        return TaskResult(key, folder, settings, settings.pop("facts"), records)
    except (OSError, ValueError, LookupError) as error:
        raise StoreError(f"{folder} is damaged ({error}); remove it and run again") from error


def check(result: TaskResult) -> None:
    """Refuse a score that differs from lm-eval's.

    Raises:
        CheckError: the mean over the items is not lm-eval's score, or an item has no number.
    """
    computed, reported = _mean(items(result)), result.facts["figure"]
    if reported is not None and abs(computed - reported) > TOLERANCE * max(1.0, abs(reported)):
        raise CheckError(
            f"{result.key}: {result.settings['metric']} is {reported:.6g} by lm-eval, but the mean "
            f"over its items is {computed:.6g}: it is not a mean over items; choose another with "
            f"--set tasks.{result.key}.metric=..."
        )


def score(results: Sequence[TaskResult], limit: int | None) -> Score:
    """Return every task's figure and the average, in percent, and what each item adds to them."""
    from harness.statistics.bootstrap import interval
    from harness.statistics.intervals import PERCENT as BOUNDS

    influences = {result.key: _influences(items(result)) for result in results}
    means = {key: sum(by_item.values()) / len(by_item) for key, by_item in influences.items()}
    average = sum(means.values()) / len(means)
    count = sum(len(by_item) for by_item in influences.values())
    rows: list[dict[str, Any]] = []
    for key, by_item in influences.items():
        scale = count / (len(influences) * len(by_item))
        for name, value in by_item.items():
            contribution = average + scale * (value - means[key])
            rows.append({"prompt_id": name, "category": key, key: value, AVERAGE: contribution})
    estimates = {
        AVERAGE: interval([row[AVERAGE] for row in rows], seed=SEED, bounds=BOUNDS),
        **{
            key: interval(list(by_item.values()), seed=SEED, bounds=BOUNDS)
            for key, by_item in influences.items()
        },
    }
    total = sum(result.facts["items"] for result in results)
    return Score(
        estimates=estimates,
        counts={"asked": total, "scored": count},
        items=tuple(rows),
        notes=_notes(results, limit, count, total),
        details={"tasks": {result.key: _task_details(result) for result in results}},
    )


def items(result: TaskResult) -> list[ItemScore]:
    """Return the points of a task's items; an item with several parts has their number as weight.

    Raises:
        CheckError: a value is neither a number nor a list of numbers.
    """
    return [_item(result, record) for record in result.records]


def sources(results: Sequence[TaskResult]) -> dict[str, str]:
    """Return a digest of each task's definition, items and settings."""
    return {
        result.key: digest(
            {
                "asked": {name: result.settings[name] for name in ("metric", "filter", "chat")},
                "configs": result.facts["configs"],
                "items": [[record["id"], record["doc"]] for record in result.records],
            }
        )
        for result in results
    }


def _item(result: TaskResult, record: Mapping[str, Any]) -> ItemScore:
    name = f"{result.key}/{record['id']}"
    match record["value"]:
        case bool() | int() | float() as value:
            return ItemScore(name, float(value), 1.0)
        case [*values] if values and all(isinstance(v, int | float) for v in values):
            return ItemScore(name, float(sum(values)), float(len(values)))
    raise CheckError(
        f"{result.key}: {result.settings['metric']} of item {record['id']} is not a number: choose "
        f"another with --set tasks.{result.key}.metric=..."
    )


def _mean(scores: Sequence[ItemScore]) -> float:
    return sum(item.points for item in scores) / sum(item.weight for item in scores)


def _influences(scores: Sequence[ItemScore]) -> dict[str, float]:
    """Return each item's contribution in percent; their mean is the task's score.

    With equal weights the contribution is the item's own value.
    """
    contributions = ratio_contributions(
        [item.points for item in scores], [item.weight for item in scores]
    )
    pairs = zip(scores, contributions, strict=True)
    return {item.name: PERCENT * contribution for item, contribution in pairs}


def _task_details(result: TaskResult) -> dict[str, Any]:
    names = ("task", "version", "shots", "metric", "filter")
    counts = {"items": result.facts["items"], "scored": result.facts["scored"]}
    figures = {"lm_eval": result.facts["lm_eval"], "figures": result.facts["figures"]}
    return {name: result.settings[name] for name in names} | counts | figures


def _notes(
    results: Sequence[TaskResult], limit: int | None, count: int, total: int
) -> tuple[str, ...]:
    """Return notes on the tasks' settings, and on a sample."""
    version = ", ".join(sorted({result.facts["lm_eval"] for result in results}))
    chat = "in" if all(result.settings["chat"] for result in results) else "without"
    settings = "; ".join(map(_describe_settings, results))
    sample = (
        (f"a sample: the first {limit} items of each of lm-eval's tasks, {count} of {total}",)
        if limit
        else ()
    )
    return (*sample, f"by lm-eval {version}, {chat} the chat template; {settings}")


def _describe_settings(result: TaskResult) -> str:
    settings = result.settings
    suffix = "" if settings["filter"] == "none" else f" ({settings['filter']})"
    task = f"{result.key}: {settings['task']} {settings['version']}"
    return f"{task}, {settings['shots']} shots, {settings['metric']}{suffix}"
