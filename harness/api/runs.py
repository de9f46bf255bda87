"""What a workspace's runs are made of, and their removal: `harness runs ls`, `show` and `rm`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.components import find_run, open_workspace
from harness.api.judging import RUNS
from harness.errors import StoreError

if TYPE_CHECKING:
    from harness.core.workspace import Result, Run, Workspace
    from harness.core.workspace.usage import StageGraph

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class RunSummary:
    """A run in one line."""

    name: str
    method: str
    complete: bool
    iterations: int
    """That have ended."""
    planned: int
    """Of the configuration."""
    size: int
    """Bytes of the stages that the run uses."""
    own: int
    """Bytes of those that no other run uses."""
    at: str
    """When its last policy was made, UTC."""
    sweep: str = ""
    """The sweep that it belongs to; empty: none."""

    @property
    def state(self) -> str:
        """`complete` or `stopped`."""
        return "complete" if self.complete else "stopped"


@dataclass(frozen=True)
class StageUse:
    """A stage that a run uses."""

    name: str
    kind: str
    label: str
    path: Path
    size: int
    """Bytes."""
    shared_with: tuple[str, ...]
    """The other runs that use it."""


@dataclass(frozen=True)
class GradedResult:
    """A result that was graded from a policy of the run."""

    benchmark: str
    label: str
    iteration: int
    path: Path


@dataclass(frozen=True)
class RunDetails:
    """Everything that the workspace holds of a run."""

    summary: RunSummary
    policies: tuple[Path, ...]
    """By iteration, from 0, the start; a hub id or a folder of the user's may be the first."""
    stages: tuple[StageUse, ...]
    results: tuple[GradedResult, ...]


@dataclass(frozen=True)
class RunRemoval:
    """What is removed with a run, and what stays because others need it."""

    run: str
    """The run, or the sweep."""
    runs: tuple[str, ...]
    """What is removed under that name: the run, or the runs of the sweep."""
    stages: tuple[StageUse, ...]
    retained: tuple[StageUse, ...]
    results: tuple[GradedResult, ...]

    @property
    def size(self) -> int:
        """The bytes that become free, without the results'."""
        return sum(stage.size for stage in self.stages)


def summarize_runs(workspace: str | Path | Workspace = RUNS) -> list[RunSummary]:
    """Return a line for each run, by name; runs whose record is damaged are left out."""
    from harness.core.workspace import read_runs
    from harness.core.workspace.usage import read_graph

    opened = open_workspace(workspace)
    runs, graph = read_runs(opened), read_graph(opened)
    stages = {run.name: graph.run_stages(run) for run in runs}
    sweeps = _sweeps(opened)
    return [_summary(opened, run, graph, stages, sweeps) for run in runs]


def damaged_runs(workspace: str | Path | Workspace = RUNS) -> list[str]:
    """Return a line for each run whose record is damaged: what is wrong, and what mends it."""
    from harness.core.workspace import read_run, run_names

    opened, lines = open_workspace(workspace), list[str]()
    for name in run_names(opened):
        try:
            read_run(opened, name)
        except StoreError as error:
            lines.append(str(error))
    return lines


def describe_run(name: str, workspace: str | Path | Workspace = RUNS) -> RunDetails:
    """Return what a workspace holds of a run.

    Raises:
        ConfigError: there is no such run.
        StoreError: its record is damaged.
    """
    from harness.core.workspace import read_runs
    from harness.core.workspace.usage import read_graph

    opened = open_workspace(workspace)
    run, graph = find_run(opened, name), read_graph(opened)
    others = {other.name: graph.run_stages(other) for other in read_runs(opened)}
    stages = {**others, name: graph.run_stages(run)}
    return RunDetails(
        _summary(opened, run, graph, stages, _sweeps(opened)),
        tuple(Path(path) for path in run.policies),
        _uses(graph, name, stages),
        _graded(opened, name),
    )


