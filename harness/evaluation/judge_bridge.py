"""Compare a new judge with an old one on the same answers.

The answers and the old verdicts come from published annotations. The comparison covers the models'
scores and their ranking, the new judge's bias, the agreement on single verdicts, the preference for
the first slot, and how consistent the new judge is when it is asked again or in the other order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.io import file_name, write_atomically
from harness.core.seeds import derive
from harness.core.workspace import Workspace, bridge_directory, file_of, with_sum
from harness.errors import CheckError, InputError
from harness.evaluation.identities import answers_sha256, benchmark_identity
from harness.protocols import Benchmark, PersistentJudge, SwappableBenchmark
from harness.statistics.agreement import kappa_interval, rank_correlation
from harness.statistics.bootstrap import interval
from harness.statistics.intervals import SHARE
from harness.types import Advance, Estimate, Graded, JudgeRequest, Score

REPEAT = {"user": "asked-again"}
"""Gives a repeated request its own key in the verdict store; the judge sees the same text."""
SEED = 0
BRIDGE_SCHEMA = 5
"""Of a comparison's file, as of results: before 5 there was none, and no sha256."""


@dataclass(frozen=True)
class JudgeBridge:
    """Which two judges are compared, and on which answers."""

    benchmark: Benchmark
    old: str
    """The judge whose verdicts are published."""
    judge: PersistentJudge
    contestants: Sequence[Graded]
    """With the old judge's verdicts."""
    prompts: int | None = None
    """How many prompts are sampled, the same for every contestant; None: all."""
    repeats: int = 50
    """How many requests are repeated, and how many are asked in the other order."""


@dataclass(frozen=True)
class _JudgePair:
    """One contestant under both judges."""

    old: Graded
    new: Graded


