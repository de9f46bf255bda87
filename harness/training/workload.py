"""How much a method does in each iteration: responses, comparisons and pairs, before it runs."""

from __future__ import annotations

from dataclasses import dataclass

from harness.training.pairing import BestWorst, MaxRandom, Tournament, comparison_count
from harness.training.preferences import PreferencePairs
from harness.training.spec import TrainSpec


@dataclass(frozen=True, slots=True)
class IterationLoad:
    """What one iteration does at most."""

    prompts: int
    """Of which responses are sampled; 0 where a data set's pairs are trained on as they are."""
    samples: int
    """Responses that the policy samples to each."""
    players: int
    """Responses to each, those of a data set included."""
    comparisons: int
    """Of each prompt's responses."""
    pairs: int
    """In the whole iteration."""


def iteration_loads(
    spec: TrainSpec, prompts: int | None, data_pairs: int | None
) -> list[IterationLoad] | None:
    """Return what each iteration does; None if a number that it needs is not known.

    Args:
        spec: the method.
        prompts: of an iteration that samples.
        data_pairs: in the data set that the method names, for all iterations together.
    """
    loads = []
    for t in range(1, spec.iterations + 1):
        count = prompts
        if spec.pairs_mode(t):
            count = data_pairs and data_pairs // spec.pair_iterations
        if count is None:
            return None
        loads.append(_load(spec, t, count))
    return loads


def _load(spec: TrainSpec, t: int, count: int) -> IterationLoad:
    if spec.pairs_mode(t) == "pairs":
        return IterationLoad(0, 0, 2, 0, count)
    players = spec.players(t)
    if not spec.asks_oracle(t):
        return IterationLoad(count, spec.samples, players, 0, count * spec.samples)
    comparisons = comparison_count(spec.pairing, players)
    per_prompt = pairs_per_prompt(spec, players)
    return IterationLoad(count, spec.samples, players, comparisons, count * per_prompt)


def pairs_per_prompt(spec: TrainSpec, players: int) -> int:
    """Return the largest number of pairs that a prompt with so many responses can yield."""
    match spec.pairing:
        case Tournament() | BestWorst() | MaxRandom():
            return 1
        case _:
            return comparison_count(spec.pairing, players)


def count_pairs(source: PreferencePairs | None) -> int | None:
    """Return how many pairs a data set has; None: there is none, or it is not known before a run.

    Raises:
        ConfigError: no data set is named.
        InputError: the file cannot be read, or holds no pair.
    """
    if source is None:
        return None
    if source.path and not source.is_file:
        return source.count or source.size
    return len(source.select().rows)
