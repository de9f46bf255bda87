"""The last stage of an iteration: π_t, its pairs and their anchors become π_{t+1}."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.accelerators import kind
from harness.config import identity
from harness.models import end_ids, load_tokenizer, save
from harness.protocols import Anchor, Logps, PairBatch
from harness.runs import quiet, scratch, tell_work
from harness.scoring import packing
from harness.scoring.scorer import Scorer
from harness.training import alarms, anchors, order, records
from harness.training.checkpoints import Checkpoints
from harness.training.distributed import World, device, group
from harness.training.figures import figures
from harness.training.log import Log, Unwritten
from harness.training.loop import Part, Plan, Trainer
from harness.training.optimisers import Optimiser
from harness.training.spec import TrainSpec
from harness.training.trainable import Trainable, start
from harness.types import Pair, Policy, Track
from harness.work import Task

Columns = Mapping[Anchor, Tensor]
"""By anchor: the stored log-probabilities, in nats, shape (pairs, 2): chosen, rejected."""


def optimise(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Minimise the objective over iteration t's pairs, here or in processes of their own.

    Raises:
        CheckError: the live log-probabilities are not the stored ones of π_t at the first step, a
            pair does not fit the model, or a loss is not finite.
    """
    processes = spec.optimiser.processes or spec.launcher.processes()
    if processes == 1:
        train(spec, t, out, inputs, track)
        return
    told = {"spec": spec, "t": t, "out": out, "inputs": inputs}
    with track(f"iteration {t} · optimise", 0):
        task = Task(take_part, told, scratch(out))
        spec.launcher.together(task, processes)


def take_part(told: Mapping[str, Any]) -> None:
    """Train as one of several processes."""
    train(told["spec"], told["t"], Path(told["out"]), told["inputs"], quiet)


def train(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Take part in the training of iteration t, from π_t or the last checkpoint on."""
    alone = spec.dtype == "float32" and not spec.optimiser.offload
    with nullcontext() if alone else group():
        train_here(spec, t, out, inputs, track)


def train_here(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Train in the group that stands, or without one."""
    world, policy = World.here(), spec.policy.at(inputs["policy"])
    pairs, columns = records.read_pairs(inputs["pair"]), read_columns(inputs)
    model = Trainable(start(policy), spec.optimiser, spec.seed)
    anchors.check_context(pairs, model.model.config.max_position_embeddings)
    scorer = model.scorer(spec.dtype)
    anchors.check_start(scorer, pairs, columns["previous"], spec.tolerance)
    fit = Minimisation(spec, pairs, columns, scorer)
    log = log_of(policy, pairs, scratch(out), spec.optimiser) if world.first else Unwritten()
    trainer = Trainer(
        scorer,
        spec.optimiser,
        fit.plan(),
        fit.loss,
        log,
        checkpoints(scratch(out), spec.optimiser, trained_by(spec)),
        world,
        examine=fit.examine,
    )
    label = f"iteration {t} · optimise"
    told = log.open(f"{spec.method} · {label}", identity(spec))
    with told, track(label, len(trainer.plan.steps)) as advance:
        trainer.run(advance)
    whole = model.whole()
    if world.first:
        save(whole, load_tokenizer(policy), out)
        log.keep(out)
        tell_work(out, accelerators=world.size, accelerator=kind())


def log_of(policy: Policy, pairs: Sequence[Pair], place: Path, settings: Optimiser) -> Log:
    """Return the log of a training, with what the pairs' tokens already tell."""
    tokenizer = load_tokenizer(policy)
    known = alarms.of_pairs(pairs, end_ids(tokenizer, policy.path), tokenizer.bos_token_id)
    return Log(place, alarms.Watch(), settings.track, known)


@dataclass(frozen=True)
class Minimisation:
    """One objective over one iteration's pairs."""

    spec: TrainSpec
    pairs: Sequence[Pair]
    columns: Columns
    scorer: Scorer

    def plan(self) -> Plan:
        """Return the steps: what each trains on."""
        settings, (kept, _) = self.spec.optimiser, self.parts()
        places = order.steps(len(kept), settings.batch, self.spec.seed, settings.epochs)
        steps = [[kept[place] for place in step] for step in places]
        sizes = [packing.size(anchors.row(pair)) for pair in self.pairs]
        return Plan(steps, sizes, lambda i: f"prompt {self.pairs[i].prompt_id!r}")

    def loss(self, items: Sequence[int]) -> Part:
        """Return the objective's losses of some pairs, and figures for the log."""
        packed = packing.pack([anchors.row(self.pairs[i]) for i in items])
        batch = assemble(self.scorer(packed).view(-1, 2), self.pairs, self.columns, items)
        return self.spec.objective(batch), figures(batch, self.spec.objective)

    def examine(self) -> dict[str, float]:
        """Return figures that are too dear for every step.

        Entropy in nats a token, in the mean; of the pairs that are held out, in which share the
        policy has moved from π_t towards the chosen response more than towards the rejected one.
        """
        some = [anchors.row(self.pairs[i]) for i in anchors.packs(self.pairs)[-1]]
        with torch.no_grad():
            told = {"entropy": float(self.scorer(packing.pack(some), entropy=True))}
        _, held = self.parts()
        return told | ({"held_out_accuracy": self._accuracy(held)} if held else {})

    def parts(self) -> tuple[list[int], list[int]]:
        """Return the pairs that are trained on, and those that are held out, by index."""
        return order.held_out(len(self.pairs), self.spec.optimiser.held_out, self.spec.seed)

    def _accuracy(self, held: Sequence[int]) -> float:
        pairs = [self.pairs[i] for i in held]
        right = 0.0
        for items, live in anchors.scored(self.scorer, pairs, anchors.packs(pairs)):
            moved = live - self.columns["previous"][[held[i] for i in items]]
            right += float((moved[:, 0] > moved[:, 1]).sum())
        return right / len(held)


def trained_by(spec: TrainSpec) -> dict[str, Any]:
    """Return what identifies a training besides its inputs."""
    names = ("objective", "optimiser", "dtype", "seed")
    return {name: identity(getattr(spec, name)) for name in names}


def checkpoints(place: Path, settings: Optimiser, trained: dict[str, Any]) -> Checkpoints:
    """Return where a stage's checkpoints lie."""
    kept = settings.checkpoints
    return Checkpoints(place, trained, settings.checkpoint_minutes, kept, World.here())


def read_columns(inputs: Mapping[str, str]) -> Columns:
    """Read the anchors' columns."""
    return {
        name: torch.tensor(records.read_logps(inputs[name])).T.to(device())
        for name in inputs
        if name not in ("policy", "pair")
    }


def assemble(
    live: Tensor, pairs: Sequence[Pair], columns: Columns, items: Sequence[int]
) -> PairBatch:
    """Return what the objective sees of some pairs."""
    picked = [pairs[i] for i in items]
    lengths = torch.tensor([[len(p.chosen_ids), len(p.rejected_ids)] for p in picked])
    unknown = (math.nan, math.nan)
    win_rates = torch.tensor([p.win_rates or unknown for p in picked], device=live.device)
    return PairBatch(
        policy=both(live),
        anchors={name: both(column[list(items)]) for name, column in columns.items()},
        lengths=both(lengths.to(live.device)),
        probability=torch.tensor([p.probability for p in picked], device=live.device),
        win_rates=both(win_rates),
    )


def both(columns: Tensor) -> Logps:
    """Split (items, 2) into chosen and rejected."""
    return Logps(columns[:, 0], columns[:, 1])
