"""A panel of judges: the mean or the majority of their verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.core.config import Component
from harness.errors import BatchPendingError
from harness.protocols import JudgeClient, PersistentJudge, ReadyJudge, VerdictParser
from harness.types import (
    Advance,
    CostDisplay,
    CostEstimate,
    JudgeRequest,
    ParsedVerdict,
    Usage,
    Verdict,
)

PanelRule = Literal["majority", "mean"]


class JudgePanel(Component):
    """The clients of a panel and its rule."""

    members: list[JudgeClient] = Field(min_length=2)
    rule: PanelRule = "majority"

    @model_validator(mode="after")
    def _check_odd(self) -> JudgePanel:
        if self.rule == "majority" and len(self.members) % 2 == 0:
            raise ValueError("a majority needs an odd number of members; add one")
        return self


@dataclass(frozen=True)
class PanelJudge:
    """Implements `harness.protocols.Judge` with several judges, asked one after the other."""

    members: Sequence[PersistentJudge]
    rule: PanelRule

    @property
    def model(self) -> str:
        """The rule and the members' models."""
        return f"{self.rule} of {', '.join(member.model for member in self.members)}"

    def check_ready(self) -> None:
        """Raise what asking a member would end with, as far as a look at its server says.

        Raises:
            JudgeError: a member cannot be asked.
        """
        for member in self.members:
            if isinstance(member, ReadyJudge):
                member.check_ready()

    def judge(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; each member stores its own.

        Raises:
            JudgeError: a member cannot be asked; the others' verdicts are stored.
        """
        verdicts_by_member, pending_error = [], None
        for i, member in enumerate(self.members):
            member_advance = advance if i == 0 else _CostsOnly(advance)
            try:
                verdicts_by_member.append(member.judge(requests, parser, member_advance))
            except BatchPendingError as error:  # the others are submitted too
                pending_error = error
        if pending_error is not None:
            raise pending_error
        return [
            panel_verdict(verdicts, self.rule) for verdicts in zip(*verdicts_by_member, strict=True)
        ]

    def count_pending(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> int:
        """Return the number of requests that at least one member has to be asked."""
        return max(member.count_pending(requests, parser) for member in self.members)

    def estimate_cost(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> CostEstimate:
        """Estimate the cost of asking all members."""
        estimates = [member.estimate_cost(requests, parser) for member in self.members]
        return CostEstimate(
            calls=sum(estimate.calls for estimate in estimates),
            prompt_tokens=sum(estimate.prompt_tokens for estimate in estimates),
            completion_tokens=sum(estimate.completion_tokens for estimate in estimates),
            dollars=total_if_known([estimate.dollars for estimate in estimates]),
            minutes=sum(estimate.minutes for estimate in estimates),
            grounds="; ".join(dict.fromkeys(estimate.grounds for estimate in estimates)),
            price="; ".join(
                dict.fromkeys(estimate.price for estimate in estimates if estimate.price)
            ),
            doubt="; ".join(
                dict.fromkeys(estimate.doubt for estimate in estimates if estimate.doubt)
            ),
        )

    def usage(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> Usage:
        """Return the usage of all members together."""
        usages = [member.usage(requests, parser) for member in self.members]
        durations = [usage.seconds for usage in usages if usage.seconds is not None]
        return Usage(
            calls=sum(usage.calls for usage in usages),
            unparsed=sum(usage.unparsed for usage in usages),
            quarantined=sum(usage.quarantined for usage in usages),
            failed=sum(usage.failed for usage in usages),
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
            estimated=sum(usage.estimated for usage in usages),
            dollars=total_if_known([usage.dollars for usage in usages]),
            seconds=statistics.fmean(durations) if durations else None,
            price="; ".join(dict.fromkeys(usage.price for usage in usages if usage.price)),
            refused=sum(usage.refused for usage in usages),
        )

    def request_settings(self, request: JudgeRequest) -> dict[str, Any]:
        """Return the parameters of a request; by member where they differ."""
        settings = {member.model: dict(member.request_settings(request)) for member in self.members}
        first = next(iter(settings.values()))
        return first if all(other == first for other in settings.values()) else settings


@dataclass(frozen=True)
class _CostsOnly:
    """Shows the cost of a further member, whose verdicts are no further steps."""

    advance: Advance

    def __call__(self, count: int) -> None:
        """Count nothing."""

    def add_cost(self, dollars: float) -> None:
        """Count dollars."""
        if isinstance(self.advance, CostDisplay):
            self.advance.add_cost(dollars)


def panel_verdict(verdicts: Sequence[Verdict], rule: PanelRule) -> Verdict:
    """Return a panel's verdict on one request; unparsed verdicts are left out.

    The mean has no label. The majority is the median verdict, which is that of more than half of
    the members wherever they agree. If an even number was parsed and the middle two differ, there
    is no majority, and the verdict counts as unparsed.
    """
    parsed = [verdict.parsed for verdict in verdicts if verdict.parsed is not None]
    texts = "\n".join(f"{v.model}: {v.text}" for v in verdicts if v.model)
    served = ", ".join(v.model for v in verdicts if v.model)
    decision = _mean(parsed) if rule == "mean" else _median(parsed)
    refusals = dict.fromkeys(v.refusal for v in verdicts if v.refusal)
    return Verdict(verdicts[0].request_id, decision, served, texts, "; ".join(refusals))


def _mean(parsed: Sequence[ParsedVerdict]) -> ParsedVerdict | None:
    return ParsedVerdict(statistics.fmean(item.value for item in parsed)) if parsed else None


def _median(parsed: Sequence[ParsedVerdict]) -> ParsedVerdict | None:
    if not parsed:
        return None
    ranked = sorted(parsed, key=lambda item: (item.value, item.label))
    low, high = ranked[(len(ranked) - 1) // 2], ranked[len(ranked) // 2]
    return low if low == high else None


def total_if_known(amounts: Sequence[float | None]) -> float | None:
    """Return the sum; None where an amount is unknown."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None
