"""`harness theory run EXPERIMENT`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import findings, screen

if TYPE_CHECKING:
    from harness.theory.report import Report

EXAMPLE = "Example: harness theory run convergence --game rock-paper-scissors --methods inpo,comal"
app = typer.Typer(help="The paper's theory as exact games.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Run objectives to their fixed points against known Nash policies."""


@app.command("run", epilog=EXAMPLE)
def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help="convergence, regret, selection, ablation, or a YAML file.",
            autocompletion=screen.complete("theory"),
        ),
    ],
    game: Annotated[
        str | None,
        typer.Option("--game", help="Of configs/game, or a CSV file with P(row ≻ column)."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option("--methods", help="Of configs/dynamics, commas between them.")
    ] = None,
    overrides: screen.SetOption = None,
    root: screen.WorkspaceOption = screen.RUNS,
    as_json: screen.JsonOption = False,
) -> None:
    """Run an experiment, print its tables, and draw its figures into the workspace."""
    from harness import config
    from harness.cli.present import stem
    from harness.errors import MissingDependencyError
    from harness.theory import figures

    spec = config.load("theory", name, [*chosen(game, methods), *(overrides or ())])
    report: Report = config.build(spec, name).run(screen.track)
    if as_json:
        screen.show([table.data() for table in report.tables])
    else:
        findings.print_tables(report.tables)
    try:
        for path in figures.write(report, root / "theory" / stem(name)):
            screen.say(str(path))
    except MissingDependencyError as error:
        screen.say(f"no figures: {error}")


app.command("play", epilog=findings.PLAY)(findings.play)


def chosen(game: str | None, methods: str | None) -> list[str]:
    """Return `--game` and `--methods` as overrides."""
    found = []
    if game and game.endswith(".csv"):
        read = {"use": "harness.theory.games:MatrixFile", "name": Path(game).stem, "path": game}
        found.append(f"game={json.dumps(read)}")
    elif game:
        found.append(f"game={json.dumps({'ref': f'game/{game}'})}")
    if methods:
        listed = [{"ref": f"dynamics/{name.strip()}"} for name in methods.split(",")]
        found.append(f"methods={json.dumps(listed)}")
    return found
