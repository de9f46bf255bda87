"""`harness assets pull`, `verify` and `ls`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.display import print_json
from harness.cli.options import AssetsOption, JsonOption
from harness.cli.printing import notify, print_line

EXAMPLE = "Example: harness assets pull alpaca_eval"
app = typer.Typer(help="Download and verify the benchmarks' protocol data.", no_args_is_help=True)


@app.command("pull", epilog=EXAMPLE)
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Benchmarks; default: all.")
    ] = None,
    folder: AssetsOption = None,
) -> None:
    """Download protocol data from its official home, at a pinned revision, and verify it."""
    from harness.benchmarks import assets

    for path in assets.pull(names or (), folder):
        notify(f"{path} is present and verified")


@app.command("verify", epilog="Example: harness assets verify")
def verify(folder: AssetsOption = None, as_json: JsonOption = False) -> None:
    """Check the sha256 of all protocol data; exit code 0: all files are present and intact."""
    from harness.benchmarks import assets
    from harness.errors import AssetError

    rows = assets.listing(folder)
    wrong = [row for row in rows if row["state"] != "present"]
    if as_json:
        print_json(rows)
    elif not wrong:
        print_line(f"{len(rows)} files are present and verified")
    if wrong:
        states = ", ".join(f"{row['asset']} is {row['state']}" for row in wrong)
        raise AssetError(f"{states}: download them with `harness assets pull`")


@app.command("ls", epilog="Example: harness assets ls --json")
def listing(folder: AssetsOption = None, as_json: JsonOption = False) -> None:
    """List the protocol data and whether each file is present, missing or damaged."""
    from harness.benchmarks import assets

    rows = assets.listing(folder)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print_line(f"{row['state']:>8}  {row['asset']}  {row['path']}")
