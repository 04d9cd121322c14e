"""Dates and times of day in people's zones, against plain references that look at one person and one zone at a time."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.civil import to_civil, to_instants, zones_of
from journey.until import next_clock, read_dates

#: Clocks that change at 2 or 3 in the morning, at midnight, by half an hour, in the south, or never.
ZONES = [
    "Europe/Paris",
    "America/New_York",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Asia/Kolkata",
    "UTC",
]
MINUTE = timedelta(minutes=1)

minutes = st.datetimes(datetime(2016, 1, 1), datetime(2028, 12, 31)).map(lambda at: at.replace(second=0, microsecond=0))
#: Days on which clocks change somewhere, leap days, ends of months and years.
changes = st.sampled_from(
    [
        datetime(2026, 3, 8), datetime(2026, 3, 29), datetime(2026, 10, 25), datetime(2026, 11, 1),
        datetime(2026, 4, 5), datetime(2026, 10, 4), datetime(2026, 4, 24), datetime(2018, 11, 4),
        datetime(2028, 2, 29), datetime(2027, 2, 28), datetime(2026, 12, 31), datetime(2026, 4, 30),
    ]
).flatmap(lambda day: st.integers(-2 * 1440, 2 * 1440).map(lambda more: day + more * MINUTE))  # fmt: skip
arrivals = st.one_of(minutes, changes).map(lambda at: at.replace(tzinfo=UTC))
clocks = st.one_of(st.times(), st.sampled_from([time(0), time(0, 30), time(2), time(2, 30), time(23, 59)])).map(
    lambda at: at.replace(second=0, microsecond=0)
)


def shown(instant, zone):
    """What a clock there shows."""
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def first_moment(day, clock, zone):
    """Watch the clock there, minute by minute: the first minute of that date at which it shows `clock` or later. So a
    time that the clock skips is the first after the gap, and of two the first."""
    watch = datetime.combine(day, time(), UTC) - timedelta(hours=15)
    while shown(watch, zone).date() < day:
        watch += 15 * MINUTE
    watch -= 15 * MINUTE
    while not (shown(watch, zone).date() == day and shown(watch, zone).time() >= clock):
        watch += MINUTE
    return watch


def next_time(arrival, zone, clock, weekday):
    """Day by day from the arrival's own: the first such time that is strictly later."""
    day = shown(arrival, zone).date()
    while True:
        if weekday is None or day.weekday() == weekday:
            moment = first_moment(day, clock, zone)
            if moment > arrival:
                return moment
        day += timedelta(days=1)


@given(
    st.lists(st.tuples(arrivals, st.sampled_from(ZONES)), min_size=1, max_size=4), clocks, st.none() | st.integers(0, 6)
)
def test_the_next_time_of_day_is_the_one_that_somebody_watching_the_clock_would_name(rows, clock, weekday):
    found = next_clock(instants([at for at, _ in rows]), pl.Series([zone for _, zone in rows]), clock, weekday)
    assert found.to_list() == [next_time(at, zone, clock, weekday) for at, zone in rows]


def instants(times):
    return pl.Series(times, dtype=pl.Datetime("us", "UTC"))


@pytest.mark.parametrize(
    "arrival, zone, clock, weekday, moment",
    [
        # 18:00 on the dot is not later than itself
        ("2026-12-01T17:00", "Europe/Paris", time(18), None, "2026-12-02T17:00"),
        ("2026-12-01T16:59", "Europe/Paris", time(18), None, "2026-12-01T17:00"),
        # Monday 09:00 on a Monday at 09:00, and one minute before
        ("2026-11-30T08:00", "Europe/Paris", time(9), 0, "2026-12-07T08:00"),
        ("2026-11-30T07:59", "Europe/Paris", time(9), 0, "2026-11-30T08:00"),
        # it is Sunday still in New York
        ("2026-11-30T03:00", "America/New_York", time(9), 0, "2026-11-30T14:00"),
        # 02:30 does not exist: the first instant after the gap
        ("2026-03-28T12:00", "Europe/Paris", time(2, 30), None, "2026-03-29T01:00"),
        # 02:30 exists twice: the first; who comes after it waits for tomorrow's
        ("2026-10-24T12:00", "Europe/Paris", time(2, 30), None, "2026-10-25T00:30"),
        ("2026-10-25T00:45", "Europe/Paris", time(2, 30), None, "2026-10-26T01:30"),
        # midnight does not exist on the day in which the clocks change at midnight
        ("2026-03-07T12:00", "America/Havana", time(0), None, "2026-03-08T05:00"),
        # the last day of February, in a leap year and in another
        ("2028-02-28T20:00", "UTC", time(18), None, "2028-02-29T18:00"),
        ("2027-02-28T20:00", "UTC", time(18), None, "2027-03-01T18:00"),
    ],
)
def test_examples_of_the_next_time(arrival, zone, clock, weekday, moment):
    found = next_clock(instants([datetime.fromisoformat(arrival + "+00:00")]), pl.Series([zone]), clock, weekday)
    assert found.to_list() == [datetime.fromisoformat(moment + "+00:00")]


