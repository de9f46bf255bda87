"""Answers files: what fits is matched by instruction, what does not is told in one line."""

import gzip
import json

import pytest

from harness.errors import InputError
from harness.evaluation.answers import Answers, read_answers, rows_of
from harness.types import Answer, Message, Prompt

PROMPTS = [
    Prompt(f"id {text}", (Message("user", text),), {"dataset": "d"}) for text in ("one", "two")
]


def row(instruction, output="x", **more):
    return {"instruction": instruction, "output": output, "generator": "g", **more}


def written(tmp_path, data, name="answers.json"):
    path = tmp_path / name
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_answers_are_matched_by_instruction(tmp_path, name):
    data = [row("two", "2", model="ignored"), row("one", "")]
    found = read_answers(written(tmp_path, data, name), PROMPTS)
    assert found == Answers("g", (Answer("id one", ""), Answer("id two", "2")))


def test_what_was_written_is_read_again(tmp_path):
    answers = Answers("me", (Answer("id one", "ü\n"), Answer("id two", "")))
    rows = rows_of(answers, PROMPTS)
    assert rows[0] == {
        "dataset": "d",
        "instruction": "one",
        "output": "ü\n",
        "generator": "me",
    }
    assert read_answers(written(tmp_path, rows), PROMPTS) == answers


@pytest.mark.parametrize("generators", [("a", "b"), ("", ""), (3, 3)])
def test_without_one_generator_the_file_names_the_answers(tmp_path, generators):
    texts = ("one", "two")
    data = [row(t) | {"generator": g} for t, g in zip(texts, generators, strict=True)]
    assert read_answers(written(tmp_path, data, "my.v2.json.gz"), PROMPTS).name == "my.v2"


def test_a_byte_order_mark_does_no_harm(tmp_path):
    data = b"\xef\xbb\xbf" + json.dumps([row("one"), row("two")]).encode()
    assert len(read_answers(written(tmp_path, data), PROMPTS).answers) == 2


BOTH = [row("one"), row("two")]
NOT_FITTING = {
    "missing": ([row("one")], r"1 of 2 instructions have no answer, e\.g\. 'two': .*--allow-"),
    "none": ([], r"2 of 2 instructions have no answer"),
    "unknown": ([*BOTH, row("three")], r"1 of 3 instructions are not .*'three': .*--bench"),
    "doubled": ([*BOTH, row("two", "y")], r"1 instructions are answered more than once, .*'two'"),
    "long": ([*BOTH, row("z" * 500)], r"'z{60}\.\.\.'"),
    "no output": ([{"instruction": "one"}], r"row 0 .*has no 'output'"),
    "null": ([row("one"), row("two", None)], r"1 of 2 rows .*row 1 .*'output' is null"),
    "number": ([row("one", 3)], r"'output' is a number"),
    "object": ([row({"a": 1})], r"'instruction' is an object"),
    "row": (["one"], r"row 0 .*which is text"),
    "no list": ({"one": "x"}, r"holds an object; expected a JSON list"),
    "surrogate": ([row("one", "\ud800")], r"half of a surrogate pair"),
    "cut": (b'[{"instruction": "one', r"is not JSON \(Unterminated string"),
    "empty": (b"", r"is not JSON"),
    "deep": (b"[" * 100_000, r"is not JSON"),
    "latin": (b'["\xe4"]', r"is not JSON"),
    "broken gzip": (b"\x1f\x8b\x08broken", r"cannot read|is not JSON"),
}


@pytest.mark.parametrize("case", NOT_FITTING)
def test_what_does_not_fit_is_told_in_one_line(tmp_path, case):
    data, told = NOT_FITTING[case]
    path = written(tmp_path, data)
    with pytest.raises(InputError, match=told) as caught:
        read_answers(path, PROMPTS)
    text = str(caught.value)
    assert text.startswith((str(path), f"cannot read {path}"))
    assert "\n" not in text
    assert len(text) < 400 + len(str(path))


def test_a_cut_gzip_file_is_told(tmp_path):
    path = written(tmp_path, BOTH, "a.json.gz")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="is not JSON|cannot read"):
        read_answers(path, PROMPTS)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"nope\.json does not exist; name a file"):
        read_answers(tmp_path / "nope.json", PROMPTS)
    with pytest.raises(InputError, match="Is a directory"):
        read_answers(tmp_path, PROMPTS)


def test_missing_answers_are_left_out_where_that_is_allowed(tmp_path):
    found = read_answers(written(tmp_path, [row("two")]), PROMPTS, allow_missing=True)
    assert found == Answers("g", (Answer("id two", "x"),), missing=1)
    with pytest.raises(InputError, match="2 of 2"):
        read_answers(written(tmp_path, []), PROMPTS, allow_missing=True)
