"""Pairs of files and data sets: the forms that published sets have, and what is left out."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from harness.core.config import identity
from harness.errors import ConfigError, InputError, MissingDependencyError
from harness.training.conversations import UnusableRowError
from harness.training.preference_rows import LeftOutError, PairColumns, read_preference
from harness.training.preferences import PreferencePairs, PreferenceSelection
from harness.types import Message

USER, GOOD, BAD = (
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "yes"},
    {"role": "assistant", "content": "no"},
)
EARLIER = [{"role": "user", "content": "zero?"}, {"role": "assistant", "content": "0"}, USER]
HH = "\n\nHuman: zero?\n\nAssistant: 0\n\nHuman: one?\n\nAssistant:"


def read(row: Any, **columns: str):
    return read_preference(row, PairColumns(**columns))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "one?", "chosen": "yes", "rejected": "no"},  # TRL, explicit
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},  # TRL, implicit
        {"prompt": "one?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},  # UltraFeedback
        {"prompt": None, "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": [USER], "chosen": GOOD, "rejected": "no"},
        {"question": "one?", "chosen": "yes", "rejected": "no"},
        {"context": [USER], "response1": "yes", "response2": "no", "overall_preference": -2},
        {"context": [USER], "response1": "no", "response2": "yes", "overall_preference": 1},
        {"real": [USER, GOOD], "generated": [USER, BAD]},  # SPIN
        {
            "chosen": "\n\nHuman: one?\n\nAssistant: yes",
            "rejected": "\n\nHuman: one?\n\nAssistant: no",
        },
        {"prompt": "\n\nHuman: one?\n\nAssistant:", "chosen": "yes", "rejected": "no"},
        {"prompt": "one?", "chosen": json.dumps([USER, GOOD]), "rejected": json.dumps([BAD])},
        {
            "chosen": [{"from": "human", "value": "one?"}, {"from": "gpt", "value": "yes"}],
            "rejected": [{"from": "human", "value": "one?"}, {"from": "gpt", "value": "no"}],
        },
    ],
)
def test_a_row_of_any_known_form_is_read(row):
    pair = read(row)
    assert pair.prompt.messages == (Message("user", "one?"),)
    assert (pair.chosen, pair.rejected) == ("yes", "no")


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": [*EARLIER, GOOD], "rejected": [*EARLIER, BAD]},
        {"prompt": "one?", "chosen": [*EARLIER, GOOD], "rejected": [*EARLIER, BAD]},
        {"prompt": "zero?", "chosen": [*EARLIER, GOOD], "rejected": [*EARLIER, BAD]},
        {"prompt": EARLIER, "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": f"{HH} yes", "rejected": f"{HH} no"},
        {"context": EARLIER, "response1": "no", "response2": "yes", "overall_preference": 3},
    ],
)
def test_the_turns_before_the_answers_are_the_prompt(row):
    roles = [m.role for m in read(row).prompt.messages]
    assert roles == ["user", "assistant", "user"]
    assert (read(row).chosen, read(row).rejected) == ("yes", "no")


def test_answers_that_begin_alike_keep_their_beginnings():
    # TRL cuts at the first character that differs, so that the prompt would end in "bl"
    row = {
        "chosen": [USER, {**GOOD, "content": "blue"}],
        "rejected": [USER, {**BAD, "content": "black"}],
    }
    assert (read(row).chosen, read(row).rejected) == ("blue", "black")
    assert read(row).prompt.text == "one?"


def test_an_answer_that_is_json_is_text():
    for answer in ('[{"a": 1}]', '[{"role": "king"}]', "[{not json}]"):
        assert read({"prompt": "one?", "chosen": answer, "rejected": "no"}).chosen == answer


def test_an_answer_that_names_an_assistant_is_text():
    for answer in ("Assistant: yes", "Human: no\n\nnothing"):
        assert read({"prompt": "one?", "chosen": answer, "rejected": "no"}).chosen == answer


def test_empty_cells_are_no_scores():
    row = {"prompt": "one?", "chosen": "yes", "rejected": "no"}
    for empty in (None, "", float("nan")):
        pair = read({**row, "score_chosen": empty, "score_rejected": 1, "probability": empty})
        assert (pair.scores, pair.probability) == (None, 1.0)


def test_system_turns_are_part_of_the_prompt():
    system = {"role": "system", "content": "Be brief."}
    rows = (
        {"system": "Be brief.", "prompt": "one?", "chosen": "yes", "rejected": "no"},
        {"prompt": "one?", "chosen": [system, USER, GOOD], "rejected": [system, USER, BAD]},
        {"prompt": [system, USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    )
    for row in rows:
        assert [m.role for m in read(row).prompt.messages] == ["system", "user"]


def test_scores_probabilities_and_named_columns_are_read():
    row = {"prompt": "one?", "chosen": "yes", "rejected": "no"}
    assert (read(row).probability, read(row).scores) == (1.0, None)
    scored = {**row, "score_chosen": 7, "score_rejected": 2.5, "probability": 0.75}
    assert (read(scored).probability, read(scored).scores) == (0.75, (7.0, 2.5))
    assert read({**row, "chosen-rating": "4", "rejected-rating": 1}).scores == (4.0, 1.0)
    other = {"q": "one?", "a": "yes", "b": "no", "p": 0.9, "s": 1, "t": 0}
    names = {"prompt": "q", "chosen": "a", "rejected": "b", "probability": "p"}
    pair = read(other, **names, score_chosen="s", score_rejected="t")
    assert (pair.prompt.text, pair.chosen, pair.rejected) == ("one?", "yes", "no")
    assert (pair.probability, pair.scores) == (0.9, (1.0, 0.0))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"prompt": "one?", "chosen": "yes", "rejected": "yes"}, "identical"),
        ({"prompt": "one?", "chosen": "yes", "rejected": " "}, "empty response"),
        ({"prompt": "one?", "chosen": [{**GOOD, "content": ""}], "rejected": "no"}, "empty"),
        ({"chosen": f"{HH} yes", "rejected": f"{HH}"}, "not ended by the assistant"),
        ({"chosen": [USER], "rejected": [USER, BAD]}, "not ended by the assistant"),
        ({"chosen": [USER, GOOD], "rejected": [*EARLIER, BAD]}, "different prompts"),
        ({"prompt": "two?", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "different prompts"),
        (
            {"context": [USER], "response1": "a", "response2": "b", "overall_preference": 0},
            "tie",
        ),
        (
            {
                "chosen": "\n\nHuman: \n\nAssistant: 0\n\nHuman: one?\n\nAssistant: yes",
                "rejected": "\n\nHuman: \n\nAssistant: 0\n\nHuman: one?\n\nAssistant: no",
            },
            "empty turn",
        ),
    ],
)
def test_pairs_as_published_sets_have_them_are_left_out_by_reason(row, why):
    with pytest.raises(LeftOutError, match=why):
        read(row)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (["x"], "is a list: expected a JSON object with 'chosen' and 'rejected'"),
        ({"prompt": "one?", "chosen": "yes"}, "no column 'rejected'.*pairs.columns.rejected"),
        ({"chosen": "yes", "rejected": "no"}, "no column 'prompt'.*pairs.columns.prompt"),
        ({"prompt": "one?", "chosen": None, "rejected": "no"}, "chosen is null"),
        ({"prompt": "one?", "chosen": 3, "rejected": "no"}, "chosen is a number"),
        ({"prompt": "one?", "chosen": "yes", "rejected": "\ud800"}, "rejected .*lone surrogate"),
        ({"prompt": "", "chosen": "yes", "rejected": "no"}, "prompt is empty"),
        ({"prompt": [GOOD], "chosen": "yes", "rejected": "no"}, "no turn of the user"),
        ({"prompt": "x", "chosen": "a", "rejected": "b", "probability": 2}, "probability is 2"),
        ({"prompt": "x", "chosen": "a", "rejected": "b", "probability": "no"}, "expected a number"),
        ({"context": [USER], "response1": "a", "response2": "b"}, "overall_preference is 'None'"),
        (
            {"prompt": "x", "chosen": [{**GOOD, "tool_calls": [1]}], "rejected": "b"},
            "tool calls",
        ),
    ],
)
def test_a_row_that_is_no_pair_is_refused(row, why):
    with pytest.raises(UnusableRowError, match=why):
        read(row)


def written(path: Path, *rows: Any, **settings: Any) -> PreferencePairs:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text(text, "utf-8")
    return PreferencePairs(path=str(path), **settings)


def pair(number: int, chosen: str = "yes") -> dict[str, str]:
    return {"prompt": f"question {number}", "chosen": chosen, "rejected": "no"}


def prompts(selection: PreferenceSelection) -> list[str]:
    return [row.prompt.text for row in selection.rows]


def test_files_of_every_kind_are_read_alike(tmp_path):
    rows = [pair(0), pair(1)]
    sources = [written(tmp_path / "a.jsonl", *rows), written(tmp_path / "b.json", json.dumps(rows))]
    with open(tmp_path / "c.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "d.parquet")
    sources += [PreferencePairs(path=str(tmp_path / name)) for name in ("c.csv", "d.parquet")]
    assert [prompts(source.select()) for source in sources] == [["question 0", "question 1"]] * 4


def test_a_row_that_is_no_pair_is_named_by_its_line_or_dropped(tmp_path):
    lines = (pair(0), "{", {"prompt": "x", "chosen": None, "rejected": "y"})
    with pytest.raises(InputError) as error:
        written(tmp_path / "pairs.jsonl", *lines).select()
    message = str(error.value)
    assert "line 2: is not JSON" in message
    assert "1 more such rows; mend the file, or drop such rows with --set pairs.drop_bad" in message
    selection = written(tmp_path / "pairs.jsonl", *lines, drop_bad=True).select()
    assert (len(selection.rows), selection.dropped.largest()) == (1, "unusable: 2")


def test_repeated_and_left_out_pairs_are_counted(tmp_path):
    rows = [pair(0), pair(0), pair(0, "indeed"), pair(1, "no")]
    selection = written(tmp_path / "pairs.jsonl", *rows).select()
    assert [(row.prompt.text, row.chosen) for row in selection.rows] == [
        ("question 0", "yes"),
        ("question 0", "indeed"),
    ]
    assert {row.reason: row.count for row in selection.dropped.rows} == {
        "repeated": 1,
        "identical": 1,
    }


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "is empty: it holds no pair"),
        ([pair(0, "no")], r"all 1 rows are dropped \(identical, line 1\)"),
    ],
)
def test_a_file_without_a_pair_is_refused(tmp_path, rows, why):
    with pytest.raises(InputError, match=why):
        written(tmp_path / "pairs.jsonl", *rows).select()


def test_every_iteration_has_the_next_part(tmp_path):
    source = written(tmp_path / "pairs.jsonl", *map(pair, range(7)), count=5)
    parts = [prompts(source.select(part, 2)) for part in (1, 2)]
    assert parts == [[f"question {n}" for n in range(2)], [f"question {n}" for n in range(2, 5)]]
    with pytest.raises(InputError, match="has 5 pairs for 6 iterations"):
        source.select(1, 6)


def test_responses_that_repeat_the_prompt_are_refused(tmp_path):
    question = "what is the capital of France?"
    rows = [{"prompt": question, "chosen": question + str(n), "rejected": question} for n in (1, 2)]
    with pytest.raises(InputError, match="in 2 of 2 pairs both responses begin with the prompt"):
        written(tmp_path / "pairs.jsonl", *rows).select()


def test_scores_against_the_label_are_warned_of(tmp_path, caplog):
    rows = [{**pair(n), "score_chosen": 1, "score_rejected": 2 * n} for n in range(3)]
    with caplog.at_level(logging.WARNING):
        written(tmp_path / "pairs.jsonl", *rows).select()
    assert "in 2 of 3 scored pairs the rejected response has the higher score" in caplog.text


def test_pairs_are_known_by_their_content_and_a_data_set_by_its_id(tmp_path):
    path = tmp_path / "pairs.jsonl"
    identities = [identity(written(path, pair(n))) for n in (0, 1)]
    assert identities[0] != identities[1]
    moved = written(tmp_path / "moved.jsonl", pair(1))
    assert identity(moved) == identities[1]
    assert not PreferencePairs(path="HuggingFaceH4/ultrafeedback_binarized").is_file
    with pytest.raises(InputError, match="cannot read the pairs none.jsonl"):
        PreferencePairs(path="none.jsonl").fingerprint()
    with pytest.raises(ConfigError, match="--set pairs.path=FILE"):
        PreferencePairs().select()


def test_a_data_set_of_the_hub_is_read_at_its_revision(monkeypatch):
    import datasets

    calls = []

    def load(path, **settings):
        calls.append((path, settings))
        context = [USER]
        row = {"context": context, "response1": "no", "response2": "yes", "overall_preference": 2}
        return [row, {**row, "overall_preference": 0}]

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = PreferencePairs(
        path="nvidia/HelpSteer3", subset="preference", split="train", revision="abc"
    )
    selection = source.select()
    assert [(row.chosen, row.rejected) for row in selection.rows] == [("yes", "no")]
    assert selection.dropped.largest() == "tie: 1"
    settings = {"name": "preference", "revision": "abc", "split": "train"}
    assert calls == [("nvidia/HelpSteer3", settings)]

    def fail(path, **settings):
        raise OSError("offline")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(
        MissingDependencyError, match=r"cannot load the pairs .*--set 'pairs\.path=FILE'"
    ):
        source.select()
