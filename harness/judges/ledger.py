"""Money: what every call costs, what a run may spend, and what an evaluation has cost so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.errors import BudgetError
from harness.judges.prices import Price
from harness.judges.store import Call, key_of
from harness.judges.wire import Body
from harness.types import Bill, Reply

CHARACTERS = 4.0
"""A token's length in English, until a judge has told better."""
WORDY = 400
"""Tokens that a reply without a limit of its own is reckoned at, until some are known."""


@dataclass
class Purse:
    """What a command may spend, on whatever judges."""

    budget: float | None = None
    """Dollars; None: no limit."""
    spent: float = 0.0


@dataclass
class Ledger:
    """The money of one run; a budget holds back what it might not suffice for."""

    model: str
    price: Price | None
    purse: Purse = field(default_factory=Purse)
    batched: bool = False
    """Whether calls are made in batches, which cost less."""
    characters: int = 0
    tokens: int = 0
    """Of the prompts whose tokens the judge told, with their characters: for guesses."""
    replies: Counter[int] = field(default_factory=Counter)
    reserved: dict[int, float] = field(default_factory=dict)
    """By place, what the calls in flight may cost."""

    def reserve(self, place: int, body: Body) -> bool:
        """Set aside what a call may cost; False where the budget might not suffice."""
        budget = self.purse.budget
        if budget is None or self.price is None:
            return True
        cost = self._dollars(self.prompt_guess(body), self.reply_guess(body)) or 0.0
        if self.purse.spent + sum(self.reserved.values()) + cost > budget:
            return False
        self.reserved[place] = cost
        return True

    def free(self, place: int) -> None:
        """Set nothing aside any more for a call that is over."""
        self.reserved.pop(place, None)

    def answered(self, body: Body, reply: Reply, outcome: str, seconds: float | None) -> Call:
        """Return a reply's call, and count its cost."""
        told = reply.prompt_tokens > 0
        prompt = reply.prompt_tokens or self.prompt_guess(body)
        if told:
            self.characters += length(body)
            self.tokens += prompt
        self.replies[reply.completion_tokens] += 1
        return self._call(body, outcome, prompt, reply.completion_tokens, not told, seconds)

    def failed(self, body: Body, told: str) -> Call:
        """Return the call of a try that may be on the bill, and count its likely cost."""
        prompt = self.prompt_guess(body)
        return self._call(body, told, prompt, self.reply_guess(body), True, None)

    def refused(self, body: Body) -> Call:
        """Return the call of a request that was refused: some judges bill its prompt."""
        return self._call(body, "refused", self.prompt_guess(body), 0, True, None)

    def prompt_guess(self, body: Body) -> int:
        """Return about how many tokens a prompt has."""
        share = self.tokens / self.characters if self.characters else 1 / CHARACTERS
        return max(1, round(length(body) * share))

    def reply_guess(self, body: Body) -> int:
        """Return about how many tokens a reply will have; never more than it may."""
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or WORDY
        known = sum(self.replies.values())
        usual = sum(n * times for n, times in self.replies.items()) / known if known else WORDY
        return max(1, min(int(limit), round(usual)))

    def spent_out(self, left: int) -> BudgetError:
        """Return the error of a budget that is spent."""
        return BudgetError(
            f"the budget of ${self.purse.budget:g} is spent (${self.purse.spent:.2f} so far) and "
            f"{left} or more requests are open: the verdicts so far are kept; go on from there "
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
        self.purse.spent += dollars or 0.0
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


def bill(rows: Iterable[tuple[Any, ...]], price: Price | None) -> Bill:
    """Add up calls: outcome, tokens (prompt, completion), whether guessed, dollars, seconds."""
    outcomes: Counter[str] = Counter()
    prompt = completion = estimated = priced = timed = 0
    dollars = seconds = 0.0
    for outcome, asked, said, guessed, cost, took in rows:
        outcomes[outcome] += 1
        prompt, completion, estimated = prompt + asked, completion + said, estimated + guessed
        dollars, priced = dollars + (cost or 0.0), priced + (cost is not None)
        seconds, timed = seconds + (took or 0.0), timed + (took is not None)
    calls = sum(outcomes.values())
    known = {name: outcomes[name] for name in ("unread", "quarantined", "refused")}
    return Bill(
        calls=calls,
        **known,
        failed=calls - outcomes["read"] - sum(known.values()),
        prompt_tokens=prompt,
        completion_tokens=completion,
        estimated=estimated,
        dollars=dollars if priced == calls else None,
        seconds=seconds / timed if timed else None,
        price=price.told if price else "",
    )


def length(body: Body) -> int:
    """Return the characters of a request's messages."""
    return sum(len(message["content"]) for message in body["messages"])
