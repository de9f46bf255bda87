"""A policy's part of a rehearsal: score, take a step, save and read back, on a few made-up pairs.

It runs the code of the anchor and optimise stages, on their device and in their dtype. On GPUs as
many processes take part as in the training; on a CPU one does, where memory is no question.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.core.hardware import default_device
from harness.core.hub import (
    configured_context_length,
    end_token_ids,
    load_model,
    load_tokenizer,
    render_conversation,
    save_policy,
)
from harness.core.io import write_atomically
from harness.core.jobs import GroupJob
from harness.core.seeds import canonical_json
from harness.core.stages import scratch_directory
from harness.errors import CheckError, HarnessError, PolicyError, first_line
from harness.scoring import packing
from harness.scoring.scorer import PROBED_TOKENS, Scorer, check_architecture, round_weights
from harness.training import reference_logps
from harness.training.distributed import World, full_tensor, reshard
from harness.training.model import TrainingModel, load_start_model
from harness.training.optimisation import training_group
from harness.training.optimisers import build_optimiser
from harness.training.rehearsal.prompts import QUESTION, TrainingData, read_data
from harness.training.rehearsal.weights import check_finite, check_vocabulary
from harness.training.spec import TrainSpec
from harness.training.trainer import MemoryGuard, is_out_of_memory
from harness.types import Advance, Pair, Policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOGGER = logging.getLogger(__name__)
PAIRS, PROMPT_TOKENS, RESPONSE_TOKENS = 4, 64, 8
"""Pairs that are made up, and the most tokens of their prompts and responses."""
STEP_NATS = 1.0
"""How much the step lowers the loss to first order, in nats: enough to show in the policy."""
MAX_STEP = 0.01
"""The largest step, as a share of the norm of what is trained."""
SAVED_NATS = {"float32": 1e-3, "bfloat16": 0.05}
"""The largest difference between the trained policy and the one that is read back."""
MERGED_SHARE = 0.01
"""The same for adapters in bfloat16, which are rounded otherwise once they are merged, as a share
of the log-probability."""
REPORT = "policy.json"
MODEL_ERRORS = (TypeError, ValueError, AttributeError, LookupError, RuntimeError)


@dataclass(frozen=True)
class TrainedStep:
    """A policy before and after one step."""

    start: Tensor
    """Log-probabilities before, in nats, shape (pairs, 2)."""
    end: Tensor
    """The same after."""
    gradient_norm: float
    trained_parameters: int
    model: PreTrainedModel
    """Whole in the main process, adapters merged."""


def rehearse_policy(
    spec: TrainSpec, out: Path, inputs: Mapping[str, str], advance: Advance
) -> dict[str, Any]:
    """Try a policy on a few pairs, in this process or in a group of several.

    Returns:
        `first_step_difference` and `saved_difference`, in nats: the policy in training and the
        frozen one, the trained policy and the one read back; `gradient_norm`; the numbers of
        `parameters` and of `trained_parameters`.

    Raises:
        PolicyError: its weights, tokenizer, template or adapters cannot be used, or what is saved
            is not what was trained.
        CheckError: the policy in training differs from the frozen one, or has no finite gradient.
        HarnessError: a micro-batch does not fit the device's memory.
    """
    scratch = scratch_directory(out)
    payload = {"spec": spec, "scratch": scratch, "inputs": inputs}
    scratch.mkdir(parents=True, exist_ok=True)
    if (processes := process_count(spec)) == 1:
        rehearse_process(payload)
    else:
        spec.launcher.run_group(GroupJob(rehearse_process, payload, scratch), processes)
    report: dict[str, Any] = json.loads((scratch / REPORT).read_text())
    return report


def process_count(spec: TrainSpec) -> int:
    """Return how many processes rehearse: those of the training, but one where no GPU is known."""
    wanted = spec.optimiser.processes
    if wanted == 1 or (provided := spec.launcher.processes()) == 1:
        return 1
    return wanted or provided


def rehearse_process(payload: Mapping[str, Any]) -> None:
    """Try a policy as one process of a group, or alone; the first one writes the report."""
    spec, scratch, inputs = payload["spec"], Path(payload["scratch"]), payload["inputs"]
    policy = spec.policy.with_weights(inputs["start"])
    data = read_data(inputs)
    pairs = made_up_pairs(spec, policy, data)
    with training_group(spec), explained(policy):
        frozen = None
        if World.current().is_main:
            frozen = logps(frozen_scorer(spec, policy, data), pairs)
        step = train_step(spec, policy, pairs, frozen)
        if World.current().is_main:
            saved = check_saved(spec, policy, pairs, step, scratch / "policy")
            report = {
                "first_step_difference": largest_difference(step.start, frozen),
                "saved_difference": saved,
                "gradient_norm": step.gradient_norm,
                "parameters": sum(p.numel() for p in step.model.parameters()),
                "trained_parameters": step.trained_parameters,
            }
            write_atomically(scratch / REPORT, canonical_json(report))


@contextmanager
def explained(policy: Policy) -> Iterator[None]:
    """Turn what a model's own code raises in the context into an error that names the policy.

    Raises:
        PolicyError: its code cannot do what training needs.
        HarnessError: the device's memory is too small.
    """
    try:
        yield
    except MODEL_ERRORS as error:
        LOGGER.debug("the rehearsal failed", exc_info=True)
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise HarnessError(
                f"out of memory in the rehearsal: {policy.path} does not fit; see which settings "
                "would with --dry-run"
            ) from error
        raise PolicyError(
            f"{policy.path} cannot be trained: its rehearsal failed with "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


def made_up_pairs(spec: TrainSpec, policy: Policy, data: TrainingData) -> list[Pair]:
    """Return pairs whose responses are tokens of their prompts, with an end of the turn.

    Raises:
        PolicyError: the chat template refuses a prompt, or no token ends a turn.
    """
    tokenizer = load_tokenizer(policy)
    ends = end_token_ids(tokenizer, policy)
    if not ends:
        raise PolicyError(
            f"no token ends a turn of {policy.path}: its tokenizer, configurations and chat "
            "template name none; name it with --set 'policy.end_tokens=[TOKEN]'"
        )
    context = configured_context_length(policy) or spec.max_length
    limit = max(4, min(context, spec.max_length))
    response = min(RESPONSE_TOKENS, limit // 4)
    prompt = min(PROMPT_TOKENS, limit - response - 1)
    rows = [ids[-prompt:] for ids in data.few_prompts(tokenizer, PAIRS)]
    return [_pair(str(n), tuple(ids), response, ends[0]) for n, ids in enumerate(rows)]


def _pair(name: str, ids: tuple[int, ...], response_tokens: int, end: int) -> Pair:
    chosen = ids[:response_tokens]
    return Pair(name, ids, (*chosen, end), (*chosen[:0:-1], end), 0.9)


def frozen_scorer(spec: TrainSpec, policy: Policy, data: TrainingData) -> Scorer:
    """Return the scorer of a frozen policy, whose weights and architecture are checked first.

    Raises:
        PolicyError: they cannot be used.
    """
    model = load_model(policy, torch.float32, default_device())
    check_finite(policy, model)
    tokenizer = load_tokenizer(policy)
    check_vocabulary(policy, tokenizer, model, data.rows(tokenizer))
    check_architecture(model, max(PROBED_TOKENS, spec.max_length))
    return Scorer(round_weights(model, spec.dtype))


def logps(scorer: Scorer, pairs: Sequence[Pair]) -> Tensor:
    """Return log-probabilities of the pairs, in nats, shape (pairs, 2), without a gradient."""
    with torch.no_grad():
        return score(scorer, pairs).cpu()


def score(scorer: Scorer, pairs: Sequence[Pair]) -> Tensor:
    """Return log-probabilities of the pairs in one pack, in nats, shape (pairs, 2)."""
    sums: Tensor = scorer(packing.pack([reference_logps.pair_row(pair) for pair in pairs]))
    return sums.view(-1, 2)


def train_step(
    spec: TrainSpec, policy: Policy, pairs: Sequence[Pair], frozen: Tensor | None
) -> TrainedStep:
    """Take one step that raises chosen above rejected responses.

    Args:
        spec: the method.
        policy: the weights to start from.
        pairs: what is trained on.
        frozen: the frozen policy's log-probabilities of them; None in all but the main process.

    Raises:
        CheckError: the policy in training differs from the frozen one, or its gradient is not
            finite, or 0.
    """
    model = TrainingModel(load_start_model(policy), spec.optimiser)
    scorer = model.scorer(spec.dtype)
    start = logps(scorer, pairs)
    if frozen is not None:
        check_first_step(start, frozen, spec.tolerance)
    build_optimiser(spec.optimiser, reshard(scorer))
    with MemoryGuard().guard(sum(map(reference_logps.longest_sequence, pairs)), len(pairs)):
        chosen, rejected = score(scorer, pairs).unbind(1)
        (rejected - chosen).mean().backward()
    trained = {name: p for name, p in scorer.named_parameters() if p.requires_grad}
    norm = check_gradient(trained, adapters=spec.optimiser.lora is not None)
    descend(list(trained.values()), norm)
    count = sum(p.numel() for p in trained.values())
    return TrainedStep(start, logps(scorer, pairs), norm, count, model.full_model())


def largest_difference(first: Tensor, second: Tensor | None) -> float:
    """Return the largest difference of two tensors of one shape."""
    return 0.0 if second is None else float((first - second).abs().max())


def check_first_step(live: Tensor, frozen: Tensor, tolerance: float) -> None:
    """Check that the policy in training scores as the frozen one does.

    Raises:
        CheckError: it does not.
    """
    allowed = tolerance + reference_logps.rounding_unit(frozen)
    if not bool(((live - frozen).abs() <= allowed).all()):
        raise CheckError(
            f"the policy in training scores {largest_difference(live, frozen):.3g} nats from the "
            f"frozen one (at most {tolerance:g} is allowed): its code has dropout or noise that "
            "evaluation mode does not turn off, or rounds otherwise when it is trained"
        )


def check_gradient(trained: Mapping[str, nn.Parameter], *, adapters: bool) -> float:
    """Check that the gradient is finite and reaches what is trained; return its norm.

    Args:
        trained: the trained parameters by name.
        adapters: whether they are those of low-rank adapters, each of which must have one.

    Raises:
        CheckError: it is not finite or 0, or adapters have none.
    """
    gradients = [p.grad for p in trained.values() if p.grad is not None]
    norm = float(full_tensor(nn.utils.get_total_norm(gradients)))
    if not norm < float("inf"):
        wrong = [name for name, p in trained.items() if not _norm(p) < float("inf")]
        raise CheckError(
            f"the gradient of {_listed(wrong)} is not finite on a few tokens of the prompts: the "
            "policy cannot be trained in this dtype; try another, or another checkpoint"
        )
    silent = [name for name, p in trained.items() if p.grad is None]
    if adapters:
        silent = [n for n, p in trained.items() if "lora_B" in n and not _norm(p)]
        silent = [n for n in silent if "expert" not in n]  # no token may have come to an expert
        if silent:
            raise CheckError(
                f"no gradient reaches the adapters {_listed(silent)}: they would not be trained; "
                "leave these layers out of optimiser.lora.targets"
            )
    if norm == 0:
        raise CheckError("no gradient reaches the policy: training would change nothing")
    if silent:
        LOGGER.warning("no gradient reaches %s: they stay as they are", _listed(silent))
    return norm


def _norm(parameter: nn.Parameter) -> float:
    return 0.0 if parameter.grad is None else float(full_tensor(parameter.grad.norm()))


def _listed(names: Sequence[str], limit: int = 3) -> str:
    shown = ", ".join(name.removeprefix("model.") for name in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


@torch.no_grad()
def descend(parameters: Sequence[nn.Parameter], norm: float) -> None:
    """Move parameters against their gradient, by a step that shows but breaks nothing."""
    weights = float(full_tensor(nn.utils.get_total_norm(parameters)))
    length = min(STEP_NATS / norm, MAX_STEP * weights)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.add_(parameter.grad, alpha=-length / norm)
            parameter.grad = None


def check_saved(
    spec: TrainSpec, policy: Policy, pairs: Sequence[Pair], step: TrainedStep, folder: Path
) -> float:
    """Save the trained policy, read it back, and return the largest difference in nats.

    Raises:
        PolicyError: what is read back is not the policy that was trained.
        OSError: the disk is full or read-only.
    """
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = load_tokenizer(policy)
    save_policy(step.model, tokenizer, folder, policy)
    saved = spec.policy.with_weights(str(folder))
    model = load_model(saved, torch.float32, default_device())
    differences = (logps(Scorer(round_weights(model, spec.dtype)), pairs) - step.end).abs()
    allowed = torch.full_like(differences, SAVED_NATS[spec.dtype])
    allowed += reference_logps.rounding_unit(step.end)
    if spec.optimiser.lora and spec.dtype == "bfloat16":
        allowed += MERGED_SHARE * step.end.abs()
    if not bool((differences <= allowed).all()):
        raise PolicyError(
            f"the policy that is saved is not the one that was trained: it scores "
            f"{float(differences.max()):.3g} nats from it; {policy.path} cannot be trained with "
            "these settings (look at optimiser.lora, and at tie_word_embeddings in its config.json)"
        )
    check_saved_tokenizer(tokenizer, load_tokenizer(saved), policy)
    shutil.rmtree(folder)
    return float(differences.max())


def check_saved_tokenizer(
    own: PreTrainedTokenizerBase, saved: PreTrainedTokenizerBase, policy: Policy
) -> None:
    """Check that a tokenizer that was saved renders as before.

    Raises:
        PolicyError: it does not.
    """
    first, second = (render_conversation(t, QUESTION.messages) for t in (own, saved))
    if first != second:
        raise PolicyError(
            f"the tokenizer of {policy.path} renders prompts otherwise once it is saved: "
            f"{first.text!r:.80} becomes {second.text!r:.80}; save it again with this version of "
            "transformers, and name that folder"
        )
