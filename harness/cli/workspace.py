"""`harness workspace du|prune|verify`: what a workspace holds, and whether it is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import display, printing
from harness.cli.options import RUNS, JsonOption, WorkspaceOption
from harness.cli.sizes import format_bytes
from harness.errors import StoreError

if TYPE_CHECKING:
    from harness.api.workspaces import Leftover, WorkspaceUsage

EXAMPLE = "Example: harness workspace verify --workspace runs"
app = typer.Typer(
    help="Show, free and check what a workspace holds on the disk.", no_args_is_help=True
)


@app.command("du", epilog="Example: harness workspace du --workspace runs")
def usage(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Show the space by kind, and by run: its own, and shared with other runs."""
    from harness.api.workspaces import workspace_usage

    space = workspace_usage(display.open_workspace(root))
    if as_json:
        display.print_json(asdict(space) | {"total": space.total})
    else:
        _print_usage(space)


def _print_usage(space: WorkspaceUsage) -> None:
    for kind, size in space.kinds.items():
        printing.print_line(f"{format_bytes(size):>8}  {kind}")
    printing.print_line(f"{format_bytes(space.total):>8}  in all\n\nstages:")
    for kind, size in space.stage_kinds.items():
        printing.print_line(f"{format_bytes(size):>8}  {kind}")
    printing.print_line("\nruns:")
    for run in space.runs:
        own, shared = format_bytes(run.own), format_bytes(run.shared)
        printing.print_line(f"{own:>8}  {run.run}, and {shared} shared with others")
    if space.unused:
        unused = format_bytes(space.unused)
        printing.print_line(f"\n{unused} nothing needs: `harness workspace prune`")


@app.command("prune", epilog="Example: harness workspace prune --dry-run")
def prune(
    samples: Annotated[
        bool, typer.Option("--samples", help="Remove the samples of finished iterations too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed, and remove nothing.")
    ] = False,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Remove stages that no run and no result needs, and what killed commands have left.

    Samples of a finished iteration are not needed by what stands on them: their pairs stay.
    Refused while a training or an evaluation is active in the workspace.
    """
    from harness.api.workspaces import plan_prune, prune_workspace

    act = plan_prune if dry_run else prune_workspace
    leftovers = act(samples=samples, workspace=display.open_workspace(root))
    if as_json:
        rows = [asdict(leftover) | {"path": str(leftover.path)} for leftover in leftovers]
        display.print_json({"removed": not dry_run, "leftovers": rows})
        return
    if dry_run:
        for leftover in leftovers:
            size = format_bytes(leftover.size)
            printing.print_line(
                f"{size:>8}  {leftover.kind:<9} {leftover.path.name}  {leftover.label}"
            )
    verb = "would become" if dry_run else "became"
    size = format_bytes(sum(leftover.size for leftover in leftovers))
    printing.print_line(f"{_counts(leftovers)}: {size} {verb} free")


def _counts(leftovers: Sequence[Leftover]) -> str:
    counts = Counter(leftover.kind for leftover in leftovers)
    return ", ".join(f"{n} {kind}" for kind, n in counts.items()) or "nothing to remove"


@app.command("verify", epilog=EXAMPLE)
def verify(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Read everything again: stages, records, results and verdicts. Exit code 0: all is whole.

    One line a finding, with the command that mends it; what could not be checked is a note. Results
    are also compared with what their verdicts give when they are scored again.
    """
    from harness.api.workspaces import verify_workspace

    if not root.is_dir():
        raise StoreError(f"there is no workspace {root}: name it with --workspace")
    findings: list[dict[str, Any]] = []
    for finding in verify_workspace(display.open_workspace(root)):
        findings.append(asdict(finding) | {"path": str(finding.path)})
        if not as_json:
            kind = finding.kind if finding.is_fault else f"{finding.kind} not checked"
            printing.print_line(f"{kind}: {' '.join(finding.problem.split())}")
    if as_json:
        display.print_json({"workspace": str(root), "findings": findings})
    faults = sum(finding["is_fault"] for finding in findings)
    if faults:
        raise StoreError(f"{root} has {faults} {'finding' if faults == 1 else 'findings'}")
    if not as_json:
        unchecked = f", as far as it could be checked ({len(findings)} not)" if findings else ""
        printing.print_line(f"{root} is whole{unchecked}")
