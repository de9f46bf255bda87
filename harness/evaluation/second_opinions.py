"""Two further signals that a policy has learnt to please its judge: what others say of a sample.

A second, unrelated judge is asked about the first one's verdicts (`--second-judge`), and an oracle,
as a rule the one that labelled the training pairs, compares the same answers (`--oracle`). Neither
changes a figure. Training towards an oracle shows where it prefers the answers and the judge does
not; training towards a judge, where an unrelated judge prefers them less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.core.seeds import derive
from harness.core.workspace import Workspace
from harness.errors import CheckError, ConfigError
from harness.evaluation.judge_bridge import category, preferences_by_prompt, restrict
from harness.protocols import Benchmark, PersistentJudge, PreferenceOracle
from harness.statistics.bootstrap import interval
from harness.types import Comparison, Estimate, Graded, ParsedVerdict

SAMPLE = 100
"""Prompts that are asked about again."""
SEED = 0
LARGEST_PREFERENCE = 1.0
"""A verdict above it is a rating."""
SAME_RATING = 1.0
"""Points by which two judges' ratings of one answer may differ."""
POINTS = 100.0


@dataclass(frozen=True)
class SecondOpinions:
    """Who else is asked about a sample of an evaluation's answers."""

    judge: PersistentJudge | None = None
    oracle: PreferenceOracle | None = None
    oracle_name: str = ""
    prompts: int = SAMPLE

    def collect(self, benchmark: Benchmark, graded: Graded, workspace: Workspace) -> dict[str, Any]:
        """Return what they say, as details of a score: `second_judge`, `oracle`.

        Raises:
            JudgeError: the second judge cannot be asked; its verdicts so far are stored.
            CheckError: nothing can be compared.
            ConfigError: the benchmark compares with no baseline, as an oracle has to.
        """
        if self.judge is None and self.oracle is None:
            return {}
        sample = restrict(graded, draw_sample(graded, self.prompts))
        details: dict[str, Any] = {}
        if self.judge is not None:
            details["second_judge"] = ask_second_judge(self.judge, benchmark, sample, workspace)
        if self.oracle is not None:
            details["oracle"] = {"name": self.oracle_name} | ask_oracle(
                self.oracle, benchmark, sample, workspace
            )
        return details


def draw_sample(graded: Graded, count: int) -> frozenset[str]:
    """Draw prompts by a hash of their ids: the same ones for every contestant, turns together."""
    by_question: dict[str, list[str]] = {}
    for prompt in graded.prompts:
        by_question.setdefault(prompt.messages[0].content, []).append(prompt.id)
    drawn: list[str] = []
    for question in sorted(by_question, key=lambda text: (derive("second opinion", text), text)):
        if len(drawn) + len(by_question[question]) > count and drawn:
            break
        drawn += by_question[question]
    return frozenset(drawn)


def ask_second_judge(
    judge: PersistentJudge, benchmark: Benchmark, sample: Graded, workspace: Workspace
) -> dict[str, Any]:
    """Return how a second judge's verdicts differ from the first one's on the same answers.

    `disagreement` is the share of verdicts with another winner (of ratings: more than a point
    apart), in percent; `favour` is the first judge's score of the answers above the second's, in
    points of the win rate or of the rating.

    Raises:
        JudgeError: it cannot be asked.
        CheckError: no verdict of both judges could be parsed.
    """
    requests = benchmark.requests(sample.answers, sample.baseline)
    label = f"{sample.label} · second judge {judge.model}"
    with workspace.track(label, len(requests)) as advance:
        verdicts = tuple(judge.judge(requests, benchmark, advance))
    asked = {request.id for request in requests}
    first = replace(sample, verdicts=tuple(v for v in sample.verdicts if v.request_id in asked))
    second = replace(sample, judge=judge.model, verdicts=verdicts)
    pairs = _parsed_pairs(first, second)
    if not pairs:
        raise CheckError(
            f"no verdict of {sample.judge} and of {judge.model} on the same answers can be parsed: "
            "name another --second-judge"
        )
    prompts = [_prompt_of(name) for name, _, _ in pairs]
    differ = [float(_differ(a.value, b.value)) for _, a, b in pairs]
    return {
        "judge": judge.model,
        "prompts": len(set(prompts)),
        "verdicts": len(pairs),
        "disagreement": _percent(differ, prompts, (0.0, POINTS)),
        "favour": _favour(benchmark, first, second, pairs),
        "usage": asdict(judge.usage(requests, benchmark)),
    }


