"""How `harness theory` shows what it finds, and what a run of a game plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import screen

if TYPE_CHECKING:
    from harness.theory.report import Findings
    from harness.types import Pair, Policy

PLAY = "Example: harness theory play game/inpo"


def play(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run of a method of train/game.")],
    root: screen.WorkspaceOption = screen.RUNS,
    as_json: screen.JsonOption = False,
) -> None:
    """Tell what each policy of a run plays, exactly, by scoring every response of the game."""
    from harness.config import build, known
    from harness.errors import ConfigError
    from harness.theory.language import played
    from harness.training import named, run
    from harness.training.anchors import frozen_logps
    from harness.types import Policy

    place = screen.workspace(root)
    found = run.read(place, name)
    if found is None:
        raise ConfigError(f"no run called {name!r}{known(name, named.names(place))}")
    if "game" not in found.config["prompts"]:
        raise ConfigError(f"run {name!r} plays no game; train one first: harness train game/inpo")

    def score(policy: Policy, rows: Sequence[Pair]) -> list[float]:
        return frozen_logps(policy, rows, "float32", lambda _: None)[0::2]

    policies = [Policy(name, path) for path in found.policies]
    table = played(policies, build(found.config["prompts"]["game"]), score)
    screen.show(table.data()) if as_json else print_tables([table])


def print_tables(found: Sequence[Findings]) -> None:
    """Print tables for a terminal."""
    from leaderboard.render import rich_text
    from leaderboard.table import of_texts

    tables = [of_texts(t.title, t.headings, t.texts(), t.notes) for t in found]
    typer.echo(rich_text(tables), nl=False)
