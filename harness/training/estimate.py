"""What a method costs, before anything runs: comparisons, tokens, memory per GPU, hours.

The estimates follow rules of thumb, each stated beside its constant. The lengths of prompts and
responses are assumptions, reported with the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from harness.core.config import Component
from harness.core.hardware import ModelShape
from harness.errors import PolicyError
from harness.protocols import HasModelShape, PromptSource, TokenEstimator
from harness.training import lora
from harness.training.optimisers import OptimiserSettings
from harness.training.sources import FilePrompts
from harness.training.spec import TrainSpec
from harness.training.workload import IterationLoad, count_pairs, iteration_loads

MASTER_BYTES = GRADIENT_BYTES = 4
"""Bytes per parameter: float32."""
OPTIMISER_STATE_BYTES = {"adamw": 2 * 4.0, "adamw-8bit": 2 * (1 + 4 / 256), "rmsprop": 4.0}
"""Bytes per trained parameter: two moments, or one for RMSprop. An 8-bit block of 256 has a float32
scale (arXiv 2110.02861, section 2.1)."""
PROMPT_TOKENS, RESPONSE_TOKENS = 200, 400
"""Mean tokens of a prompt and of a response; chosen here, between UltraFeedback's medians (121 and
288) and the longer answers of trained policies."""
FORWARD_FLOPS, BACKWARD_FLOPS = 2, 4
"""Operations per parameter and token: a multiplication and an addition; twice as many in the
backward pass, for the gradients of the inputs and of the weights."""
FROZEN_BACKWARD_FLOPS = 2
"""The backward pass through frozen weights computes gradients of the inputs only."""
GB = 1e9
HUB_BYTES = 2
"""Bytes per parameter on the hub: bfloat16."""
CHARACTERS_PER_TOKEN = 4
"""Of a file's prompts; a guess for English text."""
ADAPTERS = {"rank": 16}
"""Low-rank adapters that are tried where a training does not fit."""
MORE_GPUS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of GPUs that are tried where a training does not fit."""


class GPU(Component):
    """An accelerator and the share of its peak that each kind of work reaches."""

    name: str
    memory: float = Field(gt=0)
    """GB."""
    teraflops: float = Field(gt=0)
    """Peak in bfloat16, in 10¹² operations per second."""
    training_utilization: float = Field(gt=0, le=1)
    forward_utilization: float = Field(gt=0, le=1)
    generation_utilization: float = Field(gt=0, le=1)
    dollars: float | None = Field(None, ge=0)
    """Price of one GPU hour; None: not known."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """What all stages of one kind cost together."""

    stage: str
    count: int
    """The number of units, e.g. responses."""
    unit: str
    tokens: int
    hours: float | None
    """Hours on all GPUs; None if the model's size is not known, or a server does the work."""


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What a method costs."""

    gpus: str
    stages: tuple[StageCost, ...]
    comparisons_per_prompt: int
    state_gb: float | None
    """Weights, gradients and optimiser states on each GPU, in GB."""
    activations_gb: float | None
    """A micro-batch's activations and an unsharded layer on each GPU, in GB."""
    memory_gb: float
    """The memory of one GPU, in GB."""
    host_gb: float
    """CPU memory for what `optimiser.offload` keeps there, on all machines together, in GB."""
    disk_gb: float | None
    """Policies and checkpoints in the workspace, in GB; the samples are small beside them."""
    download_gb: float
    """Weights of hub ids, in bfloat16, in GB, unless they are in the cache already."""
    dollars_per_hour: float | None
    """Price of an hour of all GPUs, in dollars; None: not known."""
    assumptions: tuple[str, ...]

    @property
    def hours(self) -> float:
        """The sum over the stages whose hours are known."""
        return sum(stage.hours or 0.0 for stage in self.stages)

    @property
    def dollars(self) -> float | None:
        """The price of those hours; None if a GPU's price is not known."""
        return None if self.dollars_per_hour is None else self.hours * self.dollars_per_hour


def estimate_training(spec: TrainSpec, gpu: GPU, gpus: int) -> TrainingCost | None:
    """Return what a method costs on a number of GPUs; None if its prompts cannot be counted."""
    prompts, prompt_tokens = measured_prompts(spec.prompts)
    loads = iteration_loads(spec, prompts, count_pairs(spec.pairs))
    if loads is None:
        return None
    policy = model_shape(spec.policy)
    state = state_bytes(policy, spec.optimiser) / GB if policy else None
    offload = spec.optimiser.offload
    return TrainingCost(
        gpus=f"{gpus} × {gpu.name}",
        stages=(
            generation_cost(spec, loads, policy, gpu, gpus),
            comparison_cost(spec, loads, gpu, gpus, prompt_tokens),
            *fit_costs(spec, loads, policy, gpu, gpus, prompt_tokens),
        ),
        comparisons_per_prompt=max(load.comparisons for load in loads),
        state_gb=None if state is None else 0.0 if offload else state / gpus,
        activations_gb=activation_bytes(policy, spec) / GB if policy else None,
        memory_gb=gpu.memory,
        host_gb=state or 0.0 if offload else 0.0,
        disk_gb=disk_bytes(spec, policy) / GB if policy else None,
        download_gb=download_bytes(spec, policy) / GB,
        dollars_per_hour=None if gpu.dollars is None else gpus * gpu.dollars,
        assumptions=(
            f"{prompt_tokens} tokens a prompt, {response_tokens(spec)} a response",
            f"{gpu.training_utilization:.0%} of {gpu.teraflops:g} teraflops in training, "
            f"{gpu.forward_utilization:.0%} in forward passes, "
            f"{gpu.generation_utilization:.0%} in generation",
        ),
    )