def plan_removal(
    name: str, *, results: bool = False, workspace: str | Path | Workspace = RUNS
) -> RunRemoval:
    """Return what `remove_run` would remove.

    Raises:
        ConfigError: there is no such run, and no such sweep.
        StoreError: a record is damaged, so that what others need is not known.
    """
    from harness.core.workspace.usage import (
        needed_stages,
        read_all_arenas,
        read_all_results,
        read_all_runs,
        read_graph,
    )

    opened = open_workspace(workspace)
    members, graph = _members(opened, name), read_graph(opened)
    runs = read_all_runs(opened)
    others = [other for other in runs if other.name not in members]
    own, foreign = _divide(read_all_results(opened), members)
    needed = set(needed_stages(graph, others, foreign, read_all_arenas(opened)))
    candidates = {key for run in runs if run.name in members for key in graph.run_stages(run)}
    for result in own:
        if results:
            candidates |= graph.baseline_stages(result)
        else:
            needed |= graph.baseline_stages(result)
    stages = {other.name: graph.run_stages(other) for other in others}
    uses = _uses(graph, name, {**stages, name: frozenset(candidates)})
    return RunRemoval(
        name,
        members,
        tuple(use for use in uses if use.name not in needed),
        tuple(use for use in uses if use.name in needed),
        tuple(row for run in members for row in _graded(opened, run)) if results else (),
    )


def remove_run(
    name: str, *, results: bool = False, workspace: str | Path | Workspace = RUNS
) -> RunRemoval:
    """Remove a run and the stages that no other run or result needs; return what was removed.

    Args:
        name: the run, or a sweep whose runs are removed, but for those of another sweep too.
        results: whether the results graded from its policies are removed too.
        workspace: where it is.

    Raises:
        ConfigError: there is no such run, and no such sweep.
        StoreError: a training or an evaluation is active, a record is damaged, or the disk is
            read-only.
    """
    from harness.core.io import report_disk_errors
    from harness.core.workspace.locks import exclusive
    from harness.core.workspace.sweeps import remove_sweep

    opened = open_workspace(workspace)
    _members(opened, name)
    with exclusive(opened), report_disk_errors(opened.root):
        removal = plan_removal(name, results=results, workspace=opened)
        for run in removal.runs:
            _remove_record(opened, run)
            _forget_in_sweeps(opened, run)
        if name not in removal.runs:
            remove_sweep(opened, name)
        for graded in removal.results:
            remove_result(graded.path)
        remove_stages([use.path for use in removal.stages])
    return removal


def remove_stages(paths: Iterable[Path], *, keep_manifests: bool = False) -> None:
    """Remove directories of the stage store; each is renamed first, so that none is half there.

    Args:
        paths: the directories.
        keep_manifests: whether what stands on them is to be found still.

    Raises:
        StoreError: a manifest that is to be kept is damaged.
        OSError: one cannot be removed.
    """
    from harness.core.manifests import COPIES, keep_manifest, load_manifest
    from harness.core.stages import PARTIAL

    for path in paths:
        if keep_manifests:
            keep_manifest(path.parent, path.name, load_manifest(path)["digest"])
        else:
            shutil.rmtree(path.parent / COPIES / path.name, ignore_errors=True)
        if path.is_dir():
            removed = path.with_name(f"{PARTIAL}removed-{path.name}")
            shutil.rmtree(removed, ignore_errors=True)
            path.rename(removed)
            shutil.rmtree(removed)


def remove_result(path: Path) -> None:
    """Remove a result and the files beside it.

    Raises:
        OSError: one cannot be removed.
    """
    path.unlink(missing_ok=True)
    beside = path.with_suffix("")
    if beside.is_dir():
        shutil.rmtree(beside)


def _members(workspace: Workspace, name: str) -> tuple[str, ...]:
    """Return the run of a name, or the runs of the sweep of that name that no other sweep has.

    Raises:
        ConfigError: there is neither.
    """
    from harness.core.workspace import run_names
    from harness.core.workspace.sweeps import read_sweep, sweep_names

    existing = run_names(workspace)
    if name in existing or name not in sweep_names(workspace):
        return (find_run(workspace, name).name,)
    records = {sweep: read_sweep(workspace, sweep) for sweep in sweep_names(workspace)}
    runs = {sweep: {run.name for run in record.runs} for sweep, record in records.items() if record}
    elsewhere = {run for sweep, names in runs.items() if sweep != name for run in names}
    return tuple(run for run in existing if run in runs[name] and run not in elsewhere)


