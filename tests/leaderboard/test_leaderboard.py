"""The table: what shares a column, what stands in it, and that hostile names stay text."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.types import Estimate
from leaderboard import render
from leaderboard.rows import Row, measured
from leaderboard.table import interval, tables


def row(label: str = "INPO", value: float = 60.0, **changes) -> Row:
    fields = {
        "label": label,
        "benchmark": "toy",
        "judge": "judge-1",
        "estimates": {"win_rate": Estimate(value, value - 2, value + 2, 1.0)},
        "asked": 400,
        "judged": 399,
        "mean_length": 31.25,
        "source": "x.json",
    }
    return Row(**{**fields, **changes})


def test_rows_are_ordered_by_win_rate_and_show_interval_length_and_counts():
    (table,) = tables([row("low", 40.0), row("high", 70.0)])
    assert table.cells[0] == ("high", "70.0 [68.0, 72.0]", "31.2", "399 of 400")
    assert table.cells[1][0] == "low"


def test_other_judges_and_benchmarks_never_share_a_table():
    found = tables([row(), row(judge="judge-2"), row(benchmark="other")])
    assert [t.title for t in found] == [
        "toy, judged by judge-1",
        "toy, judged by judge-2",
        "other, judged by judge-1",
    ]


def test_a_metric_that_no_row_has_takes_no_column_and_one_that_some_lack_shows_a_dash():
    controlled = {
        "win_rate": Estimate(50.0, 48.0, 52.0),
        "length_controlled_win_rate": Estimate(45.0),
    }
    (with_column,) = tables([row(), row("both", estimates=controlled)])
    assert with_column.headings[2] == "length-controlled %"
    assert [cells[2] for cells in with_column.cells] == ["–", "45.0"]
    (without,) = tables([row()])
    assert "length-controlled %" not in without.headings


def test_an_interval_that_is_not_known_is_not_shown():
    assert interval(Estimate(12.345)) == "12.3"
    assert interval(None) == "–"


HOSTILE = "evil|<script>\x1b[31m\u202e=`x`"


def test_hostile_names_stay_text():
    found = tables([row(HOSTILE)])
    for text in (render.rich_text(found), render.markdown(found), render.comma_separated(found)):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "\\<script\\>" in render.markdown(found)
    assert r"evil\|" in render.markdown(found)


def test_a_cell_that_a_spreadsheet_would_run_is_disarmed():
    text = render.comma_separated(tables([row('=HYPERLINK("x")')]))
    assert list(csv.reader(io.StringIO(text)))[1][1] == '\'=HYPERLINK("x")'


def test_the_picture_needs_nothing_from_elsewhere():
    picture = render.svg(tables([row()]))
    assert "60.0" in picture
    assert "<script" not in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )


def test_a_terminal_table_cuts_no_figure():
    text = render.rich_text(tables([row("a name that goes on " * 8)]))
    assert "60.0 [58.0, 62.0]" in text
    assert "399 of 400" in text


def test_an_empty_workspace_says_what_to_run(tmp_path):
    with pytest.raises(StoreError, match="run `harness demo` or `harness eval` first"):
        measured(tmp_path)


def test_a_damaged_result_is_named(tmp_path):
    path = tmp_path / "toy" / "x.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"score": {}}))
    with pytest.raises(StoreError, match=r"x\.json is damaged"):
        measured(Path(tmp_path))
