"""The figures that IFEval's paper prints for GPT-4, from the answers that were published with it.

Upstream decides two of the 834 constraints by a random draw (see `checkers`), so that the same
answers gave 415 to 417 prompts; here both are decided either way, and the nearest figure is
compared. The protocol data may also hold verdicts of earlier checkers on these answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from harness.benchmarks import assets
from harness.benchmarks.ifeval import files
from harness.benchmarks.ifeval.constraints import Checkers, ConstrainedPrompt, Outcome, check_answer
from harness.benchmarks.ifeval.score import PERCENT, RULES
from harness.errors import MissingDependencyError
from harness.types import PublishedFigure

FOLDER = "ifeval"
ANSWERS, VERDICTS = "gpt4_20231107_responses.jsonl*", "gpt4_verdicts.jsonl*"
PAPER = {
    "prompt_level_strict": 76.89,
    "instruction_level_strict": 83.57,
    "prompt_level_loose": 79.30,
    "instruction_level_loose": 85.37,
}
"""Table 3 of arXiv 2311.07911."""
DRAWN = {"1122": 0, "1129": 0}
"""Where upstream draws a letter: the index of the constraint by the prompt's key."""
NOT_DRAWN = "constraints that are not drawn, and those among them with the stored verdict"
TOLERANCE = 0.005
Outcomes = Mapping[str, Outcome]


def figures(
    checkers: Checkers, questions: Sequence[ConstrainedPrompt], folder: Path
) -> Iterator[PublishedFigure]:
    """Yield the paper's four figures, and how many stored verdicts are given again.

    Where the checkers cannot run, the figures come from the stored verdicts alone.

    Raises:
        AssetError: there are neither answers nor verdicts.
    """
    stored = stored_outcomes(folder / FOLDER, questions)
    checked = _checked(checkers, questions, folder / FOLDER)
    if not stored and not checked:
        raise assets.missing_verdicts(folder / FOLDER)
    yield from _paper_figures(questions, checked or stored)
    shared = [q.id for q in questions if q.id in stored and q.id in checked]
    for rule in RULES if shared else ():
        pairs = [
            pair
            for key in shared
            for index, pair in enumerate(
                zip(getattr(stored[key], rule), getattr(checked[key], rule), strict=True)
            )
            if DRAWN.get(key) != index
        ]
        equal = sum(old == new for old, new in pairs)
        yield PublishedFigure(f"GPT-4 stored verdicts, {rule}", len(pairs), equal, 0, NOT_DRAWN)


def stored_outcomes(folder: Path, questions: Sequence[ConstrainedPrompt]) -> Outcomes:
    """Return the stored verdicts on GPT-4's answers; empty if there are none."""
    paths = sorted(folder.glob(VERDICTS))
    return files.read_contestants(paths[0], questions)[0].outcomes if paths else {}


def _checked(checkers: Checkers, questions: Sequence[ConstrainedPrompt], folder: Path) -> Outcomes:
    """Check the stored answers; empty where there are none, or the checkers cannot run."""
    paths = sorted(folder.glob(ANSWERS))
    try:
        checkers.require({c.kind for question in questions for c in question.constraints})
    except MissingDependencyError:
        return {}
    answers = files.read_contestants(paths[0], questions)[0].answers if paths else {}
    by_id = {question.id: question for question in questions}
    return {key: check_answer(checkers, by_id[key], a.text) for key, a in answers.items()}


def _paper_figures(
    questions: Sequence[ConstrainedPrompt], outcomes: Outcomes
) -> Iterator[PublishedFigure]:
    draws = list(product((False, True), repeat=len(DRAWN)))
    for metric, figure in PAPER.items():
        reachable = [_figure(metric, _with_draws(outcomes, draw)) for draw in draws]
        nearest = min(reachable, key=lambda value: abs(value - figure))
        exact = _figure(metric, outcomes)
        explanation = f"upstream draws two letters; both counted exactly: {exact:.2f}"
        yield PublishedFigure(f"GPT-4 {metric}", figure, nearest, TOLERANCE, explanation)


def _figure(metric: str, outcomes: Outcomes) -> float:
    level, _, rule = metric.rpartition("_")
    verdicts = [getattr(outcome, rule) for outcome in outcomes.values()]
    if level == "prompt_level":
        return PERCENT * sum(map(all, verdicts)) / len(verdicts)
    return PERCENT * sum(map(sum, verdicts)) / sum(map(len, verdicts))


def _with_draws(outcomes: Outcomes, draw: Sequence[bool]) -> Outcomes:
    """Return the outcomes with the drawn constraints decided so."""
    changed = dict(outcomes)
    for (key, index), follows in zip(DRAWN.items(), draw, strict=True):
        if key in changed:
            changed[key] = replace(
                changed[key],
                strict=_decide(changed[key].strict, index, follows),
                loose=_decide(changed[key].loose, index, follows),
            )
    return changed


def _decide(verdicts: Sequence[bool], index: int, follows: bool) -> tuple[bool, ...]:
    return (*verdicts[:index], follows, *verdicts[index + 1 :])
