"""AlpacaEval 2.0: 805 instructions, each answer compared once with a baseline's.

After tatsu-lab/alpaca_eval 0.6.6, `weighted_alpaca_eval_gpt4_turbo` (arXiv 2404.04475). What
differs: requests with an unparsable reply are sent again, and the rest is counted and reported; a
bootstrap interval accompanies the published standard error; answers are matched by instruction;
tokens that spell `m` or `M` alike, or with a blank before it, are summed.

The judge sees the two answers as `m` (first) and `M` (second), in an order drawn from the
instruction. `parse` returns P(first preferred), in the order of the request; `score` draws the
order again and turns it into P(ours preferred), which is the published `preference` minus 1.

`published` recomputes the leaderboard rows of the models in `published.csv` whose annotations are
available. The length-controlled win rate is compared twice: at the C of the published weights,
where it must equal the published figure, and at the C that cross-validation chooses here, which in
alpaca_eval itself depends on the machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.benchmarks import assets
from harness.benchmarks.alpaca_eval import files, judge_prompt, length_control
from harness.benchmarks.alpaca_eval.files import is_ours_first, prompt_id
from harness.benchmarks.alpaca_eval.judge_prompt import TEMPLATE, TEMPLATE_SHA256, template
from harness.benchmarks.alpaca_eval.length_control import METRIC, AlpacaEvalScoring
from harness.core.config import Component
from harness.core.hub import assets_directory
from harness.core.io import read_csv, sha256
from harness.core.label_tokens import read_labels
from harness.errors import AssetError
from harness.protocols import PolicySource, Sampling
from harness.statistics.bootstrap import interval, small_sample_note
from harness.statistics.intervals import SHARE, to_percent
from harness.statistics.length_control_glm import STRENGTHS
from harness.types import (
    Answer,
    Answers,
    Estimate,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    PublishedFigure,
    Reply,
    Score,
)

BASELINE = "alpaca_eval/alpaca_eval_gpt4_baseline.json"
FIRST, SECOND = "m", "M"
"""What the judge calls the two answers."""
LEADERBOARD, ANNOTATIONS = "alpaca_eval/published.csv", "alpaca_eval/annotations"
EXACT, AT_C, BY_INSTRUCTION, CHOSEN = 1e-6, 1e-5, 1e-3, 0.16
"""Tolerances of published figures in percentage points; the first one also of counts."""
MISSING_ANSWERS = 2.0
"""The tolerance of a mean length, in characters, if answers are missing."""
ESTIMATES = ("win_rate", "discrete_win_rate")
COUNTS = ("n_wins", "n_wins_base", "n_draws", "n_total")
WHY_CHOSEN = "cross-validation chooses another C: its folds depend on numpy and the CPU"
WHY_LENGTH = "published over answers that the annotations do not include"
WHY_ROWS = "published with difficulties looked up by row; rows are missing"
PublishedRow = Mapping[str, str]


class AlpacaEval(Component):
    """The protocol; its data comes from `harness assets`, its judge prompt from alpaca-eval."""

    name: ClassVar[str] = "alpaca-eval"
    default_judge: ClassVar[str] = "gpt-4-1106-preview"
    baseline: ClassVar[PolicySource | None] = None
    parameters: ClassVar[dict[str, Any]] = {
        "max_tokens": 1,
        "temperature": 1,
        "top_p": 1.0,
        "logprobs": True,
        "top_logprobs": 5,
    }
    sampling: Sampling
    """For policies that answer here; published answers used various settings."""
    assets: Path | None = Field(None, exclude=True)
    """The directory with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    scoring: length_control.AlpacaEvalScoring = length_control.AlpacaEvalScoring()
    any_spelling: bool = False
    """Go on with a judge that says ` m` and never `m`, which the published code does not read."""
    both_orders: bool = False
    """Judge every pair in both orders and take the mean: twice the cost, no position bias."""

    def in_both_orders(self) -> AlpacaEval:
        """Return the benchmark that asks every comparison in both orders."""
        return self.model_copy(update={"both_orders": True})

    def prompts(self) -> list[Prompt]:
        """Return the 805 instructions, with `dataset` and the `baseline`'s name in `meta`.

        Raises:
            AssetError: the protocol data is missing, or is not the published one.
        """
        return [
            Prompt(
                id=prompt_id(row["instruction"]),
                messages=(Message("user", row["instruction"]),),
                meta={"dataset": row["dataset"], "baseline": row["generator"]},
            )
            for row in _rows(assets_directory(self.assets))
        ]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: the benchmark has one turn."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return the sampling of all instructions."""
        return self.sampling

    def baseline_answers(self) -> list[Answer]:
        """Return the published answers of gpt4_1106_preview."""
        return [
            Answer(prompt_id(row["instruction"]), row["output"])
            for row in _rows(assets_directory(self.assets))
        ]

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return one comparison per instruction whose answers differ, under the prompt's id.

        With `both_orders`, a second one has the answers swapped.

        Raises:
            MissingDependencyError: alpaca-eval is not installed.
        """
        instructions, text = self._instructions(), template(self.assets)
        requests = []
        for ours, theirs in zip(answers, baseline, strict=True):
            if ours.text == theirs.text:
                continue
            instruction = instructions[ours.prompt_id]
            first, second = _slots(instruction, ours.text, theirs.text)
            requests.append(self._request(ours.prompt_id, text, instruction, first, second))
            if self.both_orders:
                name = f"{ours.prompt_id}{files.SWAPPED}"
                requests.append(self._request(name, text, instruction, second, first))
        return requests

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return P(first preferred) from the log-probabilities of `m` and `M`.

        They are read in the first place of the reply, whatever was sampled there. A token that is
        not among the reported ones has no weight; if neither is, the reply is unparsable, as a
        filtered one is.
        """
        reply = replies[-1]
        if reply.is_filtered or not reply.top_logprobs:
            return None
        read = read_labels(reply.top_logprobs[0], (FIRST, SECOND))
        if read is None:
            return None
        return ParsedVerdict(
            read.share(FIRST), mass=read.mass, spelled=read.spelled or self.any_spelling
        )

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask again; alpaca_eval leaves the comparison unparsed."""
        return request

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return the published figures: win rates in percent, and counts.

        Answers equal to the baseline's are draws. Unparsed verdicts are excluded and counted. The
        interval of `win_rate` is a bootstrap over instructions. `avg_length` is in code points,
        truncated to an integer, over all answers. `length_controlled_win_rate` needs its own data,
        or a note says how to get it; its standard error is the bootstrap's, `lc_standard_error` the
        published one.

        Raises:
            CheckError: there is no parsed verdict.
        """
        return [self._score(contestant) for contestant in graded]

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the baseline's answers, the gamed rows and the judge prompt."""
        folder = assets_directory(self.assets)
        files = [name for name in (BASELINE, length_control.GAMED) if (folder / name).is_file()]
        return {name: sha256(folder / name) for name in files} | {TEMPLATE.name: TEMPLATE_SHA256}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a `model_outputs.json`."""
        return files.read_answers(path, self.prompts())

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read an `annotations.json`."""
        return files.read_verdicts(path)

    def published(self) -> Iterator[PublishedFigure]:
        """Yield the leaderboard's figures beside those recomputed from the same annotations."""
        return published_figures(self, assets_directory(self.assets))

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return `model_outputs.json` and `annotations.json`."""
        return files.files(graded)

    def _request(
        self, name: str, text: str, instruction: str, first: str, second: str
    ) -> JudgeRequest:
        values = {"instruction": instruction, "output_1": first, "output_2": second}
        messages = judge_prompt.parse_messages(judge_prompt.fill_template(text, values))
        return JudgeRequest(name, messages, self.parameters)

    def _score(self, graded: Graded) -> Score:
        items = _items(graded)
        judged = [item["preference"] for item in items if item["preference"] is not None]
        counts = _counts(items, judged)
        estimates = {
            "win_rate": to_percent(interval(judged, seed=self.scoring.seed, bounds=SHARE)),
            "discrete_win_rate": to_percent(Estimate(sum(map(_discrete, judged)) / len(judged))),
        }
        unparsed = counts["unparsed"]
        note = f"{unparsed} of {len(items)} verdicts could not be parsed and are excluded"
        folder = assets_directory(self.assets)
        length_controlled = length_control.estimates(
            items, _positions(folder, graded), folder, scoring=self.scoring
        )
        score_notes = (
            *((note,) if unparsed else ()),
            *small_sample_note(len(judged), "verdicts"),
            *both_orders_note(graded),
        )
        notes = (*graded.notes, *score_notes, *length_controlled.notes)
        for item, contribution in zip(items, length_controlled.contributions, strict=False):
            item[length_control.METRIC] = contribution
        return Score(
            {**estimates, **length_controlled.estimates},
            counts,
            tuple(items),
            notes,
            length_controlled.details,
        )

    def _instructions(self) -> dict[str, str]:
        return {prompt.id: prompt.text for prompt in self.prompts()}


@lru_cache(maxsize=2)
def _rows(folder: Path) -> tuple[Mapping[str, str], ...]:
    path = assets.require(BASELINE, folder)
    return tuple(json.loads(path.read_text(encoding="utf-8")))


def _slots(instruction: str, ours: str, theirs: str) -> tuple[str, str]:
    return (ours, theirs) if is_ours_first(instruction) else (theirs, ours)


def _items(graded: Graded) -> list[dict[str, Any]]:
    """Return one row per prompt; its preference is P(ours preferred), None if unparsed."""
    theirs = {answer.prompt_id: answer.text for answer in graded.baseline}
    dataset = {prompt.id: prompt.meta.get("dataset", "") for prompt in graded.prompts}
    preferred = files.preferences(graded)
    return [
        {
            "prompt_id": ours.prompt_id,
            "preference": preferred[ours.prompt_id],
            "length": len(ours.text),
            "baseline_length": len(theirs[ours.prompt_id]),
            "dataset": dataset[ours.prompt_id],
        }
        for ours in graded.answers
    ]


def _positions(folder: Path, graded: Graded) -> list[int] | None:
    """Return each instruction's index in the eval set.

    None if the published difficulties do not apply: there are other prompts or another baseline.
    """
    if not (folder / BASELINE).is_file():
        return None
    rows = _rows(folder)
    positions = {prompt_id(row["instruction"]): i for i, row in enumerate(rows)}
    is_official = all(
        (index := positions.get(answer.prompt_id)) is not None
        and rows[index]["output"] == answer.text
        for answer in graded.baseline
    )
    return [positions[answer.prompt_id] for answer in graded.answers] if is_official else None


def both_orders_note(graded: Graded) -> tuple[str, ...]:
    """Return a note if comparisons were judged in both orders."""
    note = "every comparison was judged in both orders; the published protocol draws one"
    swapped = any(v.request_id.endswith(files.SWAPPED) for v in graded.verdicts)
    return (note,) if swapped else ()


def _counts(items: Sequence[Mapping[str, Any]], judged: Sequence[float]) -> dict[str, int]:
    outcomes = Counter(map(_discrete, judged))
    return {
        "asked": len(items),
        "judged": len(judged),
        "unparsed": len(items) - len(judged),
        "n_total": len(judged),
        "n_wins": outcomes[1.0],
        "n_wins_base": outcomes[0.0],
        "n_draws": outcomes[0.5],
        "avg_length": sum(item["length"] for item in items) // len(items),
    }


def _discrete(preference: float) -> float:
    return 0.5 if preference == 0.5 else float(preference > 0.5)


def published_figures(benchmark: AlpacaEval, folder: Path) -> Iterator[PublishedFigure]:
    """Yield every published figure beside its recomputation.

    Raises:
        AssetError: the table of published rows is missing.
    """
    if not (table := folder / LEADERBOARD).is_file():
        raise AssetError(f"{table} is missing: name a directory that has it with --assets DIR")
    for row in read_csv(table):
        path = folder / ANNOTATIONS / f"{row['model']}.json.gz"
        if path.is_file():
            (graded,) = benchmark.read_verdicts(path)
            yield from _model_figures(benchmark, graded, row)


def _model_figures(
    benchmark: AlpacaEval, graded: Graded, row: PublishedRow
) -> Iterator[PublishedFigure]:
    exact = _rescore(benchmark, graded, compat="upstream", C=_published_c(row))
    yield from _plain_figures(exact, row)
    yield from _length_controlled_figures(benchmark, graded, exact, row)


def _plain_figures(score: Score, row: PublishedRow) -> Iterator[PublishedFigure]:
    rate = score.estimates["win_rate"]
    recomputed = {name: score.estimates[name].value for name in ESTIMATES}
    recomputed |= {"standard_error": rate.standard_error or 0.0}
    recomputed |= {name: float(score.counts[name]) for name in COUNTS}
    for name, value in recomputed.items():
        if row.get(name):
            yield PublishedFigure(f"{row['model']} {name}", float(row[name]), value, EXACT)
    complete = score.counts["asked"] == 805
    length, published_length = float(score.counts["avg_length"]), row.get("avg_length")
    if published_length:
        explanation = "" if float(published_length) == length else WHY_LENGTH
        tolerance = EXACT if complete else MISSING_ANSWERS
        yield PublishedFigure(
            f"{row['model']} avg_length", float(published_length), length, tolerance, explanation
        )


def _length_controlled_figures(
    benchmark: AlpacaEval, graded: Graded, exact: Score, row: PublishedRow
) -> Iterator[PublishedFigure]:
    if not row.get("length_controlled_winrate"):
        return
    name, published_value = row["model"], float(row["length_controlled_winrate"])
    suffix = f" at C = {_published_c(row):.4g}" if row.get("regularisation_C_published") else ""
    yield PublishedFigure(
        f"{name} {METRIC}{suffix}", published_value, exact.estimates[METRIC].value, AT_C
    )
    if row.get("lc_standard_error"):
        error = exact.estimates["lc_standard_error"].value
        yield PublishedFigure(
            f"{name} lc_standard_error{suffix}", float(row["lc_standard_error"]), error, AT_C
        )
    chosen = _rescore(benchmark, graded, compat="upstream").estimates[METRIC].value
    explanation = "" if abs(chosen - published_value) <= AT_C else WHY_CHOSEN
    yield PublishedFigure(
        f"{name} {METRIC}, C chosen", published_value, chosen, CHOSEN, explanation
    )
    if by_instruction := row.get("lc_with_difficulty_by_instruction"):
        value = _rescore(benchmark, graded, C=_published_c(row)).estimates[METRIC].value
        metric = f"{name} {METRIC}{suffix}, difficulties by instruction"
        yield PublishedFigure(
            metric,
            float(by_instruction),
            value,
            BY_INSTRUCTION,
            f"{published_value:.2f} was {WHY_ROWS}",
        )


def _rescore(benchmark: AlpacaEval, graded: Graded, **options: object) -> Score:
    scoring = AlpacaEvalScoring.model_validate({**options, "rounds": 0})
    return benchmark.model_copy(update={"scoring": scoring}).score([graded])[0]


def _published_c(row: PublishedRow) -> float | None:
    """Return the published C, rounded to the grid; None if nothing was fitted."""
    text = row.get("regularisation_C_published")
    return min(STRENGTHS, key=lambda c: abs(c - float(text))) if text else None
