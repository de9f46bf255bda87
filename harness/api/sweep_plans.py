"""What a sweep would train and grade: its runs, their names and labels, and what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.components import Overrides, Source, build_benchmark
from harness.api.grids import Grid, describe_settings, parse_grid, parse_seeds, short_keys
from harness.api.training import build_spec, default_run_name
from harness.core.naming import check_name
from harness.core.workspace.sweeps import SweepRecord, SweepRun
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.core.stages import Node, Stage
    from harness.core.workspace import Workspace
    from harness.training.spec import TrainSpec


@dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep, and its whole specification."""

    record: SweepRun
    spec: TrainSpec


@dataclass(frozen=True)
class Grading:
    """How a sweep's runs are graded."""

    bench: Sequence[Source] = ()
    """Benchmarks: names of configs/bench, files, mappings, or components."""
    judge: Source | None = None
    """None: each benchmark's own judge."""
    base_url: str | None = None
    budget: float | None = None
    """The most that the whole sweep may spend, in US dollars."""
    engine: Source = "auto"
    overrides: Overrides = ()
    """Of the benchmarks; with a prefix of the judge, the engine and the scoring: see `evaluate`."""
    price: str | None = None
    """`IN,OUT`: what the judge costs, in US dollars per million tokens."""
    second_judge: Source | None = None
    """An unrelated judge that is asked about a sample of each run's answers, within the budget."""


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would train and grade."""

    name: str
    runs: tuple[PlannedRun, ...]
    grading: Grading

    @property
    def record(self) -> SweepRecord:
        """The runs as the workspace records them."""
        return SweepRecord(self.name, tuple(run.record for run in self.runs))


@dataclass(frozen=True)
class SweepCounts:
    """How much of a sweep is shared, cached and pending."""

    runs: int
    run_stages: int
    """The stages of all runs, each counted as often as a run uses it."""
    stages: int
    """The different ones among them."""
    shared: int
    """Those that several runs use."""
    cached: int
    pending: int
    evaluations: int
    by_run: Mapping[str, tuple[int, int]]
    """By run: its stages, and how many of them are cached."""


def plan_sweep(
    methods: Sequence[Source],
    *,
    settings: Mapping[str, Any] | Sequence[str] = (),
    seeds: str | Sequence[int] = (0,),
    launcher: str | None = None,
    name: str | None = None,
    grading: Grading | None = None,
) -> SweepPlan:
    """Return the runs of a sweep with their names, labels and specifications; see `sweep`.

    Raises:
        ConfigError: a name, a key or a value does not fit.
    """
    if not methods:
        raise ConfigError("a sweep needs a method, e.g. harness sweep toy/inpo --seeds 0,1")
    grid, numbers = parse_grid(settings), parse_seeds(seeds)
    titles = _method_titles(methods)
    sweep_name = check_name(name or default_sweep_name(list(titles)), "run")
    runs = [
        _planned(sweep_name, title, source, grid, chosen, seed, launcher, len(methods) > 1)
        for title, source in titles.items()
        for chosen in grid.combinations()
        for seed in numbers
    ]
    duplicates = [n for n, count in Counter(run.record.label for run in runs).items() if count > 1]
    if duplicates:
        raise ConfigError(
            f"two runs of the sweep would be called {duplicates[0]!r} in tables: give their "
            "methods different names with the key `method`"
        )
    return SweepPlan(sweep_name, tuple(runs), grading or Grading())


def default_sweep_name(titles: Sequence[str]) -> str:
    """Return the name of a sweep that the user has not named: `inpo-sweep` for one method."""
    return f"{titles[0]}-sweep" if len(titles) == 1 else "sweep"


def _method_titles(methods: Sequence[Source]) -> dict[str, Source]:
    """Return each method by the last part of its name, or by all of it where that is not unique."""
    names = [
        default_run_name(str(m)) if isinstance(m, str | Path) else f"method-{i}"
        for i, m in enumerate(methods, 1)
    ]
    short = [name.rpartition("/")[2] for name in names]
    titles = short if len(set(short)) == len(short) else [name.replace("/", "-") for name in names]
    if len(set(titles)) < len(titles):
        raise ConfigError(f"a method is named twice: {', '.join(names)}")
    return dict(zip(titles, methods, strict=True))


def _planned(
    sweep_name: str,
    title: str,
    source: Source,
    grid: Grid,
    chosen: Mapping[str, Any],
    seed: int,
    launcher: str | None,
    is_one_of_several: bool,
) -> PlannedRun:
    spec = build_spec(source, {**grid.fixed, **chosen, "seed": seed}, launcher)
    parts = describe_settings(chosen, short_keys(list(grid.varied)))
    prefix = [title] if is_one_of_several else []
    run_name = check_name(f"{sweep_name}/{','.join([*prefix, *parts, f'seed={seed}'])}", "run")
    setting = f"{spec.method} ({', '.join(parts)})" if parts else spec.method
    label = f"{spec.method} ({', '.join([*parts, f'seed {seed}'])})"
    check_name(label, "label")
    record = SweepRun(run_name, label, setting, title, dict(chosen), seed)
    return PlannedRun(record, spec)


def count_stages(plan: SweepPlan, workspace: Workspace) -> SweepCounts:
    """Return how much of a sweep is shared, cached and pending; nothing runs.

    Raises:
        ConfigError: a benchmark does not fit.
        RunExistsError: a run's name belongs to another configuration.
        StoreError: a manifest is damaged.
    """
    from harness.training import schedule

    check_runs(plan, workspace)
    build_benchmarks(plan.grading)
    users: Counter[str] = Counter()
    cached: set[str] = set()
    by_run: dict[str, tuple[int, int]] = {}
    for run in plan.runs:
        known: dict[Stage, str] = {}
        keys = {recipe_key(s, known): path for s, path in schedule.plan(run.spec, workspace)}
        users.update(keys.keys())
        stored = {key for key, path in keys.items() if path is not None}
        cached |= stored
        by_run[run.record.name] = (len(keys), len(stored))
    return SweepCounts(
        runs=len(plan.runs),
        run_stages=users.total(),
        stages=len(users),
        shared=sum(count > 1 for count in users.values()),
        cached=len(cached),
        pending=len(users) - len(cached),
        evaluations=len(plan.runs) * len(plan.grading.bench),
        by_run=by_run,
    )


def recipe_key(node: Node, known: dict[Stage, str]) -> str:
    """Return what identifies a stage before its inputs exist: its settings, and its inputs'.

    Keys that are computed on the way are added to `known`.
    """
    from harness.core.seeds import canonical, digest
    from harness.core.stages import ExternalInput

    if isinstance(node, ExternalInput):
        return node.digest
    if node not in known:
        inputs = {name: recipe_key(inner, known) for name, inner in node.inputs.items()}
        known[node] = digest([node.name, node.version, canonical(node.config), inputs])
    return known[node]


def check_runs(plan: SweepPlan, workspace: Workspace) -> None:
    """Refuse names that are taken by another configuration, before anything is trained.

    Raises:
        RunExistsError: a run's name belongs to another configuration.
        StoreError: a run's record is damaged.
    """
    from harness.core.config import description
    from harness.core.workspace import read_run
    from harness.training.schedule import check_same_config

    for run in plan.runs:
        check_same_config(read_run(workspace, run.record.name), description(run.spec))


def build_benchmarks(grading: Grading) -> list[Any]:
    """Build the benchmarks that a sweep's runs are graded on.

    Raises:
        ConfigError: there is no such benchmark, or a key does not fit.
    """
    return [build_benchmark(bench, grading.overrides) for bench in grading.bench]
