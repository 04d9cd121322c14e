"""The moment that a delay waits for, for many people at once.

What belongs here: `until` and its shift: the next time of day, the next weekday at a time, a date as written, and dates
that events and contacts bring. Zones are IANA names, one a row; all times out are instants (UTC), null where there is
no date or none that can be read.

What a date means: with an offset (`…Z`, `…+01:00`) it is an instant. Without one it is civil time in the row's zone; a
date alone is its midnight there. A typed `timestamptz` property is an instant, a `date` property a date alone.
"""

from datetime import time

import polars as pl

from journey.civil import CIVIL, INSTANT, to_civil, to_instants

_ISO = (
    r"^\s*(?<date>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ](?<minute>[0-9]{2}:[0-9]{2})(?::(?<second>[0-5][0-9])"
    r"(?:[.,](?<fraction>[0-9]{1,9}))?)?\s?(?<offset>[Zz]|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?\s*$"
)


def next_clock(arrivals: pl.Series, zones: pl.Series, clock: time, weekday: int | None = None) -> pl.Series:
    """The next time that clocks in each row's zone show `clock` (on a `weekday`, 0 = Monday; None: any), strictly later
    than the arrival (instants). Each local day has it once: after a gap, the first of two (`clock.resolve`)."""
    rows = pl.DataFrame({"arrival": arrivals.cast(INSTANT), "zone": zones})
    once = rows.unique()
    here = to_civil(once["arrival"], once["zone"]).dt.date()
    first = here if weekday is None else _on(here, weekday)
    then = first.dt.offset_by("1d" if weekday is None else "7d")
    today = to_instants(first.dt.combine(clock), once["zone"])
    later = to_instants(then.dt.combine(clock), once["zone"])
    once = once.with_columns(moment=today.zip_with(today > once["arrival"], later))
    return rows.join(once, on=["arrival", "zone"], how="left", maintain_order="left")["moment"]


def read_dates(values: pl.Series, zones: pl.Series) -> pl.Series:
    """Dates and times of any type → instants; what is neither gives null."""
    if values.dtype == pl.Date:
        return to_instants(values.cast(CIVIL), zones)
    if isinstance(values.dtype, pl.Datetime):
        if values.dtype.time_zone is None:
            return to_instants(values.cast(CIVIL), zones)
        return values.cast(INSTANT)
    if values.dtype != pl.String:
        return pl.Series([None], dtype=INSTANT).new_from_index(0, len(values))
    texts = pl.DataFrame({"text": values, "zone": zones})
    once = texts.unique()
    part = once["text"].str.extract_groups(_ISO).struct.unnest()
    digits = pl.col("offset").str.replace_all("[^0-9]", "").str.pad_end(4, "0")
    hours, minutes = (digits.str.slice(at, 2).cast(pl.Int64, strict=False) for at in (0, 2))
    size = pl.duration(minutes=hours * 60 + minutes)
    read = part.select(
        civil=pl.concat_str(
            "date",
            pl.lit("T"),
            pl.col("minute").fill_null("00:00"),
            pl.lit(":"),
            pl.col("second").fill_null("00"),
            pl.lit("."),
            pl.col("fraction").fill_null("0").str.slice(0, 6),
        ).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False),
        offset=pl.when(pl.col("offset").str.to_lowercase().is_in(["z", "utc"]))
        .then(pl.duration(minutes=0))
        .when((hours <= 23) & (minutes <= 59))
        .then(pl.when(pl.col("offset").str.starts_with("-")).then(-size).otherwise(size)),
        written=pl.col("offset").is_not_null(),
    )
    written = read.select((pl.col("civil") - pl.col("offset")).dt.replace_time_zone("UTC")).to_series()
    once = once.with_columns(moment=written.zip_with(read["written"], to_instants(read["civil"], once["zone"])))
    return texts.join(once, on=["text", "zone"], how="left", maintain_order="left", nulls_equal=True)["moment"]


def _on(days: pl.Series, weekday: int) -> pl.Series:
    """Each day, or the first after it, that is this weekday (0 = Monday)."""
    return (
        days.to_frame("day")
        .select(pl.col("day") + pl.duration(days=(weekday + 1 - pl.col("day").dt.weekday()) % 7))
        .to_series()
    )
