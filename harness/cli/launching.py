"""Where a run is carried out: in this process, or where its launcher has it carried out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.screen import say, workspace

if TYPE_CHECKING:
    from harness.runs import Workspace
    from harness.training.run import Run
    from harness.training.spec import TrainSpec


def leads(spec: TrainSpec) -> bool:
    """Say whether this process tells the user: of several with the same command, the first."""
    from harness.work import Conductor

    return not isinstance(spec.launcher, Conductor) or spec.launcher.leads


def trained(spec: TrainSpec, place: Workspace, name: str) -> Run | None:
    """Train, wherever the launcher wants it; return the run's record."""
    from harness.training import run
    from harness.work import Conductor

    told = {"spec": spec, "root": place.root, "name": name}
    match spec.launcher:
        case Conductor() as launcher:
            launcher.conduct(carry_out, told, say)
        case _:
            carry_out(told)
    return run.read(place, name)


def carry_out(told: Mapping[str, Any]) -> None:
    """Train in this process, or in those that the launcher has begun."""
    from harness.training import run

    run.train(told["spec"], workspace(Path(told["root"])), told["name"])
