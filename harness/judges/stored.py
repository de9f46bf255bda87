"""A judge with a memory: what is in the store is not asked again, what is asked is stored first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import ConfigError
from harness.judges import identity, ledger, prices
from harness.judges.client import loopback
from harness.judges.desk import Client
from harness.judges.docket import Docket
from harness.judges.forecast import forecast
from harness.judges.ledger import Ledger, Purse
from harness.judges.store import key_of, opened
from harness.protocols import Reader
from harness.types import Advance, Bill, Forecast, JudgeRequest, Verdict

BatchMode = Literal["submit", "resume"]


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a judge is asked."""

    purse: Purse = field(default_factory=Purse)
    """What a command may spend."""
    accepted: tuple[str, ...] = ()
    """Other models that may answer in the judge's place."""
    batch: BatchMode | None = None
    """`submit` or `resume`: by way of the judge's Batch API; None: call by call."""


def terms_of(
    budget: float | None = None,
    accepted: Sequence[str] | None = None,
    batch: bool = False,
    resume: bool = False,
) -> Terms:
    """Return the terms that a command's options name."""
    mode: BatchMode | None = "resume" if resume else "submit" if batch else None
    return Terms(Purse(budget), tuple(accepted or ()), mode)


class StoredJudge:
    """Implements `harness.protocols.Judge` with a client and the file of a verdict store."""

    def __init__(self, client: Client, path: Path, terms: Terms = Terms()) -> None:
        self.client, self.path, self.model, self.terms = client, path, client.model, terms

    def judge(
        self, requests: Sequence[JudgeRequest], reader: Reader, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; requests that are the same are asked once.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeIdentityError: it serves another model, or its name is an alias.
            BudgetError: the budget is spent.
            JudgeError: it cannot be reached, or gives no answer.
            StoreError: the store cannot be used.
        """
        with self._docket(requests, reader, advance) as docket:
            if not docket.settles():
                accepted = (*self.client.served_as, *self.terms.accepted)
                identity.check_name(self.model, self._url, accepted)
                self.client.ask(docket)
            return docket.settled()

    def pending(self, requests: Sequence[JudgeRequest], reader: Reader) -> int:
        """Return how many requests would have to be asked; follow-ups are not foreseen.

        Raises:
            StoreError: the store cannot be used.
        """
        return len(self.open(requests, reader))

    def open(self, requests: Sequence[JudgeRequest], reader: Reader) -> list[JudgeRequest]:
        """Return the requests that would have to be asked, each once.

        Raises:
            StoreError: the store cannot be used.
        """
        if not self.path.exists():
            return list({key_of(self.client.body(one)): one for one in requests}.values())
        with self._docket(requests, reader, lambda _: None) as docket:
            return [requests[place] for place in docket.unsettled()]

    def bill(self, requests: Sequence[JudgeRequest], reader: Reader) -> Bill:
        """Return what the verdicts on these requests have cost, follow-ups included.

        Raises:
            StoreError: the store cannot be used.
        """
        with self._docket(requests, reader, lambda _: None) as docket:
            return ledger.bill(docket.store.calls(set(docket.trail())), self.price)

    def asked_with(self, request: JudgeRequest) -> dict[str, Any]:
        """Return what a request is asked with besides its text: the protocol's and its own."""
        body = self.client.body(request)
        return {name: told for name, told in body.items() if name not in ("model", "messages")}

    def forecast(self, requests: Sequence[JudgeRequest], reader: Reader) -> Forecast:
        """Say what asking these requests will take, those that are stored left out.

        Raises:
            StoreError: the store cannot be used.
        """
        bodies = [self.client.body(one) for one in self.open(requests, reader)]
        batched = self.terms.batch is not None
        at_once = getattr(self.client, "concurrency", 1)
        if not self.path.exists():
            return forecast(bodies, self.price, at_once, None, batched=batched)
        with opened(self.path) as store:
            return forecast(bodies, self.price, at_once, store, batched=batched)

    @property
    def price(self) -> prices.Price | None:
        """What the judge's tokens cost today; None where that is not known."""
        known = prices.price_of(self.model)
        return prices.FREE if known is None and loopback(self._url) else known

    @property
    def names(self) -> frozenset[str]:
        """The names under which the judge may be served."""
        return identity.acceptable(self.model, self.client.served_as, self.terms.accepted)

    @property
    def _url(self) -> str:
        return str(getattr(self.client, "url", ""))

    @contextmanager
    def _docket(
        self, requests: Sequence[JudgeRequest], reader: Reader, advance: Advance
    ) -> Iterator[Docket]:
        price, purse = self.price, self.terms.purse
        if purse.budget is not None and price is None:
            raise ConfigError(
                f"no price of {self.model} is known, so that --budget cannot be held: add one to "
                "configs/prices/mine.yaml, as `harness config show prices/openai` shows"
            )
        with opened(self.path) as store:
            money = Ledger(self.model, price, purse, batched=self.terms.batch is not None)
            docket = Docket(requests, reader, self.client, store, money, self.names, advance)
            try:
                yield docket
            finally:
                store.release(docket.owner)
