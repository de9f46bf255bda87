"""Tables of an arena: the matrix of win rates, its contestants, and the gap over the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.statistics.intervals import to_percent
from harness.types import Estimate
from leaderboard.columns import DASH
from leaderboard.html import render_html_template
from leaderboard.table import Cell, Column, Section, Table, TableRow, estimate_cell

if TYPE_CHECKING:
    from harness.statistics.arena import ArenaAnalysis

POINTS = 100.0
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class ContestantFacts:
    """What tables print of a contestant besides the game."""

    run: str
    """The run that trained it; empty where none did."""
    iteration: int | None
    mean_length: float
    """In characters."""
    distinct: float | None
    """The share of distinct bigrams in its answers."""
    compression: float | None
    """Bytes of its answers before ÷ after compression."""


@dataclass(frozen=True, slots=True)
class ArenaFacts:
    """What tables print of an arena besides the game."""

    prompts: str
    """The name of the prompts."""
    compared_by: str
    """`oracle toy`, `judge gpt-4.1`."""
    contestants: tuple[ContestantFacts, ...]
    ties: int
    identical: int
    """Comparisons of equal answers, which are ties."""
    missing: int
    """Comparisons that could not be parsed."""
    dropped: int
    """Prompts that somebody has not answered."""
    asked: float = 1.0
    """The share of all comparisons that the design asks for."""


def arena_tables(analysis: ArenaAnalysis, facts: ArenaFacts) -> list[Table]:
    """Return an arena's tables: matrix, contestants, and the gap by iteration where runs are in."""
    tables = [matrix_table(analysis, facts), contestants_table(analysis, facts)]
    return [*tables, *gap_tables(analysis, facts)]


def matrix_table(analysis: ArenaAnalysis, facts: ArenaFacts) -> Table:
    """Return P(row ≻ column) in percent; a dagger marks what differs from 50 % (Holm)."""
    rates = analysis.win_rates
    significant = rates.significant
    rows = []
    for i, name in enumerate(analysis.names):
        cells = [Cell(name)]
        for j in range(len(analysis.names)):
            if i == j or not rates.count[i, j]:
                cells.append(Cell(DASH))
                continue
            ends = (float(side[i, j]) for side in (rates.value, rates.low, rates.high))
            cells.append(
                estimate_cell(
                    to_percent(Estimate(*ends)), 1, top=False, differs=bool(significant[i, j])
                )
            )
        rows.append(TableRow(tuple(cells)))
    heads = [
        Column("beats, in %"),
        *(Column(n, is_numeric=True, holds_estimates=True) for n in analysis.names),
    ]
    return Table(
        f"arena matrix, {facts.prompts}, by {facts.compared_by}",
        tuple(heads),
        (Section("", tuple(rows)),),
        matrix_notes(analysis, facts),
        differs_note="differs from 50 % (5 %, Holm over all pairs)",
    )


def matrix_notes(analysis: ArenaAnalysis, facts: ArenaFacts) -> tuple[str, ...]:
    """Return what a reader of the matrix must know."""
    cycles, pairs = analysis.cycles, len(analysis.names) * (len(analysis.names) - 1) // 2
    lines = [
        f"{analysis.prompts} prompts, {pairs} pairs, both orders; 95 % intervals by resampling "
        f"prompts, the same for every pair ({analysis.rounds} times)",
        f"{facts.ties} ties, of which {facts.identical} are equal answers; {facts.missing} "
        f"comparisons could not be parsed; {facts.dropped} prompts are dropped, which somebody has "
        "not answered",
    ]
    if facts.asked < 1:
        lines.append(
            f"a sparse design makes {POINTS * facts.asked:.0f} % of the comparisons, those that "
            "tell most about the ratings: intervals of single pairs, and of what rests on them, "
            "are wider"
        )
    if len(analysis.names) > 2:
        verdict = "is refuted" if cycles.p <= ALPHA else "is not refuted"
        lines.append(
            f"no rating explains {POINTS * cycles.share:.1f} % of the log-odds (with sampling "
            f"noise {POINTS * cycles.raw_share:.1f} %); that one rating explains all {verdict} "
            f"(p = {cycles.p:.3f})"
        )
    if cycles.strongest is not None and cycles.weakest_win is not None:
        a, b, c = cycles.strongest
        win = to_percent(cycles.weakest_win)
        lines.append(
            f"strongest three-cycle: {a} beats {b} beats {c} beats {a}, the weakest win "
            f"{win.value:.1f} % [{win.low:.1f}, {win.high:.1f}]"
        )
    return tuple(lines)


def contestants_table(analysis: ArenaAnalysis, facts: ArenaFacts) -> Table:
    """Return a row a contestant: ratings, Nash figures, length and diversity; best rating first."""
    ratings, nash = analysis.ratings, analysis.nash
    order = sorted(range(len(analysis.names)), key=lambda i: -ratings.bradley_terry[i].value)
    rows = []
    for i in order:
        fact = facts.contestants[i]
        figures = [
            (ratings.bradley_terry[i], 0),
            *([(ratings.davidson[i], 0)] if ratings.davidson else []),
            *((to_percent(e[i]), 1) for e in (nash.mixture, nash.value, nash.exploitability)),
        ]
        cells = [estimate_cell(e, digits, top=False, differs=False) for e, digits in figures]
        response = nash.best_response[i]
        rows.append(
            TableRow(
                (
                    Cell(analysis.names[i]),
                    *cells,
                    Cell(DASH if response == analysis.names[i] else response),
                    Cell(f"{fact.mean_length:.0f}"),
                    Cell(DASH if fact.distinct is None else f"{fact.distinct:.3f}"),
                    Cell(DASH if fact.compression is None else f"{fact.compression:.2f}"),
                )
            )
        )
    heads = ["rating", *(["rating with ties"] if ratings.davidson else [])]
    heads += ["Nash weight, %", "against Nash, %", "gap over the pool, points"]
    columns = [
        Column("contestant"),
        *(Column(head, is_numeric=True, holds_estimates=True) for head in heads),
        Column("best response"),
        *(Column(head, is_numeric=True) for head in ("length", "distinct-2", "compression")),
    ]
    return Table(
        f"arena contestants, {facts.prompts}, by {facts.compared_by}",
        tuple(columns),
        (Section("", tuple(rows)),),
        contestant_notes(analysis, facts),
    )


