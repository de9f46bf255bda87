"""All that the report shows, as plain data: figures at once, texts of comparisons apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderboard import columns
from leaderboard.groups import Group, grouped
from leaderboard.report import curves
from leaderboard.report.agreement import Winners, agreement, disagreed, rivals, winners
from leaderboard.report.beside import beside, with_published
from leaderboard.report.breakdown import breakdowns
from leaderboard.report.bridges import bridges
from leaderboard.report.compared import compared
from leaderboard.report.facts import fitting, metric
from leaderboard.report.filed import Filed, Found, filed
from leaderboard.report.order import order
from leaderboard.report.seen import Texts, seen
from leaderboard.report.texts import compact, shared_texts
from leaderboard.report.trained import trained

RAW = ("win_rate", "score")
CONTROLLED = ("length_controlled_win_rate", "style_controlled_win_rate")


@dataclass(frozen=True, slots=True)
class Content:
    """What a page is made of."""

    figures: Mapping[str, Any]
    """All but the texts."""
    texts: tuple[Any, ...]
    """What is read when it is looked at: `figures` names each by its place here."""
    told: tuple[str, ...]
    """What a user must know of results that are left out or incomplete."""


def content(workspace: Path, *, comparisons: bool = True) -> Content:
    """Read a workspace for its report.

    Args:
        workspace: Where `harness eval` files its results.
        comparisons: Whether prompts, answers and the judge's replies come along.

    Raises:
        StoreError: there are no results, or a file is damaged.
    """
    found = filed(workspace)
    between, damaged = bridges(workspace)
    told = [*found.told, *damaged]
    builder = _Builder(found, comparisons)
    figures = {
        "groups": [builder.group(group) for group in grouped([f.row for f in found.results])],
        "agreement": builder.agreement(),
        "training": trained(workspace),
        "bridges": between,
        "told": told,
    }
    return Content(finite(figures), tuple(builder.texts), tuple(told))


def finite(data: Any) -> Any:
    """Return plain data in which what is no number (NaN, infinity) is None."""
    if isinstance(data, float):
        return data if abs(data) < float("inf") else None
    if isinstance(data, Mapping):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return data


class _Builder:
    """Reads every result's comparisons once, and makes the figures of groups."""

    def __init__(self, found: Found, comparisons: bool) -> None:
        self.by_source = {one.row.source: one for one in found.results}
        self.results = found.results
        self.facts = {one.row.source: fitting(one) for one in found.results}
        self.comparisons = comparisons
        self.texts: list[Any] = []
        self.seen = [seen(one) for one in found.results]
        self.place = {one.row.source: at for at, one in enumerate(found.results)}
        self.winners: list[Winners] = [winners(told) for told, _ in self.seen]
        self.rivals = rivals(found.results)
        self.published = with_published([one.row for one in found.results])

    def group(self, group: Group) -> dict[str, Any]:
        """Return what is shown of results that may share a column."""
        own = _sorted([self.by_source[row.source] for row in group.rows])
        metrics = _shown(columns.metrics(group.rows))
        raw = next((name for name in RAW if name in metrics), metrics[0])
        shared = self._shared(own)
        return {
            "title": group.title,
            "benchmark": group.benchmark,
            "judge": group.judge,
            "raw": raw,
            "controlled": next((name for name in CONTROLLED if name in metrics), None),
            "metrics": [metric(name, own) for name in metrics],
            "rows": [self._row(one, shared) for one in own],
            "compared": [found for name in metrics if (found := compared(own, name))],
            "breakdowns": breakdowns(own, raw),
            "curves": curves.measured(own),
            "published": beside(group, self.published),
            "texts": self._filed(shared_texts(shared)) if self.comparisons else None,
        }

    def agreement(self) -> list[dict[str, Any]]:
        """Return how judges agree who grade the same answers."""
        found = []
        for i, j in self.rivals:
            if told := agreement(self.winners[i], self.winners[j]):
                rows = [self.results[at].row for at in (i, j)]
                names = {"label": rows[0].label, "benchmark": rows[0].benchmark}
                found.append({**names, "judges": [row.judge for row in rows], **told})
        return found

    def _shared(self, own: Sequence[Filed]) -> Texts:
        """Return the prompts and the baseline's answers of a group; the first told count."""
        prompts: dict[str, Sequence[tuple[str, str]]] = {}
        baseline: dict[str, str] = {}
        for one in own:
            texts = self.seen[self.place[one.row.source]][1]
            prompts = {**texts.prompts, **prompts}
            baseline = {**texts.baseline, **baseline}
        return Texts(prompts, baseline)

    def _row(self, one: Filed, shared: Texts) -> dict[str, Any]:
        at = self.place[one.row.source]
        told, texts = self.seen[at]
        games = [compact(each, texts, shared, self._disagreed(at)) for each in told]
        kept = self._filed(games) if self.comparisons and games else None
        return {
            **self.facts[one.row.source],
            "order": order(told),
            "texts": kept,
            "comparisons": len(games),
        }

    def _disagreed(self, at: int) -> set[str]:
        others = [j if i == at else i for i, j in self.rivals if at in (i, j)]
        return {key for j in others for key in disagreed(self.winners[at], self.winners[j])}

    def _filed(self, texts: Any) -> int:
        self.texts.append(texts)
        return len(self.texts) - 1


def _shown(metrics: Sequence[str]) -> list[str]:
    """Return the metrics that have a column by default; all where none has."""
    return [name for name in metrics if name in columns.METRICS] or list(metrics)


def _sorted(results: Sequence[Filed]) -> list[Filed]:
    """Return results by their first controlled figure, or else the raw one, highest first."""

    def rank(one: Filed) -> tuple[float, str]:
        known = one.row.estimates
        name = next((n for n in (*CONTROLLED, *RAW, *known) if n in known), None)
        return (-known[name].value if name else 0.0, one.row.label)

    return sorted(results, key=rank)
