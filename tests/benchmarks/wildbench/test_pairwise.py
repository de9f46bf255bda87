"""WB-Reward: orders, choices, the length margin, references, and the leaderboard's tables."""

import json
import random

import pytest

from harness.benchmarks.wildbench import reward
from harness.core.config import build, load
from harness.errors import AssetError, CheckError, InputError
from harness.evaluation.run import Evaluation, evaluate
from harness.evaluation.verdict_files import score_file
from harness.protocols import Benchmark
from harness.types import Answer, ParsedVerdict, Reply, Verdict


def row(key, winner, extent, own="mine", other="yours"):
    return {
        "session_id": key,
        "model_A": "ref",
        "model_B": "me",
        "winner": winner,
        "extent": extent,
        "model_outputs": {"ref": other, "me": own},
    }


def score_of(bench, path, margin=500):
    scoring = bench.scoring.model_copy(update={"length_margin": margin})
    (submission,) = score_file(bench.model_copy(update={"scoring": scoring}), path)
    return submission.score


def test_one_draw_a_conversation_decides_the_order(pairwise):
    assert isinstance(pairwise, Benchmark)
    answers = [Answer(key, f"mine {key}") for key in ("s1", "s2", "s3")]
    requests = pairwise.requests(answers, pairwise.baseline_answers())
    draws = random.Random(42)
    slots = ["A" if draws.random() < 0.5 else "B" for _ in answers]
    assert [request.id for request in requests] == [
        f"{answer.prompt_id}#{slot}" for answer, slot in zip(answers, slots, strict=True)
    ]
    # a conversation without an answer uses its draw up all the same
    assert [r.id for r in pairwise.requests(answers[1:], pairwise.baseline_answers())] == [
        request.id for request in requests[1:]
    ]
    text = requests[0].messages[0].content
    assert (text.index("mine s1") < text.index("reference s1")) == (slots[0] == "A")
    empty = pairwise.requests([Answer("s1", " ")], pairwise.baseline_answers())
    assert "[This model response is empty.]" in empty[0].messages[0].content


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"choice": "A++"}', 1),
        ('{"choice": "B+"}', 0.25),
        ('{"choice": "A=B"}', 0.5),
        ('{"choice": "A"}', None),
        ('{"choice": ["A+"]}', None),
        ("A++", None),
    ],
)
def test_a_choice_outside_the_five_is_unparsed(pairwise, reply, value):
    parsed = pairwise.parse([Reply(reply, None, "stop", "j", 1, 1)])
    assert (parsed.value if parsed else None) == value


def test_the_reward_with_and_without_the_length_margin(pairwise, write):
    rows = [row("s1", "me", 1, "m" * 600), row("s2", "ref", 2), row("s3", "tie", 0)]
    score = score_of(pairwise, write(rows))
    values = {name: estimate.value for name, estimate in score.estimates.items()}
    assert values["wb_reward"] == pytest.approx(100 * (0 - 1 + 0) / 3)
    assert values["wb_reward_without_margin"] == pytest.approx(100 * (0.5 - 1 + 0) / 3)
    # groups: s1 math, planning: 0; s2 creative: -100; s3 coding: 0
    assert values["task_macro"] == pytest.approx(-100 * 0.5 / 4.75)
    assert score.details["upstream"]["lose_much"] == 1
    assert score_of(pairwise, write(rows), 595).estimates["wb_reward"].value == pytest.approx(
        -50 / 3
    )
    lost = [row("s1", "ref", 1, "m", "r" * 600), row("s2", "ref", 2, "m", "r" * 600)]
    assert score_of(pairwise, write(lost)).estimates["wb_reward"].value == -50


def test_an_answer_that_is_empty_or_cut_counts_in_the_denominator_only(pairwise, write):
    rows = [row("s1", "me", 2), row("s2", "me", 2, "[This model response is empty.]")]
    rows += [row("s3", "me", 2, "mine", "y ... (truncated)")]
    score = score_of(pairwise, write(rows))
    assert score.estimates["wb_reward"].value == pytest.approx(100 / 3)
    assert score.estimates["math_and_data_analysis"].value == 100
    assert score.counts["empty_or_cut"] == 2
    assert any("in 2 comparisons an answer is empty or cut" in note for note in score.notes)


def test_what_does_not_count_is_reported(pairwise, write):
    rows = [row("s1", "me", 2), row("s1", "ref", 2), row("s2", "nobody", 2), row("s3", "me", 3)]
    score = score_of(pairwise, write(rows))
    assert (score.counts["unparsed"], score.counts["repeats"]) == (2, 1)
    assert score.estimates["wb_reward"].value == -100
    with pytest.raises(CheckError, match="no choice on me"):
        score_of(pairwise, write([row("s1", None, None)]))


def test_a_file_against_another_reference_is_refused(pairwise, write):
    rows = [row("s1", "me", 2)]
    other = pairwise.model_copy(update={"against": "haiku"})
    with pytest.raises(InputError, match=r"compares ref with me.*--set against"):
        other.read_verdicts(write(rows))
    with pytest.raises(AssetError, match="no answers of haiku"):
        other.baseline_answers()
    with pytest.raises(InputError, match="lacks an answer"):
        pairwise.read_verdicts(write([rows[0] | {"model_outputs": {"ref": "x"}}]))


class ChoosesA:
    model = "chooser"

    def judge(self, requests, parser, advance):
        return [
            Verdict(r.id, ParsedVerdict(1.0, "A++"), self.model, '{"choice": "A++"}')
            for r in requests
        ]

    def count_pending(self, requests, parser):
        return len(requests)

    def usage(self, requests, parser):
        return None

    def request_settings(self, request):
        return {}


def test_an_evaluation_is_exported_and_read_again(pairwise, write, workspace):
    answers = write([{"session_id": k, "output": f"mine {k}"} for k in ("s1", "s2", "s3")])
    result = evaluate(Evaluation(pairwise, ChoosesA(), answers=answers), workspace)
    draws = random.Random(42)
    firsts = [draws.random() < 0.5 for _ in range(3)]
    expected = 100 * sum(1 if first else -1 for first in firsts) / 3
    assert result.score.estimates["wb_reward"].value == pytest.approx(expected)
    assert result.baseline == "ref"
    verdicts = tuple(
        Verdict(f"s{i}#{'A' if first else 'B'}", ParsedVerdict(1.0, "A++"), "chooser")
        for i, first in enumerate(firsts, 1)
    )
    assert [reward.conversation_id(v) for v in verdicts] == ["s1", "s2", "s3"]
    from harness.core.workspace import read_graded, result_path

    path = result_path(workspace, result.benchmark, result.label, result.identity)
    ((name, text),) = pairwise.files(read_graded(path)).items()
    again = score_of(pairwise, write(json.loads(text), name))
    assert again.estimates["wb_reward"].value == pytest.approx(expected)


def test_the_leaderboards_tables_follow_from_their_counts(shared):
    built = build(load("bench", "wildbench-pairwise"))
    figures = list(built.model_copy(update={"assets": shared / "assets"}).published())
    assert len(figures) >= 7
    assert all(figure.recomputed == figure.published for figure in figures)


def test_a_mixture_without_one_of_its_references_is_refused():
    assert reward.mixture({"a": 1.0, "b": 0.0}, ("a", "b")) == 0.5
    with pytest.raises(CheckError, match="no reward against b"):
        reward.mixture({"a": 1.0}, ("a", "b"))
