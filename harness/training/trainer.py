"""The training loop: steps of packed micro-batches, a clipped gradient, a learning-rate schedule.

Master weights are float32. A step's loss is the mean over its items however they are packed, so
the memory of a micro-batch never changes the result. The host waits for the device once a step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from harness.core.seeds import derive
from harness.errors import CheckError, HarnessError
from harness.scoring import packing
from harness.training.checkpoints import Checkpoints
from harness.training.distributed import (
    SINGLE_PROCESS,
    World,
    full_tensor,
    reshard,
    set_gradient_sync,
)
from harness.training.optimisers import (
    OptimiserSettings,
    build_optimiser,
    learning_rate_factor,
    set_learning_rate,
)
from harness.types import Advance, StatusDisplay

LossOutput = tuple[Tensor, Mapping[str, Tensor]]
"""A micro-batch's losses and its other metrics by name, each of shape (items,)."""
LossFunction = Callable[[Sequence[int]], LossOutput]
StepMetrics = dict[str, Any]
EVALUATIONS = 10
"""How many times `evaluate` is called in the course of a training."""


class StepLog(Protocol):
    """Where the metrics of every step go."""

    def rewind(self, step: int) -> None:
        """Drop everything after a step."""

    def add(self, row: StepMetrics) -> None:
        """Record the metrics of a step."""


@dataclass(frozen=True)
class BatchPlan:
    """Which items each step trains on, and how long they are."""

    steps: Sequence[Sequence[int]]
    sizes: Sequence[int]
    """Tokens of each item in a pack."""
    name: Callable[[int], str] = str
    """Gives the name of an item in messages."""

    def packs(self, step: int, budget: int, world: World) -> list[Sequence[int]]:
        """Return this process's micro-batches of a step; every process gets the same number."""
        packs = packing.split_by_budget(self.steps[step], self.sizes, budget)
        return packing.packs_of_rank(packs, world.rank, world.size)

    def tokens(self, step: int) -> int:
        """Return the number of tokens in a step."""
        return sum(self.sizes[i] for i in self.steps[step])


@dataclass
class MemoryGuard:
    """Turns an out-of-memory error into advice, from the micro-batches that have fitted so far."""

    largest_fit: int = 0
    """Tokens of the largest micro-batch so far."""

    @contextmanager
    def guard(self, tokens: int, items: int) -> Iterator[None]:
        """Turn an out-of-memory error within the context into one that names a token budget.

        Raises:
            HarnessError: the device ran out of memory.
        """
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise HarnessError(self._advice(tokens, items)) from error
        self.largest_fit = max(self.largest_fit, tokens)

    def _advice(self, tokens: int, items: int) -> str:
        message = f"out of memory: {items} items with {tokens} tokens in total do not fit"
        if items == 1 and self.largest_fit < tokens:
            return (
                f"{message}: lower max_length, or --set optimiser.gradient_checkpointing=true, "
                "or train adapters with --set 'optimiser.lora={rank: 16}'"
            )
        budget = self.largest_fit or tokens // 2
        reason = "fitted" if self.largest_fit else "is half of it"
        return f"{message}: run again with --set optimiser.micro_tokens={budget}, which {reason}"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Recognise torch's out-of-memory errors; on the CPU only the message identifies them."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@dataclass
