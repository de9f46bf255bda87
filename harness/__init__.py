"""Preference optimisation of language models: train, evaluate, compare.

    import harness as ph

    run = ph.train("toy/inpo", {"objective.eta": 0.1}, name="eta-0.1")
    result = ph.evaluate("arena-hard", answers="answers.jsonl", judge=ph.judge("gpt-4.1"))
    ph.leaderboard()

Names are imported when they are first used, so that `import harness` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness import errors as errors
    from harness import objectives as objectives
    from harness import protocols as protocols
    from harness import statistics as statistics
    from harness.api.arena import ArenaResult as ArenaResult
    from harness.api.arena import arena as arena
    from harness.api.components import build_benchmark as benchmark
    from harness.api.components import build_component as build
    from harness.api.components import build_policy as policy
    from harness.api.evaluation import EvaluationResult as EvaluationResult
    from harness.api.evaluation import evaluate as evaluate
    from harness.api.judging import judge as judge
    from harness.api.scores import ScoredAnswers as ScoredAnswers
    from harness.api.scores import score as score
    from harness.api.scores import scores as scores
    from harness.api.sweep import Sweep as Sweep
    from harness.api.sweep import sweep as sweep
    from harness.api.tables import Leaderboard as Leaderboard
    from harness.api.tables import leaderboard as leaderboard
    from harness.api.training import TrainingRun as TrainingRun
    from harness.api.training import rehearse as rehearse
    from harness.api.training import run as run
    from harness.api.training import runs as runs
    from harness.api.training import train as train
    from harness.api.workspaces import prune_workspace as prune_workspace
    from harness.api.workspaces import verify_workspace as verify_workspace
    from harness.api.workspaces import workspace_usage as workspace_usage
    from harness.core.config import Component as Component
    from harness.core.workspace import Workspace as Workspace
    from harness.errors import HarnessError as HarnessError
    from harness.types import Answer as Answer
    from harness.types import Estimate as Estimate
    from harness.types import Logps as Logps
    from harness.types import Message as Message
    from harness.types import PairBatch as PairBatch
    from harness.types import Policy as Policy
    from harness.types import Prompt as Prompt
    from harness.types import Score as Score

_MODULES = ("errors", "objectives", "protocols", "statistics")
_EXPORTS = {
    "Answer": "harness.types:Answer",
    "ArenaResult": "harness.api.arena:ArenaResult",
    "Component": "harness.core.config:Component",
    "Estimate": "harness.types:Estimate",
    "EvaluationResult": "harness.api.evaluation:EvaluationResult",
    "HarnessError": "harness.errors:HarnessError",
    "Leaderboard": "harness.api.tables:Leaderboard",
    "Logps": "harness.types:Logps",
    "Message": "harness.types:Message",
    "PairBatch": "harness.types:PairBatch",
    "Policy": "harness.types:Policy",
    "Prompt": "harness.types:Prompt",
    "Score": "harness.types:Score",
    "ScoredAnswers": "harness.api.scores:ScoredAnswers",
    "Sweep": "harness.api.sweep:Sweep",
    "TrainingRun": "harness.api.training:TrainingRun",
    "Workspace": "harness.core.workspace:Workspace",
    "arena": "harness.api.arena:arena",
    "benchmark": "harness.api.components:build_benchmark",
    "build": "harness.api.components:build_component",
    "evaluate": "harness.api.evaluation:evaluate",
    "judge": "harness.api.judging:judge",
    "leaderboard": "harness.api.tables:leaderboard",
    "policy": "harness.api.components:build_policy",
    "prune_workspace": "harness.api.workspaces:prune_workspace",
    "rehearse": "harness.api.training:rehearse",
    "run": "harness.api.training:run",
    "runs": "harness.api.training:runs",
    "score": "harness.api.scores:score",
    "scores": "harness.api.scores:scores",
    "sweep": "harness.api.sweep:sweep",
    "train": "harness.api.training:train",
    "verify_workspace": "harness.api.workspaces:verify_workspace",
    "workspace_usage": "harness.api.workspaces:workspace_usage",
}

__all__ = [
    "Answer",
    "ArenaResult",
    "Component",
    "Estimate",
    "EvaluationResult",
    "HarnessError",
    "Leaderboard",
    "Logps",
    "Message",
    "PairBatch",
    "Policy",
    "Prompt",
    "Score",
    "ScoredAnswers",
    "Sweep",
    "TrainingRun",
    "Workspace",
    "__version__",
    "arena",
    "benchmark",
    "build",
    "errors",
    "evaluate",
    "judge",
    "leaderboard",
    "objectives",
    "policy",
    "protocols",
    "prune_workspace",
    "rehearse",
    "run",
    "runs",
    "score",
    "scores",
    "statistics",
    "sweep",
    "train",
    "verify_workspace",
    "workspace_usage",
]

__version__: str


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"harness.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("preference-harness")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
