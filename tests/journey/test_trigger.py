"""Which events are entries: when, how old, with which key, and for whom."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.campaign import TriggerEntry
from journey.clock import resolve
from journey.conditions import Clock
from journey.entry import CANDIDATES, INSTANT
from journey.trigger import entries, is_active, people_named

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
CLOCK = Clock(NOW, PARIS)


def frame(*rows):
    """Events: (id, contact, minutes ago, properties)."""
    return pl.DataFrame(
        [
            (event_id, contact, NOW - timedelta(minutes=ago), msgspec.json.encode(properties).decode(), NOW, batch)
            for batch, (event_id, contact, ago, properties) in enumerate(rows)
        ],
        schema={
            "event_id": pl.String,
            "contact_id": pl.String,
            "occurred_at": INSTANT,
            "properties": pl.String,
            "taken_at": INSTANT,
            "batch": pl.Int64,
        },
        orient="row",
    )


def test_entries_are_candidates_in_the_order_of_batches():
    rows = frame(("e2", "c1", 1, {"a": 1}), ("e1", "c2", 5, {}))
    found = entries(TriggerEntry(event="x"), 3, rows[::-1], None, CLOCK)
    assert found.select(list(CANDIDATES)).schema == dict(CANDIDATES)
    assert found["occurrence"].to_list() == ["e2", "e1"]
    assert found["place"].to_list() == [3, 3]
    assert found["attributes"].to_list() == ['{"a":1}', "{}"]
    assert found["key"].to_list() == ["", ""]
    assert found["outcome"].null_count() == 2


def test_since_is_when_the_event_occurred_but_never_after_it_was_taken_in():
    found = entries(TriggerEntry(event="x"), 0, frame(("e1", "c1", 5, {}), ("e2", "c2", -60, {})), None, CLOCK)
    assert found["since"].to_list() == [NOW - timedelta(minutes=5), NOW]


def test_what_is_outside_of_the_period_is_not_active_however_old():
    entry = TriggerEntry(event="x", active_from="2026-12-01 12:30", max_age=timedelta(minutes=10))  # 11:30 UTC
    found = entries(entry, 0, frame(("a", "c", 30, {}), ("b", "c", 31, {}), ("c", "c", 10, {})), None, CLOCK)
    assert found["outcome"].to_list() == ["too_old", "not_active", None]


def test_a_period_in_the_settings_zone_on_the_day_that_clocks_change():
    # 25 October 2026 has 25 hours in Paris.
    entry = TriggerEntry(event="x", active_from="2026-10-25", active_to="2026-10-25")
    start, end = datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)
    second = timedelta(seconds=1)
    times = pl.DataFrame({"occurred_at": [start - second, start, end - second, end]}, schema={"occurred_at": INSTANT})
    assert times.select(is_active(entry, CLOCK)).to_series().to_list() == [False, True, True, False]


ZONES = st.sampled_from(["Europe/Paris", "America/New_York", "Pacific/Auckland", "UTC"])


@given(
    zone=ZONES,
    first=st.dates(datetime(2026, 1, 1).date(), datetime(2027, 1, 1).date()),
    days=st.integers(0, 40),
    minutes=st.integers(-3_000, 70_000),
)
def test_a_period_of_days_is_those_local_days(zone, first, days, minutes):
    tz, last = ZoneInfo(zone), first + timedelta(days=days)
    moment = resolve(datetime.combine(first, datetime.min.time()), tz) + timedelta(minutes=minutes)
    entry = TriggerEntry(event="x", active_from=str(first), active_to=str(last))
    times = pl.DataFrame({"occurred_at": [moment]}, schema={"occurred_at": INSTANT})
    asked = times.select(is_active(entry, Clock(NOW, tz))).to_series()[0]
    assert asked == (first <= moment.astimezone(tz).date() <= last)


def test_a_period_that_cannot_be_read_is_an_error():
    for wrong in ("soon", "30d ago"):
        with pytest.raises(ValueError, match="is no date or time"):
            is_active(TriggerEntry(event="x", active_from=wrong), CLOCK)


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"ids": ["a", "b", "a"]}, ["a", "b"]),
        ({"ids": "a"}, ["a"]),
        ({"ids": 17}, ["17"]),
        ({"ids": [1, "2", None, True, {"a": 1}, " "]}, ["1", "2"]),
        ({"ids": '["a", "b"]'}, ["a", "b"]),
        ({"ids": "[not json"}, ["[not json"]),
        ({"ids": None}, []),
        ({}, []),
    ],
)
def test_people_named_in_a_property(properties, named):
    assert list(people_named(msgspec.json.encode(properties).decode(), "ids")) == named


def test_people_named_in_a_nested_property_or_one_with_dots():
    assert list(people_named('{"team":{"ids":["a"]}}', "team.ids")) == ["a"]
    assert list(people_named('{"team.ids":["b"],"team":{"ids":["a"]}}', "team.ids")) == ["b"]
    assert list(people_named('{"team":"x"}', "team.ids")) == []
    assert list(people_named(None, "team.ids")) == []
