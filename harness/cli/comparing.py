"""How a bridge from one judge to another is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from harness.cli.money import dollars

KEPT = ("win_rate", "length_controlled_win_rate")


def print_bridge(found: Mapping[str, Any]) -> None:
    """Print two judges side by side."""
    typer.echo(
        f"{found['from']} -> {found['to']} on {found['benchmark']}: {found['verdicts']} verdicts "
        f"on {found['prompts']} prompts"
    )
    for row in found["models"]:
        for name in KEPT:
            if name in row:
                old, new = (value(row[name][side]) for side in ("old", "new"))
                typer.echo(f"  {row['label']:<40} {name:<28} {old}  {new}")
    told = {
        "rank correlation (Kendall's tau)": found["rank_correlation"],
        "kappa": found["kappa"],
        "same verdict": found["same_verdict"],
        "bias (new less old, of 1)": found["bias"],
        "first answer preferred, old": found["first_slot"]["old"],
        "first answer preferred, new": found["first_slot"]["new"],
    }
    for name in ("self_consistency", "order_consistency"):
        if found.get(name):
            told[name.replace("_", "-")] = found[name]["same_verdict"]
    for name, one in told.items():
        typer.echo(f"  {name}: {value(one)}")
    typer.echo(f"  cost {dollars(found['cost']['dollars'])}: {found['cost']['calls']} calls")
    typer.echo(f"  {found['path']}")


def value(one: Mapping[str, Any]) -> str:
    """Return a figure with its interval."""
    if one["value"] is None:
        return "unknown"
    interval = "" if one["low"] is None else f" [{one['low']:.3f}, {one['high']:.3f}]"
    return f"{one['value']:.3f}{interval}"
