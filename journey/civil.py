"""Civil times of many people at once: what `clock.resolve` and `clock.civil_time` say, for columns.

What belongs here: instants ↔ civil times where each row has its own zone. Python's zone data alone decide (Polars has
its own, of another day), so that a column and a single time never disagree. Days on which a zone's clocks do not change
are counted by their offset, one look a zone and day; the few others go through `clock`, one call a distinct time.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from journey.clock import civil_time, is_zone, resolve

CIVIL = pl.Datetime("us")
INSTANT = pl.Datetime("us", "UTC")

_DAY = timedelta(days=1)
#: Times outside have no instant in every zone.
_FIRST, _LAST = date(2, 1, 1), date(9998, 12, 30)


def zones_of(names: pl.Series, default: str) -> pl.Series:
    """The zone of each row: its own where that is a time zone, else `default` (String)."""
    unknown = [name for name in names.unique().drop_nulls() if not is_zone(name)]
    known = names.set(names.is_in(unknown), None) if unknown else names
    return known.cast(pl.String).fill_null(default)


def to_instants(civil: pl.Series, zones: pl.Series) -> pl.Series:
    """The instants (UTC) at which clocks in each row's zone show `civil` (without a zone): the first after a gap, the
    first of two. Null where there is none."""

    def offset(day: date, tz: ZoneInfo) -> timedelta | None:
        start = datetime.combine(day, datetime.min.time())
        ends = (start.replace(tzinfo=tz).utcoffset(), (start + _DAY).replace(tzinfo=tz).utcoffset())
        return ends[0] if ends[0] == ends[1] else None

    def one(time: datetime, tz: ZoneInfo) -> datetime | None:
        return resolve(time, tz)

    return _by_day(civil.cast(CIVIL), zones, -1, offset, one).dt.replace_time_zone("UTC")


def to_civil(instants: pl.Series, zones: pl.Series) -> pl.Series:
    """What clocks in each row's zone show at these instants (UTC), without a zone."""

    def offset(day: date, tz: ZoneInfo) -> timedelta | None:
        start = datetime.combine(day, datetime.min.time(), UTC)
        ends = (start.astimezone(tz).utcoffset(), (start + _DAY).astimezone(tz).utcoffset())
        return ends[0] if ends[0] == ends[1] else None

    def one(time: datetime, tz: ZoneInfo) -> datetime | None:
        return civil_time(time.replace(tzinfo=UTC), tz)

    return _by_day(instants.cast(INSTANT).dt.replace_time_zone(None), zones, 1, offset, one)


def _by_day(
    times: pl.Series,
    zones: pl.Series,
    sign: int,
    offset: Callable[[date, ZoneInfo], timedelta | None],
    one: Callable[[datetime, ZoneInfo], datetime | None],
) -> pl.Series:
    """Times moved by the offset of their day and zone; by `one` where the day has no single offset."""
    rows = pl.DataFrame({"time": times, "zone": zones}).with_columns(day=pl.col("time").dt.date())
    rows = rows.with_columns(
        pl.when(pl.col("day").is_between(_FIRST, _LAST)).then(pl.col(name)).alias(name) for name in ("time", "day")
    )
    days = rows.select("day", "zone").drop_nulls().unique()
    offsets = [offset(day, ZoneInfo(zone)) for day, zone in days.iter_rows()]
    days = days.with_columns(pl.Series("offset", offsets, pl.Duration("us")))
    rows = rows.join(days, on=["day", "zone"], how="left", maintain_order="left")
    rows = rows.with_columns(moved=pl.col("time") + sign * pl.col("offset"))
    odd = rows.filter(pl.col("offset").is_null()).select("time", "zone").drop_nulls().unique()
    if odd.is_empty():
        return rows["moved"]
    found = [one(time, ZoneInfo(zone)) for time, zone in odd.iter_rows()]
    naive = [time.replace(tzinfo=None) if time is not None else None for time in found]
    odd = odd.with_columns(pl.Series("odd", naive, CIVIL))
    rows = rows.join(odd, on=["time", "zone"], how="left", maintain_order="left")
    return rows.select(pl.coalesce("moved", "odd")).to_series()
