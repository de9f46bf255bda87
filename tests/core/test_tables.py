"""Tables of answers: JSON lines, and what pandas writes of the same rows."""

import json

import pytest

from harness.core.tables import read_lines
from harness.errors import InputError

ROWS = [{"question_id": 81, "choices": [{"turns": ["a"]}]}, {"question_id": 82, "choices": []}]
COLUMNS = {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ROWS[0]}


@pytest.mark.parametrize(
    "text",
    [
        "".join(json.dumps(row) + "\n" for row in ROWS),
        json.dumps(ROWS),
        json.dumps(ROWS, indent=1),
        json.dumps(COLUMNS),
        json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    ],
)
def test_lines_a_list_and_columns_hold_the_same_rows(tmp_path, text):
    (tmp_path / "answers.jsonl").write_text(text)
    assert read_lines(tmp_path / "answers.jsonl", "rows") == ROWS


def test_a_single_line_is_no_table_of_columns(tmp_path):
    (tmp_path / "answers.jsonl").write_text(json.dumps(ROWS[0]))
    assert read_lines(tmp_path / "answers.jsonl", "rows") == ROWS[:1]


@pytest.mark.parametrize("text", ["[1]", '"text"', '{"a": [1], "b": [1, 2]}', "{"])
def test_what_holds_no_rows_is_refused(tmp_path, text):
    (tmp_path / "answers.jsonl").write_text(text)
    with pytest.raises(InputError, match="expected rows|Expected rows"):
        read_lines(tmp_path / "answers.jsonl", "rows")
