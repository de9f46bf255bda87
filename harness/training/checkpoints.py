"""Checkpoints of a training that has not ended: weights, optimiser state and step.

Written by torch.distributed.checkpoint, so that another number of processes can go on from them;
aside first and renamed when whole. On a processor in float32 a training that goes on from one ends
in the very weights that it would have had.
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

from harness.errors import CheckError
from harness.files import flush, flush_directory, writing
from harness.seeds import digest
from harness.training.distributed import ALONE, World

STATE = "training.json"


@dataclass
class Checkpoints:
    """The checkpoints of one training, in a folder of its own."""

    folder: Path
    identity: Mapping[str, Any]
    """Plain data: all that changes the training's result."""
    minutes: float
    """A checkpoint is due so long after the last one."""
    keep: int
    world: World = ALONE
    _written: float = field(default_factory=time.monotonic)

    def newest(self) -> int:
        """Return the step of the last whole checkpoint; 0 where there is none."""
        return max(self._steps(), default=0)

    def resume(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> int:
        """Load the last whole checkpoint; return the steps that are done.

        Which one that is the first process says: another machine may see it later.

        Raises:
            CheckError: it belongs to a training of another configuration, or cannot be read by this
                number of processes.
        """
        step = self.world.agreed(self.newest())
        if not step:
            return 0
        self._check(step)
        try:
            _load(self._path(step), model, optimiser)
        except CheckpointException as error:
            raise CheckError(self._unreadable(step)) from error
        return step

    def offer(self, step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Write a checkpoint after a step if one is due."""
        due = time.monotonic() - self._written >= 60 * self.minutes
        if self.world.agreed(int(due)):
            self.write(step, model, optimiser)
            self._written = time.monotonic()

    def write(self, step: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Write a checkpoint and remove those that are no longer kept."""
        aside = self.folder / f".making-{step}"
        with writing(self.folder):
            if self.world.first:
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir(parents=True)
            self.world.wait()
            _save(aside, model, optimiser)
            self.world.wait()
            if self.world.first:
                told = {"step": step, "identity": self.identity, "processes": self.world.size}
                (aside / STATE).write_text(json.dumps(told, indent=1, sort_keys=True))
                flush(aside)
                aside.rename(self._path(step))
                flush_directory(self.folder)
                for old in self._steps()[: -self.keep]:
                    shutil.rmtree(self._path(old))
        self.world.wait()

    def _check(self, step: int) -> None:
        told = json.loads((self._path(step) / STATE).read_text())["identity"]
        if digest(told) != digest(self.identity):
            names = sorted({*told, *self.identity})
            apart = [name for name in names if told.get(name) != self.identity.get(name)]
            raise CheckError(
                f"{self._path(step)} is of a training with another {' and '.join(apart)}: "
                "remove it to begin anew"
            )

    def _unreadable(self, step: int) -> str:
        written = json.loads((self._path(step) / STATE).read_text())["processes"]
        return (
            f"{self._path(step)}, written by {written} processes, cannot be read by "
            f"{self.world.size}: go on with {written}, or remove it to begin anew"
        )

    def _steps(self) -> list[int]:
        return sorted(int(p.parent.name.removeprefix("step-")) for p in self._found())

    def _found(self) -> list[Path]:
        return list(self.folder.glob(f"step-*/{STATE}"))

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step}"


def _save(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    from torch.distributed.checkpoint import state_dict_saver

    with _alone_is_meant():
        state_dict_saver.save(_state(model, optimiser), checkpoint_id=path)


def _load(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    from torch.distributed.checkpoint import state_dict, state_dict_loader

    state = _state(model, optimiser)
    with _alone_is_meant():
        state_dict_loader.load(state, checkpoint_id=path)
    state_dict.set_state_dict(
        model,
        optimiser,
        model_state_dict=state["model"],
        optim_state_dict=state["optimiser"],
        options=state_dict.StateDictOptions(ignore_frozen_params=True, strict=False),
    )


@contextmanager
def _alone_is_meant() -> Iterator[None]:
    """Silence torch where it warns that there is one process only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def _state(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what is kept, by name; of adapted models the adapters only."""
    from torch.distributed.checkpoint import state_dict

    trained = state_dict.StateDictOptions(ignore_frozen_params=True)
    weights, moments = state_dict.get_state_dict(model, optimiser, options=trained)
    return {"model": weights, "optimiser": moments}
