"""What a second judge and an oracle say of a sample: the arithmetic, the sample, the notes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.api.judging import judge
from harness.api.opinions import second_opinions
from harness.core.workspace import Workspace
from harness.errors import ConfigError
from harness.evaluation import second_opinions as opinions
from harness.types import (
    Answer,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    Score,
    Usage,
    Verdict,
)

PROMPTS = tuple(Prompt(f"p{i}", (Message("user", f"question {i}"),)) for i in range(10))


class Games:
    """Two games a prompt; a verdict is P(the model wins)."""

    name = "games"

    def requests(self, answers, baseline):
        return [
            JudgeRequest(a.prompt_id + game, (Message("user", a.text),), {})
            for a in answers
            for game in ("#1", "#2")
        ]

    def score(self, graded):
        wins: dict[str, list[float]] = {}
        for verdict in graded[0].verdicts:
            if verdict.parsed is not None:
                prompt = verdict.request_id.partition("#")[0]
                wins.setdefault(prompt, []).append(verdict.parsed.value)
        items = [{"prompt_id": p, "won": sum(w), "weight": len(w)} for p, w in wins.items()]
        return [Score({}, {}, tuple(items))]


class Second:
    """A judge that gives its verdicts by request."""

    model = "second"

    def __init__(self, values):
        self.values = values

    def judge(self, requests, parser, advance):
        return [verdict(r.id, self.values.get(r.id)) for r in requests]

    def usage(self, requests, parser):
        return Usage(len(requests), 0, 0, 0, 0, 0, 0, 0.5, None, "", 0)


def verdict(name, value):
    return Verdict(name, None if value is None else ParsedVerdict(value), "m", "")


def graded(values, prompts=PROMPTS):
    answers = tuple(Answer(p.id, f"ours {p.id}") for p in prompts)
    baseline = tuple(Answer(p.id, f"theirs {p.id}") for p in prompts)
    verdicts = tuple(verdict(name, value) for name, value in values.items())
    return Graded("ours", "first", answers, baseline, verdicts, prompts, "base")


def games(value):
    return {f"{p.id}#{g}": value(i) for i, p in enumerate(PROMPTS) for g in (1, 2)}


def test_disagreement_is_counted_by_verdict_and_resampled_by_prompt(tmp_path):
    second = Second(games(lambda i: 0.0 if i < 3 else 1.0) | {"p9#1": None})
    sample = graded(games(lambda i: 1.0))
    opinion = opinions.ask_second_judge(second, Games(), sample, Workspace(tmp_path))
    # 19 verdicts of both; 6 of them, on 3 of 10 prompts, have another winner
    assert (opinion["verdicts"], opinion["prompts"]) == (19, 10)
    assert opinion["disagreement"]["value"] == pytest.approx(100 * 6 / 19)
    assert opinion["disagreement"]["low"] < 20 < 50 < opinion["disagreement"]["high"]
    # the first judge: 100 % of the games; the second: 70 %
    assert opinion["favour"]["value"] == pytest.approx(30)
    assert opinion["usage"]["dollars"] == 0.5


def test_ratings_disagree_where_they_are_more_than_a_point_apart(tmp_path):
    second = Second(games(lambda i: 9.0 if i else 5.0))
    opinion = opinions.ask_second_judge(
        second, Games(), graded(games(lambda i: 8.0)), Workspace(tmp_path)
    )
    assert opinion["disagreement"]["value"] == pytest.approx(10)
    # nine ratings are 1 below the second's, one is 3 above
    assert opinion["favour"]["value"] == pytest.approx((3 - 9) / 10)


class Oracle:
    def compare(self, comparisons, advance):
        assert all(
            c.first.startswith("ours") and c.second.startswith("theirs") for c in comparisons
        )
        return [0.8 for _ in comparisons]


def test_an_oracles_win_rate_is_set_beside_the_judges(tmp_path):
    opinion = opinions.ask_oracle(
        Oracle(), Games(), graded(games(lambda i: i / 30)), Workspace(tmp_path)
    )
    assert opinion["oracle_win_rate"]["value"] == pytest.approx(80)
    assert opinion["judge_win_rate"]["value"] == pytest.approx(15)
    assert opinion["excess"]["value"] == pytest.approx(65)
    (note,) = opinions.notes({"oracle": {"name": "mine", **opinion}})
    assert "the oracle mine gives a win rate of 80.0" in note
    assert "+65.0 [" in note
    assert note.endswith("training may have pleased the oracle alone")


def test_an_oracle_needs_a_baseline(tmp_path):
    alone = replace(graded(games(lambda i: 1.0)), baseline=())
    with pytest.raises(ConfigError, match="no baseline, which an oracle needs"):
        opinions.ask_oracle(Oracle(), Games(), alone, Workspace(tmp_path))


def test_the_sample_is_the_same_for_every_contestant_and_keeps_turns_together():
    turns = [
        Prompt(f"{p.id}/{turn}", (*p.messages, Message("assistant", "x"))[: turn + 1])
        for p in PROMPTS
        for turn in (0, 1)
    ]
    sample = opinions.draw_sample(graded({}, tuple(turns)), 6)
    assert len(sample) == 6
    assert {name[:-1] + "0" for name in sample} | {name[:-1] + "1" for name in sample} == sample
    assert sample == opinions.draw_sample(graded({}, tuple(reversed(turns))), 6)
    assert opinions.draw_sample(graded({}), 100) == {p.id for p in PROMPTS}


def test_a_second_judge_is_another_one_and_shares_the_budget(tmp_path):
    workspace = Workspace(tmp_path)
    first = judge("compatible", overrides={"model": "a"}, budget=3.0).bind(workspace)
    overrides = ["second_judge.model=b"]
    both = second_opinions("compatible", None, first, None, workspace, overrides)
    assert both.judge.model == "b"
    assert both.judge.options.budget is first.options.budget
    with pytest.raises(ConfigError, match="a is the first judge"):
        second_opinions("compatible", None, first, None, workspace, ["second_judge.model=a"])
    with pytest.raises(ConfigError, match="name the run with --run"):
        second_opinions(None, "run", first, None, workspace, [])
    oracle = second_opinions(None, "judge", first, None, workspace, []).oracle
    assert oracle.judge.path == tmp_path / "oracle-verdicts.sqlite"
