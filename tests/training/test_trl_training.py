"""Twenty steps of offline DPO against TRL's trainer: the same pairs, order and start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core import config
from harness.core.hub import load_model, load_tokenizer
from harness.core.stages import StageStore
from harness.core.workspace import Workspace
from harness.toy.world import ToyPairs
from harness.training import records, schedule, trainer
from harness.training.spec import TrainSpec
from harness.types import Policy
from tests.conftest import tiny

trl = pytest.importorskip("trl")
STEPS, BATCH = 20, 4
SETTINGS = (
    "optimiser.epochs=1",
    f"optimiser.batch={BATCH}",
    "optimiser.learning_rate=1.0e-4",
    "optimiser.schedule=linear",
    "optimiser.warmup=0.1",
)


def weights(path: str) -> dict[str, torch.Tensor]:
    return dict(load_model(Policy("trained", path), torch.float32, "cpu").named_parameters())


def messages(row: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    return {name: [{"role": role, "content": row[name]}] for name, role in roles.items()}


def train_with_trl(start: str, rows: list[dict[str, Any]], folder: Path) -> Any:
    """DPO on rows in this order, with the settings of `SETTINGS` in TRL's names."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler

    class InOrder(trl.DPOTrainer):
        def _get_train_sampler(self, dataset: Any = None) -> SequentialSampler:
            return SequentialSampler(dataset or self.train_dataset)

    policy = Policy("start", start)
    arguments = trl.DPOConfig(
        output_dir=str(folder),
        beta=0.4,
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=1e-4,
        lr_scheduler_type="linear",
        warmup_steps=2,
        max_grad_norm=1.0,
        optim="adamw_torch",
        weight_decay=0.0,
        max_length=None,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    training = InOrder(
        load_model(policy, torch.float32, "cpu"),
        load_model(policy, torch.float32, "cpu"),
        args=arguments,
        train_dataset=Dataset.from_list([messages(row) for row in rows]),
        processing_class=load_tokenizer(policy),
    )
    training.train()
    return training


@pytest.mark.filterwarnings("ignore")
def test_twenty_steps_of_dpo_end_in_trls_weights(tmp_path, tiny_store: StageStore):
    rows = ToyPairs(count=STEPS * BATCH).rows()
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    data = config.load("train", "toy/dpo", (*SETTINGS, f"pairs.path={path}"))
    method = config.construct(TrainSpec, {**data, "policy": tiny()})
    workspace = Workspace(tmp_path / "runs")
    run = schedule.train(method, workspace, "dpo")

    order = trainer.batch_order(len(rows), BATCH, method.seed, 1)
    assert len(order) == STEPS
    start = tiny_store.materialize(tiny().weights()).path
    theirs = train_with_trl(start, [rows[i] for step in order for i in step], tmp_path / "trl")

    stages = {stage.name: str(path) for stage, path in schedule.plan(method, workspace)}
    pairs = records.read_pairs(stages["read-pairs"])
    first, tokenised = pairs[order[0][0]], theirs.train_dataset[0]
    assert tokenised["prompt_ids"] == list(first.prompt_ids)
    assert tokenised["chosen_ids"] == list(first.chosen_ids)

    initial, ours = weights(start), weights(run.policies[-1])
    moved = max(float((ours[n] - initial[n]).abs().max()) for n in initial)
    apart = max(float((ours[n] - p).abs().max()) for n, p in theirs.model.named_parameters())
    assert moved > 5e-4
    assert apart < 1e-5
