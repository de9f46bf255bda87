"""The rehearsal of a method as cached stages: its policy, and its oracle.

Recipes and seeds that share a policy share its rehearsal, and likewise an oracle's. The objective
is tried on made-up log-probabilities every time: a loss's gradient is the product of that with
respect to the log-probabilities and of their own, which the policy's rehearsal tries.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.config import identity
from harness.core.io import write_atomically
from harness.core.manifests import load_manifest
from harness.core.seeds import canonical_json
from harness.core.stages import Node, Stage
from harness.core.workspace import Workspace
from harness.protocols import accelerators_needed
from harness.training.rehearsal.objective import check_objective
from harness.training.rehearsal.oracle import rehearse_oracle
from harness.training.rehearsal.policy import rehearse_policy
from harness.training.rehearsal.prompts import PAIRS, PROMPTS
from harness.training.spec import TrainSpec
from harness.types import StageFunction, Track

LOGGER = logging.getLogger(__name__)
VERSIONS = {"rehearse-policy": 1, "rehearse-oracle": 1}
"""Raised when a rehearsal checks more than before."""
REPORT = "rehearsal.json"
_passed: dict[str, str] = {}
"""The reports of this process's rehearsals by the name of their stage, for other workspaces."""


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal found; it is whole, since what fails raises an error."""

    seconds: float
    """How long it took, when it was done."""
    cached: bool
    """Whether it was done before."""
    policy: Mapping[str, Any]
    """Differences of log-probabilities in nats, the gradient's norm, and numbers of parameters."""
    oracle: Mapping[str, Any]
    """What the oracle was asked, and what it answered; empty if the method asks none."""


def rehearse(
    spec: TrainSpec,
    workspace: Workspace,
    start: Node,
    sources: Sequence[Node],
    *,
    asks_oracle: bool,
) -> Rehearsal:
    """Try whatever a training will do, unless that was done before with the same parts.

    Args:
        spec: the method.
        workspace: where the rehearsal is kept.
        start: π_1, which exists.
        sources: the prompts of the iterations, or a data set's pairs, which exist.
        asks_oracle: whether the method asks its oracle anything.

    Raises:
        PolicyError: the policy's weights, tokenizer or adapters cannot be used.
        CheckError: the objective, the gradient or an answer of the oracle is not usable.
        JudgeError: the oracle's judge cannot be asked.
    """
    for t in range(1, spec.iterations + 1):
        check_objective(spec.for_iteration(t).objective)
    planned = rehearsal_stages(spec, start, sources)[: 1 + asks_oracle]
    artifacts = [workspace.stages.materialize(stage) for stage in planned]
    paths = [Path(artifact.path) for artifact in artifacts]
    seconds = sum(load_manifest(path)["provenance"]["seconds"] for path in paths)
    cached = not any(artifact.created for artifact in artifacts)
    if not cached:
        LOGGER.info("rehearsed in %.1f s", seconds)
    reports = [json.loads((path / REPORT).read_text()) for path in paths]
    return Rehearsal(seconds, cached, reports[0], reports[1] if asks_oracle else {})


def rehearsal_stages(spec: TrainSpec, start: Node, sources: Sequence[Node]) -> tuple[Stage, Stage]:
    """Return the stages that rehearse a method's policy and its oracle."""
    by_iteration = {
        f"{PROMPTS if spec.pairs_mode(t) != 'pairs' else PAIRS}{t}": source
        for t, source in enumerate(sources, 1)
    }
    settings = spec.optimiser
    config = {
        "dtype": spec.dtype,
        "tolerance": spec.tolerance,
        "max_length": spec.max_length,
        "algorithm": settings.algorithm,
        "lora": identity(settings.lora) if settings.lora else None,
        "compile": settings.compile,
        "offload": settings.offload,
        "gradient_checkpointing": settings.gradient_checkpointing,
    }
    inputs: dict[str, Node] = {"start": start, **by_iteration}  # `policy` is what answers
    oracle = {"oracle": identity(spec.oracle)}
    accelerators = accelerators_needed(spec.oracle)
    return (
        _stage(spec, "rehearse-policy", config, inputs, rehearse_policy, settings.processes or 1),
        _stage(spec, "rehearse-oracle", oracle, dict(by_iteration), rehearse_oracle, accelerators),
    )


def _stage(
    spec: TrainSpec,
    name: str,
    config: dict[str, Any],
    inputs: Mapping[str, Node],
    function: Any,
    accelerators: int,
) -> Stage:
    run: StageFunction = partial(run_once, function, spec)
    label = f"{spec.method} · {name.replace('rehearse-', 'rehearsal of the ')}"
    return Stage(
        name,
        VERSIONS[name],
        config,
        inputs,
        run,
        label,
        device=True,
        accelerators=accelerators,
    )


def run_once(
    function: Any, spec: TrainSpec, out: Path, inputs: Mapping[str, str], track: Track
) -> None:
    """Write a rehearsal's report; in one process the same one runs once, whatever the workspace."""
    if out.name not in _passed:
        with track("rehearsal", 0) as advance:
            _passed[out.name] = canonical_json(function(spec, out, inputs, advance))
    write_atomically(out / REPORT, _passed[out.name])
