"""How far the bill goes under `--budget`: simulated judges, and the bill as their server counts it.

    python benchmarks/budget.py [--simulations 250] [--json FILE]

Up to 64 requests are in flight; lengths of replies are log-normal, and long replies take longer.
One attempt in 20 is billed and its reply lost, one in 30 meets a rate limit, one reply in 30 is cut
off at its limit, and one usage in 10 is missing, negative, zero or absurd. Time is simulated; the
session, the prices and the store are the harness's own.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import BudgetError
from harness.judges import chat_format
from harness.judges.cached import CachedJudge, judge_options
from harness.types import JudgeRequest, Message, ParsedVerdict, RawReply

IN_FLIGHT = 64
PRICE = "10,30"
PROMPT_PRICE, REPLY_PRICE = 10e-6, 30e-6
MEDIAN, SPREAD = 500.0, 0.8
"""Tokens of the median reply, and the standard deviation of their logarithm."""
LOST, LIMITED, CUT, ODD = 0.05, 1 / 30, 1 / 30, 0.1
ODD_USAGES: tuple[Any, ...] = (
    None,
    {"prompt_tokens": -1_000_000, "completion_tokens": -5},
    {"prompt_tokens": 0, "completion_tokens": 0},
    {"prompt_tokens": 5_000_000, "completion_tokens": 9_000_000},
    {"prompt_tokens": 1, "completion_tokens": 1},
    {"prompt_tokens": "many", "completion_tokens": [3]},
)


@dataclass(frozen=True)
class Setting:
    """A kind of run."""

    name: str
    budget: float
    limit: int | None = 4096
    """`max_tokens`; None: the requests have none."""
    odd: float = ODD
    """The share of replies with an odd usage."""


SETTINGS = (
    Setting("$1", 1.0),
    Setting("$3", 3.0),
    Setting("$3, no length limit", 3.0, limit=None),
    Setting("$1, no usage that can be", 1.0, odd=1.0),
)


@dataclass
class SimulatedClient:
    """A client and its server: implements `harness.protocols.JudgeClient` in simulated time."""

    setting: Setting
    rng: np.random.Generator
    billed: float = 0.0
    """US dollars, as the server counts them."""
    largest: float = 0.0
    """The most that all requests in flight together could have cost at any time."""
    calls: int = 0
    model: str = "simulated-judge"
    served_as: tuple[str, ...] = ()
    url: str = "https://judge.example/v1"
    concurrency: int = IN_FLIGHT
    unparsed_attempts: int = 5
    retry_missing: bool = False
    display_name: str = "the judge"
    _events: list[tuple[float, int, Any]] = field(default_factory=list)

    def body(self, request: JudgeRequest) -> dict[str, Any]:
        """Return the whole request."""
        return chat_format.body_of(self.model, request)

    def ask(self, queue: Any) -> None:
        """Ask the requests of a queue; whatever was sent is billed, also what comes too late."""
        now = 0.0
        while True:
            while len(self._events) < IN_FLIGHT and (item := queue.next()) is not None:
                self._send(now, *item)
            if not self._events:
                return
            now, index, (body, reply) = heapq.heappop(self._events)
            if reply is None:
                with suppress(BudgetError):  # it is asked again if the budget allows
                    queue.record_failure(index, "no answer in time")
                    self._send(now + 1.0, index, body)
            elif reply == "429":
                self._send(now + 1.0, index, body)
            else:
                queue.keep([RawReply(index, reply, 1.0)])

    def _send(self, now: float, index: int, body: Any) -> None:
        """Send a request: draw what becomes of it, and bill it."""
        kind = self.rng.random()
        if LOST <= kind < LOST + LIMITED:
            heapq.heappush(self._events, (now + 0.2, index, (body, "429")))
            return
        self.calls += 1
        prompt = round(len(body["messages"][0]["content"].split()) * self.rng.uniform(0.95, 1.1))
        prompt += 40
        drawn = round(MEDIAN * float(np.exp(SPREAD * self.rng.standard_normal())))
        tokens = max(1, min(drawn, self.setting.limit or drawn))
        is_cut = self.setting.limit is not None and self.rng.random() < CUT
        tokens = self.setting.limit or tokens if is_cut else tokens
        self.billed += prompt * PROMPT_PRICE + tokens * REPLY_PRICE
        reply = None if kind < LOST else self._reply(prompt, tokens, is_cut=is_cut)
        heapq.heappush(self._events, (now + 1.0 + 0.02 * tokens, index, (body, reply)))
        longest = prompt * PROMPT_PRICE + (self.setting.limit or drawn) * REPLY_PRICE
        self.largest = max(self.largest, longest)

    def _reply(self, prompt: int, tokens: int, *, is_cut: bool) -> str:
        words = max(1, round(tokens * self.rng.uniform(0.85, 1.0)))
        content = "" if is_cut else "word " * (words - 1) + "1"
        usage: Any = {"prompt_tokens": prompt, "completion_tokens": tokens}
        if self.rng.random() < self.setting.odd:
            usage = ODD_USAGES[self.rng.integers(len(ODD_USAGES))]
        message = {"role": "assistant", "content": content}
        if is_cut:
            message["reasoning_content"] = "word " * words
        choice = {"message": message, "finish_reason": "length" if is_cut else "stop"}
        return json.dumps({"model": self.model, "choices": [choice], "usage": usage})


class LastWord:
    """Parses a reply's last word as a number."""

    def parse(self, replies: Any) -> ParsedVerdict | None:
        """Return the verdict; None for an empty reply."""
        words = replies[-1].content.split()
        return ParsedVerdict(float(words[-1])) if words else None

    def follow_up(self, request: JudgeRequest, replies: Any) -> JudgeRequest:
        """Ask the same again."""
        return request


