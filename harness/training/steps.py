"""What an iteration's stages do: sample, compare, pair, anchor. Optimising is in `optimise`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import CheckError
from harness.files import write_whole
from harness.protocols import Matrix, Pairing
from harness.runs import scratch, tell_work
from harness.seeds import canonical
from harness.training import anchoring, pieces, records
from harness.training.contest import kept_out
from harness.training.pairing import is_complete, probability, replay, seated, win_rate
from harness.training.pieces import taking_part
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
    told, takes = {"spec": spec, "t": t, "inputs": inputs}, pieces.gpus(spec.engine)
    with track(f"iteration {t} · generate", len(prompts)) as advance:
        work = pieces.work(pieces.sampling, told, prompts, scratch(out), takes)
        spec.launcher.spread(work, advance)
    records.join(work.parts(), out)
    tell_work(out, seconds=work.seconds(), accelerator=work.accelerator())


def compare(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Ask the oracle for what the pairing wants to know, round by round."""
    prompts = records.read_prompts(inputs["prompts"])
    with track(f"iteration {t} · compare", 0) as advance:
        told = {"spec": spec, "t": t, "inputs": inputs}
        work = pieces.work(pieces.comparing, told, prompts, scratch(out))
        spec.launcher.spread(work, advance)
    records.join(work.parts(), out)
    tell_work(out, seconds=work.seconds(), accelerator=work.accelerator())


def pair(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Make the training pairs that the comparisons decide, and count what was left out."""
    completions = records.read_completions(inputs["generate"])
    matrices = records.read_comparisons(inputs["compare"])
    pairs: list[Pair] = []
    counts: Counter[str] = Counter(prompts=len(completions))
    kept = kept_out(spec, t, completions)
    for key, responses in completions.items():
        if key in kept:
            counts["kept out"] += 1
            continue
        players = taking_part(responses, spec)
        counts["truncated"] += sum(c.finish_reason == "length" for c in responses)
        counts["repeated"] += len(players) - len({c.text for c in players})
        decided = decide(spec.pairing, players, seated(players, matrices.get(key, {})))
        counts["undecided"] += not decided
        for found in decided:
            reason = unfit(found, spec.max_length)
            counts[reason or "kept"] += 1
            pairs += [] if reason else [found]
    if not pairs:
        raise CheckError(
            f"iteration {t} has no training pair ({dict(counts)}): the oracle decides nothing, "
            "or the engine gives no token ids (a remote server); look at the oracle and the engine"
        )
    records.write_pairs(out, pairs)
    write_whole(out / "counts.json", canonical(dict(counts)))


def decide(pairing: Pairing, players: Sequence[Completion], matrix: Matrix) -> list[Pair]:
    """Return one prompt's training pairs, with win rates where all of its responses met."""
    k = len(players)
    known = is_complete(k, matrix)
    found = []
    for i, j in replay(pairing, k, matrix):
        rates = (win_rate(i, k, matrix), win_rate(j, k, matrix)) if known else None
        found.append(make_pair(players[i], players[j], probability((i, j), matrix), rates))
    return found


def make_pair(
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


def unfit(pair: Pair, max_length: int) -> str | None:
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
    work = anchoring.work(spec, pairs, scratch(out), inputs)
    with track(label, len(pairs)) as advance:
        spec.launcher.spread(work, advance)
    records.join_logps(work.parts(), out)
    tell_work(out, seconds=work.seconds(), accelerator=work.accelerator())
