"""alpaca_eval's files: rows are matched by instruction, and bad rows give an error of one line."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from harness.benchmarks.alpaca_eval import files as module
from harness.benchmarks.alpaca_eval.files import (
    files,
    orient_preference,
    preferences,
    read_verdicts,
)
from harness.errors import InputError
from harness.types import Answer, Answers, Graded, Message, ParsedVerdict, Prompt, Verdict

PROMPTS = [
    Prompt(f"id {text}", (Message("user", text),), {"dataset": "d"}) for text in ("one", "two")
]


def read_answers(path, prompts):
    """Read the one contestant of an answers file."""
    (loaded,) = module.read_answers(path, prompts)
    return loaded


def read_all_answers(path):
    return module.read_answers(path, PROMPTS)


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
    loaded = read_answers(written(tmp_path, data, name), PROMPTS)
    assert loaded == Answers("g", (Answer("id one", ""), Answer("id two", "2")))


def graded(label="me", parsed=(0.25, None)):
    """Two prompts with one parsed and one unparsed verdict."""
    ours = (Answer("id one", "ü\n"), Answer("id two", ""))
    theirs = (Answer("id one", "base"), Answer("id two", "base"))
    pairs = zip(("id one", "id two"), parsed, strict=True)
    verdicts = tuple(Verdict(i, None if r is None else ParsedVerdict(r), "j") for i, r in pairs)
    return Graded(label, "j", ours, theirs, verdicts, tuple(PROMPTS), "b")


def test_written_answers_are_read_back(tmp_path):
    written_files = files(graded())
    (tmp_path / "o.json").write_text(written_files["model_outputs.json"])
    assert json.loads(written_files["model_outputs.json"])[0] == {
        "dataset": "d",
        "instruction": "one",
        "output": "ü\n",
        "generator": "me",
    }
    loaded = read_answers(tmp_path / "o.json", PROMPTS)
    assert loaded == Answers("me", graded().answers)


def test_written_verdicts_are_read_back(tmp_path):
    (tmp_path / "a.json").write_text(files(graded())["annotations.json"])
    (loaded,) = read_verdicts(tmp_path / "a.json")
    again = module.rename_prompts(loaded, lambda prompt: f"id {prompt.text}")
    assert again == graded()
    assert list(preferences(again).values()) == list(preferences(graded()).values())


def annotation(**fields):
    """One row of an annotations file."""
    base = {"instruction": "one", "output_1": "b", "output_2": "o", "preference": 1.5}
    return {**base, **fields}


@pytest.mark.parametrize(
    ("preference", "value"), [(1.0, 0.0), (2.0, 1.0), (1.5, 0.5), (0, 0.5), (1.25, 0.25)]
)
def test_a_preference_of_two_is_our_win(tmp_path, preference, value):
    (loaded,) = read_verdicts(written(tmp_path, [annotation(preference=preference)]))
    assert list(preferences(loaded).values()) == [pytest.approx(value)]


@pytest.mark.parametrize("preference", [None, float("nan"), -1])
def test_a_missing_verdict_is_none(tmp_path, preference):
    (loaded,) = read_verdicts(written(tmp_path, [annotation(preference=preference)]))
    assert list(preferences(loaded).values()) == [None]


@pytest.mark.parametrize("preference", [3, 0.5, "1.5", True, float("inf")])
def test_a_preference_that_is_none_is_refused(tmp_path, preference):
    with pytest.raises(InputError, match="between 1 .* and 2"):
        read_verdicts(written(tmp_path, [annotation(preference=preference)]))


def test_contestants_of_one_file_are_separated(tmp_path):
    rows = [annotation(generator_2="x"), annotation(generator_2="y", preference=2)]
    assert [loaded.label for loaded in read_verdicts(written(tmp_path, rows))] == ["x", "y"]
    with pytest.raises(InputError, match="are repeated"):
        read_verdicts(written(tmp_path, [annotation(), annotation()]))


def test_judges_and_baselines_of_one_file_are_parted(tmp_path):
    rows = [
        annotation(annotator="a", generator_1="base", preference=1),
        annotation(annotator="b", generator_1="base", preference=2),
        annotation(annotator="a", generator_1="other"),
    ]
    parts = read_verdicts(written(tmp_path, rows))
    assert [(part.judge, part.baseline_label) for part in parts] == [
        ("a", "base"),
        ("b", "base"),
        ("a", "other"),
    ]
    assert [list(preferences(part).values()) for part in parts] == [[0.0], [1.0], [0.5]]
    judges, baselines = parts[0].notes
    assert judges.endswith("verdicts of several judges, each scored by itself: a (2), b (1)")
    assert baselines.endswith(
        "against several baselines, each scored by itself: base (2), other (1)"
    )


def test_a_verdict_without_a_judges_name_is_the_named_ones(tmp_path):
    rows = [annotation(annotator="a"), annotation(annotator=None, instruction="two")]
    (loaded,) = read_verdicts(written(tmp_path, rows))
    assert (loaded.judge, len(loaded.verdicts), loaded.notes) == ("a", 2, ())


COLUMNS = {"instruction": ["one", "two"], "output": ["1", ""], "generator": ["g", "g"]}


def as_index(columns):
    return {name: {str(i): v for i, v in enumerate(column)} for name, column in columns.items()}


@pytest.mark.parametrize("form", [COLUMNS, as_index(COLUMNS)])
def test_answers_as_columns_are_read(tmp_path, form):
    (answers,) = read_all_answers(written(tmp_path, form))
    assert [a.text for a in answers.answers] == ["1", ""]
    assert answers.name == "g"


def test_columns_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(InputError, match="columns differ in their rows .*'output' 1"):
        read_all_answers(written(tmp_path, {**COLUMNS, "output": ["1"]}))


@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t"), ("csv.gz", ",")])
def test_answers_as_csv_are_read(tmp_path, suffix, mark):
    long = "x" * 200_000
    text = mark.join(("instruction", "output")) + f'\none{mark}"a ""b""\nc"\ntwo{mark}{long}\n'
    (answers,) = read_all_answers(written(tmp_path, text.encode(), f"mine.{suffix}"))
    assert [a.text for a in answers.answers] == ['a "b"\nc', long]
    assert answers.name == "mine"


def test_a_csv_that_is_cut_off_is_refused(tmp_path):
    for text in (b"instruction,output\none,1\ntwo", b'instruction,output\none,"1'):
        with pytest.raises(InputError, match="cut off|no CSV"):
            read_all_answers(written(tmp_path, text, "mine.csv"))


def test_answers_and_verdicts_as_parquet_are_read(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table(COLUMNS), tmp_path / "mine.parquet")
    (answers,) = read_all_answers(tmp_path / "mine.parquet")
    assert [a.text for a in answers.answers] == ["1", ""]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1....")
    with pytest.raises(InputError, match="no intact Parquet"):
        read_all_answers(tmp_path / "bad.parquet")


def test_verdicts_as_csv_are_read(tmp_path):
    text = "instruction,output_1,output_2,preference\na,x,y,2.0\nb,x,y,\nc,x,y,1.25\n"
    (loaded,) = read_verdicts(written(tmp_path, text.encode(), "a.csv"))
    values = [v.parsed and orient_preference(v.parsed.value, i) for v, i in
              zip(loaded.verdicts, "abc", strict=True)]  # fmt: skip
    assert values == [1.0, None, 0.25]


@pytest.mark.parametrize("generators", [("a", "b"), ("", ""), (3, 3)])
def test_without_one_generator_the_file_names_the_answers(tmp_path, generators):
    texts = ("one", "two")
    data = [row(t) | {"generator": g} for t, g in zip(texts, generators, strict=True)]
    assert read_answers(written(tmp_path, data, "my.v2.json.gz"), PROMPTS).name == "my.v2"


def test_a_byte_order_mark_does_no_harm(tmp_path):
    data = b"\xef\xbb\xbf" + json.dumps([row("one"), row("two")]).encode()
    assert len(read_answers(written(tmp_path, data), PROMPTS).answers) == 2


BOTH = [row("one"), row("two")]
BAD_ROWS = {
    "none": ([], r"has no answers"),
    "unknown": ([*BOTH, row("three")], r"1 of 3 instructions are not .*'three': .*--bench"),
    "doubled": ([*BOTH, row("two", "y")], r"1 instructions are repeated, .*'two'"),
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
    "latin": (b'["\xe4"]', r"is not UTF-8 \(byte 2\)"),
    "broken gzip": (b"\x1f\x8b\x08broken", r"broken gzip"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_reported_in_one_line(tmp_path, case):
    data, message = BAD_ROWS[case]
    path = written(tmp_path, data)
    with pytest.raises(InputError, match=message) as caught:
        read_answers(path, PROMPTS)
    text = str(caught.value)
    assert text.startswith((str(path), f"cannot read {path}"))
    assert "\n" not in text
    assert len(text) < 400 + len(str(path))


def test_a_truncated_gzip_file_is_reported(tmp_path):
    path = written(tmp_path, BOTH, "a.json.gz")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="cut off or broken gzip"):
        read_answers(path, PROMPTS)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"nope\.json does not exist; name a file"):
        read_answers(tmp_path / "nope.json", PROMPTS)
    with pytest.raises(InputError, match="Is a directory"):
        read_answers(tmp_path, PROMPTS)


def test_missing_answers_are_counted(tmp_path):
    loaded = read_answers(written(tmp_path, [row("two")]), PROMPTS)
    assert loaded == Answers("g", (Answer("id two", "x"),), missing=1)
