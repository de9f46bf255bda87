"""Values equal to TRL 1.16's own code, for the losses that it has."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from baselines.apo_down import APODown
from baselines.apo_zero import APOZero
from baselines.cdpo import CDPO
from baselines.discopop import DiscoPOP
from baselines.dpo import DPO
from baselines.exo import EXO
from baselines.hinge import Hinge
from baselines.ipo import IPO
from baselines.kto import KTO
from baselines.nca import NCA
from baselines.robust_dpo import RobustDPO
from baselines.rpo import RPO
from baselines.simpo import SimPO
from baselines.sppo_hard import SPPOHard
from harness.types import Logps, PairBatch
from tests.objectives.pairs import drawn

pytest.importorskip("trl")
BATCH = drawn(5, seed=3)


def trl_dpo(batch: PairBatch, loss: list[str], anchor: str, **settings: float) -> float:
    """The loss that TRL's DPO trainer takes of a batch with these log-probabilities.

    Its method runs on a shell in the trainer's place, with a model that tells every response's
    log-probability spread evenly over its tokens.
    """
    from trl import DPOTrainer

    lengths = torch.cat([batch.lengths.chosen, batch.lengths.rejected]).long()
    logps = torch.cat([batch.policy.chosen, batch.policy.rejected])
    mask = torch.arange(int(lengths.max()) + 1) <= lengths[:, None]
    mask[:, 0] = False  # the prompt, of one token
    spread = torch.where(mask[:, 1:], (logps / lengths)[:, None], 0.0)
    tokens = torch.zeros_like(mask, dtype=torch.long)
    expected = SimpleNamespace(
        log_probs=spread,
        entropy=torch.zeros_like(spread),
        mean_logits=torch.zeros_like(spread),
        is_top1=torch.zeros_like(spread, dtype=torch.bool),
    )
    shell = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(
            device="cpu", gather=lambda value: value, gather_for_metrics=lambda value: value
        ),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=loss,
        loss_weights=[1.0, settings.get("alpha", 0.0)][: len(loss)],
        beta=settings["beta"],
        label_smoothing=settings.get("epsilon", 0.0),
        use_weighting=False,
        args=SimpleNamespace(discopop_tau=settings.get("tau")),
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "completion_mask": mask.long(),
        "ref_chosen_logps": batch.anchors[anchor].chosen,
        "ref_rejected_logps": batch.anchors[anchor].rejected,
    }
    return DPOTrainer._compute_loss(shell, lambda **_: expected, inputs, False).item()


@pytest.mark.parametrize(
    ("objective", "loss", "settings"),
    [
        (DPO(beta=0.3), ["sigmoid"], {"beta": 0.3}),
        (RobustDPO(beta=0.3, epsilon=0.2), ["robust"], {"beta": 0.3, "epsilon": 0.2}),
        (IPO(tau=0.3, per_token=True), ["ipo"], {"beta": 0.3}),
        (APOZero(beta=0.3), ["apo_zero"], {"beta": 0.3}),
        (APODown(beta=0.3), ["apo_down"], {"beta": 0.3}),
        (EXO(beta=0.3, epsilon=0.1), ["exo_pair"], {"beta": 0.3, "epsilon": 0.1}),
        (NCA(beta=0.3), ["nca_pair"], {"beta": 0.3}),
        (Hinge(beta=0.3), ["hinge"], {"beta": 0.3}),
        (DiscoPOP(beta=0.3, tau=0.2), ["discopop"], {"beta": 0.3, "tau": 0.2}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_losses_with_a_reference(objective, loss, settings):
    expected = trl_dpo(BATCH, loss, "reference", **settings)
    assert objective(BATCH).mean().item() == pytest.approx(expected, rel=1e-6)


def test_summed_ipo_is_trls_for_responses_of_one_token():
    one_token = torch.ones(5, dtype=torch.float64)
    batch = replace(BATCH, lengths=Logps(one_token, one_token))
    expected = trl_dpo(batch, ["ipo"], "reference", beta=0.3)
    assert IPO(tau=0.3)(batch).mean().item() == pytest.approx(expected, rel=1e-6)


def test_sppo_hard_is_half_of_trls():
    expected = trl_dpo(BATCH, ["sppo_hard"], "previous", beta=0.25)
    assert SPPOHard(eta=4.0)(BATCH).mean().item() == pytest.approx(expected / 2, rel=1e-6)


def test_rpo_is_trls_where_chosen_responses_are_equally_long():
    fours = torch.full((5,), 4.0, dtype=torch.float64)
    batch = replace(BATCH, lengths=Logps(fours, fours))
    expected = trl_dpo(batch, ["sigmoid", "sft"], "reference", beta=0.3, alpha=0.7)
    assert RPO(beta=0.3, alpha=0.7)(batch).mean().item() == pytest.approx(expected, rel=1e-6)


def test_kto_with_its_reference_point_at_zero_is_trls_unpaired_loss():
    # apo_zero is KTO with z = 0; z is 0 where the responses became less likely
    policy = Logps(BATCH.policy.chosen - 9, BATCH.policy.rejected - 9)
    batch = replace(BATCH, policy=policy)
    expected = trl_dpo(batch, ["apo_zero"], "reference", beta=0.3)
    assert KTO(beta=0.3)(batch).mean().item() == pytest.approx(expected, rel=1e-6)


def trl_cpo(logps: Logps, loss: str, beta: float, **settings: float) -> torch.Tensor:
    from trl.experimental.cpo import CPOTrainer

    shell = SimpleNamespace(
        alpha=0.0,
        accelerator=SimpleNamespace(device="cpu"),
        loss_type=loss,
        beta=beta,
        simpo_gamma=settings.get("gamma", 0.0),
        label_smoothing=settings.get("epsilon", 0.0),
    )
    return CPOTrainer.cpo_loss(shell, logps.chosen, logps.rejected)[0]


def test_simpo():
    expected = trl_cpo(BATCH.policy / BATCH.lengths, "simpo", beta=2.0, gamma=0.6)
    torch.testing.assert_close(SimPO(beta=2.0, gamma=0.6)(BATCH), expected)


def test_cdpo_is_trls_smoothed_loss_of_log_ratios():
    ratios = BATCH.policy - BATCH.anchors["reference"]
    expected = trl_cpo(ratios, "sigmoid", beta=0.3, epsilon=0.1)
    torch.testing.assert_close(CDPO(beta=0.3, epsilon=0.1)(BATCH), expected)
