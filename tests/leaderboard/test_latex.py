"""LaTeX: it compiles alone and inside a paper, whatever the names, and can be checked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import CheckError, InputError
from leaderboard.builder import TableOptions, build_tables, check_paper
from leaderboard.latex import escape_latex, render_latex
from leaderboard.latex_width import FORMATS, TEXT_WIDTH, split_columns, table_width

PAPER = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,siunitx}
\begin{document}
Before. \input{table.tex} After.
\end{document}
"""


def compiled(folder: Path, name: str) -> str:
    """Compile as a journal would, with no shell and reading nothing from elsewhere."""
    if not shutil.which("pdflatex"):
        pytest.skip("needs pdflatex (texlive-latex-extra and texlive-science)")
    text = subprocess.run(
        ("pdflatex", "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", name),
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "openin_any": "p", "openout_any": "p"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
    )
    assert text.returncode == 0, text.stdout[-1500:]
    return (folder / name).with_suffix(".log").read_text(errors="replace")


def test_special_characters_are_printed_not_obeyed():
    assert escape_latex("a_b & 50 %") == r"a\_b \& 50 \%"
    assert escape_latex("\\input{x}") == r"\textbackslash{}input\{x\}"
    assert escape_latex("[3cm]") == "{[}3cm]"
    assert escape_latex("*") == "{*}"
    assert escape_latex("a--b") == "a-{}-b"
    assert escape_latex("模") == "(U+6A21)"
    assert escape_latex("\u202ex\x1b") == "x"


def test_every_hostile_name_compiles_and_reads_no_file(file, runs, tmp_path, hostile):
    for i, name in enumerate(hostile):
        file(name, (0.1, 0.9, 0.5 + i / 1000), name=f"h{i}")
    tables, _ = build_tables(runs, TableOptions(columns=("method", "win_rate", "source")))
    (tmp_path / "table.tex").write_text(render_latex(tables, TableOptions().to_data()))
    log = compiled(tmp_path, "table.tex")
    assert "/etc/passwd" not in log
    assert "root:" not in log
    assert not (tmp_path / "owned").exists()


def test_a_wide_table_compiles_inside_a_paper(file, runs, tmp_path):
    for benchmark in ("toy", "other"):
        file("INPO", (0.9, 0.8, 0.95, 0.9), benchmark=benchmark)
        file("DPO", (0.1, 0.2, 0.12, 0.3), benchmark=benchmark)
    choice = TableOptions(wide=True, baseline="DPO", published=("inpo",))
    (tmp_path / "table.tex").write_text(
        render_latex(build_tables(runs, choice)[0], choice.to_data())
    )
    (tmp_path / "paper.tex").write_text(PAPER)
    text = (tmp_path / "table.tex").read_text()
    assert r"\bfseries 88.8" in text  # (0.9 + 0.8 + 0.95 + 0.9) / 4
    assert r"\textsuperscript{\textdagger}" in text
    compiled(tmp_path, "paper.tex")


@pytest.fixture
def paper(file, runs, tmp_path) -> Path:
    """A paper with a table of two methods in it."""
    file("INPO & co", (0.9, 0.8, 0.95, 0.9))
    file("DPO", (0.1, 0.2, 0.12, 0.3))
    choice = TableOptions(columns=("win_rate", "tokens"), baseline="DPO")
    path = tmp_path / "paper.tex"
    table = render_latex(build_tables(runs, choice)[0], choice.to_data())
    path.write_text(f"Prose with 12.3 numbers & more \\\\\n{table}")
    return path


def test_a_printed_table_is_what_the_results_give(paper, runs):
    summary = check_paper(paper, runs)
    # two lines with a figure, its bounds and the tokens; the heads have no number
    assert (summary.tables, summary.numbers) == (1, 8)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("88.8", "98.8", "'INPO & co': 98.8 is 88.8"),
        ("90.8", "90.9", "90.9 is 90.8"),
        ("DPO &", "PPO &", "'PPO' is not in the results"),
    ],
)
def test_a_number_or_a_name_that_was_changed_is_named(paper, runs, before, after, message):
    paper.write_text(paper.read_text().replace(before, after))
    with pytest.raises(CheckError, match=message):
        check_paper(paper, runs)


def test_a_result_that_has_changed_since_is_named(paper, runs, file):
    file("DPO", (0.1, 0.2, 0.12, 0.7))
    with pytest.raises(CheckError, match="'DPO': 18.0 is 28.0"):
        check_paper(paper, runs)


