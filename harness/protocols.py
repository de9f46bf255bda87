"""The seams of the harness. Read this file first."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import Field

from harness.core.config import Component
from harness.core.hardware import ModelShape
from harness.core.jobs import GroupJob, ShardedJob
from harness.core.stages import Node, Stage
from harness.types import Advance as Advance
from harness.types import (
    Answer,
    Answers,
    Body,
    Comparison,
    Completion,
    CostEstimate,
    Graded,
    JudgeRequest,
    ParsedVerdict,
    Policy,
    Prompt,
    PublishedFigure,
    RawReply,
    Reply,
    Request,
    Score,
    Track,
    Usage,
    Verdict,
)
from harness.types import Logps as Logps
from harness.types import PairBatch as PairBatch

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.statistics.resampling import Floats
    from harness.theory.games import Games
    from harness.theory.population import Population
    from harness.theory.results import ExperimentResult

AnswerRequests = Callable[[Sequence[int], Advance], list[Completion]]
"""Answers the requests at some positions, in their order; `advance(1)` after every request."""

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

    def with_weights(self, path: str) -> Policy:
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
        engine may keep the weights between calls: see `harness.training.rollout.Resident`.
        """


@runtime_checkable
class SelectableEngine(Protocol):
    """An engine that `engine: auto` can select."""

    selection_reason: str
    """Why it was selected; empty if the user named it."""


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


class VerdictParser(Protocol):
    """What a protocol reads in a judge's replies; it is part of every benchmark."""

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Read the replies to one request and its follow-ups, in order; None: it cannot be done."""

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Return what is asked after unreadable replies, perhaps the same again; None: nothing."""


