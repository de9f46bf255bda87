"""The last stage of an iteration: training π_{t+1} from π_t, its pairs and their anchors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core.config import identity
from harness.core.hardware import default_device, device_name
from harness.core.hub import end_token_ids, load_tokenizer, save_policy
from harness.core.jobs import GroupJob
from harness.core.stages import ignore_progress, record_timing, scratch_directory
from harness.core.workspace import read_logps
from harness.protocols import Anchor, Logps, PairBatch
from harness.scoring import packing
from harness.scoring.architectures import context_length
from harness.scoring.scorer import Scorer
from harness.training import metrics, records, reference_logps, trainer
from harness.training.checkpoints import Checkpoints
from harness.training.distributed import World, process_group
from harness.training.metrics import step_metrics
from harness.training.model import TrainingModel, load_start_model
from harness.training.optimisers import OptimiserSettings
from harness.training.run_progress import follow_log
from harness.training.spec import TrainSpec
from harness.training.tracking import NullLog, TrainingLog
from harness.training.trainer import BatchPlan, LossOutput, Trainer
from harness.types import Pair, Policy, Track

AnchorLogps = Mapping[Anchor, Tensor]
"""Stored log-probabilities by anchor, in nats, each of shape (pairs, 2): chosen, rejected."""


def optimise(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Minimise the objective over iteration t's pairs, in this process or in a group of several.

    Raises:
        CheckError: the live log-probabilities differ from the stored ones of π_t at the first step,
            a pair is longer than the model's context, or a loss is not finite.
    """
    processes = spec.optimiser.processes or spec.launcher.processes()
    if processes == 1:
        train_rank(spec, t, out, inputs, track)
        return
    payload = {"spec": spec, "t": t, "out": out, "inputs": inputs}
    steps = step_count(spec, len(records.read_pairs(inputs["pair"])))
    scratch = scratch_directory(out)
    job = GroupJob(train_process, payload, scratch)
    with track(f"iteration {t} · optimise", steps) as advance, follow_log(scratch, advance):
        spec.launcher.run_group(job, processes)


def step_count(spec: TrainSpec, pairs: int) -> int:
    """Return the optimiser's steps on a number of pairs, those held out included."""
    settings = spec.optimiser
    trained, _ = trainer.split_held_out(pairs, settings.held_out, spec.seed)
    return math.ceil(len(trained) / settings.batch) * settings.epochs


def train_process(payload: Mapping[str, Any]) -> None:
    """Train as one process of a group."""
    train_rank(
        payload["spec"], payload["t"], Path(payload["out"]), payload["inputs"], ignore_progress
    )


