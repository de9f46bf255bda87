"""Frozen policies' log-probabilities of the rows that are trained on, computed once for all steps.

The packs are a pure function of all the pairs: shards change no value, and the policy in training
can be scored on the same packs. On one machine it then reproduces the stored values, in bfloat16 as
in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core.hardware import default_device
from harness.core.hub import load_model
from harness.core.jobs import RunShard, ShardedJob
from harness.core.stages import scratch_directory
from harness.errors import CheckError
from harness.scoring import packing
from harness.scoring.architectures import context_length
from harness.scoring.scorer import PROBED_TOKENS, Scorer, check_architecture, round_weights
from harness.training import records
from harness.training.rollout import run_job
from harness.training.spec import TrainSpec
from harness.types import Advance, Pair, Policy, Track

PACK_TOKENS = 8192
"""Tokens in a pack that is scored without gradients."""


def anchor(spec: TrainSpec, label: str, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Store a frozen policy's log-probabilities of an iteration's pairs."""
    pairs = records.read_pairs(inputs["pair"])
    job = anchor_job(spec, pairs, scratch_directory(out), inputs)
    run_job(spec, job, out, label, track, total=len(pairs), join=records.join_logps_shards)


def pair_row(pair: Pair) -> packing.Row:
    """Return a pair as the row that is scored: its prompt once, then chosen and rejected."""
    return pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids)


def longest_sequence(pair: Pair) -> int:
    """Return the tokens of a pair's prompt with its longer response."""
    return len(pair.prompt_ids) + max(len(pair.chosen_ids), len(pair.rejected_ids))


def pair_packs(pairs: Sequence[Pair]) -> list[list[int]]:
    """Return the packs, each a list of the indices of the pairs that are scored together."""
    return packing.first_fit_decreasing(
        [packing.row_size(pair_row(pair)) for pair in pairs], PACK_TOKENS
    )


def frozen_logps(
    policy: Policy, pairs: Sequence[Pair], dtype: str, advance: Advance
) -> list[float]:
    """Return log π(y | x) of every pair's chosen and rejected response, alternating, in nats.

    Raises:
        PolicyError: the model cannot be used.
        CheckError: a pair is longer than the model's context.
    """
    logps = torch.empty(len(pairs), 2)
    for items, values in score_pairs(frozen_scorer(policy, pairs, dtype), pairs, pair_packs(pairs)):
        logps[items] = values.cpu()
        advance(len(items))
    return [float(value) for value in logps.flatten()]


def frozen_scorer(policy: Policy, pairs: Sequence[Pair], dtype: str) -> Scorer:
    """Return the scorer of a frozen policy.

    The architecture is checked in float32, before the weights are rounded to `dtype`.

    Raises:
        PolicyError: the model cannot be used.
        CheckError: a pair is longer than the model's context.
    """
    model = load_model(policy, torch.float32, default_device())
    check_context(pairs, context_length(model.config))
    check_architecture(model, max(PROBED_TOKENS, *map(longest_sequence, pairs)))
    return Scorer(round_weights(model, dtype))


