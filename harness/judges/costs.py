"""Prices of judges' tokens, the cost of calls, budgets, and cost estimates.

Prices come from `configs/prices/`; each has a date and a source.
"""

from __future__ import annotations

import datetime
import math
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
"""The age up to which a price is used without a warning."""


class Price(Component):
    """A price in US dollars per million tokens."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    batch: float = Field(default=1.0, ge=0, le=1)
    """The price of a batch as a share of that."""
    since: datetime.date = Field(exclude=True)
    """The first day of the price."""
    checked: datetime.date | None = Field(default=None, exclude=True)
    """The day of the last check; None: unknown."""
    source: str
    """The source of the figures."""
    page: str = Field(default="", exclude=True)
    """The provider's page with the price."""

    @property
    def description(self) -> str:
        """The price as text, with its dates and source."""
        checked = f", looked up {self.checked}" if self.checked else ""
        price = f"${self.prompt:g} / ${self.completion:g}"
        return f"{price} since {self.since}{checked} ({self.source})"

    def staleness(self, day: datetime.date | None = None) -> str:
        """Return why the price may be outdated on a day (today); empty if it is recent or free."""
        free = not self.prompt and not self.completion
        if free or (self.checked and (day or today()) - self.checked <= FRESH_PERIOD):
            return ""
        age = f"{((day or today()) - self.checked).days} days ago" if self.checked else "long ago"
        return (
            f"the price was looked up {age}: check {self.page or 'its source'}, and enter today's "
            "price in configs/prices/mine.yaml"
        )

    def dollars(self, prompt: int, completion: int, *, batched: bool = False) -> float:
        """Return the cost of prompt and completion tokens in US dollars."""
        total = (prompt * self.prompt + completion * self.completion) / MILLION
        return total * self.batch if batched else total


class Prices(Component):
    """Prices by a model's exact name; the latest that has begun applies."""

    models: dict[str, list[Price]]


FREE = Price(
    prompt=0,
    completion=0,
    batch=1.0,
    since=datetime.date(1970, 1, 1),
    source="a server on this machine",
)


def _recency(price: Price) -> tuple[datetime.date, datetime.date]:
    return price.since, price.checked or datetime.date.min


def today() -> datetime.date:
    """Return today's date in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def price_of(model: str, day: datetime.date | None = None) -> Price | None:
    """Return the price of a model on a day (today); None where no file has one.

    Raises:
        ConfigError: a file of prices is invalid.
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
"""The length of an English token, until a server has reported token counts."""
DEFAULT_REPLY_TOKENS = 400
"""The assumed length of a reply without a limit, until some are known."""
LONGEST_REPLY_TOKENS = 16_000
"""The assumed longest reply to a request without a limit."""


@dataclass
class Budget:
    """What a command may spend on all its judges together."""

    limit: float | None = None
    """US dollars; None: no limit."""
    spent: float = 0.0


