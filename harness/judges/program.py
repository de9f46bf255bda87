"""A program in the judge's place, for benchmarks whose answers can be verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.protocols import CheckedBenchmark, VerdictParser
from harness.types import Advance, Answer, CostEstimate, JudgeRequest, Usage, Verdict


@dataclass(frozen=True)
class ProgramJudge:
    """Implements `harness.protocols.PersistentJudge`; it stores nothing, since checking is free.

    A request's last message is the answer.
    """

    benchmark: CheckedBenchmark

    @property
    def model(self) -> str:
        """The program and its version."""
        return self.benchmark.checker()

    def judge(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> list[Verdict]:
        """Check the answers; return one verdict per request, in order."""
        answers = [Answer(request.id, request.messages[-1].content) for request in requests]
        return self.benchmark.check(answers, advance)

    def count_pending(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> int:
        """Return 0: nothing is requested."""
        return 0

    def estimate_cost(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> CostEstimate:
        """Return no cost."""
        return CostEstimate(0, 0, 0, 0.0, 0.0, f"{self.model} checks the answers, without a judge")

    def usage(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> Usage:
        """Return no cost."""
        return Usage(0, 0, 0, 0, 0, 0, 0, 0.0, None)

    def request_settings(self, request: JudgeRequest) -> Mapping[str, Any]:
        """Return the program's version: nothing else is sent."""
        return {"checker": self.model}
