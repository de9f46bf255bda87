"""What the demo's methods reach over seeds, and how often each of two methods is the higher one.

    python benchmarks/demo.py [--seeds 10] [--quick] [--workspace DIR] [--json FILE]

Each method of `harness demo` is trained and graded once a seed, with one thread, as the demo does;
the starting policy is the same for all. What is cached in the workspace is used.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import harness as ph
from harness.cli.demo import BENCHMARKS, METHODS, QUICK
from harness.core.config import parse_overrides
from harness.judges.toy_server import serving
from harness.toy import judge


def measured(seeds, workspace, overrides, bench_overrides):
    """Return {(benchmark, metric): {method: [a figure a seed]}}, mean lengths among the metrics."""
    figures = {}
    with serving(judge.grade, model=judge.MODEL) as url:
        for method, seed in itertools.product(METHODS, range(seeds)):
            name = f"{method}-seed-{seed}"
            run = ph.train(
                method,
                {**parse_overrides(overrides), "seed": seed},
                name=name,
                workspace=workspace,
            )
            for bench in BENCHMARKS:
                result = ph.evaluate(
                    bench,
                    run=name,
                    judge=ph.judge("toy", base_url=url),
                    label=f"{run.method} seed {seed}",
                    overrides=bench_overrides,
                    workspace=workspace,
                )
                values = {metric: estimate.value for metric, estimate in result.items()}
                for metric, value in {**values, "length": result.result.mean_length}.items():
                    by_method = figures.setdefault((bench, metric), {})
                    by_method.setdefault(run.method, []).append(value)
    return figures


def table(figures):
    """Return a row a benchmark, metric and method: mean, deviation and range over seeds."""
    return [
        {
            "benchmark": bench,
            "figure": metric,
            "method": method,
            "mean": round(statistics.mean(values), 1),
            "standard deviation": round(statistics.stdev(values), 2) if len(values) > 1 else None,
            "lowest": round(min(values), 1),
            "highest": round(max(values), 1),
            "seeds": len(values),
        }
        for (bench, metric), by_method in sorted(figures.items())
        for method, values in by_method.items()
    ]


def orders(figures):
    """Return a row a benchmark, metric and pair of methods: how often the first is higher."""
    return [
        {
            "benchmark": bench,
            "figure": metric,
            "method": first,
            "above": second,
            "on": sum(a > b for a, b in zip(by_method[first], by_method[second], strict=True)),
            "of": len(by_method[first]),
            "mean difference": round(
                statistics.mean(by_method[first]) - statistics.mean(by_method[second]), 1
            ),
        }
        for (bench, metric), by_method in sorted(figures.items())
        for first, second in itertools.combinations(by_method, 2)
    ]


def main(arguments):
    """Measure, print, and write the figures if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--quick", action="store_true", help="with the sizes of harness demo --quick"
    )
    parser.add_argument("--workspace", type=Path, help="default: one that is removed at the end")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    overrides, bench_overrides = QUICK if options.quick else ((), ())
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace or Path(scratch)
        figures = measured(options.seeds, workspace, overrides, bench_overrides)
    result = {"figures": table(figures), "orders": orders(figures)}
    if options.json:
        options.json.write_text(json.dumps(result))
    for rows in result.values():
        for row in rows:
            print(*row.values(), sep="  ")


if __name__ == "__main__":
    main(sys.argv[1:])