def measured_prompts(source: PromptSource) -> tuple[int | None, int]:
    """Return the prompts of an iteration and their mean tokens, of a file as they are in it."""
    if not isinstance(source, FilePrompts):
        return source.count, PROMPT_TOKENS
    prompts = source.prompts(1)
    characters = sum(len(m.content) for prompt in prompts for m in prompt.messages)
    return len(prompts), max(1, round(characters / CHARACTERS_PER_TOKEN / len(prompts)))


def disk_bytes(spec: TrainSpec, policy: ModelShape) -> float:
    """Return the bytes of the policies of all fits in float32, and of a training's checkpoints."""
    policies = MASTER_BYTES * policy.parameters * spec.iterations * len(spec.fits)
    return policies + spec.optimiser.checkpoints * state_bytes(policy, spec.optimiser)


def download_bytes(spec: TrainSpec, policy: ModelShape | None) -> float:
    """Return the bytes of the weights that a hub id stands for: the policy's and the oracle's."""
    shapes = [policy] if getattr(spec.policy, "path", "").count("/") == 1 else []
    oracle = spec.oracle.sizes() if isinstance(spec.oracle, HasModelShape) else None
    return sum(HUB_BYTES * shape.parameters for shape in (*shapes, oracle) if shape)


def check_fit(spec: TrainSpec, gpu: GPU, gpus: int) -> None:
    """Check that a training fits the memory of its GPUs.

    Raises:
        PolicyError: it does not; the message names the settings that would fit.
    """
    policy = model_shape(spec.policy)
    if policy is None or training_bytes(policy, spec, gpus) <= gpu.memory * GB:
        return
    remedies = [name for name, changed in _cheaper(spec) if _fits(policy, changed, gpu, gpus)]
    enough = next((n for n in MORE_GPUS if n > gpus and _fits(policy, spec, gpu, n)), None)
    remedies += [f"--gpus {enough}"] if enough else []
    needed = training_bytes(policy, spec, gpus) / GB
    raise PolicyError(
        f"the training does not fit: it takes {needed:.1f} GB a GPU, and {gpus} × {gpu.name} have "
        f"{gpu.memory:g} GB each; "
        + (f"it would fit with {' or '.join(remedies)}" if remedies else "take a smaller policy")
    )


def training_bytes(policy: ModelShape, spec: TrainSpec, gpus: int) -> float:
    """Return the bytes that training takes on one of several GPUs."""
    state = 0.0 if spec.optimiser.offload else state_bytes(policy, spec.optimiser) / gpus
    return state + activation_bytes(policy, spec)


def _fits(policy: ModelShape, spec: TrainSpec, gpu: GPU, gpus: int) -> bool:
    return training_bytes(policy, spec, gpus) <= gpu.memory * GB


def _cheaper(spec: TrainSpec) -> Iterator[tuple[str, TrainSpec]]:
    """Yield settings that take less memory, each as options of the command line."""
    micro_tokens = 2 * spec.max_length
    recompute, small = {"gradient_checkpointing": True}, {"micro_tokens": micro_tokens}
    offload, adapters = {"offload": True}, {"lora": lora.Lora.model_validate(ADAPTERS)}
    for change in (
        recompute,
        small,
        offload,
        recompute | small,
        recompute | small | adapters,
        recompute | small | offload,
    ):
        settings = spec.optimiser.model_copy(update=change)
        options = " ".join(map(_option, change.items()))
        yield options, spec.model_copy(update={"optimiser": settings})


def _option(change: tuple[str, Any]) -> str:
    name, value = change
    if name == "lora":
        return f"--set 'optimiser.lora={{rank: {ADAPTERS['rank']}}}'"
    return f"--set optimiser.{name}={str(value).lower()}"


def model_shape(component: object) -> ModelShape | None:
    """Return the sizes of a component's model, or None if it has none or they are not known."""
    return component.sizes() if isinstance(component, HasModelShape) else None


def response_tokens(spec: TrainSpec) -> int:
    """Return the assumed mean length of a response, in tokens."""
    return min(RESPONSE_TOKENS, spec.sampling.max_tokens)


def generation_cost(
    spec: TrainSpec,
    loads: Sequence[IterationLoad],
    policy: ModelShape | None,
    gpu: GPU,
    gpus: int,
) -> StageCost:
    """Return the cost of sampling K responses a prompt, in every iteration."""
    count = sum(load.prompts * load.samples for load in loads)
    tokens = count * response_tokens(spec)
    flops = FORWARD_FLOPS * policy.parameters * tokens if policy else None
    return StageCost(
        "generate",
        count,
        "responses",
        tokens,
        wall_clock_hours(flops, gpu.generation_utilization, gpu, gpus),
    )


