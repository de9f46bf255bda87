"""What others published: every figure has its place, and stands as it was printed."""

from __future__ import annotations

import csv

import pytest

from harness.errors import ConfigError
from harness.types import Estimate
from leaderboard import publications
from leaderboard.builder import TableOptions, build_tables
from leaderboard.publications import FOLDER, document_names, read_publications
from leaderboard.rows import Row


def lines() -> list[dict[str, str]]:
    rows = []
    for path in sorted(FOLDER.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows += list(csv.DictReader(file))
    return rows


def test_every_figure_has_document_version_table_and_day():
    for line in lines():
        assert all(line[key] for key in ("document", "version", "table", "read", "label"))
        assert all(line[key] for key in ("benchmark", "metric", "value"))
        assert line["judge"] or line["benchmark"] == "academic"


def test_no_figure_stands_there_twice():
    keys = [
        tuple(line[k] for k in line if k not in ("value", "low", "high", "ours", "note"))
        for line in lines()
    ]
    assert len(set(keys)) == len(keys)


def test_the_papers_headline_is_there():
    rows = [
        r for r in read_publications(["inpo"]) if r.label == "INPO (PM)" and r.document.table == "1"
    ]
    figures = {(r.benchmark, m): e.value for r in rows for m, e in r.estimates.items()}
    assert figures == {
        ("alpaca-eval", "length_controlled_win_rate"): 42.6,
        ("arena-hard", "win_rate"): 37.8,
        ("mt-bench", "score"): 8.43,
    }


def test_the_averages_of_tasks_are_those_of_their_figures():
    """The paper's tables 2 and 5: the last column is the mean of the six, to its rounding."""
    tasks = ("ifeval", "gpqa", "mmlu", "hellaswag", "truthfulqa", "gsm8k")
    rows = [r for r in read_publications(["inpo"]) if r.benchmark == "academic"]
    assert len(rows) == 8
    for row in rows:
        mean = sum(row.estimates[task].value for task in tasks) / 6
        assert row.estimates["average"].value == pytest.approx(mean, abs=0.101), row.label


def test_the_leaderboards_rows_are_the_protocol_datas(shared):
    ours = {row.label: row for row in read_publications(["alpaca_eval"])}
    with (shared / "assets/alpaca_eval/published.csv").open() as file:
        theirs = {line["model"]: line for line in csv.DictReader(file)}
    assert set(ours) == set(theirs)
    for name, line in theirs.items():
        assert ours[name].estimates["win_rate"].value == float(line["win_rate"])
        controlled = ours[name].estimates["length_controlled_win_rate"].value
        assert controlled == float(line["length_controlled_winrate"])
    with (shared / "assets/arena_hard_v0.1/leaderboard_20240731.csv").open() as file:
        theirs = {line["model"]: line for line in csv.DictReader(file)}
    for row in read_publications(["arena_hard"]):
        line, estimate = theirs[row.label], row.estimates["win_rate"]
        assert estimate == Estimate(
            *(float(line[k]) for k in ("score", "rating_q025", "rating_q975"))
        )


def test_a_document_that_is_not_there_says_which_are():
    assert {"inpo", "mnpo", "sppo", "simpo", "iterative_dpo"} <= set(document_names())
    with pytest.raises(ConfigError, match="did you mean 'inpo'"):
        read_publications(["inpoo"])


def measured(label: str = "INPO", **changes) -> Row:
    fields = {
        "label": label,
        "benchmark": "alpaca-eval",
        "judge": "gpt-4-1106-preview",
        "estimates": {"length_controlled_win_rate": Estimate(41.0, 38.0, 44.0)},
        "prompt_count": 805,
        "judged_count": 805,
        "mean_length": 1500.0,
        "source": "x.json",
    }
    return Row(**{**fields, **changes})


def test_a_papers_tables_stand_beside_what_was_measured_with_empty_cells_where_nothing_was():
    tables = publications.paper_tables("inpo", [measured()])
    assert [t.title.partition("), ")[2].partition(",")[0] for t in tables] == [
        "table 1",
        "table 2",
        "table 3",
        "table 4",
        "table 5",
        "abstract",
    ]
    first = {cells[0]: cells[1:] for cells in tables[0].cells}
    assert first["INPO (PM)"] == ("42.6", "41.0 [38.0, 44.0]", "37.8", "", "8.43", "")
    assert first["SPPO (PM)"] == ("32.8", "", "29.2", "", "8.26", "")
    assert first["GPT-4 Turbo (04/09)"] == ("55.0", "", "82.6", "", "", "")
    assert all(column.group for column in tables[0].columns[1:])


def test_of_two_results_of_one_label_each_has_its_row_beside_the_papers():
    rows = [
        measured(f"INPO (eta={eta})", shared_label="INPO", source=f"{eta}", estimates=estimates)
        for eta, estimates in (
            (0.1, {"length_controlled_win_rate": Estimate(41.0)}),
            (0.2, {"length_controlled_win_rate": Estimate(43.0)}),
        )
    ]
    (table, *_) = publications.paper_tables("inpo", rows)
    cells = {row[0]: row[1:3] for row in table.cells if row[0].startswith("INPO (PM)")}
    assert cells == {
        "INPO (PM), measured: INPO (eta=0.1)": ("42.6", "41.0"),
        "INPO (PM), measured: INPO (eta=0.2)": ("42.6", "43.0"),
    }


def test_every_row_of_the_papers_tables_that_is_trained_has_its_recipe():
    from harness.core.config import load, names

    recipes = [load("train", name) for name in names("train") if "/" not in name]
    ours = {(recipe["method"], recipe["policy"].get("name")) for recipe in recipes}
    ours |= {(base, base) for _, base in ours}  # where training starts from
    rows = [row for row in read_publications(["inpo"]) if row.base and "ICLR" in row.source]
    assert len({(row.source, row.label) for row in rows}) == 6 + 4 + 4 + 4 + 4
    for row in rows:
        assert (row.measured_as or row.label, row.base) in ours, row.label
        cells = publications.paper_tables(
            "inpo", [measured(row.measured_as or row.label, base=row.base)]
        )
        labels = {line[0] for t in cells for line in t.cells if "41.0 [38.0, 44.0]" in line}
        assert row.benchmark != "alpaca-eval" or row.label in labels


def test_what_another_judge_measured_never_stands_in_the_papers_column():
    other = measured(judge="gpt-4.1")
    table = publications.paper_tables("inpo", [other])[0]
    assert table.columns[3].heading == "measured, judged by gpt-4.1"
    cells = next(cells for cells in table.cells if cells[0] == "INPO (PM)")
    assert cells[1:4] == ("42.6", "", "41.0 [38.0, 44.0]")


def test_the_papers_judge_asked_in_two_ways_has_two_columns():
    other = measured("iterative DPO", judge_settings={"temperature": 1})
    table = publications.paper_tables("inpo", [measured(judge_settings={"temperature": 0}), other])[
        0
    ]
    assert [c.heading for c in table.columns[1:5]] == [
        "published",
        "measured",
        "measured, judged by gpt-4-1106-preview, judge settings: temperature 0",
        "measured, judged by gpt-4-1106-preview, judge settings: temperature 1",
    ]
    assert all(cells[2] == "" for cells in table.cells)


@pytest.mark.parametrize("changes", [{"base": "another"}, {"benchmark": "toy"}, {"label": "IN"}])
def test_another_base_benchmark_or_name_is_not_the_papers(changes):
    table = publications.paper_tables("inpo", [measured(**changes)])[0]
    assert not any(cell for cells in table.cells for cell in cells if cell.startswith("41.0"))


def test_a_workspace_without_results_still_prints_the_paper(tmp_path):
    tables, messages = build_tables(tmp_path, TableOptions(paper="inpo"))
    assert len(tables) == 6
    assert messages == ()
    assert build_tables(tmp_path, TableOptions(published=("simpo",)))[0]
