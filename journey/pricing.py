"""Prices: what a message is likely to cost, by the rate card.

What belongs here: reading a rate card's rows, and the rate that applies to a market, a category and a day. The rates
themselves are the user's (`rates/*.csv`): Meta publishes them, and they change each quarter.

A price is an estimate and an upper bound: the lowest tier (rates fall with the volume), and free windows left out.
Where the card has nothing for a market it has no price, and nothing else stops for that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

import polars as pl

from journey.markets import ANY, OTHER, codes_of, markets_of
from journey.problems import Problem

MILLION = 1_000_000
ESTIMATE = "estimate"
COLUMNS = ("effective_from", "currency", "market", "category", "rate")
"""Columns that a rate card must have; `tier_from` may be left out."""

SERVICE = "SERVICE"
"""The category of free text."""

CATEGORIES = ("MARKETING", "UTILITY", "AUTHENTICATION", "AUTHENTICATION-INTERNATIONAL", SERVICE)
_MOST = Decimal(1_000)
PRICE = {"market": pl.String, "price": pl.Int64, "currency": pl.String}


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of a rate card. `rate` in millionths of the currency, a message; from `tier_from` messages a month on."""

    effective_from: date
    currency: str
    market: str
    category: str
    tier_from: int
    rate: int


@dataclass(frozen=True, slots=True)
class Price:
    """What one message costs: `amount` in millionths of `currency`."""

    market: str
    amount: int
    currency: str


class RateCard:
    """Every rate that is known."""

    def __init__(self, rates: Iterable[Rate] = ()) -> None:
        self.rates = tuple(rates)
        self._by: dict[tuple[str, str, str], list[Rate]] = {}
        for rate in self.rates:
            self._by.setdefault((rate.currency, _same(rate.market), rate.category), []).append(rate)

    @property
    def currencies(self) -> tuple[str, ...]:
        """The currencies that the card has rates in, in its order."""
        return tuple(dict.fromkeys(rate.currency for rate in self.rates))

    def price(self, code: str | None, category: str | None, day: date, currency: str | None = None) -> Price | None:
        """The price of a message to a calling code on a day; None where the card has none. `category` as Meta names it,
        None for free text. `currency`: None for the card's first."""
        currencies = [currency] if currency is not None else self.currencies[:1]
        for money in currencies:
            for market in (*markets_of(code), ANY, OTHER):
                rates = self._by.get((money, _same(market), (category or SERVICE).upper()), [])
                in_force = [rate for rate in rates if rate.effective_from <= day]
                if in_force:
                    newest = max(rate.effective_from for rate in in_force)
                    rate = min((one for one in in_force if one.effective_from == newest), key=lambda one: one.tier_from)
                    named = markets_of(code)[0] if market in (ANY, OTHER) else rate.market
                    return Price(named, rate.rate, money)
        return None


def prices(
    card: RateCard, phones: pl.Series, categories: pl.Series, day: date, currency: str | None = None
) -> pl.DataFrame:
    """market, price, currency (PRICE), row by row: the market stands there also where the card has no rate for it."""
    pairs = pl.DataFrame({"code": codes_of(phones), "category": categories.cast(pl.String)})
    distinct = pairs.unique()
    found: list[tuple[str, int | None, str | None]] = []
    for code, category in distinct.iter_rows():
        price = card.price(code, category, day, currency)
        found.append(
            (markets_of(code)[0], None, None) if price is None else (price.market, price.amount, price.currency)
        )
    known = pl.concat([distinct, pl.DataFrame(found, schema=PRICE, orient="row")], how="horizontal")
    joined = pairs.join(known, on=["code", "category"], how="left", nulls_equal=True, maintain_order="left")
    return joined.select(list(PRICE))


def read_rates(rows: Sequence[tuple[int, Mapping[str, str | None]]], file: str) -> tuple[list[Rate], list[Problem]]:
    """The rates of one file and what is wrong with others of its rows: (line, cells by column) each. A row that can't
    be used is a warning: prices are missing then, and nothing else is."""
    rates: list[Rate] = []
    problems: list[Problem] = []
    for line, cells in rows:
        try:
            rates.append(_rate(cells))
        except _Wrong as wrong:
            problems.append(Problem(file, line, wrong.field, wrong.what, wrong.mend, "warning"))
    return rates, problems


class _Wrong(Exception):
    def __init__(self, field: str, what: str, mend: str) -> None:
        self.field, self.what, self.mend = field, what, mend


def _rate(cells: Mapping[str, str | None]) -> Rate:
    for name in COLUMNS:
        if not cells.get(name):
            raise _Wrong(name, f"`{name}` is empty", "Fill it in, or remove the row.")
    texts = {name: str(value) for name, value in cells.items() if value is not None}
    try:
        day = date.fromisoformat(texts["effective_from"])
    except ValueError:
        what = f"“{texts['effective_from']}” is no date"
        raise _Wrong("effective_from", what, "Write e.g. 2026-10-01.") from None
    currency = texts["currency"].upper()
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        raise _Wrong("currency", f"“{texts['currency']}” is no currency", "Write three letters, e.g. EUR.")
    category = texts["category"].upper().replace("_", "-")
    if category not in CATEGORIES:
        raise _Wrong("category", f"“{texts['category']}” is no category of Meta's", f"Write {', '.join(CATEGORIES)}.")
    tier = texts.get("tier_from") or "0"
    if not (tier.isascii() and tier.isdecimal() and len(tier) < 16):
        raise _Wrong("tier_from", f"“{tier}” is no number of messages", "Write a whole number, e.g. 0.")
    return Rate(day, currency, " ".join(texts["market"].split()), category, int(tier), _amount(texts["rate"]))


def _amount(text: str) -> int:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or not 0 <= amount <= _MOST:
        raise _Wrong("rate", f"“{text}” is no price of a message", "Write e.g. 0.0712, with a point.")
    return round(amount * MILLION)


def _same(market: str) -> str:
    """Markets by whatever spelling a card has: case, `Rest of`, `and` for `&`."""
    return market.casefold().removeprefix("rest of ").replace(" and ", " & ").strip()
