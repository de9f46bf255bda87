"""From prompts to training pairs: π_t's samples, the oracle's comparisons, the pairs they decide.

Sampling and comparing run in shards of prompts, on any worker that is free.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from harness.core.io import write_atomically
from harness.core.iterations import replay
from harness.core.jobs import RunShard, ShardedJob
from harness.core.manifests import PROVENANCE
from harness.core.seeds import canonical_json, derive
from harness.core.stages import record_timing, scratch_directory
from harness.errors import CheckError
from harness.protocols import (
    Advance,
    AnswerRequests,
    GenerationEngine,
    KeepsPolicy,
    KeepsWeights,
    Matrix,
    PreferenceOracle,
    RewardOracle,
    Sampling,
    ServedEngine,
    accelerators_needed,
)
from harness.training import pair_report, records
from harness.training.dropped import DropTable
from harness.training.oracle_answers import checked_probabilities, checked_rewards
from harness.training.pairing import (
    ComparisonRounds,
    index_by_position,
    is_complete,
    probability,
    start_rounds,
    win_rate,
)
from harness.training.prompt_selection import (
    PromptSelection,
    SelectsPrompts,
    context_limit,
    that_fit,
    without_repeated_ids,
)
from harness.training.sample_check import FIGURES, shard_sample_check
from harness.training.spec import TrainSpec
from harness.types import Completion, Pair, Policy, Prompt, Request, Track

OpenShards = Callable[[Mapping[str, Any]], AbstractContextManager[RunShard]]
JoinShards = Callable[[Sequence[Path], Path], None]
P = TypeVar("P")


def choose_prompts(
    spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track
) -> None:
    """Write the prompts of iteration t, and a table of those that are dropped.

    Raises:
        InputError: no prompt is left, or one is refused.
    """
    source = spec.prompts
    if isinstance(source, SelectsPrompts):
        selection = source.select(t)
    else:
        selection = PromptSelection(source.prompts(t))
    selection = that_fit(
        without_repeated_ids(selection),
        spec.policy.with_weights(inputs["policy"]),
        limit=context_limit(spec.engine),
        drop_bad=isinstance(source, SelectsPrompts) and source.drop_bad,
    )
    selection.dropped.report(f"prompts of iteration {t}", selection.total)
    selection.dropped.write(out)
    records.write_prompts(out, selection.prompts)


def generate(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Sample K responses a prompt from π_t; a prompt's seed depends on its id and t alone."""
    prompts = records.read_prompts(inputs["prompts"])
    payload = {"spec": spec, "t": t, "inputs": inputs}
    gpus = engine_gpus(spec.engine)
    job = prompt_job(shard_sampler, payload, prompts, scratch_directory(out), gpus)
    label = f"iteration {t} · generate"
    if isinstance(spec.engine, ServedEngine):
        spec.engine.load_policy(spec.policy.with_weights(inputs["policy"]))
        sample_first_shard(spec, job, label, track)
        check_samples(spec, job, job.shard_path(0), out)
    run_job(spec, job, out, label, track, total=len(prompts))
    if accelerators_needed(spec.engine):
        check_samples(spec, job, out, out)


def generate_share(
    spec: TrainSpec,
    t: int,
    sampler: str,
    out: Path,
    inputs: Mapping[str, str],
    track: Track,
) -> None:
    """Sample one policy's share of the responses, with seeds of its own."""
    changes = {"samples": spec.share, "seed": derive(spec.seed, "sampler", sampler)}
    alone = {"sample_from": ["policy"], **changes}
    generate(spec.model_copy(update=alone), t, out, inputs, track)


def sample_first_shard(spec: TrainSpec, job: ShardedJob, label: str, track: Track) -> None:
    """Sample the first shard alone, so that it can be checked before the others are sampled."""
    first = replace(job, sizes=job.sizes[:1], names=job.names[:1])
    with track(f"{label} (first prompts)", first.sizes[0]) as advance:
        spec.launcher.map_shards(first, advance)


