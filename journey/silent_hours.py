"""Silent hours: when a message may go out, in a zone's civil time.

What belongs here: for a moment and a zone, the first moment from then on that is allowed, and when the next silence
begins after it. All of it is computed once a distinct pair of moment and zone, never once a person. Who is held, and
how long a held message may wait, is `pipelines.silence` and `pipelines.holding`.

A moment is silent when the clocks of the zone then show a time of the rule, or a day off. So a night that runs into a
day off stays silent to the end of the next night; where clocks are set back, the hour that comes twice is judged by
what they show, both times; where they are set forward, silence ends (or begins) with the first minute after the gap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import polars as pl

from journey.campaign import SilentHours
from journey.clock import from_us, is_zone, resolve, to_us

HORIZON = 40
"""Days that are looked at: with six days off, and an hour that a gap may swallow, silence lasts two weeks at most."""

QUIET = {"due_at": pl.Int64, "quiet_at": pl.Int64}
"""Microseconds since 1970: the first allowed moment, and when silence begins again (null: not in `HORIZON` days)."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Silence:
    """What a rule says from one moment on, in one zone. `allowed_at`: the moment itself where it is not silent, else
    the first that is not; None where there is none. `quiet_at`: the first silent one after that, None where none
    comes."""

    allowed_at: datetime | None
    quiet_at: datetime | None


def is_silent(rule: SilentHours, moment: datetime, tz: ZoneInfo) -> bool:
    """Whether no message may go out at a moment (with a zone of its own) where clocks are those of `tz`."""
    civil = moment.astimezone(tz)
    if civil.weekday() in rule.days_off:
        return True
    if rule.start is None or rule.end is None or rule.start == rule.end:
        return False
    clock = civil.time()
    if rule.start < rule.end:
        return rule.start <= clock < rule.end
    return clock >= rule.start or clock < rule.end


@lru_cache(maxsize=4096)
def silence(rule: SilentHours, moment: datetime, tz: ZoneInfo) -> Silence:
    """What the rule says from `moment` (UTC) on, to the microsecond."""
    allowed = None if is_silent(rule, moment, tz) else moment
    for change in _changes(rule, moment, tz):
        silent = is_silent(rule, change, tz)
        if allowed is None and not silent:
            allowed = change
        elif allowed is not None and silent:
            return Silence(allowed, change)
    return Silence(allowed, None)


def quiet_times(rule: SilentHours | None, moments: pl.Series, zones: pl.Series, default: str) -> pl.DataFrame:
    """`due_at` and `quiet_at` (QUIET), row by row, for moments (Int64 microseconds) and contacts' zones (String or
    null). A zone that is unknown, or missing, is `default`; the rule's own stands above both. Where nothing is ever
    allowed `due_at` is null."""
    if rule is None:
        return pl.DataFrame({"due_at": moments, "quiet_at": pl.Series([None] * moments.len(), dtype=pl.Int64)})
    pairs = pl.DataFrame({"moment": moments, "zone": zones.cast(pl.String)})
    if rule.timezone is not None:
        pairs = pairs.with_columns(zone=pl.lit(rule.timezone))
    distinct = pairs.unique()
    found = []
    for moment, name in distinct.iter_rows():
        tz = ZoneInfo(name if name is not None and is_zone(name) else default)
        one = silence(rule, from_us(moment), tz)
        found.append(tuple(None if at is None else to_us(at) for at in (one.allowed_at, one.quiet_at)))
    known = pl.concat([distinct, pl.DataFrame(found, schema=QUIET, orient="row")], how="horizontal")
    joined = pairs.join(known, on=["moment", "zone"], how="left", nulls_equal=True, maintain_order="left")
    return joined.select(list(QUIET))


def _changes(rule: SilentHours, moment: datetime, tz: ZoneInfo) -> Iterator[datetime]:
    """Every moment after `moment` at which silence may begin or end, in order."""
    today = moment.astimezone(tz).date()
    last = moment
    for day in range(-1, HORIZON):
        try:
            found = sorted(_of_day(rule, today + day * _DAY, tz))
        except (OverflowError, ValueError):  # the end of the calendar
            return
        for change in found:
            if change > last:
                yield change
                last = change


def _of_day(rule: SilentHours, day: date, tz: ZoneInfo) -> set[datetime]:
    times = {time(0), *(one for one in (rule.start, rule.end) if one is not None)}
    found = set()
    for clock in times:
        civil = datetime.combine(day, clock)
        found |= {resolve(civil, tz), civil.replace(tzinfo=tz, fold=1).astimezone(UTC)}
    begins, ends = (resolve(datetime.combine(one, time(0)), tz) for one in (day, day + _DAY))
    return found | set(_clock_changes(begins, ends, tz))


def _clock_changes(begins: datetime, ends: datetime, tz: ZoneInfo) -> Iterator[datetime]:
    """The moment between two at which the clocks are set, if they are (once a day at most)."""
    before = begins.astimezone(tz).utcoffset()
    if ends.astimezone(tz).utcoffset() == before:
        return
    low, high = to_us(begins), to_us(ends)
    while high - low > 1:
        middle = (low + high) // 2
        if from_us(middle).astimezone(tz).utcoffset() == before:
            low = middle
        else:
            high = middle
    yield from_us(high)
