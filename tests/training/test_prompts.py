"""Prompts as people have them: formats of files, columns, unusable and repeated rows."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from harness.errors import InputError
from harness.training.conversations import read_prompt
from harness.training.prompt_selection import PromptSelection, that_fit, without_repeated_ids
from harness.training.sources import FilePrompts, HubPrompts
from harness.types import Message, Policy, Prompt

USER = {"role": "user", "content": "one"}
SHAREGPT = [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"}]


def write(path: Path, *rows: Any) -> FilePrompts:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), "utf-8")
    return FilePrompts(path=str(path))


def texts(source: FilePrompts, iteration: int = 1) -> list[str]:
    return [prompt.text for prompt in source.prompts(iteration)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "one"},
        {"prompt": [USER]},
        {"messages": [USER]},
        {"context_messages": [USER]},
        {"conversations": SHAREGPT},
        {"instruction": "one"},
        {"instruction": "one", "input": "", "output": "two"},
        {"prompt": [{"role": "user", "content": [{"type": "text", "text": "one"}]}]},
        {"messages": [{"role": "Human", "content": ["o", "ne"], "tool_calls": None}]},
        {"messages": None, "prompt": "one"},
        {"prompt": "one", "messages": [USER, {"role": "assistant", "content": "two"}]},
    ],
)
def test_a_row_of_any_known_form_is_read(row):
    assert read_prompt(row)[0].messages == (Message("user", "one"),)


def test_instructions_have_their_input_and_conversations_their_system_turn():
    prompt, _ = read_prompt({"instruction": "add", "input": "2 and 3", "system": "Be brief."})
    assert prompt.messages == (Message("system", "Be brief."), Message("user", "add\n2 and 3"))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"prompt": None}, "prompt is null"),
        ({"prompt": " \n"}, "prompt is empty"),
        ({"prompt": 3}, "prompt is a number"),
        ({"prompt": {}}, "prompt is an object"),
        ({"prompt": "\ud800"}, "lone surrogate"),
        ({"prompt": "x", "id": [1]}, "id is a list"),
        ({"messages": []}, "messages is an empty list"),
        (
            {"messages": [{"role": "system", "content": None}, USER]},
            r"messages\[0\].content is nul",
        ),
        ({"messages": [{"role": "system", "content": "x"}]}, "no turn of the user"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "is image"),
        ({"messages": [{"role": "tool", "content": "x"}, USER]}, "'tool'"),
        ({"messages": [{"content": "x"}]}, "role is 'None'"),
        ({"messages": [{**USER, "tool_calls": [{"id": 1}]}]}, "tool calls"),
        ({"question": "x"}, "--set prompts.column"),
        (["x"], "is a list"),
    ],
)
def test_an_unusable_row_is_refused_by_its_line_or_dropped_and_counted(tmp_path, row, why):
    source = write(tmp_path / "prompts.jsonl", {"prompt": "good"}, "", row)
    with pytest.raises(InputError, match=f"line 3: .*{why}.*drop_bad=true"):
        source.prompts(1)
    selection = source.model_copy(update={"drop_bad": True}).select(1)
    assert [p.text for p in selection.prompts] == ["good"]
    (row,) = selection.dropped.rows
    assert (row.reason, row.count) == ("unusable", 1)
    assert "line 3" in row.example


def test_json_lines_are_split_at_line_feeds_alone(tmp_path):
    rows = ['{"prompt": "a\u2028b"}', '{"prompt": "c\u0085d"}\r', '{"prompt": "e"}']
    assert texts(write(tmp_path / "prompts.jsonl", *rows)) == ["a\u2028b", "c\u0085d", "e"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_of_byte_order_are_read(tmp_path, encoding):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes('{"prompt": "é"}\r\n{"prompt": "ß"}\r\n'.encode(encoding))
    assert texts(FilePrompts(path=str(path))) == ["é", "ß"]


def test_every_format_of_a_file_gives_the_same_prompts(tmp_path):
    rows = [{"prompt": "one, two", "id": 0}, {"prompt": 'a "b"\nc', "id": 1}]
    (tmp_path / "indented.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "array.jsonl").write_text(json.dumps(rows))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    for name, separator in (("p.csv", ","), ("p.tsv", "\t")):
        with open(tmp_path / name, "w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "prompt"], delimiter=separator)
            writer.writeheader()
            writer.writerows(rows)
    read = {p.name: FilePrompts(path=str(p)).prompts(1) for p in tmp_path.iterdir()}
    assert len(read) == 6
    for prompts in read.values():
        assert [(p.id, p.text) for p in prompts] == [("0", "one, two"), ("1", 'a "b"\nc')]


def test_conversations_are_read_from_parquet_and_from_json_in_csv(tmp_path):
    rows = [{"messages": [USER, {"role": "assistant", "content": "two"}, USER]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    with open(tmp_path / "p.csv", "w", newline="") as file:
        csv.writer(file).writerows([["messages"], [json.dumps(rows[0]["messages"])]])
    for name in ("p.parquet", "p.csv"):
        (prompt,) = FilePrompts(path=str(tmp_path / name)).prompts(1)
        assert [m.role for m in prompt.messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("p.jsonl", b"", "is empty: it holds no prompt"),
        ("p.jsonl", b"\n \n", "is empty: it holds no prompt"),
        ("p.json", b"[]", "is empty: it holds no prompt"),
        ("p.csv", b"prompt\n", "is empty: it holds no prompt"),
        ("p.jsonl", b'{"prompt": "\xff"}', "cannot read the prompts"),
        ("p.json", b"[1", "cannot read the prompts"),
        ("p.csv", b'prompt\n"a"b\n', "is not CSV"),
        ("p.parquet", b"PAR", "is not Parquet"),
    ],
)
def test_a_file_without_prompts_or_of_another_format_is_named(tmp_path, name, content, why):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=why):
        FilePrompts(path=str(path)).prompts(1)


def test_where_no_row_is_kept_the_largest_cause_is_named(tmp_path):
    source = write(tmp_path / "p.jsonl", "{", {"prompt": ""})
    with pytest.raises(InputError, match="all 2 rows are dropped .line 1"):
        source.model_copy(update={"drop_bad": True}).prompts(1)


def test_repeated_prompts_and_ids_are_dropped_and_counted(tmp_path):
    rows = [{"prompt": "a"}, {"prompt": "a"}, {"prompt": "b", "id": 0}, {"prompt": "c", "id": 0}]
    selection = write(tmp_path / "p.jsonl", *rows).select(1)
    assert [p.text for p in selection.prompts] == ["a", "b"]
    assert {row.reason: row.count for row in selection.dropped.rows} == {
        "repeated": 1,
        "repeated id": 1,
    }
    assert selection.total == 4


def test_the_cut_before_the_assistants_last_turn_is_said_once(tmp_path, caplog):
    answered = [{"messages": [{**USER, "content": c}, {**USER, "role": "gpt"}]} for c in "ab"]
    with caplog.at_level(logging.INFO):
        assert texts(write(tmp_path / "p.jsonl", *answered, {"prompt": "c"})) == ["a", "b", "c"]
    (line,) = caplog.messages
    assert "2 of 3 conversations end with the assistant" in line


def test_iterations_take_successive_slices_of_different_prompts(tmp_path):
    source = write(tmp_path / "p.jsonl", *({"prompt": c} for c in "aabcde"))
    sliced = FilePrompts(path=source.path, count=2, successive=True)
    assert [texts(sliced, t) for t in (1, 2, 3)] == [["a", "b"], ["c", "d"], ["e"]]
    with pytest.raises(InputError, match="after the first 6 different ones"):
        sliced.prompts(4)
    with pytest.raises(ValueError, match="needs `count`"):
        FilePrompts(path=source.path, successive=True)


def test_a_source_that_gives_an_id_twice_loses_the_second():
    prompts = [Prompt("x", (Message("user", c),)) for c in "ab"]
    selection = without_repeated_ids(PromptSelection(prompts))
    assert [p.text for p in selection.prompts] == ["a"]


def test_prompts_that_fill_the_context_are_dropped_and_counted(tiny_policy):
    short, long = (Prompt(n, (Message("user", "one " * k),)) for n, k in (("s", 1), ("l", 5000)))
    policy = Policy("tiny", tiny_policy)
    selection = that_fit(PromptSelection([long, short]), policy, limit=None, drop_bad=False)
    assert [p.id for p in selection.prompts] == ["s"]
    assert selection.dropped.largest() == "longer than the context: 1"
    with pytest.raises(InputError, match="no prompt is left.*longer than the context: 1"):
        that_fit(PromptSelection([long]), policy, limit=None, drop_bad=False)
    with pytest.raises(InputError, match="no prompt is left"):
        that_fit(PromptSelection([short]), policy, limit=2, drop_bad=False)


def test_what_the_template_refuses_is_named_before_anything_is_sampled(tiny_policy, tmp_path):
    template = tmp_path / "strict.jinja"
    template.write_text("{% if messages|length > 1 %}{{ raise_exception('one turn') }}{% endif %}x")
    policy = Policy("tiny", tiny_policy, chat_template=str(template))
    turn = Message("user", "one")
    selection = PromptSelection([Prompt("two", (turn, turn)), Prompt("one", (turn,))])
    with pytest.raises(InputError, match="prompt 'two': the chat template ref.*one turn.*drop_bad"):
        that_fit(selection, policy, limit=None, drop_bad=False)
    retained = that_fit(selection, policy, limit=None, drop_bad=True)
    assert retained.dropped.largest() == "not in the chat template: 1"


def test_each_iterations_dataset_has_its_own_commit(monkeypatch):
    import datasets

    asked = []

    def load(name: str, revision: str, split: str) -> list[dict[str, str]]:
        asked.append((name, revision, split))
        return [{"prompt": name}]

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = HubPrompts(datasets=["a", "b"], revision=["1", "2"])
    assert [source.prompts(t)[0].text for t in (1, 2, 3)] == ["a", "b", "b"]
    assert asked == [("a", "1", "train"), ("b", "2", "train"), ("b", "2", "train")]
    with pytest.raises(ValueError, match="1 commits for 2 datasets"):
        HubPrompts(datasets=["a", "b"], revision=["1"])


def test_a_home_directory_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "p.jsonl", {"prompt": "a"})
    assert texts(FilePrompts(path="~/p.jsonl")) == ["a"]
