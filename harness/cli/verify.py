"""`harness verify [BENCH]`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.api import components
from harness.cli import display, options

if TYPE_CHECKING:
    from harness.types import PublishedFigure

EXAMPLE = "Example: harness verify alpaca-eval --assets assets"


JUDGE_BENCH = "judgebench"
"""What is verified besides the benchmarks of configs/bench: it grades judges, not policies."""


def judge_bench(assets: Path | None) -> Any:
    """Return JudgeBench, with its data in this folder."""
    from harness.benchmarks.judgebench.benchmark import JudgeBench

    return JudgeBench(assets=assets)


def command(
    bench: Annotated[
        str | None,
        typer.Argument(help="A benchmark of configs/bench, or judgebench; default: all."),
    ] = None,
    assets: options.AssetsOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Recompute every published figure whose verdicts are in the protocol data, and compare.

    Exit code 0: all figures are within their tolerance.
    """
    from harness.errors import CheckError, ConfigError
    from harness.protocols import PublishedScores

    by_benchmark: dict[str, list[PublishedFigure]] = {}
    benchmarks: dict[str, Any] = (
        {bench: judge_bench(assets)}
        if bench == JUDGE_BENCH
        else {bench: components.build_judged_benchmark(bench, [], assets, None)}
        if bench
        else components.judged_benchmarks(assets) | {JUDGE_BENCH: judge_bench(assets)}
    )
    for name, benchmark in benchmarks.items():
        if isinstance(benchmark, PublishedScores):
            by_benchmark[name] = list(benchmark.published())
        elif bench:
            raise ConfigError(f"{bench} has no published figures to verify")
    if as_json:
        rows = {k: [asdict(f) | {"holds": f.holds} for f in v] for k, v in by_benchmark.items()}
        display.print_json(rows)
    else:
        for name, figures in by_benchmark.items():
            display.print_published_figures(name, figures)
    mismatches = [
        f"{name} {f.metric}" for name, v in by_benchmark.items() for f in v if not f.holds
    ]
    if mismatches:
        raise CheckError(
            f"{len(mismatches)} figures differ from the published ones: {'; '.join(mismatches[:5])}"
        )
