"""`harness assets pull` and `harness assets ls`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.screen import AssetsOption, JsonOption, say, show

EXAMPLE = "Example: harness assets pull alpaca_eval"
app = typer.Typer(help="Protocol data of the benchmarks.", no_args_is_help=True)


@app.command("pull", epilog=EXAMPLE)
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="What to bring; all if not said.")
    ] = None,
    folder: AssetsOption = None,
) -> None:
    """Download protocol data from its official home, at a pinned revision, and check it."""
    from harness.benchmarks import assets

    for path in assets.pull(names or (), folder):
        say(f"{path} is there and is the published one")


@app.command("ls", epilog="Example: harness assets ls --json")
def listing(folder: AssetsOption = None, as_json: JsonOption = False) -> None:
    """Show which protocol data is there, missing or damaged."""
    from harness.benchmarks import assets

    rows = assets.listing(folder)
    if as_json:
        show(rows)
        return
    for row in rows:
        typer.echo(f"{row['state']:>8}  {row['asset']}  {row['path']}")
