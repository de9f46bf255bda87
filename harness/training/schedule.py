"""The stages of a method: sample → compare → pair → anchor → optimise, T times; and their run."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.config import Component, description, identity
from harness.core.iterations import Fit, fit_anchors
from harness.core.stages import Artifact, Node, Stage
from harness.core.versions import installed_versions
from harness.core.workspace import Run, Workspace, read_run, write_run
from harness.errors import RunExistsError
from harness.protocols import accelerators_needed
from harness.training import rollout
from harness.training.differences import differences
from harness.training.head_to_head import run_head_to_head
from harness.training.optimisation import optimise
from harness.training.optimisers import check_packages
from harness.training.pair_tokens import read_pairs, read_responses
from harness.training.pairing import comparison_count
from harness.training.prompt_selection import context_limit
from harness.training.reference_logps import anchor
from harness.training.rehearsal.room import check_room
from harness.training.rehearsal.stages import Rehearsal, rehearse
from harness.training.run_progress import follow_run
from harness.training.spec import TrainSpec
from harness.types import StageFunction

LOGGER = logging.getLogger(__name__)
VERSIONS = {
    "prompts": 2,
    "generate": 2,  # 2: the template's own end of a turn
    "compare": 2,
    "pair": 3,
    "read-pairs": 1,
    "read-responses": 1,
    "anchor": 3,
    "optimise": 5,
    "head-to-head": 2,
}
"""Raised when a stage would now give another result from the same inputs."""
STAGE_FUNCTIONS: dict[str, Callable[..., None]] = {
    "prompts": rollout.choose_prompts,
    "generate": rollout.generate,
    "compare": rollout.compare,
    "pair": rollout.pair,
    "read-pairs": read_pairs,
    "read-responses": read_responses,
    "optimise": optimise,
    "head-to-head": run_head_to_head,
}
"""What each stage runs; an anchor stage runs `anchor`."""
SAMPLING = "generate"
"""Begins the names of the stages that an engine computes."""
ORACLE_STAGES = frozenset({"compare", "head-to-head"})
DEVICE_STAGES = frozenset({"compare", "generate", "head-to-head", "optimise"})


@dataclass(frozen=True)
class PairStages:
    """The stages that lead to the pairs of an iteration."""

    pair: Stage
    prompts: Stage | None = None
    generate: Stage | None = None
    """π_t's samples; None, as is `prompts`: the pairs are a data set's."""

    @property
    def first(self) -> Stage:
        """The stage that reads what the user has named, before anything is sampled."""
        return self.prompts or self.pair


@dataclass(frozen=True)
class Iteration:
    """The stages of one iteration that others need."""

    pairs: PairStages
    policy: Stage
    """The stage that creates π_{t+1}."""


@dataclass(frozen=True)
class Schedule:
    """Describes the stages of a method; nothing runs while they are built."""

    spec: TrainSpec

    def policies(self) -> list[Node]:
        """Return π_1 … π_{T+1}: where training starts, and the result of each iteration."""
        start = self.spec.policy.weights()
        return [start, *(iteration.policy for iteration in self._iterations(start))]

    def targets(self) -> list[list[Node]]:
        """Return, by iteration from 0, the policy and what is needed beside it.

        With the start go the prompts of all iterations: what is wrong with the last ones is known
        before the first are sampled. Later there is the head-to-head stage, if there is one.
        """
        start = self.spec.policy.weights()
        iterations = self._iterations(start)
        targets: list[list[Node]] = [[start, *(iteration.pairs.first for iteration in iterations)]]
        for t, iteration in enumerate(iterations, 1):
            targets.append([iteration.policy, *self._head_to_head(t, iteration)])
        return targets

    def _iterations(self, start: Node) -> list[Iteration]:
        iterations: list[Iteration] = []
        histories: dict[str, list[Node]] = defaultdict(lambda: [start])
        for t in range(1, self.spec.iterations + 1):
            pairs = self._pair_stages(t, histories["policy"])
            anchors: dict[Node, Stage] = {}
            for fit in self.spec.fits:
                stage = self._optimise_stage(t, fit, pairs.pair, histories, anchors)
                histories[fit.result].append(stage)
            iterations.append(Iteration(pairs, stage))
        return iterations

    def _prompts_stage(self, t: int, start: Node) -> Stage:
        """Return the stage of the prompts, which must fit the tokenizer and context of π_1."""
        limit = context_limit(self.spec.engine)
        if self.spec.data_responses(t):
            config = {**self._data_config(t), "samples": self.spec.samples, "limit": limit}
            return self._stage("read-responses", t, config, {"policy": start}, self._pair_count())
        config = {"prompts": self.spec.prompts, "t": t, "limit": limit}
        return self._stage("prompts", t, config, {"policy": start})

    def _data_config(self, t: int) -> dict[str, Any]:
        """Return what identifies the rows of a data set that iteration t reads."""
        spec = self.spec
        parts = {"part": t, "parts": spec.pair_iterations}
        return {"pairs": spec.pairs, "max_length": spec.max_length, **parts}

    def _pair_stages(self, t: int, policies: Sequence[Node]) -> PairStages:
        """Return the stages up to the pairs: a data set's as they are, or of policies' samples."""
        start = policies[0]
        if self.spec.pairs_mode(t) == "pairs":
            config, inputs = self._data_config(t), {"policy": start}
            return PairStages(self._stage("read-pairs", t, config, inputs, self._pair_count()))
        prompts = self._prompts_stage(t, start)
        sampled = {
            rollout.sampler_input(name): self._generate_stage(t, prompts, name, policies)
            for name in self.spec.sample_from
        }
        pair = self._decided_pairs(t, prompts, sampled)
        return PairStages(pair, prompts, sampled["generate"])

    def _generate_stage(
        self, t: int, prompts: Stage, sampler: str, policies: Sequence[Node]
    ) -> Stage:
        """Return the stage of one policy's share of the samples; `policies` are π_1 … π_t."""
        spec = self.spec
        config = {"engine": spec.engine, "sampling": spec.sampling, "seed": spec.seed, "t": t}
        size = f"{self._prompt_count(t)} × {spec.share} responses"
        if len(spec.sample_from) == 1:
            config["samples"] = spec.samples
        else:
            config |= {"sampler": sampler, "share": spec.share}
            size += f" of {sampler}"
        return self._stage(
            "generate",
            t,
            config,
            {"policy": self._sampled_policy(sampler, t, policies), "prompts": prompts},
            size,
            accelerators_needed(spec.engine),
            sampler=sampler,
        )

    def _sampled_policy(self, sampler: str, t: int, policies: Sequence[Node]) -> Node:
        if sampler == "policy":
            return policies[-1]
        known = fit_anchors(
            self.spec.reference, t, starts=policies, policies=policies, needed={sampler}
        )
        return known.get(sampler, policies[0])

    def _compare_stage(self, t: int, prompts: Stage, sampled: Mapping[str, Stage]) -> Stage:
        spec = self.spec
        comparisons = comparison_count(spec.pairing, spec.players(t))
        return self._stage(
            "compare",
            t,
            {"oracle": spec.oracle, "pairing": spec.pairing, "truncated": spec.keep_truncated},
            {"prompts": prompts, **sampled},
            f"{self._prompt_count(t)} × {comparisons} comparisons",
            accelerators_needed(spec.oracle),
        )

    def _decided_pairs(self, t: int, prompts: Stage, sampled: Mapping[str, Stage]) -> Stage:
        """Return the stage of the pairs that the oracle decides, or a data set's winners."""
        spec = self.spec
        pair_config: dict[str, Any] = {
            "pairing": spec.pairing,
            "max_length": spec.max_length,
            "truncated": spec.keep_truncated,
        }
        if spec.head_to_head_prompts:
            held_out = {"head_to_head_prompts": spec.head_to_head_prompts}
            pair_config |= held_out | {"seed": spec.seed, "t": t}
        if reads := self._pair_columns(t):
            pair_config["reads"] = reads
        inputs: dict[str, Node] = {**sampled}
        if spec.data_responses(t):
            inputs["prompts"] = prompts
        if spec.asks_oracle(t):
            inputs["compare"] = self._compare_stage(t, prompts, sampled)
        else:
            pair_config["pairs"] = spec.pairs
        return self._stage("pair", t, pair_config, inputs)

    def _pair_columns(self, t: int) -> list[str]:
        """Return what the pairs hold besides, since the objective reads it."""
        spec = self.spec
        has_others = len(spec.sample_from) > 1 or bool(spec.data_responses(t))
        return sorted(spec.reads if has_others else spec.reads - {"samplers"})

    def _optimise_stage(
        self,
        t: int,
        fit: Fit,
        pair: Stage,
        histories: dict[str, list[Node]],
        anchors: dict[Node, Stage],
    ) -> Stage:
        """Return the stage of one fit; `anchors` holds this iteration's, one a frozen policy."""
        spec = self.spec.for_iteration(t)
        frozen = fit_anchors(
            spec.reference,
            t,
            starts=histories[fit.start],
            policies=histories["policy"],
            needed=spec.objective.anchors,
        )
        inputs: dict[str, Node] = {"policy": frozen["previous"], "pair": pair}
        for name, policy in frozen.items():
            if policy not in anchors:
                anchors[policy] = self._anchor_stage(t, name, policy, pair)
            inputs[name] = anchors[policy]
        config = {
            "objective": spec.objective,
            "optimiser": spec.optimiser,
            "dtype": spec.dtype,
            "tolerance": spec.tolerance,
            "seed": spec.seed,
        }
        size = f"{spec.optimiser.epochs} epochs, {spec.optimiser.batch} pairs a step"
        if len(spec.fits) > 1:
            size += f", results in {fit.result}"
        processes = spec.optimiser.processes or 1  # None: the launcher decides when the stage runs
        return self._stage("optimise", t, config, inputs, size, processes)

    def _anchor_stage(self, t: int, name: str, policy: Node, pair: Stage) -> Stage:
        label = f"iteration {t} · anchor ({name})"
        return Stage(
            "anchor",
            VERSIONS["anchor"],
            {"dtype": self.spec.dtype},
            {"policy": policy, "pair": pair},
            partial(anchor, self.spec, label),
            f"{self.spec.method} · {label}",
            device=True,
            accelerators=1,
        )

    def _head_to_head(self, t: int, iteration: Iteration) -> list[Node]:
        """Return the stage that compares π_{t+1} with π_t, if there is one."""
        spec, pairs = self.spec, iteration.pairs
        if not (spec.head_to_head_prompts and pairs.prompts and pairs.generate):
            return []
        inputs: dict[str, Node] = {
            "policy": iteration.policy,
            "generate": pairs.generate,
            "prompts": pairs.prompts,
        }
        config = {
            "engine": spec.engine,
            "sampling": spec.sampling,
            "oracle": spec.oracle,
            "head_to_head_prompts": spec.head_to_head_prompts,
            "seed": spec.seed,
            "t": t,
        }
        stage = self._stage(
            "head-to-head",
            t,
            config,
            inputs,
            f"{spec.head_to_head_prompts} × 1 responses and comparisons",
            max(accelerators_needed(spec.engine), accelerators_needed(spec.oracle)),
        )
        return [stage]

    def _stage(
        self,
        name: str,
        t: int,
        config: dict[str, Any],
        inputs: dict[str, Node],
        size: str = "",
        accelerators: int = 0,
        sampler: str = "policy",
    ) -> Stage:
        spec = self.spec.for_iteration(t)
        run: StageFunction = partial(STAGE_FUNCTIONS[name], spec, t)
        if name == "generate" and len(spec.sample_from) > 1:
            run = partial(rollout.generate_share, spec, t, sampler)
        label = f"{self.spec.method} · iteration {t} · {name}"
        device = name in DEVICE_STAGES
        return Stage(
            name, VERSIONS[name], identity(config), inputs, run, label, size, device, accelerators
        )

    def _pair_count(self) -> str:
        pairs, parts = self.spec.pairs, self.spec.pair_iterations
        count = "all" if pairs is None or pairs.count is None else f"{pairs.count}"
        return f"{count} pairs of the data set" + (f", a part of {parts}" if parts > 1 else "")

    def _prompt_count(self, t: int) -> str:
        if self.spec.data_responses(t):
            return "the data set's prompts"
        count = self.spec.prompts.count
        return f"{count} prompts" if count is not None else "all prompts of the source"


