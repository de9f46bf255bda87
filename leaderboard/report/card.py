"""What goes to a model's own page on the hub: text for its card, and its evaluation results.

Results are YAML in the model repository's folder `.eval_results`, as the hub's documentation has it
(docs/hub/eval-results and eval_results.yaml of huggingface/hub-docs): data set, task, value, notes.
A task is a leaderboard there, so that its name holds the judge: figures of different judges never
meet. The hub shows those whose data set is registered as a benchmark with such a task in its
eval.yaml, and keeps the others; none of these four data sets was known to be when this was written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from harness.types import Estimate
from leaderboard.columns import METRICS, heading, interval
from leaderboard.render import escaped, plain

DATASETS = {
    "alpaca-eval": "tatsu-lab/alpaca_eval",
    "arena-hard": "lmarena-ai/arena-hard-auto-v0.1",
    "arena-hard-v2": "lmarena-ai/arena-hard-auto",
    "mt-bench": "HuggingFaceH4/mt_bench_prompts",
}
"""By benchmark: the data set on the hub that holds its questions."""

Row = Mapping[str, Any]


def by_label(groups: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[Mapping[str, Any], Row]]]:
    """Return (group, row) of every contestant, in the order of first sight."""
    found: dict[str, list[tuple[Mapping[str, Any], Row]]] = {}
    for group in groups:
        for row in group["rows"]:
            found.setdefault(row["label"], []).append((group, row))
    return found


def card(label: str, told: Sequence[tuple[Mapping[str, Any], Row]]) -> str:
    """Return the section of a model's card that tells its figures and what they rest on."""
    lines = [
        f"## Evaluation of {escaped(label)}",
        "",
        "| benchmark | figure | value, 95 % interval | judge | against | judged |",
        "| --- | --- | ---: | --- | --- | ---: |",
    ]
    for group, row in told:
        for name in _shown(row):
            facts = (group["benchmark"], heading(name), _value(row, name), group["judge"])
            rest = (row["baseline"], f"{row['judged']} of {row['asked']}")
            lines.append(f"| {' | '.join(escaped(str(cell)) for cell in (*facts, *rest))} |")
    notes = dict.fromkeys(note for _, row in told for note in row["notes"])
    return "\n".join([*lines, "", *(f"- {escaped(note)}" for note in notes), ""])


def results(told: Sequence[tuple[Mapping[str, Any], Row]]) -> Iterator[tuple[str, str]]:
    """Yield (file name, YAML) of a model's results, a file for each benchmark and judge."""
    files: Counter[str] = Counter()
    for group, row in told:
        dataset, figures = DATASETS.get(group["benchmark"]), _shown(row)
        if dataset and figures:
            found = [_result(dataset, group, row, name) for name in figures]
            files[group["benchmark"]] += 1
            number = files[group["benchmark"]]
            name = f"{group['benchmark']}{f'-{number}' if number > 1 else ''}.yaml"
            yield name, yaml.safe_dump(found, sort_keys=False, allow_unicode=True)


def _result(dataset: str, group: Mapping[str, Any], row: Row, name: str) -> dict[str, Any]:
    judged = f"judged by {group['judge']} against {row['baseline'] or 'nobody'}"
    notes = f"{heading(name)}: {_value(row, name)}, 95 % interval; {judged}; {row['judged']} of "
    return {
        "dataset": {"id": dataset, "task_id": _task(name, group["judge"])},
        "value": round(row["figures"][name]["value"], 2),
        "notes": plain(f"{notes}{row['asked']} judged"),
    }


def _task(metric: str, judge: str) -> str:
    """Return a task's name: letters, digits and what stands in names of models."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{metric}_by_{judge}" if judge else metric)


def _shown(row: Row) -> list[str]:
    """Return a row's metrics: those that a table shows."""
    return [name for name in row["figures"] if name in METRICS]


def _value(row: Row, name: str) -> str:
    figure = row["figures"][name]
    return interval(Estimate(figure["value"], figure["low"], figure["high"]), METRICS[name][1])
