"""`harness verdicts ls|verify|repair|export|import`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.display import format_dollars, notify, print_json
from harness.cli.factory import open_workspace
from harness.cli.options import RUNS, JsonOption, WorkspaceOption

EXAMPLE = "Example: harness verdicts verify --workspace runs"
app = typer.Typer(help="Look after the store of verdicts.", no_args_is_help=True)
MAX_FAULTS = 10


@app.command("ls", epilog="Example: harness verdicts ls --json")
def listing(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Show which judges gave how many verdicts, and what they cost."""
    from harness.judges.store import maintenance

    summary = maintenance.summary(open_workspace(root).verdicts)
    if as_json:
        print_json(summary)
        return
    for row in summary["verdicts"]:
        other = "" if row["served"] == row["judge"] else f" (served by {row['served']})"
        typer.echo(f"{row['attempts']:>8} {row['status']:<11} {row['judge']}{other}")
    for row in summary["calls"]:
        typer.echo(
            f"{row['calls']:>8} calls       {row['judge']}: {format_dollars(row['dollars'])}"
        )


@app.command("verify", epilog=EXAMPLE)
def verify(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Look at every byte of the store. Exit code 0 says that it is as it was left."""
    from harness.errors import StoreError
    from harness.judges.store import maintenance

    path = open_workspace(root).verdicts
    health = maintenance.verify(path)
    if as_json:
        print_json(asdict(health))
    else:
        typer.echo(f"{health.attempts} attempts are whole, {len(health.faults)} faults")
        for fault in health.faults[:MAX_FAULTS]:
            typer.echo(f"  {fault}")
    if health.faults:
        raise StoreError(f"{path} is damaged: `harness verdicts repair` keeps what is whole")


@app.command("repair", epilog="Example: harness verdicts repair --workspace runs")
def repair(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Make a new store of all that is whole in the old one, which is moved aside."""
    from harness.judges.store import maintenance

    count, backup = maintenance.repair(open_workspace(root).verdicts)
    notify(f"the old file is {backup}")
    print_json({"kept": count, "aside": str(backup)}) if as_json else typer.echo(
        f"{count} attempts kept"
    )


@app.command("export", epilog="Example: harness verdicts export verdicts.jsonl.gz")
def export(path: Path, root: WorkspaceOption = RUNS) -> None:
    """Write every verdict to a file of JSON lines, each with its checksum."""
    from harness.judges.store import maintenance

    typer.echo(
        f"{maintenance.export(open_workspace(root).verdicts, path)} attempts written to {path}"
    )


@app.command("import", epilog="Example: harness verdicts import verdicts.jsonl.gz")
def import_verdicts(
    path: Annotated[Path, typer.Argument(help="What `harness verdicts export` wrote.")],
    root: WorkspaceOption = RUNS,
) -> None:
    """Add a file's verdicts to the store; nothing is added if a line is not whole."""
    from harness.judges.store import maintenance

    new, total = maintenance.import_verdicts(open_workspace(root).verdicts, path)
    typer.echo(f"{new} attempts added, {total - new} were there")