def ask_oracle(
    oracle: PreferenceOracle, benchmark: Benchmark, sample: Graded, workspace: Workspace
) -> dict[str, Any]:
    """Return the oracle's win rate over the baseline, the judge's, and their difference, in points.

    Raises:
        ConfigError: the benchmark compares with no baseline.
        CheckError: no verdict of the judge on the sample could be parsed.
    """
    asked = {request.id for request in benchmark.requests(sample.answers, sample.baseline)}
    judged = replace(sample, verdicts=tuple(v for v in sample.verdicts if v.request_id in asked))
    judge = preferences_by_prompt(benchmark.score([judged])[0])
    theirs = {answer.prompt_id: answer.text for answer in sample.baseline}
    ours = {answer.prompt_id: answer.text for answer in sample.answers}
    prompts = [prompt for prompt in sample.prompts if prompt.id in theirs and prompt.id in judge]
    if not theirs:
        raise ConfigError(
            f"{benchmark.name} compares with no baseline, which an oracle needs: leave out --oracle"
        )
    if not prompts:
        raise CheckError(f"no verdict of {sample.judge} can be compared with the oracle's")
    games = [Comparison(p, ours[p.id], theirs[p.id]) for p in prompts]
    different = [game for game in games if game.first != game.second]
    with workspace.track(f"{sample.label} · oracle", len(different)) as advance:
        answers = iter(oracle.compare(different, advance) if different else [])
    oracle_wins = [next(answers) if g.first != g.second else 0.5 for g in games]
    judge_wins = [judge[prompt.id] for prompt in prompts]
    excess = [a - b for a, b in zip(oracle_wins, judge_wins, strict=True)]
    return {
        "prompts": len(prompts),
        "oracle_win_rate": _percent(oracle_wins, None, (0.0, POINTS)),
        "judge_win_rate": _percent(judge_wins, None, (0.0, POINTS)),
        "excess": _percent(excess, None, (-POINTS, POINTS)),
    }


def notes(details: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a note on each further opinion for a result and its tables."""
    lines = []
    if second := details.get("second_judge"):
        text = (
            f"a second judge, {second['judge']}, disagrees on {_text(second['disagreement'])} % of "
            f"{second['verdicts']} verdicts on {second['prompts']} prompts"
        )
        if favour := second["favour"]:
            text += f"; score by the first judge less by the second {_text(favour, '+')}"
            text += _warning(favour, "it may have been learnt to please")
        lines.append(text)
    if oracle := details.get("oracle"):
        lines.append(
            f"the oracle {oracle['name']} gives a win rate of {_text(oracle['oracle_win_rate'])} % "
            f"on {oracle['prompts']} prompts; less the judge's {_text(oracle['excess'], '+')}"
            + _warning(oracle["excess"], "training may have pleased the oracle alone")
        )
    return tuple(lines)


def _warning(difference: Mapping[str, float | None], text: str) -> str:
    low = difference["low"]
    return f": {text}" if low is not None and low > 0 else ""


def _parsed_pairs(first: Graded, second: Graded) -> list[tuple[str, ParsedVerdict, ParsedVerdict]]:
    parsed = {v.request_id: v.parsed for v in first.verdicts if v.parsed is not None}
    return [
        (v.request_id, parsed[v.request_id], v.parsed)
        for v in second.verdicts
        if v.parsed is not None and v.request_id in parsed
    ]


def _favour(
    benchmark: Benchmark,
    first: Graded,
    second: Graded,
    pairs: Sequence[tuple[str, ParsedVerdict, ParsedVerdict]],
) -> dict[str, float | None] | None:
    """Return by how much the first judge's score is above the second's on what both judged."""
    if any(_is_rating(a.value, b.value) for _, a, b in pairs):
        return _data(interval([a.value - b.value for _, a, b in pairs], seed=SEED))
    scores = [preferences_by_prompt(benchmark.score([side])[0]) for side in (first, second)]
    values = [scores[0][name] - value for name, value in scores[1].items() if name in scores[0]]
    return _percent(values, None, (-POINTS, POINTS)) if values else None


def _is_rating(first: float, second: float) -> bool:
    return max(first, second) > LARGEST_PREFERENCE


def _differ(first: float, second: float) -> bool:
    if _is_rating(first, second):
        return abs(first - second) > SAME_RATING
    return category(first) != category(second)


def _prompt_of(request_id: str) -> str:
    """Return the prompt's part of a game's id, so that both games of a prompt are resampled."""
    prompt, separator, game = request_id.rpartition("#")
    return prompt if separator and game.isdigit() else request_id


def _percent(
    values: Sequence[float], clusters: Sequence[str] | None, bounds: tuple[float, float]
) -> dict[str, float | None]:
    points = [POINTS * value for value in values]
    return _data(interval(points, seed=SEED, clusters=clusters, bounds=bounds))


def _data(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _text(data: Mapping[str, float | None], sign: str = "") -> str:
    bounds = "" if data["low"] is None else f" [{data['low']:{sign}.1f}, {data['high']:{sign}.1f}]"
    return f"{data['value']:{sign}.1f}{bounds}"
