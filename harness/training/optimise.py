"""The last stage of an iteration: π_t, its pairs and their anchors become π_{t+1}."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.errors import CheckError
from harness.models import load_model, load_tokenizer, save
from harness.protocols import Anchor, Logps, PairBatch
from harness.training import batches, records
from harness.training.logps import sequence_logps
from harness.training.loop import Part, minimise
from harness.training.spec import TrainSpec
from harness.training.steps import device, rows_of
from harness.types import Pair, Track

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOG = "log.jsonl"
Columns = Mapping[Anchor, Tensor]
"""By anchor: the stored log-probabilities, in nats, shape (pairs, 2): chosen, rejected."""


def optimise(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Minimise the objective over iteration t's pairs, starting from π_t.

    Raises:
        CheckError: the live log-probabilities are not the stored ones of π_t at the first step.
    """
    policy = spec.policy.at(inputs["policy"])
    model = load_model(policy, torch.float32, device())
    pairs, columns = records.read_pairs(inputs["pair"]), read_columns(inputs)
    settings = spec.optimiser
    steps = [
        step
        for epoch in range(settings.epochs)
        for step in batches.shuffled(len(pairs), settings.batch, spec.seed, epoch)
    ]
    live = partial(live_logps, model, pairs, spec.dtype)
    check_start(live, columns["previous"], steps[0], spec.tolerance)

    def loss(items: Sequence[int]) -> Part:
        batch = assemble(live(items), pairs, columns, items)
        margin = spec.objective.margin(batch)
        return spec.objective(batch), figures(batch, margin)

    with track(f"iteration {t} · optimise", len(steps)) as advance:
        log = minimise(model, settings, steps, loss, advance)
    save(model, load_tokenizer(policy), out)
    (out / LOG).write_text("".join(json.dumps(row) + "\n" for row in log))


def read_columns(inputs: Mapping[str, str]) -> Columns:
    """Read the anchors' columns."""
    return {
        name: torch.tensor(records.read_logps(inputs[name])).T.to(device())
        for name in inputs
        if name not in ("policy", "pair")
    }


def live_logps(
    model: PreTrainedModel, pairs: Sequence[Pair], dtype: str, items: Sequence[int]
) -> Tensor:
    """Return the live policy's log-probabilities of some pairs, in nats, shape (items, 2)."""
    rows = batches.rows(rows_of([pairs[i] for i in items]))
    return sequence_logps(model, rows, dtype).view(-1, 2)


def check_start(live: partial[Tensor], stored: Tensor, items: Sequence[int], most: float) -> None:
    """Check that training begins at the policy whose samples it trains on.

    It catches what else goes unseen: another template, a stale checkpoint, other rows.
    """
    with torch.inference_mode():
        told = live(items)
    apart = float((told - stored[list(items)]).abs().max())
    if not apart <= most:
        raise CheckError(
            f"the policy's log-probabilities at the first step lie {apart:.3g} nats from the "
            f"stored ones of π_t (at most {most:g} is allowed): weights or rows have changed; "
            "remove the run's anchor stages and run again"
        )


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


def figures(batch: PairBatch, margin: Tensor) -> dict[str, Tensor]:
    """Return what is logged of every pair besides its loss; contrasts and drifts in nats."""
    previous = batch.anchors["previous"]
    chosen = batch.policy.chosen - previous.chosen
    rejected = batch.policy.rejected - previous.rejected
    return {
        "margin": margin,
        "accuracy": (chosen > rejected).float(),
        "chosen_drift": chosen,
        "rejected_drift": rejected,
    }
