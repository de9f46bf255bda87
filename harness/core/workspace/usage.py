"""Which stages the runs and the results of a workspace rest on, and how much space they take.

Manifests and records alone are read: no component is built from them, and no code of theirs runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.core.config import without_locations
from harness.core.manifests import COPIES, STORE, kept_manifests, load_manifest
from harness.core.seeds import digest
from harness.core.workspace.arenas import arena_paths, read_arena
from harness.core.workspace.results import Result, read_result, result_paths
from harness.core.workspace.runs import Run, Workspace, read_run, run_names
from harness.errors import StoreError

ANSWERS_FILE = "answers.json"
REHEARSAL = "rehearse-"
"""Begins the kinds of the stages that try a training before it begins."""
LABEL_SEPARATOR = " · "
"""In a stage's label: between the policy or the method, and what is done."""


@dataclass(frozen=True, slots=True)
class StoredStage:
    """A stage in the store, as its manifest describes it."""

    path: Path
    kind: str
    """`generate`, `optimise`, ...; from the directory's name where the manifest is damaged."""
    label: str
    at: str
    """When it was made, UTC; empty where not known."""
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    """By name: the name of the directory it came from, in this workspace or elsewhere."""
    digest: str
    """Of its result; empty where not known."""
    input_digests: frozenset[str]
    size: int
    """Bytes on the disk; 0 of a stage whose files were removed."""
    damaged: bool = False
    """Whether the manifest cannot be read: what the stage rests on is then not known."""

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.path.name

    @property
    def is_evaluation(self) -> bool:
        """Whether a policy's answers to a benchmark are in it: it needs the policy and no more."""
        return set(self.inputs) == {"policy"}

    @property
    def policy_name(self) -> str:
        """The policy or the method that it belongs to."""
        return self.label.partition(LABEL_SEPARATOR)[0]

    def agrees_with(self, run: Run) -> bool:
        """Return whether no setting contradicts a run's configuration, and one confirms it."""
        config = without_locations(run.config)
        shared = self.config.keys() & config.keys()
        compared = shared - set(_changing(config))
        return bool(shared) and all(self.config[key] == config[key] for key in compared)


