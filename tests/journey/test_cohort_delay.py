"""Delays: what is past on arrival, what is ahead, and that deciding for everyone is deciding for each alone."""

from datetime import UTC, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.campaign import Campaign
from journey.cohort import PEOPLE, decide, facts
from journey.cohort_delay import moments, needs_zone
from journey.steps import DelayStep, Until

HOUR = 3_600_000_000
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
NOW = int(NOON.timestamp()) * 1_000_000


def campaign(step):
    return Campaign(name="offer", sender="main", entries=(), steps={"pause": step}, version="v", file="f")


def people(*rows, **more):
    """(arrived_at), and columns beside it."""
    frame = pl.DataFrame(
        [{"participant_id": n, "contact_id": f"c{n}", "visit": 1, "arrived_at": at} for n, at in enumerate(rows)],
        schema=PEOPLE,
    )
    return frame.with_columns(pl.Series(name, values) for name, values in more.items())


def gone(step, who, now=NOW):
    """(to_step, reason) or when each is looked at again, in the people's order."""
    placed = moments(step, who, "Europe/Paris").select(list(facts(step)))
    found = decide(campaign(step), "pause", placed, now)
    told = {row["participant_id"]: (row["to_step"], row["reason"]) for row in found.moves.to_dicts()}
    told |= {row["participant_id"]: row["wake_at"] for row in found.waits.to_dicts()}
    assert len(told) == who.height == found.moves.height + found.waits.height
    assert found.moves["branch"].unique().to_list() in ([], ["next"])
    assert found.moves["waited"].all()
    return [told[one] for one in who["participant_id"]]


def dated(shift, if_past="continue"):
    until = Until(event="at")
    return DelayStep(until=until, shift=timedelta(hours=shift), if_past=if_past, next="on")


hours = st.integers(-72, 72)


@given(
    st.lists(st.tuples(st.none() | hours, st.integers(-48, 0)), max_size=20),
    hours,
    st.sampled_from(["continue", "end"]),
)
def test_a_dated_delay_for_everyone_is_the_rule_for_each(rows, shift, if_past):
    """Each person: the date (hours from now, or none) and the arrival (hours from now, in the past)."""
    texts = [None if at is None else (NOON + timedelta(hours=at)).isoformat() for at, _ in rows]
    who = people(*[NOW + arrived * HOUR for _, arrived in rows], timezone=[None] * len(rows))
    who = who.with_columns(value=pl.Series(texts, dtype=pl.String), timezone=pl.lit(None, pl.String))
    want = []
    for at, arrived in rows:
        if at is None:
            want.append(("end", "no_date"))
            continue
        moment = at + shift
        if moment < arrived:  # it was over when they came
            stays_good = if_past == "continue" and at > arrived
            want.append(("on", None) if stays_good else ("end", "date_past"))
        elif moment <= 0:
            want.append(("on", None))
        else:
            want.append(NOW + moment * HOUR)
    assert gone(dated(shift, if_past), who) == want


def test_so_long_from_the_arrival():
    step = DelayStep(length=timedelta(hours=3), next="on")
    assert gone(step, people(NOW, NOW - 3 * HOUR, NOW - 3 * HOUR + 1)) == [NOW + 3 * HOUR, ("on", None), NOW + 1]
    assert not needs_zone(step.until)


def test_a_time_of_day_is_each_ones_own_and_how_late_a_pass_runs_changes_nothing():
    step = DelayStep(until=Until(clock=time(18)), next="on")
    zones = ["America/New_York", "Mars/Base", None]
    assert gone(step, people(NOW, NOW, NOW, timezone=zones)) == [NOW + 11 * HOUR, NOW + 5 * HOUR, NOW + 5 * HOUR]
    assert gone(step, people(NOW, NOW, NOW, timezone=zones), NOW + 90 * HOUR) == [("on", None)] * 3


@pytest.mark.parametrize(
    "written, zone, hours, asks",
    [
        ("2026-12-02 09:00", "America/New_York", 26, True),
        ("2026-12-02T09:00", None, 20, True),
        ("2026-12-02 09:00+05:00", "America/New_York", 16, False),
        ("2026-12-02 09:00Z", None, 21, False),
    ],
)
def test_a_date_as_written_is_on_each_ones_clock_unless_it_names_a_zone(written, zone, hours, asks):
    step = DelayStep(until=Until(at=written), next="on")
    assert needs_zone(step.until) is asks
    who = people(NOW).with_columns(timezone=pl.lit(zone, pl.String))
    assert gone(step, who) == [NOW + hours * HOUR]


def test_a_written_date_that_is_over_ends_the_passage():
    step = DelayStep(until=Until(at="2026-12-01 13:00"), next="on")  # noon UTC: now
    assert gone(step, people(NOW, NOW + 1, timezone=[None, None]), NOW + 1) == [("on", None), ("end", "date_past")]


def test_the_day_before_of_a_date_that_is_tomorrow_goes_on_at_once():
    who = people(NOW).with_columns(value=pl.lit("2026-12-02T06:00Z"), timezone=pl.lit(None, pl.String))
    assert gone(dated(-24), who) == [("on", None)]
    assert gone(dated(-24, "end"), who) == [("end", "date_past")]
