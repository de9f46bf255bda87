"""Verdicts that stand in a file become scores, and results of the workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.errors import AssetError, InputError
from harness.evaluation import audit, gaming, results
from harness.evaluation.answering import conversation
from harness.protocols import Benchmark
from harness.runs import Workspace
from harness.types import Figure, Graded, Score

SHOWN = 3
"""Reasons of refusals that are told."""


@runtime_checkable
class Published(Protocol):
    """A benchmark with figures that were published, and the verdicts that they were made of."""

    def published(self) -> Iterator[Figure]:
        """Yield every published figure beside the one that is made of its verdicts here."""
        ...


@dataclass(frozen=True)
class Scored:
    """A contestant of a file."""

    graded: Graded
    score: Score
    missing: int
    """Prompts of the benchmark that the file holds nothing of."""


def score_file(benchmark: Benchmark, path: Path) -> list[Scored]:
    """Score every contestant of a file with verdicts.

    Raises:
        InputError: the file does not fit, or holds no contestant.
        CheckError: a contestant has no verdict that could be read.
    """
    graded = benchmark.read_verdicts(path)
    if not graded:
        raise InputError(f"{path} holds no verdicts of {benchmark.name}")
    found = []
    for one, score in zip(graded, benchmark.score(graded), strict=True):
        missing = untouched(benchmark, one)
        found.append(Scored(one, noted(score, one, missing), missing))
    return found


def untouched(benchmark: Benchmark, graded: Graded) -> int:
    """Count the benchmark's prompts that a file holds nothing of.

    None are counted where it is about other prompts altogether, or the protocol data is not there.
    """
    try:
        asked = {prompt.id for prompt in conversation(benchmark, None)}
    except AssetError:
        return 0
    told = {verdict.request_id for verdict in graded.verdicts}
    told |= {name.rpartition("#")[0] for name in told}
    told |= {answer.prompt_id for answer in graded.answers}
    return len(asked - told) if asked & told else 0


def noted(
    score: Score, graded: Graded, missing: int = 0, findings: Sequence[audit.Finding] = ()
) -> Score:
    """Add what the audit and the screen have found to what a reader must know."""
    signs = gaming.screen(graded, score.estimates)
    told = [f"{missing} prompts are without an answer and are left out"] if missing else []
    told += refused(graded)
    notes = (*score.notes, *told, *(f.told for f in findings), *gaming.told(signs))
    return replace(score, notes=notes, details={**score.details, "screen": signs})


def refused(graded: Graded) -> list[str]:
    """Say how many requests the judge's server would not take, and why."""
    reasons = Counter(v.refusal for v in graded.verdicts if v.refusal)
    if not reasons:
        return []
    common = "; ".join(f"{count} x {told}" for told, count in reasons.most_common(SHOWN))
    return [
        f"{reasons.total()} of {len(graded.verdicts)} requests were refused by the judge's server "
        f"({common}): where they have no verdict they are left out; have them asked again, e.g. "
        "of a server with a longer context, with --set judge.ask_refused=true"
    ]


def import_file(
    benchmark: Benchmark, path: Path, workspace: Workspace, only: str | None = None
) -> list[Path]:
    """File every contestant of a file (or the one named) as a result; return where they lie.

    Raises:
        InputError: the file does not fit, or has no contestant of that name.
        StoreError: the workspace cannot be written.
    """
    paths = []
    for one in chosen(path, score_file(benchmark, path), only):
        result = results.result(benchmark, one.graded, one.score, missing=one.missing)
        paths.append(results.write(workspace, result, one.graded, benchmark.files(one.graded)))
    return paths


def chosen(path: Path, found: Sequence[Scored], only: str | None) -> list[Scored]:
    """Return the contestant that is named, or all where none is.

    Raises:
        InputError: there is none of that name.
    """
    kept = [one for one in found if only in (None, one.graded.label)]
    if not kept:
        names = ", ".join(one.graded.label for one in found[:8])
        raise InputError(f"{path} has no contestant called {only!r}; it has {names}")
    return kept


def export(benchmark: Benchmark, workspace: Workspace, label: str, folder: Path) -> list[Path]:
    """Write a result's answers and verdicts in the protocol's own formats; return the files.

    Raises:
        InputError: there is no such result.
        StoreError: the folder cannot be written.
    """
    path = results.path_of(workspace, benchmark.name, label)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none"
        raise InputError(f"no result of {label!r} on {benchmark.name}; there are: {names}")
    graded = results.read_graded(path)
    return results.write_files(folder, benchmark.files(graded))
