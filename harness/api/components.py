"""Components from what a user names: a configuration, a path, a mapping, or the component itself.

Overrides are `key.key=value` texts, as on the command line, or a mapping with dotted keys. Those
that begin with `judge.` or `engine.` belong to that component, `score.` to the way a benchmark is
scored, all others to the benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.naming import ITERATION_SUFFIX, leaves_directory
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.core.workspace import Run, Workspace
    from harness.protocols import PolicySource

Overrides = Mapping[str, Any] | Sequence[str]
Source = str | Path | Mapping[str, Any] | Any
"""A configuration's name or path, a mapping, or what it would build."""

COMPONENT_KINDS = ("judge", "engine", "second_judge")
SCORE_PREFIX = "score."


def select_overrides(overrides: Overrides, kind: str | None) -> dict[str, Any]:
    """Return the overrides of the judge or the engine, without that prefix, or else the rest."""
    from harness.core import config

    flat = config.parse_overrides(overrides)
    if kind:
        prefix = f"{kind}."
        return {key.removeprefix(prefix): v for key, v in flat.items() if key.startswith(prefix)}
    prefixes = tuple(f"{name}." for name in COMPONENT_KINDS)
    rest = {key: value for key, value in flat.items() if not key.startswith(prefixes)}
    return {
        f"scoring.{key.removeprefix(SCORE_PREFIX)}" if key.startswith(SCORE_PREFIX) else key: value
        for key, value in rest.items()
    }


def build_component(
    kind: str,
    source: Source,
    overrides: Overrides = (),
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Build what a configuration describes; options that are not None are laid over it.

    Args:
        kind: a folder of configs, e.g. `judge`.
        source: a name or path of that kind, a mapping, or a component, which is returned.
        overrides: of every component; those of this kind are taken.
        options: keys of the component.

    Raises:
        ConfigError: there is no such configuration, or a key does not fit.
    """
    from harness.core import config

    selected = select_overrides(overrides, kind if kind in COMPONENT_KINDS else None)
    settings = {key: value for key, value in (options or {}).items() if value is not None}
    if not isinstance(source, str | Path | Mapping):
        if selected or settings:
            raise ConfigError(
                f"{type(source).__name__} is built already: set "
                f"{', '.join([*selected, *settings])} where it is built"
            )
        return source
    return config.build(config.load(kind, source, selected) | settings, _location(kind, source))


def _location(kind: str, source: str | Path | Mapping[str, Any]) -> str:
    return kind if isinstance(source, Mapping) else f"{kind}/{source}"


def build_benchmark(
    source: Source,
    overrides: Overrides = (),
    assets: str | Path | None = None,
    compat: str | None = None,
) -> Any:
    """Build a benchmark, or a task suite, which needs no judge.

    Raises:
        ConfigError: there is no such benchmark, or a key does not fit.
    """
    from harness.core import config, hub

    extra = {f"{SCORE_PREFIX}compat": compat} if compat else {}
    built = build_component("bench", source, {**config.parse_overrides(overrides), **extra})
    if assets is None:
        return built
    hub.use_tokenizers(Path(assets))
    reads = isinstance(built, config.Component) and "assets" in type(built).model_fields
    return built.model_copy(update={"assets": Path(assets)}) if reads else built


def build_judged_benchmark(
    source: Source,
    overrides: Overrides = (),
    assets: str | Path | None = None,
    compat: str | None = None,
) -> Any:
    """Build a benchmark whose answers a judge grades.

    Raises:
        ConfigError: its answers are graded without a judge.
    """
    from harness.protocols import TaskSuite

    benchmark = build_benchmark(source, overrides, assets, compat)
    if isinstance(benchmark, TaskSuite):
        raise ConfigError(
            f"{benchmark.name} needs no judge, its answers are known: have a policy take its "
            f"tasks with `harness eval --bench {source} --policy POLICY`"
        )
    return benchmark


def judged_benchmarks(assets: str | Path | None = None) -> dict[str, Any]:
    """Build every benchmark of configs/bench whose answers a judge grades, by name."""
    from harness.core import config
    from harness.protocols import TaskSuite

    benchmarks = {name: build_benchmark(name, (), assets) for name in config.names("bench")}
    return {
        name: benchmark
        for name, benchmark in benchmarks.items()
        if not isinstance(benchmark, TaskSuite)
    }


def build_policy(source: Source) -> PolicySource:
    """Return a policy by its configuration's name, its path or hub id, or as it is."""
    from harness.core import config
    from harness.training.sources import Pretrained

    match source:
        case str() if source in config.names("policy"):
            built: PolicySource = config.build(config.load("policy", source), "policy")
            return built
        case str() | Path():
            path = str(source)
            return Pretrained(name=path.rstrip("/").rpartition("/")[2], path=path)
        case Mapping():
            built = config.build(config.load("policy", source), "policy")
            return built
    policy: PolicySource = source
    return policy


def resolve_run(workspace: Workspace, name: str) -> tuple[str, PolicySource]:
    """Return (label, policy) of `RUN` or `RUN@ITERATION`; iteration 0 is the start.

    Raises:
        ConfigError: there is no such run.
        StoreError: the run has not come that far.
    """
    from harness.core.workspace import run_names
    from harness.training.sources import trained_policy

    match = ITERATION_SUFFIX.fullmatch(name)
    if match and name not in run_names(workspace):  # an older version took such names
        source = trained_policy(find_run(workspace, match[1]), int(match[2]))
    else:
        source = trained_policy(find_run(workspace, name), None)
    return source.name, source


def find_run(workspace: Workspace, name: str) -> Run:
    """Return the record of a run.

    Raises:
        ConfigError: there is no such run; the message names those that exist.
    """
    from harness.core import config
    from harness.core.workspace import read_run, run_names

    record = None if leaves_directory(name) else read_run(workspace, name)
    if record is None:
        syntax = " (an iteration is written RUN@NUMBER)" if "@" in name else ""
        raise ConfigError(
            f"no run called {name!r}{syntax}{config.suggest(name, run_names(workspace))}"
        )
    return record


def resolve_policy(
    workspace: Workspace, policy: Source | None, run: str | None
) -> tuple[str | None, PolicySource | None]:
    """Return the label and the policy that `run` or `policy` names, if either does.

    Raises:
        ConfigError: both are given, or the run does not exist.
    """
    if policy is not None and run:
        raise ConfigError("say who answers: --answers, --policy or --run, one of them")
    if run:
        return resolve_run(workspace, run)
    return None, None if policy is None else build_policy(policy)


def open_workspace(root: str | Path | Workspace) -> Workspace:
    """Return the workspace in a folder; its stages are reported to the logger `harness`."""
    from harness.api.logs import report_stage
    from harness.core.workspace import Workspace

    if isinstance(root, Workspace):
        return root
    return Workspace(Path(root).expanduser().absolute(), on_stage=report_stage)
