"""How `harness eval` shows what would be done, and what came out."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli import money, present

if TYPE_CHECKING:
    from harness.evaluation.results import Result
    from harness.evaluation.run import Plan
    from harness.types import Score


def planned(plan: Plan) -> dict[str, Any]:
    """Return a plan as data."""
    stored = None if plan.requests is None else plan.requests - (plan.asked or 0)
    told = {"requests": plan.requests, "stored": stored, "asked": plan.asked}
    findings = [asdict(finding) for finding in plan.findings]
    forecast = plan.forecast and asdict(plan.forecast)
    stages = present.plan(plan.stages)
    return {"stages": stages, **told, "findings": findings, "forecast": forecast}


def print_plan(plan: Plan) -> None:
    """Print what an evaluation would do."""
    if plan.stages:
        present.print_plan(plan.stages)
    if plan.requests is None or plan.asked is None:
        typer.echo("How much the judge would be asked is known once the answers are there.")
        return
    stored = plan.requests - plan.asked
    typer.echo(f"{plan.requests} verdicts: {stored} stored, {plan.asked} would be asked.")
    if plan.forecast is not None and plan.forecast.calls:
        money.print_forecast(plan.forecast)
    for finding in plan.findings:
        typer.echo(f"{finding.level}: {finding.told}")


def told(result: Result, path: Path) -> dict[str, Any]:
    """Return a result as data, without its items."""
    return asdict(replace(result, score=replace(result.score, items=()))) | {"path": str(path)}


def print_result(result: Result, path: Path) -> None:
    """Print a result: figures, counts, and what a reader must know of them."""
    judge = ", ".join(result.judges_served) or f"{result.judge} (not asked)"
    typer.echo(f"{result.label} on {result.benchmark}, judged by {judge}")
    print_score(result.score)
    ended = "  ".join(f"{name} {count}" for name, count in result.finish_reasons.items())
    typer.echo(f"  answers ended by: {ended}")
    typer.echo(f"  verdicts asked {result.asked}, from the store {result.requests - result.asked}")
    if result.bill is not None:
        money.print_bill(result.bill)
    typer.echo(f"  {path}")


def print_score(score: Score) -> None:
    """Print figures, counts, and what a reader must know of them."""
    for name, found in score.estimates.items():
        interval = "" if found.low is None else f"  [{found.low:.2f}, {found.high:.2f}] 95 %"
        error = "" if found.standard_error is None else f"  SE {found.standard_error:.2f}"
        typer.echo(f"  {name} {found.value:.2f}{interval}{error}")
    typer.echo("  " + "  ".join(f"{name} {count}" for name, count in score.counts.items()))
    for note in score.notes:
        typer.echo(f"  note: {note}")
