"""The identity of a result: what was measured, each part with its settings.

Two results are the same measurement only if all of it agrees: the benchmark with its settings and
texts, the contestant (iteration and configuration of a run, or else the hash of its answers), the
judge as it was asked, and the baseline. The label is no part of it: it is what tables print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.config import Component, identity, qualified_name
from harness.core.seeds import digest
from harness.types import Answer

RUN_KEYS = ("name", "iteration", "seed", "setting")
"""Of a training run; `setting` is a digest of its configuration without the seed."""
GENERATION_KEYS = ("engine", "seed")
"""Of how a policy's answers were generated."""


def result_identity(
    *,
    benchmark: Mapping[str, Any],
    contestant: Mapping[str, Any],
    judge: str,
    judge_settings: Mapping[str, Any],
    baseline: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the identity of a result as plain data; see `benchmark_identity` and the others."""
    return {
        "benchmark": dict(benchmark),
        "contestant": dict(contestant),
        "judge": {"model": judge, "settings": dict(judge_settings)},
        "baseline": dict(baseline),
    }


def benchmark_identity(benchmark: Any, sources: Mapping[str, str]) -> dict[str, Any]:
    """Return a benchmark's name and settings, from which it can be built, and its texts' sha256."""
    is_component = isinstance(benchmark, Component)
    settings = identity(benchmark) if is_component else {"use": qualified_name(type(benchmark))}
    return {"name": benchmark.name, "settings": settings, "sources": dict(sources)}


def contestant_identity(
    run: Mapping[str, Any] | None, generation: Mapping[str, Any], answers_hash: str
) -> dict[str, Any]:
    """Return which policy of which run answered and how, or else the hash of the answers."""
    if not run:
        return {"answers_sha256": answers_hash}
    trained = {key: run[key] for key in RUN_KEYS if key in run}
    return {"run": trained, **{k: generation[k] for k in GENERATION_KEYS if k in generation}}


def baseline_identity(label: str, answers_hash: str) -> dict[str, Any]:
    """Return the baseline's label and the hash of all its answers; empty where there is none."""
    if not label:
        return {}
    return {"label": label} | ({"answers_sha256": answers_hash} if answers_hash else {})


def answers_sha256(answers: Sequence[Answer]) -> str:
    """Return the hash of answers: of their prompts' ids and their texts."""
    return digest([[answer.prompt_id, answer.text] for answer in answers])
