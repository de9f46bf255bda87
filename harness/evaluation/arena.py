"""An arena: every contestant answers the same prompts once, and every pair of answers is compared.

An oracle compares in stages of the store, one a pair of contestants; a judge by the protocol of a
benchmark, its verdicts in the verdict store. Either is asked in both orders, so that a preference
for the first place cancels out. A killed arena goes on where it was, and a contestant that joins
later costs its own answers and comparisons alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.config import identity
from harness.core.io import write_atomically
from harness.core.seeds import digest
from harness.core.stages import Artifact, Stage, ignore_progress
from harness.core.workspace import Workspace
from harness.errors import CheckError, ConfigError
from harness.evaluation.identities import answers_sha256
from harness.evaluation.judge_bridge import preferences_by_prompt
from harness.evaluation.run import TYPICAL_ANSWER
from harness.evaluation.submissions import all_turns, answer_stage, load_answers
from harness.protocols import (
    Benchmark,
    GenerationEngine,
    KeepsWeights,
    PersistentJudge,
    PolicySource,
    PreferenceOracle,
    Sampling,
)
from harness.statistics.bradley_terry import bradley_terry
from harness.statistics.designs import LEAST, check_comparisons, sparse_design
from harness.statistics.pairwise import PairwisePreferences, all_pairs
from harness.statistics.resampling import Floats, Indices, Mask
from harness.types import Answer, Comparison, CostEstimate, Graded, Prompt, Track

VERSION = 1
"""Raised when the same answers would be compared otherwise."""
COMPARISONS_FILE = "comparisons.json"
EVEN = 0.5
PILOT = 4
"""A sparse design's pilot is this part of its comparisons."""


@dataclass(frozen=True)
class PromptSet:
    """Prompts of one turn that belong to no benchmark."""

    name: str
    items: tuple[Prompt, ...]
    sampling: Sampling

    def prompts(self) -> list[Prompt]:
        """Return the prompts."""
        return list(self.items)

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: there is one turn."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return the sampling of all prompts."""
        return self.sampling


@dataclass(frozen=True)
class ArenaContestant:
    """A policy, or answers that exist already."""

    name: str
    policy: PolicySource | None = None
    answers: tuple[Answer, ...] | None = None
    run: str = ""
    """The run that trained the policy; empty where none did."""
    iteration: int | None = None


@dataclass(frozen=True)
class Arena:
    """Contestants, prompts, and what compares their answers: an oracle or a judge."""

    contestants: tuple[ArenaContestant, ...]
    prompts: Benchmark | PromptSet
    engine: GenerationEngine | None
    """Required where a contestant is a policy."""
    oracle: PreferenceOracle | None = None
    oracle_name: str = ""
    judge: PersistentJudge | None = None
    seed: int = 0
    """Of the answers, and of a sparse design."""
    comparisons: int | None = None
    """The most comparisons, both orders counted; None: every pair on every prompt."""


@dataclass(frozen=True)
class ArenaPlan:
    """What an arena would do."""

    stages: list[tuple[Stage, Path | None]]
    """The stages that generate answers, each with its directory if cached."""
    contestants: int
    prompts: int
    pairs: int
    comparisons: int
    """At most, both orders counted: equal answers are not compared."""
    cost: CostEstimate | None
    """Of the judge; None where an oracle compares."""


@dataclass(frozen=True)
class ArenaAnswers:
    """The answers of all contestants to the prompts that all of them have answered."""

    prompts: tuple[Prompt, ...]
    answers: tuple[tuple[Answer, ...], ...]
    """By contestant, in the order of the prompts."""
    dropped: int
    """Prompts that somebody has not answered."""

    def restricted(self, rows: Indices) -> ArenaAnswers:
        """Return the answers to some of the prompts, by index."""
        prompts = tuple(self.prompts[row] for row in rows)
        answers = tuple(tuple(theirs[row] for row in rows) for theirs in self.answers)
        return replace(self, prompts=prompts, answers=answers)


@dataclass(frozen=True)
class ArenaComparisons:
    """Preferences with what a reader must know of how they came about."""

    preferences: PairwisePreferences
    answers: ArenaAnswers
    identical: int
    """Comparisons of equal answers, which are ties and were not asked about."""
    missing: int
    """Comparisons of which an order could not be parsed."""
    asked: int
    """Comparisons that the design asks for, a pair in both orders counted once."""
    stages: tuple[str, ...] = ()
    """The names of the stages with an oracle's comparisons."""

    @property
    def ties(self) -> int:
        """Comparisons without a preference, those of equal answers included."""
        return int(np.sum(np.abs(self.preferences.values - EVEN) < 1e-9))


