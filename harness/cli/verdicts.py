"""`harness verdicts ls|verify|repair|export|import`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.money import dollars
from harness.cli.screen import RUNS, JsonOption, WorkspaceOption, say, show, workspace

EXAMPLE = "Example: harness verdicts verify --workspace runs"
app = typer.Typer(help="Look after the store of verdicts.", no_args_is_help=True)
SHOWN = 10


@app.command("ls", epilog="Example: harness verdicts ls --json")
def listing(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Show which judges gave how many verdicts, and what they cost."""
    from harness.judges import upkeep

    found = upkeep.summary(workspace(root).verdicts)
    if as_json:
        show(found)
        return
    for row in found["verdicts"]:
        other = "" if row["served"] == row["judge"] else f" (served by {row['served']})"
        typer.echo(f"{row['attempts']:>8} {row['status']:<11} {row['judge']}{other}")
    for row in found["calls"]:
        typer.echo(f"{row['calls']:>8} calls       {row['judge']}: {dollars(row['dollars'])}")


@app.command("verify", epilog=EXAMPLE)
def verify(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Look at every byte of the store. Exit code 0 says that it is as it was left."""
    from harness.errors import StoreError
    from harness.judges import upkeep

    path = workspace(root).verdicts
    found = upkeep.verify(path)
    if as_json:
        show(asdict(found))
    else:
        typer.echo(f"{found.attempts} attempts are whole, {len(found.faults)} faults")
        for told in found.faults[:SHOWN]:
            typer.echo(f"  {told}")
    if found.faults:
        raise StoreError(f"{path} is damaged: `harness verdicts repair` keeps what is whole")


@app.command("repair", epilog="Example: harness verdicts repair --workspace runs")
def repair(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Make a new store of all that is whole in the old one, which is moved aside."""
    from harness.judges import upkeep

    kept, aside = upkeep.repair(workspace(root).verdicts)
    say(f"the old file is {aside}")
    show({"kept": kept, "aside": str(aside)}) if as_json else typer.echo(f"{kept} attempts kept")


@app.command("export", epilog="Example: harness verdicts export verdicts.jsonl.gz")
def export(path: Path, root: WorkspaceOption = RUNS) -> None:
    """Write every verdict to a file of JSON lines, each with its checksum."""
    from harness.judges import upkeep

    typer.echo(f"{upkeep.export(workspace(root).verdicts, path)} attempts written to {path}")


@app.command("import", epilog="Example: harness verdicts import verdicts.jsonl.gz")
def bring(
    path: Annotated[Path, typer.Argument(help="What `harness verdicts export` wrote.")],
    root: WorkspaceOption = RUNS,
) -> None:
    """Add a file's verdicts to the store; nothing is added if a line is not whole."""
    from harness.judges import upkeep

    new, read = upkeep.bring(workspace(root).verdicts, path)
    typer.echo(f"{new} attempts added, {read - new} were there")
