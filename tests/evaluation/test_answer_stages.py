"""What a stage of answers is known by."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.source_code import code_digests
from harness.core.stages import ExternalInput
from harness.engines.canned import CannedEngine
from harness.evaluation.submissions import answer_stage
from harness.protocols import Sampling
from harness.types import Message, Prompt


@dataclass
class Quiz:
    """A benchmark of somebody's own, of one turn or of two."""

    turns: int
    name: str = "quiz"

    def prompts(self):
        return [Prompt("1", (Message("user", "first"),))]

    def next_prompts(self, prompts, answers):
        second = Prompt("2", (Message("user", "second"),))
        return [second] if self.turns > 1 and prompts[0].id == "1" else []

    def sampling_for(self, prompt):
        return Sampling(temperature=0.0, top_p=1.0, max_tokens=4)


class Source:
    name = "policy"

    def weights(self):
        return ExternalInput("org/model", "digest")


def test_the_code_of_ones_own_benchmark_counts_where_it_says_what_follows_an_answer():
    engine = CannedEngine()
    single, double = (answer_stage(Source(), Quiz(turns), engine, 0).config for turns in (1, 2))
    assert "code" not in single  # its prompts and its sampling are all that it decides
    assert double["code"] == code_digests(Quiz)
