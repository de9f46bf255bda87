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
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.benchmarks import alpaca_eval_length, assets, chatml
from harness.config import Component
from harness.errors import AssetError, MissingDependencyError
from harness.protocols import PolicySource, Sampling
from harness.statistics.bootstrap import interval
from harness.statistics.length_control import percent
from harness.types import (
    Answer,
    Estimate,
    JudgeRequest,
    Message,
    Prompt,
    Reading,
    Reply,
    Score,
    Verdict,
)

BASELINE = "alpaca_eval/alpaca_eval_gpt4_baseline.json"
TEMPLATE = Path("evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt")
TEMPLATE_SHA256 = "784227e6dc2832fc08c43d2c8ea3a308e7523780187a1aaad2f85e30bac85f62"
FIRST, SECOND = "m", "M"


class AlpacaEval(Component):
    """The protocol; its data comes from `harness assets`, its judge prompt from alpaca-eval."""

    name: ClassVar[str] = "alpaca-eval"
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
    seed: int = 0
    """Of the bootstrap."""
    compat: Literal["upstream"] | None = None
    """`upstream`: length control with alpaca_eval's folds, and with its slip where rows are missing
    (`alpaca_eval_length`)."""

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

    def baseline_answers(self) -> list[Answer]:
        """Return the published answers of gpt4_1106_preview."""
        return [
            Answer(prompt_id(row["instruction"]), row["output"])
            for row in _rows(assets.folder(self.assets))
        ]

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Ask once for every instruction whose answers differ, under the prompt's id.

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
            values = {"instruction": instruction, "output_1": first, "output_2": second}
            messages = chatml.messages(chatml.fill(text, values))
            found.append(JudgeRequest(ours.prompt_id, messages, self.parameters))
        return found

    def read(self, reply: Reply) -> Reading | None:
        """Read P(first preferred) from the log-probabilities of `m` and `M`; neither: unread.

        The token that was sampled does not matter; of two, one that is not told has no weight.
        """
        if reply.top_logprobs is None or len(reply.top_logprobs) != 1:
            return None
        top = dict(reply.top_logprobs[0])
        first, second = (top.get(token, -math.inf) for token in (FIRST, SECOND))
        if math.isnan(first + second) or max(first, second) in (-math.inf, math.inf):
            return None
        weight = math.exp(first - max(first, second))
        return Reading(weight / (weight + math.exp(second - max(first, second))))

    def score(
        self, answers: Sequence[Answer], baseline: Sequence[Answer], verdicts: Sequence[Verdict]
    ) -> Score:
        """Return the published figures: `win_rate` with its standard error, and counts.

        Answers that equal the baseline's are draws. Unread verdicts are left out and counted.
        `win_rate` and `discrete_win_rate` are in percent; the interval of the first is a bootstrap
        over instructions. `avg_length` is in code points, cut to a whole number, over all answers.
        `length_controlled_win_rate` is there where its data is, else a note says how to get it; its
        standard error is the bootstrap's, `lc_standard_error` the published one.

        Raises:
            CheckError: no verdict could be read.
        """
        readings = {verdict.request_id: verdict.reading for verdict in verdicts}
        instructions = self._instructions()
        place = {name: i for i, name in enumerate(instructions)}
        items = [
            _item(instructions[ours.prompt_id], ours, theirs, readings)
            for ours, theirs in zip(answers, baseline, strict=True)
        ]
        judged = [item["preference"] for item in items if item["preference"] is not None]
        counts = _counts(items, judged)
        estimates = {
            "win_rate": percent(interval(judged, seed=self.seed)),
            "discrete_win_rate": percent(Estimate(sum(map(_discrete, judged)) / len(judged))),
        }
        unread = counts["unread"]
        told = f"{unread} of {len(items)} verdicts could not be read and are left out"
        controlled, notes = alpaca_eval_length.estimates(
            items,
            [place[item["prompt_id"]] for item in items],
            assets.folder(self.assets),
            seed=self.seed,
            upstream=self.compat == "upstream",
        )
        notes = ((told,) if unread else ()) + notes
        return Score({**estimates, **controlled}, counts, tuple(items), notes)

    def _instructions(self) -> dict[str, str]:
        return {prompt.id: prompt.text for prompt in self.prompts()}


def prompt_id(instruction: str) -> str:
    """Return an instruction's name: it depends on its text and not on its place."""
    return hashlib.sha256(instruction.encode()).hexdigest()[:16]


def switched(instruction: str) -> bool:
    """Say whether our answer is shown first; the same for every model, as published."""
    drawn = random.Random("is_switched_outputs" + instruction + "0")
    return drawn.choices([False, True], k=1)[0]


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


def _item(
    instruction: str, ours: Answer, theirs: Answer, readings: Mapping[str, Reading | None]
) -> dict[str, Any]:
    """Return one prompt's row; its preference is P(ours preferred), None where unread."""
    preference: float | None = 0.5
    if ours.text != theirs.text:
        reading = readings[ours.prompt_id]
        first = reading.value if reading else None
        turned = first is not None and not switched(instruction)
        preference = 1 - first if turned and first is not None else first
    lengths = {"length": len(ours.text), "baseline_length": len(theirs.text)}
    return {"prompt_id": ours.prompt_id, "preference": preference, **lengths}


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
