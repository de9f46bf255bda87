"""What a judge's tokens cost, from `configs/prices/`: dated, with the source of every figure."""

from __future__ import annotations

import datetime

from pydantic import Field

from harness.config import Component, build, load, names

MILLION = 1_000_000


class Price(Component):
    """Dollars for a million tokens."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    batch: float = Field(default=1.0, ge=0, le=1)
    """What a batch costs, as a share of that."""
    since: datetime.date = Field(exclude=True)
    """The first day of the price."""
    source: str
    """Where it was read, and when."""

    @property
    def told(self) -> str:
        """The price in words, with its date and source."""
        return f"${self.prompt:g} / ${self.completion:g} since {self.since} ({self.source})"

    def dollars(self, prompt: int, completion: int, *, batched: bool = False) -> float:
        """Return what so many tokens cost."""
        whole = (prompt * self.prompt + completion * self.completion) / MILLION
        return whole * self.batch if batched else whole


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


def price_of(model: str, day: datetime.date | None = None) -> Price | None:
    """Return the price of a model on a day (today); None where no file knows one.

    Raises:
        ConfigError: a file of prices does not fit.
    """
    day = day or datetime.datetime.now(datetime.UTC).date()
    known = [
        price
        for name in names("prices")
        for price in build(load("prices", name), f"prices/{name}").models.get(model, ())
        if price.since <= day
    ]
    return max(known, key=lambda price: price.since, default=None)
