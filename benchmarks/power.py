"""How often the test that marks finds its minimum detectable difference, and finds nothing.

    python benchmarks/power.py [--simulations 1000] [--json FILE]

Two tables. First, the power at the minimum detectable difference of the very test (5 %, Holm over
all pairs): the share of data sets in which a method that is better by as much differs significantly
from another; 80 % is right. `one`: only the first two methods differ by it, the others lie halfway.
`all`: the first is better than every other. Second, how often two runs of one method differ
significantly by a test over prompts alone, when training seeds vary by 0.1 logits; 5 % is right.
"""

from __future__ import annotations

import numpy as np

from benchmarks import simulation
from benchmarks.simulation import Row
from harness.statistics.intervals import normal_cdf
from harness.statistics.logistic import sigmoid
from harness.statistics.paired import PromptTotals, holm_matrix, paired_differences
from harness.statistics.power import (
    VarianceComponent,
    identical_marked,
    minimum_detectable_difference,
)
from harness.statistics.resampling import Floats
from harness.statistics.seeds import SeedVariance, noise_of

ROUNDS = 200
TASTE = 20.0
"""Standard deviation of what a prompt adds to one method's points, whatever the seed."""
ALIKE = 0.3
"""Correlation of two methods' verdicts on one prompt, before they are rounded to won or lost."""


def totals(points: Floats) -> PromptTotals:
    """Return points of shape (prompts, methods) as means."""
    return PromptTotals(points, np.ones_like(points))


def wins(rng: np.random.Generator, rates: Floats, prompts: int) -> Floats:
    """Return points in percent, 0 or 100, shape (prompts, methods); prompts are shared."""
    shared = np.sqrt(ALIKE) * rng.normal(size=(prompts, 1))
    latent = shared + np.sqrt(1 - ALIKE) * rng.normal(size=(prompts, len(rates)))
    return np.asarray(100.0 * (normal_cdf(latent) < rates), dtype=np.float64)


def offsets(methods: int, kind: str) -> Floats:
    """Return how far each method lies from the best, as shares of the difference."""
    return np.array([0.0, -1.0, *[-0.5 if kind == "one" else -1.0] * (methods - 2)])


def prompts_alone(
    rng: np.random.Generator, methods: int, prompts: int, kind: str, simulations: int
) -> tuple[float, float]:
    """Return the minimum detectable difference over prompts, and its power."""
    tests = methods * (methods - 1) // 2
    detectable = 10.0
    for _ in range(4):  # the error depends on the rates, and they on the difference
        many = wins(rng, 0.5 + detectable / 100 * (offsets(methods, kind) + 0.5), 200_000)
        variance = float(np.var(many[:, 0] - many[:, 1])) / prompts
        detectable = minimum_detectable_difference(
            [VarianceComponent(variance, prompts - 1)], tests
        )
    rates, detected = 0.5 + detectable / 100 * (offsets(methods, kind) + 0.5), 0
    for _ in range(simulations):
        points = totals(wins(rng, rates, prompts))
        detected += holm_matrix(paired_differences(points, seed=0, rounds=ROUNDS))[0, 1] <= 0.05
    return detectable, detected / simulations


