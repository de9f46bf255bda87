"""Whether results are what was written, and their figures what their verdicts give.

A result's sums show that it was changed, unless whoever changed it computed them again; then its
figures are not those that the benchmark computes from the verdicts beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core import config
from harness.core.workspace import (
    GRADED_FILE,
    ITEMS_FILE,
    Result,
    Workspace,
    bridge_directory,
    check_files,
    content_differences,
    graded_path,
    items_path,
    read_bridge,
    read_graded,
    read_items,
    read_result,
    result_paths,
)
from harness.errors import (
    AssetError,
    CheckError,
    ConfigError,
    HarnessError,
    MissingDependencyError,
    StoreError,
)
from harness.evaluation.verdict_files import SCORED_TOGETHER
from harness.protocols import Benchmark, TaskSuite
from harness.types import Graded


@dataclass(frozen=True, slots=True)
class ResultFinding:
    """What is wrong with a result, or why it could not be checked."""

    path: Path
    problem: str
    """One line: what is wrong, and the command that mends it."""
    is_fault: bool = True
    """False: nothing is known to be wrong, but not everything could be checked."""


def verify_results(workspace: Workspace) -> Iterator[ResultFinding]:
    """Check all results of a workspace and its comparisons of judges; yield what is wrong.

    Every file is read and compared with its sha256, and the verdicts are scored again by the
    benchmark that the result describes, if that can be built.
    """
    for path in result_paths(workspace):
        yield from verify_result(path)
    for path in sorted(bridge_directory(workspace).glob("*.json")):
        try:
            read_bridge(path)
        except StoreError as error:
            yield ResultFinding(path, str(error))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            mend = "remove it, and run `harness judge bridge` again"
            yield ResultFinding(path, f"{path} is damaged ({error}): {mend}")


def verify_result(path: Path) -> Iterator[ResultFinding]:
    """Check one result; yield what is wrong with it."""
    try:
        result = read_result(path)
        check_files(path, result)
        if items_path(path).exists():
            read_items(items_path(path))
        graded = read_graded(path) if graded_path(path).exists() else None
    except StoreError as error:
        yield ResultFinding(path, str(error))
        return
    yield from _unchecked(path, result)
    if graded is not None and result.identity:
        yield from _verify_score(path, result, graded)


def _unchecked(path: Path, result: Result) -> Iterator[ResultFinding]:
    if not result.identity:
        message = "is of an older version, which wrote no sha256: run `harness eval` again"
        yield ResultFinding(path, f"{path} {message}", is_fault=False)
    missing = [name for name in (ITEMS_FILE, GRADED_FILE) if name in result.files]
    missing = [name for name in missing if not (path.with_suffix("") / name).exists()]
    if missing:
        message = "so that its figures cannot be computed again: run `harness eval` again"
        yield ResultFinding(path, f"{path} has no {', '.join(missing)}, {message}", is_fault=False)


def _verify_score(path: Path, result: Result, graded: Graded) -> Iterator[ResultFinding]:
    try:
        benchmark = config.build(result.identity["benchmark"]["settings"], "benchmark")
        differences = _score_differences(path, result, graded, benchmark)
    except CheckError as error:
        yield ResultFinding(path, f"{path}: {error}")
        return
    except (ConfigError, AssetError, MissingDependencyError) as error:
        yield ResultFinding(path, f"{path} cannot be scored again: {error}", is_fault=False)
        return
    except (HarnessError, ValueError, LookupError, TypeError, AttributeError) as error:
        yield ResultFinding(path, f"{path} cannot be scored again: {error!r}", is_fault=False)
        return
    if not differences:
        return
    others = result.score.details.get(SCORED_TOGETHER, 1) - 1
    if others:
        reason = f"scored with {others} others, and alone gives ({'; '.join(differences[:3])})"
        mend = "run `harness import` of its file again"
        yield ResultFinding(path, f"{path} was {reason}: {mend}", is_fault=False)
        return
    yield ResultFinding(
        path,
        f"{path} is not what its verdicts give ({'; '.join(differences[:3])}): "
        "run `harness eval --replace` again, or remove it",
    )


def _score_differences(
    path: Path, result: Result, graded: Graded, benchmark: Benchmark | TaskSuite
) -> list[str]:
    """Return what differs between a result and its verdicts' score; nothing for tasks."""
    if isinstance(benchmark, TaskSuite):
        return []
    (score,) = benchmark.score([graded])
    return content_differences(path, result, replace(result, score=score))
