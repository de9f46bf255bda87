"""`harness verdicts ls|verify|repair|export|import`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.display import format_dollars, open_workspace, print_json
from harness.cli.options import RUNS, JsonOption, WorkspaceOption
from harness.cli.printing import notify, print_line

EXAMPLE = "Example: harness verdicts verify --workspace runs"
app = typer.Typer(help="Maintain the verdict store.", no_args_is_help=True)
MAX_FAULTS = 10


@app.command("ls", epilog="Example: harness verdicts ls --json")
def listing(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """List the judges, their numbers of verdicts, and their costs."""
    from harness.judges.store import maintenance

    summary = maintenance.summary(open_workspace(root).verdicts)
    if as_json:
        print_json(summary)
        return
    for row in summary["verdicts"]:
        other = "" if row["served"] == row["judge"] else f" (served by {row['served']})"
        print_line(f"{row['attempts']:>8} {row['status']:<11} {row['judge']}{other}")
    for row in summary["calls"]:
        print_line(
            f"{row['calls']:>8} calls       {row['judge']}: {format_dollars(row['dollars'])}"
        )


@app.command("verify", epilog=EXAMPLE)
def verify(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Check every byte of the store. Exit code 0: the store is intact."""
    from harness.errors import StoreError
    from harness.judges.store import maintenance

    path = open_workspace(root).verdicts
    health = maintenance.verify(path)
    if as_json:
        print_json(asdict(health))
    else:
        print_line(f"{health.attempts} attempts are intact, {len(health.faults)} faults")
        for fault in health.faults[:MAX_FAULTS]:
            print_line(f"  {fault}")
    if health.faults:
        raise StoreError(
            f"{path} is damaged: recover the intact verdicts with `harness verdicts repair`"
        )


@app.command("repair", epilog="Example: harness verdicts repair --workspace runs")
def repair(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Copy all intact rows to a new store; the damaged file is kept as a backup."""
    from harness.judges.store import maintenance

    result = maintenance.repair(open_workspace(root).verdicts)
    notify(f"the damaged file is kept as {result.backup}")
    if as_json:
        print_json(asdict(result) | {"backup": str(result.backup)})
        return
    print_line(f"{result.copied['attempt']} attempts kept")
    for table, count in result.lost.items():
        if count != 0:
            print_line(f"lost in the table {table}: {'unknown' if count is None else count} rows")


@app.command("export", epilog="Example: harness verdicts export verdicts.jsonl.gz")
def export(path: Path, root: WorkspaceOption = RUNS) -> None:
    """Write every verdict to a JSON Lines file, each with its checksum."""
    from harness.judges.store import maintenance

    count = maintenance.export(open_workspace(root).verdicts, path)
    print_line(f"{count} attempts written to {path}")


@app.command("import", epilog="Example: harness verdicts import verdicts.jsonl.gz")
def import_verdicts(
    path: Annotated[Path, typer.Argument(help="A file that `harness verdicts export` wrote.")],
    root: WorkspaceOption = RUNS,
) -> None:
    """Add a file's verdicts to the store; a damaged line adds nothing.

    Replies that no protocol could read, such as an error's page, are left out and counted.
    """
    from harness.judges.store import maintenance

    added = maintenance.import_verdicts(open_workspace(root).verdicts, path)
    left_out = f", {added.unreadable} left out: no reply can be read" if added.unreadable else ""
    print_line(f"{added.new} attempts added, {added.known} already stored{left_out}")
