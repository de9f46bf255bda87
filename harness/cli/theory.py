"""`harness theory run EXPERIMENT` and `harness theory play RUN`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import display, options, printing
from harness.cli.progress import track

if TYPE_CHECKING:
    from harness.theory.results import ExperimentResult
    from harness.types import Pair, Policy

EXAMPLE = "Example: harness theory run convergence --game rock-paper-scissors --methods inpo,comal"
PLAY_EXAMPLE = "Example: harness theory play game/inpo"
app = typer.Typer(help="Check the paper's theory on exact games.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Check the paper's theory on exact games with known Nash policies."""


@app.command("run", epilog=EXAMPLE)
def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help="convergence, regret, stability, selection, ablation, or a YAML file.",
            autocompletion=options.completer("theory"),
        ),
    ],
    game: Annotated[
        str | None,
        typer.Option("--game", help="A game of configs/game, or a CSV file with P(row ≻ column)."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option("--methods", help="Names of configs/dynamics, comma-separated.")
    ] = None,
    overrides: options.SetOption = None,
    root: options.WorkspaceOption = options.RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Run an experiment, print its tables, and write its figures to the workspace."""
    from harness.api.training import default_run_name
    from harness.core import config
    from harness.errors import MissingDependencyError
    from harness.theory import results

    spec = config.load("theory", name, [*to_overrides(game, methods), *(overrides or ())])
    report: ExperimentResult = config.build(spec, name).run(track)
    if as_json:
        display.print_json([table.to_data() for table in report.tables])
    else:
        display.print_tables(report.tables)
    try:
        for path in results.write_figures(report, root / "theory" / default_run_name(name)):
            printing.notify(str(path))
    except MissingDependencyError as error:
        printing.notify(f"no figures: {error}")


def to_overrides(game: str | None, methods: str | None) -> list[str]:
    """Return `--game` and `--methods` as overrides."""
    overrides = []
    if game and game.endswith(".csv"):
        game_config = {
            "use": "harness.theory.games:MatrixFile",
            "name": Path(game).stem,
            "path": game,
        }
        overrides.append(f"game={json.dumps(game_config)}")
    elif game:
        overrides.append(f"game={json.dumps({'ref': f'game/{game}'})}")
    if methods:
        references = [{"ref": f"dynamics/{name.strip()}"} for name in methods.split(",")]
        overrides.append(f"methods={json.dumps(references)}")
    return overrides


@app.command("play", epilog=PLAY_EXAMPLE)
def play(
    name: Annotated[
        str, typer.Argument(metavar="RUN", help="A run of a method of configs/train/game.")
    ],
    root: options.WorkspaceOption = options.RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Print each policy of a run exactly, by scoring every response of the game."""
    from harness.core.config import build, suggest
    from harness.core.manifests import read_manifest
    from harness.core.workspace import read_run, run_names
    from harness.errors import ConfigError
    from harness.theory.language import tabulate_policies
    from harness.training.reference_logps import frozen_logps
    from harness.types import Policy

    workspace = display.open_workspace(root)
    record = read_run(workspace, name)
    if record is None:
        raise ConfigError(f"no run called {name!r}{suggest(name, run_names(workspace))}")
    if "game" not in record.config["prompts"]:
        raise ConfigError(f"run {name!r} plays no game; train one first: harness train game/inpo")

    def score(policy: Policy, rows: Sequence[Pair]) -> list[float]:
        return frozen_logps(policy, rows, "float32", lambda _: None)[0::2]

    for path in map(Path, record.policies):
        read_manifest(path)  # a game's policies are all stages of the workspace
    policies = [Policy(name, path) for path in record.policies]
    table = tabulate_policies(policies, build(record.config["prompts"]["game"]), score)
    if as_json:
        display.print_json(table.to_data())
    else:
        display.print_tables([table])
