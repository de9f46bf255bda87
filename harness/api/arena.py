"""Who beats whom, and how far from Nash: `harness.arena`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.components import (
    Overrides,
    Source,
    build_benchmark,
    build_component,
    build_policy,
    find_run,
    open_workspace,
    resolve_run,
    select_overrides,
)
from harness.api.frames import load_pandas
from harness.api.judging import RUNS, bind_judge
from harness.core.naming import ITERATION_SUFFIX
from harness.core.versions import installed_versions
from harness.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from harness.core.workspace import Workspace
    from harness.evaluation.arena import Arena, ArenaComparisons, ArenaContestant, PromptSet
    from harness.protocols import Benchmark
    from harness.statistics.arena import ArenaAnalysis
    from leaderboard.arena import ArenaFacts
    from leaderboard.table import Table

NAME = "arena"


@dataclass(frozen=True)
class ArenaResult:
    """An arena's figures, its comparisons and its tables."""

    analysis: ArenaAnalysis
    """Win rates, ratings, cycles and Nash figures, with intervals."""
    comparisons: ArenaComparisons
    """The preference of every pair on every prompt, and the answers."""
    path: Path
    """The file in the workspace."""
    facts: ArenaFacts
    """What tables print besides: lengths, diversity, runs, who compared."""

    @property
    def tables(self) -> list[Table]:
        """The matrix, the contestants, and the gap over the pool by iteration."""
        from leaderboard.arena import arena_tables

        return arena_tables(self.analysis, self.facts)

    def to_frame(self) -> pd.DataFrame:
        """Return P(row ≻ column) as a data frame."""
        names = list(self.analysis.names)
        frame: pd.DataFrame = load_pandas().DataFrame(
            self.analysis.win_rates.value, index=names, columns=names
        )
        return frame

    def to_latex(self) -> str:
        """Return the tables in LaTeX (booktabs), as `harness arena --format latex`."""
        from leaderboard.latex import render_latex

        return render_latex(self.tables, {})

    def to_html(self) -> str:
        """Return a page with a heat map that loads nothing, as `harness arena --format html`."""
        from leaderboard.arena import render_arena_page

        return render_arena_page(self.analysis, self.facts)

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables)


def arena(
    contestants: Sequence[Source],
    *,
    prompts: Source,
    oracle: Source | None = None,
    judge: Source | None = None,
    engine: Source = "auto",
    workspace: str | Path | Workspace = RUNS,
    overrides: Overrides = (),
    assets: str | Path | None = None,
    name: str = NAME,
    seed: int = 0,
    rounds: int = 1000,
    comparisons: int | None = None,
) -> ArenaResult:
    """Have contestants answer the same prompts, compare every pair, and analyse the game.

    Answers and comparisons are cached: a contestant that joins costs its own alone.

    Args:
        contestants: runs (all their iterations), `RUN@ITERATION`, policies, or files of answers.
        prompts: a benchmark, a file of prompts, or a run, whose held-out prompts are taken.
        oracle: compares answers: a name of configs/oracle, a mapping, or a component.
        judge: compares instead, by the protocol of the benchmark that `prompts` names.
        engine: generates policies' answers.
        workspace: where answers, comparisons and the arena are kept.
        overrides: of the benchmark; of others with `judge.`, `engine.`, `oracle.`, `sampling.`.
        assets: the folder with the protocol data.
        name: of the arena's file.
        seed: of the answers, and of the resamples.
        rounds: how many resamples of prompts.
        comparisons: the most comparisons, both orders counted: a sparse design chooses those that
            tell most about the ratings. None: every pair on every prompt.

    Raises:
        ConfigError: a name does not fit, or the arena cannot be held.
        InputError: a file of answers or of prompts does not fit.
        JudgeError: the judge cannot be asked; its verdicts so far are stored.
        CheckError: there is nothing to compare.
    """
    opened = open_workspace(workspace)
    prepared = prepare(
        contestants,
        opened,
        prompts=prompts,
        oracle=oracle,
        judge=judge,
        engine=engine,
        overrides=overrides,
        assets=assets,
        seed=seed,
        comparisons=comparisons,
    )
    return hold_arena(prepared, opened, name=name, rounds=rounds)


