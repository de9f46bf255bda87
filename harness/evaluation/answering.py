"""A policy answers a benchmark's prompts: a stage of the store, so no policy answers twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from harness.config import identity
from harness.files import write_whole
from harness.protocols import Benchmark, GenerationEngine, PolicySource, Sampling
from harness.runs import Stage
from harness.seeds import derive, digest
from harness.types import Answer, Prompt, Request, Track

VERSION = 1
"""Raised when the same inputs would now give other answers."""
FILE = "answers.json"


def answer_stage(
    policy: PolicySource, benchmark: Benchmark, engine: GenerationEngine, seed: int
) -> Stage:
    """Return the stage that makes one answer a prompt.

    A prompt's seed depends on the seed and its id only: the answers of a benchmark with more
    prompts are the same where both have them.
    """
    prompts = benchmark.prompts()
    config = {
        "engine": identity(engine),
        "sampling": identity(benchmark.sampling),
        "prompts": digest([[p.id, [asdict(m) for m in p.messages]] for p in prompts]),
        "seed": seed,
    }
    label = f"{policy.name} · answer {benchmark.name}"
    make = partial(_answer, policy, engine, benchmark.sampling, seed, prompts, label)
    size = f"{len(prompts)} prompts"
    inputs = {"policy": policy.weights()}
    return Stage("answer", VERSION, config, inputs, make, label, size, device=True)


def read_stage(path: str) -> tuple[Answer, ...]:
    """Read the answers of a stage that stands, in the order of the prompts."""
    rows = json.loads((Path(path) / FILE).read_text(encoding="utf-8"))
    return tuple(Answer(**row) for row in rows)


def _answer(
    policy: PolicySource,
    engine: GenerationEngine,
    sampling: Sampling,
    seed: int,
    prompts: Sequence[Prompt],
    label: str,
    out: Path,
    inputs: Mapping[str, str],
    track: Track,
) -> None:
    requests = [Request(p, 1, derive(seed, "answer", p.id)) for p in prompts]
    weights = policy.at(inputs["policy"])
    with track(label, len(requests)) as advance:
        completions = engine.generate(weights, requests, sampling, advance)
    rows = [
        {"prompt_id": c.prompt_id, "text": c.text, "finish_reason": c.finish_reason}
        for c in completions
    ]
    write_whole(out / FILE, json.dumps(rows, indent=1))
