"""JudgeBench: the rule of two games, stored verdicts, judges and oracles."""

import json

import pytest
from typer.testing import CliRunner

from harness.api import judge_scores
from harness.benchmarks.judgebench.benchmark import CONTINUE_REQUEST, JudgeBench, score_file
from harness.benchmarks.judgebench.score import Judgment, category, score_judgments
from harness.cli.main import app
from harness.errors import AssetError, CheckError, ConfigError, InputError
from harness.types import ParsedVerdict, Reply, Usage, Verdict


def judgment(first, second, label="A", source="livebench-math", name="p"):
    return Judgment(name, source, label, (first, second))


def reply(text):
    return Reply(text, None, "stop", "j", 1, 1)


@pytest.fixture
def bench(shared):
    return JudgeBench(assets=shared / "assets")


@pytest.mark.parametrize(
    ("decisions", "right"),
    [
        (("A", "A"), True),
        (("A", "tie"), True),
        ((None, "A"), True),
        (("A", "B"), False),
        (("tie", "tie"), False),
        (("tie", "B"), False),
        ((None, None), False),
    ],
)
def test_a_pair_is_right_if_its_games_sum_to_more_than_nothing(decisions, right):
    assert judgment(*decisions).is_right is right


def test_the_figures():
    judgments = [
        judgment("A", "A", name="a"),  # right, the same in both orders
        judgment("A", "B", name="b"),  # always the first slot
        judgment("B", "B", "B", "livecodebench", "c"),
        judgment(None, "tie", "B", "mmlu-pro-law", "d"),
    ]
    score = score_judgments(judgments)
    values = {name: estimate.value for name, estimate in score.estimates.items()}
    assert (values["accuracy"], values["math"], values["coding"]) == (50, 50, 100)
    assert values["knowledge"] == 0
    assert values["macro_accuracy"] == 50  # (50 + 100 + 0) / 3
    assert values["first_game_accuracy"] == 75
    assert values["second_game_accuracy"] == 50
    assert values["same_in_both_orders"] == 50
    # slots: a (A shown first: 1, B shown first: 0), b (1, 1), c (0, 1), d has none
    assert values["prefers_first_slot"] == pytest.approx(200 / 3)
    assert score.counts == {"asked": 4, "judged": 4, "right": 2, "ties": 1, "unparsed": 1}
    assert "1 of 8 games have no verdict and earn nothing" in score.notes


def test_there_is_no_score_without_verdicts_and_no_other_category():
    with pytest.raises(CheckError, match="no verdict"):
        score_judgments([judgment(None, None)])
    assert category("mmlu-pro-law") == "knowledge"
    with pytest.raises(InputError, match="no pairs of 'gsm8k'"):
        category("gsm8k")


def test_the_published_accuracies(bench, tmp_path):
    figures = list(bench.published())
    assert len(figures) >= 15
    assert all(figure.holds for figure in figures)
    with pytest.raises(AssetError, match="no published verdicts"):
        list(JudgeBench(assets=tmp_path).published())


def test_the_games_are_arena_hards_in_both_orders(bench):
    requests, games = bench.requests(), bench.comparisons()
    assert len(requests) == len(games) == 700
    first, second = requests[0].messages[1].content, requests[1].messages[1].content
    assert (games[0].first, games[0].second) == (games[1].second, games[1].first)
    assert first.index(games[0].first) < first.index(games[0].second)
    assert second.index(games[0].second) < second.index(games[0].first)
    assert bench.parse([reply("so [[A>>B]]")]).value == 1
    assert bench.parse([reply("[[A>B]] or [[B>A]]")]) is None
    follow_up = bench.follow_up(requests[0], [reply("hm")])
    assert follow_up.messages[-1].content == CONTINUE_REQUEST
    assert bench.follow_up(requests[0], [reply("hm"), reply("hm")]) is None
    other = JudgeBench(responses="claude-3-5-sonnet-20240620", assets=bench.assets)
    assert len(other.rows()) == 270


def row(name, first, second, label="A>B"):
    judgments = [first and {"decision": first}, second and {"decision": second}]
    return {"pair_id": name, "source": "livebench-math", "label": label, "judgments": judgments}


def test_stored_verdicts(tmp_path):
    path = tmp_path / "outputs.jsonl"
    rows = [row("a", "A>B", "B>A"), row("b", "A>B", None), row("b", "B>A", "A=B")]
    rows.append(row("c", "A>B", "A>B"))
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    score = score_file(path)
    assert score.counts == {"asked": 3, "judged": 3, "right": 1, "ties": 1, "unparsed": 0}
    assert "1 pairs are repeated: the last row of each counts" in score.notes
    for change, message in {
        "label": "neither A>B nor B>A",
        "judgments": "without two",
        "source": "no pairs of",
        "pair_id": "whose 'pair_id' is a number",
    }.items():
        path.write_text(json.dumps(rows[0] | {change: 1 if change == "pair_id" else "x"}))
        with pytest.raises(InputError, match=message):
            score_file(path)


class LongerWins:
    def compare(self, comparisons, advance):
        advance(len(comparisons))
        lengths = [(len(c.first), len(c.second)) for c in comparisons]
        return [0.5 + 0.5 * ((first > second) - (first < second)) for first, second in lengths]


class FirstSlot:
    model = "first"

    def bind(self, workspace):
        return self

    def judge(self, requests, parser, advance):
        return [Verdict(r.id, ParsedVerdict(1.0, "A>B"), "first") for r in requests]

    def usage(self, requests, parser):
        return Usage(len(requests), 0, 0, 0, 0, 0, 0, 1.5, None)


def test_an_oracle_and_a_judge_are_scored(bench, workspace, monkeypatch):
    monkeypatch.setattr(judge_scores, "build_component", lambda *_: LongerWins())
    monkeypatch.setattr("harness.api.judging.judge", lambda *_, **__: FirstSlot())
    arguments = {"responses": bench.responses, "workspace": workspace, "assets": bench.assets}
    oracle = judge_scores.score_judge("pairrm", **arguments)
    rows = bench.rows()
    right = sum(
        (len(r["response_A"]) > len(r["response_B"])) == (r["label"] == "A>B")
        for r in rows
        if len(r["response_A"]) != len(r["response_B"])
    )
    assert oracle.score.counts["right"] == right
    assert oracle.score.estimates["prefers_first_slot"].value == 50
    judged = judge_scores.score_judge("gpt-4.1", **arguments)
    assert judged.score.estimates["accuracy"].value == 0
    assert judged.score.estimates["prefers_first_slot"].value == 100
    assert judged.to_data()["usage"]["dollars"] == 1.5
    with pytest.raises(ConfigError, match="no judge or oracle called 'gpt-41'.*gpt-4.1"):
        judge_scores.score_judge("gpt-41", **arguments)


def test_the_command_shows_stored_verdicts_and_verifies(shared, monkeypatch):
    monkeypatch.setenv("HARNESS_ASSETS", str(shared / "assets"))
    path = shared / "assets/judgebench/verdicts/gpt-4o-2024-05-13/o1-mini-2024-09-12.jsonl.gz"
    shown = CliRunner().invoke(app, ["judge", "score", str(path)]).stdout
    assert "accuracy 65.71" in shown
    assert "macro_accuracy 70.35" in shown
    verified = CliRunner().invoke(app, ["verify", "judgebench"]).stdout
    assert verified.startswith("judgebench: ")
    assert "NOT" not in verified
