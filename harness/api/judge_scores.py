"""How good a judge or an oracle is: its decisions on JudgeBench's labelled pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.components import Overrides, build_component, select_overrides
from harness.core.config import Component
from harness.errors import ConfigError
from harness.types import Score, Usage

if TYPE_CHECKING:
    from harness.benchmarks.judgebench.benchmark import JudgeBench
    from harness.core.workspace import Workspace


@dataclass(frozen=True)
class JudgeScore:
    """A judge's or an oracle's score."""

    name: str
    benchmark: str
    score: Score
    usage: Usage | None = None
    """What a judge's verdicts have cost; None for an oracle or stored verdicts."""

    def to_data(self) -> dict[str, Any]:
        """Return plain data, without the items."""
        return asdict(replace(self, score=replace(self.score, items=())))


def score_judge(
    name: str,
    *,
    responses: str,
    workspace: Workspace,
    assets: Path | None = None,
    overrides: Overrides = (),
    judge_options: Mapping[str, Any] | None = None,
) -> JudgeScore:
    """Have a judge or an oracle decide JudgeBench's pairs, or score stored decisions.

    Args:
        name: of configs/judge or configs/oracle, or a file of stored verdicts.
        responses: the model whose responses are compared.
        workspace: where a judge's verdicts are stored.
        assets: the folder with the protocol data.
        overrides: of the judge (`judge.KEY=VALUE`) or the oracle.
        judge_options: of `harness.judge`: base_url, budget, price, accept_models.

    Raises:
        ConfigError: there is no such judge, oracle or file.
        AssetError: protocol data is missing.
        JudgeError: the judge cannot be reached or refuses; cached verdicts are kept.
        CheckError: no verdict can be parsed.
    """
    from harness.benchmarks.judgebench.benchmark import JudgeBench, score_file
    from harness.core import config

    benchmark = JudgeBench(responses=responses, assets=assets)
    if Path(name).is_file() and not name.endswith((".yaml", ".yml")):
        return JudgeScore(name, "judgebench, stored verdicts", score_file(Path(name)))
    if name in config.names("oracle") and name not in config.names("judge"):
        return _score_oracle(name, benchmark, workspace, overrides)
    if name not in config.names("judge") and not Path(name).is_file():
        known = [*config.names("judge"), *config.names("oracle")]
        raise ConfigError(f"no judge or oracle called {name!r}{config.suggest(name, known)}")
    return _score_judge(name, benchmark, workspace, overrides, judge_options or {})


def _score_oracle(
    name: str, benchmark: JudgeBench, workspace: Workspace, overrides: Overrides
) -> JudgeScore:
    oracle = build_component("oracle", name, overrides)
    if isinstance(oracle, Component):
        oracle = oracle.in_workspace(workspace.root)
    games = benchmark.comparisons()
    with workspace.track(f"{name} · {benchmark.name}", len(games)) as advance:
        preferences = oracle.compare(games, advance)
    return JudgeScore(name, benchmark.name, benchmark.score_preferences(preferences))


def _score_judge(
    name: str,
    benchmark: JudgeBench,
    workspace: Workspace,
    overrides: Overrides,
    judge_options: Mapping[str, Any],
) -> JudgeScore:
    from harness.api.judging import judge

    selected = select_overrides(overrides, "judge")
    bound = judge(name, overrides=selected, **judge_options).bind(workspace)
    requests = benchmark.requests()
    with workspace.track(f"{bound.model} · {benchmark.name}", len(requests)) as advance:
        verdicts = bound.judge(requests, benchmark, advance)
    usage = bound.usage(requests, benchmark)
    return JudgeScore(bound.model, benchmark.name, benchmark.score_verdicts(verdicts), usage)