def requests(rng: np.random.Generator, setting: Setting, count: int) -> Iterator[JudgeRequest]:
    """Yield requests with prompts of 300 to 3,000 words."""
    parameters = {} if setting.limit is None else {"max_tokens": setting.limit}
    for index in range(count):
        text = f"question {index} " + "word " * int(rng.integers(300, 3000))
        yield JudgeRequest(str(index), (Message("user", text),), parameters)


def simulate(setting: Setting, seed: int, folder: Path) -> SimulatedClient:
    """Run one command with a budget; return its client, which has the server's bill."""
    rng = np.random.default_rng(seed)
    client = SimulatedClient(setting, rng)
    options = judge_options(budget=setting.budget, price=PRICE)
    judge = CachedJudge(client=client, store=folder / "v.sqlite", options=options)
    count = int(setting.budget / 0.02) + 100
    try:
        judge.judge(list(requests(rng, setting, count)), LastWord(), lambda _: None)
    except BudgetError:
        return client
    raise AssertionError("the budget was not reached")


def table_row(setting: Setting, clients: list[SimulatedClient]) -> dict[str, Any]:
    """Return how the bills of a setting's runs are distributed, in percent of the budget."""
    bills = np.array([client.billed for client in clients])
    shares = 100 * bills / setting.budget
    over = np.array([client.billed - setting.budget for client in clients])
    one_call = np.array([client.largest for client in clients])
    return {
        "budget": setting.name,
        "runs": len(clients),
        "least": float(shares.min()),
        "median": float(np.median(shares)),
        "95 %": float(np.quantile(shares, 0.95)),
        "most": float(shares.max()),
        "runs above": int((over > 0).sum()),
        "runs above by a call or more": int((over > one_call).sum()),
        "calls": float(np.mean([client.calls for client in clients])),
    }


def main(arguments: list[str] | None = None) -> None:
    """Simulate, print, and write the figures if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=250, help="runs of each setting")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    rows = []
    for setting in SETTINGS:
        clients = []
        for seed in range(options.simulations):
            with tempfile.TemporaryDirectory(dir=shared_memory()) as folder:
                clients.append(simulate(setting, seed, Path(folder)))
        rows.append(table_row(setting, clients))
        print(*(v if isinstance(v, str) else f"{v:.4g}" for v in rows[-1].values()), sep="  ")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def shared_memory() -> str | None:
    """Return a directory in memory, where the store waits for no disk; None: there is none."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    main()
