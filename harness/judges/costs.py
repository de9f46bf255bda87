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
from harness.errors import BudgetError, ConfigError
from harness.judges.reported_usage import ReportedUsage, believed_usage
from harness.judges.store.database import Call, VerdictStore, key_of, store_errors
from harness.judges.tokens import TokenCounter, count_margin, token_counter
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
FASTEST = 1000.0
"""Tokens a second that a judge writes at most: what it does not report or show takes time, too."""
LONGEST_REPLY_TOKENS = 16_000
"""The assumed longest reply to a request without a limit, until a longer one is known."""


@dataclass
class Budget:
    """What a command may spend on all its judges together."""

    limit: float | None = None
    """US dollars; None: no limit."""
    spent: float = 0.0
    """What is booked."""
    doubt: float = 0.0
    """What calls may have cost beyond that: there was no reply, or no usage that can be."""


def price_of_option(text: str) -> Price:
    """Return the price that `--price IN,OUT` gives, in US dollars per million tokens.

    Raises:
        ConfigError: it is not two numbers of at least 0.
    """
    try:
        prompt, completion = (float(part) for part in text.split(","))
    except ValueError:
        prompt = completion = -1.0
    if not (0 <= prompt < math.inf and 0 <= completion < math.inf):
        raise ConfigError(
            f"--price {text!r} is no price: give dollars per million prompt and reply tokens, "
            "e.g. --price 2,8, or --price 0,0 for a server of your own"
        )
    day = today()
    return Price(prompt=prompt, completion=completion, since=day, checked=day, source="--price")


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for a call in flight."""

    dollars: float
    """The largest cost."""
    prompt_tokens: int
    """The most that the prompt may have, without what a server adds."""


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
    reserved: dict[int, Reservation] = field(default_factory=dict)
    """By index, what is set aside for each call in flight."""
    template_tokens: int = 0
    """The most prompt tokens that a server has reported beyond our largest count."""
    overrun: float = 1.0
    """The longest reply as a multiple of its limit: of a judge that does not hold to it."""
    longest_reply: int = LONGEST_REPLY_TOKENS
    """The longest reply to expect of a request without a limit."""

    def reserve(self, index: int, body: Body) -> bool:
        """Reserve the largest cost of a call; False if the budget might not suffice.

        The reply is taken to be as long as it may be: the lengths of the first replies are no
        guide, because long ones arrive last.
        """
        if self.budget.limit is None or self.price is None:
            return True
        reservation = self._reservation(body)
        if self._committed() + reservation.dollars > self.budget.limit:
            return False
        self.reserved[index] = reservation
        return True

    def largest_cost(self, body: Body) -> float:
        """Return what a call may cost, in US dollars; 0 without a price."""
        return self._reservation(body).dollars

    def release(self, index: int) -> None:
        """Drop the reservation of a call that has ended."""
        self.reserved.pop(index, None)

    def record_reply(
        self, body: Body, reply: Reply, outcome: str, seconds: float | None, index: int = -1
    ) -> Call:
        """Count the cost of a reply, and return its call.

        A reported usage that cannot be is replaced by our own count. What was reserved under
        `index` teaches how many more tokens a server reports than are counted here.
        """
        reported = believed_usage(body, reply)
        prompt = reported.prompt or self.estimate_prompt_tokens(body)
        completion = reported.completion or self._estimated(reply)
        if reported.prompt:
            self.known_characters += prompt_characters(body)
            self.known_tokens += prompt
            if reserved := self.reserved.get(index):
                self.template_tokens = max(self.template_tokens, prompt - reserved.prompt_tokens)
        self.longest_reply = max(self.longest_reply, completion)
        if limit := _limit(body):
            self.overrun = max(self.overrun, completion / int(limit))
        self.reply_lengths[completion] += 1
        is_estimated = not (reported.prompt and reported.completion)
        call = self._call(body, outcome, prompt, completion, is_estimated, seconds)
        if is_estimated and self.budget.limit is not None:
            self._doubt(self._most_for(body, reply, reported, seconds), call)
        return call

    def record_failure(self, body: Body, reason: str) -> Call:
        """Count the likely cost of a failed attempt that may be billed, and return its call.

        The server may have billed the longest reply: the budget allows for that.
        """
        prompt = self.estimate_prompt_tokens(body)
        call = self._call(body, reason, prompt, self.estimate_reply_tokens(body), True, None)
        if self.budget.limit is not None:
            self._doubt(self.largest_cost(body), call)
        return call

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
        """Say whether the budget may not cover what has been sent, reservations included."""
        return self.budget.limit is not None and self._committed() > self.budget.limit

    def describe_bound(self, body: Body) -> str:
        """Say what the budget promises, and what a request like this one may cost."""
        limit = _limit(body)
        longest = f"its limit of {limit} tokens" if limit else f"{self.longest_reply} tokens"
        beyond = "" if limit else "; a longer reply in flight may cost more"
        return (
            f"budget: the bill stays within ${self.budget.limit:g}; each request in flight is set "
            f"aside with a reply of {longest} (about ${self.largest_cost(body):.2g}){beyond}"
        )

    def budget_error(self, open_requests: int, body: Body) -> BudgetError:
        """Return the error of a budget that does not cover a further request.

        Args:
            open_requests: the number of pending requests.
            body: one of them.
        """
        doubt = self.budget.doubt
        unsure = f", and up to ${doubt:.2g} more where no usage came" if doubt > 0.005 else ""
        return BudgetError(
            f"the budget of ${self.budget.limit:g} is spent (${self.budget.spent:.2f} so far"
            f"{unsure}; the "
            f"next request may cost ${self.largest_cost(body):.2g}) and {open_requests} or more "
            "requests are pending: the verdicts so far are stored; continue with a larger --budget"
        )

    def _reservation(self, body: Body) -> Reservation:
        """Return the largest cost of a call, with the largest count of its prompt behind it."""
        count, _ = token_counter(self.model)
        counted = max(self.estimate_prompt_tokens(body), count_prompt_tokens(body, count))
        prompt = self._most(counted)
        longest = self._longest(body)
        return Reservation(self._dollars(prompt + self.template_tokens, longest) or 0.0, prompt)

    def _longest(self, body: Body) -> int:
        """Return the longest reply to expect: of its limit, as the judge has held to it so far."""
        limit = _limit(body)
        return math.ceil(int(limit) * self.overrun) if limit else self.longest_reply

    def _most_for(
        self, body: Body, reply: Reply, reported: ReportedUsage, seconds: float | None
    ) -> float | None:
        """Return what a reply without a whole usage may have cost.

        It may have a thought that is not shown: as long as the judge's replies may be, and as its
        time allows.
        """
        count, _ = token_counter(self.model)
        written = max(count(reply.thinking + reply.content), self._estimated(reply))
        longest = self._longest(body)
        hidden = longest if seconds is None else min(longest, math.ceil(seconds * FASTEST))
        prompt = reported.prompt or self._reservation(body).prompt_tokens
        return self._dollars(prompt, reported.completion or max(self._most(written), hidden))

    def _most(self, tokens: int) -> int:
        """Return how many tokens there may be where so many were counted."""
        return math.ceil(count_margin(self.model) * tokens)

    def _committed(self) -> float:
        """Return what is booked, may have been billed, and may be billed for calls in flight."""
        in_flight = sum(reservation.dollars for reservation in self.reserved.values())
        return self.budget.spent + self.budget.doubt + in_flight

    def _estimated(self, reply: Reply) -> int:
        return math.ceil(len(reply.thinking + reply.content) / CHARACTERS_PER_TOKEN)

    def _doubt(self, most: float | None, call: Call) -> None:
        self.budget.doubt += max(0.0, (most or 0.0) - (call.dollars or 0.0))

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
