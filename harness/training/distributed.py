"""Processes that train one model with FSDP2 (`fully_shard`), each on its share of the packs.

Master weights, gradients and optimiser states are float32 shards; a layer is gathered in the
compute dtype for as long as it computes. A single process does the same if it computes in bfloat16.

Two rules keep the result equal to that of one process. Every process runs the same number of
micro-batches, the last one possibly with weight 0. Losses are weighted by processes / items of the
step, since FSDP averages gradients over processes.
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
from harness.scoring.architectures import decoder_layers

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
        """Return the rank and size of this process's default group, if there is one."""
        if not dist.is_initialized():
            return SINGLE_PROCESS
        return World(dist.get_rank(), dist.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def broadcast(self, number: int) -> int:
        """Return the first process's number, in every process."""
        if self.size == 1:
            return number
        shared = torch.tensor(number, device=default_device())
        dist.broadcast(shared, 0)
        return int(shared.item())

    def all_reduce(self, sums: Tensor) -> Tensor:
        """Return the sums over all processes."""
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
        """Wait until every process has arrived here."""
        if self.size > 1:
            dist.barrier()


SINGLE_PROCESS = World()


def node_count() -> int:
    """Return the number of machines in this group, or 1 if they differ in their processes.

    It relies on the variables that torchrun sets.
    """
    size = dist.get_world_size()
    local_size = min(size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    return size // local_size if size % local_size == 0 else 1


@contextmanager
def process_group() -> Iterator[None]:
    """Provide a process group: the existing one, or a group of this process alone."""
    if dist.is_initialized():
        yield
        return
    untyped_dist: Any = dist  # torch's type stubs lack HashStore
    backend = group_backend(torch.cuda.is_available())
    dist.init_process_group(backend, store=untyped_dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def set_gradient_sync(model: nn.Module, is_last: bool) -> None:
    """Sum gradients over machines only at the step's last micro-batch.

    Within a machine they are reduced and sharded at each one: an unsharded gradient would take as
    much memory as the unsharded model.
    """
    if dist.is_initialized():
        from torch.distributed.fsdp import FSDPModule

        if isinstance(model, FSDPModule):
            model.set_requires_all_reduce(is_last)


def reshard(model: nn.Module) -> nn.Module:
    """Return the model with all parameters sharded.

    A forward pass without a backward pass leaves the outermost ones gathered, and an optimiser
    created then would hold tensors that never change.
    """
    if dist.is_initialized():
        from torch.distributed.fsdp import FSDPModule

        if isinstance(model, FSDPModule):
            model.reshard()
    return model


def shard(scorer: Scorer, nodes: int = 1, offload: bool = False) -> None:
    """Shard a model's float32 master weights over the processes, in place, layer by layer.

    Every weight is rounded to the scorer's dtype, as a frozen policy's is, so that live and stored
    log-probabilities agree for any number of processes.

    Args:
        scorer: wraps a model with a list of layers.
        nodes: above 1, every node holds a replica, sharded over its own processes.
        offload: keep the shards in CPU memory.
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
    precision_policy = MixedPrecisionPolicy(  # rotary positions stay float32, as when frozen
        param_dtype=scorer.dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for layer in decoder_layers(scorer.model):
        fully_shard(layer, mesh=mesh, mp_policy=precision_policy, offload_policy=offload_policy)
    fully_shard(scorer, mesh=mesh, mp_policy=precision_policy, offload_policy=offload_policy)


def load_full_weights(scorer: Scorer, weights: Mapping[str, Tensor]) -> None:
    """Load full weights into a sharded model; every process must call it.

    Args:
        scorer: the sharded model.
        weights: all weights by name in the first process; empty in the others.
    """
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    state_dict.set_model_state_dict(scorer, dict(weights), options=options)


def gather_full_weights(scorer: Scorer) -> dict[str, Tensor]:
    """Return a sharded model's full weights by name in the first process; empty in the others."""
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = state_dict.get_model_state_dict(scorer, options=options)
    return {name.removeprefix("model."): weight for name, weight in state.items()}


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the full tensor of a sharded one."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
