"""Time of an iteration of equation 5 on exact games, relative to one matrix product.

    python benchmarks/theory.py [--games 1000] [--iterations 10000] [--actions 6] [--json FILE]

The product is numpy's `matmul` of the same games' preference matrices with their policies, which
every iteration needs. The ratio is of CPU time, which does not depend on the load of the machine.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from harness.theory.games import Random
from harness.theory.mirror import mirror_descent, shrinking_eta


def seconds(work):
    """Return (wall, CPU) seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(options):
    """Return CPU nanoseconds per iteration and game, of the dynamics and of one matrix product."""
    game = Random(name="benchmark", games=options.games, actions=options.actions)
    preference, reference = game.draw(0).rows()
    column, record = reference[..., None], [options.iterations]

    def descend():
        mirror_descent(preference, reference, eta=shrinking_eta(0.1), tau=0.1, record=record)

    def multiply():
        for _ in range(options.iterations):
            np.matmul(preference, column)

    wall, cpu = seconds(descend)
    _, product = seconds(multiply)
    nanoseconds = 1e9 / options.iterations / options.games
    return {
        "seconds": wall,
        "iteration_nanoseconds": cpu * nanoseconds,
        "product_nanoseconds": product * nanoseconds,
        "ratio": cpu / product,
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--actions", type=int, default=6)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    figures = measure(options)
    print(f"{options.games} games × {options.iterations} iterations × {options.actions} actions")
    print(f"{figures['seconds']:.2f} s; CPU time per iteration and game: ", end="")
    print(f"{figures['iteration_nanoseconds']:.0f} ns")
    print(
        f"one matrix product: {figures['product_nanoseconds']:.0f} ns; ratio {figures['ratio']:.2f}"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
