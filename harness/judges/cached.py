"""A judge with a memory: what is in the store is not asked again, what is asked is stored first.

A judge with its memory as a component: what a configuration names where it wants a judge.

A judge that only repeats what is in the store: nothing is asked and nothing is spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness import types
from harness.core.config import Component
from harness.core.http import is_loopback
from harness.errors import ConfigError, JudgeError
from harness.judges import chat_format, costs, model_check
from harness.judges.client import OpenAIClient
from harness.judges.costs import Budget, CostTracker, estimate_cost
from harness.judges.session import JudgingSession
from harness.judges.store.database import key_of, open_store
from harness.protocols import Advance, JudgeClient, RequestQueue, VerdictParser
from harness.types import CostEstimate, JudgeRequest, Usage, Verdict

BatchMode = Literal["submit", "resume"]


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """On what terms a judge is asked."""

    budget: Budget = field(default_factory=Budget)
    """What a command may spend."""
    accepted_models: tuple[str, ...] = ()
    """Other models that may answer in the judge's place."""
    batch: BatchMode | None = None
    """`submit` or `resume`: by way of the judge's Batch API; None: call by call."""


def judge_options(
    budget: float | None = None,
    accepted: Sequence[str] | None = None,
    batch: bool = False,
    resume: bool = False,
) -> JudgeOptions:
    """Return the terms that a command's options name."""
    mode: BatchMode | None = "resume" if resume else "submit" if batch else None
    return JudgeOptions(Budget(budget), tuple(accepted or ()), mode)


class CachedJudge:
    """Implements `harness.protocols.Judge` with a client and the file of a verdict store."""

    def __init__(
        self, client: JudgeClient, path: Path, options: JudgeOptions = JudgeOptions()
    ) -> None:
        self.client, self.path, self.model, self.options = client, path, client.model, options

    def judge(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; requests that are the same are asked once.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeIdentityError: it serves another model, or its name is an alias.
            BudgetError: the budget is spent.
            JudgeError: it cannot be reached, or gives no answer.
            StoreError: the store cannot be used.
        """
        with self._session(requests, parser, advance) as session:
            if not session.is_cached():
                accepted = (*self.client.served_as, *self.options.accepted_models)
                model_check.reject_alias(self.model, self.client.url, accepted)
                self.client.ask(session)
            return session.finish()

    def count_pending(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> int:
        """Return how many requests would have to be asked; follow-ups are not foreseen.

        Raises:
            StoreError: the store cannot be used.
        """
        return len(self.pending_requests(requests, parser))

    def pending_requests(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> list[JudgeRequest]:
        """Return the requests that would have to be asked, each once.

        Raises:
            StoreError: the store cannot be used.
        """
        if not self.path.exists():
            return list(
                {key_of(self.client.body(request)): request for request in requests}.values()
            )
        with self._session(requests, parser, lambda _: None) as session:
            return [requests[index] for index in session.pending_indices()]

    def usage(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> Usage:
        """Return what the verdicts on these requests have cost, follow-ups included.

        Raises:
            StoreError: the store cannot be used.
        """
        with self._session(requests, parser, lambda _: None) as session:
            return costs.total_usage(session.store.calls(set(session.asked_keys())), self.price)

    def request_settings(self, request: JudgeRequest) -> dict[str, Any]:
        """Return what a request is asked with besides its text: the protocol's and its own."""
        body = self.client.body(request)
        return {name: value for name, value in body.items() if name not in ("model", "messages")}

    def estimate_cost(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> CostEstimate:
        """Say what asking these requests will take, those that are stored left out.

        Raises:
            StoreError: the store cannot be used.
        """
        bodies = [self.client.body(request) for request in self.pending_requests(requests, parser)]
        batched = self.options.batch is not None
        concurrency = self.client.concurrency
        if not self.path.exists():
            return estimate_cost(bodies, self.price, concurrency, None, batched=batched)
        with open_store(self.path) as store:
            return estimate_cost(bodies, self.price, concurrency, store, batched=batched)

    @property
    def price(self) -> costs.Price | None:
        """What the judge's tokens cost today; None where that is not known."""
        known = costs.price_of(self.model)
        return costs.FREE if known is None and is_loopback(self.client.url) else known

    @property
    def accepted_names(self) -> frozenset[str]:
        """The names under which the judge may be served."""
        return model_check.accepted_names(
            self.model, self.client.served_as, self.options.accepted_models
        )

    @contextmanager
    def _session(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> Iterator[JudgingSession]:
        price, budget = self.price, self.options.budget
        if budget.limit is not None and price is None:
            raise ConfigError(
                f"no price of {self.model} is known, so that --budget cannot be held: add one to "
                "configs/prices/mine.yaml, as `harness config show prices/openai` shows"
            )
        with open_store(self.path) as store:
            tracker = CostTracker(self.model, price, budget, batched=self.options.batch is not None)
            session = JudgingSession(
                requests, parser, self.client, store, tracker, self.accepted_names, advance
            )
            try:
                yield session
            finally:
                store.release(session.owner)


class StoredJudgeComponent(Component):
    """Implements `harness.protocols.Judge`; verdicts are kept in a file, asked for only once."""

    client: OpenAIClient
    store: Path = Field(exclude=True)
    """The verdict store's file; where verdicts are kept does not change what they say."""

    @property
    def model(self) -> str:
        """The judge as it is asked for."""
        return self.client.model

    def judge(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; one that could not be read has no reading.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good.
            StoreError: the store cannot be used.
        """
        self.store.parent.mkdir(parents=True, exist_ok=True)
        return CachedJudge(self.client, self.store).judge(requests, parser, advance)


class ReplayClient(Component):
    """Repeats the stored verdicts of a model; bring some with `harness verdicts import`."""

    model: str
    """Whose verdicts are repeated."""
    served_as: tuple[str, ...] = Field((), exclude=True)
    """Other names under which they may have been given."""
    unparsed_attempts: int = Field(5, gt=0)
    """How many stored replies to a request are read while none can be parsed."""

    @property
    def url(self) -> str:
        """Empty: nothing is asked."""
        return ""

    @property
    def concurrency(self) -> int:
        """One, for cost estimates of what is missing."""
        return 1

    @property
    def retry_refused(self) -> bool:
        """False: nothing is asked."""
        return False

    @property
    def display_name(self) -> str:
        """The judge as error messages name it."""
        return f"the judge {self.model}"

    def body(self, request: JudgeRequest) -> types.Body:
        """Return what a verdict is kept under."""
        return chat_format.body_of(self.model, request)

    def ask(self, queue: RequestQueue) -> None:
        """Refuse to ask.

        Raises:
            JudgeError: there is something to ask.
        """
        if queue.next() is not None:
            raise JudgeError(
                f"not all verdicts of {self.model} are in the store (`harness eval --dry-run` "
                "counts those that are missing): bring them with `harness verdicts import FILE`, "
                "or name a judge that can be asked with --judge"
            )
