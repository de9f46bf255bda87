"""What a method costs before anything is run: comparisons, tokens, memory a GPU, hours.

Rules of thumb, each named where it stands. Lengths are assumptions, told with the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from harness.config import Component
from harness.shape import Priced, Shape, Shaped
from harness.training.footprint import activations, state, trained
from harness.training.optimisers import Optimiser
from harness.training.pairing import BestWorst, MaxRandom, Tournament, comparisons
from harness.training.spec import TrainSpec

PROMPT, RESPONSE = 200, 400
"""Mean tokens of a prompt and of a response; chosen here, between UltraFeedback's medians (121 and
288) and the longer answers of trained policies."""
FORWARD, BACKWARD = 2, 4
"""Operations a parameter and token: a multiplication and a sum; twice as many backwards, for the
gradients of what went in and of the weights."""
FROZEN = 2
"""Backwards where the weights are frozen: what went in has a gradient, they have none."""
GB = 1e9


class GPU(Component):
    """An accelerator and how much of it is used."""

    name: str
    memory: float = Field(gt=0)
    """GB."""
    teraflops: float = Field(gt=0)
    """Peak in bfloat16, 10¹² operations a second."""
    training: float = Field(gt=0, le=1)
    reading: float = Field(gt=0, le=1)
    generating: float = Field(gt=0, le=1)
    dollars: float | None = Field(None, ge=0)
    """What an hour of one costs; None: not known."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """What all stages of one kind cost together."""

    stage: str
    count: int
    """How many `what`."""
    what: str
    tokens: int
    hours: float | None
    """On all GPUs; None where a model's size is not known, or somebody else computes."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a method costs."""

    gpus: str
    stages: tuple[StageCost, ...]
    comparisons_per_prompt: int
    state_gb: float | None
    """Weights, gradients and moments on each GPU, in GB."""
    activations_gb: float | None
    """What a micro-batch keeps on a GPU for its gradient, and a layer made whole, in GB."""
    memory_gb: float
    """What a GPU has, in GB."""
    hourly: float | None
    """Dollars for an hour of all GPUs; None: not known."""
    assumptions: tuple[str, ...]

    @property
    def hours(self) -> float:
        """The hours of all stages of which they are known."""
        return sum(stage.hours or 0.0 for stage in self.stages)

    @property
    def dollars(self) -> float | None:
        """What those hours cost; None where no price is known."""
        return None if self.hourly is None else self.hours * self.hourly


def estimate(spec: TrainSpec, gpu: GPU, gpus: int) -> Cost | None:
    """Return what a method costs on so many GPUs; None where prompts are not counted beforehand."""
    if spec.prompts.count is None:
        return None
    policy = sizes(spec.policy)
    return Cost(
        gpus=f"{gpus} × {gpu.name}",
        stages=(
            generation(spec, spec.prompts.count, policy, gpu, gpus),
            labelling(spec, spec.prompts.count, gpu, gpus),
            *fitting(spec, spec.prompts.count, policy, gpu, gpus),
        ),
        comparisons_per_prompt=comparisons(spec.pairing, spec.samples),
        state_gb=state(policy, spec.optimiser) / gpus / GB if policy else None,
        activations_gb=activations(policy, spec) / GB if policy else None,
        memory_gb=gpu.memory,
        hourly=None if gpu.dollars is None else gpus * gpu.dollars,
        assumptions=(
            f"{PROMPT} tokens a prompt, {response(spec)} a response",
            f"{gpu.training:.0%} of {gpu.teraflops:g} teraflops in training, "
            f"{gpu.reading:.0%} in reading, {gpu.generating:.0%} in generating",
        ),
    )


def sizes(component: object) -> Shape | None:
    """Return how large a component's model is, where it can tell."""
    return component.sizes() if isinstance(component, Shaped) else None


def response(spec: TrainSpec) -> int:
    """Return the mean length that is assumed of a response, in tokens."""
    return min(RESPONSE, spec.sampling.max_tokens)


def generation(
    spec: TrainSpec, prompts: int, policy: Shape | None, gpu: GPU, gpus: int
) -> StageCost:
    """Return what sampling costs: K responses a prompt, every iteration."""
    count = spec.iterations * prompts * spec.samples
    tokens = count * response(spec)
    work = FORWARD * policy.parameters * tokens if policy else None
    return StageCost("generate", count, "responses", tokens, hours(work, gpu.generating, gpu, gpus))


def labelling(spec: TrainSpec, prompts: int, gpu: GPU, gpus: int) -> StageCost:
    """Return what comparing costs; a rule reads nothing, and a judge computes elsewhere."""
    each = comparisons(spec.pairing, spec.samples)
    times = spec.iterations * prompts
    tokens, work = 0, None
    if isinstance(spec.oracle, Priced):
        tokens = times * spec.oracle.tokens(PROMPT, response(spec), spec.samples, each)
        oracle = spec.oracle.sizes()
        work = FORWARD * oracle.parameters * tokens if oracle else None
    spent = hours(work, gpu.reading, gpu, gpus)
    return StageCost("compare", times * each, "comparisons", tokens, spent)


def fitting(
    spec: TrainSpec, prompts: int, policy: Shape | None, gpu: GPU, gpus: int
) -> tuple[StageCost, StageCost]:
    """Return what anchors and optimising cost; a prompt is read once for both of its responses."""
    pairs = spec.iterations * prompts * pairs_per_prompt(spec)
    tokens = pairs * (PROMPT + 2 * response(spec))
    anchors = tokens * len({"previous", *spec.objective.anchors}) * len(spec.fits)
    learnt = tokens * spec.optimiser.epochs * len(spec.fits)
    read = FORWARD * policy.parameters * anchors if policy else None
    fitted = operations(policy, spec.optimiser) * learnt if policy else None
    return (
        StageCost("anchor", pairs, "pairs", anchors, hours(read, gpu.reading, gpu, gpus)),
        StageCost("optimise", pairs, "pairs", learnt, hours(fitted, gpu.training, gpu, gpus)),
    )


def operations(policy: Shape, settings: Optimiser) -> int:
    """Return the operations that training on a token takes."""
    forward = (2 if settings.gradient_checkpointing else 1) * FORWARD
    learning = trained(policy, settings)
    frozen = policy.parameters if settings.lora else 0
    return (forward + BACKWARD) * learning + (forward + FROZEN) * frozen


def pairs_per_prompt(spec: TrainSpec) -> int:
    """Return how many pairs a prompt gives at most."""
    match spec.pairing:
        case Tournament() | BestWorst() | MaxRandom():
            return 1
        case _:
            return comparisons(spec.pairing, spec.samples)


def hours(work: float | None, share: float, gpu: GPU, gpus: int) -> float | None:
    """Return how long so many operations take on all GPUs."""
    if work is None:
        return None
    return work / (share * gpu.teraflops * 1e12 * gpus) / 3600
