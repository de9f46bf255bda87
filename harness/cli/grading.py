"""How `harness eval` puts an evaluation together, and how it shows what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import present

if TYPE_CHECKING:
    from harness.evaluation.results import Result
    from harness.evaluation.run import Plan
    from harness.protocols import PolicySource
    from harness.runs import Workspace

AnswersOption = Annotated[
    Path | None, typer.Option("--answers", help="Answers as alpaca_eval's JSON, or .json.gz.")
]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="A policy's name, folder or hub id.")
]
UrlOption = Annotated[str | None, typer.Option("--base-url", help="Where the judge is served.")]
MissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Leave out prompts without an answer.")
]
PARTS = ("judge", "engine")


def overriding(overrides: Sequence[str], part: str | None) -> list[str]:
    """Return the overrides of the judge or the engine (`judge.timeout=9`), or else the rest."""
    if part:
        return [o.removeprefix(f"{part}.") for o in overrides if o.startswith(f"{part}.")]
    return [o for o in overrides if not o.startswith(tuple(f"{p}." for p in PARTS))]


def component(
    kind: str, name: str, overrides: Sequence[str], given: Mapping[str, Any] | None = None
) -> Any:
    """Build what a configuration describes; options that were given are laid over it."""
    from harness.config import build, load

    spec = load(kind, name, overriding(overrides, kind if kind in PARTS else None))
    return build(spec | {key: value for key, value in (given or {}).items() if value is not None})


def contestant(
    place: Workspace, policy: str | None, run: str | None
) -> tuple[str | None, PolicySource | None]:
    """Return the label and the policy that `--run` or `--policy` names, where one does."""
    from harness.cli import sources
    from harness.errors import ConfigError

    if policy and run:
        raise ConfigError("say who answers: --answers, --policy or --run, one of them")
    if run:
        return sources.trained(place, run)
    return None, sources.policy(policy) if policy else None


def planned(plan: Plan) -> dict[str, Any]:
    """Return a plan as data."""
    stored = None if plan.requests is None else plan.requests - (plan.asked or 0)
    told = {"requests": plan.requests, "stored": stored, "asked": plan.asked}
    return {"stages": present.plan(plan.stages), **told}


def print_plan(plan: Plan) -> None:
    """Print what an evaluation would do."""
    if plan.stages:
        present.print_plan(plan.stages)
    if plan.requests is None or plan.asked is None:
        typer.echo("How much the judge would be asked is known once the answers are there.")
        return
    stored = plan.requests - plan.asked
    typer.echo(f"{plan.requests} verdicts: {stored} stored, {plan.asked} would be asked.")


def told(result: Result, path: Path) -> dict[str, Any]:
    """Return a result as data, without its items."""
    return asdict(replace(result, score=replace(result.score, items=()))) | {"path": str(path)}


def print_result(result: Result, path: Path) -> None:
    """Print a result: figures, counts, and what a reader must know of them."""
    judge = ", ".join(result.judges_served) or f"{result.judge} (not asked)"
    typer.echo(f"{result.label} on {result.benchmark}, judged by {judge}")
    for name, found in result.score.estimates.items():
        interval = "" if found.low is None else f"  [{found.low:.2f}, {found.high:.2f}] 95 %"
        error = "" if found.standard_error is None else f"  SE {found.standard_error:.2f}"
        typer.echo(f"  {name} {found.value:.2f}{interval}{error}")
    counts = "  ".join(f"{name} {count}" for name, count in result.score.counts.items())
    stored = result.requests - result.asked
    typer.echo(f"  {counts}\n  verdicts asked {result.asked}, from the store {stored}")
    for note in result.score.notes:
        typer.echo(f"  note: {note}")
    typer.echo(f"  {path}")
