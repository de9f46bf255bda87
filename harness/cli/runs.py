"""`harness runs ls|show|rm|export`: the runs of a workspace."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import display, printing
from harness.cli.options import RUNS, JsonOption, WorkspaceOption
from harness.cli.sizes import format_bytes
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.api.runs import RunDetails, RunRemoval, RunSummary

EXAMPLE = "Example: harness runs show toy/inpo"
app = typer.Typer(help="List, show, remove and export runs.", no_args_is_help=True)

RunArgument = Annotated[str, typer.Argument(metavar="NAME", help="The run's name.")]
LOADING = """\
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained({path!r})
tokenizer = AutoTokenizer.from_pretrained({path!r})"""


class PairFormat(StrEnum):
    """A format of exported pairs."""

    JSONL = "jsonl"
    PARQUET = "parquet"


@app.command("ls", epilog="Example: harness runs ls --workspace runs")
def listing(root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """List the runs with their method, state, iterations, size and time; sweeps together."""
    from harness.api.runs import damaged_runs, summarize_runs

    workspace = display.open_workspace(root)
    for line in damaged_runs(workspace):
        printing.notify(f"left out: {line}")
    summaries = summarize_runs(workspace)
    if as_json:
        display.print_json([asdict(run) | {"state": run.state} for run in summaries])
        return
    for sweep, members in _by_sweep(summaries).items():
        if sweep:
            complete = sum(run.complete for run in members)
            printing.print_line(f"{sweep}: a sweep, {complete} of {len(members)} runs complete")
        for run in members:
            printing.print_line(("  " if sweep else "") + _line(run))
    if not summaries:
        printing.print_line(f"no runs in {root}: begin with `harness train toy/inpo`")


def _by_sweep(summaries: Sequence[RunSummary]) -> Mapping[str, list[RunSummary]]:
    groups: dict[str, list[RunSummary]] = {}
    for run in summaries:
        groups.setdefault(run.sweep, []).append(run)
    return groups


def _line(run: RunSummary) -> str:
    shared = "" if run.own == run.size else f" ({format_bytes(run.own)} its own)"
    return (
        f"{run.name}: {run.method}, {run.state}, {run.iterations} of {run.planned} iterations, "
        f"{format_bytes(run.size)}{shared}, {run.at}"
    )


@app.command("show", epilog=EXAMPLE)
def show(name: RunArgument, root: WorkspaceOption = RUNS, as_json: JsonOption = False) -> None:
    """Show where a run's policies are and how to load them, its stages, and its results."""
    from harness.api.runs import describe_run

    details = describe_run(name, display.open_workspace(root))
    if as_json:
        display.print_json(_details_data(details))
    else:
        _print_details(details)


def _details_data(details: RunDetails) -> dict[str, Any]:
    return {
        **asdict(details.summary),
        "state": details.summary.state,
        "policies": [str(path) for path in details.policies],
        "stages": [asdict(use) | {"path": str(use.path)} for use in details.stages],
        "results": [asdict(row) | {"path": str(row.path)} for row in details.results],
        "load": LOADING.format(path=str(details.policies[-1])).splitlines(),
    }


def _print_details(details: RunDetails) -> None:
    printing.print_line(_line(details.summary))
    printing.print_line("\npolicies, by iteration (0 is the start):")
    for t, path in enumerate(details.policies):
        printing.print_line(f"  {t}  {path}")
    printing.print_line("\nthe last one in Python:")
    for line in LOADING.format(path=str(details.policies[-1])).splitlines():
        printing.print_line(f"  {line}")
    printing.print_line("\nstages:")
    for use in details.stages:
        shared = f", shared with {', '.join(use.shared_with)}" if use.shared_with else ""
        size = format_bytes(use.size) if use.size else "removed"
        printing.print_line(f"  {use.name}  {size:>8}  {use.label}{shared}")
    printing.print_line("\nresults:")
    for row in details.results:
        printing.print_line(
            f"  {row.benchmark}: {row.label} (iteration {row.iteration})  {row.path}"
        )
    if not details.results:
        printing.print_line(f"  none; harness eval --bench BENCH --run {details.summary.name}")


@app.command("rm", epilog="Example: harness runs rm toy/inpo --dry-run")
def remove(
    name: RunArgument,
    results: Annotated[
        bool, typer.Option("--results", help="Remove the results graded from it too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed, and remove nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Remove a run or a sweep's runs, and the stages that nothing else needs. Results are kept.

    Refused while a training or an evaluation is active in the workspace.
    """
    from harness.api.runs import plan_removal, remove_run

    workspace = display.open_workspace(root)
    removal = plan_removal(name, results=results, workspace=workspace)
    if not dry_run:
        _print_removal(removal, "goes")
        _confirm(_what(removal), yes=yes)
        removal = remove_run(name, results=results, workspace=workspace)
    if as_json:
        display.print_json(_removal_data(removal) | {"removed": not dry_run})
        return
    verb = "would become" if dry_run else "became"
    if dry_run:
        _print_removal(removal, "would go")
    printing.print_line(
        f"{name}: {len(removal.stages)} stages, {format_bytes(removal.size)} {verb} free; "
        f"{len(removal.retained)} stages stay, which others need"
    )


def _what(removal: RunRemoval) -> str:
    if removal.runs == (removal.run,):
        return f"the run {removal.run!r}"
    return f"the {len(removal.runs)} runs of the sweep {removal.run!r}"


def _confirm(what: str, *, yes: bool) -> None:
    """Ask before something is removed.

    Raises:
        ConfigError: nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"confirm with --yes that you want {what} removed")
    printing.confirm(f"remove {what}?")


def _print_removal(removal: RunRemoval, mark: str) -> None:
    for name in removal.runs:
        printing.notify(f"  {mark}: the run {name}")
    for use in removal.stages:
        printing.notify(f"  {mark}: {use.name}  {format_bytes(use.size)}  {use.label}")
    for row in removal.results:
        printing.notify(f"  {mark}: {row.path}")


def _removal_data(removal: RunRemoval) -> dict[str, Any]:
    return {
        "run": removal.run,
        "runs": list(removal.runs),
        "bytes": removal.size,
        "stages": [use.name for use in removal.stages],
        "retained": [use.name for use in removal.retained],
        "results": [str(row.path) for row in removal.results],
    }


@app.command("export", epilog="Example: harness runs export toy/inpo for-a-colleague")
def export(
    name: RunArgument,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="An empty folder, or one that does not exist.")
    ],
    iterations: Annotated[
        list[int] | None,
        typer.Option("--iteration", min=0, help="Only this iteration; may be repeated."),
    ] = None,
    pair_format: Annotated[
        PairFormat, typer.Option("--format", help="The format of the pairs.")
    ] = PairFormat.JSONL,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Write a run for somebody without the harness: policies, pairs, configuration, results.

    Policies are Hugging Face folders that transformers 4.5x and 5 read alike; pairs have TRL's
    columns `prompt`, `chosen` and `rejected`.
    """
    from harness.api.run_export import export_run

    written = export_run(
        name,
        directory,
        iterations=iterations or (),
        pair_format=pair_format.value,
        workspace=display.open_workspace(root),
    )
    if as_json:
        display.print_json({key: _texts(value) for key, value in asdict(written).items()})
        return
    printing.print_line(
        f"{written.path}: {len(written.policies)} policies, pairs of {len(written.pairs)} "
        f"iterations, {len(written.results)} results; begin with README.md"
    )


def _texts(value: Path | Sequence[Path]) -> str | list[str]:
    return str(value) if isinstance(value, Path) else [str(path) for path in value]
