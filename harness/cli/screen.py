"""What the commands share: options, progress, and how results and errors are shown.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.errors import HarnessError
    from harness.runs import Artifact, Stage, Workspace
    from harness.types import Advance

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", envvar="HARNESS_WORKSPACE", help="Where results live.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. objective.eta=0.0075."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would run; run nothing.")]
AssetsOption = Annotated[
    Path | None, typer.Option("--assets", help="Folder with the protocol data.")
]
RUNS = Path("runs")


def complete(kind: str) -> Callable[[str], list[str]]:
    """Return what completes a configuration's name in the shell."""

    def names(incomplete: str) -> list[str]:
        from harness import config

        return [name for name in config.names(kind) if name.startswith(incomplete)]

    return names


LauncherOption = Annotated[
    str | None,
    typer.Option(
        help="Where it is done, of configs/launcher; --set launcher.KEY=VALUE changes it.",
        autocompletion=complete("launcher"),
    ),
]


def launched(launcher: str | None, overrides: list[str] | None) -> list[str]:
    """Return a method's overrides, the launcher before those that change its keys."""
    told = [f"launcher={json.dumps({'ref': f'launcher/{launcher}'})}"] if launcher else []
    return [*told, *(overrides or ())]


def workspace(root: Path) -> Workspace:
    """Return a workspace whose stages are told and tracked on standard error."""
    from harness.runs import Workspace

    return Workspace(root.absolute(), track, tell)


def say(text: str) -> None:
    """Show a line to the person at the terminal."""
    typer.echo(text, err=True)


def show(data: Any) -> None:
    """Print a result for machines."""
    typer.echo(json.dumps(data, indent=1, sort_keys=True))


def fail(error: HarnessError) -> int:
    """Show an error in one line and return its exit code."""
    text = " ".join(str(error).split())
    typer.secho(f"error: {text}", fg="red", err=True)
    return error.exit_code


def tell(stage: Stage, artifact: Artifact) -> None:
    """Say that a stage was made, and how long it took; one that stood is not worth a line."""
    from harness.runs import manifest

    if artifact.made:
        seconds = manifest(Path(artifact.path))["made"]["seconds"]
        say(f"  {stage.label or stage.name}: made in {seconds:.1f} s")


@contextmanager
def track(label: str, total: int) -> Iterator[Advance]:
    """Show a progress bar while the context is open; only on a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total or None)
        yield lambda count: progress.advance(task, count)
