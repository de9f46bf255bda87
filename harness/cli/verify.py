"""`harness verify [BENCH]`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import display, factory, options

if TYPE_CHECKING:
    from harness.types import PublishedFigure

EXAMPLE = "Example: harness verify alpaca-eval --assets assets"


def command(
    bench: Annotated[
        str | None,
        typer.Argument(help="Of configs/bench; all if not said."),
    ] = None,
    assets: options.AssetsOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Recompute every published figure whose verdicts the protocol data holds, and compare.

    Exit code 0 says that all of them are within their tolerance.
    """
    from harness.errors import CheckError, ConfigError
    from harness.protocols import PublishedScores

    by_benchmark: dict[str, list[PublishedFigure]] = {}
    benchmarks = (
        {bench: factory.build_judged_benchmark(bench, [], assets, None)}
        if bench
        else factory.judged_benchmarks(assets)
    )
    for name, benchmark in benchmarks.items():
        if isinstance(benchmark, PublishedScores):
            by_benchmark[name] = list(benchmark.published())
        elif bench:
            raise ConfigError(f"nothing was published of {bench}: there is nothing to verify")
    if as_json:
        rows = {k: [asdict(f) | {"holds": f.holds} for f in v] for k, v in by_benchmark.items()}
        display.print_json(rows)
    else:
        for name, figures in by_benchmark.items():
            print_figures(name, figures)
    mismatches = [
        f"{name} {f.metric}" for name, v in by_benchmark.items() for f in v if not f.holds
    ]
    if mismatches:
        raise CheckError(
            f"{len(mismatches)} figures are not as published: {'; '.join(mismatches[:5])}"
        )


def print_figures(name: str, figures: list[PublishedFigure]) -> None:
    """Print a benchmark's figures: published, recomputed, difference, and what explains it."""
    typer.echo(f"{name}: {sum(f.holds for f in figures)} of {len(figures)} as published")
    width = max((len(f.metric) for f in figures), default=0)
    for f in figures:
        mark = "ok " if f.holds else "NOT"
        difference = f.recomputed - f.published
        numbers = f"{f.published:14.8f} {f.recomputed:14.8f} {difference:+.1e} (±{f.tolerance:.0e})"
        typer.echo(f"  {mark} {f.metric:<{width}} {numbers}  {f.explanation}".rstrip())
