"""A policy on each protocol, from the first prompt to the result, with a judge behind HTTP."""

import json

import pytest

from harness.core.config import build, load
from harness.core.workspace import RESULT_SCHEMA, read_graded, read_result, result_path
from harness.engines.canned import CannedEngine
from harness.evaluation.run import Evaluation, evaluate, plan
from harness.judges.cached import CachedJudge
from harness.judges.toy_server import serving
from harness.training.sources import Pretrained
from harness.types import Reply

TEXTS = {
    "alpaca-eval": ("m", ((("m", -0.1), ("M", -2.4)),)),
    "arena-hard": ("I think so. [[A>B]]", None),
    "mt-bench": ("Good. Rating: [[7]]", None),
}
REQUESTS = {"alpaca-eval": 805, "arena-hard": 1000, "mt-bench": 160}
FIGURES = {"alpaca-eval": "win_rate", "arena-hard": "win_rate", "mt-bench": "score"}


@pytest.mark.parametrize("name", TEXTS)
def test_a_policy_answers_is_graded_and_filed_with_everything_that_made_it(name, shared, workspace):
    content, top = TEXTS[name]
    bench = build({**load("bench", name), "assets": str(shared / "assets")})

    def grade(messages, body):
        return Reply(content, top, "stop", "j", prompt_tokens=1, completion_tokens=1)

    with serving(grade, model="j") as url:
        client = build({"use": "harness.judges.client:OpenAIClient", "model": "j", "base_url": url})
        evaluation = Evaluation(
            bench,
            CachedJudge(client=client, store=workspace.verdicts),
            policy=Pretrained(name="canned", path="canned"),
            engine=CannedEngine(text="An answer.", variants=("", " Indeed.")),
            accept_input=name == "mt-bench",  # of a judge that has no reference answers of its own
        )
        assert plan(evaluation, workspace).requests is None
        result = evaluate(evaluation, workspace)
        assert plan(evaluation, workspace).new_requests == 0
    assert (result.requests, result.new_requests) == (REQUESTS[name],) * 2
    assert result.judges_served == ("j",)
    assert result.finish_reasons == {"stop": result.answers}
    assert result.truncated == 0
    assert result.judge_settings["temperature"] == (1 if name == "alpaca-eval" else 0)
    samplings = result.generation["sampling"]
    assert len(samplings) == (3 if name == "mt-bench" else 1)
    assert result.generation["seed"] == 0
    assert all(len(digest) == 64 for digest in result.sources.values())
    assert FIGURES[name] in result.score.estimates
    path = result_path(workspace, name, "canned")
    assert read_result(path).score.estimates == result.score.estimates
    graded = read_graded(path)
    assert len(graded.verdicts) == REQUESTS[name]
    assert graded.verdicts[0].text == content
    assert len(graded.prompts) == len(graded.answers) == result.answers
    assert json.loads(path.read_text())["schema"] == RESULT_SCHEMA


def test_the_first_game_is_won_by_whom_the_judge_sees_first(shared, workspace):
    """A judge that always prefers the first answer: every prompt is won once and lost once."""
    bench = build({**load("bench", "arena-hard"), "assets": str(shared / "assets")})
    with serving(lambda *_: Reply("[[A>B]]", None, "stop", "j", 1, 1), model="j") as url:
        client = build({"use": "harness.judges.client:OpenAIClient", "model": "j", "base_url": url})
        evaluation = Evaluation(
            bench,
            CachedJudge(client=client, store=workspace.verdicts),
            policy=Pretrained(name="canned", path="canned"),
            engine=CannedEngine(),
        )
        rate = evaluate(evaluation, workspace).score.estimates["win_rate"]
    assert rate.value == 50
    assert rate.low == rate.high == 50
