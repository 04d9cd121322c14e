"""Schedules, local times, and who is too late."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.campaign import When
from journey.clock import civil_time, resolve
from journey.schedule import (
    INSTANT,
    Occurrence,
    due_occurrence,
    enter_times,
    is_too_late,
    next_occurrence,
    parse_cron,
    read_when,
    too_late,
)

PARIS = ZoneInfo("Europe/Paris")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(when: When, now: str | datetime, **given: Any) -> Occurrence | None:
    defaults: dict[str, Any] = {"live_since": LONG_AGO, "last": None, "zones": ["Europe/Paris"]}
    moment = at(now) if isinstance(now, str) else now
    return due_occurrence(when, "Europe/Paris", **{**defaults, **given}, now=moment)


def upcoming(when: When, now: str | datetime, **given: Any) -> Occurrence | None:
    defaults: dict[str, Any] = {"live_since": LONG_AGO, "last": None, "zones": ["Europe/Paris"]}
    moment = at(now) if isinstance(now, str) else now
    return next_occurrence(when, "Europe/Paris", **{**defaults, **given}, now=moment)


# --- a schedule with a zone of its own


def test_a_time_without_a_zone_is_in_the_settings_timezone() -> None:
    when = When(at="2026-12-01 10:00")
    assert due(when, "2026-12-01T08:59:59") is None
    assert due(when, "2026-12-01T09:00") == Occurrence("2026-12-01T09:00:00Z", at("2026-12-01T09:00"))


def test_a_schedule_may_name_its_zone() -> None:
    found = due(When(at="2026-12-01 10:00", timezone="America/New_York"), "2026-12-02T00:00")
    assert found is not None
    assert found.evaluate_at == at("2026-12-01T15:00")


def test_a_time_with_an_offset_of_its_own_keeps_it() -> None:
    found = due(When(at="2026-12-01T10:00+00:00", timezone="America/New_York"), "2026-12-02T00:00")
    assert found is not None
    assert found.evaluate_at == at("2026-12-01T10:00")


def test_an_occurrence_that_was_made_is_not_made_again() -> None:
    when = When(at="2026-12-01 10:00")
    found = due(when, "2026-12-01T09:00")
    assert found is not None
    assert due(when, "2026-12-05T09:00", last=found.name) is None


def test_after_downtime_only_the_latest_missed_occurrence_runs() -> None:
    when = When(cron="0 10 * * MON")
    found = due(when, "2026-12-16T12:00", live_since=at("2026-11-01T00:00"), last="2026-11-23T09:00:00Z")
    assert found is not None
    assert found.name == "2026-12-14T09:00:00Z"


def test_what_was_over_before_the_campaign_was_live_is_no_occurrence() -> None:
    when = When(cron="0 10 * * *")
    assert due(when, "2026-12-01T12:00", live_since=at("2026-12-01T09:30")) is None
    assert due(when, "2026-12-01T12:00", live_since=at("2026-12-01T09:00")) is not None
    old = When(at="2026-01-01 10:00", late=timedelta(hours=2))
    assert due(old, "2026-12-01T12:00", live_since=at("2026-12-01T12:00")) is None


def test_a_file_that_arrives_within_late_of_its_own_time_still_runs() -> None:
    when = When(at="2026-12-01 10:00", late=timedelta(hours=2))
    assert due(when, "2026-12-01T10:30", live_since=at("2026-12-01T10:30")) is not None
    assert due(when, "2026-12-01T11:30", live_since=at("2026-12-01T11:30")) is None


def test_an_edited_schedule_never_goes_back_behind_what_was_made() -> None:
    assert due(When(cron="0 8 * * *"), "2026-12-01T12:00", last="2026-12-01T09:00:00Z") is None
    later = due(When(cron="0 11 * * *"), "2026-12-01T12:00", last="2026-12-01T09:00:00Z")
    assert later is not None
    assert later.name == "2026-12-01T10:00:00Z"


def test_a_schedule_turned_from_a_zone_to_contacts_and_back_does_not_repeat_its_day() -> None:
    by_contact = When(cron="0 10 * * *", timezone="contact")
    assert due(by_contact, "2026-12-01T12:00", last="2026-12-01T09:00:00Z") is None
    assert due(When(cron="0 10 * * *"), "2026-12-01T12:00", last="2026-12-01T10:00:00") is None


def test_nothing_is_due_after_not_after() -> None:
    when = When(cron="0 10 * * *", not_after="2026-12-03 12:00")
    found = due(when, "2026-12-20T00:00", live_since=at("2026-12-01T00:00"))
    assert found is not None
    assert found.name == "2026-12-03T09:00:00Z"
    assert due(when, "2026-12-20T00:00", last=found.name) is None
    assert upcoming(when, "2026-12-03T10:00") is None
    assert upcoming(When(at="2026-12-05 10:00", not_after="2026-12-04 10:00"), "2026-12-01T00:00") is None


def test_a_daily_hour_that_a_change_of_clocks_leaves_out_fires_after_the_gap() -> None:
    found = due(When(cron="30 2 * * *"), "2026-03-29T06:00")
    assert found is not None
    assert found.evaluate_at == at("2026-03-29T01:00")


def test_a_daily_hour_that_comes_twice_fires_at_the_first_also_when_looked_for_during_the_second() -> None:
    for now in ("2026-10-25T00:45", "2026-10-25T01:15", "2026-10-25T01:45", "2026-10-25T09:00"):
        found = due(When(cron="45 2 * * *"), now)
        assert found is not None
        assert found.evaluate_at == at("2026-10-25T00:45")


def test_the_next_occurrence_is_after_now_and_after_the_last() -> None:
    when = When(cron="0 10 * * MON")
    first = upcoming(when, "2026-12-14T08:59")
    assert first is not None and first.evaluate_at == at("2026-12-14T09:00")
    second = upcoming(when, "2026-12-14T08:59", last=first.name)
    assert second is not None and second.evaluate_at == at("2026-12-21T09:00")
    third = upcoming(when, "2026-12-14T09:00")
    assert third is not None and third.evaluate_at == at("2026-12-21T09:00")
    assert upcoming(When(at="2026-12-01 10:00"), "2026-12-01T09:00") is None


def test_a_schedule_of_every_minute_is_found_at_once_after_a_year_of_downtime() -> None:
    found = due(When(cron="* * * * *"), "2026-12-01T12:00:30", live_since=at("2025-01-01T00:00"))
    assert found is not None
    assert found.evaluate_at == at("2026-12-01T12:00")


EXPRESSIONS = [
    ("0 10 * * *", lambda local: (local.hour, local.minute) == (10, 0)),
    ("30 2 * * *", lambda local: (local.hour, local.minute) == (2, 30)),
    ("0,45 1,2,3 * * *", lambda local: local.hour in (1, 2, 3) and local.minute in (0, 45)),
    ("15 3 * * SUN", lambda local: (local.hour, local.minute, local.weekday()) == (3, 15, 6)),
    ("0 0 1 * *", lambda local: (local.hour, local.minute, local.day) == (0, 0, 1)),
]
DST_WEEKS = [
    datetime(2026, 3, 27),
    datetime(2026, 10, 23),
    datetime(2026, 4, 3),
    datetime(2026, 10, 2),
    datetime(2026, 7, 1),
]


def plain_latest(matches: Any, tz: ZoneInfo, low: datetime, high: datetime) -> datetime | None:
    """The reference: every minute of the calendar, one after the other."""
    local, latest = civil_time(low, tz).replace(second=0, microsecond=0) - timedelta(hours=3), None
    while local <= civil_time(high, tz) + timedelta(hours=3):
        instant = resolve(local, tz)
        if matches(local) and low <= instant <= high:
            latest = max(latest or instant, instant)
        local += timedelta(minutes=1)
    return latest


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    st.sampled_from(DST_WEEKS),
    st.integers(0, 5 * 1440),
    st.integers(0, 2 * 1440),
)
def test_the_due_occurrence_is_the_one_that_a_walk_over_all_minutes_finds(
    expression: Any, name: str, week: datetime, minutes: int, back: int
) -> None:
    cron, matches = expression
    now = week.replace(tzinfo=UTC) + timedelta(minutes=minutes)
    live_since = now - timedelta(minutes=back)
    found = due(When(cron=cron, timezone=name), now, live_since=live_since)
    expected = plain_latest(matches, ZoneInfo(name), live_since, now)
    assert (found.evaluate_at if found else None) == expected


# --- timezone: contact

BY_CONTACT = When(at="2026-12-01 10:00", timezone="contact")
WORLD = ["Asia/Tokyo", "Europe/Paris", "America/New_York"]


def test_the_segment_is_evaluated_when_the_first_zone_in_use_reaches_the_time() -> None:
    assert due(BY_CONTACT, "2026-12-01T00:59:59", zones=WORLD) is None
    found = due(BY_CONTACT, "2026-12-01T01:00", zones=WORLD)
    assert found == Occurrence("2026-12-01T10:00:00", at("2026-12-01T01:00"), datetime(2026, 12, 1, 10))
    following = upcoming(BY_CONTACT, "2026-11-30T12:00", zones=WORLD)
    assert following == found


def test_an_unknown_or_missing_zone_counts_as_the_fallback_and_without_one_as_the_settings() -> None:
    for zones in ([None], ["Mars/Olympus"], []):
        found = due(
            When(at="2026-12-01 10:00", timezone="contact", fallback="Asia/Tokyo"), "2026-12-01T01:00", zones=zones
        )
        assert found is not None and found.evaluate_at == at("2026-12-01T01:00")
        found = due(BY_CONTACT, "2026-12-01T09:00", zones=zones)
        assert found is not None and found.evaluate_at == at("2026-12-01T09:00")


def test_the_name_of_an_occurrence_stays_the_same_when_the_zones_in_use_change() -> None:
    few, many = (due(BY_CONTACT, "2026-12-01T20:00", zones=zones) for zones in (["Europe/Paris"], WORLD))
    assert few is not None and many is not None
    assert few.name == many.name
    assert due(BY_CONTACT, "2026-12-01T20:00", zones=[*WORLD, "Pacific/Auckland"], last=few.name) is None


def test_a_campaign_that_goes_live_between_two_zones_is_evaluated_then() -> None:
    found = due(BY_CONTACT, "2026-12-01T05:00", zones=WORLD, live_since=at("2026-12-01T04:00"))
    assert found is not None
    assert found.evaluate_at == at("2026-12-01T04:00")


def test_an_occurrence_that_was_over_everywhere_when_the_campaign_went_live_is_none() -> None:
    when = When(cron="0 10 * * *", timezone="contact")
    # New York, the last, had it at 15:00 UTC; Tokyo's next is at 01:00.
    assert due(when, "2026-12-01T16:00", zones=WORLD, live_since=at("2026-12-01T15:30")) is None
    assert due(when, "2026-12-02T01:00", zones=WORLD, live_since=at("2026-12-01T15:30")) is not None


def test_a_recurring_local_time_takes_the_latest_that_any_zone_has_reached() -> None:
    when = When(cron="0 10 * * *", timezone="contact")
    found = due(when, "2026-12-02T00:30", zones=WORLD)
    assert found is not None and found.local == datetime(2026, 12, 1, 10)
    found = due(when, "2026-12-02T01:00", zones=WORLD)
    assert found is not None and found.local == datetime(2026, 12, 2, 10)
    ahead = upcoming(when, "2026-12-02T01:00", zones=WORLD)
    assert ahead is not None and ahead.local == datetime(2026, 12, 3, 10)


def test_a_recurring_local_time_ends_with_not_after() -> None:
    when = When(cron="0 10 * * *", timezone="contact", not_after="2026-12-01 18:00")
    found = due(when, "2026-12-05T00:00", zones=WORLD)
    assert found is not None and found.local == datetime(2026, 12, 1, 10)
    assert upcoming(when, "2026-12-01T12:00", zones=WORLD) is None


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.lists(st.sampled_from(["Europe/Paris", "America/New_York", "Asia/Tokyo", "Pacific/Apia", None]), max_size=4),
    st.sampled_from(DST_WEEKS),
    st.integers(0, 5 * 1440),
    st.integers(0, 2 * 1440),
)
def test_the_due_local_time_is_the_one_that_a_walk_over_all_minutes_finds(
    expression: Any, zones: list[str | None], week: datetime, minutes: int, back: int
) -> None:
    cron, matches = expression
    now = week.replace(tzinfo=UTC) + timedelta(minutes=minutes)
    live_since = now - timedelta(minutes=back)
    tzs = [ZoneInfo(name or "Europe/Paris") for name in zones or [None]]
    expected, local = None, week - timedelta(days=33)  # every expression fires on a quarter of an hour
    while local < now.replace(tzinfo=None) + timedelta(days=1):
        if matches(local) and min(resolve(local, tz) for tz in tzs) <= now:
            expected = local if max(resolve(local, tz) for tz in tzs) >= live_since else None
        local += timedelta(minutes=15)
    found = due(When(cron=cron, timezone="contact"), now, live_since=live_since, zones=zones)
    assert (found.local if found else None) == expected


# --- when each contact enters


def people(*zones: str | None) -> pl.DataFrame:
    ids = [f"c{number}" for number in range(len(zones))]
    return pl.DataFrame({"contact_id": ids, "timezone": zones}, schema={"contact_id": pl.String, "timezone": pl.String})


def entered(when: When, occurrence: Occurrence, *zones: str | None) -> list[tuple[str | None, str | None]]:
    frame = enter_times(people(*zones), occurrence, when, "Europe/Paris")
    assert frame["contact_id"].to_list() == [f"c{number}" for number in range(len(zones))]
    assert frame.schema["enter_at"] == INSTANT and frame.schema["not_after"] == INSTANT
    assert frame.schema["outcome"] == pl.String
    times = frame["enter_at"].dt.strftime("%d %H:%M").to_list()
    return list(zip(times, frame["outcome"].to_list(), strict=True))


LOCAL = Occurrence("2026-12-01T10:00:00", at("2026-12-01T01:00"), datetime(2026, 12, 1, 10))


def test_each_contact_enters_at_its_own_local_time() -> None:
    found = entered(BY_CONTACT, LOCAL, "America/New_York", None, "Asia/Tokyo", "Mars/Olympus", "America/New_York")
    assert found == [("01 15:00", None), ("01 09:00", None), ("01 01:00", None), ("01 09:00", None), ("01 15:00", None)]


def test_everyone_enters_at_once_where_the_schedule_has_a_zone() -> None:
    occurrence = Occurrence("2026-12-01T09:00:00Z", at("2026-12-01T09:00"))
    found = entered(When(at="2026-12-01 10:00", if_past="skip"), occurrence, "Asia/Tokyo", None)
    assert found == [("01 09:00", None), ("01 09:00", None)]


@pytest.mark.parametrize(
    ("if_past", "tokyo"),
    [("skip", ("01 01:00", "too_late")), ("now", ("01 04:00", None)), ("next_day", ("02 01:00", None))],
)
def test_a_local_time_that_was_over_follows_if_past(if_past: Any, tokyo: tuple[str, str | None]) -> None:
    when = When(at="2026-12-01 10:00", timezone="contact", if_past=if_past)
    occurrence = due(when, "2026-12-01T05:00", zones=WORLD, live_since=at("2026-12-01T04:00"))
    assert occurrence is not None
    assert entered(when, occurrence, "Asia/Tokyo", "Europe/Paris") == [tokyo, ("01 09:00", None)]


def test_next_day_keeps_the_local_hour_over_a_change_of_clocks() -> None:
    when = When(at="2026-03-28 10:00", timezone="contact", if_past="next_day")
    occurrence = Occurrence("2026-03-28T10:00:00", at("2026-03-28T12:00"), datetime(2026, 3, 28, 10))
    assert entered(when, occurrence, "Europe/Paris") == [("29 08:00", None)]


def test_not_after_is_in_the_contacts_zone_and_bounds_entering() -> None:
    when = When(at="2026-12-01 10:00", timezone="contact", if_past="now", not_after="2026-12-01 12:00")
    occurrence = Occurrence("2026-12-01T10:00:00", at("2026-12-01T04:00"), datetime(2026, 12, 1, 10))
    frame = enter_times(people("Asia/Tokyo", "Europe/Paris"), occurrence, when, "Europe/Paris")
    assert frame["outcome"].to_list() == ["too_late", None]
    assert frame["not_after"].to_list() == [at("2026-12-01T03:00"), at("2026-12-01T11:00")]


def test_nothing_bounds_entering_where_not_after_is_not_written() -> None:
    assert enter_times(people("Asia/Tokyo"), LOCAL, BY_CONTACT, "Europe/Paris")["not_after"].to_list() == [None]


def test_an_empty_audience_and_one_without_any_zone_keep_their_columns() -> None:
    empty = enter_times(people(), LOCAL, BY_CONTACT, "Europe/Paris")
    assert empty.columns == ["contact_id", "timezone", "enter_at", "not_after", "outcome"] and empty.height == 0
    nobody = pl.DataFrame({"contact_id": ["a"], "timezone": [None], "spent": [1.5]})
    assert enter_times(nobody, LOCAL, BY_CONTACT, "Europe/Paris")["enter_at"].to_list() == [at("2026-12-01T09:00")]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(["Europe/Paris", "America/New_York", "Australia/Lord_Howe", None, "Nowhere"]), max_size=12
    ),
    st.sampled_from(["skip", "now", "next_day"]),
    st.datetimes(datetime(2026, 3, 25), datetime(2026, 4, 8)),
    st.integers(-30, 30),
)
def test_enter_times_equal_a_plain_loop_over_contacts(
    zones: list[str | None], if_past: Any, local: datetime, hours: int
) -> None:
    local = local.replace(second=0, microsecond=0)
    evaluate_at = local.replace(tzinfo=UTC) + timedelta(hours=hours)
    when = When(at=local.isoformat(), timezone="contact", fallback="Asia/Kolkata", if_past=if_past)
    frame = enter_times(people(*zones), Occurrence(local.isoformat(), evaluate_at, local), when, "Europe/Paris")
    for name, row in zip(zones, frame.iter_rows(named=True), strict=True):
        tz = ZoneInfo("Asia/Kolkata" if name in (None, "Nowhere") else name)
        own = resolve(local, tz)
        expected: tuple[datetime, str | None]
        if own >= evaluate_at:
            expected = (own, None)
        elif if_past == "skip":
            expected = (own, "too_late")
        elif if_past == "now":
            expected = (evaluate_at, None)
        else:
            days = (resolve(datetime.combine(local.date() + timedelta(days=day), local.time()), tz) for day in range(9))
            expected = (next(one for one in days if one >= evaluate_at), None)
        assert (row["enter_at"], row["outcome"]) == expected


# --- too late


def test_late_counts_from_each_contacts_own_time_and_its_end_still_enters() -> None:
    time, late = at("2026-12-01T09:00"), timedelta(hours=2)
    assert not is_too_late(time, late, at("2026-12-01T11:00"))
    assert is_too_late(time, late, at("2026-12-01T11:00:01"))


def test_not_after_ends_entering_before_late_does() -> None:
    time, late, bound = at("2026-12-01T09:00"), timedelta(hours=2), at("2026-12-01T09:30")
    assert not is_too_late(time, late, bound, bound)
    assert is_too_late(time, late, at("2026-12-01T09:31"), bound)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-300, 300), st.none() | st.integers(-300, 300)), max_size=8), st.integers(0, 240))
def test_too_late_as_an_expression_equals_is_too_late(rows: list[tuple[int, int | None]], late: int) -> None:
    now, window = at("2026-12-01T09:00"), timedelta(minutes=late)
    times = [now + timedelta(minutes=minutes) for minutes, _ in rows]
    bounds = [None if minutes is None else now + timedelta(minutes=minutes) for _, minutes in rows]
    frame = pl.DataFrame({"enter_at": times, "not_after": bounds}, schema={"enter_at": INSTANT, "not_after": INSTANT})
    expected = [is_too_late(time, window, now, bound) for time, bound in zip(times, bounds, strict=True)]
    assert frame.select(late=too_late(window, now))["late"].to_list() == expected


# --- reading


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("@daily", "nickname"),
        ("0 10 * *", "4 fields"),
        ("0 0 10 * * MON", "6 fields"),
        ("61 * * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 32 * *", "day"),
        ("0 0 * 13 *", "month"),
        ("0 0 * * FUNDAY", "weekday"),
        ("0 0 30 2 *", "day"),
        ("0 0 * * L", "weekday"),
    ],
)
def test_a_bad_cron_expression_is_refused_with_the_field_that_is_wrong(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_cron(expression)


def test_a_rare_cron_expression_is_good() -> None:
    parse_cron("0 0 29 2 MON")
    found = upcoming(When(cron="0 0 29 2 *"), "2026-12-01T00:00")
    assert found is not None
    assert civil_time(found.evaluate_at, PARIS) == datetime.combine(date(2028, 2, 29), time())


def test_a_zone_within_a_local_time_contradicts_timezone_contact() -> None:
    with pytest.raises(ValueError, match="names a zone"):
        read_when(When(at="2026-12-01T10:00Z", timezone="contact"), "Europe/Paris")
