"""The optimiser's loop: steps of packed micro-batches, clipped AdamW, a learning-rate schedule.

Masters are float32. A step's loss is the mean over its items however they are packed, so that the
memory a micro-batch takes never changes the result. The host waits for the device once a step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.errors import CheckError
from harness.scoring import packing
from harness.training.checkpoints import Checkpoints
from harness.training.distributed import ALONE, World, resharded, summing, whole
from harness.training.memory import Memory
from harness.training.optimisers import Optimiser, factor, optimiser_of, set_rate
from harness.types import Advance

Part = tuple[Tensor, Mapping[str, Tensor]]
"""A micro-batch's losses, one an item, and what else of it is worth a line in the log."""
Loss = Callable[[Sequence[int]], Part]
Row = dict[str, Any]
EXAMINATIONS = 10
"""How often a training is looked at more closely."""


class Record(Protocol):
    """Where the figures of every step go."""

    def rewind(self, step: int) -> None:
        """Forget what came after a step."""

    def add(self, row: Row) -> None:
        """Keep the figures of a step."""


@dataclass(frozen=True)
class Plan:
    """Which items each step trains on, and what they take."""

    steps: Sequence[Sequence[int]]
    sizes: Sequence[int]
    """By item: its tokens in a pack."""
    name: Callable[[int], str] = str
    """What messages call an item."""

    def packs(self, step: int, budget: int, world: World) -> list[Sequence[int]]:
        """Return this process's micro-batches of a step; as many in every process."""
        packs = packing.split(self.steps[step], self.sizes, budget)
        return packing.share(packs, world.rank, world.size)

    def tokens(self, step: int) -> int:
        """Return the tokens of a step."""
        return sum(self.sizes[i] for i in self.steps[step])


@dataclass
class Trainer:
    """A model in training: what is minimised, by what, and where it is told and kept."""

    model: nn.Module
    settings: Optimiser
    plan: Plan
    loss: Loss
    record: Record
    checkpoints: Checkpoints | None = None
    world: World = ALONE
    memory: Memory = field(default_factory=Memory)
    examine: Callable[[], Row] | None = None
    """Gives figures that are too dear for every step; called before some of them."""

    def run(self, advance: Advance) -> None:
        """Minimise the mean of `loss` over the items of every step, from the last checkpoint on.

        Raises:
            CheckError: a loss or a gradient is not finite, or a checkpoint is another training's.
            HarnessError: a micro-batch does not fit the device's memory.
        """
        optimiser = optimiser_of(self.settings, resharded(self.model))
        done = self.checkpoints.resume(self.model, optimiser) if self.checkpoints else 0
        self.record.rewind(done)
        advance(done)
        total = len(self.plan.steps)
        for step in range(done, total):
            begun = time.perf_counter()
            rate = self.settings.learning_rate * factor(self.settings, step, total)
            set_rate(optimiser, rate)
            figures = self._examined(step) | self._gradient(step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            seconds = time.perf_counter() - begun
            speed = {"seconds": seconds, "tokens_per_second": self.plan.tokens(step) / seconds}
            self.record.add({"step": step + 1, "learning_rate": rate, **figures, **speed})
            advance(1)
            if self.checkpoints and step + 1 < total:
                self.checkpoints.offer(step + 1, self.model, optimiser)

    def _examined(self, step: int) -> Row:
        every = max(1, len(self.plan.steps) // EXAMINATIONS)
        return self.examine() if self.examine and step % every == 0 else {}

    def _gradient(self, step: int) -> Row:
        """Accumulate a step's gradient, clipped; return the means of its figures.

        A process that has fewer packs than the others takes one item with weight 0, so that all
        call the same collectives.
        """
        items = self.plan.steps[step]
        packs = self.plan.packs(step, self.settings.micro_tokens, self.world)
        sums: dict[str, Tensor] = {}
        losses: list[Tensor] = []
        for number, pack in enumerate(packs):
            taken = pack or items[:1]
            summing(self.model, last=number == len(packs) - 1)
            with self.memory.holding(sum(self.plan.sizes[i] for i in taken), len(taken)):
                parts, figures = self.loss(taken)
                (parts.sum() * (self.world.size * bool(pack) / len(items))).backward()
            losses.append(parts.detach())
            for name, values in {"loss": parts, **figures}.items():
                sums[name] = sums.get(name, 0) + values.detach().sum() * bool(pack)
        norm = whole(nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip))
        total = self.world.total(torch.stack(list(sums.values())).double() / len(items))
        told = torch.cat([norm.double()[None], total]).tolist()  # the step's one wait
        if not math.isfinite(told[0]):
            raise self._not_finite(step, packs, losses)
        return dict(zip(("gradient_norm", *sums), told, strict=True))

    def _not_finite(
        self, step: int, packs: Sequence[Sequence[int]], losses: Sequence[Tensor]
    ) -> CheckError:
        bad = [
            self.plan.name(item)
            for items, values in zip(packs, losses, strict=True)
            for item, value in zip(items, values.tolist(), strict=False)
            if not math.isfinite(value)
        ]
        bad = self.world.joined(bad)
        what = f"the loss of {_listed(bad)}" if bad else "the gradient"
        kept = self.checkpoints.newest() if self.checkpoints else 0
        told = f" (the checkpoint of step {kept} is kept)" if kept else ""
        return CheckError(
            f"{what} at step {step + 1} is not finite{told}: look at these items, "
            "or lower optimiser.learning_rate"
        )


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
