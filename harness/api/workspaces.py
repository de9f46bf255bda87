"""What a workspace holds, what nothing needs any more, and whether it is whole."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.components import open_workspace
from harness.api.judging import RUNS
from harness.api.runs import remove_stages
from harness.errors import StoreError

if TYPE_CHECKING:
    from harness.core.workspace import Run, Workspace
    from harness.core.workspace.usage import StageGraph

PARTIAL, SCRATCH = ".partial-", ".scratch"
STALE_SECONDS = 24 * 3600.0
"""For so long the checkpoints of a stopped command are kept, while every run is complete."""
VERDICTS = "verdicts.sqlite"


@dataclass(frozen=True)
class RunUsage:
    """The space that a run's stages take, in bytes."""

    run: str
    own: int
    """Of stages that no other run uses."""
    shared: int


@dataclass(frozen=True)
class WorkspaceUsage:
    """The space that a workspace takes, in bytes."""

    kinds: Mapping[str, int]
    """stages, results, arenas, verdicts, scratch (checkpoints), partial (left by kills), other."""
    stage_kinds: Mapping[str, int]
    """Of the stages: by what they do (generate, optimise, ...)."""
    runs: tuple[RunUsage, ...]
    unused: int
    """Of the stages that no run and no result needs; None of them is counted under a run."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.kinds.values())


@dataclass(frozen=True)
class Leftover:
    """A directory that nothing needs any more."""

    path: Path
    kind: str
    """`stage`, `samples`, `partial`, `scratch` or `manifests`."""
    label: str
    size: int


@dataclass(frozen=True)
class WorkspaceFinding:
    """Something in a workspace that is not as it was written."""

    kind: str
    """`stage`, `run`, `sweep`, `result`, `arena` or `verdicts`."""
    path: Path
    problem: str
    """One line: what is wrong, and the command that mends it."""
    is_fault: bool = True
    """False: nothing is known to be wrong, but not everything could be checked."""


def workspace_usage(workspace: str | Path | Workspace = RUNS) -> WorkspaceUsage:
    """Return the space that a workspace takes, by kind and by run.

    A run or a result whose record is damaged counts as needing nothing.
    """
    from harness.core.workspace import read_runs
    from harness.core.workspace.usage import read_graph, read_results

    opened = open_workspace(workspace)
    graph, runs = read_graph(opened), read_runs(opened)
    by_run = {run.name: graph.run_stages(run) for run in runs}
    used = set().union(*by_run.values())
    names = {run.name: run for run in runs}
    for _, result in read_results(opened):
        used |= graph.result_stages(result, names)
    stage_kinds: dict[str, int] = {}
    for stage in graph.stages.values():
        stage_kinds[stage.kind] = stage_kinds.get(stage.kind, 0) + stage.size
    return WorkspaceUsage(
        _kinds(opened, graph),
        dict(sorted(stage_kinds.items(), key=lambda item: -item[1])),
        tuple(_run_usage(name, graph, by_run) for name in by_run),
        sum(stage.size for stage in graph.stages.values() if stage.name not in used),
    )


def plan_prune(
    *, samples: bool = False, workspace: str | Path | Workspace = RUNS
) -> tuple[Leftover, ...]:
    """Return what `prune_workspace` would remove.

    Raises:
        StoreError: a record is damaged, so that what its run or result needs is not known.
    """
    from harness.core.workspace.usage import (
        needed_stages,
        read_all_arenas,
        read_all_results,
        read_all_runs,
        read_graph,
    )

    opened = open_workspace(workspace)
    graph, runs = read_graph(opened), read_all_runs(opened)
    needed = needed_stages(graph, runs, read_all_results(opened), read_all_arenas(opened))
    leftovers = [
        Leftover(stage.path, "stage" if stage.size else "manifests", stage.label, stage.size)
        for stage in graph.stages.values()
        if stage.name not in needed
    ]
    leftovers += [*_partial(opened), *_stale_scratch(opened, graph, runs)]
    return tuple(leftovers + (_finished_samples(graph, runs) if samples else []))


def prune_workspace(
    *, samples: bool = False, workspace: str | Path | Workspace = RUNS
) -> tuple[Leftover, ...]:
    """Remove what no run, no result and no arena needs; return what was removed.

    Args:
        samples: whether the samples of finished iterations are removed as well. Their pairs stay,
            and what stands on them is still found.
        workspace: where they are.

    Raises:
        StoreError: a training or an evaluation is active, a record is damaged, or the disk is
            read-only.
    """
    from harness.core.io import report_disk_errors
    from harness.core.workspace.locks import exclusive

    opened = open_workspace(workspace)
    if not opened.root.is_dir():
        return ()
    with exclusive(opened), report_disk_errors(opened.root):
        leftovers = plan_prune(samples=samples, workspace=opened)
        by_kind: dict[str, list[Path]] = {}
        for leftover in leftovers:
            by_kind.setdefault(leftover.kind, []).append(leftover.path)
        remove_stages([*by_kind.get("stage", ()), *by_kind.get("manifests", ())])
        remove_stages(by_kind.get("samples", ()), keep_manifests=True)
        for path in (*by_kind.get("partial", ()), *by_kind.get("scratch", ())):
            shutil.rmtree(path)
    return leftovers


def verify_workspace(workspace: str | Path | Workspace = RUNS) -> Iterator[WorkspaceFinding]:
    """Read everything in a workspace again, and yield what is not as it was written.

    Stages are compared with their manifests, records with their sums, results also with what their
    verdicts give when they are scored again, and the verdict store byte by byte.
    """
    opened = open_workspace(workspace)
    for check in CHECKS:
        yield from check(opened)


def _verify_stages(workspace: Workspace) -> Iterator[WorkspaceFinding]:
    from harness.core.manifests import verify_stages

    for finding in verify_stages(workspace.root / "stages"):
        yield WorkspaceFinding("stage", finding.path, finding.problem)


def _verify_runs(workspace: Workspace) -> Iterator[WorkspaceFinding]:
    from harness.core.workspace import read_run, run_directory, run_names

    for name in run_names(workspace):
        record = run_directory(workspace, name) / "run.json"
        try:
            run = read_run(workspace, name)
        except StoreError as error:
            yield WorkspaceFinding("run", record, str(error))
            continue
        for path in _missing_policies(workspace, run) if run else ():
            yield WorkspaceFinding(
                "run",
                record,
                f"a policy of the run {name!r} is missing ({path}): run its `harness train` "
                "command again, or copy the folder from where the workspace is whole",
            )


def _missing_policies(workspace: Workspace, run: Run) -> list[Path]:
    """Return the run's policies in this workspace that are not there; others are not its own."""
    own = [Path(path) for path in run.policies if Path(path).parent == workspace.root / "stages"]
    return [path for path in own if not path.is_dir()]