def prepare(
    contestants: Sequence[Source],
    workspace: Workspace,
    *,
    prompts: Source,
    oracle: Source | None = None,
    judge: Source | None = None,
    engine: Source = "auto",
    overrides: Overrides = (),
    assets: str | Path | None = None,
    seed: int = 0,
    comparisons: int | None = None,
) -> Arena:
    """Return what an arena needs to be held; see `arena`.

    Raises:
        ConfigError: a name does not fit, or the arena cannot be held.
        InputError: a file of answers or of prompts does not fit.
    """
    from harness.core.config import Component
    from harness.evaluation.arena import Arena, check_arena

    questions = _prompts(prompts, workspace, overrides, assets)
    members = [m for source in contestants for m in _contestants(source, questions, workspace)]
    generates = any(member.policy is not None for member in members)
    comparer = None
    if oracle is not None:
        comparer = build_component("oracle", source=oracle, overrides=_part(overrides, "oracle"))
        if isinstance(comparer, Component):
            comparer = comparer.in_workspace(workspace.root)
    prepared = Arena(
        tuple(_distinct(members)),
        questions,
        build_component("engine", engine, overrides) if generates else None,
        comparer,
        str(oracle) if isinstance(oracle, str | Path) else type(comparer).__name__,
        None if judge is None else bind_judge(judge, workspace, overrides),
        seed,
        comparisons,
    )
    check_arena(prepared)
    return prepared


def hold_arena(
    prepared: Arena, workspace: Workspace, *, name: str = NAME, rounds: int = 1000
) -> ArenaResult:
    """Hold an arena that is prepared, analyse it, and file it.

    Raises:
        JudgeError: the judge cannot be asked; its verdicts so far are stored.
        CheckError: there is nothing to compare.
        StoreError: the workspace cannot be written.
    """
    from harness.core.workspace.arenas import write_arena
    from harness.core.workspace.locks import in_use
    from harness.evaluation.arena import arena_identity, hold
    from harness.statistics.arena import analyse

    with in_use(workspace):
        comparisons = hold(prepared, workspace)
        analysis = analyse(comparisons.preferences, seed=prepared.seed, rounds=rounds)
        facts = _facts(prepared, comparisons)
        path = write_arena(
            workspace,
            name,
            arena_identity(prepared, comparisons.answers),
            _record(analysis, comparisons, facts),
        )
    return ArenaResult(analysis, comparisons, path, facts)


def _part(overrides: Overrides, kind: str) -> dict[str, Any]:
    """Return the overrides under a prefix that belongs to no component of an evaluation."""
    prefix = f"{kind}."
    rest = select_overrides(overrides, None)
    return {key.removeprefix(prefix): v for key, v in rest.items() if key.startswith(prefix)}


def _prompts(
    source: Source, workspace: Workspace, overrides: Overrides, assets: str | Path | None
) -> Benchmark | PromptSet:
    """Return a benchmark, the prompts of a file, or those that a run has not trained on."""
    from harness.core import config
    from harness.core.workspace import run_names
    from harness.protocols import TaskSuite

    if isinstance(source, str) and source in run_names(workspace):
        return _held_out(source, workspace, overrides)
    is_config = isinstance(source, str) and source in config.names("bench")
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and not is_config and path.suffix not in (".yaml", ".yml"):
        if not path.is_file():
            known = config.suggest(str(source), [*config.names("bench"), *run_names(workspace)])
            raise ConfigError(f"{source} is no benchmark, no run and no file of prompts{known}")
        return _file_prompts(path, overrides)
    rest = {
        key: value
        for key, value in select_overrides(overrides, None).items()
        if not key.startswith("oracle.")
    }
    benchmark = build_benchmark(source, rest, assets)
    if isinstance(benchmark, TaskSuite):
        raise ConfigError(f"{benchmark.name} has known answers: name prompts that are compared")
    built: Benchmark = benchmark
    return built


def _file_prompts(path: Path, overrides: Overrides) -> PromptSet:
    from harness.evaluation.arena import PromptSet
    from harness.protocols import Sampling
    from harness.training.sources import FilePrompts

    prompts = FilePrompts(path=str(path), **_part(overrides, "prompts")).prompts(1)
    return PromptSet(path.stem, tuple(prompts), Sampling(**_part(overrides, "sampling")))