def train_rank(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Train in this process, within a process group if sharding needs one."""
    with training_group(spec):
        train_model(spec, t, out, inputs, track)


def training_group(spec: TrainSpec) -> AbstractContextManager[None]:
    """Return the context of a training: with a process group if sharding needs one."""
    needs_no_group = spec.dtype == "float32" and not spec.optimiser.offload
    return nullcontext() if needs_no_group else process_group()


def train_model(
    spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track
) -> None:
    """Train π_{t+1} from π_t or the latest checkpoint, and save it in the main process."""
    world, policy = World.current(), spec.policy.with_weights(inputs["policy"])
    pairs, columns = records.read_pairs(inputs["pair"]), read_columns(inputs)
    model = TrainingModel(load_start_model(policy), spec.optimiser, spec.seed)
    reference_logps.check_context(pairs, context_length(model.model.config))
    scorer = model.scorer(spec.dtype)
    reference_logps.check_start(scorer, pairs, columns["previous"], spec.tolerance)
    minimisation = Minimisation(spec, pairs, columns, scorer)
    scratch, settings = scratch_directory(out), spec.optimiser
    log = build_log(policy, pairs, scratch, settings) if world.is_main else NullLog()
    trainer = Trainer(
        scorer,
        settings,
        minimisation.plan(),
        minimisation.loss,
        log,
        build_checkpoints(scratch, settings, training_identity(spec)),
        world,
        evaluate=minimisation.evaluate,
    )
    label = f"iteration {t} · optimise"
    log_context = log.open(f"{spec.method} · {label}", identity(spec))
    with log_context, track(label, len(trainer.plan.steps)) as advance:
        trainer.run(advance)
    full_model = model.full_model()
    if world.is_main:
        save_policy(full_model, load_tokenizer(policy), out, policy)
        log.save(out)
        record_timing(out, accelerators=world.size, accelerator=device_name())


def build_log(
    policy: Policy, pairs: Sequence[Pair], directory: Path, settings: OptimiserSettings
) -> TrainingLog:
    """Return the log of a training, with the alarms that the pairs' tokens already raise."""
    tokenizer = load_tokenizer(policy)
    initial_alarms = metrics.pair_alarms(
        pairs, end_token_ids(tokenizer, policy), tokenizer.bos_token_id
    )
    return TrainingLog(directory, metrics.AlarmMonitor(), settings.tracker, initial_alarms)


@dataclass(frozen=True)
class Minimisation:
    """Minimises one objective over one iteration's pairs."""

    spec: TrainSpec
    pairs: Sequence[Pair]
    columns: AnchorLogps
    scorer: Scorer

    def plan(self) -> BatchPlan:
        """Return the items of every step."""
        settings, (trained, _) = self.spec.optimiser, self.split()
        batches = trainer.batch_order(len(trained), settings.batch, self.spec.seed, settings.epochs)
        steps = [[trained[position] for position in batch] for batch in batches]
        sizes = [packing.row_size(reference_logps.pair_row(pair)) for pair in self.pairs]
        return BatchPlan(steps, sizes, lambda i: f"prompt {self.pairs[i].prompt_id!r}")

    def loss(self, items: Sequence[int]) -> LossOutput:
        """Return the objective's losses of some pairs, shape (pairs,), and metrics for the log."""
        packed = packing.pack([reference_logps.pair_row(self.pairs[i]) for i in items])
        batch = assemble_batch(self.scorer(packed).view(-1, 2), self.pairs, self.columns, items)
        return self.spec.objective(batch), step_metrics(batch, self.spec.objective)

    def evaluate(self) -> dict[str, float]:
        """Return metrics too expensive for every step.

        `entropy` is the mean in nats a token; `held_out_accuracy` is the share of held-out pairs
        whose chosen response has gained more on π_t than the rejected one.
        """
        rows = [
            reference_logps.pair_row(self.pairs[i])
            for i in reference_logps.pair_packs(self.pairs)[-1]
        ]
        with torch.no_grad():
            metrics = {"entropy": float(self.scorer(packing.pack(rows), entropy=True))}
        _, held_out = self.split()
        return metrics | (
            {"held_out_accuracy": self._held_out_accuracy(held_out)} if held_out else {}
        )

    def split(self) -> tuple[list[int], list[int]]:
        """Return the indices of the pairs to train on, and of those held out."""
        return trainer.split_held_out(len(self.pairs), self.spec.optimiser.held_out, self.spec.seed)

    def _held_out_accuracy(self, held_out: Sequence[int]) -> float:
        pairs = [self.pairs[i] for i in held_out]
        correct = 0.0
        for items, live in reference_logps.score_pairs(
            self.scorer, pairs, reference_logps.pair_packs(pairs)
        ):
            drift = live - self.columns["previous"][[held_out[i] for i in items]]
            correct += float((drift[:, 0] > drift[:, 1]).sum())
        return correct / len(held_out)


def training_identity(spec: TrainSpec) -> dict[str, Any]:
    """Return what identifies a training, apart from its inputs."""
    return {
        "objective": identity(spec.objective),
        "optimiser": identity(spec.optimiser),
        "dtype": spec.dtype,
        "seed": spec.seed,
    }


def build_checkpoints(
    directory: Path, settings: OptimiserSettings, training: dict[str, Any]
) -> Checkpoints:
    """Return the checkpoints of a training in a directory."""
    max_kept = settings.checkpoints
    return Checkpoints(directory, training, settings.checkpoint_minutes, max_kept, World.current())


def read_columns(inputs: Mapping[str, str]) -> AnchorLogps:
    """Read the stored log-probabilities of every anchor among a stage's inputs."""
    return {
        name: torch.tensor(read_logps(inputs[name])).T.to(default_device())
        for name in inputs
        if name not in ("policy", "pair")
    }


def assemble_batch(
    live: Tensor, pairs: Sequence[Pair], columns: AnchorLogps, items: Sequence[int]
) -> PairBatch:
    """Return the objective's batch for some pairs.

    Args:
        live: log-probabilities of the policy in training, in nats, shape (items, 2).
        pairs: all pairs.
        columns: the anchors' log-probabilities of all pairs.
        items: the indices of the batch's pairs.
    """
    selected = [pairs[i] for i in items]
    lengths = torch.tensor([[len(p.chosen_ids), len(p.rejected_ids)] for p in selected])
    unknown = (math.nan, math.nan)
    win_rates = torch.tensor([p.win_rates or unknown for p in selected], device=live.device)
    rewards = [p.rewards or unknown for p in selected]
    return PairBatch(
        policy=split_columns(live),
        anchors={name: split_columns(column[list(items)]) for name, column in columns.items()},
        lengths=split_columns(lengths.to(live.device)),
        probability=torch.tensor([p.probability for p in selected], device=live.device),
        win_rates=split_columns(win_rates),
        rewards=split_columns(torch.tensor(rewards, device=live.device)),
        samplers=sampler_masks(selected, live),
    )


def sampler_masks(pairs: Sequence[Pair], live: Tensor) -> dict[str, Logps]:
    """Return 1 for responses that a policy has sampled, else 0, by the policy's name.

    Args:
        pairs: the pairs of a batch.
        live: their log-probabilities, shape (pairs, 2), for device and dtype.
    """
    sampled = [pair.samplers or ("policy", "policy") for pair in pairs]
    return {
        name: split_columns(live.new_tensor([[s == name for s in both] for both in sampled]))
        for name in sorted({name for both in sampled for name in both})
    }


def split_columns(columns: Tensor) -> Logps:
    """Split a tensor of shape (items, 2) into chosen and rejected."""
    return Logps(columns[:, 0], columns[:, 1])
