"""Who moves on from a delay: the moment each waits for, and what a moment that is over means.

What belongs here: the rules of a `delay` step. The arithmetic of dates and zones is `until`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from journey.civil import INSTANT, zones_of
from journey.clock import parse_time, utc
from journey.steps import DelayStep, Until
from journey.until import next_clock, read_dates
from journey.words import END, Branch, LeaveReason

DELAYED: Mapping[str, Any] = {"moment": pl.Int64, "date": pl.Int64}
"""What each of those who are due waits for (`moments`): the moment, and the date without the shift; null: none."""


def needs_zone(until: Until | None) -> bool:
    """Whether a moment depends on the contact's zone."""
    return until is not None and (until.at is None or _instant(until.at) is None)


def moments(step: DelayStep, people: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """`people` with DELAYED. They bring `arrived_at`; where `needs_zone` says so `timezone` (the contact's, null or no
    zone: `timezone`, the settings'); where `until` names a property `value`, as it is in the event or the contact."""
    arrivals = people.get_column("arrived_at").cast(INSTANT)
    until = step.until
    if until is None:
        date = arrivals + (step.length or timedelta(0))
    elif until.at is not None and (instant := _instant(until.at)) is not None:
        date = pl.Series([instant], dtype=INSTANT).new_from_index(0, people.height)
    else:
        zones = zones_of(people.get_column("timezone"), timezone)
        if until.clock is not None:
            date = next_clock(arrivals, zones, until.clock, until.weekday)
        elif until.at is not None:
            date = read_dates(pl.Series([until.at], dtype=pl.String).new_from_index(0, people.height), zones)
        else:
            date = read_dates(people.get_column("value"), zones)
    at = date.to_physical()
    return people.with_columns(moment=at + step.shift // timedelta(microseconds=1), date=at)


def delay(step: DelayStep, now: int) -> list[pl.Expr]:
    """branch (null: stays), to_step, reason (if that is the end), waited and wake_at.

    A moment is past where it was over on arrival; the date itself is ahead where it is later than the arrival. So how
    late a pass runs changes nothing. Whoever comes again at the very moment has had it: while a clock stands still they
    would go round for ever.
    """
    again = (pl.col("visit") > 1) & (pl.col("moment") == pl.col("arrived_at"))
    past = (pl.col("moment") < pl.col("arrived_at")) | again
    ends = past if step.if_past == "end" else past & (pl.col("date") <= pl.col("arrived_at"))
    none = pl.col("moment").is_null()
    leaves = none | ends
    goes = leaves | (pl.col("moment") <= now)
    return [
        pl.when(goes).then(pl.lit(Branch.next.value)).alias("branch"),
        pl.when(leaves).then(pl.lit(END)).otherwise(pl.lit(step.next)).alias("to_step"),
        pl.when(none)
        .then(pl.lit(LeaveReason.no_date.value))
        .when(ends)
        .then(pl.lit(LeaveReason.date_past.value))
        .otherwise(pl.lit(LeaveReason.end.value))
        .alias("reason"),
        pl.lit(True).alias("waited"),
        pl.when(~goes).then("moment").alias("wake_at"),
    ]


def _instant(text: str) -> Any:
    """A time that is written with its zone, in UTC; None for any other text."""
    try:
        time = parse_time(text)
        return utc(time) if time.tzinfo is not None else None
    except ValueError:
        return None
