"""How often the intervals of an arena hold the truth, and its test of transitivity is wrong.

    python benchmarks/arena.py [--simulations 1000] [--contestants 4 8 16] [--prompts 300]
        [--rounds 400] [--json FILE]

Arenas are drawn from known matrices: `transitive` (a rating explains everything), `cyclic` (it
explains nothing) and `mixed`. Both orders of a comparison depend on one another, all comparisons of
a contestant on a prompt do, and one in fifty is missing. Coverage is that of 95 % intervals, over
all pairs or contestants of all arenas, in percent; `rejected` is how often the test of transitivity
finds p below 5 %: false alarms where the truth is transitive, else its power. `seconds` is what the
analysis of one arena of 500 prompts with 1,000 resamples takes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from harness.statistics import arena, pairwise
from harness.statistics.bradley_terry import ELO, bradley_terry
from harness.statistics.hodge import decompose
from harness.statistics.logistic import sigmoid
from harness.statistics.nash_averaging import nash_mixture, pool_exploitability
from harness.statistics.pairwise import PairwisePreferences
from harness.statistics.resampling import Floats, Mask
from harness.types import Estimate

TRUTHS = ("transitive", "cyclic", "mixed")
STRENGTH, CYCLE = 1.6, 0.6
"""Nats between the best and the worst; the standard deviation of cyclic log-odds."""
SHARED, ORDER, MISSING = 0.5, 0.6, 0.02
"""What a contestant's answer, and the order of the two, contribute; the share not parsed."""
SEED = 1


def truth(kind: str, contestants: int) -> Floats:
    """Return P(row ≻ column), shape (contestants, contestants)."""
    ratings = np.linspace(0, STRENGTH, contestants)
    ladder = ratings[:, None] - ratings
    noise = np.triu(np.random.default_rng(SEED).normal(size=ladder.shape), 1)
    skew = noise - noise.T
    pairs = pairwise.all_pairs(contestants)
    first, second = pairs.T
    rest = decompose(skew[first, second], pairs, np.ones(len(pairs)), contestants).residual
    cycles = np.zeros_like(ladder)
    cycles[first, second], cycles[second, first] = rest, -rest
    cycles *= CYCLE / rest.std()
    parts = {"transitive": ladder, "cyclic": cycles, "mixed": ladder / 2 + cycles}
    return sigmoid(parts[kind])


def draw(matrix: Floats, prompts: int, rng: np.random.Generator) -> PairwisePreferences:
    """Draw an arena: each order of a comparison is won with exactly the matrix's probability."""
    contestants = len(matrix)
    pairs = pairwise.all_pairs(contestants)
    first, second = pairs.T
    quality = rng.normal(size=(prompts, contestants))
    both, each = rng.normal(size=(prompts, len(pairs))), rng.normal(size=(2, prompts, len(pairs)))
    rest = np.sqrt(1 - ORDER**2) * both + ORDER * each
    shared = SHARED * (quality[:, first] - quality[:, second])
    latent = ndtri(matrix[first, second]) + shared + np.sqrt(1 - 2 * SHARED**2) * rest
    values = (latent > 0).mean(axis=0)
    values[rng.random(values.shape) < MISSING] = np.nan
    return PairwisePreferences(tuple(map(str, range(contestants))), pairs, values)


def covered(estimates: Sequence[Estimate], truths: Floats) -> Mask:
    """Return whether each interval holds the truth."""
    ends = np.array([(e.low, e.high) for e in estimates], dtype=np.float64)
    return np.asarray((ends[:, 0] <= truths + 1e-9) & (truths - 1e-9 <= ends[:, 1]))


def simulate(kind: str, contestants: int, options: argparse.Namespace) -> dict[str, object]:
    """Return the coverage of every figure over simulated arenas."""
    matrix = truth(kind, contestants)
    first, second = pairwise.all_pairs(contestants).T
    ratings = ELO * bradley_terry(matrix[None] * (1 - np.eye(contestants))).ratings[0]
    mixture = nash_mixture(matrix)
    truths = {
        "ratings": ratings,
        "Nash weights": mixture,
        "values": matrix @ mixture,
        "exploitability": pool_exploitability(matrix),
    }
    hits: dict[str, list[float]] = {name: [] for name in ("win rates", *truths)}
    rejections = []
    rng = np.random.default_rng([SEED, TRUTHS.index(kind), contestants])
    for number in range(options.simulations):
        result = arena.analyse(
            draw(matrix, options.prompts, rng), seed=number, rounds=options.rounds
        )
        rates = result.win_rates
        inside = (rates.low <= matrix) & (matrix <= rates.high)
        hits["win rates"].append(float(inside[first, second].mean()))
        nash = result.nash
        groups = (result.ratings.bradley_terry, nash.mixture, nash.value, nash.exploitability)
        for (name, values), estimates in zip(truths.items(), groups, strict=True):
            hits[name].append(float(covered(estimates, values).mean()))
        rejections.append(result.cycles.p <= 0.05)
    coverage = {name: 100 * float(np.mean(values)) for name, values in hits.items()}
    return {
        "truth": kind,
        "contestants": contestants,
        "arenas": options.simulations,
        **coverage,
        "rejected": 100 * float(np.mean(rejections)),
    }


def seconds(contestants: int, prompts: int = 500) -> dict[str, float]:
    """Return how long the analysis of one arena takes, with 1,000 resamples."""
    drawn = draw(truth("mixed", contestants), prompts, np.random.default_rng(SEED))
    start = time.perf_counter()
    arena.analyse(drawn)
    return {"contestants": contestants, "seconds": time.perf_counter() - start}


def main(arguments: list[str] | None = None) -> None:
    """Simulate, print, and write the figures if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--contestants", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--timed", type=int, nargs="*", default=[16, 50])
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    rows = []
    for contestants in options.contestants:
        for kind in TRUTHS:
            rows.append(simulate(kind, contestants, options))
            print(*(v if isinstance(v, str) else f"{v:.4g}" for v in rows[-1].values()), flush=True)
    tables = {"coverage": rows, "speed": [seconds(count) for count in options.timed]}
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
