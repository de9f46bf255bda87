"""`harness judge doctor` and `harness judge bridge`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import benches, bridge, grading, screen
from harness.cli.money import dollars, print_price

if TYPE_CHECKING:
    from harness.types import Forecast

EXAMPLE = "Example: harness judge doctor gpt-4.1"
app = typer.Typer(help="Look at judges, and set one beside another.", no_args_is_help=True)
MARKS = {"ok": "ok  ", "note": "    ", "bad": "BAD "}


@app.callback()
def group() -> None:
    """Look at judges, and set one beside another."""


@app.command("doctor", epilog=EXAMPLE)
def doctor(
    name: Annotated[str, typer.Argument(metavar="JUDGE", help="Of configs/judge.")],
    base_url: grading.UrlOption = None,
    assets: screen.AssetsOption = None,
    overrides: screen.SetOption = None,
    as_json: screen.JsonOption = False,
) -> None:
    """Ask a judge's server what it can do, with two or three calls of a few tokens.

    Is it reachable, is the key valid, which model does it serve and until when, does it give
    log-probabilities, what does it call the length limit, how fast is it, what may be asked of it
    a minute, and what does judging each benchmark cost? Overrides are of the judge.
    """
    from harness.errors import JudgeError
    from harness.judges import doctor

    given = [f"judge.{override}" for override in overrides or ()]
    judge = grading.component("judge", name, given, {"base_url": base_url})
    found = doctor.examine(judge)
    prices = forecasts(judge, assets)
    if as_json:
        costs = {bench: asdict(told) for bench, told in prices.items()}
        screen.show({"findings": [asdict(one) for one in found], "benchmarks": costs})
    else:
        for one in found:
            typer.echo(f"{MARKS[one.state]}{one.what}: {one.told}")
        for bench, told in prices.items():
            price = dollars(told.dollars)
            typer.echo(f"    {bench}: {price} and {told.minutes:.0f} minutes a contestant")
        for told in {one.price: one for one in prices.values()}.values():
            print_price(told)
    if bad := [f"{one.what}: {one.told}" for one in found if one.state == "bad"]:
        raise JudgeError(f"{name} cannot be used as it is: {'; '.join(bad)}")


def forecasts(judge: Any, assets: Path | None) -> dict[str, Forecast]:
    """Return what judging each benchmark would take, where its data is here."""
    from harness.evaluation.pricing import typical
    from harness.judges.stored import StoredJudge

    found = {}
    for name, benchmark in benches.judged(assets).items():
        if requests := typical(benchmark):
            stored = StoredJudge(judge, Path("nowhere"))
            found[name] = stored.forecast(requests, benchmark)
    return found


app.command("bridge", epilog=bridge.EXAMPLE)(bridge.command)
