"""MT-Bench: two turns, the judge's prompts, ratings, and the scores."""

import pytest

from harness.benchmarks.mt_bench import data
from harness.core.config import Component, build, load
from harness.core.hub import ASSETS_VARIABLE
from harness.core.stages import ExternalInput
from harness.errors import AssetError, CheckError, ConfigError, InputError
from harness.evaluation.submissions import answer_stage, load_answers
from harness.protocols import Benchmark
from harness.types import (
    Answer,
    Completion,
    Graded,
    Message,
    ParsedVerdict,
    Policy,
    Prompt,
    Reply,
    Verdict,
)


def reply(text):
    return Reply(text, None, "stop", "j", 1, 1)


def answered(bench, text="a {brace}"):
    """Return the answers of both turns to every question."""
    first = [Answer(p.id, f"{text} {p.id}") for p in bench.prompts()]
    second = bench.next_prompts(bench.prompts(), first)
    return first + [Answer(p.id, f"{text} {p.id}") for p in second]


def verdicts(ratings):
    return tuple(Verdict(i, None if r is None else ParsedVerdict(r), "j") for i, r in ratings)


def score_of(bench, ratings, **fields):
    parts = {"label": "me", "judge": "gpt-4", "answers": (), "baseline": ()}
    return bench.score([Graded(**parts, verdicts=verdicts(ratings), **fields)])[0]


def test_it_is_a_benchmark_of_two_turns(mt_bench):
    assert isinstance(mt_bench, Benchmark)
    first = mt_bench.prompts()
    assert len(first) == 80
    assert (first[0].id, first[0].text, first[0].meta["category"]) == (
        "81#1",
        "What is 81?",
        "writing",
    )
    (second,) = mt_bench.next_prompts(first[:1], [Answer("81#1", "odd")])
    assert second.id == "81#2"
    turns = (Message("user", "What is 81?"), Message("assistant", "odd"))
    assert second.messages == (*turns, Message("user", "And 81 + 1?"))
    assert mt_bench.next_prompts([second], [Answer("81#2", "even")]) == []
    assert mt_bench.baseline_answers() == []


@pytest.mark.parametrize(
    ("question", "temperature"),
    [(81, 0.7), (100, 0.7), (101, 0.0), (111, 0.0), (130, 0.0), (140, 0.0), (141, 0.1), (160, 0.1)],
)
def test_the_temperature_is_the_categorys(mt_bench, question, temperature):
    for turn in (1, 2):
        sampling = mt_bench.sampling_for(Prompt(data.prompt_id(question, turn), ()))
        assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (
            temperature,
            1.0,
            1024,
        )


def test_a_category_without_a_temperature_is_refused():
    with pytest.raises(ConfigError, match="one temperature for each of writing"):
        build({**load("bench", "mt-bench"), "temperatures": {"writing": 0.7}})


class ReportingEngine(Component):
    """An engine whose answers report the prompt's turns, the temperature and the limit."""

    def generate(self, policy, requests, sampling, advance):
        advance(len(requests))
        settings = f"{sampling.temperature} {sampling.max_tokens}"
        return [
            Completion(
                r.prompt.id, 0, f"{len(r.prompt.messages)} {settings}", (), (), "stop", r.seed
            )
            for r in requests
        ]


class Weights(Component):
    name: str

    def weights(self):
        return ExternalInput(self.name, self.name)

    def with_weights(self, path):
        return Policy(self.name, path)


def test_a_policy_answers_both_turns_at_the_categorys_temperature(mt_bench, workspace):
    stage = answer_stage(Weights(name="w"), mt_bench, ReportingEngine(), 0)
    answers = load_answers(workspace.stages.materialize(stage).path)
    assert [a.prompt_id for a in answers] == [f"{n}#{t}" for t in (1, 2) for n in range(81, 161)]
    texts = {answer.prompt_id: answer.text for answer in answers}
    assert (texts["81#1"], texts["81#2"]) == ("1 0.7 1024", "3 0.7 1024")
    assert (texts["111#2"], texts["160#1"]) == ("3 0.0 1024", "1 0.1 1024")


