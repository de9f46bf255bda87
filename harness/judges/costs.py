"""What a judge's tokens cost, from `configs/prices/`: dated, with the source of every figure.

Money: what every call costs, what a run may spend, and what an evaluation has cost so far.

What asking a judge will take: calls, tokens, dollars, minutes.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from harness.core.config import Component, build, load, names
from harness.errors import BudgetError
from harness.judges.store.database import Call, VerdictStore, key_of, store_errors
from harness.judges.tokens import TokenCounter, token_counter
from harness.types import Body, CostEstimate, Reply, Usage

MILLION = 1_000_000
FRESH_PERIOD = datetime.timedelta(days=180)
"""For how long a price that was looked up is believed without a word."""


class Price(Component):
    """Dollars for a million tokens."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    batch: float = Field(default=1.0, ge=0, le=1)
    """What a batch costs, as a share of that."""
    since: datetime.date = Field(exclude=True)
    """The first day of the price."""
    checked: datetime.date | None = Field(default=None, exclude=True)
    """When somebody last looked it up; None: that is not known."""
    source: str
    """Where it was read."""
    page: str = Field(default="", exclude=True)
    """Where the seller tells it: to be looked up there."""

    @property
    def description(self) -> str:
        """The price in words, with its dates and source."""
        checked = f", looked up {self.checked}" if self.checked else ""
        price = f"${self.prompt:g} / ${self.completion:g}"
        return f"{price} since {self.since}{checked} ({self.source})"

    def staleness(self, day: datetime.date | None = None) -> str:
        """Say why the price may not hold any more on a day (today); empty: it is fresh, or free."""
        free = not self.prompt and not self.completion
        if free or (self.checked and (day or today()) - self.checked <= FRESH_PERIOD):
            return ""
        age = f"{((day or today()) - self.checked).days} days ago" if self.checked else "long ago"
        return (
            f"the price was looked up {age}: look at {self.page or 'its source'}, and put what it "
            "says today into configs/prices/mine.yaml"
        )

    def dollars(self, prompt: int, completion: int, *, batched: bool = False) -> float:
        """Return what so many tokens cost."""
        total = (prompt * self.prompt + completion * self.completion) / MILLION
        return total * self.batch if batched else total


class Prices(Component):
    """Prices by a model's exact name; the last one that has begun counts."""

    models: dict[str, list[Price]]


FREE = Price(
    prompt=0,
    completion=0,
    batch=1.0,
    since=datetime.date(1970, 1, 1),
    source="a server on this machine",
)


def _recency(price: Price) -> tuple[datetime.date, datetime.date]:
    """Return since when a price holds, and when it was looked up: the latest counts."""
    return price.since, price.checked or datetime.date.min


def today() -> datetime.date:
    """Return the day it is in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def price_of(model: str, day: datetime.date | None = None) -> Price | None:
    """Return the price of a model on a day (today); None where no file knows one.

    Raises:
        ConfigError: a file of prices does not fit.
    """
    day = day or today()
    known = [
        price
        for name in names("prices")
        for price in build(load("prices", name), f"prices/{name}").models.get(model, ())
        if price.since <= day
    ]
    return max(known, key=_recency, default=None)


CHARACTERS_PER_TOKEN = 4.0
"""A token's length in English, until a judge has told better."""
DEFAULT_REPLY_TOKENS = 400
"""Tokens that a reply without a limit of its own is reckoned at, until some are known."""


@dataclass
class Budget:
    """What a command may spend, on whatever judges."""

    limit: float | None = None
    """Dollars; None: no limit."""
    spent: float = 0.0


