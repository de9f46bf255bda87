"""Whether an engine's samples are the policy's: their log-probabilities lie where its samples' lie.

A token y of a sample of q (the policy at the sampling's temperature and top_p) has
E[exp(λ(−log q(y)))] = Σ_v q(v)^{1−λ}, which the policy's own distribution at that place gives. The
product over all tokens of exp(−λ log q(y)) / Σ_v q(v)^{1−λ} therefore has the expectation 1,
whatever the lengths, and exceeds 10⁶ with a probability of at most 10⁻⁶ (Markov). For small λ its
logarithm is λ times what −log q exceeds the entropy by. The mean over several λ is taken, so that
one far outlier is seen as well as a small excess in every token.

What it sees: another model, another tokenizer or template (the prompt's tokens are compared),
rotary constants or weights that are damaged. What it does not: a policy that differs by less than
about 0.3 nats a token in a thousand tokens, as π_t and π_{t+1} do; so a server must be told which
policy to load.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.core.hardware import default_device
from harness.core.hub import load_model, load_tokenizer, render_conversation
from harness.core.io import write_atomically
from harness.core.jobs import RunShard
from harness.errors import CheckError
from harness.protocols import Sampling
from harness.training import records
from harness.types import Advance, Completion, Policy, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RESPONSES, TOKENS = 48, 96
"""Responses that are looked at, and tokens of each from its beginning."""
RATES = (0.02, 0.05, 0.1, 0.2, 0.5)
"""λ: the small ones see a small excess in many tokens, the large ones a large one in few."""
ALLOWANCE = 0.03
"""Nats a token that a sampler may be off by, since it computes in bfloat16 or in 8 bits."""
FALSE_ALARMS = 1e-6
GREEDY = 0.05
"""The temperature as which greedy decoding counts: its tokens may be the second of a near tie."""
FIGURES = "sample_check.json"
"""The file with them, in the stage's provenance."""


@dataclass(frozen=True, slots=True)
class SampleFit:
    """How samples lie under a policy."""

    responses: int
    tokens: int
    surprise: float
    """The mean of −log q of the sampled tokens, in nats."""
    entropy: float
    """What it is expected to be: the mean of q's entropy at the same places, in nats."""
    too_rare: float
    """log of the evidence that the tokens are rarer than those of the policy; 0: none."""
    too_common: float
    """Likewise that they are likelier."""


@contextmanager
def shard_sample_check(payload: Mapping[str, Any]) -> Iterator[RunShard]:
    """Yield a function that checks some of the samples in the directory `samples`.

    Raises:
        CheckError: they are not the policy's.
    """
    spec, inputs = payload["spec"], payload["inputs"]
    policy = spec.policy.with_weights(inputs["policy"])

    def run_shard(shard: int, out: Path, advance: Advance) -> None:
        prompts = {prompt.id: prompt for prompt in records.read_prompts(inputs["prompts"])}
        by_prompt = records.read_completions(inputs["samples"])
        chosen = choose_samples([c for several in by_prompt.values() for c in several])
        check_prompts(policy, prompts, chosen)
        fit = measure_samples(policy, chosen, spec.sampling)
        check_fit_of_samples(fit, policy, spec.sampling)
        write_atomically(out / FIGURES, json.dumps(asdict(fit)))
        advance(1)

    yield run_shard


