"""Whether the policy that an iteration trained beats the one before, on prompts not trained on.

Some of an iteration's prompts are kept out of its pairs. On them the oracle compares a response of
π_{t+1} with one of π_t, whose samples are cached: the cost is one response and one comparison a
held-out prompt, and the policy never sees these prompts in training.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.core.io import write_atomically
from harness.core.jobs import RunShard, ShardedJob
from harness.core.seeds import derive
from harness.core.stages import record_timing, scratch_directory
from harness.errors import CheckError
from harness.protocols import PreferenceOracle, ServedEngine, accelerators_needed
from harness.training import records, rollout
from harness.training.oracle_answers import checked_probabilities
from harness.training.spec import TrainSpec
from harness.types import Advance, Comparison, Completion, Prompt, Request, Track

RESULT_FILE = "head_to_head.json"
PREFERENCES = "preferences.parquet"
EVEN_WIN_RATE = 0.5
"""The win rate of a policy that is no better."""


def run_head_to_head(
    spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track
) -> None:
    """Write the win rate of π_{t+1} over π_t, in percent, and warn if its interval is below ½.

    Prompts to which an engine's server gave no response, now or before, are left out and counted.

    Raises:
        CheckError: that is so for all of them.
    """
    from harness.statistics.bootstrap import interval
    from harness.statistics.intervals import PERCENT

    probabilities = sample_and_compare(spec, t, out, inputs, track)
    missing = len(held_out_prompts(spec, t, inputs)) - len(probabilities)
    if not probabilities:
        raise CheckError(
            f"iteration {t}: none of the {missing} held-out prompts has a response of both policies"
        )
    estimate = interval([100 * p for p in probabilities], seed=spec.seed, bounds=PERCENT)
    result = {**asdict(estimate), "prompts": len(probabilities), "missing": missing}
    write_atomically(out / RESULT_FILE, json.dumps(result, indent=1))
    if missing:
        logging.getLogger(__name__).warning(
            "iteration %d: %d held-out prompts without a response are left out of the head-to-head",
            *(t, missing),
        )
    if estimate.high is not None and estimate.high < 100 * EVEN_WIN_RATE:
        logging.getLogger(__name__).warning(
            "iteration %d: the trained policy wins %.1f %% [%.1f, %.1f] of %d held-out "
            "comparisons with the one before: it has become worse by the oracle's own measure",
            *(t, estimate.value, estimate.low, estimate.high, len(probabilities)),
        )


def sample_and_compare(
    spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track
) -> list[float]:
    """Return P(π_{t+1}'s response preferred) of each prompt with a response of both policies.

    All prompts are sampled before any is compared: no worker holds policy and oracle at once.
    """
    directory = scratch_directory(out)
    if isinstance(spec.engine, ServedEngine):
        spec.engine.load_policy(spec.policy.with_weights(inputs["policy"]))
    directories = {name: str(directory / name) for name in ("prompts", "sampling", "comparing")}
    prompts = held_out_prompts(spec, t, inputs)
    Path(directories["prompts"]).mkdir(parents=True, exist_ok=True)
    records.write_prompts(Path(directories["prompts"]), prompts)
    payload = {"spec": spec, "t": t, "inputs": {**inputs, **directories}}
    jobs = []
    for name, open_shards, gpus in (
        ("sampling", head_to_head_sampler, rollout.engine_gpus(spec.engine)),
        ("comparing", head_to_head_comparer, 1),
    ):
        job = rollout.prompt_job(open_shards, payload, prompts, directory / name, gpus)
        label = f"iteration {t} · head-to-head ({name})"
        rollout.run_job(spec, job, directory / name, label, track, total=len(prompts))
        jobs.append(job)
    record_timing(out, **accelerator_timing(spec, *jobs))
    table = records.read_table(directory / "comparing" / PREFERENCES)
    probabilities: list[float] = table["probability"]
    return probabilities


def held_out_prompts(spec: TrainSpec, t: int, inputs: Mapping[str, str]) -> list[Prompt]:
    """Return the prompts that iteration t does not train on, in their order."""
    prompts = records.read_prompts(inputs["prompts"])
    held_out = rollout.held_out_ids(spec, t, [prompt.id for prompt in prompts])
    return [prompt for prompt in prompts if prompt.id in held_out]


def head_to_head_sampler(payload: Mapping[str, Any]) -> AbstractContextManager[RunShard]:
    """Return a context that samples one response of π_{t+1} to each of a shard's prompts."""
    spec, t, inputs = payload["spec"], payload["t"], payload["inputs"]
    prompts = records.read_prompts(inputs["prompts"])
    requests = [Request(p, 1, derive(spec.seed, "contest", t, p.id)) for p in prompts]
    return rollout.policy_sampler(spec, spec.policy.with_weights(inputs["policy"]), requests)


@contextmanager
def head_to_head_comparer(payload: Mapping[str, Any]) -> Iterator[RunShard]:
    """Yield a function that has the oracle compare the two policies' responses in a shard."""
    spec, inputs = payload["spec"], payload["inputs"]
    prompts = records.read_prompts(inputs["prompts"])

    def run_shard(shard: int, out: Path, advance: Advance) -> None:
        shard_prompts = {p.id: p for p in rollout.shard_slice(prompts, spec, shard)}
        after, before = (
            records.read_completions(inputs[name], shard_prompts)
            for name in ("sampling", "generate")
        )
        pairs = [
            Comparison(p, first, second)
            for key, p in shard_prompts.items()
            if (first := first_response(after[key])) is not None
            and (second := first_response(before[key])) is not None
        ]
        advance(len(shard_prompts) - len(pairs))
        probabilities = compare_pairs(spec.oracle, pairs, advance)
        columns: dict[str, Sequence[Any]] = {
            "prompt_id": [pair.prompt.id for pair in pairs],
            "probability": probabilities,
        }
        records.write_table(out / PREFERENCES, columns)

    with rollout.keep_weights(spec.oracle):
        yield run_shard


def first_response(completions: Sequence[Completion]) -> str | None:
    """Return the first response; None if an engine's server gave none."""
    return next((c.text for c in completions if c.finish_reason != "missing"), None)


def compare_pairs(
    oracle: PreferenceOracle, pairs: Sequence[Comparison], advance: Advance
) -> list[float]:
    """Return P(first preferred) of each comparison; ½ where both responses are the same."""
    different = [pair for pair in pairs if pair.first != pair.second]
    advance(len(pairs) - len(different))
    probabilities = iter(checked_probabilities(oracle, different, advance) if different else [])
    return [EVEN_WIN_RATE if pair.first == pair.second else next(probabilities) for pair in pairs]


def accelerator_timing(
    spec: TrainSpec, sampling: ShardedJob, comparing: ShardedJob
) -> dict[str, Any]:
    """Return the stage's seconds and accelerator.

    The stage counts as many accelerators as its hungrier half takes; the seconds are scaled so that
    their product is the accelerator-seconds of both halves.
    """
    engine, oracle = accelerators_needed(spec.engine), accelerators_needed(spec.oracle)
    accelerator_seconds = engine * sampling.seconds() + oracle * comparing.seconds()
    return {
        "seconds": accelerator_seconds / max(engine, oracle, 1),
        "accelerator": (sampling if engine else comparing).accelerator(),
    }
