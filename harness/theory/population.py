"""An objective's population loss: its mean over all pairs of actions, weighted by frequency.

The objective is the same function that trains language models. It receives a batch in which each
pair (chosen i, rejected j) of each game is one row, and each response is one token long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from harness.core.config import Component
from harness.errors import CheckError
from harness.statistics.resampling import Floats
from harness.types import Logps, PairBatch

if TYPE_CHECKING:
    from torch import Tensor

MIN_SHARE = 1e-13
"""Pairs with a smaller share count as absent."""
ZERO_LOSS = 1e-12
"""Losses below this count as 0."""
FLAT_CURVATURE = 1e-11
"""Directions with less than this share of the largest curvature count as flat."""


@dataclass(frozen=True, slots=True)
class Population:
    """One iteration's pairs and anchors, one row per prompt of a game."""

    objective: Callable[[PairBatch], Tensor]
    preference: Floats
    """P(i ≻ j), shape (rows, actions, actions)."""
    weights: Floats
    """Frequency of the pair (chosen i, rejected j), shape (rows, actions, actions)."""
    rates: Floats
    """P(y ≻ π_t) of every action, shape (rows, actions)."""
    anchors: Mapping[str, Floats]
    """Policies by anchor, shape (rows, actions)."""

    def loss(self, logits: Tensor) -> Tensor:
        """Return the weighted mean of the objective's losses, shape (rows,)."""
        import torch

        policy = _pair_logps(torch.log_softmax(logits, -1))
        lengths = Logps(torch.ones_like(policy.chosen), torch.ones_like(policy.chosen))
        anchors = {name: _pair_logps(torch.from_numpy(p).log()) for name, p in self.anchors.items()}
        probability = torch.from_numpy(self.preference).reshape(-1)
        rates = _pair_logps(torch.from_numpy(self.rates))
        losses = self.objective(PairBatch(policy, anchors, lengths, probability, rates))
        weights = torch.from_numpy(np.where(self.weights < MIN_SHARE, 0.0, self.weights))
        return (weights * losses.reshape(weights.shape)).sum((1, 2))

    def exposure(self) -> Floats:
        """Return each action's frequency in pairs with another action, shape (rows, actions)."""
        off_diagonal = 1 - np.eye(self.weights.shape[-1])
        weights = np.where(self.weights < MIN_SHARE, 0.0, self.weights) * off_diagonal
        exposure: Floats = weights.sum(-1) + weights.sum(-2)
        return exposure


def _pair_logps(logps: Tensor) -> Logps:
    """Return the log-probabilities of all ordered pairs, flattened game by game."""
    square = (*logps.shape, logps.shape[-1])
    chosen = logps[:, :, None].expand(square)
    rejected = logps[:, None, :].expand(square)
    return Logps(chosen.reshape(-1), rejected.reshape(-1))


class Newton(Component):
    """Exact minimisation: Newton's method along the directions that the loss depends on."""

    steps: int = Field(default=50, gt=0)
    max_step: float = Field(default=20.0, gt=0)
    """The longest step, in nats."""
    tolerance: float = Field(default=1e-16, gt=0)
    """Stop at a step whose predicted decrease is at most this share of the loss."""

    def solve(self, population: Population, start: Floats) -> Floats:
        """Return the minimiser's logits.

        Raises:
            CheckError: there is none, for instance where one action always wins.
        """
        import torch

        logits = torch.from_numpy(start)
        scale = torch.from_numpy(1 / np.sqrt(np.maximum(population.exposure(), 1e-300)))
        scale = torch.where(scale > 1e140, 0.0, scale)
        for _ in range(self.steps):
            step, slope = _newton_step(population, logits, scale)
            longest = step.abs().amax(-1, keepdim=True)
            step = step * (self.max_step / longest.clamp(min=self.max_step))
            logits = logits + step * _step_fraction(population, logits, step, slope)
            loss_scale = population.loss(logits).abs().clamp(min=ZERO_LOSS)
            if bool((-slope <= self.tolerance * loss_scale).all()):
                minimizer: Floats = logits.numpy()
                return minimizer
        raise CheckError(
            f"the population loss has no minimiser within {self.steps} Newton steps; use pairs "
            "with Bernoulli labels, or fit by gradient descent, which stops after its steps"
        )


def _newton_step(population: Population, logits: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step, shape (rows, actions), and the loss's slope along it, shape (rows,).

    Logits are scaled by the frequency of their action, so that rare actions count as much.
    """
    import torch

    point = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(population.loss(point).sum(), point, create_graph=True)
    actions = range(logits.shape[1])
    hessian_rows = [
        torch.autograd.grad(gradient[:, k].sum(), point, retain_graph=True)[0] for k in actions
    ]
    gradient = gradient.detach()
    hessian = torch.stack(hessian_rows, 1) * scale[:, :, None] * scale[:, None, :]
    curvature, directions = torch.linalg.eigh((hessian + hessian.mT) / 2)
    is_curved = curvature.abs() > FLAT_CURVATURE * curvature.abs().amax(-1, keepdim=True)
    inverse = torch.where(is_curved, 1 / curvature.abs().clamp(min=1e-300), 0.0)
    projected = (directions.mT @ (gradient * scale)[..., None])[..., 0]
    step = -scale * (directions @ (inverse * projected)[..., None])[..., 0]
    return step, (step * gradient).sum(-1)


def _step_fraction(population: Population, logits: Tensor, step: Tensor, slope: Tensor) -> Tensor:
    """Return the fraction of each game's step, halved until its loss falls, shape (rows, 1)."""
    import torch

    size = torch.ones(len(logits), dtype=logits.dtype)
    with torch.inference_mode():
        initial_loss = population.loss(logits)
        rounding = 1e-13 * (1 + initial_loss.abs())
        for _ in range(30):
            loss = population.loss(logits + size[:, None] * step)
            is_worse = ~(loss <= initial_loss + 1e-4 * size * slope + rounding)
            if not is_worse.any():
                break
            size = torch.where(is_worse, size / 2, size)
    return size.clone()[:, None]


class GradientDescent(Component):
    """A fixed number of plain gradient steps in the logits, as in training."""

    steps: int = Field(default=100, gt=0)
    rate: float = Field(default=0.5, gt=0)
    """Step size: change of the logits per unit of gradient."""

    def solve(self, population: Population, start: Floats) -> Floats:
        """Return the logits after the steps."""
        import torch

        logits = torch.from_numpy(start).clone().requires_grad_()
        for _ in range(self.steps):
            (gradient,) = torch.autograd.grad(population.loss(logits).sum(), logits)
            logits = (logits - self.rate * gradient).detach().requires_grad_()
        result: Floats = logits.detach().numpy()
        return result
