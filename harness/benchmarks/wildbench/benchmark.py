"""WildBench v2, WB-Score: each answer rated from 1 to 10 with the conversation's checklist.

After allenai/WildBench at d6b8dcaf (arXiv 2406.04770), in the form of its batch files, of which the
published figures are. Files of `v2.0625` are of uncut prompts, those of `v2.0522` were cut at 1,000
words (`max_words: 1000`): they do not mix. What differs: a reply that cannot be parsed is asked for
again, and what remains is counted; upstream leaves it out without a trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from harness.benchmarks.wildbench import data, files, published
from harness.benchmarks.wildbench.protocol import (
    PARAMETERS,
    WildBenchProtocol,
    protocol_sources,
    task_groups,
)
from harness.benchmarks.wildbench.score import WildBenchScoring, score_ratings
from harness.core.io import text_sha256
from harness.types import (
    Answer,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    PublishedFigure,
    Reply,
    Score,
)


class WildBench(WildBenchProtocol):
    """The protocol; its conversations come from `harness assets`."""

    name: ClassVar[str] = "wildbench"
    default_judge: str = "gpt-4.1"
    """The published figures are of gpt-4o-2024-05-13, which is retired."""
    scoring: WildBenchScoring = WildBenchScoring()

    def baseline_answers(self) -> list[Answer]:
        """Return nothing: answers are rated without a baseline."""
        return []

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return a request to rate each answer; empty ones are rated too, as upstream."""
        template = data.load_template("score", self._folder())
        by_id = {c.id: c for c in data.load_conversations(self._folder())}
        requests = []
        for answer in answers:
            conversation = by_id[answer.prompt_id]
            values = data.shown(conversation, self.max_words)
            values["model_output"] = data.cut(answer.text, self.max_words)
            values["checklist"] = data.checklist(conversation)
            message = Message("user", data.fill(template, values))
            requests.append(JudgeRequest(answer.prompt_id, (message,), PARAMETERS))
        return requests

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the `score` of a reply that is a JSON object, if it is from 1 to 10."""
        return files.parse_score(replies[-1].content)

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return `wb_score` (-80 to 100), and by task group where the tags are known.

        Raises:
            CheckError: a contestant has no parsed rating.
        """
        groups = task_groups(self._folder())
        return [score_ratings(contestant, groups, self.scoring) for contestant in graded]

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the conversations and of the judge's template."""
        return protocol_sources("score", self._folder()) | {
            "max_words": text_sha256(str(self.max_words))
        }

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read a file of ratings with the answers that it quotes."""
        return files.read_ratings(path)

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return the ratings as upstream writes them."""
        return files.ratings_file(graded)

    def published(self) -> Iterator[PublishedFigure]:
        """Yield published scores beside those recomputed from the same verdicts."""
        return published.score_figures(self._folder())
