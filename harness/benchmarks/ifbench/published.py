"""The run that IFBench's repository holds: its figures, and how many verdicts are given again.

Its verdicts were made in July 2025, with the verifiers and the prompts of that month. Of today's
prompts 293 are in it; one constraint (`ratio:sentence_type`) is decided otherwise since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.benchmarks import assets
from harness.benchmarks.ifeval.constraints import Checkers, ConstrainedPrompt, check_answer
from harness.benchmarks.ifeval.score import PERCENT, RULES
from harness.core.io import read_jsonl
from harness.errors import MissingDependencyError
from harness.types import PublishedFigure

FOLDER = "ifbench"
RESULTS = "eval_results_{}.jsonl*"
EXPECTED = "rows with 'prompt', 'response' and 'follow_instruction_list'"
STORED = {
    "strict": {"prompt_level": 100 * 77 / 294, "instruction_level": 100 * 93 / 335},
    "loose": {},
}
"""The figures of the stored run by rule, where they were read."""
CHANGED = 1
"""Prompts on which the verifiers of August 2026 decide otherwise than those of July 2025."""
TOLERANCE = 1e-9
Row = Mapping[str, Any]


def figures(
    checkers: Checkers, questions: Sequence[ConstrainedPrompt], folder: Path
) -> Iterator[PublishedFigure]:
    """Yield the stored run's figures, then the number of prompts with the same verdicts today.

    Raises:
        AssetError: the run is not in the protocol data.
    """
    paths = {rule: sorted((folder / FOLDER).glob(RESULTS.format(rule))) for rule in RULES}
    if not any(paths.values()):
        raise assets.missing_verdicts(folder / FOLDER)
    for rule in RULES:
        for path in paths[rule]:
            rows = read_jsonl(path, EXPECTED)
            yield from _stored_figures(rule, rows)
            yield from _agreement(checkers, questions, rule, rows)


def _stored_figures(rule: str, rows: Sequence[Row]) -> Iterator[PublishedFigure]:
    verdicts = [row["follow_instruction_list"] for row in rows]
    recomputed = {
        "prompt_level": PERCENT * sum(map(all, verdicts)) / len(verdicts),
        "instruction_level": PERCENT * sum(map(sum, verdicts)) / sum(map(len, verdicts)),
    }
    for level, figure in STORED[rule].items():
        name = f"stored run {level}_{rule}"
        yield PublishedFigure(name, figure, recomputed[level], TOLERANCE, "294 prompts")


def _agreement(
    checkers: Checkers, questions: Sequence[ConstrainedPrompt], rule: str, rows: Sequence[Row]
) -> Iterator[PublishedFigure]:
    stored = {row["prompt"].strip(): row for row in rows}
    shared = [q for q in questions if q.text.strip() in stored]
    checkable = [q for q in shared if not any(checkers.unavailable(c.kind) for c in q.constraints)]
    try:
        checkers.require({c.kind for question in checkable for c in question.constraints})
    except MissingDependencyError:
        return
    same = 0
    for question in checkable:
        row = stored[question.text.strip()]
        outcome = check_answer(checkers, question, row["response"])
        same += list(getattr(outcome, rule)) == row["follow_instruction_list"]
    yield PublishedFigure(
        f"stored run, prompts with its verdicts, {rule}",
        len(checkable),
        same,
        CHANGED,
        f"{checkers.version()}; {len(shared) - len(checkable)} more cannot be checked here",
    )
