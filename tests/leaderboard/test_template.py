"""Templates of the user's own: what they see, that they are escaped, and what they cannot do."""

from __future__ import annotations

import pytest

from harness.errors import InputError
from leaderboard.builder import TableOptions, build_tables
from leaderboard.template import render_template

TEX = r"""<% for row in tables[0].rows %>
<< row.cells.method >> & << row.cells["win rate %"].value | round(2) >> << "\\\\" | safe >>
<% endfor %>
"""


def fill(folder, runs, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return render_template(folder / name, build_tables(runs, TableOptions())[0], {})


def test_a_latex_template_is_escaped(file, runs, tmp_path):
    file(r"a_b \input{x}", (0.5, 0.25))
    text = fill(tmp_path, runs, "table.tex", TEX)
    assert text == "a\\_b \\textbackslash{}input\\{x\\} & 37.5 \\\\\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("t.html", "&lt;b&gt;"), ("t.md.j2", r"\<b\>"), ("t.txt", "<b>")],
)
def test_other_templates_are_escaped_as_their_names_say(file, runs, tmp_path, name, expected):
    file("<b>")
    assert fill(tmp_path, runs, name, "{{ tables[0].rows[0].cells.method }}") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ tables.__class__.__mro__ }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% for %}", "line 1"),
        ("{{ tables[99].title }}", "undefined|has no element"),
        ("{{ 1 / 0 }}", "does not fit"),
        ("{{ range(10 ** 9) | list }}", "[Rr]ange"),
        ("{{ tables.append(1) }}", "unsafe|not safely"),
    ],
)
def test_what_a_template_cannot_do_is_one_error(file, runs, tmp_path, text, message):
    file()
    with pytest.raises(InputError, match=message):
        fill(tmp_path, runs, "t.txt", text)


def test_a_template_that_is_not_there_is_named(file, runs, tmp_path):
    file()
    with pytest.raises(InputError, match=r"cannot read the template .*no\.txt"):
        render_template(tmp_path / "no.txt", build_tables(runs, TableOptions())[0], {})
