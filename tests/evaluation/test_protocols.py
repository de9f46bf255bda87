"""A policy on each protocol, from the first prompt to the result, with a judge behind HTTP."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from harness.core.config import build, load
from harness.core.workspace import (
    RESULT_SCHEMA,
    Result,
    Workspace,
    read_graded,
    read_result,
    result_path,
)
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


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation, and the verdicts that it would have requested before and after."""

    result: Result
    path: Path
    before: int | None
    after: int | None


@pytest.fixture(scope="module")
def evaluated(shared, tmp_path_factory):
    """Evaluate canned answers on a protocol, each protocol once."""

    @cache
    def run(name: str) -> Evaluated:
        content, top = TEXTS[name]
        workspace = Workspace(tmp_path_factory.mktemp(name))
        bench = build({**load("bench", name), "assets": str(shared / "assets")})

        def grade(messages, body):
            return Reply(content, top, "stop", "j", prompt_tokens=1, completion_tokens=1)

        with serving(grade, model="j") as url:
            client = {"use": "harness.judges.client:OpenAIClient", "model": "j", "base_url": url}
            evaluation = Evaluation(
                bench,
                CachedJudge(client=build(client), store=workspace.verdicts),
                policy=Pretrained(name="canned", path="canned"),
                engine=CannedEngine(text="An answer.", variants=("", " Indeed.")),
                accept_input=name == "mt-bench",  # the judge has no reference answers
            )
            before = plan(evaluation, workspace).requests
            result = evaluate(evaluation, workspace)
            after = plan(evaluation, workspace).new_requests
        return Evaluated(result, result_path(workspace, name, "canned"), before, after)

    return run


@pytest.mark.parametrize("name", TEXTS)
def test_a_policy_answers_is_graded_and_filed_with_everything_that_made_it(name, evaluated):
    evaluation = evaluated(name)
    result = evaluation.result
    assert (evaluation.before, evaluation.after) == (None, 0)
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
    assert read_result(evaluation.path).score.estimates == result.score.estimates
    graded = read_graded(evaluation.path)
    assert len(graded.verdicts) == REQUESTS[name]
    assert graded.verdicts[0].text == TEXTS[name][0]
    assert len(graded.prompts) == len(graded.answers) == result.answers
    assert json.loads(evaluation.path.read_text())["schema"] == RESULT_SCHEMA


def test_a_judge_that_prefers_whatever_comes_first_makes_it_a_draw(evaluated):
    # every prompt is asked in both orders: won once and lost once
    rate = evaluated("arena-hard").result.score.estimates["win_rate"]
    assert rate.value == 50
    # an exact interval: another prompt may be won or lost twice, 500 have not been
    assert 49.5 < rate.low < 50 < rate.high < 50.5
