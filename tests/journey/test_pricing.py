"""Prices: the market of a phone, the rate that applies, and rows of a rate card that can't be used."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from journey.markets import CODES, code_of, codes_of, markets_of
from journey.pricing import Rate, RateCard, prices, read_rates
from resources.rates import load_rates

DAY = date(2026, 12, 1)


def rate(market="France", category="MARKETING", amount="0.07", since="2026-01-01", tier=0, currency="EUR"):
    return Rate(date.fromisoformat(since), currency, market, category, tier, int(Decimal(amount) * 1_000_000))


def cost(card, phone, category="MARKETING", day=DAY, currency=None):
    found = card.price(code_of(phone), category, day, currency)
    return None if found is None else (found.market, found.amount, found.currency)


@pytest.mark.parametrize(
    ("phone", "market"),
    [
        ("+33612345678", "France"),
        ("+12125550123", "North America"),
        ("+14165550123", "North America"),
        ("+17875550123", "Rest of Latin America"),
        ("+18095550123", "Rest of Latin America"),
        ("+18765550123", "Rest of Latin America"),
        ("+79161234567", "Russia"),
        ("+77011234567", "Kazakhstan"),
        ("+48512345678", "Poland"),
        ("+41791234567", "Rest of Western Europe"),
        ("+2348012345678", "Nigeria"),
        ("+254712345678", "Rest of Africa"),
        ("+821012345678", "Other"),
        ("+5511912345678", "Brazil"),
    ],
)
def test_a_phone_belongs_to_the_market_of_its_longest_calling_code(phone, market):
    assert markets_of(code_of(phone))[0] == market


def test_no_calling_code_is_listed_twice_and_all_are_digits():
    assert all(code.isdigit() and 1 <= len(code) <= 4 for code in CODES)
    assert len(CODES) > 130


def test_the_column_of_codes_says_what_each_phone_says():
    phones = pl.Series(["+33612345678", "+17875550123", None, "+821012345678", "+77011234567"])
    assert codes_of(phones).to_list() == ["33", "1787", None, None, "77"]


def test_the_latest_rate_in_force_applies_and_of_its_tiers_the_lowest():
    card = RateCard(
        [
            rate(amount="0.05", since="2025-01-01"),
            rate(amount="0.07"),
            rate(amount="0.06", tier=100_000),
            rate(amount="0.09", since="2027-01-01"),
        ]
    )
    assert cost(card, "+33612345678") == ("France", 70_000, "EUR")
    assert cost(card, "+33612345678", day=date(2027, 1, 1)) == ("France", 90_000, "EUR")
    assert cost(card, "+33612345678", day=date(2024, 12, 31)) is None


def test_a_market_that_a_card_does_not_know_yet_is_its_region():
    card = RateCard([rate("Rest of Central & Eastern Europe", amount="0.03"), rate("Poland", since="2027-01-01")])
    assert cost(card, "+48512345678") == ("Rest of Central & Eastern Europe", 30_000, "EUR")
    assert cost(card, "+48512345678", day=date(2027, 2, 1)) == ("Poland", 70_000, "EUR")


@pytest.mark.parametrize("name", ["*", "Other", "other"])
def test_a_row_for_every_market_serves_where_a_market_has_none(name):
    card = RateCard([rate(name, amount="0.01"), rate("France", amount="0.07")])
    assert cost(card, "+33612345678") == ("France", 70_000, "EUR")
    assert cost(card, "+49151234567") == ("Germany", 10_000, "EUR")
    assert cost(card, "+821012345678") == ("Other", 10_000, "EUR")


def test_spellings_of_a_market_are_one():
    card = RateCard([rate("asia pacific", amount="0.02"), rate("Central and Eastern Europe", amount="0.03")])
    assert cost(card, "+61412345678") == ("asia pacific", 20_000, "EUR")
    assert cost(card, "+420601123456") == ("Central and Eastern Europe", 30_000, "EUR")


def test_each_category_has_its_own_rate_and_free_text_is_service():
    card = RateCard([rate(category="UTILITY", amount="0.03"), rate(category="SERVICE", amount="0.004")])
    assert cost(card, "+33612345678") is None
    assert cost(card, "+33612345678", "UTILITY") == ("France", 30_000, "EUR")
    assert cost(card, "+33612345678", None) == ("France", 4_000, "EUR")


def test_of_several_currencies_the_one_that_is_asked_for_counts_else_the_first():
    card = RateCard([rate(), rate(currency="USD", amount="0.08")])
    assert cost(card, "+33612345678") == ("France", 70_000, "EUR")
    assert cost(card, "+33612345678", currency="USD") == ("France", 80_000, "USD")
    assert cost(card, "+33612345678", currency="BRL") is None


def test_prices_stand_row_by_row_and_null_where_there_is_no_rate():
    card = RateCard([rate()])
    phones = pl.Series(["+33612345678", "+49151234567", "+33612345679"])
    found = prices(card, phones, pl.Series(["MARKETING", "MARKETING", None]), DAY)
    assert found.rows() == [("France", 70_000, "EUR"), ("Germany", None, None), ("France", None, None)]


GOOD = {"effective_from": "2026-01-01", "currency": "eur", "market": " France ", "category": "marketing"}


def test_a_row_is_read_as_people_write_it():
    rates, problems = read_rates([(2, {**GOOD, "rate": "0.0712", "tier_from": None})], "rates/card.csv")
    assert problems == []
    assert rates == [rate(amount="0.0712")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("effective_from", "1/1/2026"),
        ("currency", "euros"),
        ("category", "adverts"),
        ("tier_from", "-1"),
        ("rate", "0,07"),
        ("rate", "-0.07"),
        ("rate", "nan"),
        ("rate", None),
        ("market", None),
    ],
)
def test_a_row_that_cannot_be_used_is_a_warning_that_names_its_line_and_the_others_count(field, value):
    whole = {**GOOD, "rate": "0.07", "tier_from": "0"}
    rates, problems = read_rates([(2, {**whole, field: value}), (3, whole)], "rates/card.csv")
    assert len(rates) == 1
    assert [(p.file, p.line, p.field, p.level) for p in problems] == [("rates/card.csv", 2, field, "warning")]
    assert problems[0].mend


def test_a_folder_of_cards_is_read_whole_and_what_is_wrong_in_it_stops_nothing(tmp_path):
    (tmp_path / "rates").mkdir()
    head = "Effective From;Currency;Market;Category;Tier_from;Rate\n"
    (tmp_path / "rates/a.csv").write_text(head + "2026-01-01;EUR;France;MARKETING;0;0.07\n2026-01-01;EUR;France\n")
    (tmp_path / "rates/b.csv").write_text("market,rate\nFrance,1\n")
    (tmp_path / "rates/README.md").write_text("no card")
    card, problems = load_rates(tmp_path)
    assert cost(card, "+33612345678") == ("France", 70_000, "EUR")
    assert [(p.file, p.line, p.level) for p in problems] == [
        ("rates/a.csv", 3, "warning"),
        ("rates/b.csv", 1, "warning"),
    ]
    assert load_rates(tmp_path / "nowhere")[1] == []
