"""The names that configurations used before the second edition, so that an error can say the new.

Nothing is translated: a configuration with an old name is refused, and its author corrects it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_MOVED: Mapping[str, str] = {
    "harness.benchmarks.academic": "harness.benchmarks.academic.benchmark",
    "harness.benchmarks.alpaca_eval": "harness.benchmarks.alpaca_eval.benchmark",
    "harness.benchmarks.mt_bench": "harness.benchmarks.mt_bench.benchmark",
    "harness.benchmarks.toy": "harness.benchmarks.toy.benchmark",
    "harness.objectives.inpo_soft": "harness.objectives.inpo",
    "harness.theory.ablation": "harness.theory.convergence",
    "harness.toy.preference": "harness.toy.world",
    "harness.training.trackers": "harness.training.tracking",
}
"""Modules that moved and whose classes kept their names."""

_RENAMED: Mapping[str, str] = {
    "harness.benchmarks.academic:Task": "harness.benchmarks.academic.benchmark:AcademicTask",
    "harness.benchmarks.alpaca_eval_length:Scoring": (
        "harness.benchmarks.alpaca_eval.length_control:AlpacaEvalScoring"
    ),
    "harness.benchmarks.arena_hard:ArenaHard": "harness.benchmarks.arena_hard.v01:ArenaHard",
    "harness.benchmarks.arena_hard:Scoring": "harness.benchmarks.arena_hard.v01:ArenaHardScoring",
    "harness.benchmarks.arena_hard_texts:V01": "harness.benchmarks.arena_hard.data:JudgeTextsV01",
    "harness.benchmarks.arena_hard_texts:V2": "harness.benchmarks.arena_hard.data:JudgeTextsV2",
    "harness.benchmarks.arena_hard_v2:ArenaHardV2": "harness.benchmarks.arena_hard.v2:ArenaHardV2",
    "harness.benchmarks.arena_hard_v2:Judging": "harness.benchmarks.arena_hard.v2:JudgeParameters",
    "harness.benchmarks.arena_hard_v2:Scoring": (
        "harness.benchmarks.arena_hard.style:ArenaHardV2Scoring"
    ),
    "harness.benchmarks.mt_bench_score:Scoring": "harness.benchmarks.mt_bench.score:MTBenchScoring",
    "harness.engines.auto:choose": "harness.engines.auto:EngineChoice",
    "harness.engines.auto:choose_engine": "harness.engines.auto:EngineChoice",
    "harness.judges.client:OpenAIJudge": "harness.judges.client:OpenAIClient",
    "harness.judges.kept:KeptJudge": "harness.judges.cached:CachedJudge",
    "harness.judges.panel:Panel": "harness.judges.panel:JudgePanel",
    "harness.judges.prices:Price": "harness.judges.costs:Price",
    "harness.judges.prices:Prices": "harness.judges.costs:Prices",
    "harness.judges.replay:Replay": "harness.judges.cached:ReplayClient",
    "harness.judges.vllm:VLLMJudge": "harness.judges.vllm:VLLMClient",
    "harness.launchers.torchrun:TorchrunLauncher": "harness.launchers.ray:RayLauncher",
    "harness.shape:Shape": "harness.core.hardware:ModelShape",
    "harness.theory.dynamics:Every": "harness.core.iterations:PeriodicReference",
    "harness.theory.dynamics:Fit": "harness.core.iterations:Fit",
    "harness.theory.games:Drawn": "harness.theory.games:GameDistribution",
    "harness.theory.games:Matrix": "harness.theory.games:MatrixGame",
    "harness.theory.language:GameTexts": "harness.theory.language:GameCorpus",
    "harness.theory.pairs:Independent": "harness.theory.pairs:IndependentPairs",
    "harness.theory.pairs:Selected": "harness.theory.pairs:SampledPairing",
    "harness.toy.corpus:ToyTexts": "harness.toy.world:ToyCorpus",
    "harness.training.adapters:Lora": "harness.training.lora:Lora",
    "harness.training.fine_tune:FineTuned": "harness.training.sft:FineTunedPolicy",
    "harness.training.run:Trained": "harness.training.sources:TrainedPolicy",
    "harness.training.spec:Every": "harness.core.iterations:PeriodicReference",
    "harness.training.spec:Fit": "harness.core.iterations:Fit",
}
"""Classes (`module:Name`) that have another name, or share a module that was divided."""

_KEYS: Mapping[str, tuple[str, ...]] = {
    "ask_refused": ("retry_missing",),
    "at": ("remote_path",),
    "called": ("deployment", "base_name"),
    "chosen_because": ("selection_reason",),
    "contest_prompts": ("head_to_head_prompts",),
    "cpus_a_worker": ("cpus_per_worker",),
    "furthest": ("max_step",),
    "generating": ("generation_utilization",),
    "made": ("converter",),
    "made_by": ("origin",),
    "makes": ("result",),
    "otherwise": ("fallback",),
    "patience": ("start_timeout",),
    "piece": ("shard_size",),
    "prefer": ("preferred",),
    "processor_cache_gib": ("cpu_cache_gib",),
    "reading": ("forward_utilization",),
    "retry_refused": ("retry_missing",),
    "shown": ("long_run_samples",),
    "track": ("tracker",),
    "tasks": ("workers_per_node",),
    "training": ("training_utilization",),
    "unread": ("max_unparsed",),
    "unread_attempts": ("unparsed_attempts",),
    "usual_judge": ("default_judge",),
}
"""What a key may be called now; which of the names it is depends on the component."""

_CONFIGS: Mapping[str, str] = {
    "launcher/torchrun": (
        "start a Ray cluster on the machines (`ray start`) and use --launcher ray, or use "
        "--launcher slurm, which starts one in its job; on one machine --launcher local runs "
        "torchrun itself"
    ),
}
"""What to use instead of a configuration (`kind/name`) that was removed."""


def config_replacement(kind: str, name: str) -> str | None:
    """Return what to use instead of a configuration; None if it was never there."""
    return _CONFIGS.get(f"{kind}/{name}")


def new_use(use: str) -> str | None:
    """Return what a `use: module:Name` is written as now; None if it was never another name."""
    module, _, name = use.partition(":")
    moved = f"{_MOVED[module]}:{name}" if module in _MOVED else None
    return _RENAMED.get(use, moved)


def new_key(key: str, fields: Collection[str]) -> str | None:
    """Return the name that a key has now among a component's fields; None if it never had another.

    Args:
        key: a key that is not one of the fields.
        fields: the component's fields; empty if they are not known.
    """
    candidates = [name for name in _KEYS.get(key, ()) if not fields or name in fields]
    return candidates[0] if candidates else None
