"""A static site of the report, with each model's card and evaluation results for the hub.

DIR/index.html                              the report
DIR/README.md  .nojekyll                    for a Space and for GitHub Pages
DIR/models/<label>/README.md                text for the model's card
DIR/models/<label>/.eval_results/*.yaml     its results, for the model's repository on the hub

Results are YAML as the hub's documentation defines it (docs/hub/eval-results and eval_results.yaml
of huggingface/hub-docs): data set, task, value, notes. A task is a leaderboard there, so that its
name holds the judge: figures of different judges never share one. The hub shows results whose data
set is registered as a benchmark with such a task in its eval.yaml, and stores the others; none of
these four data sets was known to be registered when this was written.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.core.io import file_name, write_atomically
from harness.core.terminal import printable
from harness.types import Estimate
from leaderboard.columns import METRICS, column_heading, format_interval
from leaderboard.formats import escape_markdown
from leaderboard.report.content import Content

DATASETS = {
    "alpaca-eval": "tatsu-lab/alpaca_eval",
    "arena-hard": "lmarena-ai/arena-hard-auto-v0.1",
    "arena-hard-v2": "lmarena-ai/arena-hard-auto",
    "mt-bench": "HuggingFaceH4/mt_bench_prompts",
}
"""By benchmark: the data set on the hub with its questions."""
MAX_NAME_LENGTH = 120

RowData = Mapping[str, Any]


def group_by_label(
    groups: Sequence[Mapping[str, Any]],
) -> dict[str, list[tuple[Mapping[str, Any], RowData]]]:
    """Return (group, row) pairs by contestant, in the order of first appearance."""
    rows_by_label: dict[str, list[tuple[Mapping[str, Any], RowData]]] = {}
    for group in groups:
        for row in group["rows"]:
            rows_by_label.setdefault(row["label"], []).append((group, row))
    return rows_by_label


def model_card(label: str, rows: Sequence[tuple[Mapping[str, Any], RowData]]) -> str:
    """Return the section of a model's card with its figures, judges and baselines."""
    lines = [
        f"## Evaluation of {escape_markdown(label)}",
        "",
        "| benchmark | figure | value, 95 % interval | judge | against | judged |",
        "| --- | --- | ---: | --- | --- | ---: |",
    ]
    for group, row in rows:
        for name in _shown_metrics(row):
            facts = (
                group["benchmark"],
                column_heading(name),
                _format_value(row, name),
                group["judge"],
            )
            rest = (row["baseline"], f"{row['judged']} of {row['asked']}")
            lines.append(
                f"| {' | '.join(escape_markdown(str(cell)) for cell in (*facts, *rest))} |"
            )
    notes = dict.fromkeys(note for _, row in rows for note in row["notes"])
    return "\n".join([*lines, "", *(f"- {escape_markdown(note)}" for note in notes), ""])


def hub_results(rows: Sequence[tuple[Mapping[str, Any], RowData]]) -> Iterator[tuple[str, str]]:
    """Yield (file name, YAML) of a model's results, a file for each benchmark and judge."""
    counts: Counter[str] = Counter()
    for group, row in rows:
        dataset, figures = DATASETS.get(group["benchmark"]), _shown_metrics(row)
        if dataset and figures:
            entries = [_result(dataset, group, row, name) for name in figures]
            counts[group["benchmark"]] += 1
            number = counts[group["benchmark"]]
            name = f"{group['benchmark']}{f'-{number}' if number > 1 else ''}.yaml"
            yield name, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)


def _result(dataset: str, group: Mapping[str, Any], row: RowData, name: str) -> dict[str, Any]:
    against = f" against {row['baseline']}" if row["baseline"] else ""
    value = f"{column_heading(name)}: {_format_value(row, name)}, 95 % interval"
    notes = (
        f"{value}; judged by {group['judge']}{against}; {row['judged']} of {row['asked']} judged"
    )
    return {
        "dataset": {"id": dataset, "task_id": _task(name, group["judge"])},
        "value": round(row["figures"][name]["value"], 2),
        "notes": printable(notes),
    }


def _task(metric: str, judge: str) -> str:
    """Return a task's name of letters, digits, dots, hyphens and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{metric}_by_{judge}" if judge else metric)


def _shown_metrics(row: RowData) -> list[str]:
    """Return a row's metrics that have a column by default."""
    return [name for name in row["figures"] if name in METRICS]


def _format_value(row: RowData, name: str) -> str:
    figure = row["figures"][name]
    return format_interval(
        Estimate(figure["value"], figure["low"], figure["high"]), METRICS[name][1]
    )


def publish_site(content: Content, page: str, folder: Path) -> list[Path]:
    """Write the site, the page last; return its files.

    Raises:
        StoreError: the disk is full or not writable.
    """
    paths = []
    for name, text in (*site_files(content), ("index.html", page)):
        write_atomically(folder / name, text)
        paths.append(folder / name)
    return paths


def site_files(content: Content) -> Iterator[tuple[str, str]]:
    """Yield (path within the site, text) of all but the page."""
    yield ".nojekyll", ""
    yield "README.md", _space_readme()
    for label, rows in group_by_label(content.figures["groups"]).items():
        folder = f"models/{folder_name(label)}"
        yield f"{folder}/README.md", model_card(label, rows)
        for name, text in hub_results(rows):
            yield f"{folder}/.eval_results/{name}", text


def folder_name(label: str) -> str:
    """Return a contestant's folder name, percent-encoded so that none leaves the site."""
    name = file_name(label)
    if len(name) > MAX_NAME_LENGTH or not name.strip():
        return f"{name[:MAX_NAME_LENGTH].strip()}-{hashlib.sha256(_bytes(label)).hexdigest()[:12]}"
    return name


def _bytes(label: str) -> bytes:
    return label.encode(errors="replace")


def _space_readme() -> str:
    header = {"title": "Preference optimisation", "sdk": "static", "app_file": "index.html"}
    text = "The report is index.html; models/ holds text and results for the models' own pages."
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n{text}\n"
