"""How plans and results look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from harness.runs import Stage

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


def size(path: Path) -> int:
    """Return how many bytes a stage takes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