def _remove_record(workspace: Workspace, name: str) -> None:
    """Remove a run's record; folders that are empty then go too, runs of longer names stay."""
    from harness.core.workspace import run_directory
    from harness.core.workspace.sweeps import SWEEP_RECORD, remove_empty

    directory = run_directory(workspace, name)
    for path in list(directory.iterdir()):
        if path.is_file() and path.name != SWEEP_RECORD:
            path.unlink()
    remove_empty(directory, workspace.root / "train")


def _forget_in_sweeps(workspace: Workspace, name: str) -> None:
    """Take a run out of the record of its sweep; a sweep without runs goes too."""
    from harness.core.workspace.sweeps import read_sweep, remove_sweep, write_sweep

    if (sweep := _sweeps(workspace).get(name)) and (record := read_sweep(workspace, sweep)):
        runs = tuple(run for run in record.runs if run.name != name)
        if runs:
            write_sweep(workspace, replace(record, runs=runs))
        else:
            remove_sweep(workspace, sweep)


def _divide(results: Sequence[Result], runs: Sequence[str]) -> tuple[list[Result], list[Result]]:
    """Return the results that were graded from some runs, and the others."""
    own = [result for result in results if (result.run or {}).get("name") in runs]
    return own, [result for result in results if (result.run or {}).get("name") not in runs]


def _graded(workspace: Workspace, name: str) -> tuple[GradedResult, ...]:
    from harness.core.workspace.usage import read_results

    return tuple(
        GradedResult(
            result.benchmark, result.label, int((result.run or {}).get("iteration") or 0), path
        )
        for path, result in read_results(workspace)
        if (result.run or {}).get("name") == name
    )


def _sweeps(workspace: Workspace) -> dict[str, str]:
    """Return the sweep of each run that belongs to one."""
    from harness.core.workspace.sweeps import read_sweep, sweep_names

    sweeps: dict[str, str] = {}
    for name in sweep_names(workspace):
        try:
            record = read_sweep(workspace, name)
        except StoreError:
            continue
        sweeps |= {run.name: name for run in record.runs} if record else {}
    return sweeps


def _summary(
    workspace: Workspace,
    run: Run,
    graph: StageGraph,
    stages: Mapping[str, frozenset[str]],
    sweeps: Mapping[str, str],
) -> RunSummary:
    uses = _uses(graph, run.name, stages)
    return RunSummary(
        name=run.name,
        method=run.method,
        complete=run.complete,
        iterations=len(run.policies) - 1,
        planned=int(run.config.get("iterations", 0)),
        size=sum(use.size for use in uses),
        own=sum(use.size for use in uses if not use.shared_with),
        at=_time(workspace, run, graph),
        sweep=sweeps.get(run.name, ""),
    )


def _time(workspace: Workspace, run: Run, graph: StageGraph) -> str:
    """Return when the last policy was made, or else when the record was written."""
    from harness.core.workspace import run_directory
    from harness.core.workspace.usage import policy_names

    last = graph.stages.get(policy_names(run)[-1]) if len(run.policies) > 1 else None
    if last and last.at:
        return last.at
    record = run_directory(workspace, run.name) / "run.json"
    return datetime.fromtimestamp(record.stat().st_mtime, UTC).strftime(TIME_FORMAT)


def _uses(
    graph: StageGraph, name: str, stages: Mapping[str, frozenset[str]]
) -> tuple[StageUse, ...]:
    """Return a run's stages, each with the other runs that use it, in the order of their making."""
    ordered = sorted((graph.stages[key] for key in stages[name]), key=lambda s: (s.at, s.name))
    return tuple(
        StageUse(
            stage.name,
            stage.kind,
            stage.label,
            stage.path,
            stage.size,
            tuple(sorted(o for o, used in stages.items() if o != name and stage.name in used)),
        )
        for stage in ordered
    )
