"""A judge with cached verdicts: stored ones are not asked again, and new ones are stored first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, InstanceOf

from harness.core.config import Component
from harness.core.http import is_loopback
from harness.errors import ConfigError, JudgeError
from harness.judges import chat_format, costs, model_check, readiness
from harness.judges.client import OpenAIClient
from harness.judges.costs import Budget, CostTracker, Price
from harness.judges.session import JudgingSession
from harness.judges.store.database import key_of, open_store
from harness.judges.vllm import VLLMClient
from harness.protocols import Advance, JudgeClient, RequestQueue, VerdictParser
from harness.types import Body, CostEstimate, JudgeRequest, Usage, Verdict

LOGGER = logging.getLogger("harness")
BatchMode = Literal["submit", "resume"]
ORACLE_STORE = "oracle-verdicts.sqlite"
"""A store in a workspace, apart from the verdicts on benchmarks."""


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How a command asks a judge."""

    budget: Budget = field(default_factory=Budget)
    """The most that may be spent; members of a panel share one."""
    accepted_models: tuple[str, ...] = ()
    """Other models whose replies count."""
    price: Price | None = None
    """The user's word on the price of a judge that no file lists; None: no word."""
    retry_missing: bool = False
    """Whether requests that ended without a verdict in an earlier run are asked again."""
    batch: BatchMode | None = None
    """`submit` or `resume`: through the judge's Batch API; None: call by call."""


DEFAULT_OPTIONS = JudgeOptions()


def judge_options(
    budget: float | None = None,
    accepted: Sequence[str] | None = None,
    batch: bool = False,
    resume: bool = False,
    price: str | None = None,
    retry_missing: bool = False,
) -> JudgeOptions:
    """Return the options of a command line.

    Args:
        budget: US dollars.
        accepted: other models whose replies count.
        batch: submit through the Batch API.
        resume: fetch what was submitted.
        price: `IN,OUT`, in US dollars per million tokens.
        retry_missing: ask again what was refused, or failed at every time.

    Raises:
        ConfigError: the price is none.
    """
    mode: BatchMode | None = "resume" if resume else "submit" if batch else None
    known = None if price is None else costs.price_of_option(price)
    return JudgeOptions(Budget(budget), tuple(accepted or ()), known, retry_missing, mode)


