"""Several processes that train one model: FSDP2 (`fully_shard`), each with its share of the packs.

Two rules keep the result what one process gives. Every process takes the same number of
micro-batches, the last perhaps empty (it runs with weight 0). Losses are weighted by
processes / items of the step, since FSDP averages gradients over processes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def here() -> World:
        """Return the place of this process in the default group, if there is one."""
        if not dist.is_initialized():
            return ALONE
        return World(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def agreed(self, flag: bool) -> bool:
        """Return what the first process says, in every process."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=device())
        dist.broadcast(told, 0)
        return bool(told.item())

    def total(self, sums: Tensor) -> Tensor:
        """Return sums over all processes."""
        if self.size > 1:
            dist.all_reduce(sums)
        return sums

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            dist.barrier()


ALONE = World()


def device() -> str:
    """Return where this process's tensors go."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"


def summing(model: nn.Module, last: bool) -> None:
    """Have gradients summed over processes at the step's last micro-batch only."""
    if dist.is_initialized():
        from torch.distributed.fsdp import FSDPModule

        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(last)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its shards."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
