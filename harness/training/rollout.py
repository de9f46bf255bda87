"""Sampling and comparing in pieces: so many prompts each, done by whoever is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from harness.core.jobs import RunShard, ShardedJob
from harness.core.seeds import derive
from harness.protocols import (
    Advance,
    GenerationEngine,
    KeepsPolicy,
    KeepsWeights,
    PreferenceOracle,
    RewardOracle,
    Sampling,
)
from harness.training import records
from harness.training.pairing import ComparisonRounds
from harness.training.spec import TrainSpec
from harness.types import Completion, Policy, Prompt, Request

OpenShards = Callable[[Mapping[str, Any]], AbstractContextManager[RunShard]]
AnswerRequests = Callable[[Sequence[int], Advance], list[Completion]]
"""Answers the requests at some positions, in their order, as `generate` does."""
P = TypeVar("P")


def prompt_job(
    open_shards: OpenShards,
    payload: Mapping[str, Any],
    prompts: Sequence[Prompt],
    directory: Path,
    gpus: int = 1,
) -> ShardedJob:
    """Return the work on prompts, as many a piece as the launcher wants.

    Args:
        opened: does it, e.g. `sampling` or `comparing`.
        told: what that is given: the method (`spec`), the iteration (`t`), and folders by what
            lies in them (`inputs`).
        prompts: those that lie in the folder `prompts`.
        place: where what a killed run goes on from lies.
        gpus: how many whoever does a piece needs.
    """
    shard_size = payload["spec"].launcher.shard_size
    shards = [prompts[start : start + shard_size] for start in range(0, len(prompts), shard_size)]
    names = tuple(f"prompts {shard[0].id!r} to {shard[-1].id!r}" for shard in shards)
    return ShardedJob(
        open_shards,
        payload,
        tuple(map(len, shards)),
        directory / f"shards-of-{shard_size}",
        gpus,
        names,
    )


def engine_gpus(engine: GenerationEngine) -> int:
    """Return how many GPUs one copy of an engine takes."""
    return engine.gpus if isinstance(engine, KeepsPolicy) else 1


def shard_sampler(payload: Mapping[str, Any]) -> AbstractContextManager[RunShard]:
    """Return what samples a piece's prompts."""
    spec, t, inputs = payload["spec"], payload["t"], payload["inputs"]
    requests = [
        sampling_request(spec, t, prompt) for prompt in records.read_prompts(inputs["prompts"])
    ]
    return policy_sampler(spec, spec.policy.with_weights(inputs["policy"]), requests)


@contextmanager
def policy_sampler(
    spec: TrainSpec, policy: Policy, requests: Sequence[Request]
) -> Iterator[RunShard]:
    """Yield what has the policy answer a piece's requests; of all there is one a prompt."""
    with open_engine(spec.engine, policy, requests, spec.sampling) as answer:

        def run_shard(shard: int, out: Path, advance: Advance) -> None:
            positions = shard_slice(range(len(requests)), spec, shard)
            records.write_completions(out, answer(positions, advance))

        yield run_shard


def open_engine(
    engine: GenerationEngine, policy: Policy, requests: Sequence[Request], sampling: Sampling
) -> AbstractContextManager[AnswerRequests]:
    """Return what answers some of the requests, with the weights kept if the engine can."""
    if isinstance(engine, KeepsPolicy):
        return engine.resident(policy, requests, sampling)

    def answer(positions: Sequence[int], advance: Advance) -> list[Completion]:
        return engine.generate(
            policy, [requests[position] for position in positions], sampling, advance
        )

    return nullcontext(answer)


@contextmanager
def shard_comparer(payload: Mapping[str, Any]) -> Iterator[RunShard]:
    """Yield what plays the rounds of a piece's prompts, and keeps rewards where there are any."""
    spec = payload["spec"]
    prompts = records.read_prompts(payload["inputs"]["prompts"])

    def run_shard(shard: int, out: Path, advance: Advance) -> None:
        shard_prompts = {p.id: p for p in shard_slice(prompts, spec, shard)}
        completions = records.read_completions(payload["inputs"]["generate"], shard_prompts)
        players = {
            key: eligible_responses(completions[key], spec)
            for key in shard_prompts
            if key in completions
        }
        compare_players(spec, shard_prompts, players, out, advance)

    with keep_weights(spec.oracle):
        yield run_shard


def keep_weights(oracle: PreferenceOracle) -> AbstractContextManager[None]:
    """Return a context in which an oracle keeps its weights, if it can."""
    return oracle.keep_loaded() if isinstance(oracle, KeepsWeights) else nullcontext()


def compare_players(
    spec: TrainSpec,
    prompts: Mapping[str, Prompt],
    players: Mapping[str, Sequence[Completion]],
    out: Path,
    advance: Advance,
) -> None:
    """Ask the oracle round by round; write what it says."""
    rounds = ComparisonRounds(spec.pairing, prompts, players)
    while rounds.pending:
        rounds.record_answers(spec.oracle.compare(rounds.next_comparisons(), advance))
    records.write_comparisons(out, rounds.matrices)
    if isinstance(spec.oracle, RewardOracle):
        completions = [c for responses in players.values() for c in responses]
        inputs = [(prompts[c.prompt_id], c.text) for c in completions]
        records.write_scores(out, completions, spec.oracle.score(inputs, advance))


def shard_slice(prompts: Sequence[P], spec: TrainSpec, shard: int) -> Sequence[P]:
    """Return the part of a piece in what there is one of a prompt."""
    size = spec.launcher.shard_size
    return prompts[shard * size : (shard + 1) * size]


def sampling_request(spec: TrainSpec, t: int, prompt: Prompt) -> Request:
    """Return what the engine is asked of a prompt."""
    return Request(prompt, spec.samples, derive(spec.seed, "generate", t, prompt.id))


def eligible_responses(responses: Sequence[Completion], spec: TrainSpec) -> list[Completion]:
    """Return the responses that are compared: whole ones, unless truncated ones are kept."""
    return [c for c in responses if spec.keep_truncated or c.finish_reason == "stop"]
