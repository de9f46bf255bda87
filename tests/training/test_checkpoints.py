"""Checkpoints: written atomically, the latest kept, another configuration refused."""

from __future__ import annotations

import json

import pytest
import torch

from harness.errors import CheckError
from harness.training.checkpoints import STATE_FILE, Checkpoints


def trained(steps: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(steps):
        model(torch.ones(1, 2)).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    return model, optimiser


def checkpoints_in(folder, minutes: float = 0, keep: int = 2, **identity) -> Checkpoints:
    return Checkpoints(folder, identity or {"objective": "a"}, minutes, keep)


def test_a_checkpoint_gives_back_weights_moments_and_step(tmp_path):
    model, optimiser = trained(3)
    checkpoints_in(tmp_path).write(3, model, optimiser)
    other, fresh = trained(0)
    assert checkpoints_in(tmp_path).resume(other, fresh) == 3
    assert torch.equal(model.weight, other.weight)
    for name in ("exp_avg", "exp_avg_sq", "step"):
        states = [o.state[m.weight][name] for o, m in ((optimiser, model), (fresh, other))]
        assert torch.equal(*states)


def test_the_last_two_are_kept(tmp_path):
    checkpoints = checkpoints_in(tmp_path)
    for step in (1, 2, 3):
        checkpoints.write(step, *trained(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-2", "step-3"]


def test_a_checkpoint_is_due_after_its_minutes(tmp_path):
    checkpoints = checkpoints_in(tmp_path, minutes=10)
    checkpoints.write_if_due(1, *trained(1))
    assert checkpoints.latest_step() == 0
    checkpoints._last_written -= 601
    checkpoints.write_if_due(2, *trained(2))
    assert checkpoints.latest_step() == 2


def test_one_that_was_killed_while_written_is_not_found(tmp_path):
    checkpoints = checkpoints_in(tmp_path)
    checkpoints.write(1, *trained(1))
    (tmp_path / "step-1").rename(tmp_path / ".partial-2")
    assert checkpoints.latest_step() == 0
    checkpoints.write(2, *trained(2))
    assert checkpoints.latest_step() == 2


def test_one_of_another_configuration_is_refused(tmp_path):
    checkpoints_in(tmp_path, objective="a", seed=0).write(4, *trained(4))
    with pytest.raises(
        CheckError, match="step-4 belongs to a training with another objective: remove"
    ):
        checkpoints_in(tmp_path, objective="b", seed=0).resume(*trained(0))
    state = json.loads((tmp_path / "step-4" / STATE_FILE).read_text())
    assert state["step"] == 4


def test_an_unreadable_checkpoint_is_reported_with_what_wrote_it(tmp_path):
    checkpoints_in(tmp_path).write(4, *trained(4))
    model = torch.nn.Linear(3, 3)
    with pytest.raises(
        CheckError, match="step-4, written by 1 processes, cannot be read by 1: continue"
    ):
        checkpoints_in(tmp_path).resume(model, torch.optim.AdamW(model.parameters(), fused=True))
