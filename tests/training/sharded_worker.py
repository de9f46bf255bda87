"""What every process of the sharding test runs, and what the test runs alone to compare."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist
import transformers
from safetensors.torch import save_file

from baselines.dpo import DPO
from harness.errors import CheckError
from harness.scoring import packing
from harness.scoring.scorer import Scorer
from harness.training import reference_logps
from harness.training.checkpoints import Checkpoints
from harness.training.distributed import World, gather_full_weights, shard
from harness.training.lora import Lora
from harness.training.model import TrainingModel
from harness.training.optimisation import assemble_batch
from harness.training.optimisers import OptimiserSettings
from harness.training.trainer import BatchPlan, Trainer
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
SETTINGS = OptimiserSettings(learning_rate=1e-3, batch=7, micro_tokens=60, schedule="constant")


class Nowhere:
    """A log that records nothing."""

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


def adapted() -> TrainingModel:
    """A model of which low-rank adapters are trained; only the first process knows its weights."""
    initial = model(seed=0 if World.current().is_main else 1)
    lora = Lora(rank=2, alpha=16)
    return TrainingModel(initial, SETTINGS.model_copy(update={"lora": lora}), seed=3)


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
    settings: OptimiserSettings = SETTINGS,
) -> Scorer:
    """Train some steps of DPO against an anchor of zeros; leave a checkpoint of step 2."""
    training_pairs, objective = pairs(), DPO(beta=0.1)
    columns = {"reference": torch.zeros(len(training_pairs), 2)}

    def loss(items):
        live = model(
            packing.pack([reference_logps.pair_row(training_pairs[i]) for i in items])
        ).view(-1, 2)
        return objective(assemble_batch(live, training_pairs, columns, items)), {}

    plan = BatchPlan(
        STEPS[:steps], [packing.row_size(reference_logps.pair_row(p)) for p in training_pairs]
    )
    world = World.current()
    checkpoints = Checkpoints(folder, {}, minutes=0 if not resume else 1e9, max_kept=1, world=world)
    Trainer(model, settings, plan, loss, Nowhere(), checkpoints, world).run(lambda _: None)
    return model


def keep(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    if World.current().is_main:
        save_file({k: v.clone().contiguous() for k, v in weights.items()}, path)


def begin(folder: Path) -> None:
    """Train in this group."""
    for name, tied, *settings in SHARDED:
        sharded = scorer(tied, "bfloat16" if name == "low" else "float32")
        shard(sharded, *settings)
        trained(sharded, folder / name)
        keep(folder / f"{name}.safetensors", gather_full_weights(sharded))
    diverge(folder)
    adapters = adapted()
    trained(adapters.scorer("float32"), folder / "adapted")
    keep(folder / "adapted.safetensors", adapters.full_model().state_dict())


def diverge(folder: Path) -> None:
    """Train at a learning rate that no loss survives; keep what each process says."""
    lost = scorer()
    shard(lost)
    try:
        trained(lost, folder / "lost", settings=SETTINGS.model_copy(update={"learning_rate": 1e30}))
    except CheckError as error:
        (folder / f"lost-{dist.get_rank()}").write_text(str(error))


def go_on(folder: Path) -> None:
    """Resume from the checkpoints of two processes with another number."""
    sharded = scorer()
    shard(sharded)
    trained(sharded, folder / "flat", resume=True)
    keep(folder / "flat-resumed.safetensors", gather_full_weights(sharded))
    adapters = adapted()
    trained(adapters.scorer("float32"), folder / "adapted", resume=True)
    keep(folder / "adapted-resumed.safetensors", adapters.full_model().state_dict())


def main(what: str, folder: Path, rank: int, processes: int) -> None:
    torch.set_num_threads(1)
    group = f"file://{folder}/{what}-group"
    dist.init_process_group("gloo", init_method=group, rank=rank, world_size=processes)
    {"begin": begin, "go-on": go_on}[what](folder)
    dist.destroy_process_group()
