"""The seams of the harness. Read this file first."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pydantic import Field

from harness.config import Component
from harness.runs import Node
from harness.types import Advance as Advance
from harness.types import (
    Answer,
    Answers,
    Comparison,
    Completion,
    Graded,
    JudgeRequest,
    Policy,
    Prompt,
    Reading,
    Reply,
    Request,
    Score,
    Verdict,
)
from harness.types import Logps as Logps
from harness.types import PairBatch as PairBatch
from harness.work import Launcher as Launcher

if TYPE_CHECKING:
    from torch import Tensor

Anchor = str
"""A frozen policy's name: `reference` (π_ref), `previous` (π_t), `previous-2` (π_{t-1}), ..."""
Match = tuple[int, int]
Matrix = Mapping[Match, float]


class Sampling(Component):
    """How a policy is sampled; part of what identifies the samples."""

    temperature: float = Field(1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(2048, gt=0)


@runtime_checkable
class Objective(Protocol):
    """A preference loss."""

    anchors: frozenset[Anchor]
    """The frozen policies whose log-probabilities it reads; where fewer went before, it gets
    fewer of `previous-2`, `previous-3`, ..."""
    win_rates: bool
    """Whether it reads P(y ≻ π_t), for which the pairing must compare all of a prompt's responses
    with each other."""

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,), unreduced."""

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the contrast inside the loss, shape (batch,); 0 where π equals its anchors."""


@runtime_checkable
class PolicySource(Protocol):
    """Where weights come from: a folder, a hub, or a recipe that makes them."""

    name: str

    def weights(self) -> Node:
        """Return the folder or hub id, or the stage that makes it."""

    def at(self, path: str) -> Policy:
        """Return the policy whose weights lie at `path` and that is otherwise like this one."""


@runtime_checkable
class PromptSource(Protocol):
    """Training prompts: a new set each iteration."""

    count: int | None
    """How many an iteration; None where only the source knows."""

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return the prompts of an iteration, counted from 1."""


@runtime_checkable
class GenerationEngine(Protocol):
    """Turns prompts into completions."""

    def generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        """Answer every request, in order: n completions each; `advance(1)` after every request.

        A completion depends on its own request only, never on its neighbours or their order. An
        engine may keep the weights between calls: see `harness.training.pieces.Resident`.
        """


@runtime_checkable
class PreferenceOracle(Protocol):
    """Labels training pairs."""

    transitive: bool
    """True for a scalar reward, False for a general preference."""

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1], for each comparison."""


@runtime_checkable
class RewardOracle(Protocol):
    """An oracle with a scalar reward, which is kept beside the comparisons."""

    def score(self, responses: Sequence[tuple[Prompt, str]], advance: Advance) -> list[float]:
        """Return the reward of each response to its prompt."""


@runtime_checkable
class Pairing(Protocol):
    """Chooses which of a prompt's K responses to compare, and which two to train on."""

    def rounds(self, k: int) -> Generator[Sequence[Match], Matrix, list[Match]]:
        """Yield the matches of each round, receive P(i preferred to j) by match; return pairs.

        A generator: `matrix = yield [(i, j), ...]`; it returns a list of (chosen, rejected).
        """


class Reader(Protocol):
    """What a protocol reads in a judge's replies; it is part of every benchmark."""

    def read(self, replies: Sequence[Reply]) -> Reading | None:
        """Read the replies to one request and its follow-ups, in order; None: it cannot be done."""

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Return what is asked after unreadable replies, perhaps the same again; None: nothing."""


@runtime_checkable
class Judge(Protocol):
    """Grades benchmark answers."""

    model: str

    def judge(
        self, requests: Sequence[JudgeRequest], reader: Reader, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; one that could not be read has no reading."""


@runtime_checkable
class Benchmark(Reader, Protocol):
    """A protocol of one version: prompts → answers → judge requests → readings → a score."""

    name: str
    usual_judge: str
    """Who grades where nobody else is named: a name of configs/judge."""
    baseline: PolicySource | None
    """Who answers first where the protocol brings no baseline answers of its own."""

    def prompts(self) -> list[Prompt]:
        """Return the questions, in their published order."""

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return the turn that follows these prompts and their answers; none: all is said."""

    def sampling_of(self, prompt: Prompt) -> Sampling:
        """Return how a policy is sampled that answers here."""

    def baseline_answers(self) -> list[Answer] | None:
        """Return the published answers to compare with; None where `baseline` must make them."""

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Render what the judge is asked; the baseline's answers are to the same prompts."""

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Score contestants side by side; unread verdicts are left out and counted."""

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the protocol's own texts by name: data files, judge prompts."""

    def read_answers(self, path: Path) -> list[Answers]:
        """Read an answers file in the protocol's own formats."""

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read a file with verdicts in the protocol's own formats, one item a contestant."""

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return texts in the protocol's own formats, by file name; they are read back equal."""
