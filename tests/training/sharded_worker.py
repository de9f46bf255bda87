"""What every process of the sharding test runs, and what the test runs alone to compare."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist
import transformers
from safetensors.torch import save_file

from baselines.dpo import DPO
from harness.scoring import packing
from harness.scoring.scorer import Scorer
from harness.training import anchors
from harness.training.adapters import Lora
from harness.training.checkpoints import Checkpoints
from harness.training.distributed import World, gathered, shard
from harness.training.loop import Plan, Trainer
from harness.training.optimise import assemble
from harness.training.optimisers import Optimiser
from harness.training.trainable import Trainable
from harness.types import Pair

STEPS = [[0, 1, 2, 3, 4, 5, 6], [7, 8, 9], [10, 11, 12, 13, 14]]
SHARDED = (
    ("flat", False),
    ("tied", True),
    ("hybrid", False, 2),
    ("offloaded", False, 1, True),
    ("low", False),
)
"""Name, tied embeddings, nodes, offload."""
SETTINGS = Optimiser(learning_rate=1e-3, batch=7, micro_tokens=60, schedule="constant")


class Nowhere:
    """A record of nothing."""

    def rewind(self, step: int) -> None:
        pass

    def add(self, row) -> None:
        pass


def pairs() -> list[Pair]:
    rng = random.Random(0)

    def tokens() -> tuple[int, ...]:
        return tuple(rng.randrange(20) for _ in range(rng.randint(2, 12)))

    return [Pair(str(i), tokens(), tokens(), tokens(), 1.0) for i in range(15)]


def scorer(tied: bool = False, dtype: str = "float32") -> Scorer:
    return Scorer(model(tied).train(), dtype)


def adapted() -> Trainable:
    """A model of which low-rank adapters are trained; only the first process knows its weights."""
    begun = model(seed=0 if World.here().first else 1)
    lora = Lora(rank=2, alpha=16)
    return Trainable(begun, SETTINGS.model_copy(update={"lora": lora}), seed=3)


def model(tied: bool = False, seed: int = 0, **sizes: int) -> transformers.PreTrainedModel:
    torch.manual_seed(seed)
    small = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24}
    config = transformers.LlamaConfig(
        **{**small, **sizes},
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=tied,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config)


def trained(
    model: Scorer,
    folder: Path,
    steps: int = 3,
    resume: bool = False,
    settings: Optimiser = SETTINGS,
) -> Scorer:
    """Train some steps of DPO against an anchor of zeros; leave a checkpoint of step 2."""
    given, objective = pairs(), DPO(beta=0.1)
    columns = {"reference": torch.zeros(len(given), 2)}

    def loss(items):
        live = model(packing.pack([anchors.row(given[i]) for i in items])).view(-1, 2)
        return objective(assemble(live, given, columns, items)), {}

    plan = Plan(STEPS[:steps], [packing.size(anchors.row(p)) for p in given])
    world = World.here()
    kept = Checkpoints(folder, {}, minutes=0 if not resume else 1e9, keep=1, world=world)
    Trainer(model, settings, plan, loss, Nowhere(), kept, world).run(lambda _: None)
    return model


def keep(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    if World.here().first:
        save_file({k: v.clone().contiguous() for k, v in weights.items()}, path)


def begin(folder: Path) -> None:
    """Train by two processes."""
    for name, tied, *settings in SHARDED:
        sharded = scorer(tied, "bfloat16" if name == "low" else "float32")
        shard(sharded, *settings)
        trained(sharded, folder / name)
        keep(folder / f"{name}.safetensors", gathered(sharded))
    made = adapted()
    trained(made.scorer("float32"), folder / "adapted")
    keep(folder / "adapted.safetensors", made.whole().state_dict())


def go_on(folder: Path) -> None:
    """Go on from the checkpoints of two processes by another number."""
    sharded = scorer()
    shard(sharded)
    trained(sharded, folder / "flat", resume=True)
    keep(folder / "flat-resumed.safetensors", gathered(sharded))
    made = adapted()
    trained(made.scorer("float32"), folder / "adapted", resume=True)
    keep(folder / "adapted-resumed.safetensors", made.whole().state_dict())


def main(what: str, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    {"begin": begin, "go-on": go_on}[what](folder)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
