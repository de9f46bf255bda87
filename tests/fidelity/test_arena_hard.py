"""Arena-Hard v0.1's published figures, from battles, from raw judgments and over HTTP."""

import csv
import gzip
import json

import numpy as np
import pytest

from harness.benchmarks.arena_hard import battles
from harness.benchmarks.arena_hard import verdicts as rules
from harness.core.config import build, load
from harness.errors import JudgeError
from harness.evaluation.run import Evaluation, evaluate, plan
from harness.judges.cached import CachedJudge
from harness.statistics.bootstrap import ratio_interval


@pytest.fixture(scope="module")
def bench(shared):
    return build({**load("bench", "arena-hard"), "assets": str(shared / "assets")})


def test_every_published_score_and_bound_is_reproduced(bench):
    figures = list(bench.published())
    # 16 and 8 models with a score and two bounds each, and the official score
    assert len(figures) == 3 * (16 + 8) + 1 + 2
    assert [f.metric for f in figures if not f.holds] == []
    assert max(abs(f.recomputed - f.published) for f in figures) < 0.01


def test_the_official_score_over_http(bench, shared, workspace, replay):
    server = replay("arena_hard")
    client = build({**load("judge", "gpt-4-1106-preview"), "base_url": server.url})
    answers = shared / "assets/arena_hard_v0.1/model_answer/gpt-3.5-turbo-0125.jsonl"
    evaluation = Evaluation(
        bench, CachedJudge(client=client, store=workspace.verdicts), answers=answers
    )
    result = evaluate(evaluation, workspace)
    rate = result.score.estimates["win_rate"]
    assert round(rate.value, 2) == 23.34
    assert rate.low < rate.value < rate.high
    counts = result.score.counts
    assert (counts["games"], counts["unparsed"], counts["judged"]) == (1000, 0, 500)
    assert (result.requests, result.new_requests, result.baseline) == (1000, 1000, "gpt-4-0314")
    stats = server.stats()
    assert (stats["requests"], stats.get("unknown", 0)) == (1000, 0)
    with open(shared / "assets/arena_hard_v0.1/leaderboard_20240731.csv", newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["model"] == "gpt-3.5-turbo-0125")
    assert counts["avg_tokens"] == float(row["avg_tokens"])
    assert result.sources["arena_hard_v0.1/protocol.json"].startswith("1c37d1d7c987")
    assert plan(evaluation, workspace).new_requests == 0
    beside = workspace.root / "results/arena-hard/gpt-3.5-turbo-0125"
    (again,) = bench.read_verdicts(beside / "model_judgment")
    assert bench.score([again])[0].estimates == result.score.estimates


def test_a_judge_without_a_label_is_asked_to_continue(bench, shared, workspace, replay):
    server = replay("arena_hard", "--faults", "refuse=0.05", "--seed", "3")
    client = build({**load("judge", "gpt-4-1106-preview"), "base_url": server.url})
    answers = shared / "assets/arena_hard_v0.1/model_answer/gpt-3.5-turbo-0125.jsonl"
    evaluation = Evaluation(
        bench, CachedJudge(client=client, store=workspace.verdicts), answers=answers
    )
    # the real judge was never asked to continue after a refusal: the server lacks that request
    with pytest.raises(JudgeError, match="no_recorded_verdict"):
        evaluate(evaluation, workspace)
    assert server.stats()["unknown"] >= 1


def test_raw_judgments_are_parsed_as_they_were(shared):
    count = 0
    for path in sorted((shared / "assets/arena_hard_v0.1/judgments").glob("*.gz")):
        with gzip.open(path, "rt") as file:
            for row in map(json.loads, file):
                for game in row["games"]:
                    parsed = rules.parse_v01([game["judgment"]])
                    assert (parsed.label if parsed else None) == game["score"]
                    last = rules.parse_v2(game["judgment"])
                    assert (last.label if last else None) == game["score"]
                    count += 1
    assert count == 2 * (5 + 17 + 212)


def test_files_of_raw_judgments_are_scored(bench, shared):
    folder = shared / "assets/arena_hard_v0.1/judgments"
    (contestant,) = bench.read_verdicts(folder / "SN__gpt-4-32k__nowllm.jsonl.gz")
    (score,) = bench.score([contestant])
    assert score.counts["games"] == 424
    (empty,) = bench.read_verdicts(folder / "ME__gpt-4-1106__krikri.jsonl.gz")
    assert all(verdict.parsed is None for verdict in empty.verdicts)


def test_the_interval_by_prompt_is_wider_than_upstreams(bench, shared):
    """Two games of a prompt, and a strong verdict's three rows, are resampled together."""
    path = shared / "assets/arena_hard_v0.1/battles/official_gpt-3.5-turbo-0125.jsonl"
    graded = bench.read_verdicts(path)
    own = bench.score(graded)[0].estimates["win_rate"]
    pooled = battles.pool_battles(
        [[(g.won, g.weight) for g in rules.parse_games(graded[0].verdicts)]]
    )
    low, high = battles.upstream_bounds(pooled, "gpt-4-0314")
    assert own.high - own.low > 1.2 * (high[0] - low[0])


def test_intervals_have_their_nominal_coverage():
    """1,000 simulated benchmarks of 500 prompts with two correlated games of weight 1 or 3."""
    rng = np.random.default_rng(0)
    prompts, covered = 500, 0
    skill = rng.normal(-0.8, 1.5, size=200_000)
    truth = _points(rng, skill)
    wanted = truth[0].sum() / truth[1].sum()
    for trial in range(1000):
        won, weight = _points(rng, rng.normal(-0.8, 1.5, size=prompts))
        estimate = ratio_interval(won, weight, seed=trial, rounds=400)
        covered += estimate.low <= wanted <= estimate.high
    assert 935 <= covered <= 965


def _points(rng, skill):
    """Return points and weights of two games a prompt."""
    games = skill[:, None] + rng.logistic(size=(len(skill), 2))
    weight = np.where(np.abs(games) > 2, 3.0, 1.0)
    return ((games > 0) * weight).sum(axis=1), weight.sum(axis=1)
