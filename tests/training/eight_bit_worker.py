"""What every process of the 8-bit optimiser's test runs, and what the test runs alone to compare.

Weights are 128 × 128: torchao keeps moments of fewer than 4,096 elements in float32, and half of
these have 8,192.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import transformers

from harness.scoring.scorer import Scorer
from harness.training.distributed import gather_full_weights, shard
from tests.training import sharded_worker

SETTINGS = sharded_worker.SETTINGS.model_copy(
    update={"algorithm": "adamw-8bit", "schedule": "linear"}
)


def model() -> transformers.PreTrainedModel:
    """Weights of so many elements that their moments take 8 bits."""
    return sharded_worker.model(vocab_size=128, hidden_size=128, intermediate_size=128)


def trained(folder: Path, resume: bool = False, **changes) -> Scorer:
    """Train three steps, or go on from the checkpoint of the second; sharded in a group."""
    scorer = Scorer(model().train())
    if dist.is_initialized():
        shard(scorer)
    settings = SETTINGS.model_copy(update=changes)
    return sharded_worker.trained(scorer, folder, resume=resume, settings=settings)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    scorer = trained(folder)
    sharded_worker.keep(folder / "weights.safetensors", gather_full_weights(scorer))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
