"""A run: a method's stages made in order, and a record of where they stand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.config import Component, build, identity
from harness.errors import RunExistsError, StoreError
from harness.files import write_whole
from harness.protocols import PolicySource
from harness.runs import Given, Node, Stage, Workspace, manifest, versions
from harness.seeds import digest
from harness.training.iterate import Schedule
from harness.training.named import RECORD, folder
from harness.training.optimisers import require
from harness.training.spec import TrainSpec
from harness.types import Policy


class Origin(Component):
    """Which run has made a policy."""

    name: str
    method: str
    iteration: int
    base: str
    """The policy that training began with."""
    seed: int
    setting: str
    """A digest of the run's configuration without the seed: runs that share it are repeats."""


class Trained(Component):
    """A policy that a run has made: a stage, known by its manifest."""

    name: str
    path: str
    made_by: Origin = Field(exclude=True)

    def run(self) -> dict[str, Any]:
        """Return the run's name and method, the iteration, where it began, seed and setting."""
        return self.made_by.model_dump()

    def weights(self) -> Node:
        """Return the stage's directory."""
        return Given(self.path, manifest(Path(self.path))["digest"])

    def at(self, path: str) -> Policy:
        """Return the policy whose weights lie at `path`; its tokenizer lies with them."""
        return Policy(self.name, path)


@dataclass(frozen=True)
class Run:
    """A run that has begun or ended."""

    name: str
    method: str
    config: dict[str, Any]
    policies: list[str]
    """The weights of π_1, π_2, ...: as many as stand."""
    complete: bool
    versions: dict[str, str]

    def source(self, iteration: int | None) -> PolicySource:
        """Return the policy after an iteration; 0 is the start, None the last.

        Raises:
            StoreError: the run has not come so far.
        """
        path, start = self.policy(iteration), self.config["policy"]
        if iteration == 0:
            given: PolicySource = build(start, "policy")
            return given
        seed, rest = self.config["seed"], {k: v for k, v in self.config.items() if k != "seed"}
        told = [f"seed {seed}"] if seed else []
        told += [f"iteration {iteration}"] if iteration is not None else []
        made_by = Origin(
            name=self.name,
            method=self.method,
            iteration=len(self.policies) - 1 if iteration is None else iteration,
            base=start.get("name", ""),
            seed=seed,
            setting=digest(rest),
        )
        label = f"{self.method} ({', '.join(told)})" if told else self.method
        return Trained(name=label, path=path, made_by=made_by)

    def policy(self, iteration: int | None) -> str:
        """Return where the weights after an iteration lie."""
        if iteration is None and not self.complete:
            raise StoreError(
                f"run {self.name!r} has not ended ({len(self.policies) - 1} iterations stand): "
                "run its command again, or name an iteration, e.g. --run NAME@1"
            )
        at = len(self.policies) - 1 if iteration is None else iteration
        if not 0 <= at < len(self.policies):
            raise StoreError(f"run {self.name!r} has iterations 0 to {len(self.policies) - 1}")
        return self.policies[at]


def read(workspace: Workspace, name: str) -> Run | None:
    """Return a run's record; None where there is none.

    Raises:
        StoreError: the record is damaged.
    """
    path = folder(workspace, name) / RECORD
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it and run again") from error


def train(spec: TrainSpec, workspace: Workspace, name: str) -> Run:
    """Make every stage of a method that does not stand yet, and keep the run's record up to date.

    Raises:
        RunExistsError: the name is taken by a run of another configuration.
        MissingDependencyError: a package is missing that a later stage needs.
    """
    config = identity(spec)
    check_same(read(workspace, name), config)
    for t in range(1, spec.iterations + 1):
        require(spec.at(t).optimiser)
    found: list[str] = []
    run = Run(name, spec.method, config, found, False, versions())
    schedule = Schedule(spec)
    for t, node in enumerate(policies := schedule.policies()):
        found.append(workspace.stages.realise(node).path)
        if contest := schedule.contest(t, node):
            workspace.stages.realise(contest)
        run = Run(name, spec.method, config, found, len(found) == len(policies), versions())
        keep(workspace, run)
    return run


def plan(spec: TrainSpec, workspace: Workspace) -> list[tuple[Stage, Path | None]]:
    """List a method's stages in order, each with its directory if it stands."""
    schedule = Schedule(spec)
    policies = schedule.policies()
    contests = [schedule.contest(t, node) for t, node in enumerate(policies)]
    wanted = [node for node in (*contests, policies[-1]) if node is not None]
    return list(
        {stage: path for node in wanted for stage, path in workspace.stages.plan(node)}.items()
    )


def keep(workspace: Workspace, run: Run) -> None:
    """Write a run's record."""
    text = json.dumps(vars(run), indent=1, sort_keys=True)
    write_whole(folder(workspace, run.name) / RECORD, text + "\n")


def check_same(before: Run | None, config: dict[str, Any]) -> None:
    """Refuse to continue a run under another configuration."""
    if before is None:
        return
    old, new = _flat(before.config), _flat(config)
    apart = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if apart:
        shown = ", ".join(f"{k}: {old.get(k)!r} → {new.get(k)!r}" for k in apart[:3])
        raise RunExistsError(
            f"run {before.name!r} was made with another configuration ({shown}"
            f"{', ...' if len(apart) > 3 else ''}); choose another name with --name"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found
