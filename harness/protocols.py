"""Every interface that code from outside may implement. Read this file first.

An implementation needs no base class; a configuration names it with `use: package.module:Name`, and
`docs/extending.md` shows an example of most.
"""

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

Anchor = str
"""A frozen policy's name: `reference` (π_ref), `previous` (π_t), `previous-2` (π_{t-1}), ..."""
Match = tuple[int, int]
"""Two responses to one prompt, by index."""
Matrix = Mapping[Match, float]
"""P(first preferred to second) by match."""
AnswerRequests = Callable[[Sequence[int], Advance], list[Completion]]
"""Answers the requests at these positions, in order; calls `advance(1)` after each request."""


# --- Training -------------------------------------------------------------------------------------


class Sampling(Component):
    """How a policy is sampled; part of the identity of the samples."""

    temperature: float = Field(1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(2048, gt=0)


@runtime_checkable
class Objective(Protocol):
    """A preference loss; `reads` may name what it needs of a batch, of `rewards` and `samplers`."""

    anchors: frozenset[Anchor]
    """The frozen policies that it reads; at first there are fewer of `previous-2`, ..."""
    win_rates: bool
    """Whether it reads P(y ≻ π_t), for which a pairing must compare all responses to a prompt."""

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,), unreduced."""

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the contrast inside the loss, shape (batch,); 0 where π equals its anchors."""


@runtime_checkable
class HasTarget(Protocol):
    """An objective that pulls the margin of every pair to the same value."""

    @property
    def target(self) -> float:
        """The value, in nats; metrics report the margin's distance from it."""


@runtime_checkable
class PolicySource(Protocol):
    """Where a policy's weights come from: a directory, a hub, or a recipe that trains them."""

    name: str
    """What tables call the policy."""

    def weights(self) -> Node:
        """Return the directory or hub id, or the stage that produces the weights."""

    def with_weights(self, path: str) -> Policy:
        """Return this policy with its weights read from `path`."""


@runtime_checkable
class PromptSource(Protocol):
    """Training prompts: a new set for each iteration."""

    count: int | None
    """Prompts per iteration; None if it is not known before they are read."""

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return the prompts of an iteration, counted from 1."""


@runtime_checkable
class RowSource(Protocol):
    """Makes preference pairs, in place of a file or a data set of the hub."""

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return rows of columns: `prompt`, `chosen`, `rejected`, perhaps `probability`."""


@runtime_checkable
class GenerationEngine(Protocol):
    """Samples completions of prompts from a policy."""

    def generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        """Answer every request, in order: n completions each; call `advance(1)` after each request.

        A completion depends on its own request only, never on other requests or their order.

        Raises:
            PolicyError: the weights, the tokenizer or the chat template cannot be used.
            EngineError: generation failed.
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
    """An oracle with a scalar reward, which is stored beside the comparisons."""

    def score(self, responses: Sequence[tuple[Prompt, str]], advance: Advance) -> list[float]:
        """Return the reward of each response to its prompt."""


@runtime_checkable
class Pairing(Protocol):
    """Chooses which of a prompt's K responses to compare, and which pairs to train on."""

    def rounds(self, k: int) -> Generator[Sequence[Match], Matrix, list[Match]]:
        """Yield the matches of each round, and return the pairs, as a list of (chosen, rejected).

        A generator: `matrix = yield [(i, j), ...]` is P(i preferred to j) by match.
        """


@runtime_checkable
class InstructionCorpus(Protocol):
    """Instructions with answers, for supervised fine-tuning."""

    def examples(self) -> list[tuple[str, str]]:
        """Return (instruction, answer) pairs."""

    def words(self) -> list[str]:
        """Return every word that the texts can contain: the tokenizer's vocabulary."""


