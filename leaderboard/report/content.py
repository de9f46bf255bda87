"""Everything that the report shows, as plain data: figures at once, texts of comparisons apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.workspace import Workspace
from harness.errors import StoreError
from harness.types import Estimate
from leaderboard import columns
from leaderboard.groups import Group, group_rows
from leaderboard.report.analysis import (
    Winners,
    breakdowns,
    compare_pairs,
    disagreements,
    judge_agreement,
    position_bias,
    rejudged_pairs,
    winners_by_prompt,
)
from leaderboard.report.bridges import read_bridges
from leaderboard.report.comparisons import (
    ComparisonGame,
    PromptComparison,
    SharedTexts,
    load_comparisons,
)
from leaderboard.report.published import group_with_published, published_figures
from leaderboard.report.results import LoadedResult, ResultSet, load_results
from leaderboard.report.training import iteration_curves, training_curves
from leaderboard.table import EstimateData, estimate_data

CONTROL_NAME = re.compile(r"null.?model", re.IGNORECASE)
"""Names of contestants that answer nothing: controls of the judge, not methods."""
IDENTICAL_SHARE = 0.99
"""A contestant with this share of identical answers, or more, answers nothing."""
OUTCOME_COUNTS = ("n_wins", "n_draws", "n_wins_base")
RAW = ("win_rate", "score")
CONTROLLED = ("length_controlled_win_rate", "style_controlled_win_rate")
PROVENANCE = (
    "judge",
    "judges_served",
    "judge_settings",
    "generation",
    "sources",
    "answers_sha256",
    "versions",
    "schema",
)
"""The fields of a result that record its provenance."""


@dataclass(frozen=True, slots=True)
class Content:
    """The data of a page."""

    figures: Mapping[str, Any]
    """All but the texts."""
    texts: tuple[Any, ...]
    """Unpacked when they are looked at: `figures` holds the index of each."""
    messages: tuple[str, ...]
    """About results that are left out or incomplete."""


def build_content(root: Path, *, include_comparisons: bool = True) -> Content:
    """Read a workspace for its report.

    Args:
        root: The workspace's directory.
        include_comparisons: Whether to include prompts, answers and the judge's replies.

    Raises:
        StoreError: there are no results, or a file is damaged.
    """
    result_set = load_results(root)
    bridge_data, bridge_messages = read_bridges(root)
    messages = [*result_set.messages, *bridge_messages]
    builder = _ContentBuilder(result_set, include_comparisons)
    figures = {
        "groups": [
            builder.group(group) for group in group_rows([f.row for f in result_set.results])
        ],
        "agreement": builder.agreements(),
        "training": training_curves(Workspace(root, isolate=False)),
        "bridges": bridge_data,
        "messages": messages,
    }
    return Content(replace_nonfinite(figures), tuple(builder.texts), tuple(messages))


def replace_nonfinite(data: Any) -> Any:
    """Return plain data with None for NaN and infinity, which JSON cannot hold."""
    if isinstance(data, float):
        return data if abs(data) < float("inf") else None
    if isinstance(data, Mapping):
        return {str(key): replace_nonfinite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [replace_nonfinite(value) for value in data]
    return data


def metric_format(name: str, results: Sequence[LoadedResult]) -> dict[str, Any]:
    """Return a metric's name, heading and decimals."""
    digits = columns.metric_digits(name, results[0].row)
    return {"name": name, "heading": columns.column_heading(name), "digits": digits}


def result_facts(loaded: LoadedResult) -> dict[str, Any]:
    """Return a result's label, figures, lengths, counts, cost and provenance.

    Raises:
        StoreError: a field of the result or of its items has another form.
    """
    try:
        return _collect_facts(loaded)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise StoreError(
            f"{loaded.row.source} does not fit ({error!r}); remove it and run `harness eval` again"
        ) from error