@dataclass
class CostTracker:
    """The money of one run; a budget holds back what it might not suffice for."""

    model: str
    price: Price | None
    budget: Budget = field(default_factory=Budget)
    batched: bool = False
    """Whether calls are made in batches, which cost less."""
    known_characters: int = 0
    known_tokens: int = 0
    """Of the prompts whose tokens the judge told, with their characters: for guesses."""
    reply_lengths: Counter[int] = field(default_factory=Counter)
    reserved: dict[int, float] = field(default_factory=dict)
    """By place, what the calls in flight may cost."""

    def reserve(self, index: int, body: Body) -> bool:
        """Set aside what a call may cost; False where the budget might not suffice."""
        limit = self.budget.limit
        if limit is None or self.price is None:
            return True
        cost = (
            self._dollars(self.estimate_prompt_tokens(body), self.estimate_reply_tokens(body))
            or 0.0
        )
        if self.budget.spent + sum(self.reserved.values()) + cost > limit:
            return False
        self.reserved[index] = cost
        return True

    def release(self, index: int) -> None:
        """Set nothing aside any more for a call that is over."""
        self.reserved.pop(index, None)

    def record_reply(self, body: Body, reply: Reply, outcome: str, seconds: float | None) -> Call:
        """Return a reply's call, and count its cost."""
        is_reported = reply.prompt_tokens > 0
        prompt = reply.prompt_tokens or self.estimate_prompt_tokens(body)
        if is_reported:
            self.known_characters += prompt_characters(body)
            self.known_tokens += prompt
        self.reply_lengths[reply.completion_tokens] += 1
        return self._call(body, outcome, prompt, reply.completion_tokens, not is_reported, seconds)

    def record_failure(self, body: Body, reason: str) -> Call:
        """Return the call of a try that may be on the bill, and count its likely cost."""
        prompt = self.estimate_prompt_tokens(body)
        return self._call(body, reason, prompt, self.estimate_reply_tokens(body), True, None)

    def record_refusal(self, body: Body) -> Call:
        """Return the call of a request that was refused: some judges bill its prompt."""
        return self._call(body, "refused", self.estimate_prompt_tokens(body), 0, True, None)

    def estimate_prompt_tokens(self, body: Body) -> int:
        """Return about how many tokens a prompt has."""
        share = (
            self.known_tokens / self.known_characters
            if self.known_characters
            else 1 / CHARACTERS_PER_TOKEN
        )
        return max(1, round(prompt_characters(body) * share))

    def estimate_reply_tokens(self, body: Body) -> int:
        """Return about how many tokens a reply will have; never more than it may."""
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_REPLY_TOKENS
        known = sum(self.reply_lengths.values())
        mean_length = (
            sum(n * times for n, times in self.reply_lengths.items()) / known
            if known
            else DEFAULT_REPLY_TOKENS
        )
        return max(1, min(int(limit), round(mean_length)))

    def budget_error(self, open_requests: int) -> BudgetError:
        """Return the error of a budget that is spent."""
        return BudgetError(
            f"the budget of ${self.budget.limit:g} is spent (${self.budget.spent:.2f} so far) and "
            f"{open_requests} or more requests are open: the verdicts so far are kept; go on from there "
            "with a larger --budget"
        )

    def _dollars(self, prompt: int, completion: int) -> float | None:
        if self.price is None:
            return None
        return self.price.dollars(prompt, completion, batched=self.batched)

    def _call(
        self,
        body: Body,
        outcome: str,
        prompt: int,
        completion: int,
        estimated: bool,
        seconds: float | None,
    ) -> Call:
        dollars = self._dollars(prompt, completion)
        self.budget.spent += dollars or 0.0
        return Call(
            key=key_of(body),
            outcome=outcome,
            model=self.model,
            prompt_tokens=prompt,
            completion_tokens=completion,
            estimated=estimated,
            dollars=dollars,
            seconds=seconds,
        )


def total_usage(rows: Iterable[tuple[Any, ...]], price: Price | None) -> Usage:
    """Add up calls: outcome, tokens (prompt, completion), whether guessed, dollars, seconds."""
    outcomes: Counter[str] = Counter()
    prompt = completion = estimated = priced = timed = 0
    dollars = seconds = 0.0
    for outcome, prompt_tokens, completion_tokens, is_estimated, cost, duration in rows:
        outcomes[outcome] += 1
        prompt, completion, estimated = (
            prompt + prompt_tokens,
            completion + completion_tokens,
            estimated + is_estimated,
        )
        dollars, priced = dollars + (cost or 0.0), priced + (cost is not None)
        seconds, timed = seconds + (duration or 0.0), timed + (duration is not None)
    calls = sum(outcomes.values())
    unparsed, quarantined, refused = (
        outcomes[name] for name in ("unparsed", "quarantined", "refused")
    )
    return Usage(
        calls=calls,
        unparsed=unparsed,
        quarantined=quarantined,
        refused=refused,
        failed=calls - outcomes["parsed"] - unparsed - quarantined - refused,
        prompt_tokens=prompt,
        completion_tokens=completion,
        estimated=estimated,
        dollars=dollars if priced == calls else None,
        seconds=seconds / timed if timed else None,
        price=price.description if price else "",
    )


