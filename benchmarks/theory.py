"""How long exact games take: an iteration of equation 5, as a ratio to one matrix product.

    python benchmarks/theory.py [--games 1000] [--iterations 10000] [--actions 6]

The product is numpy's `matmul` of the same games' preference matrices with their policies: what an
iteration cannot do without. Both are timed in the same run, the product as the median of many.
"""

import argparse
import statistics
import time

import numpy as np

from harness.theory.games import Random
from harness.theory.mirror import mirror_descent, shrinking


def product_seconds(preference, policy, repeats=200):
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        np.matmul(preference, policy[..., None])
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--actions", type=int, default=6)
    given = parser.parse_args()
    game = Random(name="benchmark", games=given.games, actions=given.actions)
    preference, reference = game.draw(0).rows()
    product = product_seconds(preference, reference)
    begun = time.perf_counter()
    mirror_descent(preference, reference, eta=shrinking(0.1), tau=0.1, record=[given.iterations])
    seconds = time.perf_counter() - begun
    step = seconds / given.iterations
    print(f"{given.games} games × {given.iterations} iterations × {given.actions} actions")
    print(f"{seconds:.2f} s; an iteration and game {1e9 * step / given.games:.0f} ns")
    print(
        f"one matrix product {1e9 * product / given.games:.0f} ns a game: {step / product:.2f} times it"
    )


if __name__ == "__main__":
    main()