def check_samples(spec: TrainSpec, job: ShardedJob, samples: Path, out: Path) -> None:
    """Check that samples are π_t's, where the launcher runs device work; if not, forget them.

    Args:
        spec: the method.
        job: what has sampled them.
        samples: the directory that holds some of them, or all.
        out: the stage's directory, whose provenance receives the figures.

    Raises:
        CheckError: they are not; the finished shards are removed, so that the next run samples
            anew.
    """
    inputs = {**job.payload["inputs"], "samples": str(samples)}
    check = ShardedJob(
        shard_sample_check,
        {**job.payload, "inputs": inputs},
        sizes=(1,),
        directory=job.directory.with_name("sample-check"),
        names=("the check of the samples",),
    )
    try:
        spec.launcher.map_shards(check, lambda _: None)
    except CheckError:
        shutil.rmtree(job.directory, ignore_errors=True)
        raise
    (out / PROVENANCE).mkdir(exist_ok=True)
    shutil.copyfile(check.shard_path(0) / FIGURES, out / PROVENANCE / FIGURES)


def compare(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Have the oracle compare the responses that the pairing asks about, round by round."""
    prompts = records.read_prompts(inputs["prompts"])
    payload = {"spec": spec, "t": t, "inputs": inputs}
    job = prompt_job(shard_comparer, payload, prompts, scratch_directory(out))
    run_job(spec, job, out, f"iteration {t} · compare", track)


def pair(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Write the training pairs that the comparisons decide, and count what is left out.

    Raises:
        CheckError: no pair is left; the message names the largest cause.
    """
    completions = read_candidates(spec, inputs)
    rewards = read_rewards(spec, inputs)
    matrices = records.read_comparisons(inputs["compare"]) if "compare" in inputs else {}
    pairs: list[Pair] = []
    counts, dropped = Counter[str](prompts=len(completions)), DropTable()
    held_out = held_out_ids(spec, t, completions)
    for key, responses in completions.items():
        if key in held_out:
            counts["held out"] += 1
            continue
        players = eligible_responses(responses, spec)
        counts["truncated"] += sum(c.finish_reason == "length" for c in responses)
        counts["repeated"] += len(players) - len({c.text for c in players})
        matrix = index_by_position(players, matrices.get(key, {}))
        decided_pairs = (
            decide_pairs(spec, players, matrix, rewards.get(key, {}))
            if spec.asks_oracle(t)
            else winning_pairs(spec, players)
        )
        counts["undecided"] += not decided_pairs
        if not decided_pairs:
            dropped.add(undecided_reason(responses, players), f"prompt {key}")
        for candidate in decided_pairs:
            reason = exclusion_reason(candidate, spec.max_length)
            counts[reason or "kept"] += 1
            if reason:
                dropped.add(reason, f"prompt {key}")
        pairs += [c for c in decided_pairs if not exclusion_reason(c, spec.max_length)]
    pair_report.report(spec, t, counts, dropped)
    records.write_pairs(out, pairs)
    dropped.write(out)
    write_atomically(out / "counts.json", canonical_json(dict(counts)))


def undecided_reason(responses: Sequence[Completion], players: Sequence[Completion]) -> str:
    """Return why a prompt's responses give no pair."""
    if len(players) < 2 and len(players) < len(responses):
        return pair_report.TRUNCATED
    return pair_report.IDENTICAL if len({c.text for c in players}) < 2 else pair_report.UNDECIDED


def read_rewards(spec: TrainSpec, inputs: Mapping[str, str]) -> dict[str, dict[int, float]]:
    """Return the oracle's rewards by prompt and response, if the objective reads them."""
    has_rewards = "rewards" in spec.reads and "compare" in inputs
    return records.read_scores(inputs["compare"]) if has_rewards else {}


def decide_pairs(
    spec: TrainSpec,
    players: Sequence[Completion],
    matrix: Matrix,
    rewards: Mapping[int, float],
) -> list[Pair]:
    """Return one prompt's training pairs, with win rates if all of its responses were compared."""
    k = len(players)
    complete = is_complete(k, matrix)
    return [
        Pair(
            players[i].prompt_id,
            players[i].prompt_token_ids,
            players[i].token_ids,
            players[j].token_ids,
            probability((i, j), matrix),
            (win_rate(i, k, matrix), win_rate(j, k, matrix)) if complete else None,
            (rewards[players[i].index], rewards[players[j].index]) if rewards else None,
            pair_samplers(spec, players[i], players[j]),
        )
        for i, j in replay(start_rounds(spec.pairing, players, spec.sampler), matrix)
    ]


def pair_samplers(
    spec: TrainSpec, chosen: Completion, rejected: Completion
) -> tuple[str, str] | None:
    """Return who has sampled both responses, if the objective reads it; None: π_t both."""
    names = (spec.sampler(chosen.index), spec.sampler(rejected.index))
    return names if "samplers" in spec.reads and names != ("policy", "policy") else None


def winning_pairs(spec: TrainSpec, players: Sequence[Completion]) -> list[Pair]:
    """Return a data set's response with each sample of the policy, which it beats."""
    winner = next((c for c in players if c.index >= spec.samples), None)
    return [
        Pair(
            c.prompt_id,
            c.prompt_token_ids,
            winner.token_ids,
            c.token_ids,
            probability=1.0,
            samplers=pair_samplers(spec, winner, c),
        )
        for c in players
        if winner and c.index < spec.samples and c.text != winner.text
    ]


def read_candidates(
    spec: TrainSpec, inputs: Mapping[str, str], prompts: Iterable[str] | None = None
) -> dict[str, list[Completion]]:
    """Return the responses by prompt: the policies' samples, then those of a data set.

    Args:
        spec: the method.
        inputs: directories by what they hold: `generate`, perhaps those of other policies' samples
            and `prompts`.
        prompts: the ids of the prompts to read; None: all.
    """
    keys = None if prompts is None else list(prompts)
    completions = records.read_completions(inputs["generate"], keys)
    for number, name in enumerate(spec.sample_from[1:], 1):
        others = records.read_completions(inputs[sampler_input(name)], keys)
        for key, responses in completions.items():
            first = number * spec.share
            responses += [replace(c, index=c.index + first) for c in others.get(key, [])]
    if "prompts" in inputs and records.has_responses(inputs["prompts"]):
        added = records.read_completions(inputs["prompts"], keys, records.RESPONSES)
        for key, responses in completions.items():
            responses += added.get(key, [])
    return completions


def sampler_input(name: str) -> str:
    """Return under which name a stage gets the samples of a policy."""
    return "generate" if name == "policy" else f"generate-{name}"


def exclusion_reason(pair: Pair, max_length: int) -> str | None:
    """Return why a pair is left out of training, or None if it is kept."""
    if not (pair.prompt_ids and pair.chosen_ids and pair.rejected_ids):
        return pair_report.NO_TOKENS
    if pair.chosen_ids == pair.rejected_ids:
        return pair_report.IDENTICAL
    longest = max(len(pair.chosen_ids), len(pair.rejected_ids))
    return pair_report.TOO_LONG if len(pair.prompt_ids) + longest > max_length else None


def eligible_responses(responses: Sequence[Completion], spec: TrainSpec) -> list[Completion]:
    """Return the responses to compare: whole ones, and truncated ones if the method keeps them."""
    reasons = ("stop", "length") if spec.keep_truncated else ("stop",)
    return [c for c in responses if c.finish_reason in reasons]


def held_out_ids(spec: TrainSpec, t: int, prompts: Iterable[str]) -> set[str]:
    """Return the ids of the prompts kept out of iteration t's pairs, whatever their order."""
    shuffled = sorted(prompts, key=lambda key: (derive(spec.seed, "kept out", t, key), key))
    return set(shuffled[: spec.head_to_head_prompts])


def prompt_job(
    open_shards: OpenShards,
    payload: Mapping[str, Any],
    prompts: Sequence[Prompt],
    directory: Path,
    gpus: int = 1,
) -> ShardedJob:
    """Return a job over prompts, as many a shard as the launcher wants.

    Args:
        open_shards: `shard_sampler`, `shard_comparer` or another function importable by name.
        payload: what it is called with: the method (`spec`), the iteration (`t`), and directories
            by what they hold (`inputs`).
        prompts: those in the directory `prompts` of the inputs, in their order.
        directory: where finished shards are kept, for a killed run to continue from.
        gpus: how many GPUs a worker needs.
    """
    shard_size = payload["spec"].launcher.shard_size
    shards = [prompts[start : start + shard_size] for start in range(0, len(prompts), shard_size)]
    return ShardedJob(
        open_shards,
        payload,
        sizes=tuple(map(len, shards)),
        directory=directory / f"shards-of-{shard_size}",
        gpus=gpus,
        names=tuple(f"prompts {shard[0].id!r} to {shard[-1].id!r}" for shard in shards),
    )


def run_job(
    spec: TrainSpec,
    job: ShardedJob,
    out: Path,
    label: str,
    track: Track,
    total: int = 0,
    join: JoinShards = records.join_tables,
) -> None:
    """Run a job's unfinished shards, join their tables in `out`, and record the workers' time.

    Args:
        spec: its launcher runs the shards.
        job: the work.
        out: the directory of the joined tables.
        label: what the progress bar is called.
        track: opens the progress bar.
        total: how far it goes; 0 if that is not known.
        join: writes the tables of the shards' directories, in their order, to `out`.
    """
    with track(label, total) as advance:
        spec.launcher.map_shards(job, advance)
    join(job.shard_paths(), out)
    record_timing(out, seconds=job.seconds(), accelerator=job.accelerator())


def engine_gpus(engine: GenerationEngine) -> int:
    """Return how many GPUs one copy of an engine takes."""
    return engine.gpus if isinstance(engine, KeepsPolicy) else 1


def shard_sampler(payload: Mapping[str, Any]) -> AbstractContextManager[RunShard]:
    """Return a context that samples K responses to each of a shard's prompts."""
    spec, t, inputs = payload["spec"], payload["t"], payload["inputs"]
    requests = [
        Request(prompt, spec.samples, derive(spec.seed, "generate", t, prompt.id))
        for prompt in records.read_prompts(inputs["prompts"])
    ]
    return policy_sampler(spec, spec.policy.with_weights(inputs["policy"]), requests)


@contextmanager
def policy_sampler(
    spec: TrainSpec, policy: Policy, requests: Sequence[Request]
) -> Iterator[RunShard]:
    """Yield a function that answers a shard's requests; `requests` holds one for every prompt."""
    with open_engine(spec.engine, policy, requests, spec.sampling) as answer:

        def run_shard(shard: int, out: Path, advance: Advance) -> None:
            positions = shard_slice(range(len(requests)), spec, shard)
            records.write_completions(out, answer(positions, advance))

        yield run_shard


def open_engine(
    engine: GenerationEngine, policy: Policy, requests: Sequence[Request], sampling: Sampling
) -> AbstractContextManager[AnswerRequests]:
    """Return a function that answers requests, with the weights kept loaded if the engine can."""
    if isinstance(engine, KeepsPolicy):
        return engine.resident(policy, requests, sampling)

    def answer(positions: Sequence[int], advance: Advance) -> list[Completion]:
        return engine.generate(policy, [requests[i] for i in positions], sampling, advance)

    return nullcontext(answer)


@contextmanager
def shard_comparer(payload: Mapping[str, Any]) -> Iterator[RunShard]:
    """Yield a function that compares the responses to a shard's prompts, and stores rewards."""
    spec = payload["spec"]
    prompts = records.read_prompts(payload["inputs"]["prompts"])

    def run_shard(shard: int, out: Path, advance: Advance) -> None:
        shard_prompts = {p.id: p for p in shard_slice(prompts, spec, shard)}
        completions = read_candidates(spec, payload["inputs"], shard_prompts)
        players = {
            key: eligible_responses(completions[key], spec)
            for key in shard_prompts
            if key in completions
        }
        compare_players(spec, shard_prompts, players, out, advance)

    with keep_weights(spec.oracle):
        yield run_shard


def keep_weights(oracle: PreferenceOracle) -> AbstractContextManager[None]:
    """Return a context in which an oracle keeps its weights loaded, if it can."""
    return oracle.keep_loaded() if isinstance(oracle, KeepsWeights) else nullcontext()


def compare_players(
    spec: TrainSpec,
    prompts: Mapping[str, Prompt],
    players: Mapping[str, Sequence[Completion]],
    out: Path,
    advance: Advance,
) -> None:
    """Ask the oracle round by round; write its probabilities, and its rewards if it has any."""
    rounds = ComparisonRounds(spec.pairing, prompts, players, spec.sampler)
    while rounds.pending:
        rounds.record_answers(
            checked_probabilities(spec.oracle, rounds.next_comparisons(), advance)
        )
    records.write_comparisons(out, rounds.matrices)
    if isinstance(spec.oracle, RewardOracle):
        completions = [c for responses in players.values() for c in responses]
        responses = [(prompts[c.prompt_id], c.text) for c in completions]
        records.write_scores(out, completions, checked_rewards(spec.oracle, responses, advance))


def shard_slice(items: Sequence[P], spec: TrainSpec, shard: int) -> Sequence[P]:
    """Return a shard's part of a sequence that has one item a prompt."""
    size = spec.launcher.shard_size
    return items[shard * size : (shard + 1) * size]
