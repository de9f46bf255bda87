"""`harness verify [BENCH]`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import benches, screen

if TYPE_CHECKING:
    from harness.types import Figure

EXAMPLE = "Example: harness verify alpaca-eval --assets assets"


def command(
    bench: Annotated[
        str | None,
        typer.Argument(help="Of configs/bench; all if not said."),
    ] = None,
    assets: screen.AssetsOption = None,
    as_json: screen.JsonOption = False,
) -> None:
    """Recompute every published figure whose verdicts the protocol data holds, and compare.

    Exit code 0 says that all of them are within their tolerance.
    """
    from harness.errors import CheckError, ConfigError

    found: dict[str, list[Figure]] = {}
    there = {bench: benches.benchmark(bench, [], assets, None)} if bench else benches.judged(assets)
    for name, benchmark in there.items():
        if hasattr(benchmark, "published"):
            found[name] = list(benchmark.published())
        elif bench:
            raise ConfigError(f"nothing was published of {bench}: there is nothing to verify")
    if as_json:
        rows = {k: [asdict(f) | {"holds": f.holds} for f in v] for k, v in found.items()}
        screen.show(rows)
    else:
        for name, figures in found.items():
            print_figures(name, figures)
    apart = [f"{name} {f.what}" for name, v in found.items() for f in v if not f.holds]
    if apart:
        raise CheckError(f"{len(apart)} figures are not as published: {'; '.join(apart[:5])}")


def print_figures(name: str, figures: list[Figure]) -> None:
    """Print a benchmark's figures: published, recomputed, difference, and what explains it."""
    typer.echo(f"{name}: {sum(f.holds for f in figures)} of {len(figures)} as published")
    width = max((len(f.what) for f in figures), default=0)
    for f in figures:
        mark = "ok " if f.holds else "NOT"
        apart = f.recomputed - f.published
        numbers = f"{f.published:14.8f} {f.recomputed:14.8f} {apart:+.1e} (±{f.tolerance:.0e})"
        typer.echo(f"  {mark} {f.what:<{width}} {numbers}  {f.explained}".rstrip())
