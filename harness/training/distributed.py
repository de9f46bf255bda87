"""Processes that train one model: FSDP2 (`fully_shard`), each with its share of the packs.

Masters, gradients and moments are float32 shards; a layer is made whole in what is computed in, for
as long as it computes. One process alone trains so too where it computes in bfloat16.

Two rules keep the result what one process gives. Every process takes the same number of
micro-batches, the last perhaps empty (it runs with weight 0). Losses are weighted by
processes / items of the step, since FSDP averages gradients over processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from harness.core.hardware import default_device, group_backend

if TYPE_CHECKING:
    from harness.scoring.scorer import Scorer

HYBRID = ("replicate", "shard")


@dataclass(frozen=True, slots=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def current() -> World:
        """Return the place of this process in the default group, if there is one."""
        if not dist.is_initialized():
            return SINGLE_PROCESS
        return World(dist.get_rank(), dist.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def broadcast(self, number: int) -> int:
        """Return what the first process says, in every process."""
        if self.size == 1:
            return number
        shared = torch.tensor(number, device=default_device())
        dist.broadcast(shared, 0)
        return int(shared.item())

    def all_reduce(self, sums: Tensor) -> Tensor:
        """Return sums over all processes."""
        if self.size > 1:
            dist.all_reduce(sums)
        return sums

    def all_gather(self, names: list[str]) -> list[str]:
        """Return the names of all processes, in every process."""
        if self.size == 1:
            return names
        gathered_lists: list[list[str]] = [[] for _ in range(self.size)]
        dist.all_gather_object(gathered_lists, names)
        return [name for part in gathered_lists for name in part]

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            dist.barrier()


SINGLE_PROCESS = World()


def node_count() -> int:
    """Return on how many machines this group's processes are, each with as many of them.

    The variables are those that torchrun sets; 1 where a machine has another number than the rest.
    """
    size = dist.get_world_size()
    local_size = min(size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    return size // local_size if size % local_size == 0 else 1


@contextmanager
def process_group() -> Iterator[None]:
    """Have this process be in a group: the one that it was started in, or one of its own."""
    if dist.is_initialized():
        yield
        return
    untyped_dist: Any = dist  # torch's types do not tell of this one
    backend = group_backend(torch.cuda.is_available())
    dist.init_process_group(backend, store=untyped_dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def set_gradient_sync(model: nn.Module, is_last: bool) -> None:
    """Have gradients summed over machines at the step's last micro-batch only.

    Within a machine they are summed and sharded at each: a whole gradient would take as much memory
    as the whole model.
    """
    if dist.is_initialized():
        from torch.distributed.fsdp import FSDPModule

        if isinstance(model, FSDPModule):
            model.set_requires_all_reduce(is_last)


def reshard(model: nn.Module) -> nn.Module:
    """Return the model with its parameters as shards.

    A forward without a backward leaves the outermost ones whole, and an optimiser that is made
    then would never see them change.
    """
    if dist.is_initialized():
        from torch.distributed.fsdp import FSDPModule

        if isinstance(model, FSDPModule):
            model.reshard()
    return model


def shard(scorer: Scorer, nodes: int = 1, offload: bool = False) -> None:
    """Shard a model's float32 masters over the processes, in place, a layer at a time.

    Every weight is rounded to what the scorer computes in, as a frozen policy's is, so that live
    and stored log-probabilities agree whatever the number of processes.

    Args:
        scorer: wraps a model with a list of layers.
        nodes: above 1 every node holds a whole copy, sharded over its own processes.
        offload: keep the shards in the processor's memory.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        CPUOffloadPolicy,
        MixedPrecisionPolicy,
        OffloadPolicy,
        fully_shard,
    )

    size = dist.get_world_size()
    shape, names = ((size,), ("shard",)) if nodes == 1 else ((nodes, size // nodes), HYBRID)
    mesh = init_device_mesh(default_device().partition(":")[0], shape, mesh_dim_names=names)
    pin_memory = torch.cuda.is_available()
    offload_policy = CPUOffloadPolicy(pin_memory=pin_memory) if offload else OffloadPolicy()
    precision_policy = MixedPrecisionPolicy(param_dtype=scorer.dtype, reduce_dtype=torch.float32)
    body: Any = scorer.model.base_model
    for layer in body.layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision_policy, offload_policy=offload_policy)
    fully_shard(scorer, mesh=mesh, mp_policy=precision_policy, offload_policy=offload_policy)


def load_full_weights(scorer: Scorer, weights: Mapping[str, Tensor]) -> None:
    """Put whole weights into a sharded model; called by every process, the first one's count.

    Args:
        scorer: the model in shards.
        weights: all of them by name, in the first process; empty in the others.
    """
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    state_dict.set_model_state_dict(scorer, dict(weights), options=options)


def gather_full_weights(scorer: Scorer) -> dict[str, Tensor]:
    """Return a sharded model's whole weights by name, in the first process; empty in the others."""
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = state_dict.get_model_state_dict(scorer, options=options)
    return {name.removeprefix("model."): weight for name, weight in state.items()}


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor with all its shards."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
