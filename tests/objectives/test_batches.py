"""Batches that are created by hand: an objective needs the fields that it reads, and no others."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
import torch

from baselines.dno import DNO
from baselines.dpo import DPO, dpo_loss
from baselines.ipo import IPO
from baselines.rpo import RPO
from baselines.simpo import SimPO
from baselines.sppo import SPPO
from baselines.sppo_hard import SPPOHard
from harness.errors import HarnessError
from harness.objectives.inpo import INPO, SoftINPO
from harness.types import Logps, PairBatch

POLICY = Logps(torch.tensor([-1.0]), torch.tensor([-3.0]))
REFERENCE = Logps(torch.tensor([-2.0]), torch.tensor([-2.5]))
BARE = PairBatch(POLICY, {"reference": REFERENCE, "previous": REFERENCE})


def test_dpo_takes_two_pairs_of_log_probabilities():
    batch = PairBatch(POLICY, {"reference": REFERENCE})
    # beta * ((-1 + 2) - (-3 + 2.5)) = 0.1 * 1.5; -log sigmoid(0.15) = 0.620957
    assert dpo_loss(batch, beta=0.1).item() == pytest.approx(0.620957, abs=1e-6)
    assert DPO(beta=0.1).margin(batch).item() == pytest.approx(0.15)


@pytest.mark.parametrize("objective", [INPO(eta=1, tau=0.5), IPO(tau=0.1), SPPOHard(eta=2)])
def test_other_objectives_need_no_more(objective):
    assert objective(BARE).shape == (1,)


@pytest.mark.parametrize(
    ("objective", "field"),
    [
        (SimPO(beta=2, gamma=1), "lengths"),
        (IPO(tau=0.1, per_token=True), "lengths"),
        (RPO(beta=0.1, alpha=1), "lengths"),
        (SoftINPO(eta=1, tau=0.5), "probability"),
        (SPPO(eta=1), "win_rates"),
        (DNO(eta=1), "win_rates"),
    ],
    ids=repr,
)
def test_a_field_that_is_read_and_missing_is_named(objective, field):
    with pytest.raises(HarnessError, match=rf"reads `{field}`.* PairBatch\(.*, {field}=\.\.\.\)"):
        objective(BARE)


@pytest.mark.parametrize(
    "read",
    [
        lambda batch: torch.log(batch.probability),
        lambda batch: torch.ones(1) - batch.probability,
        lambda batch: -batch.probability,
        lambda batch: batch.probability > 0.5,
        lambda batch: batch.probability.clamp(0, 1),
    ],
)
def test_whatever_reads_a_missing_field_is_refused(read):
    with pytest.raises(HarnessError, match="reads `probability`"):
        read(BARE)


def test_a_batch_without_some_fields_is_copied_like_any_other():
    assert "lengths=None" in repr(BARE)
    for copied in (
        replace(BARE, lengths=None),
        copy.deepcopy(BARE),
        pickle.loads(pickle.dumps(BARE)),
    ):
        assert torch.equal(copied.policy.chosen, POLICY.chosen)
        with pytest.raises(HarnessError, match="reads `lengths`"):
            assert copied.lengths.chosen
