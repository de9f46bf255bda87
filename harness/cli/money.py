"""How what judging costs is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from harness.types import Bill, Forecast


def print_forecast(found: Forecast) -> None:
    """Print what asking will take."""
    typer.echo(
        f"About {dollars(found.dollars)} and {found.minutes:.1f} minutes: {found.calls} calls, "
        f"{found.prompt_tokens} tokens in prompts, {found.completion_tokens} in replies."
    )
    typer.echo(f"  {found.grounds}")
    print_price(found)


def print_price(found: Forecast) -> None:
    """Print the price that a forecast rests on, and whether it may be out of date."""
    if found.price:
        typer.echo(f"  {found.price}")
    if found.doubt:
        typer.echo(f"  warning: {found.doubt}")


def print_bill(bill: Bill) -> None:
    """Print what the verdicts have cost."""
    lost = f", {bill.failed} without a reply" if bill.failed else ""
    lost += f", {bill.refused} refused" if bill.refused else ""
    guessed = f", tokens guessed for {bill.estimated}" if bill.estimated else ""
    typer.echo(f"  cost {dollars(bill.dollars)}: {bill.calls} calls{lost}{guessed}")


def dollars(value: float | None) -> str:
    """Return an amount of money."""
    if value is None:
        return "an unknown amount (no price in configs/prices)"
    return f"${value:.2f}" if value >= 1 or not value else f"${value:.2g}"
