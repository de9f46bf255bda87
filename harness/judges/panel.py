"""Several judges grade together: the mean of what they find, or what most of them find."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field, model_validator

from harness.config import Component
from harness.errors import BatchPendingError
from harness.judges.desk import Client
from harness.protocols import Judge, Reader
from harness.types import Advance, Bill, Forecast, JudgeRequest, Reading, Verdict

Rule = Literal["majority", "mean"]


class Panel(Component):
    """Which judges sit on a panel, and how they decide."""

    members: list[Client] = Field(min_length=2)
    rule: Rule = "majority"

    @model_validator(mode="after")
    def _odd(self) -> Panel:
        if self.rule == "majority" and len(self.members) % 2 == 0:
            raise ValueError("a majority needs an odd number of members; name one more")
        return self


class Member(Judge, Protocol):
    """A judge that keeps its verdicts, and what they cost."""

    def pending(self, requests: Sequence[JudgeRequest], reader: Reader) -> int:
        """Return how many of the requests it would have to be asked."""
        ...

    def forecast(self, requests: Sequence[JudgeRequest], reader: Reader) -> Forecast:
        """Say what asking will take."""
        ...

    def bill(self, requests: Sequence[JudgeRequest], reader: Reader) -> Bill:
        """Return what the verdicts have cost."""
        ...

    def asked_with(self, request: JudgeRequest) -> Mapping[str, Any]:
        """Return what a request is asked with besides its text."""
        ...


@dataclass(frozen=True)
class PanelJudge:
    """Implements `harness.protocols.Judge` by several; they are asked one after the other."""

    members: Sequence[Member]
    rule: Rule

    @property
    def model(self) -> str:
        """Say who sits on the panel."""
        return f"{self.rule} of {', '.join(member.model for member in self.members)}"

    def judge(
        self, requests: Sequence[JudgeRequest], reader: Reader, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; every member keeps its own in the store.

        Raises:
            JudgeError: a member cannot be asked; what the others said is kept.
        """
        found, pending = [], None
        for i, member in enumerate(self.members):
            told = advance if i == 0 else lambda _: None
            try:
                found.append(member.judge(requests, reader, told))
            except BatchPendingError as error:  # the others are submitted too
                pending = error
        if pending is not None:
            raise pending
        return [decided(verdicts, self.rule) for verdicts in zip(*found, strict=True)]

    def pending(self, requests: Sequence[JudgeRequest], reader: Reader) -> int:
        """Return how many requests would have to be asked of at least one member."""
        return max(member.pending(requests, reader) for member in self.members)

    def forecast(self, requests: Sequence[JudgeRequest], reader: Reader) -> Forecast:
        """Say what asking all members will take."""
        found = [member.forecast(requests, reader) for member in self.members]
        return Forecast(
            calls=sum(one.calls for one in found),
            prompt_tokens=sum(one.prompt_tokens for one in found),
            completion_tokens=sum(one.completion_tokens for one in found),
            dollars=total([one.dollars for one in found]),
            minutes=sum(one.minutes for one in found),
            grounds="; ".join(dict.fromkeys(one.grounds for one in found)),
            price="; ".join(dict.fromkeys(one.price for one in found if one.price)),
            doubt="; ".join(dict.fromkeys(one.doubt for one in found if one.doubt)),
        )

    def bill(self, requests: Sequence[JudgeRequest], reader: Reader) -> Bill:
        """Return what the verdicts of all members have cost."""
        found = [member.bill(requests, reader) for member in self.members]
        known = [one.seconds for one in found if one.seconds is not None]
        return Bill(
            calls=sum(one.calls for one in found),
            unread=sum(one.unread for one in found),
            quarantined=sum(one.quarantined for one in found),
            failed=sum(one.failed for one in found),
            prompt_tokens=sum(one.prompt_tokens for one in found),
            completion_tokens=sum(one.completion_tokens for one in found),
            estimated=sum(one.estimated for one in found),
            dollars=total([one.dollars for one in found]),
            seconds=statistics.fmean(known) if known else None,
            price="; ".join(dict.fromkeys(one.price for one in found if one.price)),
            refused=sum(one.refused for one in found),
        )

    def asked_with(self, request: JudgeRequest) -> dict[str, Any]:
        """Return what a request is asked with; where it differs, by member."""
        told = {member.model: dict(member.asked_with(request)) for member in self.members}
        first = next(iter(told.values()))
        return first if all(one == first for one in told.values()) else told


def decided(verdicts: Sequence[Verdict], rule: Rule) -> Verdict:
    """Return a panel's verdict on one request; members that could not be read have no voice.

    The mean has no label of its own. The majority is the middle reading: wherever more than half
    agree, it is theirs. Where an even number could be read and the middle two differ, there is no
    majority, and the verdict counts as unread.
    """
    readings = [verdict.reading for verdict in verdicts if verdict.reading is not None]
    texts = "\n".join(f"{v.model}: {v.text}" for v in verdicts if v.model)
    served = ", ".join(v.model for v in verdicts if v.model)
    found = _mean(readings) if rule == "mean" else _middle(readings)
    refusals = dict.fromkeys(v.refusal for v in verdicts if v.refusal)
    return Verdict(verdicts[0].request_id, found, served, texts, "; ".join(refusals))


def _mean(readings: Sequence[Reading]) -> Reading | None:
    return Reading(statistics.fmean(one.value for one in readings)) if readings else None


def _middle(readings: Sequence[Reading]) -> Reading | None:
    if not readings:
        return None
    ranked = sorted(readings, key=lambda reading: (reading.value, reading.label))
    low, high = ranked[(len(ranked) - 1) // 2], ranked[len(ranked) // 2]
    return low if low == high else None


def total(amounts: Sequence[float | None]) -> float | None:
    """Return a sum; None where a part is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None