def _changing(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a run's configuration that change from an iteration on."""
    for change in (config.get("changes") or {}).values():
        yield from change


@dataclass(frozen=True)
class StageGraph:
    """The stages of a workspace by name, and what runs and results need of them."""

    stages: Mapping[str, StoredStage]

    @cached_property
    def _by_digest(self) -> dict[str, list[str]]:
        """The stages by result: those of one result stand for each other."""
        names: dict[str, list[str]] = {}
        for stage in self.stages.values():
            names.setdefault(stage.digest, []).append(stage.name)
        return {digest: several for digest, several in names.items() if digest}

    @cached_property
    def _followers(self) -> dict[str, list[StoredStage]]:
        followers: dict[str, list[StoredStage]] = {}
        for stage in self.stages.values():
            for name in set(stage.inputs.values()):
                followers.setdefault(name, []).append(stage)
        return followers

    def closure(self, names: Iterable[str]) -> frozenset[str]:
        """Return the stages of these names with all that they rest on."""
        pending, reached = list(names), set[str]()
        while pending:
            name = pending.pop()
            if name in self.stages and name not in reached:
                reached.add(name)
                pending += self.stages[name].inputs.values()
                for result in self.stages[name].input_digests:
                    pending += self._by_digest.get(result, ())
        return frozenset(reached)

    def run_stages(self, run: Run) -> frozenset[str]:
        """Return the stages that a run uses: its training, and its policies' answers."""
        policies = policy_names(run)
        training = self.closure(policies) | self._head_to_head(run)
        if not run.complete:
            training |= self.closure(self.in_progress(run))
        return training | self._rehearsals(training) | self.evaluations(policies[1:])

    def _rehearsals(self, training: Collection[str]) -> frozenset[str]:
        """Return the stages that rehearsed a training: they have read its prompts."""
        return frozenset(
            stage.name
            for stage in self.stages.values()
            if stage.kind.startswith(REHEARSAL)
            and not set(stage.inputs.values()).isdisjoint(training)
        )

    def _head_to_head(self, run: Run) -> frozenset[str]:
        """Return the stages that compare the run's policies, on which no policy rests."""
        trained = set(policy_names(run)[1:])
        return frozenset(
            stage.name
            for policy in trained
            for stage in self._followers.get(policy, ())
            if "generate" in stage.inputs and stage.inputs.get("policy") == policy
            if stage.agrees_with(run)
        )

    def in_progress(self, run: Run) -> set[str]:
        """Return what an incomplete run has made since its last policy."""
        sources = [s for s in self.stages.values() if not s.inputs and s.agrees_with(run)]
        reached = {stage.name for stage in sources}
        pending = [*policy_names(run)[-1:], *reached]
        last = set(policy_names(run)[-1:])
        while pending:
            for stage in self._followers.get(pending.pop(), ()):
                new = stage.name not in reached and not stage.is_evaluation
                if new and stage.agrees_with(run) and self._rests(stage, last | reached):
                    reached.add(stage.name)
                    pending.append(stage.name)
        return reached

    def _rests(self, stage: StoredStage, names: Collection[str]) -> bool:
        """Return whether a stage's samples are among these: its policy, pair or generate."""
        inputs = {key: stage.inputs[key] for key in ("generate", "pair") if key in stage.inputs}
        inputs = inputs or {key: name for key, name in stage.inputs.items() if key == "policy"}
        return all(name in names for name in inputs.values())

    def evaluations(self, policies: Iterable[str]) -> frozenset[str]:
        """Return the stages in which these policies answer benchmarks."""
        return frozenset(
            stage.name
            for policy in policies
            for stage in self._followers.get(policy, ())
            if stage.is_evaluation
        )

    def result_stages(self, result: Result, runs: Mapping[str, Run]) -> frozenset[str]:
        """Return the stages behind a result: the contestant's answers, and the baseline's."""
        return self.contestant_stages(result, runs) | self.baseline_stages(result)

    def baseline_stages(self, result: Result) -> frozenset[str]:
        """Return the stages behind the answers that a result was compared with."""
        names = [s.name for s in self._evaluations() if s.policy_name == result.baseline]
        return self.closure(names)

    def contestant_stages(self, result: Result, runs: Mapping[str, Run]) -> frozenset[str]:
        """Return the stages behind the answers that a result grades."""
        if result.run:
            run = runs.get(str(result.run.get("name")))
            iteration = int(result.run.get("iteration") or 0)
            policies = policy_names(run)[iteration : iteration + 1] if run else []
            return self.closure(self.evaluations(policies))
        names = [s.name for s in self._evaluations() if _answers(s, result)]
        return self.closure(names)

    def _evaluations(self) -> list[StoredStage]:
        return [stage for stage in self.stages.values() if stage.is_evaluation]


def _answers(stage: StoredStage, result: Result) -> bool:
    """Return whether a result without a run may grade what a stage answered."""
    if stage.policy_name == result.label:
        return True
    if not result.answers:  # tasks with known answers: the result does not hold the policy's name
        return not (stage.path / ANSWERS_FILE).is_file()
    return answers_digest(stage) == result.answers_sha256


def answers_digest(stage: StoredStage) -> str:
    """Return the digest of a stage's answers as results record it; empty where there are none."""
    try:
        rows = json.loads((stage.path / ANSWERS_FILE).read_text(encoding="utf-8"))
        return digest([[row["prompt_id"], row["text"]] for row in rows])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def policy_names(run: Run) -> list[str]:
    """Return the directory names of a run's policies."""
    return [Path(path).name for path in run.policies]


def read_graph(workspace: Workspace) -> StageGraph:
    """Return the stages of a workspace, removed ones too whose manifests were kept.

    One whose manifest is damaged rests on nothing.
    """
    root = workspace.root / STORE
    stages = [_stored(path) for path in sorted(root.glob("[!.]*")) if path.is_dir()]
    stored = {stage.name: stage for stage in stages}
    removed_names = [
        path.name for path in sorted((root / COPIES).glob("*")) if path.name not in stored
    ]
    removed = [
        _described(root / name, m) for name in removed_names for m in kept_manifests(root, name)[:1]
    ]
    return StageGraph({**stored, **{stage.name: stage for stage in removed}})


def _stored(path: Path) -> StoredStage:
    try:
        return replace(_described(path, load_manifest(path)), size=directory_size(path))
    except (StoreError, LookupError, TypeError, ValueError, AttributeError):
        kind = path.name.rpartition("-")[0]
        size = directory_size(path)
        return StoredStage(path, kind, kind, "", {}, {}, "", frozenset(), size, damaged=True)


def _described(path: Path, manifest: Mapping[str, Any]) -> StoredStage:
    inputs = {name: Path(str(entry["path"])).name for name, entry in manifest["inputs"].items()}
    kind = str(manifest["stage"])
    at = str(manifest["provenance"].get("at", ""))
    label = str(manifest.get("label") or kind)
    results = frozenset(str(entry["digest"]) for entry in manifest["inputs"].values())
    config, result = dict(manifest["config"]), str(manifest["digest"])
    return StoredStage(path, kind, label, at, config, inputs, result, results, 0)


def directory_size(path: Path) -> int:
    """Return the bytes of all files in a directory; those that vanish meanwhile do not count."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += 0 if file.is_symlink() or not file.is_file() else file.stat().st_size
        except OSError:
            continue
    return total


def read_all_runs(workspace: Workspace) -> list[Run]:
    """Return the runs of a workspace.

    Raises:
        StoreError: a record is damaged, so that what its run needs is not known.
    """
    records = (read_run(workspace, name) for name in run_names(workspace))
    return [run for run in records if run is not None]


def read_all_results(workspace: Workspace) -> list[Result]:
    """Return the results of a workspace, without their items.

    Raises:
        StoreError: one is damaged, so that what it needs is not known.
    """
    return [read_result(path) for path in result_paths(workspace)]


def read_results(workspace: Workspace) -> list[tuple[Path, Result]]:
    """Return the results of a workspace with their files; damaged ones are left out."""
    results = []
    for path in result_paths(workspace):
        try:
            results.append((path, read_result(path)))
        except StoreError:
            continue
    return results


def read_all_arenas(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the arenas of a workspace.

    Raises:
        StoreError: one is damaged, so that what it needs is not known.
    """
    return [read_arena(path) for path in arena_paths(workspace)]


def needed_stages(
    graph: StageGraph,
    runs: Sequence[Run],
    results: Iterable[Result],
    arenas: Iterable[Mapping[str, Any]],
) -> frozenset[str]:
    """Return the stages that these runs, results and arenas need.

    Raises:
        StoreError: one of them is damaged, so that what it rests on is not known.
    """
    by_name = {run.name: run for run in runs}
    needed: set[str] = set()
    for run in runs:
        needed |= graph.run_stages(run)
    for result in results:
        needed |= graph.result_stages(result, by_name)
    for arena in arenas:
        needed |= graph.stages.keys() & arena["stages"]
    for name in sorted(needed):
        if graph.stages[name].damaged:
            load_manifest(graph.stages[name].path)
    return frozenset(needed)
