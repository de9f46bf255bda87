"""`harness config show KIND/NAME`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.display import print_json
from harness.cli.options import JsonOption, SetOption
from harness.cli.printing import print_text

EXAMPLE = "Example: harness config show train/inpo --set objective.eta=0.0075"
app = typer.Typer(help="Show configurations.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Show configurations."""


@app.command("show", epilog=EXAMPLE)
def command(
    target: Annotated[str, typer.Argument(metavar="KIND/NAME", help="For example train/inpo.")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a configuration with references resolved and overrides applied."""
    import yaml

    from harness.core import config
    from harness.errors import ConfigError

    kind, slash, name = target.partition("/")
    if not slash or kind not in config.kinds():
        raise ConfigError(f"no kind called {kind!r}{config.suggest(kind, config.kinds())}")
    data = config.load(kind, name, overrides or ())
    if as_json:
        print_json(data)
    else:
        print_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
