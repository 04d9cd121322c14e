"""Values of every type as text: plain, with decimals, by a date pattern."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from journey.dates import Zones, date_pattern_problem
from journey.formats import written


def one(value: Any, form: int | str | None = None, language: str = "fr", dtype: Any = None, **zones: Any) -> str | None:
    contact = zones.pop("contact", None)
    contacts = pl.Series([contact], dtype=pl.String)
    text: str | None = written(
        pl.Series([value], dtype=dtype), form, language, Zones(zones.get("zone"), contacts, zones.get("default", "UTC"))
    ).item()
    return text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (15, "15"),
        (-3, "-3"),
        (15.0, "15"),
        (1.5, "1.5"),
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e21, "1000000000000000000000"),
        (1.5e-7, "0.00000015"),
        (-0.0, "0"),
        (float("nan"), None),
        (float("inf"), None),
        (Decimal("12.50"), "12.5"),
        (Decimal("100"), "100"),
        (True, "true"),
        (False, "false"),
        ("1.50", "1.50"),
        (None, None),
        (date(2026, 12, 24), "2026-12-24"),
        (datetime(2026, 12, 24, 9, 0), "2026-12-24T09:00:00"),
        (datetime(2026, 12, 24, 9, 0, 0, 120000), "2026-12-24T09:00:00.120000"),
        (datetime(2026, 12, 24, 9, 0, tzinfo=UTC), "2026-12-24T09:00:00+00:00"),
        (time(18, 5), "18:05:00"),
        (timedelta(hours=1), "PT1H"),
        (["pull", "jean"], "pull, jean"),
        ([1.0, 2.5, None], "1, 2.5"),
        ({"size": 42}, '{"size":42}'),
        (b"\xff", None),
    ],
)
def test_a_value_without_a_format_is_written_as_in_the_data(value: Any, expected: str | None) -> None:
    assert one(value) == expected


def test_a_column_of_mixed_json_values_is_written_value_by_value() -> None:
    mixed = [1, "a", None, 2.0, True, 1.5e-7, float("nan"), date(2026, 1, 2), [1, "b", None], {"a": "é"}, 10**30]
    column = pl.Series(mixed, dtype=pl.Object)

    assert written(column, None, "fr", Zones()).to_list() == [
        "1", "a", None, "2", "true", "0.00000015", None, "2026-01-02", "1, b", '{"a": "é"}', "1" + "0" * 30,
    ]  # fmt: skip
    assert written(pl.Series([1, "2.5", "x", True], dtype=pl.Object), 1, "fr", Zones()).to_list() == [
        "1,0", "2,5", None, None,
    ]  # fmt: skip


def test_lists_without_elements_are_nothing_and_keep_their_row() -> None:
    assert written(pl.Series([["a"], [], None, ["b", "c"]]), None, "fr", Zones()).to_list() == ["a", None, None, "b, c"]


@pytest.mark.parametrize(
    ("value", "decimals", "language", "expected"),
    [
        (15, 1, "fr", "15,0"),
        (15, 1, "en_US", "15.0"),
        (1234.5, 2, "de", "1234,50"),
        (1.5, 2, "pt_BR", "1,50"),
        (1.5, 2, "es_MX", "1.50"),
        (1.5, 2, "de-CH", "1.50"),
        (1.5, 2, "xx", "1.50"),
        (2.675, 2, "en", "2.68"),
        (1.005, 2, "en", "1.01"),
        (0.125, 2, "en", "0.13"),
        (-2.5, 0, "en", "-3"),
        (2.5, 0, "en", "3"),
        (-0.004, 2, "en", "0.00"),
        (Decimal("9.995"), 2, "en", "10.00"),
        ("19.9", 2, "fr", "19,90"),
        (" 7 ", 2, "fr", "7,00"),
        ("1e3", 0, "fr", "1000"),
        ("1,5", 2, "fr", None),
        ("douze", 2, "fr", None),
        ("", 2, "fr", None),
        (True, 2, "fr", None),
        (date(2026, 1, 1), 2, "fr", None),
        (float("nan"), 2, "fr", None),
        (1e21, 2, "fr", "1000000000000000000000,00"),
        (1e-300, 2, "fr", "0,00"),
        ("0.004999999999999999999", 2, "fr", "0,00"),
        ("123456789012345678901234567890.995", 2, "fr", "123456789012345678901234567891,00"),
    ],
)
def test_decimals_are_rounded_half_up_and_written_as_the_language_does(
    value: Any, decimals: int, language: str, expected: str | None
) -> None:
    assert one(value, decimals, language) == expected


def test_more_decimals_than_make_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 10 decimals"):
        one(1.5, 11)


NINE_IN_PARIS = "2026-12-24T09:00:00+01:00"


@pytest.mark.parametrize(
    ("value", "zones", "expected"),
    [
        (NINE_IN_PARIS, {}, "24/12 à 09:00"),
        (NINE_IN_PARIS, {"contact": "America/New_York"}, "24/12 à 09:00"),
        (NINE_IN_PARIS, {"zone": "America/New_York", "contact": "Asia/Tokyo"}, "24/12 à 03:00"),
        ("2026-12-24T09:00:00Z", {"contact": "Europe/Paris"}, "24/12 à 09:00"),
        ("2026-12-24T23:30-0500", {"zone": "Europe/Paris"}, "25/12 à 05:30"),
        ("2026-12-24 09:00:00.123456789+05:45", {"zone": "UTC"}, "24/12 à 03:15"),
        ("2026-12-24 09:00", {"default": "Europe/Paris"}, "24/12 à 09:00"),
        ("2026-12-24 09:00", {"default": "Europe/Paris", "contact": "America/New_York"}, "24/12 à 09:00"),
        ("2026-12-24 09:00", {"default": "Asia/Tokyo", "contact": "America/New_York", "zone": "UTC"}, "24/12 à 14:00"),
        ("2026-12-24 09:00", {"default": "Europe/Paris", "contact": "Mars/Olympus"}, "24/12 à 09:00"),
        ("2026-12-24 09:00", {"default": "Europe/Paris", "zone": "Asia/Tokyo"}, "24/12 à 17:00"),
        ("2026-12-24", {"zone": "America/New_York", "contact": "America/New_York"}, "24/12 à 00:00"),
        ("2026-03-29 02:30", {"default": "Europe/Paris", "zone": "UTC"}, "29/03 à 01:00"),
        ("2026-10-25 02:30", {"default": "Europe/Paris", "zone": "UTC"}, "25/10 à 00:30"),
        (date(2026, 12, 24), {"zone": "America/New_York"}, "24/12 à 00:00"),
        (datetime(2026, 12, 24, 8, 0, tzinfo=UTC), {"contact": "Europe/Paris"}, "24/12 à 09:00"),
        (datetime(2026, 7, 24, 8, 0, tzinfo=UTC), {"contact": "Europe/Paris"}, "24/07 à 10:00"),
        (datetime(2026, 12, 24, 8, 0, tzinfo=UTC), {"default": "Europe/Paris"}, "24/12 à 09:00"),
        (datetime(2026, 12, 24, 9, 0), {"default": "Europe/Paris", "zone": "UTC"}, "24/12 à 08:00"),
        ("demain", {}, None),
        ("24/12/2026", {}, None),
        ("2026-02-30", {}, None),
        ("2026-12-24T25:00", {}, None),
        (20261224, {}, None),
        (True, {}, None),
        (None, {}, None),
    ],
)
def test_a_time_is_shown_in_the_zone_that_its_rules_give(
    value: Any, zones: dict[str, str], expected: str | None
) -> None:
    assert one(value, "%d/%m à %H:%M", **zones) == expected


def test_each_contact_sees_a_time_in_their_own_zone() -> None:
    instants = pl.Series([datetime(2026, 7, 1, 10, tzinfo=UTC)] * 4 + [None])
    contacts = pl.Series(["Asia/Tokyo", None, "Europe/Paris", "Asia/Tokyo", "Asia/Tokyo"])

    assert written(instants, "%H:%M", "fr", Zones(None, contacts, "Europe/London")).to_list() == [
        "19:00", "11:00", "12:00", "19:00", None,
    ]  # fmt: skip


def test_a_python_time_with_an_offset_keeps_it() -> None:
    paris = datetime(2026, 12, 24, 9, 0, tzinfo=timezone(timedelta(hours=1)))

    assert one(paris, "%H:%M", dtype=pl.Object, contact="Asia/Tokyo") == "09:00"


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("fr", "jeudi 5 mars (jeu. mars)"),
        ("fr_FR", "jeudi 5 mars (jeu. mars)"),
        ("en_US", "Thursday 5 March (Thu Mar)"),
        ("es", "jueves 5 marzo (jue mar)"),
        ("de", "Donnerstag 5 März (Do. März)"),
        ("it", "giovedì 5 marzo (gio mar)"),
        ("pt_BR", "quinta-feira 5 março (qui. mar.)"),
        ("nl", "donderdag 5 maart (do mrt)"),
        ("ja", "Thursday 5 March (Thu Mar)"),
    ],
)
def test_days_and_months_have_the_names_of_the_language(language: str, expected: str) -> None:
    assert one("2026-03-05", "%A %-d %B (%a %b)", language) == expected


def test_every_month_and_weekday_has_its_own_name() -> None:
    days = pl.Series([date(2026, month, day) for month in range(1, 13) for day in range(1, 8)])
    for language in ("fr", "en", "es", "de", "it", "pt", "nl"):
        for pattern, count in (("%A", 7), ("%a", 7), ("%B", 12), ("%b", 12)):
            assert written(days, pattern, language, Zones()).n_unique() == count


@pytest.mark.parametrize(
    "pattern", ["%Y-%m-%d", "%d.%m.%y", "%H:%M:%S", "%I:%M %p", "%j", "%-d/%-m", "%F %T", "%e", "%G-W%V", "100 %%"]
)
def test_a_pattern_means_what_it_means_in_python(pattern: str) -> None:
    moment = datetime(2026, 3, 5, 7, 8, 9)

    assert one(moment, pattern) == moment.strftime(pattern)


def test_a_time_of_day_can_be_written_without_a_day() -> None:
    assert one(time(18, 5), "%Hh%M") == "18h05"
    assert one(time(18, 5), "%d/%m") is None


@pytest.mark.parametrize("pattern", ["%", "le %d à %", "%Q", "%-A", "%é", "%c", "%f", "%-"])
def test_a_pattern_that_is_not_known_is_refused_in_words(pattern: str) -> None:
    assert pattern in (date_pattern_problem(pattern) or "")
    with pytest.raises(ValueError, match="the date pattern"):
        one("2026-03-05", pattern)


@pytest.mark.parametrize("zones", [{"zone": "Mars/Olympus"}, {"default": "Mars/Olympus"}])
def test_a_zone_that_is_not_known_is_refused(zones: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="Mars/Olympus is not a time zone"):
        one("2026-03-05", "%d", **zones)