def over_seeds(
    rng: np.random.Generator,
    methods: int,
    seeds: tuple[int, int],
    spread: float,
    kind: str,
    simulations: int,
    prompts: int = 400,
    noise: float = 40.0,
) -> tuple[float, float]:
    """Return the minimum detectable difference of means over seeds, and its power.

    A prompt is easier for one method than for another by 20 points (one standard deviation),
    whatever the seed; single answers vary besides.

    Args:
        rng: Of the simulations.
        methods: How many; the second has `seeds[1]` seeds, every other one `seeds[0]`.
        seeds: See `methods`.
        spread: Standard deviation between seeds, in points.
        kind: `one` or `all`.
        simulations: How many data sets.
        prompts: How many prompts, shared by all.
        noise: Standard deviation of one answer's points.
    """
    counts = [seeds[0], seeds[1], *[seeds[0]] * (methods - 2)]
    # the figures of seeds vary by their own sample of answers as well
    between = spread**2 + noise**2 / prompts
    components = [
        VarianceComponent(2 * TASTE**2 / prompts, prompts - 1),
        *(VarianceComponent(between / count, count - 1) for count in counts[:2]),
    ]
    detectable = minimum_detectable_difference(components, methods * (methods - 1) // 2)
    detected = 0
    for _ in range(simulations):
        truth = detectable * offsets(methods, kind)
        by_seed = [
            mean
            + rng.normal(0, TASTE, prompts)
            + rng.normal(0, spread, (count, 1))
            + rng.normal(0, noise, (count, prompts))
            for mean, count in zip(truth, counts, strict=True)
        ]
        variance = SeedVariance.of(
            [own.mean(axis=1).tolist() for own in by_seed], noise=[noise_of(o) for o in by_seed]
        )
        points = totals(np.stack([own.mean(axis=0) for own in by_seed], axis=1))
        tested = paired_differences(points, seed=0, rounds=ROUNDS, seed_variance=variance)
        detected += holm_matrix(tested)[0, 1] <= 0.05
    return detectable, detected / simulations


def identical(
    rng: np.random.Generator, logit: float, prompts: int, simulations: int, spread: float = 0.1
) -> tuple[float, float]:
    """Return how often two runs of one method are marked, by simulation and by the formula."""
    rate = float(sigmoid(np.array(logit)))
    many = wins(rng, np.array([rate, rate]), 200_000)
    error = float(np.std(many[:, 0] - many[:, 1])) / prompts**0.5
    marked = 0
    for _ in range(simulations):
        points = totals(wins(rng, sigmoid(logit + spread * rng.normal(size=2)), prompts))
        marked += paired_differences(points, seed=0, rounds=ROUNDS).p[0, 1] <= 0.05
    formula = identical_marked(error, prompts - 1, 100 * rate, spread, (0.0, 100.0))
    return marked / simulations, formula


def power(rng: np.random.Generator, simulations: int) -> list[Row]:
    """Return a row a design: its minimum detectable difference, in points, and the power at it."""
    designs = []
    for methods in (2, 3, 4, 6):
        for kind in ("one",) if methods == 2 else ("one", "all"):
            for prompts in (80, 400):
                name = f"{methods} methods, {prompts} prompts, {kind}"
                designs.append((name, prompts_alone(rng, methods, prompts, kind, simulations)))
    for methods, seeds, spread in (
        *((2, (s, s), 2.0) for s in (2, 3, 5)),
        *((4, (s, s), 2.0) for s in (3, 5)),
        *((2, seeds, 2.0) for seeds in ((2, 5), (3, 10))),
        (2, (3, 3), 0.0),
        (2, (3, 3), 10.0),
    ):
        name = f"{methods} methods of {seeds[0]} and {seeds[1]} seeds, {spread:g} points apart"
        designs.append((name, over_seeds(rng, methods, seeds, spread, "one", simulations)))
    return [
        {"design": name, "difference": detectable, "power in percent": 100 * share}
        for name, (detectable, share) in designs
    ]


def single_runs(rng: np.random.Generator, simulations: int) -> list[Row]:
    """Return how often two runs of one method differ significantly, in percent."""
    rows: list[Row] = []
    for prompts in (80, 200, 400, 805):
        for logit in (0.0, 1.0):
            simulated, formula = identical(rng, logit, prompts, simulations)
            name = f"{prompts} prompts, {sigmoid(np.array(logit)):.0%} won"
            rows.append({"runs": name, "simulated": 100 * simulated, "formula": 100 * formula})
    return rows


def simulate(count: int) -> dict[str, list[Row]]:
    """Return both tables, from as many simulations a row."""
    rng = np.random.default_rng(0)
    return {"power": power(rng, count), "single runs": single_runs(rng, count)}


def main(arguments: list[str] | None = None) -> None:
    """Simulate, print, and write the figures if a file is named."""
    simulation.run(__doc__, simulate, arguments)


if __name__ == "__main__":
    main()