def test_each_kind_of_question_and_turn_has_its_prompt(mt_bench):
    requests = {r.id: r for r in mt_bench.requests(answered(mt_bench), ())}
    assert len(requests) == 160
    answer = "a {brace} "
    conversation = (
        "U: What is {0}?\nA: " + answer + "{0}#1\nU: And {0} + 1?\nA: " + answer + "{0}#2\n(end)"
    )
    conversation = conversation.replace("{brace}", "{{brace}}")
    wanted = {
        "81#1": ("s", f"Rate {{so}}.\nWhat is 81?\n[A]\n{answer}81#1\n[/A]"),
        "101#1": ("s", f"Rate.\nWhat is 101?\n[R]\nit is 101\n[A]\n{answer}101#1\n[/A]"),
        "160#2": ("multi", conversation.format(160)),
        "130#2": ("multi", f"R: it is 130\nR: it is 131\n{conversation.format(130)}"),
    }
    for name, texts in wanted.items():
        assert tuple(m.content for m in requests[name].messages) == texts
        assert [m.role for m in requests[name].messages] == ["system", "user"]
        assert requests[name].parameters == {"temperature": 0, "max_tokens": 2048}


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Rating: [[5]]", 5),
        ("[[8.5]]", 8.5),
        ("[[7.]] then [[2]]", 7),
        ("[3] but [[10]]", 10),
        ("Rating: [6]", 6),
        ("[[1]]", 1),
        ("[[0]]", None),
        ("[[11]]", None),
        ("[[100]] or [[5]]", None),
        ("[[-3]]", None),
        ("[[rating]]", None),
        ("[[7/10]]", None),
        ("[[٥]]", None),
        ("5", None),
        ("", None),
    ],
)
def test_the_first_rating_is_parsed_if_it_is_from_1_to_10(mt_bench, text, rating):
    assert mt_bench.parse([reply(text)]) == (None if rating is None else ParsedVerdict(rating))


def test_a_reply_without_a_rating_is_asked_again_and_the_last_reply_counts(mt_bench):
    (request,) = mt_bench.requests([Answer("81#1", "x")], ())
    assert mt_bench.follow_up(request, [reply("hm")]) is request
    assert mt_bench.parse([reply("hm"), reply("[[4]]")]) == ParsedVerdict(4)


def all_ratings(rating=lambda number, turn: 5.0):
    return [(f"{n}#{t}", rating(n, t)) for n in range(81, 161) for t in (1, 2)]


def test_figures_are_pooled_by_turn_and_by_category(mt_bench):
    # writing 9 and 7, all else 4 and 3; one second turn of writing is unparsed
    ratings = all_ratings(lambda n, t: (9.0, 7.0)[t - 1] if n < 91 else (4.0, 3.0)[t - 1])
    ratings[1] = ("81#2", None)
    score = score_of(mt_bench, ratings)
    value = {name: estimate.value for name, estimate in score.estimates.items()}
    assert value["score"] == pytest.approx((10 * 9 + 9 * 7 + 70 * 4 + 70 * 3) / 159)
    assert value["turn_1"] == pytest.approx((10 * 9 + 70 * 4) / 80)
    assert value["turn_2"] == pytest.approx((9 * 7 + 70 * 3) / 79)
    assert value["writing"] == pytest.approx((10 * 9 + 9 * 7) / 19)
    assert value["math"] == 3.5
    assert set(value) == {"score", "turn_1", "turn_2", *data.CATEGORIES}
    assert score.counts == {
        "asked": 160,
        "judged": 159,
        "unparsed": 1,
        "outside": 0,
        "repeats": 0,
        "questions": 80,
    }
    assert score.notes == ("1 of 160 ratings could not be parsed and are excluded",)
    assert score.items[1] == {
        "prompt_id": "81#2",
        "question": 81,
        "turn": 2,
        "category": "writing",
        "rating": None,
        "length": None,
    }


def test_a_questions_turns_stay_together_in_the_interval(mt_bench):
    both = score_of(mt_bench, all_ratings(lambda n, t: 1.0 + 8 * (n % 2))).estimates
    split = score_of(mt_bench, all_ratings(lambda n, t: 1.0 + 8 * ((n + t) % 2))).estimates
    assert both["score"].value == split["score"].value == 5
    # 80 questions of 1 or 9: 4 / sqrt(80) = 0.447; turns that cancel out: none
    assert both["score"].standard_error == pytest.approx(0.447, rel=0.05)
    assert split["score"].standard_error == pytest.approx(0)


