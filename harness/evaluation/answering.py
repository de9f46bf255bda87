"""A policy answers a benchmark's prompts: a stage of the store, so no policy answers twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from harness.accelerators import taken
from harness.config import identity
from harness.evaluation import audit
from harness.files import write_whole
from harness.protocols import Benchmark, GenerationEngine, PolicySource
from harness.runs import Stage
from harness.seeds import canonical, derive, digest
from harness.types import Advance, Answer, Completion, Policy, Prompt, Request, Track

VERSION = 2
"""Raised when the same inputs would now give other answers."""
FILE, FACTS = "answers.json", "facts.json"


def answer_stage(
    policy: PolicySource, benchmark: Benchmark, engine: GenerationEngine, seed: int
) -> Stage:
    """Return the stage that makes one answer a prompt, turn after turn.

    A prompt's seed depends on the seed and its id only: the answers of a benchmark with more
    prompts are the same where both have them.
    """
    prompts = conversation(benchmark, None)
    config = {
        "engine": identity(engine),
        "prompts": digest(
            [
                [p.id, [asdict(m) for m in p.messages], identity(benchmark.sampling_of(p))]
                for p in prompts
            ]
        ),
        "seed": seed,
    }
    label = f"{policy.name} · answer {benchmark.name}"
    make = partial(_answer, policy, engine, benchmark, seed, label)
    size = f"{len(prompts)} prompts"
    inputs = {"policy": policy.weights()}
    told = (config, inputs, make, label, size)
    return Stage("answer", VERSION, *told, device=True, accelerators=taken(engine))


def conversation(benchmark: Benchmark, answers: Iterable[Answer] | None) -> list[Prompt]:
    """Return the prompts of every turn; what follows on a prompt without an answer is left out.

    Without `answers` everything is taken to be answered with nothing: it shows how many there are.
    """
    said = None if answers is None else {answer.prompt_id: answer for answer in answers}
    turn, found = benchmark.prompts(), list[Prompt]()
    while turn:
        found += turn
        answered = turn if said is None else [p for p in turn if p.id in said]
        replies = [Answer(p.id, "") if said is None else said[p.id] for p in answered]
        turn = benchmark.next_prompts(answered, replies)
    return found


def samplings(benchmark: Benchmark, prompts: Sequence[Prompt]) -> list[Any]:
    """Return every way in which the prompts are sampled, once."""
    found = [identity(benchmark.sampling_of(prompt)) for prompt in prompts]
    return [told for i, told in enumerate(found) if told not in found[:i]]


def read_stage(path: str) -> tuple[Answer, ...]:
    """Read the answers of a stage that stands, in the order of the prompts."""
    rows = json.loads((Path(path) / FILE).read_text(encoding="utf-8"))
    return tuple(Answer(**row) for row in rows)


def read_facts(path: str) -> dict[str, Any]:
    """Read what a stage that stands tells of how it was made."""
    found: dict[str, Any] = json.loads((Path(path) / FACTS).read_text(encoding="utf-8"))
    return found


def _answer(
    policy: PolicySource,
    engine: GenerationEngine,
    benchmark: Benchmark,
    seed: int,
    label: str,
    out: Path,
    inputs: Mapping[str, str],
    track: Track,
) -> None:
    weights, turn = policy.at(inputs["policy"]), benchmark.prompts()
    facts: dict[str, Any] = {"engine": identity(engine), "seed": seed}
    facts["sampling"] = samplings(benchmark, turn)
    facts["rendering"] = audit.rendering(weights, turn)
    completions: list[Completion] = []
    with track(label, len(conversation(benchmark, None))) as advance:
        while turn:
            made = _turn(weights, engine, benchmark, seed, turn, advance)
            completions += made
            turn = benchmark.next_prompts(turn, [_plain(c) for c in made])
    facts["tokens"] = sum(len(c.token_ids) for c in completions)
    write_whole(out / FACTS, json.dumps(facts, indent=1, sort_keys=True))
    write_whole(out / FILE, json.dumps([asdict(_plain(c)) for c in completions], indent=1))


def _turn(
    policy: Policy,
    engine: GenerationEngine,
    benchmark: Benchmark,
    seed: int,
    prompts: Sequence[Prompt],
    advance: Advance,
) -> list[Completion]:
    """Answer one turn's prompts, those together that are sampled alike; return in their order."""
    alike: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        key = canonical(identity(benchmark.sampling_of(prompt)))
        alike.setdefault(key, []).append(prompt)
    found: dict[str, Completion] = {}
    for group in alike.values():
        requests = [Request(p, 1, derive(seed, "answer", p.id)) for p in group]
        sampling = benchmark.sampling_of(group[0])
        for completion in engine.generate(policy, requests, sampling, advance):
            found[completion.prompt_id] = completion
    return [found[prompt.id] for prompt in prompts]


def _plain(completion: Completion) -> Answer:
    return Answer(completion.prompt_id, completion.text, completion.finish_reason)
