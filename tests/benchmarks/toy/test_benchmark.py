"""The toy benchmarks, calculated by hand on three prompts."""

from __future__ import annotations

import math

import pytest

from harness.benchmarks.alpaca_eval import files
from harness.benchmarks.toy import benchmark
from harness.core import config
from harness.toy import judge
from harness.types import Answer, Graded, ParsedVerdict, Reply, Verdict


def bench(name: str):
    return config.build(config.load("bench", name, ("count=3",)))


def answers(prompts, *texts: str) -> list[Answer]:
    return [Answer(p.id, text) for p, text in zip(prompts, texts, strict=True)]


def verdict(name: str, parsed: ParsedVerdict | None) -> Verdict:
    return Verdict(name, parsed, "toy-judge")


def score_of(benchmark, prompts, ours, theirs, verdicts):
    """Return the score of one contestant."""
    graded = Graded("me", "j", tuple(ours), tuple(theirs), tuple(verdicts), tuple(prompts))
    return benchmark.score([graded])[0]


def test_weighted_turns_a_preference_back_to_the_order_that_was_shown():
    weighted = bench("toy-weighted")
    prompts = weighted.prompts()
    ours, theirs = answers(prompts, "a", "b", "same"), answers(prompts, "c", "d", "same")
    requests = weighted.requests(ours, theirs)
    assert [r.id for r in requests] == [p.id for p in prompts[:2]]
    for request, mine, other in zip(requests, ("a", "b"), ("c", "d"), strict=True):
        shown = (other, mine) if not files.is_ours_first(request.id) else (mine, other)
        assert "[Answer m]\n{}\n[Answer M]\n{}\n".format(*shown) in request.messages[1].content
    values = [0.1 if not files.is_ours_first(p.id) else 0.9 for p in prompts[:2]]
    verdicts = [verdict(p.id, ParsedVerdict(x)) for p, x in zip(prompts, values, strict=False)]
    score = score_of(weighted, prompts, ours, theirs, verdicts)
    # our answer is preferred with 0.9 twice, and the equal answers are a draw
    assert score.estimates["win_rate"].value == pytest.approx(100 * (0.9 + 0.9 + 0.5) / 3)
    assert score.counts == {"asked": 3, "judged": 3, "unparsed": 0}


def test_an_unparsed_verdict_is_counted_and_excluded():
    weighted = bench("toy-weighted")
    prompts = weighted.prompts()
    ours, theirs = answers(prompts, "a", "b", "same"), answers(prompts, "c", "d", "same")
    value = 0.2 if not files.is_ours_first(prompts[0].id) else 0.8
    verdicts = [verdict(prompts[0].id, ParsedVerdict(value)), verdict(prompts[1].id, None)]
    score = score_of(weighted, prompts, ours, theirs, verdicts)
    assert score.estimates["win_rate"].value == pytest.approx(100 * (0.8 + 0.5) / 2)
    assert score.counts == {"asked": 3, "judged": 2, "unparsed": 1}
    assert score.items[1]["preference"] is None


def test_labels_count_strong_verdicts_three_times_and_equal_answers_as_a_draw():
    labels = bench("toy-labels")
    prompts = labels.prompts()
    ours, theirs = answers(prompts, "a", "b", "same"), answers(prompts, "c", "d", "same")
    assert [r.id for r in labels.requests(ours, theirs)] == [
        prompts[0].id + "#1",
        prompts[0].id + "#2",
        prompts[1].id + "#1",
        prompts[1].id + "#2",
    ]
    verdicts = [
        # game 1 shows the baseline first: B>>A is a strong win of ours, worth 3 of 3
        verdict(prompts[0].id + "#1", ParsedVerdict(0.0, "B>>A")),
        verdict(prompts[0].id + "#2", ParsedVerdict(1.0, "A>B")),
        verdict(prompts[1].id + "#1", ParsedVerdict(1.0, "A>B")),
        verdict(prompts[1].id + "#2", None),
    ]
    score = score_of(labels, prompts, ours, theirs, verdicts)
    # points 3 + 1 + 0 + 1 (the draw's two halves) of 3 + 1 + 1 + 2
    assert score.estimates["win_rate"].value == pytest.approx(100 * 5 / 7)
    assert score.counts == {"asked": 3, "judged": 2, "unparsed": 1}


@pytest.mark.parametrize(
    ("text", "value", "label"),
    [
        ("so [[A>>B]]", 1.0, "A>>B"),
        ("first [[A>B]], no: [[B>A]]", 0.0, "B>A"),
        ("[[A=B]]", 0.5, "A=B"),
    ],
)
def test_the_last_label_counts(text, value, label):
    assert bench("toy-labels").parse([reply(text)]) == ParsedVerdict(value, label)


@pytest.mark.parametrize("text", ["", "A>B", "[[A>A]]", "[[C>B]]", "[[B=A]]"])
def test_a_reply_without_a_valid_label_is_unparsed(text):
    assert bench("toy-labels").parse([reply(text)]) is None


def test_log_probabilities_are_read_as_a_share_of_both_identifiers():
    weighted = bench("toy-weighted")
    top = (("M", math.log(0.2)), ("m", math.log(0.6)), ("x", math.log(0.1)))
    assert weighted.parse([reply("m", (top,))]).value == pytest.approx(0.75)
    assert weighted.parse([reply("m", ((("x", -0.1),),))]) is None
    assert weighted.parse([reply("m")]) is None


def test_settings_are_chosen_and_figures_reported_on_other_prompts():
    chosen = {p.id for p in benchmark.held_out(0, 400)}
    for name in ("toy-weighted", "toy-labels"):
        reported = config.build(config.load("bench", name)).prompts()
        assert len(reported) == 400
        assert not chosen & {p.id for p in reported}


def reply(content: str, top=None) -> Reply:
    return Reply(content, top, "stop", judge.MODEL, 0, 1)