def _held_out(name: str, workspace: Workspace, overrides: Overrides) -> PromptSet:
    """Return the prompts of a run's iterations that none of them has trained on.

    Raises:
        ConfigError: the run keeps none out.
    """
    from harness.core.config import build
    from harness.evaluation.arena import PromptSet
    from harness.training.rollout import held_out_ids
    from harness.training.spec import TrainSpec

    record = find_run(workspace, name)
    spec = build({"use": "harness.training.spec:TrainSpec", **record.config}, "train")
    assert isinstance(spec, TrainSpec)
    untrained, trained = dict[str, Any](), set[str]()
    for t in range(1, spec.iterations + 1):
        prompts = {prompt.id: prompt for prompt in spec.prompts.prompts(t)}
        held_out = held_out_ids(spec, t, prompts)
        untrained |= {key: prompts[key] for key in held_out}
        trained |= prompts.keys() - held_out
    items = tuple(prompt for key, prompt in untrained.items() if key not in trained)
    if not items:
        raise ConfigError(
            f"run {name!r} keeps no prompts out of its training (head_to_head_prompts): name a "
            "benchmark or a file with --prompts"
        )
    sampling = spec.sampling.model_copy(update=_part(overrides, "sampling"))
    return PromptSet(f"held-out prompts of {name}", items, sampling)


def _contestants(
    source: Source, questions: Benchmark | PromptSet, workspace: Workspace
) -> list[ArenaContestant]:
    """Return the contestants that a source names: a file, a run's iterations, or a policy."""
    from harness.core.workspace import run_names
    from harness.evaluation.arena import ArenaContestant

    if isinstance(source, str):
        match = ITERATION_SUFFIX.fullmatch(source)
        if source in run_names(workspace):
            record = find_run(workspace, source)
            members = range(len(record.policies))
            return [_of_run(f"{source}@{t}", workspace) for t in members]
        if match and match[1] in run_names(workspace):
            return [_of_run(source, workspace)]
    if isinstance(source, str | Path) and Path(source).is_file():
        return [_of_file(Path(source), questions)]
    policy = build_policy(source)
    return [ArenaContestant(policy.name, policy)]


def _of_run(name: str, workspace: Workspace) -> ArenaContestant:
    from harness.evaluation.arena import ArenaContestant

    label, policy = resolve_run(workspace, name)
    run, _, iteration = name.rpartition("@")
    return ArenaContestant(label, policy, None, run, int(iteration))


def _of_file(path: Path, questions: Benchmark | PromptSet) -> ArenaContestant:
    from harness.benchmarks.alpaca_eval import files
    from harness.evaluation.arena import ArenaContestant, PromptSet
    from harness.evaluation.submissions import select_answers

    if isinstance(questions, PromptSet):
        submissions = files.read_answers(path, questions.prompts())
    else:
        submissions = questions.read_answers(path)
    answers = select_answers(path, submissions, None)
    return ArenaContestant(answers.name, answers=answers.answers)


def _distinct(members: Sequence[ArenaContestant]) -> list[ArenaContestant]:
    """Return the contestants, a start that several runs share once."""
    from harness.core.config import identity

    distinct: list[ArenaContestant] = []
    for member in members:
        same = [
            other
            for other in distinct
            if member.policy is not None
            and other.policy is not None
            and identity(member.policy) == identity(other.policy)
        ]
        if not same:
            distinct.append(member)
    return distinct


def _facts(prepared: Arena, comparisons: ArenaComparisons) -> ArenaFacts:
    from harness.statistics.diversity import compression_ratio, distinct_ngrams
    from leaderboard.arena import ArenaFacts, ContestantFacts

    contestants = []
    for member, answers in zip(prepared.contestants, comparisons.answers.answers, strict=True):
        texts = [answer.text for answer in answers]
        contestants.append(
            ContestantFacts(
                member.run,
                member.iteration,
                sum(map(len, texts)) / len(texts),
                distinct_ngrams(texts),
                compression_ratio(texts),
            )
        )
    if prepared.judge is not None:
        compared_by = f"judge {prepared.judge.model}"
    else:
        compared_by = f"oracle {prepared.oracle_name}"
    return ArenaFacts(
        prepared.prompts.name,
        compared_by,
        tuple(contestants),
        comparisons.ties,
        comparisons.identical,
        comparisons.missing,
        comparisons.answers.dropped,
        comparisons.asked / comparisons.preferences.values.size,
    )


def _record(
    analysis: ArenaAnalysis, comparisons: ArenaComparisons, facts: ArenaFacts
) -> dict[str, Any]:
    preferences = comparisons.preferences
    return {
        "contestants": list(preferences.names),
        "prompts": [prompt.id for prompt in comparisons.answers.prompts],
        "pairs": preferences.pairs.tolist(),
        "preferences": _plain(preferences.values),
        "stages": list(comparisons.stages),
        "analysis": _plain(analysis),
        "facts": _plain(facts),
        "versions": installed_versions(),
    }


def _plain(value: Any) -> Any:
    """Return records and arrays as plain data; what is not a number becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(item) for key, item in _fields(value).items()}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