def contestant_notes(analysis: ArenaAnalysis, facts: ArenaFacts) -> tuple[str, ...]:
    """Return what the columns of the contestants mean."""
    ratings = analysis.ratings
    lines = [
        "rating: Bradley-Terry in Elo points (400 are odds of 10 to 1), mean 0, a tie half a win",
        "Nash weight: in the maximum-entropy Nash mixture of the pool, with its range over "
        "resamples; against Nash: win rate against that mixture, at most 50 %",
        "gap over the pool: how far above 50 % the best response in the pool beats the contestant; "
        "the pool's best response bounds the true one from below",
    ]
    if ratings.tie_weight is not None:
        lines.insert(
            1,
            "rating with ties: Davidson's model of who is preferred, not by how much; weight of "
            f"ties {ratings.tie_weight.value:.2f}",
        )
    if not ratings.finite:
        lines.append("somebody wins or loses everything: a weak penalty keeps ratings finite")
    if len(analysis.names) > 2:
        correlation = rank_correlation(
            [fact.mean_length for fact in facts.contestants],
            [rating.value for rating in ratings.bradley_terry],
        )
        lines.append(f"length and rating: rank correlation {correlation:+.2f} (Spearman)")
    return tuple(lines)


def gap_tables(analysis: ArenaAnalysis, facts: ArenaFacts) -> list[Table]:
    """Return the gap over the pool by iteration, a column a run; nothing without two iterations.

    A start that several runs share is iteration 0 of each of them.
    """
    gaps = analysis.nash.exploitability
    by_run: dict[str, dict[int, Estimate]] = {}
    shared = None
    for fact, gap in zip(facts.contestants, gaps, strict=True):
        if fact.run and fact.iteration is not None:
            by_run.setdefault(fact.run, {})[fact.iteration] = to_percent(gap)
            shared = to_percent(gap) if fact.iteration == 0 else shared
    if not any(len(iterations) > 1 for iterations in by_run.values()):
        return []
    last = max(max(iterations) for iterations in by_run.values())
    rows = []
    for t in range(last + 1):
        estimates = [its.get(t, shared if t == 0 else None) for its in by_run.values()]
        cells = (estimate_cell(e, 1, top=False, differs=False) for e in estimates)
        if any(estimates):
            rows.append(TableRow((Cell(str(t)), *cells)))
    heads = [
        Column("iteration"),
        *(Column(run, is_numeric=True, holds_estimates=True) for run in by_run),
    ]
    title = f"arena gap, {facts.prompts}, by {facts.compared_by}"
    notes = ("gap over the pool, in points: max over the pool of P(j beats it) less 50 %",)
    return [Table(title, tuple(heads), (Section("", tuple(rows)),), notes)]


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation, ties with mean ranks; 0 where one does not vary."""
    ranks = [[_mean_rank(values, value) for value in values] for values in (first, second)]
    x, y = ([r - sum(side) / len(side) for r in side] for side in ranks)
    scale = sum(a * a for a in x) * sum(b * b for b in y)
    return sum(a * b for a, b in zip(x, y, strict=True)) / scale**0.5 if scale > 0 else 0.0


def _mean_rank(values: Sequence[float], value: float) -> float:
    return sum(v < value for v in values) + sum(v == value for v in values) / 2


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A cell of the heat map."""

    text: str
    title: str
    """What a pointer over it shows."""
    hue: str
    """`win`, `loss` or `even`."""
    strength: int
    """From 0 to 10."""


def heat_map(analysis: ArenaAnalysis) -> list[tuple[str, list[HeatCell]]]:
    """Return the matrix as coloured cells, contestants in the order of their ratings."""
    rates, names = analysis.win_rates, analysis.names
    ratings = analysis.ratings.bradley_terry
    order = sorted(range(len(names)), key=lambda i: -ratings[i].value)
    rows = []
    for i in order:
        cells = []
        for j in order:
            value = float(rates.value[i, j])
            if i == j or not rates.count[i, j]:
                cells.append(HeatCell("", names[i], "even", 0))
                continue
            low, high = float(rates.low[i, j]), float(rates.high[i, j])
            mark = "†" if rates.significant[i, j] else ""
            title = (
                f"{names[i]} beats {names[j]}: {POINTS * value:.1f} % "
                f"[{POINTS * low:.1f}, {POINTS * high:.1f}], {rates.count[i, j]:.0f} prompts"
            )
            hue = "win" if value > 0.5 else "loss" if value < 0.5 else "even"
            strength = min(10, round(20 * abs(value - 0.5)))
            cells.append(HeatCell(f"{POINTS * value:.0f}{mark}", title, hue, strength))
        rows.append((names[i], cells))
    return rows


def render_arena_page(analysis: ArenaAnalysis, facts: ArenaFacts) -> str:
    """Return one HTML page with a heat map and the tables; it loads nothing and runs no script."""
    return render_html_template(
        "arena.html",
        title=f"Arena: {facts.prompts}, by {facts.compared_by}",
        heat=heat_map(analysis),
        tables=arena_tables(analysis, facts),
    )
