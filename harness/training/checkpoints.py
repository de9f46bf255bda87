"""Checkpoints of an unfinished training: weights, optimiser states and step.

torch.distributed.checkpoint writes them, so another number of processes can resume from them. A
checkpoint is written to a temporary directory and renamed when it is complete. On the CPU in
float32 a resumed training ends in the same weights, bit for bit.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException

from harness.core.io import flush_directory, flush_tree, report_disk_errors
from harness.core.seeds import config_digest
from harness.errors import CheckError
from harness.training.distributed import SINGLE_PROCESS, World

STATE_FILE = "training.json"


@dataclass
class Checkpoints:
    """The checkpoints of one training, in one directory."""

    directory: Path
    identity: Mapping[str, Any]
    """Plain data: everything that changes the training's result."""
    minutes: float
    """Minutes from one checkpoint to the next."""
    max_kept: int
    world: World = SINGLE_PROCESS
    _last_written: float = field(default_factory=time.monotonic)

    def latest_step(self) -> int:
        """Return the step of the latest complete checkpoint; 0 if there is none."""
        return max(self._steps(), default=0)

    def resume(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> int:
        """Load the latest complete checkpoint; return the number of finished steps.

        The first process chooses it: on another machine it may become visible later.

        Raises:
            CheckError: it belongs to a training of another configuration, or this number of
                processes cannot read it.
        """
        step = self.world.broadcast(self.latest_step())
        if not step:
            return 0
        self._check(step)
        try:
            _load(self._path(step), model, optimiser)
        except CheckpointException as error:
            raise CheckError(self._unreadable_message(step)) from error
        return step

    def write_if_due(self, step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Write a checkpoint after a step if one is due."""
        is_due = time.monotonic() - self._last_written >= 60 * self.minutes
        if self.world.broadcast(int(is_due)):
            self.write(step, model, optimiser)
            self._last_written = time.monotonic()

    def write(self, step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Write a checkpoint and remove those beyond the number that is kept."""
        temporary = self.directory / f".partial-{step}"
        with report_disk_errors(self.directory):
            if self.world.is_main:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
            self.world.barrier()
            _save(temporary, model, optimiser)
            self.world.barrier()
            if self.world.is_main:
                state = {"step": step, "identity": self.identity, "processes": self.world.size}
                (temporary / STATE_FILE).write_text(json.dumps(state, indent=1, sort_keys=True))
                flush_tree(temporary)
                temporary.rename(self._path(step))
                flush_directory(self.directory)
                for old_step in self._steps()[: -self.max_kept]:
                    shutil.rmtree(self._path(old_step))
        self.world.barrier()

    def _check(self, step: int) -> None:
        stored = json.loads((self._path(step) / STATE_FILE).read_text())["identity"]
        if config_digest(stored) != config_digest(self.identity):
            names = sorted({*stored, *self.identity})
            changed = [name for name in names if stored.get(name) != self.identity.get(name)]
            raise CheckError(
                f"{self._path(step)} belongs to a training with another {' and '.join(changed)}: "
                "remove it to start again"
            )

    def _unreadable_message(self, step: int) -> str:
        processes = json.loads((self._path(step) / STATE_FILE).read_text())["processes"]
        return (
            f"{self._path(step)}, written by {processes} processes, cannot be read by "
            f"{self.world.size}: continue with {processes}, or remove it to start again"
        )

    def _steps(self) -> list[int]:
        return sorted(int(p.parent.name.removeprefix("step-")) for p in self._state_files())

    def _state_files(self) -> list[Path]:
        return list(self.directory.glob(f"step-*/{STATE_FILE}"))

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step}"


def _save(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    from torch.distributed.checkpoint import state_dict_saver

    with _silence_single_process_warning():
        state_dict_saver.save(_state(model, optimiser), checkpoint_id=path)


def _load(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    from torch.distributed.checkpoint import state_dict, state_dict_loader

    state = _state(model, optimiser)
    with _silence_single_process_warning():
        state_dict_loader.load(state, checkpoint_id=path)
    state_dict.set_state_dict(
        model,
        optimiser,
        model_state_dict=state["model"],
        optim_state_dict=state["optimiser"],
        options=state_dict.StateDictOptions(ignore_frozen_params=True, strict=False),
    )


@contextmanager
def _silence_single_process_warning() -> Iterator[None]:
    """Silence torch's warning that there is only one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def _state(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state to store, by name; of a model with adapters only the adapters' weights."""
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(ignore_frozen_params=True)
    weights, optimiser_state = state_dict.get_state_dict(model, optimiser, options=options)
    return {"model": weights, "optimiser": optimiser_state}
