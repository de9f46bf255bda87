"""Frozen policies' log-probabilities of the very rows that are trained on, once for all steps.

The packs are a pure function of the pairs, so that the policy in training can be scored on the same
ones: on one machine it then gives the stored values again, in bfloat16 as in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from harness.errors import CheckError
from harness.models import load_model
from harness.scoring import packing
from harness.scoring.scorer import Scorer, check_architecture, rounded
from harness.training.distributed import device
from harness.types import Advance, Pair, Policy

TOKENS = 8192
"""Tokens in a pack that is scored without gradients."""


def row(pair: Pair) -> packing.Row:
    """Return a pair as a row: chosen, then rejected."""
    return pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids)


def packs(pairs: Sequence[Pair]) -> list[list[int]]:
    """Return which pairs are scored together, by index."""
    return packing.bins([packing.size(row(pair)) for pair in pairs], TOKENS)


def frozen_logps(
    policy: Policy, pairs: Sequence[Pair], dtype: str, advance: Advance
) -> list[float]:
    """Return log π(y | x) of every pair's chosen and rejected response, alternating, in nats.

    Raises:
        PolicyError: the model cannot be used.
        CheckError: a pair is longer than the model's context.
    """
    told = torch.empty(len(pairs), 2)
    for items, values in scored(frozen(policy, pairs, dtype), pairs, packs(pairs)):
        told[items] = values.cpu()
        advance(len(items))
    return [float(value) for value in told.flatten()]


def frozen(policy: Policy, pairs: Sequence[Pair], dtype: str) -> Scorer:
    """Return what scores a frozen policy's responses in these pairs.

    The architecture is checked in float32, before weights are rounded to what is computed in.

    Raises:
        PolicyError: the model cannot be used.
        CheckError: a pair is longer than the model's context.
    """
    model = load_model(policy, torch.float32, device())
    check_architecture(model)
    check_context(pairs, model.config.max_position_embeddings)
    return Scorer(rounded(model, dtype))


def scored(
    scorer: Scorer, pairs: Sequence[Pair], chosen: Sequence[list[int]]
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield each pack's pairs with their log-probabilities, in nats, shape (pairs, 2)."""
    for items in chosen:
        with torch.no_grad():
            yield items, scorer(packing.pack([row(pairs[i]) for i in items])).view(-1, 2)


def check_start(scorer: Scorer, pairs: Sequence[Pair], stored: Tensor, most: float) -> None:
    """Check that training begins at the policy whose samples it trains on.

    Scores the first and the last of the anchor's own packs. It catches what else goes unseen:
    another template, a stale checkpoint, other rows, dropout.

    Args:
        scorer: the live policy.
        pairs: all pairs that are trained on.
        stored: π_t's log-probabilities of them, in nats, shape (pairs, 2).
        most: how far apart the two may lie, in nats.

    Raises:
        CheckError: they lie farther apart.
    """
    both = packs(pairs)
    for items, told in scored(scorer, pairs, both[:1] + both[1:][-1:]):
        apart = float((told - stored[items].to(told.device)).abs().max())
        if not apart <= most:
            raise CheckError(
                f"the policy's log-probabilities at the first step lie {apart:.3g} nats from the "
                f"stored ones of π_t (at most {most:g} is allowed): weights or rows have changed; "
                "remove the run's anchor stages and run again"
            )


def check_context(pairs: Sequence[Pair], context: int | None) -> None:
    """Refuse pairs that are longer than the model can read.

    Raises:
        CheckError: a prompt with a response has more tokens than the model has positions.
    """
    for pair in pairs if context else ():
        longest = len(pair.prompt_ids) + max(len(pair.chosen_ids), len(pair.rejected_ids))
        if longest > (context or 0):
            raise CheckError(
                f"a pair of prompt {pair.prompt_id!r} has {longest} tokens, the model reads "
                f"{context}: leave such pairs out with --set max_length={context}"
            )