class CachedJudge(Component):
    """A client and the verdict store that caches its replies.

    Implements `harness.protocols.Judge` and `PersistentJudge`.
    """

    client: JudgeClient
    store: Path | None = Field(default=None, exclude=True)
    """The file of the verdict store; it does not change what the verdicts are. None:
    `oracle-verdicts.sqlite` in the workspace of the run."""
    options: InstanceOf[JudgeOptions] | None = Field(default=None, exclude=True)
    """None: no budget, no other model, call by call."""

    @property
    def model(self) -> str:
        """The model that is requested."""
        return self.client.model

    @property
    def path(self) -> Path:
        """The file of the verdict store; where nothing names a workspace it is `runs`."""
        return self.store or Path("runs", ORACLE_STORE)

    def in_workspace(self, root: Path) -> Self:
        """Return this judge with its store in a workspace, unless the store is named."""
        return self if self.store else self.model_copy(update={"store": root / ORACLE_STORE})

    def check_ready(self) -> None:
        """Raise what asking would end with, as far as one look at the server says.

        Raises:
            JudgeRefusedError: the model has retired or is not served, or the key is refused.
            JudgeIdentityError: the model's name is an alias.
            JudgeError: there is no key, or the server cannot be reached.
        """
        accepted = (*self.client.served_as, *self._options.accepted_models)
        readiness.check_client(self.client, accepted)

    def judge(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; equal requests are asked once.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeIdentityError: another model replies, or the model's name is an alias.
            BudgetError: the budget is spent.
            JudgeError: the judge cannot be reached or does not reply.
            CheckError: none of its first replies could be parsed.
            StoreError: the store cannot be used.
        """
        client = self.client
        if isinstance(client, VLLMClient):
            client = client.with_log_in(self.path.parent)
        return self.judge_through(client.ask, requests, parser, advance)

    def judge_through(
        self,
        ask: Callable[[RequestQueue], None],
        requests: Sequence[JudgeRequest],
        parser: VerdictParser,
        advance: Advance,
    ) -> list[Verdict]:
        """Return the verdicts as `judge` does; pending requests are asked by a function."""
        with self._session(requests, parser, advance) as session:
            if not session.is_cached():
                accepted = (*self.client.served_as, *self._options.accepted_models)
                model_check.reject_retired(self.client)
                model_check.reject_alias(self.model, self.client.url, accepted)
                self._report_bound(session)
                ask(session)
            return session.finish()

    def _report_bound(self, session: JudgingSession) -> None:
        body = session.next_body()
        if self._options.budget.limit is not None and self.price and body is not None:
            LOGGER.info(session.tracker.describe_bound(body))

    def count_pending(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> int:
        """Return the number of requests that have to be asked; follow-ups are not foreseen.

        Raises:
            StoreError: the store cannot be used.
        """
        return len(self.pending_requests(requests, parser))

    def pending_requests(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> list[JudgeRequest]:
        """Return the requests that have to be asked, equal ones once.

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
        """Return the parameters of a request besides its text: the protocol's and the client's."""
        body = self.client.body(request)
        return {name: value for name, value in body.items() if name not in ("model", "messages")}

    def estimate_cost(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> CostEstimate:
        """Estimate the calls, tokens, dollars and minutes of the pending requests.

        Raises:
            StoreError: the store cannot be used.
        """
        bodies = [self.client.body(request) for request in self.pending_requests(requests, parser)]
        batched = self._options.batch is not None
        concurrency = self.client.concurrency
        if not self.path.exists():
            return costs.estimate_cost(bodies, self.price, concurrency, None, batched=batched)
        with open_store(self.path) as store:
            return costs.estimate_cost(bodies, self.price, concurrency, store, batched=batched)

    @property
    def price(self) -> costs.Price | None:
        """The price of the judge's tokens today; None where it is unknown."""
        known = self._options.price or costs.price_of(self.model)
        return costs.FREE if known is None and is_loopback(self.client.url) else known

    def _is_priced(self) -> bool:
        """Say whether a budget can be kept: an address on this machine may sell on what it buys."""
        return self.price is not None and not (
            self.price is costs.FREE and isinstance(self.client, OpenAIClient)
        )

    @property
    def accepted_names(self) -> frozenset[str]:
        """The model names that the server may reply with."""
        return model_check.accepted_names(
            self.model, self.client.served_as, self._options.accepted_models
        )

    @property
    def _options(self) -> JudgeOptions:
        return self.options or DEFAULT_OPTIONS

    @contextmanager
    def _session(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> Iterator[JudgingSession]:
        price, options = self.price, self._options
        if options.budget.limit is not None and not self._is_priced():
            raise ConfigError(
                f"no price of {self.model} is known, so --budget cannot be kept: give it with "
                "--price IN,OUT in dollars per million tokens (0,0 for a server of your own), or "
                "in configs/prices/mine.yaml, as `harness config show prices/openai` shows"
            )
        with open_store(self.path) as store:
            tracker = CostTracker(
                self.model, price, options.budget, batched=options.batch is not None
            )
            session = JudgingSession(
                requests, parser, self.client, store, tracker, self.accepted_names, advance
            )
            session.retry_missing = options.retry_missing or self.client.retry_missing
            try:
                yield session
            finally:
                store.release(session.owner)


class ReplayClient(Component):
    """Replays the stored verdicts of a model; `harness verdicts import` adds some."""

    model: str
    """The model whose verdicts are replayed."""
    served_as: tuple[str, ...] = Field((), exclude=True)
    """Other names that its server replied with."""
    unparsed_attempts: int = Field(5, gt=0)
    """How many stored replies to a request are read while none can be parsed."""

    @property
    def url(self) -> str:
        """Empty: there is no server."""
        return ""

    @property
    def concurrency(self) -> int:
        """1, for cost estimates of missing verdicts."""
        return 1

    @property
    def retry_missing(self) -> bool:
        """False: nothing is asked."""
        return False

    @property
    def display_name(self) -> str:
        """The judge as error messages name it."""
        return f"the judge {self.model}"

    def body(self, request: JudgeRequest) -> Body:
        """Return the whole request, whose digest is the key of its verdicts."""
        return chat_format.body_of(self.model, request)

    def ask(self, queue: RequestQueue) -> None:
        """Refuse to ask.

        Raises:
            JudgeError: a verdict is missing.
        """
        if queue.next() is not None:
            raise JudgeError(
                f"not all verdicts of {self.model} are in the store (`harness eval --dry-run` "
                "counts the missing ones): add them with `harness verdicts import FILE`, or name "
                "a judge that can be asked with --judge"
            )
