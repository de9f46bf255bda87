"""Score verdicts that are read from files, and write them to the workspace as results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.naming import check_name
from harness.core.seeds import digest
from harness.core.workspace import (
    Result,
    Workspace,
    read_graded,
    read_result,
    result_path,
    write_files,
    write_result,
)
from harness.errors import AssetError, InputError
from harness.evaluation.identities import (
    answers_sha256,
    baseline_identity,
    benchmark_identity,
    result_identity,
)
from harness.evaluation.run import annotate_score, build_result
from harness.evaluation.submissions import all_turns
from harness.protocols import Benchmark
from harness.types import Graded, Score

SCORED_TOGETHER = "scored_together"
"""The key of a score's details that counts the contestants of the imported file."""


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
    benchmark: Benchmark,
    path: Path,
    workspace: Workspace,
    only: str | None = None,
    *,
    replace: bool = False,
) -> list[Path]:
    """Write a result for every contestant of a file, or for `only` one; return the paths.

    Raises:
        ConfigError: a contestant's name cannot be a label.
        InputError: the file does not fit the benchmark, or has no contestant called `only`.
        StoreError: the workspace cannot be written.
        ResultExistsError: there is a result of the same identity and other content; see `replace`.
    """
    check_name(benchmark.name, "benchmark")
    scored = score_file(benchmark, path)
    submissions = select_submissions(path, scored, only)
    for submission in submissions:
        check_name(submission.graded.label, "label")
    known = benchmark_identity(benchmark, benchmark.sources())
    paths = []
    for submission in submissions:
        result = _imported_result(known, submission, len(scored))
        files = benchmark.files(submission.graded)
        paths.append(write_result(workspace, result, submission.graded, files, replace=replace))
    return paths


def _imported_result(
    benchmark: Mapping[str, Any], submission: ScoredSubmission, contestants: int
) -> Result:
    """Return a contestant's result; `contestants` are scored together with it, itself included."""
    graded = submission.graded
    verdicts = digest(
        [[v.request_id, v.text, v.parsed and asdict(v.parsed)] for v in graded.verdicts]
    )
    identity = result_identity(
        benchmark=benchmark,
        contestant={"answers_sha256": answers_sha256(graded.answers)}
        | ({} if graded.answers else {"verdicts_sha256": verdicts}),
        judge=graded.judge,
        judge_settings={},
        baseline=baseline_identity(graded.baseline_label, ""),
    )
    details = {**submission.score.details, SCORED_TOGETHER: contestants}
    score = replace(submission.score, details=details)
    return build_result(identity, graded, score, missing=submission.missing)


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

    Args:
        benchmark: whose formats are written.
        workspace: where the result is.
        label: of the result; or the name of its file (`INPO.json`), where several have that label.
        folder: where the files are written.

    Raises:
        InputError: the workspace has no such result, or several.
        StoreError: the result was changed after it was written, or the folder cannot be written.
    """
    graded = read_graded(_find_result(benchmark.name, workspace, label))
    return write_files(folder, benchmark.files(graded))


def _find_result(benchmark: str, workspace: Workspace, label: str) -> Path:
    paths = sorted(result_path(workspace, benchmark, label).parent.glob("*.json"))
    matches = [path for path in paths if label == path.name] or [
        path for path in paths if read_result(path).label == label
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(
            f"{len(matches)} results on {benchmark} are called {label!r} (of another judge, run or "
            f"setting): name one by its file, {', '.join(path.name for path in matches)}"
        )
    names = ", ".join(path.name for path in paths) or "none"
    raise InputError(f"no result of {label!r} on {benchmark}; results: {names}")