def test_the_order_of_the_verdicts_changes_nothing(mt_bench):
    ratings = all_ratings(lambda n, t: 1.0 + (7 * n + 3 * t) % 10)
    assert score_of(mt_bench, ratings[::-1]) == score_of(mt_bench, ratings)


def test_of_several_ratings_the_last_counts_and_upstream_averages_all(mt_bench):
    ratings = [*all_ratings(), ("81#1", 9.0), ("82#2", 10.0), ("82#2", 1.0), ("90#1", 11.0)]
    score = score_of(mt_bench, ratings)
    # 160 ratings of 5, of which one became 9, one 1, one unparsed
    assert score.estimates["score"].value == pytest.approx((157 * 5 + 9 + 1) / 159)
    assert {k: score.counts[k] for k in ("asked", "judged", "repeats", "outside")} == {
        "asked": 160,
        "judged": 159,
        "repeats": 4,
        "outside": 1,
    }
    assert score.notes == (
        "1 of 160 ratings could not be parsed and are excluded (1 of them outside 1 to 10)",
        "4 ratings are repeated: the last of each answer counts",
    )
    upstream = build({**load("bench", "mt-bench"), "scoring": {"compat": "upstream"}})
    pooled = score_of(upstream, ratings)
    assert pooled.details == {"compat": "upstream"}  # tables keep them apart by this
    assert pooled.estimates["score"].value == pytest.approx((160 * 5 + 9 + 10 + 1 + 11) / 164)
    assert (pooled.counts["asked"], pooled.counts["repeats"]) == (164, 0)


def test_few_equal_or_missing_ratings_are_noted(mt_bench):
    score = score_of(mt_bench, all_ratings()[:4])
    assert score.notes == (
        "156 answers were not judged",
        "all ratings are equal: their intervals are exact ones, for ratings of 1 to 10",
        "only 4 verdicts: too few for an informative interval",
    )
    # two questions say little: the others may have any rating
    assert 1 <= score.estimates["score"].low < 3
    assert 8 < score.estimates["score"].high <= 10
    (low,) = {estimate.low for estimate in score_of(mt_bench, all_ratings()[:2]).estimates.values()}
    assert low is None


def test_without_a_rating_there_is_no_figure(mt_bench):
    with pytest.raises(CheckError, match="no rating of me could be parsed"):
        score_of(mt_bench, all_ratings(lambda n, t: None))


def test_references_of_another_judge_come_from_its_file(tmp_path):
    with pytest.raises(AssetError, match=r"no reference answers of 'mine'.*references=FILE"):
        data.load_references("mine", tmp_path)
    row = '{"question_id": 101, "choices": [{"turns": ["one", "two"]}]}\n'
    own = tmp_path / "mt_bench/reference_answer/mine.jsonl"
    own.parent.mkdir(parents=True)
    own.write_text(row)
    assert data.load_references("mine", tmp_path) == {101: ("one", "two")}
    (tmp_path / "other.jsonl").write_text(row.replace("101", "102"))
    assert data.load_references(str(tmp_path / "other.jsonl"), tmp_path) == {102: ("one", "two")}
    (tmp_path / "bad.jsonl").write_text('{"question_id": 101, "choices": []}\n')
    with pytest.raises(InputError, match="a reference has an unexpected form"):
        data.load_references(str(tmp_path / "bad.jsonl"), tmp_path)


def test_a_question_without_a_reference_cannot_be_judged(mt_bench, monkeypatch):
    monkeypatch.setattr(data, "load_references", lambda name, folder: {})
    assert len(mt_bench.requests([Answer("81#1", "x")], ())) == 1
    with pytest.raises(AssetError, match=r"gpt-4 has no reference answer to question 101"):
        mt_bench.requests([Answer("101#1", "x")], ())


def test_missing_data_is_reported_with_the_command_that_downloads_it(tmp_path, monkeypatch):
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    bench = build(load("bench", "mt-bench"))
    with pytest.raises(AssetError, match="harness assets pull mt_bench"):
        bench.prompts()
    assert bench.sources() == {}


@pytest.mark.parametrize("reason", ["length", "content_filter", "MAX_TOKENS", "SAFETY"])
def test_a_judgment_that_was_cut_off_or_filtered_is_unparsed(mt_bench, reason):
    text = "A first look: [[3]]. But then"
    assert mt_bench.parse([Reply(text, None, reason, "j", 1, 1)]) is None
    assert mt_bench.parse([Reply(text, None, "stop", "j", 1, 1)]).value == 3
