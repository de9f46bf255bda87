"""From one judge to another: the new one grades what the old one graded, side by side.

Answers and the old verdicts come from published annotations. What is compared: the models' scores
and their order, the new judge's bias, agreement on single verdicts, the preference for the first
slot, and how far the new judge agrees with itself when it is asked again or the other way round.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from harness.errors import CheckError, InputError
from harness.evaluation.run import RememberingJudge
from harness.files import write_whole
from harness.protocols import Benchmark
from harness.runs import Workspace
from harness.seeds import derive
from harness.statistics.agreement import kappa, rank_correlation
from harness.statistics.bootstrap import interval
from harness.types import Advance, Estimate, Graded, JudgeRequest, Verdict

SWAPPED = "both_orders"
"""The key of a benchmark that can ask in both orders."""
REPEAT = {"user": "asked-again"}
"""Makes a request another one for the store, and the same for the judge."""
SEED = 0


@dataclass(frozen=True)
class Bridge:
    """Which judge is set beside which, on what."""

    benchmark: Benchmark
    old: str
    """The judge whose verdicts are published."""
    judge: RememberingJudge
    contestants: Sequence[Graded]
    """As the old judge graded them."""
    prompts: int | None = None
    """How many are drawn, the same for every contestant; None: all."""
    again: int = 50
    """How many requests are asked a second time, and how many the other way round."""


@dataclass(frozen=True)
class _Pair:
    """One contestant under both judges."""

    old: Graded
    new: Graded


def build(bridge: Bridge, workspace: Workspace) -> dict[str, Any]:
    """Have the new judge grade, compare, and leave the comparison in the workspace.

    Raises:
        JudgeError: the new judge cannot be asked; what it said so far is kept.
        CheckError: there is nothing that both judges could read.
    """
    samples = [sampled(graded, chosen(bridge)) for graded in bridge.contestants]
    asked = [bridge.benchmark.requests(one.answers, one.baseline) for one in samples]
    total = sum(map(len, asked))
    with workspace.track(f"{bridge.judge.model} · {bridge.benchmark.name}", total) as advance:
        pairs = [
            _Pair(_paired(one, requests), _graded(bridge, one, requests, advance))
            for one, requests in zip(samples, asked, strict=True)
        ]
    told = compared(bridge, pairs) | again(bridge, samples, asked)
    every = [request for requests in asked for request in requests]
    told["cost"] = asdict(bridge.judge.bill(every, bridge.benchmark))
    path = path_of(workspace, bridge)
    write_whole(path, json.dumps(told, indent=1, allow_nan=False) + "\n")
    return told | {"path": str(path)}


def path_of(workspace: Workspace, bridge: Bridge) -> Path:
    """Return where the comparison lies."""
    names = (bridge.old, bridge.judge.model, bridge.benchmark.name)
    name = "--".join(quote(one, safe=" +,@()=") for one in names)
    return workspace.root / "results" / "bridge" / f"{name}.json"


def chosen(bridge: Bridge) -> frozenset[str]:
    """Return the prompts that are asked about: drawn by their names, the same for everybody."""
    known = {answer.prompt_id for graded in bridge.contestants for answer in graded.answers}
    ranked = sorted(known, key=lambda name: (derive("bridge", name), name))
    return frozenset(ranked[: bridge.prompts])


def sampled(graded: Graded, prompts: frozenset[str]) -> Graded:
    """Return a contestant with some of its prompts only."""
    return replace(
        graded,
        answers=tuple(one for one in graded.answers if one.prompt_id in prompts),
        baseline=tuple(one for one in graded.baseline if one.prompt_id in prompts),
        prompts=tuple(one for one in graded.prompts if one.id in prompts),
    )


def compared(bridge: Bridge, pairs: Sequence[_Pair]) -> dict[str, Any]:
    """Return what two judges' verdicts on the same answers have in common, and what not."""
    verdicts = [both for pair in pairs for both in _both(pair)]
    if not verdicts:
        raise CheckError("there is no verdict that both judges gave and that could be read")
    names = [name for name, _, _ in verdicts]
    first = {"old": [old for _, old, _ in verdicts], "new": [new for _, _, new in verdicts]}
    old, new = ([category(value) for value in values] for values in first.values())
    scores = [_preferences(bridge.benchmark, pairs, side) for side in ("old", "new")]
    apart = [(name, a, b) for p in range(len(pairs)) for name, a, b in _columns(scores, p)]
    return {
        "from": bridge.old,
        "to": bridge.judge.model,
        "benchmark": bridge.benchmark.name,
        "prompts": len(set(names)),
        "verdicts": len(verdicts),
        "models": [_row(bridge.benchmark, pair) for pair in pairs],
        "rank_correlation": _told(_order(scores)),
        "bias": _told(
            interval([b - a for _, a, b in apart], seed=SEED, clusters=[name for name, *_ in apart])
        ),
        "kappa": _told(kappa(old, new, names, seed=SEED)),
        "same_verdict": _told(
            interval(
                [float(a == b) for a, b in zip(old, new, strict=True)], seed=SEED, clusters=names
            )
        ),
        "first_slot": {
            side: _told(interval(values, seed=SEED, clusters=names))
            for side, values in first.items()
        },
    }


