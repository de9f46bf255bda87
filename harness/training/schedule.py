"""The schedule: sample → compare → pair → anchor → optimise, T times, as stages of the store.

A run: a method's stages made in order, and a record of where they stand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.config import identity
from harness.core.iterations import Fit, fit_anchors
from harness.core.stages import Node, Stage
from harness.core.versions import installed_versions
from harness.core.workspace import Run, Workspace, read_run, write_run
from harness.errors import RunExistsError
from harness.protocols import accelerators_needed
from harness.training import stages
from harness.training.head_to_head import run_head_to_head
from harness.training.optimisation import optimise
from harness.training.optimisers import check_packages
from harness.training.pairing import comparison_count
from harness.training.spec import TrainSpec
from harness.types import StageFunction

VERSIONS = {
    "prompts": 1,
    "generate": 1,
    "compare": 2,
    "pair": 3,
    "anchor": 3,
    "optimise": 4,
    "head-to-head": 2,
}
"""Raised when a stage would now give another result from the same inputs."""


@dataclass(frozen=True)
class Schedule:
    """Builds the stages of a method; building makes nothing."""

    spec: TrainSpec

    def policies(self) -> list[Node]:
        """Return π_1 … π_{T+1}: what training starts from, and what every iteration makes."""
        start = self.spec.policy.weights()
        histories: dict[str, list[Node]] = defaultdict(lambda: [start])
        for t in range(1, self.spec.iterations + 1):
            pair = self._pair_stage(t, histories["policy"][-1])
            anchors: dict[Node, Stage] = {}
            for fit in self.spec.fits:
                frozen_policies = self._frozen_policies(
                    t, histories[fit.start], histories["policy"]
                )
                inputs: dict[str, Node] = {"policy": frozen_policies["previous"], "pair": pair}
                for name, policy in frozen_policies.items():
                    if policy not in anchors:
                        anchors[policy] = self._anchor_stage(t, name, policy, pair)
                    inputs[name] = anchors[policy]
                histories[fit.result].append(self._optimise_stage(t, fit, inputs))
        return histories["policy"]

    def head_to_head(self, t: int, policy: Node) -> Stage | None:
        """Return the stage in which what iteration t made plays what went before; None: not asked.

        No policy depends on it.
        """
        spec = self.spec
        if t == 0 or not spec.head_to_head_prompts or not isinstance(policy, Stage):
            return None
        pair = policy.inputs["pair"]
        assert isinstance(pair, Stage)
        generate = pair.inputs["generate"]
        assert isinstance(generate, Stage)
        config: dict[str, Any] = {"engine": spec.engine, "sampling": spec.sampling}
        config |= {
            "oracle": spec.oracle,
            "head_to_head_prompts": spec.head_to_head_prompts,
            "seed": spec.seed,
            "t": t,
        }
        inputs = {"policy": policy, "generate": generate, "prompts": generate.inputs["prompts"]}
        size = f"{spec.head_to_head_prompts} × 1 responses and comparisons"
        accelerators = max(accelerators_needed(spec.engine), accelerators_needed(spec.oracle))
        return self._stage("head-to-head", t, config, inputs, size, accelerators)

    def _pair_stage(self, t: int, policy: Node) -> Stage:
        spec = self.spec
        prompts = self._stage("prompts", t, {"prompts": spec.prompts, "t": t}, {})
        generate_config: dict[str, Any] = {"engine": spec.engine, "sampling": spec.sampling}
        generate_config |= {"samples": spec.samples, "seed": spec.seed, "t": t}
        inputs: dict[str, Node] = {"policy": policy, "prompts": prompts}
        size = f"{self._prompt_count()} × {spec.samples} responses"
        generate = self._stage(
            "generate", t, generate_config, inputs, size, accelerators_needed(spec.engine)
        )
        compare_config = {
            "oracle": spec.oracle,
            "pairing": spec.pairing,
            "truncated": spec.keep_truncated,
        }
        compare_inputs: dict[str, Node] = {"prompts": prompts, "generate": generate}
        size = (
            f"{self._prompt_count()} × {comparison_count(spec.pairing, spec.samples)} comparisons"
        )
        compare = self._stage(
            "compare", t, compare_config, compare_inputs, size, accelerators_needed(spec.oracle)
        )
        pair_config = {"pairing": spec.pairing, "max_length": spec.max_length}
        pair_config |= {"truncated": spec.keep_truncated}
        if spec.head_to_head_prompts:
            pair_config |= {
                "head_to_head_prompts": spec.head_to_head_prompts,
                "seed": spec.seed,
                "t": t,
            }
        return self._stage("pair", t, pair_config, {"generate": generate, "compare": compare})

    def _frozen_policies(
        self, t: int, history: Sequence[Node], policies: Sequence[Node]
    ) -> dict[str, Node]:
        """Return the anchors of a fit by name: `previous` is the last policy of `history`."""
        return fit_anchors(
            self.spec.reference,
            t,
            starts=history,
            policies=policies,
            needed=self.spec.for_iteration(t).objective.anchors,
        )

    def _prompt_count(self) -> str:
        count = self.spec.prompts.count
        return f"{count} prompts" if count is not None else "all prompts of the source"

    def _optimise_stage(self, t: int, fit: Fit, inputs: dict[str, Node]) -> Stage:
        spec = self.spec.for_iteration(t)
        names = ("objective", "optimiser", "dtype", "tolerance", "seed")
        config = {name: getattr(spec, name) for name in names}
        size = f"{spec.optimiser.epochs} epochs, {spec.optimiser.batch} pairs a step"
        if len(spec.fits) > 1:
            size += f", makes {fit.result}"
        processes = spec.optimiser.processes or 1  # where nothing is said, known when it is made
        return self._stage("optimise", t, config, inputs, size, processes)

    def _anchor_stage(self, t: int, name: str, policy: Node, pair: Stage) -> Stage:
        spec = self.spec
        label = f"{spec.method} · iteration {t} · anchor ({name})"
        run_stage = partial(stages.anchor, spec, label.partition(" · ")[2])
        config = {"dtype": spec.dtype}
        inputs: dict[str, Node] = {"policy": policy, "pair": pair}
        arguments = (VERSIONS["anchor"], config, inputs, run_stage, label)
        return Stage("anchor", *arguments, device=True, accelerators=1)

    def _stage(
        self,
        name: str,
        t: int,
        config: dict[str, Any],
        inputs: dict[str, Node],
        size: str = "",
        accelerators: int = 0,
    ) -> Stage:
        run_stage: StageFunction = partial(STAGE_FUNCTIONS[name], self.spec.for_iteration(t), t)
        label = f"{self.spec.method} · iteration {t} · {name}"
        device = name in ("compare", "head-to-head", "generate", "optimise")
        arguments = (identity(config), inputs, run_stage, label, size, device, accelerators)
        return Stage(name, VERSIONS[name], *arguments)


STAGE_FUNCTIONS: dict[str, Callable[..., None]] = {
    "prompts": stages.choose_prompts,
    "generate": stages.generate,
    "compare": stages.compare,
    "pair": stages.pair,
    "optimise": optimise,
    "head-to-head": run_head_to_head,
}


def train(spec: TrainSpec, workspace: Workspace, name: str) -> Run:
    """Make every stage of a method that does not stand yet, and keep the run's record up to date.

    Raises:
        RunExistsError: the name is taken by a run of another configuration.
        MissingDependencyError: a package is missing that a later stage needs.
    """
    config = identity(spec)
    check_same_config(read_run(workspace, name), config)
    for t in range(1, spec.iterations + 1):
        check_packages(spec.for_iteration(t).optimiser)
    paths: list[str] = []
    run = Run(name, spec.method, config, paths, False, installed_versions())
    schedule = Schedule(spec)
    for t, node in enumerate(policies := schedule.policies()):
        paths.append(workspace.stages.materialize(node).path)
        if head_to_head := schedule.head_to_head(t, node):
            workspace.stages.materialize(head_to_head)
        run = Run(
            name, spec.method, config, paths, len(paths) == len(policies), installed_versions()
        )
        write_run(workspace, run)
    return run


def plan(spec: TrainSpec, workspace: Workspace) -> list[tuple[Stage, Path | None]]:
    """List a method's stages in order, each with its directory if it stands."""
    schedule = Schedule(spec)
    policies = schedule.policies()
    head_to_heads = [schedule.head_to_head(t, node) for t, node in enumerate(policies)]
    targets = [node for node in (*head_to_heads, policies[-1]) if node is not None]
    return list(
        {stage: path for node in targets for stage, path in workspace.stages.plan(node)}.items()
    )


def check_same_config(recorded: Run | None, config: dict[str, Any]) -> None:
    """Refuse to continue a run under another configuration."""
    if recorded is None:
        return
    old, new = _flat(recorded.config), _flat(config)
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if changed:
        shown = ", ".join(f"{k}: {old.get(k)!r} → {new.get(k)!r}" for k in changed[:3])
        raise RunExistsError(
            f"run {recorded.name!r} was made with another configuration ({shown}"
            f"{', ...' if len(changed) > 3 else ''}); choose another name with --name"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flattened: dict[str, Any] = {}
    for key, inner in value.items():
        flattened |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return flattened