def train(
    spec: TrainSpec,
    workspace: Workspace,
    name: str,
    default_name: str | None = None,
    rehearse: bool = True,
) -> Run:
    """Create every stage of a method that is not cached, updating the run's record after each.

    Args:
        spec: the method.
        workspace: where stages and the run's record are kept.
        name: the run's name.
        default_name: what the run would be called if the user had not named it.
        rehearse: whether all of it is tried on a few tokens first, unless nothing is to be done.

    Raises:
        RunExistsError: the name belongs to a run of another configuration.
        MissingDependencyError: a package that a later stage needs is not installed.
        HarnessError: the rehearsal failed, or a stage.
    """
    config = description(spec)
    check_name_is_free(spec, workspace, name)
    spec = prepared(spec, workspace)
    if rehearse and pending_names(spec, workspace) & DEVICE_STAGES:
        rehearse_stages(spec, workspace)
    progress = follow_run(spec, workspace.stages, plan(spec, workspace))
    stages, artifacts = progress.numbered(), list[Artifact]()
    try:
        for policy, *others in Schedule(spec).targets():
            artifacts.append(stages.materialize(policy))
            for stage in others:
                stages.materialize(stage)
            run = Run(
                name,
                spec.method,
                config,
                policies=[artifact.path for artifact in artifacts],
                complete=len(artifacts) == spec.iterations + 1,
                versions=installed_versions(),
                default_name=default_name,
                digests=[artifact.digest for artifact in artifacts],
            )
            write_run(workspace, run)
    except KeyboardInterrupt:
        LOGGER.info("%s", progress.stopped())
        raise
    return run


