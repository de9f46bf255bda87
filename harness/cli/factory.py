"""How `harness eval` puts an evaluation together.

Benchmarks as the command line builds them: those that a judge grades, and tasks.

What `--policy` and `--run` name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import display
from harness.cli.display import report_stage, track

if TYPE_CHECKING:
    from harness.core.workspace import Workspace
    from harness.protocols import PolicySource


COMPONENT_KINDS = ("judge", "engine")
SCORE_PREFIX = "score."


def select_overrides(overrides: Sequence[str], kind: str | None) -> list[str]:
    """Return the overrides of the judge or the engine (`judge.timeout=9`), or else the rest.

    `score.KEY` is a key of the benchmark's `scoring`.
    """
    if kind:
        return [o.removeprefix(f"{kind}.") for o in overrides if o.startswith(f"{kind}.")]
    rest = [o for o in overrides if not o.startswith(tuple(f"{p}." for p in COMPONENT_KINDS))]
    return [
        f"scoring.{o.removeprefix(SCORE_PREFIX)}" if o.startswith(SCORE_PREFIX) else o for o in rest
    ]


def build_component(
    kind: str, name: str, overrides: Sequence[str], options: Mapping[str, Any] | None = None
) -> Any:
    """Build what a configuration describes; options that were given are laid over it."""
    from harness.core.config import build, load

    spec = load(kind, name, select_overrides(overrides, kind if kind in COMPONENT_KINDS else None))
    return build(spec | {key: value for key, value in (options or {}).items() if value is not None})


def use_assets(folder: Path | None) -> None:
    """Have whatever needs protocol data (or a tokenizer) look in this folder."""
    if folder is not None:
        os.environ["HARNESS_ASSETS"] = str(folder)


def build_judge(
    name: str,
    overrides: Sequence[str],
    base_url: str | None,
    workspace: Workspace,
    options: Mapping[str, Any],
) -> Any:
    """Build a judge that keeps its verdicts in the workspace."""
    from harness.judges.batch import cached_judge
    from harness.judges.cached import judge_options

    client = build_component("judge", name, overrides, {"base_url": base_url})
    return cached_judge(client, workspace.verdicts, judge_options(**options))


def build_engine(name: str, overrides: Sequence[str]) -> Any:
    """Build an engine, and say which one it is."""
    engine = build_component("engine", name, overrides)
    display.notify(display.describe_engine(engine))
    return engine


def resolve_policy(
    workspace: Workspace, policy: str | None, run: str | None
) -> tuple[str | None, PolicySource | None]:
    """Return the label and the policy that `--run` or `--policy` names, where one does."""
    pass
    from harness.errors import ConfigError

    if policy and run:
        raise ConfigError("say who answers: --answers, --policy or --run, one of them")
    if run:
        return resolve_run(workspace, run)
    return None, policy_source(policy) if policy else None


pass

if TYPE_CHECKING:
    from pathlib import Path


def build_judged_benchmark(
    name: str, overrides: Sequence[str], assets: Path | None, compat: str | None
) -> Any:
    """Build a benchmark whose answers a judge grades.

    Raises:
        ConfigError: nobody judges there.
    """
    from harness.errors import ConfigError
    from harness.protocols import TaskSuite

    benchmark = build_benchmark(name, overrides, assets, compat)
    if isinstance(benchmark, TaskSuite):
        raise ConfigError(
            f"nobody judges in {benchmark.name}, its answers are known: a policy takes its tasks with "
            f"`harness eval --bench {name} --policy POLICY`"
        )
    return benchmark


def build_benchmark(
    name: str, overrides: Sequence[str], assets: Path | None, compat: str | None
) -> Any:
    """Build a benchmark, or tasks that nobody judges."""
    use_assets(assets)
    extra = [f"{SCORE_PREFIX}compat={compat}"] if compat else []
    return build_component("bench", name, [*overrides, *extra])


def judged_benchmarks(assets: Path | None) -> dict[str, Any]:
    """Build every benchmark of configs/bench whose answers a judge grades, by name."""
    from harness.core import config
    from harness.protocols import TaskSuite

    benchmarks = {name: build_benchmark(name, [], assets, None) for name in config.names("bench")}
    return {
        name: benchmark
        for name, benchmark in benchmarks.items()
        if not isinstance(benchmark, TaskSuite)
    }


def policy_source(name: str) -> PolicySource:
    """Return a policy by the name of its configuration, or by its path or hub id."""
    from harness.core import config
    from harness.training.sources import Pretrained

    if name in config.names("policy"):
        source: PolicySource = config.build(config.load("policy", name), "policy")
        return source
    return Pretrained(name=name.rstrip("/").rpartition("/")[2], path=name)


def resolve_run(workspace: Workspace, name: str) -> tuple[str, PolicySource]:
    """Return (label, policy) of `RUN` or `RUN@ITERATION`; iteration 0 is the start.

    Raises:
        ConfigError: there is no such run.
        StoreError: the run has not come so far.
    """
    from harness.core import config
    from harness.core.workspace import read_run, run_names
    from harness.errors import ConfigError
    from harness.training.sources import trained_policy

    base, _, iteration = name.partition("@")
    record = read_run(workspace, base)
    if record is None:
        raise ConfigError(f"no run called {base!r}{config.suggest(base, run_names(workspace))}")
    if iteration and not iteration.isdigit():
        raise ConfigError(f"--run {name!r}: write RUN@ITERATION with a number, e.g. {base}@1")
    source = trained_policy(record, int(iteration) if iteration else None)
    return source.name, source


def open_workspace(root: Path) -> Workspace:
    """Return a workspace whose stages are told and tracked on standard error."""
    from harness.core.workspace import Workspace

    return Workspace(root.absolute(), track, report_stage)