def choose_samples(completions: Sequence[Completion]) -> list[Completion]:
    """Return some of the samples that have tokens, from all parts of the prompts.

    Raises:
        CheckError: none has.
    """
    with_tokens = [c for c in completions if c.token_ids and c.prompt_token_ids]
    if not with_tokens and any(c.finish_reason != "missing" for c in completions):
        raise CheckError(
            "the engine gives no token ids (a remote server), on which training rests; of vLLM's "
            "server ask for them: --set engine.body.return_token_ids=true"
        )
    count = min(RESPONSES, len(with_tokens))
    return [with_tokens[i * len(with_tokens) // count] for i in range(count)]


def check_prompts(
    policy: Policy, prompts: Mapping[str, Prompt], samples: Sequence[Completion]
) -> None:
    """Check that the engine has rendered the prompts as the policy does.

    Raises:
        CheckError: it has not: another tokenizer or template.
    """
    tokenizer = load_tokenizer(policy)
    for sample in samples:
        expected = render_conversation(tokenizer, prompts[sample.prompt_id].messages).token_ids
        if sample.prompt_token_ids != expected:
            raise CheckError(
                f"the engine's prompt {sample.prompt_id!r} is not the policy's: "
                f"{_difference(sample.prompt_token_ids, expected)}; does its server have another "
                "tokenizer or chat template? Have it serve the policy's folder, or name the "
                "template that it uses with --set policy.chat_template=FILE"
            )


def _difference(sampled: Sequence[int], expected: Sequence[int]) -> str:
    both = enumerate(zip(sampled, expected, strict=False))
    position = next((i for i, (a, b) in both if a != b), min(len(sampled), len(expected)))
    return f"{len(sampled)} tokens instead of {len(expected)}, other ones from {position + 1} on"


def measure_samples(policy: Policy, samples: Sequence[Completion], sampling: Sampling) -> SampleFit:
    """Return how samples lie under a policy, by its model's own code.

    Raises:
        PolicyError: the weights cannot be used.
        CheckError: a token is none of the policy's vocabulary.
    """
    device = default_device()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model = load_model(policy, dtype, device)
    check_vocabulary(samples, model.config.get_text_config().vocab_size)
    parts = [token_statistics(*_logits(model, sample), sampling) for sample in samples]
    surprise, entropy, expected = (torch.cat(values) for values in zip(*parts, strict=True))
    return SampleFit(
        responses=len(samples),
        tokens=len(surprise),
        surprise=float(surprise.mean()),
        entropy=float(entropy.mean()),
        too_rare=evidence(surprise, expected[:, : len(RATES)], 1),
        too_common=evidence(surprise, expected[:, len(RATES) :], -1),
    )


def check_vocabulary(samples: Sequence[Completion], size: int) -> None:
    """Refuse tokens that the policy does not have.

    Raises:
        CheckError: there are some.
    """
    largest = max((max((*c.prompt_token_ids, *c.token_ids)) for c in samples), default=0)
    if largest >= size:
        raise CheckError(
            f"the engine's samples are not the policy's: token {largest} of a vocabulary of {size}"
        )


def _logits(model: PreTrainedModel, sample: Completion) -> tuple[Tensor, Tensor]:
    """Return the logits at a response's first tokens, shape (tokens, words), and the tokens."""
    response = sample.token_ids[:TOKENS]
    ids = torch.tensor([[*sample.prompt_token_ids, *response]], device=model.device)
    with torch.inference_mode():
        output = model(input_ids=ids, use_cache=False, logits_to_keep=len(response) + 1)
    return output.logits[0, :-1].float(), ids[0, -len(response) :]


def token_statistics(
    logits: Tensor, tokens: Tensor, sampling: Sampling
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is known of each sampled token, in float64 on the CPU.

    Args:
        logits: shape (tokens, words).
        tokens: the sampled ones, shape (tokens,).
        sampling: how they were sampled.

    Returns:
        −log p of the tokens, p at the temperature and without top_p, shape (tokens,); its
        expectation under q, p with top_p; log E_q[exp(λ(−log p))] at every rate λ and at every −λ,
        shape (tokens, 2 × rates). All in nats.
    """
    logps = (logits / (sampling.temperature or GREEDY)).log_softmax(-1).clamp(min=-1e4)
    nucleus = _nucleus(logps, sampling.top_p) if sampling.top_p < 1 else logps
    own = nucleus.log_softmax(-1)
    surprise = -logps.gather(-1, tokens[:, None])[:, 0]
    expected = [torch.logsumexp(own - rate * logps, -1) for rate in (*RATES, *(-r for r in RATES))]
    entropy = -(own.exp() * logps).sum(-1)
    return surprise.double().cpu(), entropy.double().cpu(), torch.stack(expected, 1).double().cpu()


def _nucleus(logps: Tensor, top_p: float) -> Tensor:
    """Return log-probabilities of the likeliest tokens that hold `top_p`, -10⁴ elsewhere."""
    ordered, order = logps.sort(-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    return logps.masked_fill((before >= top_p).gather(-1, order.argsort(-1)), -1e4)


def evidence(surprise: Tensor, expected: Tensor, sign: int) -> float:
    """Return the log of the evidence against samples of the policy; at least 0.

    Args:
        surprise: −log p of the tokens, shape (tokens,).
        expected: the logs of its exponential moments at the rates, shape (tokens, rates).
        sign: 1: the tokens are rarer than the policy's; -1: likelier.
    """
    rates = torch.tensor(RATES, dtype=torch.float64)
    terms = rates * (sign * surprise[:, None] - ALLOWANCE) - expected
    return max(0.0, float(torch.logsumexp(terms.sum(0), 0)) - math.log(len(RATES)))


def check_fit_of_samples(fit: SampleFit, policy: Policy, sampling: Sampling) -> None:
    """Stop where samples are rarer than the policy's own; warn where they are likelier.

    Raises:
        CheckError: they are rarer.
    """
    limit = -math.log(FALSE_ALARMS)
    figures = (
        f"{fit.surprise:.2f} nats a token under {policy.name}, whose own samples have "
        f"{fit.entropy:.2f} there ({fit.tokens} tokens of {fit.responses} responses)"
    )
    if fit.too_rare > limit:
        raise CheckError(
            f"the samples are not π_t's: {figures}; does the engine's server serve another model, "
            "or read the folder with an older transformers (rope)? Have it serve "
            f"{policy.path}, sampled at temperature {sampling.temperature:g}"
        )
    if fit.too_common > limit and sampling.temperature:
        logging.getLogger(__name__).warning(
            "warning: the samples are likelier than π_t's: %s; does the engine's server sample at "
            "another temperature, or with a top_k of its generation config? Send top_k in "
            "engine.body (vLLM: -1)",
            figures,
        )