def again(
    bridge: Bridge, samples: Sequence[Graded], asked: Sequence[Sequence[JudgeRequest]]
) -> dict[str, Any]:
    """Ask some requests a second time, and some with the answers swapped."""
    some = _some([one for requests in asked for one in requests], bridge.again)
    repeats = [replace(one, parameters={**one.parameters, **REPEAT}) for one in some]
    found: dict[str, Any] = {"self_consistency": _agreement(bridge, some, repeats, turned=False)}
    update = getattr(bridge.benchmark, "model_copy", None)
    if update is None or not hasattr(bridge.benchmark, SWAPPED):
        return found
    both = update(update={SWAPPED: True})
    pairs = [pair for one in samples for pair in _orders(both.requests(one.answers, one.baseline))]
    drawn = _some([first for first, _ in pairs], bridge.again)
    other = {id(first): second for first, second in pairs}
    swapped = [other[id(one)] for one in drawn]
    found["order_consistency"] = _agreement(bridge, drawn, swapped, turned=True)
    return found


def category(value: float) -> int:
    """Return whom a preference is for: the first (1), nobody (0) or the second (-1)."""
    return 0 if value == 0.5 else 1 if value > 0.5 else -1


def _graded(
    bridge: Bridge, one: Graded, requests: Sequence[JudgeRequest], advance: Advance
) -> Graded:
    verdicts = bridge.judge.judge(requests, bridge.benchmark, advance)
    return replace(one, judge=bridge.judge.model, verdicts=tuple(verdicts))


def _paired(one: Graded, requests: Sequence[JudgeRequest]) -> Graded:
    """Return the old verdicts on what the new judge is asked."""
    old = {verdict.request_id: verdict for verdict in one.verdicts}
    missing = [request.id for request in requests if request.id not in old]
    if missing:
        raise InputError(
            f"{one.label}: {len(missing)} of {len(requests)} comparisons have no old verdict, e.g. "
            f"{missing[0]}: name verdicts of the same protocol with --verdicts"
        )
    return replace(one, verdicts=tuple(old[request.id] for request in requests))


def _both(pair: _Pair) -> list[tuple[str, float, float]]:
    """Return the readings of both judges, with the prompt's name, where both could be read."""
    new = {verdict.request_id: verdict.reading for verdict in pair.new.verdicts}
    return [
        (verdict.request_id, verdict.reading.value, reading.value)
        for verdict in pair.old.verdicts
        if verdict.reading is not None and (reading := new[verdict.request_id]) is not None
    ]


def _row(benchmark: Benchmark, pair: _Pair) -> dict[str, Any]:
    """Return one model's figures under both judges."""
    old, new = (benchmark.score([graded])[0].estimates for graded in (pair.old, pair.new))
    names = [name for name in old if name in new]
    told = {name: {"old": _told(old[name]), "new": _told(new[name])} for name in names}
    unread = sum(verdict.reading is None for verdict in pair.new.verdicts)
    return {"label": pair.old.label, "unread": unread, **told}


def _preferences(benchmark: Benchmark, pairs: Sequence[_Pair], side: str) -> list[dict[str, float]]:
    """Return every model's preference by prompt, under one judge."""
    found = []
    for pair in pairs:
        graded: Graded = getattr(pair, side)
        items = benchmark.score([graded])[0].items
        won = {item["prompt_id"]: _won(item) for item in items}
        found.append({name: value for name, value in won.items() if value is not None})
    return found


def _won(item: Mapping[str, Any]) -> float | None:
    """Return the share of a prompt's points that a model won."""
    if "preference" in item:
        value: float | None = item["preference"]
        return value
    return item["won"] / item["weight"] if item.get("weight") else None


def _columns(
    scores: Sequence[Sequence[Mapping[str, float]]], place: int
) -> list[tuple[str, float, float]]:
    old, new = scores[0][place], scores[1][place]
    return [(name, value, new[name]) for name, value in old.items() if name in new]


def _order(scores: Sequence[Sequence[Mapping[str, float]]]) -> Estimate:
    names = sorted({name for side in scores for model in side for name in model})
    old, new = (
        np.array([[model.get(name, math.nan) for name in names] for model in side])
        for side in scores
    )
    return rank_correlation(old, new, seed=SEED)


def _some(requests: Sequence[JudgeRequest], count: int) -> list[JudgeRequest]:
    """Return some requests, spread over all of them."""
    step = max(1, len(requests) // count) if count else 1
    return list(requests[::step][:count])


def _orders(requests: Sequence[JudgeRequest]) -> list[tuple[JudgeRequest, JudgeRequest]]:
    """Return every comparison with the same one the other way round: they follow each other."""
    return list(zip(requests[::2], requests[1::2], strict=True))


def _agreement(
    bridge: Bridge,
    first: Sequence[JudgeRequest],
    second: Sequence[JudgeRequest],
    *,
    turned: bool,
) -> dict[str, Any] | None:
    """Return how often a judge prefers the same when it is asked twice, and how far it moves."""
    one, other = (
        bridge.judge.judge(requests, bridge.benchmark, lambda _: None)
        for requests in (first, second)
    )
    read = [
        (a.value, 1 - b.value if turned else b.value)
        for a, b in zip(map(_reading, one), map(_reading, other), strict=True)
        if a is not None and b is not None
    ]
    if not read:
        return None
    same = [float(category(a) == category(b)) for a, b in read]
    moved = [abs(a - b) for a, b in read]
    return {
        "requests": len(read),
        "same_verdict": _told(interval(same, seed=SEED)),
        "mean_difference": _told(interval(moved, seed=SEED)),
    }


def _reading(verdict: Verdict) -> Any:
    return verdict.reading


def _told(found: Estimate) -> dict[str, float | None]:
    """Return an estimate as data; what is not a number is null."""
    return {
        name: None if value is None or math.isnan(value) else value
        for name, value in asdict(found).items()
        if isinstance(value, float | int | None)
    }
