"""AlpacaEval 2.0: 805 instructions, a baseline's answers, one judged comparison an instruction.

After tatsu-lab/alpaca_eval 0.6.6, `weighted_alpaca_eval_gpt4_turbo` (arXiv 2404.04475). What
differs: verdicts that cannot be read are asked again, counted and told; a bootstrap interval
stands beside the published standard error; a model's answers are matched by their instruction.

The judge sees the two answers as `m` (first) and `M` (second), in an order drawn from the
instruction. `read` returns P(first preferred), as it was asked; `score` draws the order again and
turns it into P(ours preferred), the published `preference` less 1.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.benchmarks import (
    alpaca_eval_files,
    alpaca_eval_length,
    alpaca_eval_published,
    assets,
    chatml,
)
from harness.benchmarks.alpaca_eval_files import prompt_id, switched
from harness.config import Component
from harness.errors import AssetError, MissingDependencyError
from harness.files import sha256
from harness.protocols import PolicySource, Sampling
from harness.statistics.bootstrap import interval
from harness.statistics.length_control import percent
from harness.types import (
    Answer,
    Answers,
    Estimate,
    Figure,
    Graded,
    JudgeRequest,
    Message,
    Prompt,
    Reading,
    Reply,
    Score,
)

BASELINE = "alpaca_eval/alpaca_eval_gpt4_baseline.json"
TEMPLATE = Path("evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt")
TEMPLATE_SHA256 = "784227e6dc2832fc08c43d2c8ea3a308e7523780187a1aaad2f85e30bac85f62"
FIRST, SECOND = "m", "M"
FEW = 50


class AlpacaEval(Component):
    """The protocol; its data comes from `harness assets`, its judge prompt from alpaca-eval."""

    name: ClassVar[str] = "alpaca-eval"
    usual_judge: ClassVar[str] = "gpt-4-1106-preview"
    baseline: ClassVar[PolicySource | None] = None
    parameters: ClassVar[dict[str, Any]] = {
        "max_tokens": 1,
        "temperature": 1,
        "top_p": 1.0,
        "logprobs": True,
        "top_logprobs": 5,
    }
    sampling: Sampling
    """For policies that answer here; published answers were sampled in many ways."""
    assets: Path | None = Field(None, exclude=True)
    """The folder with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    scoring: alpaca_eval_length.Scoring = alpaca_eval_length.Scoring()
    both_orders: bool = False
    """Ask every comparison in both orders and take the mean: twice the price, no position bias."""

    def prompts(self) -> list[Prompt]:
        """Return the 805 instructions, with `dataset` and the `baseline`'s name in `meta`.

        Raises:
            AssetError: the protocol data is missing, or another.
        """
        return [
            Prompt(
                id=prompt_id(row["instruction"]),
                messages=(Message("user", row["instruction"]),),
                meta={"dataset": row["dataset"], "baseline": row["generator"]},
            )
            for row in _rows(assets.folder(self.assets))
        ]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: there is one turn."""
        return []

    def sampling_of(self, prompt: Prompt) -> Sampling:
        """Return how every instruction is answered."""
        return self.sampling

    def baseline_answers(self) -> list[Answer]:
        """Return the published answers of gpt4_1106_preview."""
        return [
            Answer(prompt_id(row["instruction"]), row["output"])
            for row in _rows(assets.folder(self.assets))
        ]

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Ask for every instruction whose answers differ: once, under the prompt's id.

        With `both_orders` a second time, the answers swapped.

        Raises:
            MissingDependencyError: alpaca-eval is not installed.
        """
        instructions, text = self._instructions(), template()
        found = []
        for ours, theirs in zip(answers, baseline, strict=True):
            if ours.text == theirs.text:
                continue
            instruction = instructions[ours.prompt_id]
            first, second = _slots(instruction, ours.text, theirs.text)
            found.append(self._request(ours.prompt_id, text, instruction, first, second))
            if self.both_orders:
                name = f"{ours.prompt_id}{alpaca_eval_files.SWAPPED}"
                found.append(self._request(name, text, instruction, second, first))
        return found

    def read(self, replies: Sequence[Reply]) -> Reading | None:
        """Read P(first preferred) from the log-probabilities of `m` and `M`; neither: unread.

        The token that was sampled does not matter; of two, one that is not told has no weight.
        """
        told = replies[-1].top_logprobs
        if told is None or len(told) != 1:
            return None
        top = dict(told[0])
        first, second = (top.get(token, -math.inf) for token in (FIRST, SECOND))
        if math.isnan(first + second) or max(first, second) in (-math.inf, math.inf):
            return None
        weight = math.exp(first - max(first, second))
        return Reading(weight / (weight + math.exp(second - max(first, second))))

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask again; alpaca_eval leaves it unread."""
        return request

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return the published figures: `win_rate` with its standard error, and counts.

        Answers that equal the baseline's are draws. Unread verdicts are left out and counted.
        `win_rate` and `discrete_win_rate` are in percent; the interval of the first is a bootstrap
        over instructions. `avg_length` is in code points, cut to a whole number, over all answers.
        `length_controlled_win_rate` is there where its data is, else a note says how to get it; its
        standard error is the bootstrap's, `lc_standard_error` the published one.

        Raises:
            CheckError: no verdict could be read.
        """
        return [self._score(one) for one in graded]

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the instructions with the baseline's answers, and of the prompt."""
        folder = assets.folder(self.assets)
        files = [name for name in (BASELINE, alpaca_eval_length.GAMED) if (folder / name).is_file()]
        return {name: sha256(folder / name) for name in files} | {TEMPLATE.name: TEMPLATE_SHA256}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a `model_outputs.json`."""
        return alpaca_eval_files.read_answers(path, self.prompts())

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read an `annotations.json`."""
        return alpaca_eval_files.read_verdicts(path)

    def published(self) -> Iterator[Figure]:
        """Yield the leaderboard's figures beside those made here of the same annotations."""
        return alpaca_eval_published.published(self, assets.folder(self.assets))

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return `model_outputs.json` and `annotations.json`."""
        return alpaca_eval_files.files(graded)

    def _request(
        self, name: str, text: str, instruction: str, first: str, second: str
    ) -> JudgeRequest:
        values = {"instruction": instruction, "output_1": first, "output_2": second}
        messages = chatml.messages(chatml.fill(text, values))
        return JudgeRequest(name, messages, self.parameters)

    def _score(self, graded: Graded) -> Score:
        items = _items(graded)
        judged = [item["preference"] for item in items if item["preference"] is not None]
        counts = _counts(items, judged)
        estimates = {
            "win_rate": percent(interval(judged, seed=self.scoring.seed)),
            "discrete_win_rate": percent(Estimate(sum(map(_discrete, judged)) / len(judged))),
        }
        unread = counts["unread"]
        told = f"{unread} of {len(items)} verdicts could not be read and are left out"
        folder = assets.folder(self.assets)
        found = alpaca_eval_length.estimates(
            items, _places(folder, graded), folder, scoring=self.scoring
        )
        said = (*((told,) if unread else ()), *few(len(judged)), *orders(graded))
        notes = (*graded.notes, *said, *found.notes)
        for item, contribution in zip(items, found.contributions, strict=False):
            item[alpaca_eval_length.METRIC] = contribution
        return Score({**estimates, **found.estimates}, counts, tuple(items), notes, found.details)

    def _instructions(self) -> dict[str, str]:
        return {prompt.id: prompt.text for prompt in self.prompts()}


@lru_cache(maxsize=1)
def template() -> str:
    """Return the judge prompt of the installed alpaca-eval, which is found but never imported.

    Raises:
        MissingDependencyError: alpaca-eval is not installed.
        AssetError: its prompt is not the one that the published figures were made with.
    """
    spec = importlib.util.find_spec("alpaca_eval")
    places = spec.submodule_search_locations if spec else None
    install = "install it with `pip install alpaca-eval==0.6.6`"
    if not places:
        raise MissingDependencyError(f"AlpacaEval's judge prompt is in alpaca-eval: {install}")
    path = Path(places[0]) / TEMPLATE
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != TEMPLATE_SHA256:
        raise AssetError(f"{path} is not the prompt of alpaca-eval 0.6.6: {install}")
    return data.decode()


@lru_cache(maxsize=2)
def _rows(folder: Path) -> tuple[Mapping[str, str], ...]:
    path = assets.require(BASELINE, folder)
    return tuple(json.loads(path.read_text(encoding="utf-8")))


def _slots(instruction: str, ours: str, theirs: str) -> tuple[str, str]:
    return (ours, theirs) if switched(instruction) else (theirs, ours)


def _items(graded: Graded) -> list[dict[str, Any]]:
    """Return one row a prompt; its preference is P(ours preferred), None where unread."""
    theirs = {answer.prompt_id: answer.text for answer in graded.baseline}
    dataset = {prompt.id: prompt.meta.get("dataset", "") for prompt in graded.prompts}
    preferred = alpaca_eval_files.preferences(graded)
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


def _places(folder: Path, graded: Graded) -> list[int] | None:
    """Return where each instruction stands in the eval set.

    None where the published difficulties do not hold: another prompt or another baseline.
    """
    if not (folder / BASELINE).is_file():
        return None
    rows = _rows(folder)
    place = {prompt_id(row["instruction"]): i for i, row in enumerate(rows)}
    same = all(
        (at := place.get(answer.prompt_id)) is not None and rows[at]["output"] == answer.text
        for answer in graded.baseline
    )
    return [place[answer.prompt_id] for answer in graded.answers] if same else None


def few(judged: int) -> tuple[str, ...]:
    """Say so where there are too few verdicts for a figure to mean much."""
    told = f"only {judged} verdicts: an interval of so few says little"
    return (told,) if judged < FEW else ()


def orders(graded: Graded) -> tuple[str, ...]:
    """Say so where comparisons were asked in both orders."""
    told = "every comparison was asked in both orders; the published protocol draws one"
    swapped = any(v.request_id.endswith(alpaca_eval_files.SWAPPED) for v in graded.verdicts)
    return (told,) if swapped else ()


def _counts(items: Sequence[Mapping[str, Any]], judged: Sequence[float]) -> dict[str, int]:
    won = Counter(map(_discrete, judged))
    return {
        "asked": len(items),
        "judged": len(judged),
        "unread": len(items) - len(judged),
        "n_total": len(judged),
        "n_wins": won[1.0],
        "n_wins_base": won[0.0],
        "n_draws": won[0.5],
        "avg_length": sum(item["length"] for item in items) // len(items),
    }


def _discrete(preference: float) -> float:
    return 0.5 if preference == 0.5 else float(preference > 0.5)
