"""FastChat's files: written files are read back, and bad rows give an error of one line."""

import gzip
import json

import pytest

from harness.benchmarks.mt_bench import files
from harness.errors import AssetError, InputError
from harness.types import Answer, Answers, Graded, ParsedVerdict, Verdict


def answer_row(number=81, turns=("one", "two"), **more):
    row = {
        "question_id": number,
        "model_id": "m",
        "choices": [{"index": 0, "turns": list(turns)}],
    }
    return {**row, **more}


def verdict_row(number=81, turn=1, score=5, **more):
    row = {"question_id": number, "turn": turn, "model": "m", "judge": ["gpt-4", "single-v1"]}
    return {**row, "score": score, **more}


def written(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    lines = (
        rows if isinstance(rows, bytes) else b"".join(json.dumps(r).encode() + b"\n" for r in rows)
    )
    path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_answers_come_in_the_order_of_the_turns(tmp_path, name):
    rows = [answer_row(82, ["c", ""]), answer_row(81, [{"content": "a"}, {"content": "b"}])]
    (loaded,) = files.read_answers(written(tmp_path, rows, name))
    answers = (Answer("81#1", "a"), Answer("82#1", "c"), Answer("81#2", "b"), Answer("82#2", ""))
    assert loaded == Answers("m", answers, missing=156)


def test_contestants_of_one_answers_file_are_separated(tmp_path):
    rows = [answer_row(), answer_row(model_id="n"), answer_row(83, model_id=None)]
    loaded = files.read_answers(written(tmp_path, rows))
    assert [contestant.name for contestant in loaded] == ["m", "n", "rows"]


def test_an_absent_turn_is_missing(tmp_path):
    (loaded,) = files.read_answers(written(tmp_path, [answer_row(turns=["one"])]))
    assert loaded == Answers("m", (Answer("81#1", "one"),), missing=159)


def graded(bench, label="me"):
    """Return all answers, with integer, half and missing ratings, and one answer rated twice."""
    first = [Answer(p.id, f"ü {p.id}\n\nA: {{x}}", "stop") for p in bench.prompts()]
    second_turns = bench.next_prompts(bench.prompts(), first)
    answers = (*first, *(Answer(p.id, f"two {p.id}", "length") for p in second_turns))
    prompts = (*bench.prompts(), *second_turns)
    ratings = [None, 1.0, 8.5, 10.0]
    verdicts = [
        Verdict(
            a.prompt_id,
            None if (r := ratings[i % 4]) is None else ParsedVerdict(r),
            "gpt-4-0613",
            text,
        )
        for i, a in enumerate(answers)
        for text in [f"so: [[{ratings[i % 4]}]]\n"]
    ]
    verdicts.append(Verdict("81#1", ParsedVerdict(2.0), "gpt-4", ""))
    return Graded(label, "gpt-4", answers, (), tuple(verdicts), prompts, "none")


def file_content(contestant):
    """Return everything about a contestant that FastChat's files hold."""
    prompts = [(p.id, p.messages, p.meta["category"]) for p in contestant.prompts]
    answers = [(a.prompt_id, a.text) for a in contestant.answers]
    return (
        contestant.label,
        contestant.judge,
        answers,
        contestant.verdicts,
        prompts,
        contestant.baseline_label,
        contestant.notes,
    )


def test_written_files_are_read_back(mt_bench, tmp_path):
    contestant = graded(mt_bench)
    texts = mt_bench.files(contestant)
    assert set(texts) == {"model_judgment/gpt-4_single.jsonl", "model_answer/me.jsonl"}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (answers,) = mt_bench.read_answers(tmp_path / "model_answer/me.jsonl")
    assert answers == Answers("me", contestant.answers)
    (again,) = mt_bench.read_verdicts(tmp_path / "model_judgment/gpt-4_single.jsonl")
    assert file_content(again) == file_content(contestant)
    assert mt_bench.score([again])[0].estimates == mt_bench.score([contestant])[0].estimates
    row = json.loads(texts["model_judgment/gpt-4_single.jsonl"].splitlines()[1])
    assert (row["judge"], row["score"], row["turn"]) == (["gpt-4", "single-v1"], 1, 1)
    assert "ü 82#1\n\nA: {x}\n[/A]" in row["user_prompt"]


def test_verdicts_alone_are_read_without_the_protocols_texts(mt_bench, monkeypatch, tmp_path):
    contestant = graded(mt_bench)
    path = written(
        tmp_path, mt_bench.files(contestant)["model_judgment/gpt-4_single.jsonl"].encode()
    )

    def absent(_):
        raise AssetError("none")

    monkeypatch.setattr("harness.benchmarks.mt_bench.data.load_texts", absent)
    (loaded,) = mt_bench.read_verdicts(path)
    assert (loaded.verdicts, loaded.answers, loaded.prompts) == (contestant.verdicts, (), ())
    assert '"user_prompt": ""' in mt_bench.files(loaded)["model_judgment/gpt-4_single.jsonl"]


def test_an_answer_to_the_first_turn_is_recovered_from_the_seconds_prompt(mt_bench, tmp_path):
    contestant = graded(mt_bench)
    rows = mt_bench.files(contestant)["model_judgment/gpt-4_single.jsonl"].splitlines()
    second = [row for row in rows if '"turn": 2' in row]
    (loaded,) = mt_bench.read_verdicts(written(tmp_path, "\n".join(second).encode()))
    assert [a.text for a in loaded.answers] == [a.text for a in contestant.answers]
    assert len(loaded.verdicts) == 80


def test_peculiarities_of_a_verdicts_file_are_noted(mt_bench, tmp_path):
    rows = [
        verdict_row(judgment="Rating: [[4]]", user_prompt="Something else"),
        verdict_row(82, judgment="Rating: [[5]]", judge=["claude-v1", "single-v1"]),
        verdict_row(83, judgment="[[99]]", score=-1, judge="gpt-4"),
        verdict_row(84, model="n", judge=None),
    ]
    first, second, other = mt_bench.read_verdicts(written(tmp_path, rows))
    judges = (
        "the file holds verdicts of several judges, each scored by itself: gpt-4 (2), claude-v1 (1)"
    )
    assert first.notes == (
        "1 stored scores differ from their judgments: the stored ones count",
        "1 verdicts answer another prompt than the protocol's",
        judges,
    )
    assert second.notes == (judges,)
    assert [(g.judge, [v.model for v in g.verdicts]) for g in (first, second)] == [
        ("gpt-4", ["gpt-4", "gpt-4"]),
        ("claude-v1", ["claude-v1"]),
    ]
    assert (other.label, other.judge, other.notes) == ("n", "unknown judge", ())


def test_verdicts_of_an_unnamed_judge_are_the_named_ones(mt_bench, tmp_path):
    rows = [verdict_row(), verdict_row(82, judge=None)]
    (loaded,) = mt_bench.read_verdicts(written(tmp_path, rows))
    assert (loaded.judge, len(loaded.verdicts)) == ("gpt-4", 2)


@pytest.mark.parametrize(("number", "turn"), [("81", "1"), (81.0, 1.0), (81, 1)])
def test_numbers_may_be_written_as_text_or_with_a_point(mt_bench, tmp_path, number, turn):
    (loaded,) = mt_bench.read_verdicts(written(tmp_path, [verdict_row(number, turn=turn)]))
    assert loaded.verdicts[0].request_id == "81#1"


@pytest.mark.parametrize("score", [-1, None, float("nan")])
def test_a_missing_rating_is_none(mt_bench, tmp_path, score):
    (loaded,) = mt_bench.read_verdicts(written(tmp_path, [verdict_row(score=score)]))
    assert loaded.verdicts == (Verdict("81#1", None, "gpt-4"),)


ANSWERS = {
    "empty": (b"\n\n", "has no answers"),
    "cut": (b'{"question_id": 81}\n{"question_id": 82, "cho', r"line 2 is not JSON .*cut off"),
    "list": (b"[1]\n", "line 1 holds a list"),
    "latin": (b'{"a": "\xe4"}', r"is not UTF-8 \(byte 7\)"),
    "utf-16": ('{"question_id": 81}'.encode("utf-16"), "is not UTF-8"),
    "unknown": ([answer_row(), answer_row(1)], r"question 1, turn 1, is not this benchmark's"),
    "other": ([answer_row("q1")], r"question 'q1', turn 1, is not this benchmark's"),
    "no number": ([{"choices": []}], r"question None"),
    "truth": ([answer_row(True)], r"question True"),
    "twice": ([answer_row(), answer_row()], "question 81 is answered twice"),
    "no choices": ([answer_row(choices=[])], r"the answer to question 81 has an unexpected form"),
    "null": ([answer_row(turns=["a", None])], r"question 81 has an answer whose 'turn' is null"),
    "three": ([answer_row(turns="abc")], "has 3 turns, not 2"),
    "surrogate": (b'{"question_id": 81, "choices": [{"turns": ["\\ud800"]}]}', "surrogate pair"),
}
VERDICTS = {
    "empty": (b"", "is empty"),
    "cut": (b'{"question_id": 81', r"line 1 is not JSON .*cut off"),
    "no model": ([{"question_id": 81, "turn": 1, "score": 1}], r"row 0 .*has no 'model'"),
    "turn": ([verdict_row(turn=3)], r"question 81, turn 3, is not this benchmark's"),
    "no turn": ([verdict_row(turn=None)], r"turn None"),
    "unknown": ([verdict_row(161)], r"question 161, turn 1"),
    "text": ([verdict_row(score="8")], r"the score of 81#1 is text; it must be a number"),
    "truth": ([verdict_row(score=True)], r"the score of 81#1 is a boolean"),
    "infinite": ([verdict_row(score=float("inf"))], r"the score of 81#1 is inf"),
    "pairwise": ([{"question_id": 81, "g1_winner": "tie", "model_1": "m"}], "pairwise verdicts"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_bad_answers_are_reported_in_one_line(mt_bench, tmp_path, case):
    rows, message = ANSWERS[case]
    refused(mt_bench.read_answers, written(tmp_path, rows), message)


@pytest.mark.parametrize("case", VERDICTS)
def test_bad_verdicts_are_reported_in_one_line(mt_bench, tmp_path, case):
    rows, message = VERDICTS[case]
    refused(mt_bench.read_verdicts, written(tmp_path, rows), message)


def refused(read, path, message):
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 400 + len(str(path))
