"""What is said of prompts that give no pair: the table, warnings, and the largest cause."""

from __future__ import annotations

import logging

import pytest

from harness.core import config
from harness.errors import CheckError
from harness.training import pair_report, rollout
from harness.training.dropped import DropTable
from harness.training.spec import TrainSpec
from harness.training.trainer import split_held_out
from harness.types import Completion

SPEC = config.construct(TrainSpec, config.load("train", "toy/inpo", ("samples=4",)))


def table(**counts: int) -> DropTable:
    dropped = DropTable()
    for reason, count in counts.items():
        dropped.add(reason.replace("_", " "), "prompt x", count)
    return dropped


@pytest.mark.parametrize(
    ("dropped", "remedy"),
    [
        (table(truncated=9, undecided=1), "raise it, or set keep_truncated=true"),
        (table(too_long=9, undecided=1), "max_length"),
        (table(identical=9, too_long=1), "sampling.temperature"),
        (table(undecided=9, too_long=1), "the oracle decides nothing"),
        (table(without_tokens=9, too_long=1), "no token ids"),
        (table(), "head_to_head_prompts"),
    ],
)
def test_where_no_pair_is_kept_the_largest_cause_and_its_remedy_are_named(dropped, remedy):
    with pytest.raises(CheckError, match=remedy):
        pair_report.report(SPEC, 1, {"prompts": 10}, dropped)


def test_few_pairs_and_many_cut_off_responses_are_warned_of(caplog):
    counts = {"prompts": 1000, "kept": 99, "truncated": 3000}
    pair_report.report(SPEC, 2, counts, table(truncated=901))
    few = "warning: iteration 2 has only 99 pairs of 1000 prompts: 901 times cut off at sampling.ma"
    assert any(line.startswith(few) for line in caplog.messages)
    assert any("3000 of 4000 responses of iteration 2 are cut off" in m for m in caplog.messages)
    assert any("901 of 1000 are dropped" in m for m in caplog.messages)


def test_a_tenth_of_many_prompts_is_few(caplog):
    pair_report.report(SPEC, 1, {"prompts": 5000, "kept": 499}, table())
    assert "only 499 pairs of 5000" in caplog.text


@pytest.mark.parametrize(("retained", "warned"), [(40, False), (28, True)])
def test_few_pairs_of_few_prompts_are_what_was_asked_for(caplog, retained, warned):
    counts = {"prompts": 64, "held out": 4, "kept": retained}  # of 60 half are lost, or not
    pair_report.report(SPEC, 1, counts, table())
    assert ("only" in caplog.text) == warned


def test_enough_pairs_raise_no_warning(caplog):
    with caplog.at_level(logging.WARNING):
        pair_report.report(SPEC, 1, {"prompts": 1000, "kept": 900}, table(undecided=100))
    assert not caplog.messages


def test_what_is_dropped_is_one_table_with_an_example(caplog):
    dropped = DropTable()
    dropped.add("repeated", "line 2: a\nb")
    dropped.add("repeated", "line 9: c")
    dropped.add("unusable", "line 4: prompt is null")
    assert dropped.lines("prompts", 12) == [
        "prompts: 3 of 12 are dropped",
        "  repeated        2  line 2: a b",
        "  unusable        1  line 4: prompt is null",
    ]
    with caplog.at_level(logging.INFO):
        dropped.report("prompts", 12)
        assert caplog.messages[0] == "warning: prompts: 3 of 12 are dropped"
        caplog.clear()
        dropped.report("prompts", 16)
        assert caplog.messages[0] == "prompts: 3 of 16 are dropped"


def test_why_a_prompt_gives_no_pair():
    def answer(index: int, text: str, reason: str = "stop") -> Completion:
        return Completion("p", index, text, (1,), (2,), reason, 0)

    complete, cut = [answer(0, "a"), answer(1, "b")], [answer(2, "c", "length")]
    assert rollout.undecided_reason(complete, complete) == "undecided"
    assert rollout.undecided_reason(complete + cut, complete[:1]) == "truncated"
    assert rollout.undecided_reason(complete, [answer(0, "a"), answer(1, "a")]) == "identical"


def test_to_hold_out_everything_is_refused():
    # round(0.96 × 10) = 10
    with pytest.raises(CheckError, match="held_out=0.96 holds out all 10 pairs"):
        split_held_out(10, 0.96, 0)
    trained, held_out = split_held_out(100, 0.96, 0)
    assert (len(trained), len(held_out)) == (4, 96)