def plan(spec: TrainSpec, workspace: Workspace) -> list[tuple[Stage, Path | None]]:
    """List a method's stages in order, each with its directory if it is cached."""
    targets = [target for iteration in Schedule(spec).targets() for target in iteration]
    stages = {stage: path for node in targets for stage, path in workspace.stages.plan(node)}
    return list(stages.items())


def prepared(spec: TrainSpec, workspace: Workspace) -> TrainSpec:
    """Return the method with its files in the workspace; it has what only a look can tell.

    Raises:
        HarnessError: it has not: a package, or an engine's or an oracle's key.
    """
    for t in range(1, spec.iterations + 1):
        check_packages(spec.for_iteration(t).optimiser)
    spec = spec.in_workspace(workspace.root)
    check_engine(spec, workspace)
    check_oracle(spec, workspace)
    return spec


def rehearse_all(spec: TrainSpec, workspace: Workspace) -> Rehearsal:
    """Try a method on a few tokens, after its start and its prompts were created.

    Raises:
        HarnessError: what would fail in the training fails here.
    """
    return rehearse_stages(prepared(spec, workspace), workspace)


def rehearse_stages(spec: TrainSpec, workspace: Workspace) -> Rehearsal:
    """Try a method that was prepared on a few tokens."""
    stages = plan(spec, workspace)
    trainings = sum(path is None and stage.name == "optimise" for stage, path in stages)
    check_room(spec, workspace.root, trainings)
    nodes = Schedule(spec).targets()[0]  # the start, and what each iteration begins with
    for node in nodes:
        workspace.stages.materialize(node)
    asks_oracle = any(stage.name in ORACLE_STAGES for stage, _ in stages)
    return rehearse(spec, workspace, nodes[0], nodes[1:], asks_oracle=asks_oracle)


