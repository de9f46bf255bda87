"""What an iteration's stages do: sample, compare, pair, anchor. Optimising is in `optimise`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.io import write_atomically
from harness.core.iterations import replay
from harness.core.seeds import canonical_json
from harness.core.stages import record_timing, scratch_directory
from harness.errors import CheckError
from harness.protocols import Matrix, Pairing
from harness.training import records, reference_logps, rollout
from harness.training.head_to_head import held_out_ids
from harness.training.pairing import index_by_position, is_complete, probability, win_rate
from harness.training.rollout import eligible_responses
from harness.training.spec import TrainSpec
from harness.types import Completion, Pair, Track


def choose_prompts(
    spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track
) -> None:
    """Write the prompts of iteration t."""
    records.write_prompts(out, spec.prompts.prompts(t))


def generate(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Sample K responses a prompt from π_t; a prompt's seed depends on nothing but its id and t."""
    prompts = records.read_prompts(inputs["prompts"])
    payload, gpus = {"spec": spec, "t": t, "inputs": inputs}, rollout.engine_gpus(spec.engine)
    with track(f"iteration {t} · generate", len(prompts)) as advance:
        job = rollout.prompt_job(
            rollout.shard_sampler, payload, prompts, scratch_directory(out), gpus
        )
        spec.launcher.map_shards(job, advance)
    records.join_tables(job.shard_paths(), out)
    record_timing(out, seconds=job.seconds(), accelerator=job.accelerator())


def compare(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Ask the oracle for what the pairing wants to know, round by round."""
    prompts = records.read_prompts(inputs["prompts"])
    with track(f"iteration {t} · compare", 0) as advance:
        payload = {"spec": spec, "t": t, "inputs": inputs}
        job = rollout.prompt_job(rollout.shard_comparer, payload, prompts, scratch_directory(out))
        spec.launcher.map_shards(job, advance)
    records.join_tables(job.shard_paths(), out)
    record_timing(out, seconds=job.seconds(), accelerator=job.accelerator())


def pair(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Make the training pairs that the comparisons decide, and count what was left out."""
    completions = records.read_completions(inputs["generate"])
    matrices = records.read_comparisons(inputs["compare"])
    pairs: list[Pair] = []
    counts: Counter[str] = Counter(prompts=len(completions))
    held_out = held_out_ids(spec, t, completions)
    for key, responses in completions.items():
        if key in held_out:
            counts["held out"] += 1
            continue
        players = eligible_responses(responses, spec)
        counts["truncated"] += sum(c.finish_reason == "length" for c in responses)
        counts["repeated"] += len(players) - len({c.text for c in players})
        decided_pairs = decide_pairs(
            spec.pairing, players, index_by_position(players, matrices.get(key, {}))
        )
        counts["undecided"] += not decided_pairs
        for candidate in decided_pairs:
            reason = exclusion_reason(candidate, spec.max_length)
            counts[reason or "kept"] += 1
            pairs += [] if reason else [candidate]
    if not pairs:
        raise CheckError(
            f"iteration {t} has no training pair ({dict(counts)}): the oracle decides nothing, "
            "or the engine gives no token ids (a remote server); look at the oracle and the engine"
        )
    records.write_pairs(out, pairs)
    write_atomically(out / "counts.json", canonical_json(dict(counts)))


def decide_pairs(pairing: Pairing, players: Sequence[Completion], matrix: Matrix) -> list[Pair]:
    """Return one prompt's training pairs, with win rates where all of its responses met."""
    k = len(players)
    complete = is_complete(k, matrix)
    pairs = []
    for i, j in replay(pairing.rounds(k), matrix):
        rates = (win_rate(i, k, matrix), win_rate(j, k, matrix)) if complete else None
        pairs.append(build_pair(players[i], players[j], probability((i, j), matrix), rates))
    return pairs


def build_pair(
    chosen: Completion,
    rejected: Completion,
    probability: float,
    win_rates: tuple[float, float] | None,
) -> Pair:
    """Return the training pair of two completions of one prompt."""
    return Pair(
        chosen.prompt_id,
        chosen.prompt_token_ids,
        chosen.token_ids,
        rejected.token_ids,
        probability,
        win_rates,
    )


def exclusion_reason(pair: Pair, max_length: int) -> str | None:
    """Return why a pair is not trained on, or None."""
    if not (pair.prompt_ids and pair.chosen_ids and pair.rejected_ids):
        return "without tokens"
    if pair.chosen_ids == pair.rejected_ids:
        return "identical"
    longest = max(len(pair.chosen_ids), len(pair.rejected_ids))
    return "too long" if len(pair.prompt_ids) + longest > max_length else None


def anchor(spec: TrainSpec, label: str, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Store a frozen policy's log-probabilities of the very rows that are trained on."""
    pairs = records.read_pairs(inputs["pair"])
    job = reference_logps.anchor_job(spec, pairs, scratch_directory(out), inputs)
    with track(label, len(pairs)) as advance:
        spec.launcher.map_shards(job, advance)
    records.join_logps_shards(job.shard_paths(), out)
    record_timing(out, seconds=job.seconds(), accelerator=job.accelerator())
