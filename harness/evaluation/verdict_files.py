"""Score verdicts that are read from files, and write them to the workspace as results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.workspace import Workspace, read_graded, result_path, write_files, write_result
from harness.errors import AssetError, InputError
from harness.evaluation.run import annotate_score, build_result
from harness.evaluation.submissions import all_turns
from harness.protocols import Benchmark
from harness.types import Graded, Score


@dataclass(frozen=True)
class ScoredSubmission:
    """A contestant of a file, and its score."""

    graded: Graded
    score: Score
    missing: int
    """Prompts of the benchmark with neither an answer nor a verdict in the file."""


def score_file(benchmark: Benchmark, path: Path) -> list[ScoredSubmission]:
    """Score every contestant of a file with verdicts.

    Raises:
        InputError: the file does not fit the benchmark, or holds no contestant.
        CheckError: none of a contestant's verdicts could be parsed.
    """
    graded = benchmark.read_verdicts(path)
    if not graded:
        raise InputError(f"{path} holds no verdicts of {benchmark.name}")
    scored = []
    for submission, score in zip(graded, benchmark.score(graded), strict=True):
        missing = count_unanswered(benchmark, submission)
        scored.append(
            ScoredSubmission(submission, annotate_score(score, submission, missing), missing)
        )
    return scored


def count_unanswered(benchmark: Benchmark, graded: Graded) -> int:
    """Count the benchmark's prompts with neither an answer nor a verdict.

    The count is 0 if no prompt is the benchmark's, or if the protocol data is missing.
    """
    try:
        prompt_ids = {prompt.id for prompt in all_turns(benchmark, None)}
    except AssetError:
        return 0
    covered_ids = {verdict.request_id for verdict in graded.verdicts}
    covered_ids |= {name.rpartition("#")[0] for name in covered_ids}
    covered_ids |= {answer.prompt_id for answer in graded.answers}
    return len(prompt_ids - covered_ids) if prompt_ids & covered_ids else 0


def import_file(
    benchmark: Benchmark, path: Path, workspace: Workspace, only: str | None = None
) -> list[Path]:
    """Write a result for every contestant of a file, or for `only` one; return the paths.

    Raises:
        InputError: the file does not fit the benchmark, or has no contestant called `only`.
        StoreError: the workspace cannot be written.
    """
    paths = []
    for submission in select_submissions(path, score_file(benchmark, path), only):
        graded, score = submission.graded, submission.score
        result = build_result(
            benchmark.name, benchmark.sources(), graded, score, missing=submission.missing
        )
        paths.append(write_result(workspace, result, graded, benchmark.files(graded)))
    return paths


def select_submissions(
    path: Path, scored: Sequence[ScoredSubmission], only: str | None
) -> list[ScoredSubmission]:
    """Return the contestant called `only`, or all of them.

    Raises:
        InputError: no contestant is called so.
    """
    matches = [submission for submission in scored if only in (None, submission.graded.label)]
    if not matches:
        names = ", ".join(submission.graded.label for submission in scored[:8])
        raise InputError(f"{path} has no contestant called {only!r}; it has {names}")
    return matches


def export(benchmark: Benchmark, workspace: Workspace, label: str, folder: Path) -> list[Path]:
    """Write a result's answers and verdicts in the protocol's own formats; return the paths.

    Raises:
        InputError: the workspace has no such result.
        StoreError: the folder cannot be written.
    """
    path = result_path(workspace, benchmark.name, label)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none"
        raise InputError(f"no result of {label!r} on {benchmark.name}; results: {names}")
    graded = read_graded(path)
    return write_files(folder, benchmark.files(graded))