def _collect_facts(loaded: LoadedResult) -> dict[str, Any]:
    row = loaded.row
    lengths = [item["length"] for item in loaded.items if item.get("length") is not None]
    record = {name: getattr(loaded.result, name) for name in PROVENANCE}
    return {
        "label": row.label,
        "source": row.source,
        "base": row.base,
        "method": row.method,
        "iteration": row.iteration,
        "run": row.run,
        "baseline": row.baseline,
        "control": _is_control(loaded),
        "figures": {name: _estimate(estimate) for name, estimate in row.estimates.items()},
        "length": row.mean_length,
        "length_error": _standard_error(lengths),
        "tokens": row.tokens,
        "truncated": None if row.truncated is None else 100 * row.truncated,
        "judged": row.judged_count,
        "asked": row.prompt_count,
        "dollars": row.dollars,
        "gpu_hours": row.gpu_hours,
        "outcomes": _outcome_counts(loaded),
        "unparsed": loaded.result.score.counts.get("unparsed", 0),
        "notes": list(row.notes),
        "provenance": {name: value for name, value in record.items() if value},
    }


def _is_control(loaded: LoadedResult) -> bool:
    """Return whether a contestant answers nothing: by its name, or as all answers are identical."""
    audit = loaded.result.score.details.get("screen") or {}
    identical_share = audit.get("identical_answers") or 0.0
    return bool(CONTROL_NAME.search(loaded.row.label)) or identical_share >= IDENTICAL_SHARE


def _estimate(estimate: Estimate) -> EstimateData:
    return {**estimate_data(estimate), "error": estimate.standard_error}


def _standard_error(lengths: Sequence[int]) -> float | None:
    if len(lengths) < 2:
        return None
    mean = sum(lengths) / len(lengths)
    variance = sum((length - mean) ** 2 for length in lengths) / (len(lengths) - 1)
    return float((variance / len(lengths)) ** 0.5)


def _outcome_counts(loaded: LoadedResult) -> list[int] | None:
    """Return wins, ties and losses: the protocol's own count, or else of the prompts."""
    counts = loaded.result.score.counts
    if all(name in counts for name in OUTCOME_COUNTS):
        return [counts[name] for name in OUTCOME_COUNTS]
    shares = [i["won"] / i["weight"] for i in loaded.items if i.get("weight")]
    shares += [i["preference"] for i in loaded.items if i.get("preference") is not None]
    if not shares:
        return None
    wins, ties = sum(s > 0.5 for s in shares), sum(s == 0.5 for s in shares)
    return [wins, ties, len(shares) - wins - ties]


def shared_texts(texts: SharedTexts) -> dict[str, Any]:
    """Return a group's prompts and the baseline's answers by prompt id."""
    return {"prompts": dict(texts.prompts), "baseline": dict(texts.baseline)}


def compact_comparison(
    comparison: PromptComparison, texts: SharedTexts, shared: SharedTexts, disagreed: set[str]
) -> dict[str, Any]:
    """Return a comparison under short keys (there are thousands), without shared texts."""
    flags = {
        "disagree": comparison.prompt_id in disagreed,
        "inconsistent": comparison.is_inconsistent,
        "unparsed": comparison.is_unparsed,
        "truncated": comparison.is_truncated,
    }
    entry = {
        "id": comparison.prompt_id,
        "a": comparison.answer,
        "o": comparison.outcome,
        "r": comparison.rating,
        "f": [name for name, holds in flags.items() if holds],
        "g": [_compact_game(game) for game in comparison.games],
    }
    baseline = texts.baseline.get(comparison.prompt_id)
    return (
        entry if baseline == shared.baseline.get(comparison.prompt_id) else {**entry, "b": baseline}
    )


def _compact_game(game: ComparisonGame) -> list[Any]:
    return [game.first_answer, game.own_score, game.label, game.text, game.model]


