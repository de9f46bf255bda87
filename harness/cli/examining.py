"""How `harness eval` has a policy take tasks that nobody judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from harness.cli import outcome, present, screen

if TYPE_CHECKING:
    from pathlib import Path

    from harness.evaluation.examination import Sitting
    from harness.evaluation.results import Result
    from harness.runs import Workspace


OF_JUDGES = ("judge", "base-url", "accept-judge", "budget", "batch", "resume", "answers")
"""Options that say who judges, and what."""


def refuse(name: str, given: Sequence[object]) -> None:
    """Refuse options that are about a judge or about answers from a file; in their order.

    Raises:
        ConfigError: one of them is given.
    """
    from harness.errors import ConfigError

    told = [f"--{option}" for option, value in zip(OF_JUDGES, given, strict=True) if value]
    if told:
        raise ConfigError(
            f"{name} has known answers: nobody judges and the policy itself is asked, so leave out "
            f"{', '.join(told)}"
        )


def command(sitting: Sitting, place: Workspace, *, dry_run: bool, as_json: bool) -> None:
    """Say what would be done, or do it and show the result."""
    from harness.evaluation import examination, results

    if dry_run:
        stages = examination.plan(sitting, place)
        screen.show({"stages": present.plan(stages)}) if as_json else present.print_plan(stages)
        return
    done = examination.examine(sitting, place)
    path = results.path_of(place, done.benchmark, done.label)
    screen.show(outcome.told(done, path)) if as_json else print_result(done, path)


def print_result(result: Result, path: Path) -> None:
    """Print a result: figures, counts, and how the tasks were taken."""
    typer.echo(f"{result.label} on {result.benchmark}, by lm-eval; nobody judges")
    outcome.print_score(result.score)
    typer.echo(f"  {path}")
