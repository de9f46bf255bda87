"""Verdicts that stand in a file become scores, and results of the workspace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.errors import InputError
from harness.evaluation import audit, gaming, results
from harness.protocols import Benchmark
from harness.runs import Workspace
from harness.types import Figure, Graded, Score


@runtime_checkable
class Published(Protocol):
    """A benchmark with figures that were published, and the verdicts that they were made of."""

    def published(self) -> Iterator[Figure]:
        """Yield every published figure beside the one that is made of its verdicts here."""
        ...


def score_file(benchmark: Benchmark, path: Path) -> list[tuple[Graded, Score]]:
    """Score every contestant of a file with verdicts.

    Raises:
        InputError: the file does not fit, or holds no contestant.
        CheckError: a contestant has no verdict that could be read.
    """
    graded = benchmark.read_verdicts(path)
    if not graded:
        raise InputError(f"{path} holds no verdicts of {benchmark.name}")
    scores = benchmark.score(graded)
    return [(one, noted(score, one)) for one, score in zip(graded, scores, strict=True)]


def noted(
    score: Score, graded: Graded, missing: int = 0, findings: Sequence[audit.Finding] = ()
) -> Score:
    """Add what the audit and the screen have found to what a reader must know."""
    signs = gaming.screen(graded, score.estimates)
    told = [f"{missing} prompts have no answer and are left out"] if missing else []
    notes = (*score.notes, *told, *(f.told for f in findings), *gaming.told(signs))
    return replace(score, notes=notes, details={**score.details, "screen": signs})


def import_file(
    benchmark: Benchmark, path: Path, workspace: Workspace, only: str | None = None
) -> list[Path]:
    """File every contestant of a file (or the one named) as a result; return where they lie.

    Raises:
        InputError: the file does not fit, or has no contestant of that name.
        StoreError: the workspace cannot be written.
    """
    found = score_file(benchmark, path)
    if only is not None and only not in [graded.label for graded, _ in found]:
        names = ", ".join(graded.label for graded, _ in found[:8])
        raise InputError(f"{path} has no contestant called {only!r}; it has {names}")
    return [
        results.write(
            workspace, results.result(benchmark, graded, score), graded, benchmark.files(graded)
        )
        for graded, score in found
        if only in (None, graded.label)
    ]


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
