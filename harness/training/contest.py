"""Does the policy that an iteration made beat the one that it began with, where it did not train?

Some of an iteration's prompts are kept out of its pairs. On them the oracle compares a response of
π_{t+1} with one of π_t, whose samples are there already: it costs as many responses and
comparisons as there are such prompts, and the policy never sees them in training.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.files import write_whole
from harness.seeds import derive
from harness.training import records
from harness.training.spec import TrainSpec
from harness.types import Comparison, Completion, Prompt, Request, Track

CONTEST = "contest.json"
EVEN = 0.5
"""The win rate of a policy that is no better."""


def kept_out(spec: TrainSpec, t: int, prompts: Iterable[str]) -> set[str]:
    """Return the ids of the prompts that iteration t does not train on, whatever their order."""
    ordered = sorted(prompts, key=lambda key: (derive(spec.seed, "kept out", t, key), key))
    return set(ordered[: spec.contest_prompts])


def contest(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Sample π_{t+1}, have the oracle compare, write the win rate, and say where it loses."""
    from harness.statistics.bootstrap import interval

    before = records.read_completions(inputs["generate"])
    kept = kept_out(spec, t, before)
    prompts = [p for p in records.read_prompts(inputs["prompts"]) if p.id in kept]
    asked = [Request(p, 1, derive(spec.seed, "contest", t, p.id)) for p in prompts]
    policy = spec.policy.at(inputs["policy"])
    with track(f"iteration {t} · contest", len(asked)) as advance:
        after = spec.engine.generate(policy, asked, spec.sampling, advance)
    shares = played(spec, prompts, after, before, track)
    told = interval([100 * share for share in shares], seed=spec.seed)
    write_whole(out / CONTEST, json.dumps({**asdict(told), "prompts": len(shares)}, indent=1))
    if told.high is not None and told.high < 100 * EVEN:
        logging.getLogger(__name__).warning(
            "iteration %d: the policy that was made wins %.1f %% [%.1f, %.1f] of %d held-out "
            "comparisons with the one before: it has become worse by the oracle's own measure",
            *(t, told.value, told.low, told.high, len(shares)),
        )


def played(
    spec: TrainSpec,
    prompts: Sequence[Prompt],
    after: Sequence[Completion],
    before: Mapping[str, Sequence[Completion]],
    track: Track,
) -> list[float]:
    """Return P(π_{t+1}'s response preferred) by prompt; a half where the two are the same."""
    pairs = [
        Comparison(prompt, new.text, before[prompt.id][0].text)
        for prompt, new in zip(prompts, after, strict=True)
    ]
    unlike = [pair for pair in pairs if pair.first != pair.second]
    with track("held-out comparisons", 0) as advance:
        found = iter(spec.oracle.compare(unlike, advance) if unlike else [])
    return [EVEN if pair.first == pair.second else next(found) for pair in pairs]