def _verify_sweeps(workspace: Workspace) -> Iterator[WorkspaceFinding]:
    from harness.core.workspace.sweeps import read_sweep, sweep_names, sweep_path

    for name in sweep_names(workspace):
        try:
            read_sweep(workspace, name)
        except StoreError as error:
            yield WorkspaceFinding("sweep", sweep_path(workspace, name), str(error))


def _verify_results(workspace: Workspace) -> Iterator[WorkspaceFinding]:
    from harness.evaluation.verification import verify_results

    for finding in verify_results(workspace):
        yield WorkspaceFinding("result", finding.path, finding.problem, finding.is_fault)


def _verify_arenas(workspace: Workspace) -> Iterator[WorkspaceFinding]:
    from harness.core.workspace.arenas import arena_paths, read_arena

    for path in arena_paths(workspace):
        try:
            read_arena(path)
        except StoreError as error:
            yield WorkspaceFinding("arena", path, str(error))


def _verify_verdicts(workspace: Workspace) -> Iterator[WorkspaceFinding]:
    from harness.judges.store import maintenance

    for path in sorted(workspace.root.glob("*.sqlite")):
        for fault in maintenance.verify(path).faults:
            problem = f"{path} is damaged ({fault}): recover it with `harness verdicts repair`"
            yield WorkspaceFinding("verdicts", path, problem)


CHECKS: Sequence[Callable[[Workspace], Iterator[WorkspaceFinding]]] = (
    _verify_stages,
    _verify_runs,
    _verify_sweeps,
    _verify_results,
    _verify_arenas,
    _verify_verdicts,
)


def _kinds(workspace: Workspace, graph: StageGraph) -> dict[str, int]:
    from harness.core.workspace.usage import directory_size

    root, store = workspace.root, workspace.root / "stages"
    kinds = {
        "stages": sum(stage.size for stage in graph.stages.values()),
        "results": directory_size(root / "results"),
        "arenas": directory_size(root / "arenas"),
        "verdicts": sum(path.stat().st_size for path in root.glob("*.sqlite*")),
        "scratch": directory_size(store / SCRATCH),
        "partial": sum(directory_size(path) for path in store.glob(f"{PARTIAL}*")),
    }
    return {**kinds, "other": max(0, directory_size(root) - sum(kinds.values()))}


def _run_usage(name: str, graph: StageGraph, by_run: Mapping[str, frozenset[str]]) -> RunUsage:
    others = set().union(*(stages for run, stages in by_run.items() if run != name))
    own = sum(graph.stages[stage].size for stage in by_run[name] - others)
    return RunUsage(name, own, sum(graph.stages[s].size for s in by_run[name] & others))


def _partial(workspace: Workspace) -> Iterator[Leftover]:
    from harness.core.workspace.usage import directory_size

    for path in sorted((workspace.root / "stages").glob(f"{PARTIAL}*")):
        yield Leftover(path, "partial", "left by a command that was killed", directory_size(path))


def _stale_scratch(
    workspace: Workspace, graph: StageGraph, runs: Iterable[Run]
) -> Iterator[Leftover]:
    """Yield checkpoints of finished stages, and old ones that no incomplete run can go on from."""
    from harness.core.workspace.usage import directory_size

    all_complete = all(run.complete for run in runs)
    for path in sorted((workspace.root / "stages" / SCRATCH).glob("*")):
        is_finished = path.name in graph.stages and bool(graph.stages[path.name].size)
        if is_finished or (all_complete and _age(path) > STALE_SECONDS):
            yield Leftover(path, "scratch", "checkpoints", directory_size(path))


def _age(path: Path) -> float:
    """Return the seconds since anything in a directory was written."""
    times = [file.stat().st_mtime for file in (path, *path.rglob("*")) if file.exists()]
    return time.time() - max(times)


def _finished_samples(graph: StageGraph, runs: Sequence[Run]) -> list[Leftover]:
    """Return the samples on which a policy stands, and which no run in progress reads still."""
    from harness.core.workspace.usage import policy_names

    finished = set().union(*(graph.closure(policy_names(run)) for run in runs))
    reading = set().union(*(graph.in_progress(run) for run in runs if not run.complete))
    return [
        Leftover(stage.path, "samples", stage.label, stage.size)
        for name in sorted(finished - reading)
        if (stage := graph.stages[name]).kind == "generate" and stage.size
    ]
