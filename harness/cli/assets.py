"""`harness assets pull`, `verify` and `ls`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.display import notify, print_json
from harness.cli.options import AssetsOption, JsonOption

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
        notify(f"{path} is there and is the published one")


@app.command("verify", epilog="Example: harness assets verify")
def verify(folder: AssetsOption = None, as_json: JsonOption = False) -> None:
    """Check the sha256 of all protocol data; exit code 0: everything is there and right."""
    from harness.benchmarks import assets
    from harness.errors import AssetError

    rows = assets.listing(folder)
    wrong = [row for row in rows if row["state"] != "present"]
    if as_json:
        print_json(rows)
    elif not wrong:
        typer.echo(f"{len(rows)} files are there and are the published ones")
    if wrong:
        states = ", ".join(f"{row['asset']} is {row['state']}" for row in wrong)
        raise AssetError(f"{states}: bring them with `harness assets pull`")


@app.command("ls", epilog="Example: harness assets ls --json")
def listing(folder: AssetsOption = None, as_json: JsonOption = False) -> None:
    """Show which protocol data is there, missing or damaged."""
    from harness.benchmarks import assets

    rows = assets.listing(folder)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['state']:>8}  {row['asset']}  {row['path']}")
