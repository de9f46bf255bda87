"""Alarms: each is raised once, and a healthy training raises none."""

from __future__ import annotations

import torch

from baselines.dpo import DPO
from harness.training import metrics
from harness.types import Logps, Pair, PairBatch

END, START = 9, 1


def pair(prompt=(START, 5), chosen=(5, END), rejected=(6, END)) -> Pair:
    return Pair("p", prompt, chosen, rejected, 0.9)


def alarms_of(losses: list[float], **figures) -> list[str]:
    watch = metrics.AlarmMonitor()
    rows = ({"step": i + 1, "loss": loss, **figures} for i, loss in enumerate(losses))
    return [alarm for row in rows for alarm in watch.check(row)]


def test_drifts_are_logged_as_drifts_and_not_as_divergences():
    # log π: −2 and −7; log π_t: −3 and −5; log π_ref: −4 and −4
    live, previous, reference = (
        Logps(torch.tensor([a]), torch.tensor([b]))
        for a, b in ((-2.0, -7.0), (-3.0, -5.0), (-4.0, -4.0))
    )
    batch = PairBatch(
        policy=live,
        anchors={"previous": previous, "reference": reference},
        lengths=Logps(torch.tensor([3]), torch.tensor([4])),
    )
    row = {name: float(v) for name, v in metrics.step_metrics(batch, DPO(beta=0.1)).items()}
    assert (row["chosen_drift"], row["rejected_drift"]) == (1.0, -2.0)
    assert (row["previous_drift"], row["reference_drift"]) == (-0.5, -0.5)
    assert not [name for name in row if name.startswith("kl")]


def test_healthy_pairs_and_a_falling_loss_give_no_alarm():
    assert metrics.pair_alarms([pair()] * 10, (END,), START) == []
    assert alarms_of([0.6931 - 0.001 * i for i in range(50)], chosen_drift=0.0, entropy=2.0) == []


def test_a_doubled_beginning_of_text():
    alarms = metrics.pair_alarms([pair(prompt=(START, START, 5)), pair()], (END,), START)
    assert alarms == ["double beginning of text: in 1 of 2 prompts"]
    assert metrics.pair_alarms([pair(prompt=(5, 5))], (END,), None) == []


def test_responses_without_an_end():
    assert (
        "no response has" in metrics.pair_alarms([pair(chosen=(5,), rejected=(6,))], (END,), 1)[0]
    )
    # 2 of 18 is above a tenth, 2 of 20 is not
    for healthy, expected in ((8, 1), (9, 0)):
        pairs = [pair(chosen=(5,), rejected=(6,)), *[pair()] * healthy]
        assert len(metrics.pair_alarms(pairs, (END,), START)) == expected


def test_a_loss_that_does_not_move():
    assert [a.partition(":")[0] for a in alarms_of([0.6931] * 60)] == ["flat loss"]
    assert alarms_of([0.6931] * 19) == []


def test_live_and_stored_apart_at_the_first_step():
    (alarm,) = alarms_of([1.0, 1.0], chosen_drift=0.7)
    assert alarm.startswith("live apart from stored: 0.7 nats")


def test_entropy_that_collapses():
    watch = metrics.AlarmMonitor()
    assert watch.check({"step": 1, "loss": 1.0, "entropy": 2.0}) == []
    assert watch.check({"step": 5, "loss": 1.0, "entropy": 1.1}) == []
    assert watch.check({"step": 9, "loss": 1.0, "entropy": 0.9})[0].startswith("collapsing entropy")
    assert watch.check({"step": 12, "loss": 1.0, "entropy": 0.8}) == []


def test_losing_on_held_out_comparisons():
    watch = metrics.AlarmMonitor()
    (alarm,) = watch.check({"step": 30, "loss": 1.0, "held_out_accuracy": 0.4})
    assert "40 %" in alarm