# -- civil times -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(arrivals, st.sampled_from(ZONES)), min_size=1, max_size=20))
def test_a_column_of_instants_shows_what_each_clock_shows(rows):
    found = to_civil(instants([at for at, _ in rows]), pl.Series([zone for _, zone in rows]))
    assert found.to_list() == [shown(at, zone) for at, zone in rows]


@given(st.lists(st.tuples(st.one_of(minutes, changes), st.sampled_from(ZONES)), min_size=1, max_size=4))
def test_a_column_of_civil_times_is_each_first_moment_at_which_the_clock_shows_it(rows):
    found = to_instants(
        pl.Series([at for at, _ in rows], dtype=pl.Datetime("us")), pl.Series([zone for _, zone in rows])
    )
    assert found.to_list() == [first_moment(at.date(), at.time(), zone) for at, zone in rows]


def test_ends_of_the_calendar_have_no_instant():
    times = pl.Series([datetime(1, 1, 1), datetime(9999, 12, 31, 23), None], dtype=pl.Datetime("us"))
    assert to_instants(times, pl.Series(["Asia/Tokyo"] * 3)).to_list() == [None, None, None]


def test_who_has_no_zone_or_none_that_is_known_is_in_the_default():
    names = pl.Series(["Asia/Tokyo", "Mars/Base", None, "", "europe/paris"])
    assert zones_of(names, "Europe/Paris").to_list() == ["Asia/Tokyo", *["Europe/Paris"] * 4]
    assert zones_of(pl.Series([None, None], dtype=pl.String), "UTC").to_list() == ["UTC", "UTC"]


# -- dates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2026-12-24", "2026-12-23T23:00"),
        ("2026-12-24 09:00", "2026-12-24T08:00"),
        ("2026-12-24T09:00:30", "2026-12-24T08:00:30"),
        ("2026-12-24T09:00:00.250", "2026-12-24T08:00:00.250000"),
        (" 2026-12-24T09:00Z ", "2026-12-24T09:00"),
        ("2026-12-24T09:00:00+02:00", "2026-12-24T07:00"),
        ("2026-12-24T09:00:00-0530", "2026-12-24T14:30"),
        ("2026-12-24T09:00:00 +01", "2026-12-24T08:00"),
        ("2028-02-29", "2028-02-28T23:00"),
        ("2027-02-29", None),
        ("2026-04-31", None),
        ("2026-03-29 02:30", "2026-03-29T01:00"),
        ("2026-10-25 02:30", "2026-10-25T00:30"),
        ("24/12/2026", None),
        ("2026-12-24T25:00", None),
        ("2026-12-24T09:00+99:00", None),
        ("tomorrow", None),
        ("20261224", None),
        ("", None),
        (None, None),
    ],
)
def test_texts_that_are_dates_in_paris(text, moment):
    found = read_dates(pl.Series([text], dtype=pl.String), pl.Series(["Europe/Paris"])).to_list()
    assert found == [datetime.fromisoformat(moment + "+00:00") if moment else None]


def test_typed_dates_are_midnights_there_and_typed_times_are_instants():
    zones = pl.Series(["America/New_York", "Asia/Tokyo"])
    days = pl.Series([date(2026, 12, 24)] * 2)
    assert read_dates(days, zones).to_list() == [
        datetime(2026, 12, 24, 5, tzinfo=UTC),
        datetime(2026, 12, 23, 15, tzinfo=UTC),
    ]
    at = datetime(2026, 12, 24, 9, tzinfo=UTC)
    assert read_dates(instants([at, None]), zones).to_list() == [at, None]
    assert read_dates(pl.Series([20261224, 1]), zones).to_list() == [None, None]
    assert read_dates(pl.Series([True, None]), zones).to_list() == [None, None]


@given(st.lists(st.tuples(st.one_of(minutes, changes), st.sampled_from(ZONES), st.sampled_from(" T")), max_size=4))
def test_a_text_without_an_offset_is_civil_time_of_its_row(rows):
    texts = [at.strftime(f"%Y-%m-%d{between}%H:%M") for at, _, between in rows]
    found = read_dates(pl.Series(texts, dtype=pl.String), pl.Series([zone for _, zone, _ in rows], dtype=pl.String))
    assert found.to_list() == [first_moment(at.date(), at.time(), zone) for at, zone, _ in rows]
