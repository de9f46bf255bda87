"""How long exact games take: an iteration of equation 5, as a ratio to one matrix product.

    python benchmarks/theory.py [--games 1000] [--iterations 10000] [--actions 6]

The product is numpy's `matmul` of the same games' preference matrices with their policies: what an
iteration cannot do without. The ratio is of processor time, which a busy machine does not stretch.
"""

import argparse
import time

import numpy as np

from harness.theory.games import Random
from harness.theory.mirror import mirror_descent, shrinking


def seconds(work):
    """Return (wall, processor) seconds of a piece of work."""
    begun, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - used


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--actions", type=int, default=6)
    given = parser.parse_args()
    game = Random(name="benchmark", games=given.games, actions=given.actions)
    preference, reference = game.draw(0).rows()
    column, record = reference[..., None], [given.iterations]

    def descend():
        mirror_descent(preference, reference, eta=shrinking(0.1), tau=0.1, record=record)

    def multiply():
        for _ in range(given.iterations):
            np.matmul(preference, column)

    wall, used = seconds(descend)
    _, product = seconds(multiply)
    each = 1e9 / given.iterations / given.games
    print(f"{given.games} games × {given.iterations} iterations × {given.actions} actions")
    print(f"{wall:.2f} s; processor time an iteration and game: {used * each:.0f} ns")
    print(f"one matrix product: {product * each:.0f} ns; ratio {used / product:.2f}")


if __name__ == "__main__":
    main()