def prompt_characters(body: Body) -> int:
    """Return the characters of a request's messages."""
    return sum(len(message["content"]) for message in body["messages"])


MESSAGE_TOKENS, REPLY_TOKENS = 3, 3
"""What the Chat Completions format adds to every message, and to open the reply."""
CALL_SECONDS, TOKEN_SECONDS = 1.0, 0.02
"""A call's length until some are known: to the first token, and for every one."""
SAMPLE = 500
"""How many stored replies the guesses rest on."""
SIMILAR_CALLS = """
SELECT call.completion_tokens, call.seconds FROM call JOIN attempt ON attempt.key = call.key
WHERE call.model = ? AND call.outcome IN ('parsed', 'unparsed') AND coalesce(
  json_extract(attempt.request, '$.max_completion_tokens'),
  json_extract(attempt.request, '$.max_tokens')) IS ?
ORDER BY call.rowid DESC LIMIT ?
"""


def estimate_cost(
    bodies: Sequence[Body],
    price: Price | None,
    concurrency: int,
    store: VerdictStore | None,
    *,
    batched: bool = False,
) -> CostEstimate:
    """Say what asking these requests will take.

    Raises:
        StoreError: the store cannot be read.
    """
    if not bodies:
        return CostEstimate(0, 0, 0, 0.0 if price else None, 0.0, "nothing is to be asked")
    count, counted_by = token_counter(str(bodies[0]["model"]))
    prompt = sum(count_prompt_tokens(body, count) for body in bodies)
    samples = _similar_calls(bodies[0], store)
    reply_tokens, basis = _reply_tokens(bodies[0], samples)
    durations = [seconds for _, seconds in samples if seconds is not None]
    seconds = (
        sum(durations) / len(durations)
        if durations
        else CALL_SECONDS + reply_tokens * TOKEN_SECONDS
    )
    completion = round(reply_tokens * len(bodies))
    dollars = price.dollars(prompt, completion, batched=batched) if price else None
    timed = f"{seconds:.1f} s a call {'as before' if durations else 'assumed'}"
    return CostEstimate(
        calls=len(bodies),
        prompt_tokens=prompt,
        completion_tokens=completion,
        dollars=dollars,
        minutes=len(bodies) * seconds / min(concurrency, len(bodies)) / 60,
        grounds=f"prompts counted by {counted_by}; {basis}; {timed}, {concurrency} at a time",
        price=price.description if price else "",
        doubt=price.staleness() if price else "",
    )


def count_prompt_tokens(body: Body, count: TokenCounter) -> int:
    """Return the tokens of a request as it is billed."""
    content_tokens = sum(count(m["content"]) + count(m["role"]) for m in body["messages"])
    return content_tokens + MESSAGE_TOKENS * len(body["messages"]) + REPLY_TOKENS


def _similar_calls(body: Body, store: VerdictStore | None) -> list[tuple[int, float | None]]:
    """Return tokens and seconds of stored replies to requests of the same kind."""
    if store is None:
        return []
    parameters = (body["model"], _limit(body), SAMPLE)
    with store_errors(store.path):
        rows: list[Any] = store.connection.execute(SIMILAR_CALLS, parameters).fetchall()
    return rows


def _limit(body: Body) -> Any:
    return body.get("max_completion_tokens") or body.get("max_tokens")


def _reply_tokens(body: Body, samples: Sequence[tuple[int, float | None]]) -> tuple[float, str]:
    limit = _limit(body)
    if samples:
        mean = sum(tokens for tokens, _ in samples) / len(samples)
        return mean, f"replies of {mean:.0f} tokens as before"
    if limit is not None and limit < DEFAULT_REPLY_TOKENS:
        return float(limit), f"replies of {limit} tokens, the most they may have"
    return float(
        DEFAULT_REPLY_TOKENS
    ), f"replies of {DEFAULT_REPLY_TOKENS} tokens assumed: none is stored to go by"