class Trainer:
    """A model, the loss to minimise, the batches, and where metrics and checkpoints go."""

    model: nn.Module
    settings: OptimiserSettings
    plan: BatchPlan
    loss: LossFunction
    log: StepLog
    checkpoints: Checkpoints | None = None
    world: World = SINGLE_PROCESS
    memory: MemoryGuard = field(default_factory=MemoryGuard)
    evaluate: Callable[[], StepMetrics] | None = None
    """Computes metrics too expensive for every step; called before `EVALUATIONS` of them."""

    def run(self, advance: Advance) -> None:
        """Minimise the mean of `loss` over the items of each step, from the last checkpoint on.

        Raises:
            CheckError: a loss or a gradient is not finite, or the checkpoint belongs to another
                training.
            HarnessError: a micro-batch does not fit the device's memory.
        """
        optimiser = build_optimiser(self.settings, reshard(self.model))
        done = self.checkpoints.resume(self.model, optimiser) if self.checkpoints else 0
        self.log.rewind(done)
        advance(done)
        total = len(self.plan.steps)
        for step in range(done, total):
            started = time.perf_counter()
            rate = self.settings.learning_rate * learning_rate_factor(self.settings, step, total)
            set_learning_rate(optimiser, rate)
            metrics = self._evaluate(step) | self._accumulate_gradient(step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            seconds = time.perf_counter() - started
            speed = {"seconds": seconds, "tokens_per_second": self.plan.tokens(step) / seconds}
            self.log.add({"step": step + 1, "learning_rate": rate, **metrics, **speed})
            advance(1)
            show_step(advance, {**metrics, **speed})
            if self.checkpoints and step + 1 < total:
                self.checkpoints.write_if_due(step + 1, self.model, optimiser)

    def _evaluate(self, step: int) -> StepMetrics:
        every = max(1, len(self.plan.steps) // EVALUATIONS)
        return self.evaluate() if self.evaluate and step % every == 0 else {}

    def _accumulate_gradient(self, step: int) -> StepMetrics:
        """Accumulate a step's gradient and clip it; return the means of its metrics.

        A process with fewer packs than the others runs one item with weight 0, so that all
        processes call the same collectives.
        """
        items = self.plan.steps[step]
        packs = self.plan.packs(step, self.settings.micro_tokens, self.world)
        sums: dict[str, Tensor] = {}
        losses: list[Tensor] = []
        for number, pack in enumerate(packs):
            batch = pack or items[:1]
            set_gradient_sync(self.model, is_last=number == len(packs) - 1)
            with self.memory.guard(sum(self.plan.sizes[i] for i in batch), len(batch)):
                item_losses, metrics = self.loss(batch)
                (item_losses.sum() * (self.world.size * bool(pack) / len(items))).backward()
            losses.append(item_losses.detach())
            for name, values in {"loss": item_losses, **metrics}.items():
                sums[name] = sums.get(name, 0) + values.detach().sum() * bool(pack)
        norm = full_tensor(nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip))
        total = self.world.all_reduce(torch.stack(list(sums.values())).double() / len(items))
        means = torch.cat([norm.double()[None], total]).tolist()  # the step's only device sync
        if not math.isfinite(means[0]):
            raise self._not_finite(step, packs, losses)
        return dict(zip(("gradient_norm", *sums), means, strict=True))

    def _not_finite(
        self, step: int, packs: Sequence[Sequence[int]], losses: Sequence[Tensor]
    ) -> CheckError:
        non_finite = [
            self.plan.name(item)
            for items, values in zip(packs, losses, strict=True)
            for item, value in zip(items, values.tolist(), strict=False)
            if not math.isfinite(value)
        ]
        non_finite = self.world.all_gather(non_finite)
        subject = f"the loss of {_join_names(non_finite)}" if non_finite else "the gradient"
        latest = self.checkpoints.latest_step() if self.checkpoints else 0
        note = f" (the checkpoint of step {latest} is kept)" if latest else ""
        return CheckError(
            f"{subject} at step {step + 1} is not finite{note}: inspect these items, "
            "or lower optimiser.learning_rate"
        )


def show_step(advance: Advance, metrics: Mapping[str, float]) -> None:
    """Show the loss and the speed of a step beside the progress, if that can be shown."""
    if isinstance(advance, StatusDisplay):
        speed = metrics["tokens_per_second"]
        advance.show_status(f"loss {metrics['loss']:.4g}, {speed:,.0f} tokens/s")


def _join_names(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def batch_order(count: int, batch: int, seed: int, epochs: int) -> list[list[int]]:
    """Return the items of every optimiser step; an epoch's last step holds the remainder."""
    return [step for epoch in range(epochs) for step in shuffle_epoch(count, batch, seed, epoch)]


def shuffle_epoch(count: int, batch: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Yield the items of an epoch's optimiser steps, in an order that (seed, epoch) determines."""
    permutation = np.random.default_rng(derive(seed, "order", epoch)).permutation(count)
    for start in range(0, count, batch):
        yield [int(i) for i in permutation[start : start + batch]]


def split_held_out(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the items to train on and those held out for evaluation, each in ascending order.

    Raises:
        CheckError: all items are held out.
    """
    permutation = np.random.default_rng(derive(seed, "held out")).permutation(count)
    held_out_count = round(share * count)
    if held_out_count >= count:
        raise CheckError(
            f"optimiser.held_out={share:g} holds out all {count} pairs: nothing is left to train "
            "on; lower it, or train on more prompts"
        )
    return sorted(int(i) for i in permutation[held_out_count:]), sorted(
        int(i) for i in permutation[:held_out_count]
    )
