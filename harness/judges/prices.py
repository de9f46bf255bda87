"""What a judge's tokens cost, from `configs/prices/`: dated, with the source of every figure."""

from __future__ import annotations

import datetime

from pydantic import Field

from harness.config import Component, build, load, names

MILLION = 1_000_000
FRESH = datetime.timedelta(days=180)
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
    def told(self) -> str:
        """The price in words, with its dates and source."""
        checked = f", looked up {self.checked}" if self.checked else ""
        price = f"${self.prompt:g} / ${self.completion:g}"
        return f"{price} since {self.since}{checked} ({self.source})"

    def doubt(self, day: datetime.date | None = None) -> str:
        """Say why the price may not hold any more on a day (today); empty: it is fresh, or free."""
        free = not self.prompt and not self.completion
        if free or (self.checked and (day or today()) - self.checked <= FRESH):
            return ""
        age = f"{((day or today()) - self.checked).days} days ago" if self.checked else "long ago"
        return (
            f"the price was looked up {age}: look at {self.page or 'its source'}, and put what it "
            "says today into configs/prices/mine.yaml"
        )

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


def _age(price: Price) -> tuple[datetime.date, datetime.date]:
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
    return max(known, key=_age, default=None)