@runtime_checkable
class Judge(Protocol):
    """Grades benchmark answers."""

    @property
    def model(self) -> str:
        """The model that is asked for."""
        ...

    def judge(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; one that could not be read has no reading."""


@runtime_checkable
class Benchmark(VerdictParser, Protocol):
    """A protocol of one version: prompts → answers → judge requests → readings → a score."""

    name: str
    default_judge: str
    """Who grades where nobody else is named: a name of configs/judge."""
    baseline: PolicySource | None
    """Who answers first where the protocol brings no baseline answers of its own."""

    def prompts(self) -> list[Prompt]:
        """Return the questions, in their published order."""

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return the turn that follows these prompts and their answers; none: all is said."""

    def sampling_for(self, prompt: Prompt) -> Sampling:
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


@runtime_checkable
class SwappableBenchmark(Protocol):
    """A benchmark that can show the judge every pair of answers in both orders."""

    def in_both_orders(self) -> Benchmark:
        """Return the same benchmark; each request is followed by the one with answers swapped."""


@runtime_checkable
class Launcher(Protocol):
    """Where device work runs: in which processes, on which machines."""

    shard_size: int
    """Prompts that a worker samples or compares, or pairs that it scores, at a time."""

    def processes(self) -> int:
        """Return the number of processes for a training that does not set its own.

        Called when the training begins, because it may inspect machines or join a cluster.
        """

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        """Run every missing shard; another worker runs a lost worker's shard again."""

    def run_group(self, job: GroupJob, processes: int) -> None:
        """Call the job's function in each of several processes, as one torch process group."""


@runtime_checkable
class RunLauncher(Protocol):
    """A launcher that runs a whole run elsewhere, e.g. in a job of a cluster."""

    def launch(
        self,
        run: Callable[[Mapping[str, Any]], None],
        payload: Mapping[str, Any],
        report: Callable[[str], None],
    ) -> None:
        """Call `run`, which is importable by its name, once with plain data and components.

        `report` takes lines for the user.
        """


@runtime_checkable
class AcceleratorUser(Protocol):
    """What can tell how many accelerators it takes where there are any."""

    @property
    def accelerators(self) -> int:
        """Return how many; 0 where the work is done elsewhere, or needs none."""


def accelerators_needed(component: object) -> int:
    """Return how many accelerators a component takes; one where it does not tell."""
    return component.accelerators if isinstance(component, AcceleratorUser) else 1


@runtime_checkable
class HasModelShape(Protocol):
    """What can tell how large its model is."""

    def sizes(self) -> ModelShape | None:
        """Return the model's sizes; None where they are not known."""


@runtime_checkable
class TokenEstimator(HasModelShape, Protocol):
    """An oracle that can tell how much it reads."""

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return how many tokens it reads to compare k responses to a prompt so often.

        Args:
            prompt: the prompt's length, in tokens.
            response: a response's mean length, in tokens.
            k: how many responses there are.
            comparisons: how many comparisons are asked.
        """


class RequestQueue(Protocol):
    """Gives out requests one at a time, so that no more are in memory than are being asked."""

    def next(self) -> tuple[int, Body] | None:
        """Return a place and what is to be asked there; None: nothing at the moment."""
        ...

    def is_done(self) -> bool:
        """Say whether nothing will be given out any more."""
        ...

    def keep(self, replies: Sequence[RawReply]) -> None:
        """Store replies; on return they are on the disk.

        Raises:
            StoreError: they could not be stored.
        """
        ...

    def record_failure(self, index: int, reason: str) -> None:
        """Note a try without a verdict that may be on the bill all the same."""
        ...

    def record_refusal(self, index: int, reason: str) -> None:
        """Keep that the server will not take one request, and why.

        Raises:
            StoreError: it could not be stored.
        """
        ...


@runtime_checkable
class JudgeClient(Protocol):
    """Asks a judge, and remembers nothing."""

    @property
    def model(self) -> str:
        """The model that is asked for, and that must be served."""
        ...

    @property
    def unparsed_attempts(self) -> int:
        """How many replies a request may have, follow-ups included, while none can be read."""
        ...

    @property
    def served_as(self) -> tuple[str, ...]:
        """Other names under which the same model may be served."""
        ...

    @property
    def url(self) -> str:
        """The server's base URL; empty where there is no server."""
        ...

    @property
    def concurrency(self) -> int:
        """The largest number of requests in flight; cost estimates use it."""
        ...

    @property
    def retry_refused(self) -> bool:
        """Whether requests that the server refused in an earlier run are asked again."""
        ...

    @property
    def display_name(self) -> str:
        """The judge as error messages name it, e.g. `the judge gpt-4 at https://...`."""
        ...

    def body(self, request: JudgeRequest) -> Body:
        """Return the whole request: what a verdict is kept under."""
        ...

    def ask(self, queue: RequestQueue) -> None:
        """Ask what the desk gives out until it is done.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good; what it said is kept.
        """
        ...


@runtime_checkable
class KeepsPolicy(Protocol):
    """An engine that keeps a policy's weights where they are needed while it answers often."""

    gpus: int
    """How many GPUs hold one copy of the weights, where there are GPUs."""

    def resident(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling
    ) -> AbstractContextManager[AnswerRequests]:
        """Load the policy; answer requests of these, no others, until the context is left."""


@runtime_checkable
class KeepsWeights(Protocol):
    """An oracle that can keep its weights from one question to the next."""

    def keep_loaded(self) -> AbstractContextManager[None]:
        """Keep them until the context is left."""


@runtime_checkable
class Tracker(Protocol):
    """Receives figures by name as a training goes on."""

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a training; `config` is plain data."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the figures of a step."""

    def finish(self) -> None:
        """End the training."""


@runtime_checkable
class InstructionCorpus(Protocol):
    """Instructions with answers."""

    def examples(self) -> list[tuple[str, str]]:
        """Return (instruction, answer) pairs."""
        ...

    def words(self) -> list[str]:
        """Return every word that the texts can hold."""
        ...


@runtime_checkable
class GameSource(Protocol):
    """A recipe for exact games."""

    name: str

    def draw(self, seed: int) -> Games:
        """Return the games; the same seed gives the same games."""
        ...


@runtime_checkable
class PairSource(Protocol):
    """A distribution of training pairs in exact games, or a sample of it."""

    def weights(self, preference: Floats, policy: Floats, rng: np.random.Generator) -> Floats:
        """Return the frequency of each (chosen, rejected), shape (rows, actions, actions).

        Args:
            preference: P(i ≻ j), shape (rows, actions, actions).
            policy: π_t, shape (rows, actions).
            rng: The source of randomness of a sample.
        """
        ...


@runtime_checkable
class PopulationSolver(Protocol):
    """Minimises an objective's population loss in exact games."""

    def solve(self, population: Population, start: Floats) -> Floats:
        """Return the logits reached from the logits `start`, both of shape (rows, actions)."""
        ...


@runtime_checkable
class Experiment(Protocol):
    """A file of configs/theory."""

    def run(self, track: Track) -> ExperimentResult:
        """Run the experiment; return its tables and figures."""
        ...


@runtime_checkable
class LmEvalEngine(Protocol):
    """An engine whose model lm-eval can load, too."""

    @property
    def python(self) -> str | None:
        """The interpreter that has lm-eval; None: the current one."""
        ...

    def lm_eval(self, policy: Policy) -> dict[str, Any]:
        """Return `model` (lm-eval's name of the model class), `arguments` and `environment`."""
        ...


@runtime_checkable
class AssetConverter(Protocol):
    """Converts a downloaded file into the content of an asset."""

    def convert(self, text: str) -> Any:
        """Return the content, to be written as JSON."""
        ...


@runtime_checkable
class PersistentJudge(Judge, Protocol):
    """A judge that keeps its verdicts."""

    def count_pending(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> int:
        """Return how many of the requests it would have to be asked."""
        ...

    def estimate_cost(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> CostEstimate:
        """Say what asking those of them will take that are not stored."""
        ...

    def usage(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> Usage:
        """Return what the verdicts on them have cost, in whatever run."""
        ...

    def request_settings(self, request: JudgeRequest) -> Mapping[str, Any]:
        """Return what a request is asked with besides its text: the protocol's and its own."""
        ...


@runtime_checkable
class TrainedPolicySource(Protocol):
    """A policy that a run has made."""

    def run(self) -> Mapping[str, Any]:
        """Return the run's name, its method, the iteration, and the policy that it began with."""
        ...


@runtime_checkable
class TaskSuite(Protocol):
    """Tasks whose answers are known, in place of a benchmark that asks a judge."""

    @property
    def name(self) -> str:
        """What results are filed under."""
        ...

    def stages(
        self, policy: PolicySource, engine: GenerationEngine
    ) -> AbstractContextManager[list[Stage]]:
        """Lend a stage a task; none is made before it is asked for."""
        ...

    def score(self, folders: Sequence[Path]) -> Score:
        """Score the stages' folders, in their order."""
        ...

    def sources(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return what identifies each task; results that differ in one share no column."""
        ...

    def facts(self, folders: Sequence[Path]) -> Mapping[str, Any]:
        """Return how each task was taken."""
        ...

    def versions(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return the versions of the packages that the tasks were taken with."""
        ...

    def files(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return the records of single items by file name."""
        ...


@runtime_checkable
class PublishedScores(Protocol):
    """A benchmark whose published scores can be recomputed from published verdicts."""

    def published(self) -> Iterator[PublishedFigure]:
        """Yield every published figure beside the one recomputed from its verdicts."""
        ...