def test_layout_may_change_and_lines_may_go(paper, runs):
    lines = paper.read_text().replace(r"\scriptsize ", r"\scriptsize{}").splitlines()
    remaining = [line for line in lines if not line.startswith("DPO")]
    paper.write_text("\n".join(f"{line}  " if line.endswith(r"\\") else line for line in remaining))
    assert check_paper(paper, runs).numbers == 4


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: "no table", "holds no table"),
        (lambda text: text.replace("% harness leaderboard ends", ""), "is missing"),
        (lambda text: text.replace('{"baseline"', '{baseline"'), "is damaged"),
        (lambda text: text.replace('{"baseline"', '{"besaline"'), "another version"),
    ],
)
def test_a_file_without_a_whole_table_is_refused(paper, runs, edit, message):
    paper.write_text(edit(paper.read_text()))
    with pytest.raises(InputError, match=message):
        check_paper(paper, runs)


def test_a_name_cannot_leave_the_line_that_tells_what_was_asked(runs, file):
    text = render_latex([], {"bench": "x\n\\input{y}\n% harness leaderboard ends"})
    line = next(t for t in text.splitlines() if t.startswith("% harness leaderboard {"))
    assert json.loads(line.removeprefix("% harness leaderboard "))["bench"].startswith("x\n")


def wide_tables(file, runs, **asked):
    for benchmark in ("toy", "a-benchmark-with-a-long-name", "other"):
        for label in ("INPO", "DPO", "a method whose name goes on and on, and on, and still on"):
            file(label, (0.9, 0.8, 0.95, 0.2), benchmark=benchmark)
    return build_tables(runs, TableOptions(**asked))[0]


def test_every_table_has_a_caption_and_a_label_of_its_own(file, runs):
    tables = wide_tables(file, runs)
    tables += wide_tables(file, runs, wide=True)
    text = render_latex(tables, {})
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels == [
        "tab:a-benchmark-with-a-long-name",
        "tab:other",
        "tab:toy",
        "tab:leaderboard",
    ]
    assert text.count(r"\caption{") == 4
    again = render_latex([tables[0], tables[0]], {})
    assert len(set(re.findall(r"\\label\{(.*?)\}", again))) == 2


def test_split_tables_fit_and_hold_every_column_once(file, runs):
    (table,) = wide_tables(file, runs, wide=True, columns=("all",))
    assert table_width(table, FORMATS[-1]) > TEXT_WIDTH
    parts = split_columns(table)
    assert all(table_width(part, FORMATS[0]) <= TEXT_WIDTH for part in parts)
    assert [c for part in parts for c in part.columns[1:]] == list(table.columns[1:])
    assert all(part.columns[0] == table.columns[0] for part in parts)
    assert [bool(part.notes) for part in parts] == [False] * (len(parts) - 1) + [True]
    text = render_latex([table], {"split": True})
    assert text.count(r"\begin{tabular}") == len(parts)
    assert "too wide" not in text
    assert "too wide for a text of 345 pt: print it with --split" in render_latex([table], {})


def test_a_narrow_table_stays_whole_and_large(file, runs):
    file("INPO")
    (table,) = build_tables(runs, TableOptions())[0]
    assert split_columns(table) == [table]
    text = render_latex([table], {"split": True})
    assert r"\centering\small" in text
    assert text == render_latex([table], {"split": True})


def test_no_line_of_a_split_table_is_overfull(file, runs, tmp_path):
    tables = wide_tables(file, runs, wide=True, columns=("all",))
    (tmp_path / "table.tex").write_text(render_latex(tables, {"split": True}))
    (tmp_path / "paper.tex").write_text(PAPER)
    assert "Overfull" not in compiled(tmp_path, "paper.tex")


def test_a_split_table_can_be_checked(file, runs, tmp_path):
    options = TableOptions(wide=True, split=True)
    tables = wide_tables(file, runs, wide=True)
    path = tmp_path / "paper.tex"
    path.write_text(render_latex(tables, options.to_data()))
    check_paper(path, runs)
    path.write_text(re.sub(r"\b71\.(\d) &", r"81.\1 &", path.read_text()))
    with pytest.raises(CheckError, match=r"81\.\d is 71\.\d"):
        check_paper(path, runs)