@dataclass
class CostTracker:
    """Tracks the cost of one run; refuses calls that might exceed the budget."""

    model: str
    price: Price | None
    budget: Budget = field(default_factory=Budget)
    batched: bool = False
    """Whether calls are batched, which costs less."""
    known_characters: int = 0
    known_tokens: int = 0
    """Characters and tokens of the prompts whose tokens were reported, for estimates."""
    reply_lengths: Counter[int] = field(default_factory=Counter)
    reserved: dict[int, float] = field(default_factory=dict)
    """By index, the largest cost of each call in flight."""

    def reserve(self, index: int, body: Body) -> bool:
        """Reserve the largest cost of a call; False if the budget might not suffice.

        The reply is taken to be as long as it may be: the lengths of the first replies are no
        guide, because long ones arrive last.
        """
        limit = self.budget.limit
        if limit is None or self.price is None:
            return True
        cost = self.largest_cost(body)
        if self.budget.spent + sum(self.reserved.values()) + cost > limit:
            return False
        self.reserved[index] = cost
        return True

    def largest_cost(self, body: Body) -> float:
        """Return what a call may cost, in US dollars; 0 without a price."""
        count, _ = token_counter(self.model)
        prompt = max(self.estimate_prompt_tokens(body), count_prompt_tokens(body, count))
        return self._dollars(prompt, int(_limit(body) or LONGEST_REPLY_TOKENS)) or 0.0

    def release(self, index: int) -> None:
        """Drop the reservation of a call that has ended."""
        self.reserved.pop(index, None)

    def record_reply(self, body: Body, reply: Reply, outcome: str, seconds: float | None) -> Call:
        """Count the cost of a reply, and return its call."""
        is_reported = reply.prompt_tokens > 0
        prompt = reply.prompt_tokens or self.estimate_prompt_tokens(body)
        completion = reply.completion_tokens or _estimated_tokens(reply.thinking + reply.content)
        if is_reported:
            self.known_characters += prompt_characters(body)
            self.known_tokens += prompt
        self.reply_lengths[completion] += 1
        is_estimated = not is_reported or completion != reply.completion_tokens
        return self._call(body, outcome, prompt, completion, is_estimated, seconds)

    def record_failure(self, body: Body, reason: str) -> Call:
        """Count the likely cost of a failed attempt that may be billed, and return its call."""
        prompt = self.estimate_prompt_tokens(body)
        return self._call(body, reason, prompt, self.estimate_reply_tokens(body), True, None)

    def record_refusal(self, body: Body) -> Call:
        """Count the likely cost of a refused request (some judges bill its prompt)."""
        return self._call(body, "refused", self.estimate_prompt_tokens(body), 0, True, None)

    def estimate_prompt_tokens(self, body: Body) -> int:
        """Estimate the tokens of a prompt."""
        share = (
            self.known_tokens / self.known_characters
            if self.known_characters
            else 1 / CHARACTERS_PER_TOKEN
        )
        return max(1, round(prompt_characters(body) * share))

    def estimate_reply_tokens(self, body: Body) -> int:
        """Estimate the tokens of a reply, which has a limit."""
        limit = _limit(body) or DEFAULT_REPLY_TOKENS
        known = sum(self.reply_lengths.values())
        mean_length = (
            sum(n * times for n, times in self.reply_lengths.items()) / known
            if known
            else DEFAULT_REPLY_TOKENS
        )
        return max(1, min(int(limit), round(mean_length)))

    def is_overspent(self) -> bool:
        """Say whether more than the budget has been spent."""
        return self.budget.limit is not None and self.budget.spent > self.budget.limit

    def budget_error(self, open_requests: int, body: Body) -> BudgetError:
        """Return the error of a budget that does not cover a further request.

        Args:
            open_requests: the number of pending requests.
            body: one of them.
        """
        return BudgetError(
            f"the budget of ${self.budget.limit:g} is spent (${self.budget.spent:.2f} so far; the "
            f"next request may cost ${self.largest_cost(body):.2g}) and {open_requests} or more "
            "requests are pending: the verdicts so far are stored; continue with a larger --budget"
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
    """Return the total of calls.

    Args:
        rows: outcome, prompt tokens, completion tokens, estimated, dollars, seconds of each call.
        price: the price, for its description.
    """
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


def _estimated_tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def prompt_characters(body: Body) -> int:
    """Return the number of characters in a request's messages."""
    return sum(len(message["content"]) for message in body["messages"])


MESSAGE_TOKENS, REPLY_TOKENS = 3, 3
"""Tokens that the Chat Completions format adds to each message, and to the reply."""
CALL_SECONDS, TOKEN_SECONDS = 1.0, 0.02
"""The assumed duration of a call: until the first token, and for each token."""
SAMPLE = 500
"""The number of stored replies that estimates are based on."""
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
    """Estimate the calls, tokens, dollars and minutes of requests.

    Raises:
        StoreError: the store cannot be read.
    """
    if not bodies:
        return CostEstimate(0, 0, 0, 0.0 if price else None, 0.0, "no request is pending")
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
    """Return the number of tokens of a request as it is billed."""
    content_tokens = sum(count(m["content"]) + count(m["role"]) for m in body["messages"])
    return content_tokens + MESSAGE_TOKENS * len(body["messages"]) + REPLY_TOKENS


def _similar_calls(body: Body, store: VerdictStore | None) -> list[tuple[int, float | None]]:
    """Return tokens and seconds of stored replies to requests with the same length limit."""
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
    ), f"replies of {DEFAULT_REPLY_TOKENS} tokens assumed: no similar reply is stored"