def check_engine(spec: TrainSpec, workspace: Workspace) -> None:
    """Have the engine say that it cannot sample, before anything is computed for it.

    Raises:
        HarnessError: it cannot: vLLM is not installed, or a server's key is missing.
    """
    samples = any(name.startswith(SAMPLING) for name in pending_names(spec, workspace))
    if samples and isinstance(spec.engine, Component):
        spec.engine.check_ready()


def check_oracle(spec: TrainSpec, workspace: Workspace) -> None:
    """Have the oracle say that it cannot be asked, before anything is sampled for it.

    Raises:
        HarnessError: it cannot: a judge without a key, say.
    """
    if pending_names(spec, workspace) & ORACLE_STAGES and isinstance(spec.oracle, Component):
        spec.oracle.check_ready()


def pending_names(spec: TrainSpec, workspace: Workspace) -> set[str]:
    """Return the names of the stages that are still to be computed."""
    return {stage.name for stage, path in plan(spec, workspace) if path is None}


def check_name_is_free(spec: TrainSpec, workspace: Workspace, name: str) -> None:
    """Refuse a name under which `train` would refuse the method.

    Raises:
        RunExistsError: the name belongs to a run of another configuration.
    """
    check_same_config(read_run(workspace, name), description(spec))


def check_same_config(recorded: Run | None, config: dict[str, Any]) -> None:
    """Refuse to continue a run under another configuration.

    Raises:
        RunExistsError: the run was recorded with another one.
    """
    if recorded is None:
        return
    if changes := differences(recorded.config, config):
        shown = ", ".join(changes[:3])
        raise RunExistsError(
            f"run {recorded.name!r} exists with another configuration ({shown}"
            f"{', ...' if len(changes) > 3 else ''}); choose another name with --name"
        )
