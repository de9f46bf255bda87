"""`harness ls [KIND]`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.screen import RUNS, JsonOption, WorkspaceOption, show, workspace

EXAMPLE = "Example: harness ls train"


def command(
    kind: Annotated[
        str | None, typer.Argument(help="train, bench, judge, engine, oracle, policy, gpu or runs.")
    ] = None,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """List what can be named on the command line, and the runs of the workspace."""
    from harness import config
    from harness.errors import ConfigError
    from harness.training import run

    lists = {name: config.names(name) for name in config.kinds()}
    lists["runs"] = run.names(workspace(root))
    if kind is not None and kind not in lists:
        raise ConfigError(f"no kind called {kind!r}{config.known(kind, lists)}")
    chosen = {kind: lists[kind]} if kind else lists
    if as_json:
        show(chosen)
        return
    for title, names in chosen.items():
        typer.echo(f"{title}:")
        typer.echo("".join(f"  {name}\n" for name in names) or "  none\n", nl=False)
