"""WildBench v2, WB-Reward: each answer compared once with a reference's, with the checklist.

After allenai/WildBench at d6b8dcaf. One game a conversation: after `random.seed(42)` one draw an
item in the order of the data; below ½ the contestant is A. Texts are cut at 1,000 words. The
leaderboard's figure is the mean over three references, each a benchmark run of its own
(`against`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.benchmarks.wildbench import data, files, published, reward
from harness.benchmarks.wildbench.protocol import (
    PARAMETERS,
    WildBenchProtocol,
    protocol_sources,
    task_groups,
)
from harness.core.io import file_name, text_sha256
from harness.errors import AssetError
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

ORDER_SEED = 42


class WildBenchPairwise(WildBenchProtocol):
    """The protocol against one reference; its data comes from `harness assets`."""

    base_name: str = "wildbench-pairwise"
    against: str
    """The reference; its answers are `wildbench/model_outputs/NAME.json` of the protocol data."""
    default_judge: str = "gpt-4.1"
    """The published figures are of gpt-4-turbo-2024-04-09."""
    max_words: int = 1000
    scoring: reward.WildBenchRewardScoring = reward.WildBenchRewardScoring(length_margin=500)

    @property
    def name(self) -> str:
        """The name of the results."""
        return self.base_name

    def baseline_answers(self) -> list[Answer]:
        """Return the reference's published answers.

        Raises:
            AssetError: they are not in the protocol data.
            InputError: the file does not fit.
        """
        path = self._folder() / data.FOLDER / "model_outputs" / f"{file_name(self.against)}.json"
        if not path.is_file():
            raise AssetError(
                f"no answers of {self.against} in {path}: they are on the hub, in "
                "allenai/WildBench-V2-Model-Outputs; put them there as JSON"
            )
        return list(files.read_answers(path)[0].answers)

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return one comparison an answer; its id ends in the contestant's slot."""
        template = data.load_template("pairwise", self._folder())
        conversations = data.load_conversations(self._folder())
        own, reference = ({a.prompt_id: a.text for a in side} for side in (answers, baseline))
        draws = random.Random(ORDER_SEED)
        requests = []
        for conversation in conversations:
            is_first = draws.random() < 0.5
            key = conversation.id
            if key not in own or key not in reference:
                continue
            shown = [reward.shown_answer(side[key], self.max_words) for side in (own, reference)]
            first, second = shown if is_first else shown[::-1]
            values = data.shown(conversation, self.max_words)
            values |= {"candidate_A": first, "candidate_B": second}
            values["checklist"] = data.checklist(conversation)
            message = Message("user", data.fill(template, values))
            requests.append(JudgeRequest(f"{key}#{'BA'[is_first]}", (message,), PARAMETERS))
        return requests

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the preference for A in the `choice` of a reply that is a JSON object."""
        return files.parse_choice(replies[-1].content)

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return `wb_reward` (-100 to 100) with and without the length margin, and by task group.

        Raises:
            CheckError: a contestant has no parsed choice, or the answers are missing.
        """
        groups = task_groups(self._folder())
        return [
            reward.score_comparisons(contestant, groups, self.scoring, self.max_words)
            for contestant in graded
        ]

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the conversations and the template, and of the settings."""
        return protocol_sources("pairwise", self._folder()) | {
            "against": text_sha256(self.against),
            "max_words": text_sha256(str(self.max_words)),
            "length_margin": text_sha256(str(self.scoring.length_margin)),
        }

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read a file of comparisons with the answers that it quotes."""
        return files.read_comparisons(path, self.against)

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return the comparisons as upstream writes them."""
        return files.comparisons_file(graded)

    def published(self) -> Iterator[PublishedFigure]:
        """Yield the leaderboard's tables beside what its own counts give."""
        return published.reward_figures(self._folder())

    def _against(self) -> str:
        return self.against