def check_arena(arena: Arena) -> None:
    """Refuse an arena that cannot be held, before a policy answers.

    Raises:
        ConfigError: it has too few contestants, two of a name, nothing or two things that compare,
            prompts of several turns, or prompts without a protocol for the judge.
    """
    names = [contestant.name for contestant in arena.contestants]
    if len(names) < 2:
        raise ConfigError(f"an arena needs two contestants or more, not {len(names)}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"two contestants are called {repeated[0]!r}: name each once")
    if (arena.oracle is None) == (arena.judge is None):
        raise ConfigError("say who compares: --oracle NAME or --judge NAME, one of them")
    if arena.judge is not None and isinstance(arena.prompts, PromptSet):
        raise ConfigError(
            "a judge compares by the protocol of a benchmark: name one with --prompts, or compare "
            "with --oracle judge, which has a prompt of its own"
        )
    if len(_all_prompts(arena)) > len(arena.prompts.prompts()):
        raise ConfigError(f"{arena.prompts.name} has several turns: an arena compares single ones")
    if arena.engine is None and any(c.policy is not None for c in arena.contestants):
        raise ConfigError("a policy has to generate answers: name an engine with --engine")


def plan_arena(arena: Arena, workspace: Workspace) -> ArenaPlan:
    """Return what `hold` would do, without doing it.

    Raises:
        ConfigError: the arena cannot be held.
    """
    check_arena(arena)
    count, prompts = len(arena.contestants), len(arena.prompts.prompts())
    pairs = count * (count - 1) // 2
    stages = [
        step
        for contestant in arena.contestants
        if contestant.policy is not None
        for step in workspace.stages.plan(_answer_stage(arena, contestant.policy))
    ]
    comparisons = 2 * pairs * prompts
    if not _is_full(arena, pairs * prompts):
        comparisons = arena.comparisons or 0
        check_comparisons(count, prompts, comparisons // 2)
    cost = _estimate_cost(arena, comparisons / prompts)
    return ArenaPlan(stages, count, prompts, pairs, comparisons, cost)


def hold(arena: Arena, workspace: Workspace) -> ArenaComparisons:
    """Have every contestant answer and every pair of answers compared.

    Raises:
        ConfigError: the arena cannot be held.
        JudgeError: the judge cannot be asked; its verdicts so far are stored.
        CheckError: no prompt is answered by all, or no comparison of a pair could be parsed.
    """
    check_arena(arena)
    answers = collect_answers(arena, workspace)
    prompts, contestants = len(answers.prompts), len(arena.contestants)
    asked = np.zeros((prompts, contestants * (contestants - 1) // 2), dtype=bool)
    stages: set[str] = set()
    values = np.full(asked.shape, np.nan)
    with _keep_weights(arena.oracle):
        for part in range(1 if _is_full(arena, asked.size) else 2):
            chosen = _choose(arena, values, asked, part)
            stages |= _compare(arena, answers, chosen, values, workspace)
            asked |= chosen
    pairs = all_pairs(contestants)
    names = tuple(contestant.name for contestant in arena.contestants)
    texts = [[answer.text for answer in theirs] for theirs in answers.answers]
    equal = sum(
        texts[i][k] == texts[j][k]
        for column, (i, j) in enumerate(pairs)
        for k in np.flatnonzero(asked[:, column])
    )
    missing = int(np.isnan(values[asked]).sum())
    preferences = PairwisePreferences(names, pairs, values)
    count = int(asked.sum())
    return ArenaComparisons(preferences, answers, equal, missing, count, tuple(sorted(stages)))


def _is_full(arena: Arena, size: int) -> bool:
    return arena.comparisons is None or arena.comparisons >= 2 * size


def _choose(arena: Arena, values: Floats, asked: Mask, part: int) -> Mask:
    """Return the comparisons to make: all, or a pilot's, or those that its ratings recommend."""
    contestants, prompts = len(arena.contestants), len(values)
    if _is_full(arena, asked.size):
        return np.ones_like(asked)
    assert arena.comparisons is not None
    count = arena.comparisons // 2
    check_comparisons(contestants, prompts, count)
    if part == 0:
        pilot = max(count // PILOT, min(count, asked.shape[1] * LEAST))
        return sparse_design(contestants, prompts, pilot, seed=arena.seed)
    known = asked & ~np.isnan(values)
    won = np.where(known, values, 0.0).sum(axis=0)
    wins = np.zeros((1, contestants, contestants))
    first, second = all_pairs(contestants).T
    wins[0, first, second], wins[0, second, first] = won, known.sum(axis=0) - won
    ratings = bradley_terry(wins).ratings[0]
    return sparse_design(
        contestants, prompts, count, seed=arena.seed, ratings=ratings, existing=asked
    )


def _compare(
    arena: Arena, answers: ArenaAnswers, chosen: Mask, values: Floats, workspace: Workspace
) -> set[str]:
    """Have the chosen comparisons made, write them into the values; return their stages' names."""
    compare = _compare_by_judge if arena.judge is not None else _compare_by_oracle
    names: set[str] = set()

    def note(stage: Stage, artifact: Artifact) -> None:  # unreported: a stage a pair
        names.add(Path(artifact.path).name)

    quiet = replace(workspace, track=ignore_progress, on_stage=note)
    label = f"{arena.prompts.name} · compare {chosen.shape[1]} pairs"
    with workspace.track(label, chosen.shape[1]) as advance:
        for column, (i, j) in enumerate(all_pairs(len(arena.contestants))):
            rows = np.flatnonzero(chosen[:, column])
            if len(rows):
                part = answers.restricted(rows)
                values[rows, column] = compare(arena, part, (int(i), int(j)), quiet)
            advance(1)
    return names


def collect_answers(arena: Arena, workspace: Workspace) -> ArenaAnswers:
    """Return all answers to the prompts that every contestant has answered.

    Raises:
        CheckError: there is no such prompt.
    """
    by_contestant = [
        {answer.prompt_id: answer for answer in _answers_of(arena, contestant, workspace)}
        for contestant in arena.contestants
    ]
    prompts = arena.prompts.prompts()
    common = tuple(p for p in prompts if all(p.id in answers for answers in by_contestant))
    if not common:
        lacking = min(zip(by_contestant, arena.contestants, strict=True), key=lambda x: len(x[0]))
        raise CheckError(
            f"no prompt of {arena.prompts.name} is answered by every contestant; "
            f"{lacking[1].name} has {len(lacking[0])} answers"
        )
    answers = tuple(tuple(answered[p.id] for p in common) for answered in by_contestant)
    return ArenaAnswers(common, answers, len(prompts) - len(common))


def arena_identity(arena: Arena, answers: ArenaAnswers) -> dict[str, Any]:
    """Return what is compared and by whom: contestants by their answers, oracle or judge."""
    return {
        "prompts": {"name": arena.prompts.name, "sha256": _prompts_digest(answers.prompts)},
        "contestants": [
            [contestant.name, answers_sha256(theirs)]
            for contestant, theirs in zip(arena.contestants, answers.answers, strict=True)
        ],
        **({} if arena.comparisons is None else {"comparisons": arena.comparisons}),
        **_comparer(arena),
    }


def _comparer(arena: Arena) -> dict[str, Any]:
    if arena.judge is not None:
        return {"judge": arena.judge.model}
    return {"oracle": {"name": arena.oracle_name, "settings": identity(arena.oracle)}}


def _all_prompts(arena: Arena) -> list[Prompt]:
    asked: Any = arena.prompts
    return all_turns(asked, None)


def _answer_stage(arena: Arena, policy: PolicySource) -> Stage:
    asked: Any = arena.prompts  # of a benchmark, answers ask for its prompts and sampling alone
    assert arena.engine is not None
    return answer_stage(policy, asked, arena.engine, arena.seed)


def _answers_of(
    arena: Arena, contestant: ArenaContestant, workspace: Workspace
) -> Sequence[Answer]:
    if contestant.policy is None:
        return contestant.answers or ()
    return load_answers(workspace.stages.materialize(_answer_stage(arena, contestant.policy)).path)


def _keep_weights(oracle: PreferenceOracle | None) -> AbstractContextManager[None]:
    return oracle.keep_loaded() if isinstance(oracle, KeepsWeights) else nullcontext()


def _prompts_digest(prompts: Sequence[Prompt]) -> str:
    return digest([[p.id, [asdict(message) for message in p.messages]] for p in prompts])


# --- by an oracle ---------------------------------------------------------------------------------


def _compare_by_oracle(
    arena: Arena, answers: ArenaAnswers, pair: tuple[int, int], workspace: Workspace
) -> Floats:
    """Return P(first ≻ second) by prompt; the stage is the same for both orders of a pair."""
    assert arena.oracle is not None
    sides = [answers.answers[member] for member in pair]
    hashes = [answers_sha256(side) for side in sides]
    swapped = hashes[0] > hashes[1]
    first, second = reversed(sides) if swapped else sides
    comparisons = [
        Comparison(prompt, a.text, b.text)
        for prompt, a, b in zip(answers.prompts, first, second, strict=True)
    ]
    names = [arena.contestants[member].name for member in pair]
    stage = Stage(
        "compare-answers",
        VERSION,
        {
            "oracle": identity(arena.oracle),
            "prompts": _prompts_digest(answers.prompts),
            "answers": sorted(hashes),
        },
        {},
        partial(_write_comparisons, arena.oracle, comparisons, f"{names[0]} · {names[1]}"),
        f"{names[0]} · compare with {names[1]}",
        f"{len(comparisons)} prompts",
    )
    directory = Path(workspace.stages.materialize(stage).path)
    stored = json.loads((directory / COMPARISONS_FILE).read_text(encoding="utf-8"))
    values = np.array(stored["probability"], dtype=np.float64)
    return np.asarray(1 - values if swapped else values)


def _write_comparisons(
    oracle: PreferenceOracle,
    comparisons: Sequence[Comparison],
    label: str,
    out: Path,
    inputs: Mapping[str, str],
    track: Track,
) -> None:
    different = [c for c in comparisons if c.first != c.second]
    with track(label, 2 * len(different)) as advance:
        forward, backward = (
            _asked(oracle, side, advance) if side else []
            for side in (different, [c.swap() for c in different])
        )
    answers = iter(zip(forward, backward, strict=True))
    rows = [next(answers) if c.first != c.second else (EVEN, EVEN) for c in comparisons]
    record = {
        "probability": [(a + 1 - b) / 2 for a, b in rows],
        "first_shown_first": [a for a, _ in rows],
        "second_shown_first": [1 - b for _, b in rows],
    }
    write_atomically(out / COMPARISONS_FILE, json.dumps(record, allow_nan=False))


def _asked(
    oracle: PreferenceOracle, comparisons: Sequence[Comparison], advance: Any
) -> list[float]:
    answers = [float(p) for p in oracle.compare(comparisons, advance)]
    if len(answers) != len(comparisons):
        raise CheckError(
            f"the oracle {type(oracle).__name__} gave {len(answers)} answers to "
            f"{len(comparisons)} comparisons"
        )
    wrong = [p for p in answers if not (math.isfinite(p) and -1e-6 <= p <= 1 + 1e-6)]
    if wrong:
        raise CheckError(
            f"the oracle {type(oracle).__name__} answers {wrong[0]:g}: a probability is within 0 "
            "and 1"
        )
    return [min(1.0, max(0.0, p)) for p in answers]


# --- by a judge -----------------------------------------------------------------------------------


def _compare_by_judge(
    arena: Arena, answers: ArenaAnswers, pair: tuple[int, int], workspace: Workspace
) -> Floats:
    """Return P(first ≻ second) by prompt, each contestant once in the baseline's place."""
    i, j = pair
    forward = _preferences(arena, answers, i, j)
    backward = _preferences(arena, answers, j, i)
    return np.array(
        [
            (forward.get(p.id, math.nan) + 1 - backward.get(p.id, math.nan)) / 2
            for p in answers.prompts
        ]
    )


def _preferences(arena: Arena, answers: ArenaAnswers, ours: int, theirs: int) -> dict[str, float]:
    benchmark, judge = arena.prompts, arena.judge
    assert judge is not None
    assert not isinstance(benchmark, PromptSet)
    sides = answers.answers[ours], answers.answers[theirs]
    requests = benchmark.requests(*sides)
    verdicts = tuple(judge.judge(requests, benchmark, lambda _: None))
    if verdicts and all(verdict.parsed is None for verdict in verdicts):
        return {}
    graded = Graded(
        arena.contestants[ours].name,
        judge.model,
        *sides,
        verdicts,
        answers.prompts,
        arena.contestants[theirs].name,
    )
    return preferences_by_prompt(benchmark.score([graded])[0])


def _estimate_cost(arena: Arena, ordered_pairs: float) -> CostEstimate | None:
    """Return what a judge would cost at most, from answers of a common length."""
    if arena.judge is None or isinstance(arena.prompts, PromptSet):
        return None
    answers = [Answer(prompt.id, TYPICAL_ANSWER) for prompt in arena.prompts.prompts()]
    others = [replace(answer, text=f"{answer.text} ") for answer in answers]
    requests = arena.prompts.requests(answers, others)
    estimate = arena.judge.estimate_cost(requests, arena.prompts)
    return replace(
        estimate,
        calls=round(estimate.calls * ordered_pairs),
        prompt_tokens=round(estimate.prompt_tokens * ordered_pairs),
        completion_tokens=round(estimate.completion_tokens * ordered_pairs),
        dollars=None if estimate.dollars is None else estimate.dollars * ordered_pairs,
        minutes=estimate.minutes * ordered_pairs,
    )
