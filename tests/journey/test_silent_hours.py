"""Silent hours: examples, and a plain walk from minute to minute as the reference, over the days clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.campaign import SilentHours
from journey.clock import to_us
from journey.silent_hours import is_silent, quiet_times, silence

PARIS = ZoneInfo("Europe/Paris")
NIGHT = SilentHours(start=time(21), end=time(8))
SUNDAY = SilentHours(start=time(21), end=time(8), days_off=frozenset({6}))


def at(text, tz=PARIS):
    return datetime.fromisoformat(text).replace(tzinfo=tz).astimezone(UTC)


def shown(rule, text, tz=PARIS):
    found = silence(rule, at(text, tz), tz)
    return tuple(
        None if one is None else f"{one.astimezone(tz):%a %d %H:%M}" for one in (found.allowed_at, found.quiet_at)
    )


@pytest.mark.parametrize(
    ("rule", "moment", "expected"),
    [
        (NIGHT, "2026-12-01 12:00", ("Tue 01 12:00", "Tue 01 21:00")),
        (NIGHT, "2026-12-01 20:59", ("Tue 01 20:59", "Tue 01 21:00")),
        (NIGHT, "2026-12-01 21:00", ("Wed 02 08:00", "Wed 02 21:00")),
        (NIGHT, "2026-12-02 07:59", ("Wed 02 08:00", "Wed 02 21:00")),
        (NIGHT, "2026-12-02 08:00", ("Wed 02 08:00", "Wed 02 21:00")),
        (SilentHours(start=time(12), end=time(14)), "2026-12-01 13:00", ("Tue 01 14:00", "Wed 02 12:00")),
        (SUNDAY, "2026-12-05 22:00", ("Mon 07 08:00", "Mon 07 21:00")),  # the night runs into the day off
        (SUNDAY, "2026-12-05 20:00", ("Sat 05 20:00", "Sat 05 21:00")),
        (SilentHours(days_off=frozenset({5, 6})), "2026-12-05 00:00", ("Mon 07 00:00", "Sat 12 00:00")),
        (SilentHours(days_off=frozenset(range(7))), "2026-12-05 00:00", (None, None)),
        (SilentHours(), "2026-12-05 00:00", ("Sat 05 00:00", None)),
        # 02:00 becomes 03:00 on 28 March 2027; 03:00 becomes 02:00 on 31 October 2027
        (SilentHours(start=time(1), end=time(2, 30)), "2027-03-28 01:15", ("Sun 28 03:00", "Mon 29 01:00")),
        (SilentHours(start=time(2, 30), end=time(5)), "2027-03-28 01:15", ("Sun 28 01:15", "Sun 28 03:00")),
        (SilentHours(start=time(1), end=time(2, 30)), "2027-10-31 01:15", ("Sun 31 02:30", "Sun 31 02:00")),
    ],
)
def test_what_a_rule_says_from_a_moment_on(rule, moment, expected):
    assert shown(rule, moment) == expected


def test_in_the_hour_that_comes_twice_what_the_clocks_show_counts_both_times():
    rule = SilentHours(start=time(1), end=time(2, 30))
    found = silence(rule, at("2027-10-31 01:15"), PARIS)
    assert (found.allowed_at, found.quiet_at) == (
        datetime(2027, 10, 31, 0, 30, tzinfo=UTC),
        datetime(2027, 10, 31, 1, 0, tzinfo=UTC),
    )


def test_one_pair_of_moment_and_zone_is_computed_once_and_a_strange_zone_is_the_default():
    noon = to_us(datetime(2026, 12, 1, 12, tzinfo=UTC))
    zones = ["Europe/Paris", "Asia/Tokyo", None, "Mars/Base", "Asia/Tokyo"]
    found = quiet_times(NIGHT, pl.Series([noon] * 5), pl.Series(zones), "Asia/Tokyo")
    morning = to_us(datetime(2026, 12, 1, 23, tzinfo=UTC))
    assert found["due_at"].to_list() == [noon, morning, morning, morning, morning]


def test_the_rules_own_zone_stands_above_the_contacts():
    noon = to_us(datetime(2026, 12, 1, 12, tzinfo=UTC))
    rule = NIGHT.model_copy(update={"timezone": "Europe/Paris"})
    found = quiet_times(rule, pl.Series([noon]), pl.Series(["Asia/Tokyo"]), "Asia/Tokyo")
    assert found["due_at"].to_list() == [noon]


def test_without_a_rule_everything_may_go_at_once_and_no_silence_comes():
    found = quiet_times(None, pl.Series([5]), pl.Series([None], dtype=pl.String), "UTC")
    assert found.rows() == [(5, None)]


# -- the reference -----------------------------------------------------------------------------------------------------

#: A zone and a day near which its clocks are set (or a whole day is missing)
TURNS = [
    ("Europe/Paris", "2027-03-28"),
    ("Europe/Paris", "2027-10-31"),
    ("America/New_York", "2026-11-01"),
    ("America/New_York", "2027-03-14"),
    ("America/Santiago", "2026-09-06"),  # midnight does not exist
    ("America/Havana", "2026-11-01"),  # midnight comes twice
    ("Australia/Lord_Howe", "2026-10-04"),  # by half an hour
    ("Pacific/Apia", "2011-12-30"),  # a day that was none
    ("Asia/Kolkata", "2026-12-01"),
]
CLOCKS = st.sampled_from(
    [time(0), time(0, 30), time(1), time(2), time(2, 30), time(3), time(8), time(21), time(23, 59)]
)


def walked(rule, moment, tz):
    """(first allowed minute, next silent minute after it), one minute at a time."""
    minute, allowed = moment, None
    for _ in range(16 * 24 * 60):
        civil = minute.astimezone(tz)
        clock, silent = civil.time(), civil.weekday() in rule.days_off
        if rule.start is not None and rule.start != rule.end:
            over_midnight = rule.end < rule.start
            after, before = clock >= rule.start, clock < rule.end
            silent = silent or ((after or before) if over_midnight else (after and before))
        if allowed is None and not silent:
            allowed = minute
        elif allowed is not None and silent:
            return allowed, minute
        minute += timedelta(minutes=1)
    return allowed, None


@given(
    place=st.sampled_from(TURNS),
    minutes=st.integers(-2 * 1440, 1440),
    clocks=st.one_of(st.none(), st.tuples(CLOCKS, CLOCKS)),
    days_off=st.frozensets(st.integers(0, 6), max_size=3),
)
def test_it_says_what_a_walk_from_minute_to_minute_says(place, minutes, clocks, days_off):
    tz = ZoneInfo(place[0])
    moment = datetime.fromisoformat(place[1]).replace(tzinfo=tz).astimezone(UTC) + timedelta(minutes=minutes)
    start, end = clocks or (None, None)
    rule = SilentHours(start=start, end=end, days_off=days_off)
    found = silence(rule, moment, tz)
    allowed, quiet = walked(rule, moment, tz)
    assert (found.allowed_at, found.quiet_at) == (allowed, quiet)
    assert is_silent(rule, moment, tz) == (allowed != moment)
