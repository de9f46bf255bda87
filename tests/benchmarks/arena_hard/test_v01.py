"""Arena-Hard v0.1: rules calculated by hand, files in both layouts, bad rows."""

import gzip
import json
import pathlib
from dataclasses import replace

import pytest

from harness.benchmarks.arena_hard import files, judgments
from harness.benchmarks.arena_hard import verdicts as rules
from harness.benchmarks.arena_hard.v01 import CONTINUE_REQUEST, ArenaHard
from harness.errors import CheckError, InputError
from harness.types import (
    Answer,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    Reply,
    Verdict,
)

BENCH = ArenaHard(sampling={}, assets="nowhere")
PROMPTS = [Prompt(name, (Message("user", f"{name}?"),)) for name in ("q1", "q2", "q3")]


def reply(text):
    return Reply(text, None, "stop", "j", 1, 1)


@pytest.mark.parametrize(
    ("texts", "label"),
    [
        (["[[A>B]]"], "A>B"),
        (["so [[B>>A]], again [[B>>A]]"], "B>>A"),
        (["[[A>B]] or [[B>A]]"], None),
        (["nothing"], None),
        (["A>B", "[[A=B]]"], "A=B"),
        (["[[A<B]]"], None),
        (["[[A>>A]]"], None),
        (["[[a>b]]"], None),
        (["[[]] [[A>B]]"], "A>B"),
    ],
)
def test_one_label_is_parsed_and_different_labels_are_not(texts, label):
    parsed = BENCH.parse([reply(text) for text in texts])
    assert (parsed.label if parsed else None) == label


def test_the_judge_is_asked_once_to_continue_and_only_without_a_label():
    request = JudgeRequest("q1#1", (Message("system", "s"), Message("user", "u")), {"t": 0})
    more = BENCH.follow_up(request, [reply("hm")])
    assert more.messages[2:] == (Message("assistant", "hm"), Message("user", CONTINUE_REQUEST))
    assert (more.id, more.parameters) == ("q1#1", {"t": 0})
    assert BENCH.follow_up(request, [reply("hm"), reply("hm")]) is None
    assert BENCH.follow_up(request, [reply("[[A>B]] [[B>A]]")]) is None
    assert BENCH.follow_up(request, [reply("[[A<B]]")]) is None


def graded(labels, **fields):
    """Return a contestant with labels by prompt; game 1 shows the baseline first."""
    verdicts = tuple(
        Verdict(
            name + game, rules.parse_label(label, rules.LABEL_SCORES_V2), "j", f"so [[{label}]]"
        )
        for name, pair in labels.items()
        for game, label in zip(rules.GAME_SUFFIXES, pair, strict=False)
    )
    return Graded("me", "j", (), (), verdicts, baseline_label="gpt-4-0314", **fields)


LABELS = {"q1": ("B>>A", "A>B"), "q2": ("A>B", None), "q3": ("A=B", "B>>A")}


def test_the_score_by_hand():
    (score,) = BENCH.score([graded(LABELS)])
    # points 3 + 1, then 0 of one game, then 0.5 and 0 of 3: 4.5 of 3 + 1 + 1 + 1 + 3
    assert score.estimates["win_rate"].value == pytest.approx(100 * 4.5 / 9)
    assert score.counts == {
        "asked": 3,
        "judged": 3,
        "games": 6,
        "unparsed": 1,
        "n_wins": 2,
        "n_draws": 1,
        "n_wins_base": 2,
    }
    assert score.items[1] == {
        "prompt_id": "q2",
        "won": 0.0,
        "weight": 1,
        "unparsed": 1,
        "labels": ["A>B", None],
    }
    assert score.notes[0] == "1 of 6 games could not be parsed and are excluded"
    assert score.notes[1].startswith("only 5 games")


def test_upstream_drops_the_interval_by_prompt_and_rounds_twice():
    bench = ArenaHard(sampling={}, scoring={"compat": "upstream"})
    (score,) = bench.score([graded(LABELS)])
    assert score.estimates["win_rate"].value == 50.0
    assert score.details["seed"] == 42
    assert "prints 50.0" in score.notes[-1]


