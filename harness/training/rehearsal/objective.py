"""An objective on made-up log-probabilities: whether its losses can be minimised."""

from __future__ import annotations

import torch

from harness.errors import CheckError
from harness.protocols import Objective
from harness.training.optimisation import assemble_batch
from harness.types import Pair

LOGPS = ((-20.0, -24.0), (-31.0, -28.0))
"""Of two pairs, chosen and rejected, in nats."""
PAIRS = tuple(
    Pair(f"pair {i}", (1,), (1,) * 8, (1,) * 9, 0.9, win_rates=(0.7, 0.3), rewards=(1.0, -0.5))
    for i in range(len(LOGPS))
)


def check_objective(objective: Objective) -> None:
    """Check that an objective gives a finite loss for each pair, and a gradient.

    Raises:
        CheckError: it does not.
    """
    live = torch.tensor(LOGPS, requires_grad=True)
    frozen = {name: live.detach() for name in {"previous", *objective.anchors}}
    losses = objective(assemble_batch(live, PAIRS, frozen, range(len(PAIRS))))
    name = type(objective).__name__
    if losses.shape != (len(PAIRS),):
        raise CheckError(
            f"the objective {name} gives losses of shape {tuple(losses.shape)} for {len(PAIRS)} "
            "pairs: it must give one a pair"
        )
    if not bool(losses.isfinite().all()):
        raise CheckError(
            f"the objective {name} gives {losses.tolist()} where the policy is its anchors: look "
            "at its constants"
        )
    _check_gradient(name, live, losses)


def _check_gradient(name: str, live: torch.Tensor, losses: torch.Tensor) -> None:
    gradient = None
    if losses.requires_grad:
        (gradient,) = torch.autograd.grad(losses.sum(), live, allow_unused=True)
    if gradient is None or not bool(gradient.any()):
        raise CheckError(
            f"the objective {name} has no gradient where the policy is its anchors: training would "
            "change nothing; look at its constants"
        )
    if not bool(gradient.isfinite().all()):
        raise CheckError(
            f"the gradient of the objective {name} is not finite where the policy is its anchors: "
            "look at its constants"
        )
