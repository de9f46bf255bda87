"""Sampling and comparing in pieces: so many prompts each, done by whoever is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from harness.protocols import (
    Advance,
    GenerationEngine,
    PreferenceOracle,
    RewardOracle,
    Sampling,
)
from harness.seeds import derive
from harness.training import records
from harness.training.pairing import Table
from harness.training.spec import TrainSpec
from harness.types import Completion, Policy, Prompt, Request
from harness.work import Do, Work

Open = Callable[[Mapping[str, Any]], AbstractContextManager[Do]]
Answer = Callable[[Sequence[int], Advance], list[Completion]]
"""Answers the requests at some positions, in their order, as `generate` does."""
P = TypeVar("P")


@runtime_checkable
class Resident(Protocol):
    """An engine that keeps a policy's weights where they are needed while it answers often."""

    gpus: int
    """How many GPUs hold one copy of the weights, where there are GPUs."""

    def resident(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling
    ) -> AbstractContextManager[Answer]:
        """Load the policy; answer requests of these, no others, until the context is left."""


@runtime_checkable
class Keeping(Protocol):
    """An oracle that can keep its weights from one question to the next."""

    def kept(self) -> AbstractContextManager[None]:
        """Keep them until the context is left."""


def work(
    opened: Open,
    told: Mapping[str, Any],
    prompts: Sequence[Prompt],
    place: Path,
    gpus: int = 1,
) -> Work:
    """Return the work on prompts, as many a piece as the launcher wants.

    Args:
        opened: does it, e.g. `sampling` or `comparing`.
        told: what that is given: the method (`spec`), the iteration (`t`), and folders by what
            lies in them (`inputs`).
        prompts: those that lie in the folder `prompts`.
        place: where what a killed run goes on from lies.
        gpus: how many whoever does a piece needs.
    """
    piece = told["spec"].launcher.piece
    parts = [prompts[start : start + piece] for start in range(0, len(prompts), piece)]
    names = tuple(f"prompts {part[0].id!r} to {part[-1].id!r}" for part in parts)
    return Work(opened, told, tuple(map(len, parts)), place / f"pieces-of-{piece}", gpus, names)


def gpus(engine: GenerationEngine) -> int:
    """Return how many GPUs one copy of an engine takes."""
    return engine.gpus if isinstance(engine, Resident) else 1


def sampling(told: Mapping[str, Any]) -> AbstractContextManager[Do]:
    """Return what samples a piece's prompts."""
    spec, t, inputs = told["spec"], told["t"], told["inputs"]
    asked = [request(spec, t, prompt) for prompt in records.read_prompts(inputs["prompts"])]
    return sampled(spec, spec.policy.at(inputs["policy"]), asked)


@contextmanager
def sampled(spec: TrainSpec, policy: Policy, asked: Sequence[Request]) -> Iterator[Do]:
    """Yield what has the policy answer a piece's requests; of all there is one a prompt."""
    with answering(spec.engine, policy, asked, spec.sampling) as answer:

        def do(piece: int, out: Path, advance: Advance) -> None:
            positions = of_piece(range(len(asked)), spec, piece)
            records.write_completions(out, answer(positions, advance))

        yield do


def answering(
    engine: GenerationEngine, policy: Policy, asked: Sequence[Request], sampling: Sampling
) -> AbstractContextManager[Answer]:
    """Return what answers some of the requests, with the weights kept if the engine can."""
    if isinstance(engine, Resident):
        return engine.resident(policy, asked, sampling)

    def answer(positions: Sequence[int], advance: Advance) -> list[Completion]:
        return engine.generate(policy, [asked[at] for at in positions], sampling, advance)

    return nullcontext(answer)


@contextmanager
def comparing(told: Mapping[str, Any]) -> Iterator[Do]:
    """Yield what plays the rounds of a piece's prompts, and keeps rewards where there are any."""
    spec = told["spec"]
    prompts = records.read_prompts(told["inputs"]["prompts"])

    def do(piece: int, out: Path, advance: Advance) -> None:
        here = {p.id: p for p in of_piece(prompts, spec, piece)}
        sampled = records.read_completions(told["inputs"]["generate"], here)
        players = {key: taking_part(sampled[key], spec) for key in here if key in sampled}
        compare(spec, here, players, out, advance)

    with keeping(spec.oracle):
        yield do


def keeping(oracle: PreferenceOracle) -> AbstractContextManager[None]:
    """Return a context in which an oracle keeps its weights, if it can."""
    return oracle.kept() if isinstance(oracle, Keeping) else nullcontext()


def compare(
    spec: TrainSpec,
    prompts: Mapping[str, Prompt],
    players: Mapping[str, Sequence[Completion]],
    out: Path,
    advance: Advance,
) -> None:
    """Ask the oracle round by round; write what it says."""
    table = Table(spec.pairing, prompts, players)
    while table.open:
        table.answer(spec.oracle.compare(table.questions(), advance))
    records.write_comparisons(out, table.matrices)
    if isinstance(spec.oracle, RewardOracle):
        each = [c for responses in players.values() for c in responses]
        asked = [(prompts[c.prompt_id], c.text) for c in each]
        records.write_scores(out, each, spec.oracle.score(asked, advance))


def of_piece(prompts: Sequence[P], spec: TrainSpec, piece: int) -> Sequence[P]:
    """Return the part of a piece in what there is one of a prompt."""
    size = spec.launcher.piece
    return prompts[piece * size : (piece + 1) * size]


def request(spec: TrainSpec, t: int, prompt: Prompt) -> Request:
    """Return what the engine is asked of a prompt."""
    return Request(prompt, spec.samples, derive(spec.seed, "generate", t, prompt.id))


def taking_part(responses: Sequence[Completion], spec: TrainSpec) -> list[Completion]:
    """Return the responses that are compared: whole ones, unless truncated ones are kept."""
    return [c for c in responses if spec.keep_truncated or c.finish_reason == "stop"]
