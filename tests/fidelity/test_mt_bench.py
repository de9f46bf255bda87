"""MT-Bench's published scores, from stored verdicts and over HTTP."""

import gzip
import json

import pytest

from harness.benchmarks.mt_bench import data
from harness.benchmarks.mt_bench.benchmark import parse_rating
from harness.core.config import build, load
from harness.errors import CheckError
from harness.evaluation.run import Evaluation, evaluate, plan
from harness.evaluation.verdict_files import score_file
from harness.judges.cached import CachedJudge

SCORES = {"mamba_0_5_dpo_ep1": 7.121875, "mamba_0_875_dpo_ep3": 6.36875}
VERDICTS = "assets/mt_bench/model_judgment/gpt-4_single.jsonl.gz"


@pytest.fixture(scope="module")
def bench(shared):
    return build({**load("bench", "mt-bench"), "assets": str(shared / "assets")})


@pytest.fixture(scope="module")
def rows(shared):
    with gzip.open(shared / VERDICTS, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture
def graded(bench, shared, workspace):
    """Return a function that evaluates a model's answers with the judge at a URL."""

    def evaluation(contestant, url, **judge):
        client = build({**load("judge", "gpt-4"), "base_url": url, **judge})
        answers = shared / f"replay/mt_bench/answers/{contestant}.jsonl.gz"
        return Evaluation(
            bench, CachedJudge(client=client, store=workspace.verdicts), answers=answers
        )

    return evaluation


def test_every_published_score_is_reproduced(bench):
    figures = {f.metric: f for f in bench.published()}
    assert set(figures) == {f"{model} score" for model in SCORES}
    assert all(f.holds for f in figures.values())
    # two decimals were published, so half of one is as near as it can be
    assert {f.tolerance for f in figures.values()} == {0.005}


def test_every_stored_judgment_is_parsed_as_it_was_scored(rows):
    assert len(rows) == 320
    assert all(parse_rating(row["judgment"]).value == row["score"] for row in rows)


def test_a_questions_number_determines_its_category_and_its_prompt(bench, shared, rows):
    asked = data.load_texts(shared / "assets").questions
    assert {n: q.category for n, q in asked.items()} == {
        n: data.category_of(n) for n in range(81, 161)
    }
    for row in rows:
        assert row["judge"][1] == data.template_name(row["question_id"], row["turn"])


def test_every_stored_prompt_is_rendered_again(bench, shared, rows):
    for contestant in bench.read_verdicts(shared / VERDICTS):
        assert len(contestant.answers) == len(contestant.prompts) == 160
        assert contestant.notes == ()
        user_prompts = {
            r.id: r.messages[-1].content for r in bench.requests(contestant.answers, ())
        }
        own = [row for row in rows if row["model"] == contestant.label]
        for row in own:
            name = data.prompt_id(row["question_id"], row["turn"])
            assert user_prompts[name] == row["user_prompt"]
        path = shared / f"replay/mt_bench/answers/{contestant.label}.jsonl.gz"
        (answers,) = bench.read_answers(path)
        assert answers.answers == contestant.answers


@pytest.mark.parametrize("model", SCORES)
def test_the_published_score_over_http(bench, graded, workspace, replay, model):
    server = replay("mt_bench")
    evaluation = graded(model, server.url)
    result = evaluate(evaluation, workspace)
    score = result.score.estimates["score"]
    assert score.value == pytest.approx(SCORES[model], abs=1e-9)
    assert score.low < score.value < score.high
    counts = result.score.counts
    assert (counts["asked"], counts["judged"], counts["unparsed"]) == (160, 160, 0)
    assert (result.requests, result.new_requests, result.label) == (160, 160, model)
    assert result.score.notes == ()
    stats = server.stats()
    assert (stats["requests"], stats.get("unknown", 0)) == (160, 0)
    assert set(result.sources) == {
        "mt_bench/question.jsonl",
        "mt_bench/judge_prompts.jsonl",
        "references gpt-4",
    }
    assert plan(evaluation, workspace).new_requests == 0
    beside = workspace.root / "results/mt-bench" / model
    (again,) = bench.read_verdicts(beside / "model_judgment/gpt-4_single.jsonl")
    assert bench.score([again])[0].estimates == result.score.estimates
    (answers,) = bench.read_answers(beside / f"model_answer/{model}.jsonl")
    assert answers.answers == again.answers


def test_another_judge_is_not_asked_with_gpt_4s_references(graded, workspace, replay):
    server = replay("mt_bench")
    evaluation = graded("mamba_0_5_dpo_ep1", server.url, model="mine")
    with pytest.raises(
        CheckError, match=r"mine would judge against .* of gpt-4: .*the judge was not asked"
    ):
        evaluate(evaluation, workspace)
    assert [finding.level for finding in plan(evaluation, workspace).findings] == ["stop"]
    assert "requests" not in server.stats()


def test_replies_without_a_rating_are_asked_again(graded, workspace, replay):
    server = replay("mt_bench", "--faults", "refuse=0.1,empty=0.1,500=0.1", "--fault-once")
    result = evaluate(graded("mamba_0_5_dpo_ep1", server.url), workspace)
    assert result.score.estimates["score"].value == pytest.approx(7.121875)
    assert result.score.counts["unparsed"] == 0
    assert server.stats()["fault refuse"] > 5


def test_a_judge_that_keeps_refusing_leaves_unparsed_ratings(graded, workspace, replay):
    server = replay("mt_bench", "--faults", "refuse=0.3", "--seed", "1")
    result = evaluate(graded("mamba_0_5_dpo_ep1", server.url, unparsed_attempts=2), workspace)
    counts = result.score.counts
    # asked twice, 0.3² of the answers stay without a rating
    assert 3 <= counts["unparsed"] <= 30
    assert counts["judged"] == 160 - counts["unparsed"]
    assert any("could not be parsed and are excluded" in note for note in result.score.notes)


def test_of_the_two_models_none_is_flagged(bench, shared):
    for contestant in score_file(bench, shared / VERDICTS):
        assert contestant.score.details["screen"]["flagged"] == []
        assert (contestant.score.notes, contestant.missing) == ((), 0)


def test_missing_answers_of_a_file_are_noted(bench, tmp_path, rows):
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:100]))
    (contestant,) = score_file(bench, path)
    # a second turn's prompt shows the first answer, whose own verdict is not among the hundred
    shown = len(contestant.graded.answers) - 100
    assert contestant.score.notes == (
        f"{shown} answers were not judged",
        f"{60 - shown} prompts without an answer are dropped",
    )
    assert shown > 0
    assert contestant.missing == 60 - shown
