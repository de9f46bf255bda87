"""A benchmark of three prompts: which answer spells the word more correctly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from harness.benchmarks.alpaca_eval import files
from harness.core.config import Component
from harness.protocols import PolicySource, Sampling
from harness.statistics.bootstrap import interval
from harness.statistics.intervals import to_percent
from harness.types import (
    Answer,
    Answers,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    Reply,
    Score,
)

WORDS = ("rhythm", "separate", "occurrence")


class Spelling(Component):
    """Two answers per word, compared by the judge; the baseline is a policy."""

    name: ClassVar[str] = "spelling"
    default_judge: ClassVar[str] = "mine"
    baseline: PolicySource
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=16)

    def prompts(self) -> list[Prompt]:
        """Return the questions."""
        return [Prompt(word, (Message("user", f"Spell {word}."),)) for word in WORDS]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: there is one turn."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return how a policy is sampled."""
        return self.sampling

    def baseline_answers(self) -> list[Answer] | None:
        """Return None: the baseline policy answers."""
        return None

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return one request per word."""
        return [
            JudgeRequest(ours.prompt_id, (Message("user", f"{ours.text}\n{theirs.text}"),), {})
            for ours, theirs in zip(answers, baseline, strict=True)
        ]

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the verdict of a label."""
        value = {"[[A>B]]": 1.0, "[[A=B]]": 0.5, "[[B>A]]": 0.0}.get(replies[-1].content)
        return None if value is None else ParsedVerdict(value)

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Return the same request again."""
        return request

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return the win rate; unparsed verdicts are counted and left out."""
        return [self._score(submission) for submission in graded]

    def sources(self) -> Mapping[str, str]:
        """Return nothing: the words are in this file."""
        return {}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read answers in alpaca_eval's format."""
        return files.read_answers(path, self.prompts())

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read verdicts in alpaca_eval's format."""
        return files.read_verdicts(path)

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return the answers in alpaca_eval's format."""
        return files.answers_file(graded)

    def _score(self, graded: Graded) -> Score:
        read = [v.parsed.value for v in graded.verdicts if v.parsed]
        counts = {"asked": len(graded.verdicts), "judged": len(read)}
        counts["unparsed"] = counts["asked"] - counts["judged"]
        return Score({"win_rate": to_percent(interval(read, seed=0))}, counts)