def run_bridge(bridge: JudgeBridge, workspace: Workspace) -> dict[str, Any]:
    """Have the new judge grade the answers, and write the comparison to the workspace.

    Raises:
        JudgeError: the new judge cannot be reached; its verdicts so far are stored.
        CheckError: no comparison has a parsed verdict of both judges.
    """
    samples = [restrict(graded, draw_prompts(bridge)) for graded in bridge.contestants]
    batches = [bridge.benchmark.requests(sample.answers, sample.baseline) for sample in samples]
    total = sum(map(len, batches))
    with workspace.track(f"{bridge.judge.model} · {bridge.benchmark.name}", total) as advance:
        pairs = [
            _JudgePair(
                _with_old_verdicts(sample, requests), _grade(bridge, sample, requests, advance)
            )
            for sample, requests in zip(samples, batches, strict=True)
        ]
    comparison = compare_judges(bridge, pairs) | measure_consistency(bridge, samples, batches)
    all_requests = [request for requests in batches for request in requests]
    comparison["cost"] = asdict(bridge.judge.usage(all_requests, bridge.benchmark))
    identity = bridge_identity(bridge, all_requests)
    path = bridge_path(workspace, bridge, identity)
    record = with_sum({"schema": BRIDGE_SCHEMA, "identity": identity, **comparison})
    write_atomically(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return comparison | {"path": str(path)}


def bridge_identity(bridge: JudgeBridge, requests: Sequence[JudgeRequest]) -> dict[str, Any]:
    """Return what is compared: benchmark, both judges, contestants, and sizes of samples."""
    judge = bridge.judge
    settings = judge.request_settings(requests[0]) if requests else {}
    return {
        "benchmark": benchmark_identity(bridge.benchmark, bridge.benchmark.sources()),
        "from": bridge.old,
        "to": {"model": judge.model, "settings": dict(settings)},
        "contestants": [
            [graded.label, answers_sha256(graded.answers)] for graded in bridge.contestants
        ],
        "prompts": bridge.prompts,
        "repeats": bridge.repeats,
    }


def bridge_path(workspace: Workspace, bridge: JudgeBridge, identity: Mapping[str, Any]) -> Path:
    """Return the path of the comparison: the one with this identity, or else the first free one.

    Raises:
        StoreError: a file of these judges and this benchmark cannot be read.
    """
    names = (bridge.old, bridge.judge.model, bridge.benchmark.name)
    name = "--".join(file_name(name).replace("~", "%7E") for name in names)
    return file_of(bridge_directory(workspace) / f"{name}.json", identity)


def draw_prompts(bridge: JudgeBridge) -> frozenset[str]:
    """Sample the prompts by a hash of their ids: the same prompts for every contestant."""
    known = {answer.prompt_id for graded in bridge.contestants for answer in graded.answers}
    ranked = sorted(known, key=lambda name: (derive("bridge", name), name))
    return frozenset(ranked[: bridge.prompts])


def restrict(graded: Graded, prompts: frozenset[str]) -> Graded:
    """Return a contestant restricted to some of its prompts."""
    return replace(
        graded,
        answers=tuple(answer for answer in graded.answers if answer.prompt_id in prompts),
        baseline=tuple(answer for answer in graded.baseline if answer.prompt_id in prompts),
        prompts=tuple(prompt for prompt in graded.prompts if prompt.id in prompts),
    )


def compare_judges(bridge: JudgeBridge, pairs: Sequence[_JudgePair]) -> dict[str, Any]:
    """Return scores, ranking, bias and agreement of two judges on the same answers."""
    verdicts = [row for pair in pairs for row in _parsed_by_both(pair)]
    if not verdicts:
        raise CheckError("no comparison has a parsed verdict of both judges")
    names = [name for name, _, _ in verdicts]
    first_slot = {"old": [old for _, old, _ in verdicts], "new": [new for _, _, new in verdicts]}
    old, new = ([category(value) for value in values] for values in first_slot.values())
    scored = [
        [bridge.benchmark.score([graded])[0] for graded in (pair.old, pair.new)] for pair in pairs
    ]
    scores = [[preferences_by_prompt(sides[side]) for sides in scored] for side in (0, 1)]
    differences = [
        (name, a, b) for p in range(len(pairs)) for name, a, b in _common_prompts(scores, p)
    ]
    return {
        "from": bridge.old,
        "to": bridge.judge.model,
        "benchmark": bridge.benchmark.name,
        "prompts": len(set(names)),
        "verdicts": len(verdicts),
        "models": [_model_row(pair, *sides) for pair, sides in zip(pairs, scored, strict=True)],
        "rank_correlation": _estimate_data(_rank_correlation(scores)),
        "bias": _estimate_data(
            interval(
                [b - a for _, a, b in differences],
                seed=SEED,
                clusters=[name for name, *_ in differences],
            )
        ),
        "kappa": _estimate_data(kappa_interval(old, new, names, seed=SEED)),
        "same_verdict": _estimate_data(
            interval(
                [float(a == b) for a, b in zip(old, new, strict=True)],
                seed=SEED,
                clusters=names,
                bounds=SHARE,
            )
        ),
        "first_slot": {
            side: _estimate_data(interval(values, seed=SEED, clusters=names, bounds=SHARE))
            for side, values in first_slot.items()
        },
    }


def measure_consistency(
    bridge: JudgeBridge, samples: Sequence[Graded], batches: Sequence[Sequence[JudgeRequest]]
) -> dict[str, Any]:
    """Repeat some requests, and ask some with the answers swapped."""
    originals = _subsample(
        [request for requests in batches for request in requests], bridge.repeats
    )
    repeats = [
        replace(request, parameters={**request.parameters, **REPEAT}) for request in originals
    ]
    consistency: dict[str, Any] = {
        "self_consistency": _agreement(bridge, originals, repeats, swapped=False)
    }
    if not isinstance(bridge.benchmark, SwappableBenchmark):
        return consistency
    two_order_benchmark = bridge.benchmark.in_both_orders()
    pairs = [
        pair
        for sample in samples
        for pair in _swapped_pairs(two_order_benchmark.requests(sample.answers, sample.baseline))
    ]
    forward = _subsample([first for first, _ in pairs], bridge.repeats)
    swapped_by_id = {id(first): second for first, second in pairs}
    swapped = [swapped_by_id[id(request)] for request in forward]
    consistency["order_consistency"] = _agreement(bridge, forward, swapped, swapped=True)
    return consistency


def category(value: float) -> int:
    """Return the winner of a preference: the first answer (1), neither (0) or the second (-1)."""
    return 0 if value == 0.5 else 1 if value > 0.5 else -1


def _grade(
    bridge: JudgeBridge, sample: Graded, requests: Sequence[JudgeRequest], advance: Advance
) -> Graded:
    verdicts = bridge.judge.judge(requests, bridge.benchmark, advance)
    return replace(sample, judge=bridge.judge.model, verdicts=tuple(verdicts))


def _with_old_verdicts(sample: Graded, requests: Sequence[JudgeRequest]) -> Graded:
    old = {verdict.request_id: verdict for verdict in sample.verdicts}
    missing = [request.id for request in requests if request.id not in old]
    if missing:
        raise InputError(
            f"{sample.label}: {len(missing)} of {len(requests)} comparisons have no old verdict, "
            f"e.g. {missing[0]}: name verdicts of the same protocol with --verdicts"
        )
    return replace(sample, verdicts=tuple(old[request.id] for request in requests))


def _parsed_by_both(pair: _JudgePair) -> list[tuple[str, float, float]]:
    """Return (request id, old, new) of every comparison with a parsed verdict of both judges."""
    new = {verdict.request_id: verdict.parsed for verdict in pair.new.verdicts}
    return [
        (verdict.request_id, verdict.parsed.value, parsed.value)
        for verdict in pair.old.verdicts
        if verdict.parsed is not None and (parsed := new[verdict.request_id]) is not None
    ]


def _model_row(pair: _JudgePair, old_score: Score, new_score: Score) -> dict[str, Any]:
    old, new = old_score.estimates, new_score.estimates
    figures = {
        name: {"old": _estimate_data(old[name]), "new": _estimate_data(new[name])}
        for name in old
        if name in new
    }
    unparsed = sum(verdict.parsed is None for verdict in pair.new.verdicts)
    return {"label": pair.old.label, "unparsed": unparsed, **figures}


def preferences_by_prompt(score: Score) -> dict[str, float]:
    """Return a model's share of points by prompt."""
    shares = {item["prompt_id"]: _share_won(item) for item in score.items}
    return {name: value for name, value in shares.items() if value is not None}


def _share_won(item: Mapping[str, Any]) -> float | None:
    if "preference" in item:
        value: float | None = item["preference"]
        return value
    return item["won"] / item["weight"] if item.get("weight") else None


def _common_prompts(
    scores: Sequence[Sequence[Mapping[str, float]]], index: int
) -> list[tuple[str, float, float]]:
    old, new = scores[0][index], scores[1][index]
    return [(name, value, new[name]) for name, value in old.items() if name in new]


def _rank_correlation(scores: Sequence[Sequence[Mapping[str, float]]]) -> Estimate:
    names = sorted({name for side in scores for model in side for name in model})
    old, new = (
        np.array([[model.get(name, math.nan) for name in names] for model in side])
        for side in scores
    )
    return rank_correlation(old, new, seed=SEED)


def _subsample(requests: Sequence[JudgeRequest], count: int) -> list[JudgeRequest]:
    """Return requests at equal distances."""
    step = max(1, len(requests) // count) if count else 1
    return list(requests[::step][:count])


def _swapped_pairs(requests: Sequence[JudgeRequest]) -> list[tuple[JudgeRequest, JudgeRequest]]:
    """Return every comparison with its swapped twin, which follows it."""
    return list(zip(requests[::2], requests[1::2], strict=True))


def _agreement(
    bridge: JudgeBridge,
    first: Sequence[JudgeRequest],
    second: Sequence[JudgeRequest],
    *,
    swapped: bool,
) -> dict[str, Any] | None:
    """Return how often two verdicts on the same comparison agree, and their mean difference."""
    first_verdicts, second_verdicts = (
        bridge.judge.judge(requests, bridge.benchmark, lambda _: None)
        for requests in (first, second)
    )
    parsed = [
        (a.value, 1 - b.value if swapped else b.value)
        for first_verdict, second_verdict in zip(first_verdicts, second_verdicts, strict=True)
        if (a := first_verdict.parsed) is not None and (b := second_verdict.parsed) is not None
    ]
    if not parsed:
        return None
    agreements = [float(category(a) == category(b)) for a, b in parsed]
    shifts = [abs(a - b) for a, b in parsed]
    return {
        "requests": len(parsed),
        "same_verdict": _estimate_data(interval(agreements, seed=SEED, bounds=SHARE)),
        "mean_difference": _estimate_data(interval(shifts, seed=SEED, bounds=SHARE)),
    }


def _estimate_data(estimate: Estimate | None) -> dict[str, float | None]:
    """Return an estimate as data; NaN and undefined values become null."""
    if estimate is None:
        return dict.fromkeys(field.name for field in fields(Estimate))
    return {
        name: None if value is None or math.isnan(value) else value
        for name, value in asdict(estimate).items()
        if isinstance(value, float | int | None)
    }
