"""Does the policy that an iteration made beat the one that it began with, where it did not train?

Some of an iteration's prompts are kept out of its pairs. On them the oracle compares a response of
π_{t+1} with one of π_t, whose samples are there already: it costs as many responses and
comparisons as there are such prompts, and the policy never sees them in training.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.accelerators import taken
from harness.files import write_whole
from harness.protocols import PreferenceOracle
from harness.runs import scratch, tell_work
from harness.seeds import derive
from harness.training import pieces, records
from harness.training.spec import TrainSpec
from harness.types import Advance, Comparison, Prompt, Request, Track
from harness.work import Do, Work

CONTEST = "contest.json"
SHARES = "shares.parquet"
EVEN = 0.5
"""The win rate of a policy that is no better."""


def kept_out(spec: TrainSpec, t: int, prompts: Iterable[str]) -> set[str]:
    """Return the ids of the prompts that iteration t does not train on, whatever their order."""
    ordered = sorted(prompts, key=lambda key: (derive(spec.seed, "kept out", t, key), key))
    return set(ordered[: spec.contest_prompts])


def contest(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Sample π_{t+1}, have the oracle compare, write the win rate, and say where it loses."""
    from harness.statistics.bootstrap import interval

    shares = played(spec, t, out, inputs, track)
    told = interval([100 * share for share in shares], seed=spec.seed)
    write_whole(out / CONTEST, json.dumps({**asdict(told), "prompts": len(shares)}, indent=1))
    if told.high is not None and told.high < 100 * EVEN:
        logging.getLogger(__name__).warning(
            "iteration %d: the policy that was made wins %.1f %% [%.1f, %.1f] of %d held-out "
            "comparisons with the one before: it has become worse by the oracle's own measure",
            *(t, told.value, told.low, told.high, len(shares)),
        )


def played(
    spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track
) -> list[float]:
    """Return P(π_{t+1}'s response preferred) by prompt.

    All is sampled before anything is compared: no worker holds the policy and the oracle at once.
    """
    place = scratch(out)
    chosen = {name: str(place / name) for name in ("prompts", "sampling", "comparing")}
    prompts = held_out(spec, t, inputs)
    Path(chosen["prompts"]).mkdir(parents=True, exist_ok=True)
    records.write_prompts(Path(chosen["prompts"]), prompts)
    told = {"spec": spec, "t": t, "inputs": {**inputs, **chosen}}
    works = []
    for name, opened, takes in (
        ("sampling", sampling, pieces.gpus(spec.engine)),
        ("comparing", comparing, 1),
    ):
        work = pieces.work(opened, told, prompts, place / name, takes)
        with track(f"iteration {t} · contest ({name})", len(prompts)) as advance:
            spec.launcher.spread(work, advance)
        records.join(work.parts(), place / name)
        works.append(work)
    tell_work(out, **worked(spec, *works))
    shares: list[float] = records.read_table(place / "comparing" / SHARES)["share"]
    return shares


def held_out(spec: TrainSpec, t: int, inputs: Mapping[str, str]) -> list[Prompt]:
    """Return the prompts that iteration t does not train on, in their order."""
    prompts = records.read_prompts(inputs["prompts"])
    kept = kept_out(spec, t, [prompt.id for prompt in prompts])
    return [prompt for prompt in prompts if prompt.id in kept]


def sampling(told: Mapping[str, Any]) -> AbstractContextManager[Do]:
    """Return what samples a response of π_{t+1} to each of a piece's prompts."""
    spec, t, inputs = told["spec"], told["t"], told["inputs"]
    prompts = records.read_prompts(inputs["prompts"])
    asked = [Request(p, 1, derive(spec.seed, "contest", t, p.id)) for p in prompts]
    return pieces.sampled(spec, spec.policy.at(inputs["policy"]), asked)


@contextmanager
def comparing(told: Mapping[str, Any]) -> Iterator[Do]:
    """Yield what has the oracle compare the two policies' responses to a piece's prompts."""
    spec, inputs = told["spec"], told["inputs"]
    prompts = records.read_prompts(inputs["prompts"])

    def do(piece: int, out: Path, advance: Advance) -> None:
        here = {p.id: p for p in pieces.of_piece(prompts, spec, piece)}
        both = (records.read_completions(inputs[name], here) for name in ("sampling", "generate"))
        after, before = both
        pairs = [Comparison(p, after[key][0].text, before[key][0].text) for key, p in here.items()]
        found = preferred(spec.oracle, pairs, advance)
        records.write_table(out / SHARES, {"prompt_id": list(here), "share": found})

    with pieces.keeping(spec.oracle):
        yield do


def preferred(
    oracle: PreferenceOracle, pairs: Sequence[Comparison], advance: Advance
) -> list[float]:
    """Return P(first preferred) of each comparison; a half where the two are the same."""
    unlike = [pair for pair in pairs if pair.first != pair.second]
    advance(len(pairs) - len(unlike))
    found = iter(oracle.compare(unlike, advance) if unlike else [])
    return [EVEN if pair.first == pair.second else next(found) for pair in pairs]


def worked(spec: TrainSpec, sampling: Work, comparing: Work) -> dict[str, Any]:
    """Return for how many seconds workers held as many accelerators as the stage takes, and which.

    The stage takes as many as whoever of the two needs more.
    """
    engine, oracle = taken(spec.engine), taken(spec.oracle)
    held = engine * sampling.seconds() + oracle * comparing.seconds()
    kind = (sampling if engine else comparing).accelerator()
    return {"seconds": held / max(engine, oracle, 1), "accelerator": kind}