def comparison_cost(
    spec: TrainSpec,
    loads: Sequence[IterationLoad],
    gpu: GPU,
    gpus: int,
    prompt_tokens: int = PROMPT_TOKENS,
) -> StageCost:
    """Return the cost of comparing; a rule takes no tokens, and a judge runs elsewhere."""
    count = sum(load.prompts * load.comparisons for load in loads)
    tokens, flops = 0, None
    if isinstance(spec.oracle, TokenEstimator):
        lengths = (prompt_tokens, response_tokens(spec))
        tokens = sum(
            load.prompts * spec.oracle.tokens(*lengths, load.players, load.comparisons)
            for load in loads
            if load.comparisons
        )
        oracle_shape = spec.oracle.sizes()
        flops = FORWARD_FLOPS * oracle_shape.parameters * tokens if oracle_shape else None
    wall_clock = wall_clock_hours(flops, gpu.forward_utilization, gpu, gpus)
    return StageCost("compare", count, "comparisons", tokens, wall_clock)


def fit_costs(
    spec: TrainSpec,
    loads: Sequence[IterationLoad],
    policy: ModelShape | None,
    gpu: GPU,
    gpus: int,
    prompt_tokens: int = PROMPT_TOKENS,
) -> tuple[StageCost, StageCost]:
    """Return the costs of anchors and of optimising; a pair's prompt is processed once."""
    pairs = sum(load.pairs for load in loads)
    tokens = pairs * (prompt_tokens + 2 * response_tokens(spec))
    anchor_tokens = tokens * len({"previous", *spec.objective.anchors}) * len(spec.fits)
    trained_tokens = tokens * spec.optimiser.epochs * len(spec.fits)
    anchor_flops = FORWARD_FLOPS * policy.parameters * anchor_tokens if policy else None
    training_flops = flops_per_token(policy, spec.optimiser) * trained_tokens if policy else None
    return (
        StageCost(
            "anchor",
            pairs,
            "pairs",
            anchor_tokens,
            wall_clock_hours(anchor_flops, gpu.forward_utilization, gpu, gpus),
        ),
        StageCost(
            "optimise",
            pairs,
            "pairs",
            trained_tokens,
            wall_clock_hours(training_flops, gpu.training_utilization, gpu, gpus),
        ),
    )


def flops_per_token(policy: ModelShape, settings: OptimiserSettings) -> int:
    """Return the operations that training takes per token."""
    forward = (2 if settings.gradient_checkpointing else 1) * FORWARD_FLOPS
    trained = trained_parameters(policy, settings)
    frozen = policy.parameters if settings.lora else 0
    return (forward + BACKWARD_FLOPS) * trained + (forward + FROZEN_BACKWARD_FLOPS) * frozen


def wall_clock_hours(flops: float | None, utilization: float, gpu: GPU, gpus: int) -> float | None:
    """Return the hours that a number of operations takes on all GPUs."""
    if flops is None:
        return None
    return flops / (utilization * gpu.teraflops * 1e12 * gpus) / 3600


def trained_parameters(shape: ModelShape, settings: OptimiserSettings) -> int:
    """Return the number of trained parameters: those of the adapters if there are any, or all."""
    return lora.adapter_parameters(shape, settings.lora) if settings.lora else shape.parameters


def state_bytes(shape: ModelShape, settings: OptimiserSettings) -> float:
    """Return the bytes of weights, gradients and optimiser states on all GPUs together.

    Frozen weights are float32 like trained ones, without gradients or optimiser states.
    """
    frozen = shape.parameters if settings.lora else 0
    bytes_per_parameter = MASTER_BYTES + GRADIENT_BYTES + OPTIMISER_STATE_BYTES[settings.algorithm]
    return MASTER_BYTES * frozen + bytes_per_parameter * trained_parameters(shape, settings)


def activation_bytes(shape: ModelShape, spec: TrainSpec) -> float:
    """Return the bytes of a micro-batch's activations in bfloat16, with unsharded weights.

    A layer keeps about 8 × hidden + 4 × intermediate values a token, or with gradient checkpointing
    its input alone, the rest recomputed a layer at a time. In addition two layers are unsharded at
    once (the next one is prefetched), and so are the embedding and the head; 512 rows of logits are
    in float32, with their gradient.
    """
    tokens = max(spec.optimiser.micro_tokens, 2 * spec.max_length)
    layer = 8 * shape.hidden + 4 * shape.intermediate
    recompute = spec.optimiser.gradient_checkpointing
    values_per_token = shape.layers * shape.hidden + layer if recompute else shape.layers * layer
    full_weights = 2 * (2 * shape.layer_parameters + 2 * shape.vocabulary * shape.hidden)
    logits = 2 * 4 * 512 * shape.vocabulary
    return 2 * tokens * values_per_token + full_weights + logits
