"""How plans and results look on a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from harness.runs import Stage
    from harness.training.estimate import Cost

    Plan = Sequence[tuple[Stage, Path | None]]


def stem(name: str) -> str:
    """Return what a run is called by the name or file of its method."""
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name


def engine(component: Any) -> str:
    """Say which engine generates, and why."""
    told = type(component).__name__.removesuffix("Engine").lower()
    because = getattr(component, "chosen_because", "")
    return f"engine: {told}{f' ({because})' if because else ''}"


def plan(stages: Plan) -> list[dict[str, Any]]:
    """Return a plan as data."""
    return [
        {
            "stage": stage.name,
            "label": stage.label,
            "size": stage.size,
            "stands": path is not None,
            "path": str(path) if path else None,
            "bytes": size(path) if path else None,
        }
        for stage, path in stages
    ]


def print_plan(stages: Plan) -> None:
    """Print a plan: every stage, what it costs, and whether it stands."""
    for stage, path in stages:
        mark = f"stands, {size(path) / 1e6:.1f} MB" if path else "would run"
        detail = f"  {stage.size}" if stage.size else ""
        typer.echo(f"{mark:>20}  {stage.label or stage.name}{detail}")
    standing = sum(path is not None for _, path in stages)
    typer.echo(f"{standing} of {len(stages)} stages stand, {len(stages) - standing} would run.")


def cost(found: Cost | None) -> dict[str, Any] | None:
    """Return what a method costs as data."""
    if found is None:
        return None
    return {**dataclasses.asdict(found), "hours": found.hours, "dollars": found.dollars}


def print_cost(found: Cost | None) -> None:
    """Print what a method costs as a whole: work and hours by stage, memory on a GPU."""
    if found is None:
        typer.echo("No estimate: how many prompts there are is known to their source only.")
        return
    typer.echo(f"\nIn all, on {found.gpus}:")
    for stage in found.stages:
        told = f"{stage.hours:8.1f} h" if stage.hours is not None else "       – h"
        work = f"{stage.count:,} {stage.what}"
        typer.echo(f"{told}  {stage.stage:<9} {work:<24} {stage.tokens / 1e6:,.0f} M tokens")
    typer.echo(
        f"{found.hours:8.1f} h  together, {found.comparisons_per_prompt} comparisons a prompt"
    )
    if found.dollars is not None:
        typer.echo(f"About ${found.dollars:,.0f}, at ${found.hourly:.2f} an hour for all GPUs.")
    if found.state_gb is not None and found.activations_gb is not None:
        typer.echo(
            f"Training takes {found.state_gb:.1f} GB a GPU for weights, gradients and moments and "
            f"about {found.activations_gb:.1f} GB for a micro-batch; it has {found.memory_gb:g}."
        )
    typer.echo(f"Assumed: {'; '.join(found.assumptions)}.")


def size(path: Path) -> int:
    """Return how many bytes a stage takes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