class _ContentBuilder:
    """Loads every result's comparisons once, and builds the figures of groups."""

    def __init__(self, result_set: ResultSet, include_comparisons: bool) -> None:
        self.by_source = {result.row.source: result for result in result_set.results}
        self.results = result_set.results
        self.facts = {result.row.source: result_facts(result) for result in result_set.results}
        self.include_comparisons = include_comparisons
        self.texts: list[Any] = []
        self.loaded = [load_comparisons(result) for result in result_set.results]
        self.index_by_source = {
            result.row.source: index for index, result in enumerate(result_set.results)
        }
        self.winners: list[Winners] = [
            winners_by_prompt(comparisons) for comparisons, _ in self.loaded
        ]
        self.rejudged = rejudged_pairs(result_set.results)
        self.published = group_with_published([result.row for result in result_set.results])

    def group(self, group: Group) -> dict[str, Any]:
        """Return the data of results that may share a column."""
        results = _rank_results([self.by_source[row.source] for row in group.rows])
        metrics = _default_metrics(columns.metric_names(group.rows))
        raw = next((name for name in RAW if name in metrics), metrics[0])
        shared = self._shared_texts(results)
        return {
            "title": group.title,
            "benchmark": group.benchmark,
            "judge": group.judge,
            "raw": raw,
            "controlled": next((name for name in CONTROLLED if name in metrics), None),
            "metrics": [metric_format(name, results) for name in metrics],
            "rows": [self._row(result, shared) for result in results],
            "compared": [
                comparison for name in metrics if (comparison := compare_pairs(results, name))
            ],
            "breakdowns": breakdowns(results, raw),
            "curves": iteration_curves(results),
            "published": published_figures(group, self.published),
            "texts": self._store_texts(shared_texts(shared)) if self.include_comparisons else None,
        }

    def agreements(self) -> list[dict[str, Any]]:
        """Return the agreement of judges that grade the same answers."""
        entries = []
        for i, j in self.rejudged:
            if shares := judge_agreement(self.winners[i], self.winners[j]):
                rows = [self.results[index].row for index in (i, j)]
                names = {"label": rows[0].label, "benchmark": rows[0].benchmark}
                entries.append({**names, "judges": [row.judge for row in rows], **shares})
        return entries

    def _shared_texts(self, results: Sequence[LoadedResult]) -> SharedTexts:
        """Return the prompts and the baseline's answers of a group; the first result wins."""
        prompts: dict[str, Sequence[tuple[str, str]]] = {}
        baseline: dict[str, str] = {}
        for result in results:
            texts = self.loaded[self.index_by_source[result.row.source]][1]
            prompts = {**texts.prompts, **prompts}
            baseline = {**texts.baseline, **baseline}
        return SharedTexts(prompts, baseline)

    def _row(self, result: LoadedResult, shared: SharedTexts) -> dict[str, Any]:
        index = self.index_by_source[result.row.source]
        comparisons, texts = self.loaded[index]
        entries = [
            compact_comparison(comparison, texts, shared, self._disagreements(index))
            for comparison in comparisons
        ]
        texts_index = self._store_texts(entries) if self.include_comparisons and entries else None
        return {
            **self.facts[result.row.source],
            "order": position_bias(comparisons),
            "texts": texts_index,
            "comparisons": len(entries),
        }

    def _disagreements(self, index: int) -> set[str]:
        others = [j if i == index else i for i, j in self.rejudged if index in (i, j)]
        return {key for j in others for key in disagreements(self.winners[index], self.winners[j])}

    def _store_texts(self, texts: Any) -> int:
        self.texts.append(texts)
        return len(self.texts) - 1


def _default_metrics(metrics: Sequence[str]) -> list[str]:
    """Return the metrics that have a column by default, or else all."""
    return [name for name in metrics if name in columns.METRICS] or list(metrics)


def _rank_results(results: Sequence[LoadedResult]) -> list[LoadedResult]:
    """Return results by their first controlled figure, or else the raw one, best first."""

    def rank(result: LoadedResult) -> tuple[float, str]:
        estimates = result.row.estimates
        name = next((n for n in (*CONTROLLED, *RAW, *estimates) if n in estimates), None)
        return (-estimates[name].value if name else 0.0, result.row.label)

    return sorted(results, key=rank)
