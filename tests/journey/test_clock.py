"""Durations, times, and civil time across changes of clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.clock import (
    civil_time,
    from_us,
    is_zone,
    parse_duration,
    parse_instant,
    parse_time,
    resolve,
    show_duration,
    to_us,
    utc,
    zone,
)

PARIS = ZoneInfo("Europe/Paris")
ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "Africa/Casablanca"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("24h", 86_400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("30 days", 2_592_000),
        ("90 s", 90),
        ("1 hour", 3600),
        ("0h", 0),
        (" 15 min ", 900),
    ],
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "3", "d", "3 moons", "1.5h", "-3d", "1h30m", "3D", "9" * 400 + "d", "40000d", "٣d"]
)
def test_what_is_no_duration_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@settings(max_examples=100)
@given(st.integers(0, 10_000_000))
def test_a_shown_duration_reads_back_as_itself(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(show_duration(duration)) == duration


def test_durations_are_shown_as_people_write_them() -> None:
    shown = [show_duration(timedelta(hours=hours)) for hours in (1, 24, 48, 168, 36)]
    assert shown == ["1h", "24h", "2d", "1w", "36h"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01 10:00", "2026-12-01T10:00:00"),
        ("2026-12-01T10:00:30", "2026-12-01T10:00:30"),
        ("2026-12-01T10:00:30.25Z", "2026-12-01T10:00:30.250000+00:00"),
        ("2026-12-01 10:00+01:00", "2026-12-01T10:00:00+01:00"),
        ("2026-12-01T10:00 -0530", "2026-12-01T10:00:00-05:30"),
        ("2026-12-01T10:00+01", "2026-12-01T10:00:00+01:00"),
    ],
)
def test_times_are_read_with_and_without_a_zone(text: str, expected: str) -> None:
    assert parse_time(text).isoformat() == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10:00",
        "2026-12-01",
        "2026-13-01 10:00",
        "2026-02-30 10:00",
        "2026-12-01 25:00",
        "tomorrow",
        "1/12/2026 10:00",
    ],
)
def test_what_is_no_date_with_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a date with a time|no time that exists"):
        parse_time(text)


def test_a_time_without_a_zone_is_civil_time_and_one_with_a_zone_is_not() -> None:
    assert parse_instant("2026-07-01 10:00", PARIS) == datetime(2026, 7, 1, 8, tzinfo=UTC)
    assert parse_instant("2026-07-01T10:00Z", PARIS) == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_a_civil_time_that_does_not_exist_is_the_first_instant_after_the_gap() -> None:
    for minute in (0, 1, 30, 59):
        assert resolve(datetime(2026, 3, 29, 2, minute), PARIS) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert resolve(datetime(2026, 3, 29, 1, 59), PARIS) == datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
    assert resolve(datetime(2026, 3, 29, 3, 0), PARIS) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_a_civil_time_that_exists_twice_is_the_first_of_the_two() -> None:
    assert resolve(datetime(2026, 10, 25, 2, 30), PARIS) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert resolve(datetime(2026, 10, 25, 2, 30, fold=1), PARIS) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert resolve(datetime(2026, 10, 25, 3, 0), PARIS) == datetime(2026, 10, 25, 2, 0, tzinfo=UTC)


def test_a_day_that_an_island_skipped_is_the_instant_at_which_the_next_one_began() -> None:
    apia = ZoneInfo("Pacific/Apia")
    assert resolve(datetime(2011, 12, 30, 12), apia) == datetime(2011, 12, 30, 10, tzinfo=UTC)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ZONES), st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)))
def test_a_civil_time_resolves_to_the_first_instant_whose_clock_has_reached_it(name: str, local: datetime) -> None:
    tz, second = ZoneInfo(name), timedelta(seconds=1)
    local = local.replace(microsecond=0)
    instant = resolve(local, tz)
    # The plain reference: walk the seconds around it. The clock shows `local` there, or has just jumped over it.
    assert civil_time(instant, tz) >= local
    before = civil_time(instant - second, tz)
    assert before < local
    if civil_time(instant, tz) != local:
        assert civil_time(instant, tz) - before > second


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(ZONES), st.lists(st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)), min_size=2, max_size=2)
)
def test_later_civil_times_are_never_earlier_instants(name: str, locals_: list[datetime]) -> None:
    first, second = (resolve(local, ZoneInfo(name)) for local in sorted(locals_))
    assert first <= second


def test_the_ends_of_the_calendar_are_refused_and_no_crash() -> None:
    with pytest.raises(ValueError, match="beyond the calendar"):
        resolve(datetime.max, ZoneInfo("America/New_York"))
    with pytest.raises(ValueError, match="beyond the calendar"):
        utc(parse_time("0001-01-01 00:00+10:00"))


@pytest.mark.parametrize(
    "name", ["", "Paris", "europe/paris", "Europe", "../etc/passwd", "/etc/passwd", "Europe/Pariss", "\x00"]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    assert not is_zone(name)
    with pytest.raises(ValueError, match="no known time zone"):
        zone(name)


def test_an_unknown_time_zone_is_answered_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match="did you mean Europe/Paris"):
        zone("europe/paris")


@settings(max_examples=200)
@given(st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1), timezones=st.sampled_from([UTC, PARIS])))
def test_microseconds_and_back_lose_nothing(time: datetime) -> None:
    assert from_us(to_us(time)) == utc(time)


def test_an_instant_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        utc(datetime(2026, 1, 1))
    with pytest.raises(TypeError):
        to_us(datetime(2026, 1, 1))
