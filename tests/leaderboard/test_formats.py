"""Writers: hostile names stay text in every format, and no figure is cut."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest

from harness.types import Estimate
from leaderboard import formats
from leaderboard.builder import TableBuilder, TableOptions
from leaderboard.rows import Document, Row
from leaderboard.table import Table


def rows(*labels: str) -> list[Row]:
    estimates = {"win_rate": Estimate(60.0, 58.0, 62.0, 1.0)}
    return [
        Row(label, "toy", "judge-1", estimates, 400, 399, 31.25, f"{i}.json")
        for i, label in enumerate(labels)
    ]


def tables(*labels: str, **choice) -> list[Table]:
    return TableBuilder(TableOptions(**choice)).build(rows(*labels))


WRITERS = {
    "rich": formats.render_rich,
    "md": formats.render_markdown,
    "csv": formats.render_csv,
    "svg": formats.render_svg,
    "html": formats.render_html,
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_name_moves_a_cursor_turns_text_or_cannot_be_encoded(name, hostile):
    text = WRITERS[name](tables(*hostile, "lone \ud800 surrogate"))
    forbidden = [chr(c) for c in (*range(32), 0x7F, 0x9B, 0x202E, 0x2066, 0x200B, 0xFEFF)]
    assert not [c for c in forbidden if c in text and c != "\n"]
    text.encode("utf-8")
    assert text.count("60.0") >= len(hostile)


def test_markdown_runs_nothing(hostile):
    text = formats.render_markdown(tables(*hostile))
    assert "<script" not in text.replace("\\<", "")
    assert not re.search(r"(?<!\\)\]\(", text)
    table = [line for line in text.splitlines() if line.startswith("| ")]
    bars = {len([i for i, c in enumerate(t) if c == "|" and t[i - 1] != "\\"]) for t in table}
    assert bars == {5}  # 4 columns
    assert r"evil\|" in formats.render_markdown(tables("evil|"))


class Elements(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, list]] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.cells.append(data)


def test_the_page_runs_nothing_and_asks_for_nothing(hostile):
    text = formats.render_html(tables(*hostile))
    elements = Elements(text)
    assert not {tag for tag, _ in elements.tags} & {"a", "form", "iframe", "img", "link", "script"}
    attributes = {name for _, attrs in elements.tags for name, _ in attrs}
    assert not {a for a in attributes if a.startswith("on") or a in ("src", "href")}
    assert "<script>alert(1)</script>" in elements.cells
    assert "default-src 'none'" in text


def test_a_cell_that_a_spreadsheet_would_run_is_disarmed(hostile):
    lines = list(csv.reader(io.StringIO(formats.render_csv(tables(*hostile)))))
    cells = [cell for line in lines for cell in line]
    assert not [c for c in cells if c.strip().startswith(("=", "+", "@"))]
    assert not [c for c in cells if c.startswith("-") and not c[1:].replace(".", "").isdigit()]
    assert '\'=HYPERLINK("http://example.org")' in cells


def test_a_spreadsheet_has_every_number_in_a_column_of_its_own():
    lines = list(csv.DictReader(io.StringIO(formats.render_csv(tables("INPO")))))
    assert lines[0]["win rate %"] == "60.0"
    assert (lines[0]["win rate %, low"], lines[0]["win rate %, high"]) == ("58.0", "62.0")


def test_machines_get_figures_in_full():
    (data,) = json.loads(json.dumps(formats.table_data(tables("INPO"))))
    assert data["rows"][0]["cells"]["win rate %"] == {
        "value": 60.0,
        "low": 58.0,
        "high": 62.0,
        "standard_error": 1.0,
        "text": "60.0 [58.0, 62.0]",
        "top": False,
        "differs": False,
    }
    assert data["rows"][0]["from"] == [{"source": "0.json", "benchmark": "toy", "judge": "judge-1"}]


def test_the_picture_needs_nothing_from_elsewhere():
    picture = formats.render_svg(tables("INPO"))
    assert "60.0" in picture
    assert "<script" not in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )


def test_a_terminal_table_cuts_no_figure_and_no_name():
    text = formats.render_rich(tables("a name that goes on " * 8, "x" * 60))
    assert "60.0 [58.0, 62.0]" in text
    assert "399 of 400" in text
    assert "…" not in text


@pytest.mark.parametrize("width", [None, 40, 80, 110, 130, 300])
def test_a_terminal_table_of_any_width_keeps_its_borders_and_every_cell(width):
    (table,) = tables("a model", "名前" * 9)
    text = formats.render_rich([table], width=width)
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert rows
    assert all(line.endswith("│") for line in rows)
    assert text.count("399 of 400") == 2


def test_published_rows_look_different_in_every_format():
    paper = Document("arXiv 1", "v1", "1", "2026-01-01")
    theirs = Row(
        "theirs",
        "toy",
        "judge-1",
        {"win_rate": Estimate(9.0)},
        None,
        None,
        None,
        "x",
        document=paper,
    )
    tables = TableBuilder(TableOptions()).build([*rows("ours"), theirs])
    assert "| *theirs* | *9.0* |" in formats.render_markdown(tables)
    assert '<tbody class="published">' in formats.render_html(tables)
    assert "published: arXiv 1 (v1), table 1" in formats.render_csv(tables)
    assert formats.table_data(tables)[0]["rows"][1]["published"]
    assert "\x1b[3m" in formats.render_rich(tables, color=True)


def test_a_frame_has_estimates_in_numbers_and_sections_where_there_are_some():
    (table,) = tables("INPO")
    frame = table.to_frame()
    assert list(frame.columns[:4]) == [
        "method",
        "win rate %",
        "win rate %, low",
        "win rate %, high",
    ]
    assert frame.iloc[0, :4].tolist() == ["INPO", 60.0, 58.0, 62.0]
    assert frame["mean length"].dtype == float
    assert frame["n judged"].tolist() == [table.cells[0][-1]]


def test_a_notebook_shows_a_table_escaped_and_without_control_characters():
    (table,) = tables("<script>alert(1)</script>\x1b[31m")
    text = table._repr_html_()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; [31m" in text
    assert "<script>" not in text
    assert "\x1b" not in text