def test_a_contestant_without_parsed_games_is_an_error():
    with pytest.raises(CheckError, match="no game of me"):
        BENCH.score([graded({"q1": (None, None)})])


def with_answers():
    ours = tuple(Answer(p.id, f"ours {p.id} [[A>>B]]", "stop") for p in PROMPTS)
    return graded(LABELS, prompts=tuple(PROMPTS)), ours


@pytest.mark.parametrize("form", ["", "old/"])
@pytest.mark.parametrize("packed", [False, True])
def test_written_files_are_read_back(tmp_path, form, packed):
    plain, ours = with_answers()
    contestant = Graded(
        plain.label, plain.judge, ours, (), plain.verdicts, plain.prompts, "gpt-4-0314"
    )
    for name, text in files.files(contestant, {"q1": "sys"}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        path = path.with_name(path.name + ".gz") if packed else path
        path.write_bytes(gzip.compress(data) if packed else data)
    end = ".jsonl.gz" if packed else ".jsonl"
    (loaded,) = BENCH.read_verdicts(tmp_path / f"{form}model_judgment/j/me{end}")
    assert (loaded.label, loaded.judge, loaded.baseline_label) == ("me", "j", "gpt-4-0314")
    assert loaded.verdicts == plain.verdicts
    (answers,) = files.read_answers(tmp_path / f"{form}model_answer/me{end}", PROMPTS)
    assert (answers.name, answers.answers) == ("me", ours)
    folder = tmp_path / form if form else tmp_path / "model_judgment"
    assert BENCH.read_verdicts(folder)[0].verdicts == plain.verdicts


def test_answers_in_the_directory_are_joined_to_the_judgments(tmp_path):
    plain, ours = with_answers()
    contestant = Graded(plain.label, plain.judge, ours, (), plain.verdicts, plain.prompts)
    for name, text in files.files(contestant, {}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert BENCH.read_verdicts(tmp_path / "old")[0].answers == ours


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def battle(winner, question="q1", model="me"):
    fields = {"model_a": "gpt-4-0314", "model_b": model, "winner": winner}
    return {"question_id": question, **fields}


A, B, T = "model_a", "model_b", "tie"


@pytest.mark.parametrize(
    ("rows", "games"),
    [
        ([B], [(1, 1)]),
        ([A, T], [(0, 1), (0.5, 1)]),
        ([B, B], [(1, 1), (1, 1)]),
        ([B, B, B], [(1, 3)]),
        ([A, B, B, B], [(0, 1), (1, 3)]),
        ([B, B, B, A], [(1, 3), (0, 1)]),
        ([A, A, A, A], [(0, 3), (0, 1)]),
        ([A, A, A, B, B, B], [(0, 3), (1, 3)]),
        ([T, T], [(0.5, 1), (0.5, 1)]),
        ([B, B, B, B, B, B], [(1, 3), (1, 3)]),
    ],
)
def test_battles_are_decoded_and_written_again(tmp_path, rows, games):
    battles = [battle(winner) for winner in rows]
    (loaded,) = BENCH.read_verdicts(lines(tmp_path / "b.jsonl", battles))
    assert [(g.won, g.weight) for g in rules.parse_games(loaded.verdicts)] == games
    assert files.battle_rows(loaded) == battles


def test_a_migrated_judgment_and_a_game_that_is_null_are_read(tmp_path):
    row = {"uid": "q1", "model": "me", "judge": "j", "baseline": "b"}
    row["games"] = [{"user_prompt": "x", "judgment": "\nso [[A>B]]", "score": "A>B"}, None]
    (loaded,) = BENCH.read_verdicts(lines(tmp_path / "j.jsonl", [row]))
    assert loaded.verdicts == (
        Verdict("q1#1", ParsedVerdict(1.0, "A>B"), "j", "so [[A>B]]"),
        Verdict("q1#2", None, "j", ""),
    )


@pytest.mark.parametrize("label", ["A<B", "A>>A", "B=A", 3, {}])
def test_a_label_that_v01_does_not_know_is_counted_as_unparsed(tmp_path, label):
    row = {"question_id": "q1", "model": "me"}
    row["games"] = [{"score": label, "judgment": ""}, {"score": "A>B", "judgment": ""}]
    path = lines(tmp_path / "j.jsonl", [row])
    (score,) = BENCH.score(BENCH.read_verdicts(path))
    # the other game of the prompt is kept: game 2, in which ours was first
    assert (score.counts["games"], score.counts["unparsed"]) == (2, 1)
    assert score.estimates["win_rate"].value == 100
    (newer,) = judgments.read_verdicts(path, lambda *_: "b", rules.LABEL_SCORES_V2)
    assert (newer.graded.verdicts[0].parsed is not None) is (label in ("A<B", "B=A"))


def judged(question, model="me", **fields):
    game = {"judgment": "", "score": "A>B"}
    return {"question_id": question, "model": model, "judge": "j", "games": [game, game], **fields}


def test_judgments_that_name_no_baseline_were_made_against_the_protocols(tmp_path):
    rows = [judged("q1"), judged("q2", baseline="gpt-4-0314"), judged("q3", baseline="mine")]
    own, other = BENCH.read_verdicts(lines(tmp_path / "j.jsonl", rows))
    assert (own.baseline_label, len(own.verdicts)) == ("gpt-4-0314", 4)
    assert (other.baseline_label, len(other.verdicts)) == ("mine", 2)
    against = BENCH.model_copy(update={"against": "mine"})
    assert [g.baseline_label for g in against.read_verdicts(tmp_path / "j.jsonl")] == [
        "mine",
        "gpt-4-0314",
    ]


def test_the_bounds_of_old_judgments_are_anchored_at_upstreams_baseline(tmp_path):
    rows = [judged(f"q{i}", games=[{"score": s} for s in ("A>B", "A=B")]) for i in range(60)]
    explicit = [{**row, "baseline": "gpt-4-0314"} for row in rows]
    upstream = BENCH.model_copy(
        update={"scoring": BENCH.scoring.model_copy(update={"compat": "upstream"})}
    )
    bounds = []
    for name, written in (("old", rows), ("explicit", explicit)):
        path = lines(tmp_path / f"{name}.jsonl", written)
        (score,) = upstream.score(upstream.read_verdicts(path))
        bounds.append(score.estimates["win_rate"])
    assert bounds[0] == bounds[1]
    # half a point of two games: 25 %, and 100 resamples of 120 rows spread by about 2 points
    assert bounds[0].low < 23 < bounds[0].value == 25 < 27 < bounds[0].high


def test_a_directory_is_read_as_upstream_lays_it_out(tmp_path):
    answer = {"messages": [{"role": "assistant", "content": {"answer": "a"}}], "model": "other"}
    for name, rows in {
        "question.jsonl": [{"uid": "q1", "category": "c", "prompt": "p"}],
        "model_answer/me.jsonl": [{"uid": "q1", **answer}],
        "model_answer/base.jsonl": [{"uid": "q1", **answer}],
        "model_judgment/j/me.jsonl": [judged("q1", baseline="base")],
        "model_judgment/j/.me.jsonl.swp": [],
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        lines(tmp_path / name, rows)
    for path in ("", "model_judgment", "model_judgment/j", "model_judgment/j/me.jsonl"):
        (loaded,) = BENCH.read_verdicts(tmp_path / path)
        assert [a.text for a in loaded.answers] == [a.text for a in loaded.baseline] == ["a"], path


def test_the_last_of_two_judgments_counts_with_a_note(tmp_path):
    rows = [
        {"question_id": "q1", "model": "me", "games": [{"score": label, "judgment": ""}]}
        for label in ("A>B", "B>A")
    ]
    (loaded,) = BENCH.read_verdicts(lines(tmp_path / "j.jsonl", rows))
    assert [v.parsed.label for v in loaded.verdicts] == ["B>A"]
    assert loaded.notes == ("1 judgments of j.jsonl are repeated: the last of each counts",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"uid": "q1", "games": []}', "has no games"),
        ('{"uid": "q1"}', "has no games"),
        ('{"games": [{}]}', "neither 'uid' nor 'question_id'"),
        ('{"uid": "q1", "games": [null]}\n{"uid": "q', "line 2 is not JSON .* cut off"),
        ("[1]", "line 1 holds a list"),
        ("", "is empty"),
        (json.dumps(battle("nobody")), "row 1 has the winner 'nobody'"),
    ],
)
def test_bad_verdicts_are_reported(tmp_path, text, message):
    path = tmp_path / "j.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        BENCH.read_verdicts(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"uid": "q9", "messages": [{"content": "x"}]}, "'q9': remove them"),
        ({"uid": "q1", "choices": []}, "unexpected form"),
        ({"uid": "q1", "messages": [{"content": {"answer": 3}}]}, "is a number, not text"),
        ({"uid": "q1"}, "unexpected form"),
    ],
)
def test_bad_answers_are_reported(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        files.read_answers(lines(tmp_path / "a.jsonl", [row]), PROMPTS)


@pytest.mark.parametrize("label", ["A<B", "A>>A", "A", "B=A", ""])
def test_a_label_that_v01_does_not_know_is_no_verdict(label):
    assert rules.parse_label(label, rules.LABEL_SCORES) is None


@pytest.mark.parametrize("label", ["../../x", "a/b", ".x", "x" * 500])
def test_no_label_leaves_its_directory(label):
    for path in files.files(replace(graded(LABELS), label=label, judge=label), {}):
        *directories, name = path.split("/")
        assert len(directories) <= 3
        assert not any(part.startswith(".") for part in (*directories, name))
        assert len(name) <= 120 + len(".jsonl")


def test_a_zero_length_answer_is_an_answer(shared):
    bench = ArenaHard(sampling={}, assets=shared / "assets")
    contestant = Graded("me", "j", (Answer("q1", ""),), (), graded(LABELS).verdicts)
    assert bench.score([contestant])[0].counts["avg_tokens"] == 0


@pytest.mark.parametrize("reason", ["length", "content_filter", "MAX_TOKENS", "SAFETY"])
def test_a_judgment_that_was_cut_off_or_filtered_is_unparsed(reason):
    bench = ArenaHard(sampling={})
    text = "At first [[B>A]]. But then"
    assert bench.parse([Reply(text, None, reason, "j", 1, 1)]) is None
    assert bench.parse([Reply(text, None, "stop", "j", 1, 1)]).label == "B>A"


FILE = pathlib.Path("answers.jsonl")


@pytest.mark.parametrize(("written", "name"), [(0, "0"), (17, "17"), (17.0, "17"), ("q", "q")])
def test_a_question_may_be_a_whole_number(written, name):
    for key in ("uid", "question_id"):
        assert files.question_id(FILE, {key: written}) == name
    assert files.question_id(FILE, {"uid": None, "question_id": written}) == name


@pytest.mark.parametrize("written", [1.5, True, ["q"], {}])
def test_another_question_is_refused_for_what_it_is(written):
    with pytest.raises(InputError, match="a row's question is .*not text or a whole number"):
        files.question_id(FILE, {"question_id": written})


def test_questions_that_a_file_quotes_otherwise_are_known(tmp_path):
    prompts = [Prompt(name, (Message("user", f"Question {name}?"),)) for name in "abc"]
    turns = {"a": "Question a?\n", "b": "Frage b?", "c": None}
    rows = [
        {
            "uid": name,
            "messages": [
                *([{"role": "user", "content": text}] if text else []),
                {"role": "assistant", "content": {"answer": "x"}},
            ],
        }
        for name, text in turns.items()
    ]
    path = tmp_path / "me.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (answers,) = files.read_answers(path, prompts)
    assert answers.altered == ("b",)