def score_pairs(
    scorer: Scorer, pairs: Sequence[Pair], packs: Sequence[list[int]]
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield each pack's pairs, by index, with their log-probabilities in nats, shape (pairs, 2)."""
    for items in packs:
        with torch.no_grad():
            yield items, scorer(packing.pack([pair_row(pairs[i]) for i in items])).view(-1, 2)


def check_start(scorer: Scorer, pairs: Sequence[Pair], stored: Tensor, tolerance: float) -> None:
    """Check that training starts from the policy whose samples it trains on.

    Scores the first and the last of the anchor's packs. This catches what would otherwise go
    unnoticed: another chat template, a stale checkpoint, other rows, dropout.

    Args:
        scorer: the live policy.
        pairs: all pairs that are trained on.
        stored: π_t's log-probabilities of them, in nats, shape (pairs, 2).
        tolerance: the largest difference that is accepted, in nats.

    Raises:
        CheckError: the difference is larger.
    """
    all_packs = pair_packs(pairs)
    for items, live in score_pairs(scorer, pairs, all_packs[:1] + all_packs[1:][-1:]):
        expected = stored[items].to(live.device)
        differences = (live - expected).abs()
        if not bool((differences <= tolerance + rounding_unit(expected)).all()):
            largest = float(differences.max())
            raise CheckError(
                f"the policy's log-probabilities at the first step are {largest:.3g} nats from "
                f"the stored ones of π_t (at most {tolerance:g} is allowed): weights or "
                "rows have changed; remove the run's anchor stages and run again"
            )


def rounding_unit(sums: Tensor) -> Tensor:
    """Return how far float32 sums may differ by rounding alone: four units in their last place."""
    return 4 * torch.finfo(torch.float32).eps * sums.abs()


def check_context(pairs: Sequence[Pair], context: int | None) -> None:
    """Refuse pairs that are longer than the model's context.

    Raises:
        CheckError: a prompt with a response has more tokens than the model has positions.
    """
    for pair in pairs if context else ():
        longest = longest_sequence(pair)
        if longest > (context or 0):
            raise CheckError(
                f"a pair of prompt {pair.prompt_id!r} has {longest} tokens, the model's context is "
                f"{context}: leave such pairs out with --set max_length={context}"
            )


def anchor_job(
    spec: TrainSpec, pairs: Sequence[Pair], directory: Path, inputs: Mapping[str, str]
) -> ShardedJob:
    """Return the job that scores an iteration's pairs, about as many a shard as the launcher wants.

    Args:
        spec: the method.
        pairs: all of them, as stored in the directory `pair` of the inputs.
        directory: where finished shards are kept, for a killed run to continue from.
        inputs: directories by what they hold: `pair`, and `policy`, the frozen one.
    """
    shard_size = spec.launcher.shard_size
    shards = group_packs(pair_packs(pairs), shard_size)
    sizes = tuple(len(items) for items in map(flatten, shards))
    longest = (pairs[shard[0][0]].prompt_id for shard in shards)
    names = tuple(
        f"{size} pairs (the longest: prompt {key!r})"
        for size, key in zip(sizes, longest, strict=True)
    )
    payload = {"spec": spec, "inputs": inputs}
    return ShardedJob(
        shard_scorer, payload, sizes, directory / f"shards-of-{shard_size}", names=names
    )


def group_packs(packs: Sequence[list[int]], max_pairs: int) -> list[list[list[int]]]:
    """Group consecutive packs: one pack, or several with at most `max_pairs` pairs together."""
    groups: list[list[list[int]]] = []
    for pack in packs:
        if groups and len(flatten(groups[-1])) + len(pack) <= max_pairs:
            groups[-1].append(pack)
        else:
            groups.append([pack])
    return groups


def flatten(packs: Sequence[list[int]]) -> list[int]:
    """Return the indices of the pairs in several packs."""
    return [item for pack in packs for item in pack]


@contextmanager
def shard_scorer(payload: Mapping[str, Any]) -> Iterator[RunShard]:
    """Yield a function that scores a shard's pairs, with the frozen policy kept loaded."""
    spec, inputs = payload["spec"], payload["inputs"]
    pairs = records.read_pairs(inputs["pair"])
    shards = group_packs(pair_packs(pairs), spec.launcher.shard_size)
    scorer = frozen_scorer(spec.policy.with_weights(inputs["policy"]), pairs, spec.dtype)

    def run_shard(shard: int, out: Path, advance: Advance) -> None:
        logps: dict[int, tuple[float, float]] = {}
        for items, values in score_pairs(scorer, pairs, shards[shard]):
            logps.update(zip(items, values.tolist(), strict=True))
            advance(len(items))
        records.write_logps_shard(out, logps)

    yield run_shard
