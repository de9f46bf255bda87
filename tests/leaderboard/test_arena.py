"""What an arena prints: tables in every format, and a page with a heat map."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.arena import draw, truth
from harness.statistics.arena import analyse
from harness.statistics.pairwise import PairwisePreferences
from leaderboard.arena import (
    ArenaFacts,
    ContestantFacts,
    arena_tables,
    gap_tables,
    heat_map,
    rank_correlation,
    render_arena_page,
)
from leaderboard.formats import render_csv, render_markdown, render_rich
from leaderboard.latex import render_latex

NAMES = ("start", "inpo (iteration 1)", "inpo (iteration 2)", "<b>&_dpo")


@pytest.fixture(scope="module")
def analysis():
    drawn = draw(truth("transitive", 4), 300, np.random.default_rng(0))
    return analyse(PairwisePreferences(NAMES, drawn.pairs, drawn.values), rounds=100)


@pytest.fixture(scope="module")
def facts():
    members = (("inpo", 0), ("inpo", 1), ("inpo", 2), ("dpo", 1))
    contestants = [
        ContestantFacts(run, t, 10.0 * n, 0.5, 2.0) for n, (run, t) in enumerate(members, 1)
    ]
    return ArenaFacts("toy", "oracle toy", tuple(contestants), 3, 1, 4, 0)


def test_every_format_prints_the_names_and_says_how_it_was_measured(analysis, facts):
    tables = arena_tables(analysis, facts)
    for text in (render_rich(tables), render_csv(tables), render_markdown(tables)):
        assert "iteration 2" in text
        assert "inpo" in text
    assert "300 prompts, 6 pairs, both orders" in render_markdown(tables)
    assert "3 ties, of which 1 are equal answers; 4 comparisons could not be parsed" in (
        render_markdown(tables)
    )


def test_the_matrix_marks_what_differs_and_leaves_the_diagonal_empty(analysis, facts):
    matrix = arena_tables(analysis, facts)[0]
    (section,) = matrix.sections
    for i, row in enumerate(section.rows):
        assert row.cells[i + 1].text == "–"
        for j, cell in enumerate(row.cells[1:]):
            assert cell.differs == (i != j and analysis.win_rates.significant[i, j])
    assert section.rows[3].cells[1].differs


def test_the_latex_has_booktabs_and_a_label_for_each_table(analysis, facts):
    latex = render_latex(arena_tables(analysis, facts), {})
    for label in ("tab:arena-matrix", "tab:arena-contestants", "tab:arena-gap"):
        assert rf"\label{{{label}}}" in latex
    assert r"\toprule" in latex
    assert r"\textless{}b\textgreater{}\&\_dpo" in latex


def test_the_gap_by_iteration_has_the_shared_start_in_every_run(analysis, facts):
    (table,) = gap_tables(analysis, facts)
    assert [column.heading for column in table.columns] == ["iteration", "inpo", "dpo"]
    start, *rest = table.sections[0].rows
    assert start.cells[1] == start.cells[2]
    assert len(rest) == 2
    assert rest[1].cells[2].text == "–"


def test_the_page_is_a_heat_map_that_loads_nothing(analysis, facts):
    page = render_arena_page(analysis, facts)
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "<b>&_dpo" not in page
    assert "&lt;b&gt;&amp;_dpo" in page
    assert 'class="win' in page
    assert 'class="loss' in page


def test_the_heat_map_is_in_the_order_of_ratings(analysis):
    rows = heat_map(analysis)
    assert [name for name, _ in rows] == list(reversed(NAMES))
    assert all(cell.hue == "win" for i, (_, cells) in enumerate(rows) for cell in cells[i + 1 :])


def test_the_rank_correlation_by_hand():
    assert rank_correlation([1, 2, 3], [10, 30, 20]) == pytest.approx(0.5)
    assert rank_correlation([1, 1, 2], [1, 1, 2]) == pytest.approx(1)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0