@runtime_checkable
class Tracker(Protocol):
    """Receives a training's metrics while it runs."""

    def start(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run; `config` is plain data."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Receive the metrics of a step."""

    def finish(self) -> None:
        """End the run."""


# --- Judging --------------------------------------------------------------------------------------


class VerdictParser(Protocol):
    """Reads a judge's replies; every benchmark is one."""

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the verdict in the replies to one request and its follow-ups, in order.

        None: the replies cannot be parsed.
        """

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Return the request that follows unparsable replies, perhaps the same; None: no more."""


@runtime_checkable
class Judge(Protocol):
    """Grades benchmark answers."""

    @property
    def model(self) -> str:
        """The model that is asked for."""

    def judge(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> list[Verdict]:
        """Return a verdict per request, in order; JudgeError if the judge cannot be asked."""


@runtime_checkable
class PersistentJudge(Judge, Protocol):
    """A judge that stores its verdicts."""

    def count_pending(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> int:
        """Return how many of the requests have no stored verdict."""

    def estimate_cost(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> CostEstimate:
        """Return the expected cost of the requests that have no stored verdict."""

    def usage(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> Usage:
        """Return what the stored verdicts on the requests have cost, over all runs."""

    def request_settings(self, request: JudgeRequest) -> Mapping[str, Any]:
        """Return everything that is sent with a request besides its text."""


@runtime_checkable
class ReadyJudge(Protocol):
    """A judge that knows in advance why it cannot be asked."""

    def check_ready(self) -> None:
        """Raise what asking would end with: no key, no server, a retired model."""


@runtime_checkable
class JudgeClient(Protocol):
    """Sends requests to a judge; it stores nothing and is not itself a `Judge`."""

    @property
    def model(self) -> str:
        """The model that is asked for, and that must be served."""

    @property
    def unparsed_attempts(self) -> int:
        """The most replies per request, follow-ups included, while none can be parsed."""

    @property
    def served_as(self) -> tuple[str, ...]:
        """Other names under which the same model may be served."""

    @property
    def url(self) -> str:
        """The server's base URL; empty if there is no server."""

    @property
    def concurrency(self) -> int:
        """The largest number of requests in flight; cost estimates use it."""

    @property
    def retry_missing(self) -> bool:
        """Whether requests that ended without a verdict in an earlier run are asked again."""

    @property
    def display_name(self) -> str:
        """The judge as error messages name it, e.g. `the judge gpt-4 at https://...`."""

    def body(self, request: JudgeRequest) -> Body:
        """Return the whole body of a request, under which its verdict is stored."""

    def ask(self, queue: RequestQueue) -> None:
        """Send a queue's requests until it is done; JudgeError if the judge cannot be asked."""


class RequestQueue(Protocol):
    """Hands requests to a client one at a time, so that only those in flight are in memory."""

    def next(self) -> tuple[int, Body] | None:
        """Return the index and the body of a request; None: there is none at the moment."""

    def is_done(self) -> bool:
        """Return whether no request will follow."""

    def keep(self, replies: Sequence[RawReply]) -> None:
        """Store replies: they are on the disk when it returns; StoreError if they are not."""

    def count_answered(self) -> int:
        """Return how many requests have a reply, those of earlier runs included."""

    def record_failure(self, index: int, reason: str) -> None:
        """Record a failed attempt that may have been billed; BudgetError ends the run."""

    def record_refusal(self, index: int, reason: str) -> None:
        """Store why a request has no reply, and never will; StoreError if that cannot be stored."""


# --- Benchmarks -----------------------------------------------------------------------------------


@runtime_checkable
class Benchmark(VerdictParser, Protocol):
    """One version of a protocol: prompts → answers → judge requests → verdicts → a score."""

    name: str
    default_judge: str
    """The judge that grades unless the user names another: a name of configs/judge."""
    baseline: PolicySource | None
    """The policy that generates the baseline's answers if the protocol has no published ones."""

    def prompts(self) -> list[Prompt]:
        """Return the questions, in their published order."""

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return the next turn after these prompts and their answers; empty after the last turn."""

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return how a policy is sampled to answer a prompt."""

    def baseline_answers(self) -> list[Answer] | None:
        """Return the published answers to compare with; None if `baseline` must generate them."""

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return the judge requests; the baseline's answers are to the same prompts."""

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Score several submissions together; unparsed verdicts are left out and counted."""

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the protocol's own texts by name: data files, judge prompts."""

    def read_answers(self, path: Path) -> list[Answers]:
        """Read an answers file in the protocol's own formats; raise InputError on another."""

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read a verdicts file of the protocol, one item per submission; InputError on another."""

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return texts in the protocol's own formats by file name; reading them gives `graded`."""


@runtime_checkable
class SwappableBenchmark(Protocol):
    """A benchmark that can show the judge every pair of answers in both orders."""

    def in_both_orders(self) -> Benchmark:
        """Return the same benchmark; each request is followed by the one with answers swapped."""


@runtime_checkable
class CheckedBenchmark(Protocol):
    """A benchmark whose answers a program checks, so that it needs no judge."""

    name: str

    def checker(self) -> str:
        """Return the program and its version, which take the judge's place in tables."""

    def check(self, answers: Sequence[Answer], advance: Advance) -> list[Verdict]:
        """Return one verdict per answer, in order."""


@runtime_checkable
class PublishedScores(Protocol):
    """A benchmark whose published scores can be recomputed from published verdicts."""

    def published(self) -> Iterator[PublishedFigure]:
        """Yield every published figure beside the one recomputed from its verdicts."""


@runtime_checkable
class TaskSuite(Protocol):
    """Tasks with known answers, evaluated without a judge."""

    @property
    def name(self) -> str:
        """The name under which results are stored."""

    def stages(
        self, policy: PolicySource, engine: GenerationEngine
    ) -> AbstractContextManager[list[Stage]]:
        """Return one stage per task, which can run while the context is open."""

    def score(self, folders: Sequence[Path]) -> Score:
        """Score the results of the stages, in their order."""

    def sources(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return what identifies each task; results that differ in it share no table column."""

    def facts(self, folders: Sequence[Path]) -> Mapping[str, Any]:
        """Return the settings of each task."""

    def versions(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return the versions of the packages that ran the tasks."""

    def files(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return the records of single items by file name."""


@runtime_checkable
class AssetConverter(Protocol):
    """Converts a downloaded file into the content of an asset."""

    def convert(self, text: str) -> Any:
        """Return the content, to be written as JSON."""


# --- Launchers ------------------------------------------------------------------------------------


@runtime_checkable
class Launcher(Protocol):
    """Runs device work in processes, on one machine or on several."""

    shard_size: int
    """Prompts that a worker samples or compares, or pairs that it scores, per shard."""

    def processes(self) -> int:
        """Return the processes of a training that does not set them; called when it begins."""

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        """Compute every unfinished shard; another worker takes over a lost worker's shard."""

    def run_group(self, job: GroupJob, processes: int) -> None:
        """Call the job's function in this many processes that form one torch process group."""


@runtime_checkable
class RunLauncher(Protocol):
    """A launcher that runs a whole run elsewhere, e.g. in a job of a cluster."""

    def launch(
        self,
        run: Callable[[Mapping[str, Any]], None],
        payload: Mapping[str, Any],
        report: Callable[[str], None],
    ) -> None:
        """Call `run(payload)` once, elsewhere; `report` takes lines for the user.

        The function can be imported by name; the payload is plain data, paths and components.
        """


# --- Exact games ----------------------------------------------------------------------------------


@runtime_checkable
class GameSource(Protocol):
    """A recipe for exact games."""

    name: str

    def draw(self, seed: int) -> Games:
        """Return the games; the same seed gives the same games."""


@runtime_checkable
class PairSource(Protocol):
    """A distribution of training pairs in exact games, or a sample of it."""

    def weights(self, preference: Floats, policy: Floats, rng: np.random.Generator) -> Floats:
        """Return the frequency of each (chosen, rejected), shape (rows, actions, actions).

        `preference` is P(i ≻ j), of that shape; `policy` is π_t, (rows, actions); `rng` draws.
        """


@runtime_checkable
class PopulationSolver(Protocol):
    """Minimises an objective's population loss in exact games."""

    def solve(self, population: Population, start: Floats) -> Floats:
        """Return the logits reached from the logits `start`, both of shape (rows, actions)."""


@runtime_checkable
class Experiment(Protocol):
    """A file of configs/theory."""

    def run(self, track: Track) -> ExperimentResult:
        """Run the experiment; return its tables and figures."""


# --- What components may offer in addition --------------------------------------------------------


@runtime_checkable
class KeepsPolicy(Protocol):
    """An engine that can keep a policy's weights loaded between calls."""

    gpus: int
    """GPUs that hold one copy of the weights, if there are GPUs."""

    def resident(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling
    ) -> AbstractContextManager[AnswerRequests]:
        """Load a policy and answer any of these requests until the context is left."""


@runtime_checkable
class ServedEngine(Protocol):
    """An engine whose server holds the weights."""

    reload_url: str | None
    """Where the server is told to load another policy; None: it keeps the one that it has."""

    def load_policy(self, policy: Policy) -> None:
        """Have the server load a policy; do nothing without `reload_url`."""


@runtime_checkable
class KeepsWeights(Protocol):
    """An oracle that can keep its weights loaded between calls."""

    def keep_loaded(self) -> AbstractContextManager[None]:
        """Keep the weights loaded until the context is left."""


@runtime_checkable
class SelectableEngine(Protocol):
    """An engine that `engine: auto` can select."""

    selection_reason: str
    """Why it was selected; empty if the user named it."""


@runtime_checkable
class LmEvalEngine(Protocol):
    """An engine whose model lm-eval can also load."""

    @property
    def python(self) -> str | None:
        """The interpreter that has lm-eval; None: the current one."""

    def lm_eval(self, policy: Policy) -> dict[str, Any]:
        """Return `model` (lm-eval's name of the model class), `arguments` and `environment`."""


@runtime_checkable
class TrainedPolicySource(Protocol):
    """A policy that a training run produced."""

    def run(self) -> Mapping[str, Any]:
        """Return the run's name, its method, the iteration, and the policy that it started from."""


@runtime_checkable
class AcceleratorUser(Protocol):
    """A component that knows how many accelerators it uses if there are any."""

    @property
    def accelerators(self) -> int:
        """The number of accelerators; 0 if the work runs elsewhere or on the CPU."""


def accelerators_needed(component: object) -> int:
    """Return how many accelerators a component uses; 1 if it does not say."""
    return component.accelerators if isinstance(component, AcceleratorUser) else 1


@runtime_checkable
class HasModelShape(Protocol):
    """A component that knows the size of its model."""

    def sizes(self) -> ModelShape | None:
        """Return the model's sizes; None if they are unknown."""


@runtime_checkable
class TokenEstimator(HasModelShape, Protocol):
    """An oracle that can estimate the tokens of its forward passes."""

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return the tokens it reads to compare k responses; lengths are means, in tokens."""
