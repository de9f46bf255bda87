"""`harness trust`: the folders whose code configurations may run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.display import print_json
from harness.cli.options import JsonOption
from harness.cli.printing import notify, print_line

EXAMPLE = "Example: harness trust ."


def command(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A folder with modules of your own.")
    ] = None,
    remove: Annotated[
        Path | None, typer.Option("--remove", metavar="DIR", help="Trust a folder no longer.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the trusted folders.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Trust the code in a folder, so that the configurations and records in it may name it.

    The harness runs its own code and that of installed packages. A class of any other module
    (`use: module:Name`) in a run record or in `configs/` is refused until you trust its folder.
    """
    from harness.core import trust
    from harness.errors import ConfigError

    if sum((folder is not None, remove is not None, show)) != 1:
        raise ConfigError("say what to do: `harness trust DIR`, `--remove DIR` or `--list`")
    if folder is not None:
        notify(f"{trust.trust(folder)} is trusted: configurations in it may run its code")
    elif remove is not None:
        notify(f"{trust.distrust(remove)} is not trusted any more")
    elif as_json:
        print_json([str(known) for known in trust.remembered()])
    else:
        for known in trust.remembered():
            print_line(known)
