"""What judging each benchmark would take, before there are any answers to judge.

The baseline's own answers stand in for a contestant's: about as long, and to the same prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import AssetError, MissingDependencyError
from harness.protocols import Benchmark
from harness.types import JudgeRequest


def typical(benchmark: Benchmark) -> Sequence[JudgeRequest] | None:
    """Return what a judge would be asked about a contestant; None where that is not known here."""
    try:
        theirs = benchmark.baseline_answers()
        if theirs is None:
            return None
        ours = [replace(answer, text=f"{answer.text} ") for answer in theirs]
        return benchmark.requests(ours, theirs)
    except (AssetError, MissingDependencyError):
        return None
