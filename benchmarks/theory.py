"""How long exact games take: an iteration of equation 5, as a ratio to one matrix product.

    python benchmarks/theory.py [--games 1000] [--iterations 10000] [--actions 6] [--json FILE]

The product is numpy's `matmul` of the same games' preference matrices with their policies: what an
iteration cannot do without. The ratio is of processor time, which a busy machine does not stretch.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from harness.theory.games import Random
from harness.theory.mirror import mirror_descent, shrinking_eta


def seconds(work):
    """Return (wall, processor) seconds of a piece of work."""
    begun, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - used


def measured(given):
    """Return processor nanoseconds an iteration and game, of ours and of one matrix product."""
    game = Random(name="benchmark", games=given.games, actions=given.actions)
    preference, reference = game.draw(0).rows()
    column, record = reference[..., None], [given.iterations]

    def descend():
        mirror_descent(preference, reference, eta=shrinking_eta(0.1), tau=0.1, record=record)

    def multiply():
        for _ in range(given.iterations):
            np.matmul(preference, column)

    wall, used = seconds(descend)
    _, product = seconds(multiply)
    each = 1e9 / given.iterations / given.games
    return {
        "seconds": wall,
        "iteration_nanoseconds": used * each,
        "product_nanoseconds": product * each,
        "ratio": used / product,
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--actions", type=int, default=6)
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    told = measured(given)
    print(f"{given.games} games × {given.iterations} iterations × {given.actions} actions")
    print(f"{told['seconds']:.2f} s; processor time an iteration and game: ", end="")
    print(f"{told['iteration_nanoseconds']:.0f} ns")
    print(f"one matrix product: {told['product_nanoseconds']:.0f} ns; ratio {told['ratio']:.2f}")
    if given.json:
        given.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
