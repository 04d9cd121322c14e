"""Times and durations: how they are written, and what a wall clock's time means in a zone.

What belongs here: durations, times with and without a zone, civil time → instant across the days on which clocks
change, microseconds ↔ datetime. What does not: the present. Nothing here asks what time it is; `now` is passed in.

Two decisions for the days on which clocks change: a civil time that does not exist (02:30 when 02:00 becomes 03:00) is
the first instant after the gap; one that exists twice is the first of the two.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from journey.spelling import nearest

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hour", "hours"),
    "d": ("d", "day", "days"),
    "w": ("w", "week", "weeks"),
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words}
DURATION_PATTERN = r"^[0-9]+ *([smhdw]|secs?|seconds?|mins?|minutes?|hours?|days?|weeks?)$"
_DURATION = re.compile(r"([0-9]+) *([a-z]+)")
_LONGEST = timedelta(days=36_500)

_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<hour>[0-9]{2}:[0-9]{2})(?P<second>:[0-9]{2}(\.[0-9]{1,6})?)?"
    r" ?(?P<zone>Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
)


def parse_duration(text: str) -> timedelta:
    """`30m`, `24h`, `2d`, `1w`, `90s`, also `30 days`. A day is 24 h. Raises ValueError: what is wrong, the mend."""
    found = _DURATION.fullmatch(text.strip())
    unit = _UNIT_OF.get(found[2]) if found else None
    if found is None or unit is None:
        raise ValueError(f"{text!r} is not a duration; write a whole number and a unit, e.g. 30m, 24h, 2d, 1w")
    # A count of this many digits is over the limit in any unit; int() and timedelta() need not see it.
    seconds = int(found[1]) * _SECONDS[unit] if len(found[1]) < 12 else 10**18
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than a hundred years")
    return timedelta(seconds=seconds)


def show_duration(duration: timedelta) -> str:
    """A duration as a file would write it: the largest unit that divides it (`24h`, not `1d`; `2d`; `90m`)."""
    seconds = int(duration.total_seconds())
    for unit, size, least in (("w", 604_800, 1), ("d", 86_400, 2), ("h", 3600, 1), ("m", 60, 1)):
        if seconds % size == 0 and seconds >= size * least:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def parse_time(text: str) -> datetime:
    """A date with a time: `2026-12-01 10:00`, `2026-12-01T10:00:30`, `…Z`, `…+01:00`.

    Returns a datetime without tzinfo where no zone is written, else one with the offset that is written. Raises
    ValueError with what is wrong.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a date with a time; write e.g. 2026-12-01 10:00")
    zone = found["zone"] or ""
    if zone not in ("", "Z"):
        zone = zone if len(zone) > 3 else zone + ":00"
    try:
        return datetime.fromisoformat(f"{found['date']}T{found['hour']}{found['second'] or ''}{zone}")
    except ValueError as error:
        raise ValueError(f"{text!r} is no time that exists ({error})") from None


def parse_instant(text: str, tz: ZoneInfo) -> datetime:
    """`parse_time`, then UTC: a time without a zone is civil time in `tz`. Raises ValueError."""
    time = parse_time(text)
    return resolve(time, tz) if time.tzinfo is None else utc(time)


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """The names of all time zones (IANA)."""
    return frozenset(available_timezones())


def is_zone(name: str) -> bool:
    """Whether `name` is an IANA time zone."""
    return name in known_zones()


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ValueError that names the nearest known ones."""
    if name not in known_zones():
        near = nearest(name, known_zones())
        hint = f"did you mean {near}?" if near else "write e.g. Europe/Paris"
        raise ValueError(f"{name!r} is no known time zone; {hint}")
    return ZoneInfo(name)


def resolve(civil: datetime, tz: ZoneInfo) -> datetime:
    """The instant (UTC) at which clocks in `tz` show `civil` (without tzinfo): after a gap, first of an overlap.

    Raises ValueError at the ends of the calendar, where the instant has no date.
    """
    if civil.tzinfo is not None:
        raise ValueError("a civil time has no zone of its own")
    try:
        first = civil.replace(tzinfo=tz, fold=0)
        instant = first.astimezone(UTC)
        if instant.astimezone(tz).replace(tzinfo=None, fold=0) == civil.replace(fold=0):
            return instant
        # In a gap fold=0 counts with the offset before it and fold=1 with the one after; so the change lies between.
        low, high = to_us(civil.replace(tzinfo=tz, fold=1).astimezone(UTC)), to_us(instant)
        after = from_us(high).astimezone(tz).utcoffset()
        while high - low > 1:
            middle = (low + high) // 2
            if from_us(middle).astimezone(tz).utcoffset() == after:
                high = middle
            else:
                low = middle
        return from_us(high)
    except OverflowError:
        raise ValueError(f"{civil} lies beyond the calendar") from None


def civil_time(instant: datetime, tz: ZoneInfo) -> datetime:
    """What clocks in `tz` show at an instant, without tzinfo."""
    return instant.astimezone(tz).replace(tzinfo=None, fold=0)


def utc(time: datetime) -> datetime:
    """The same instant in UTC. Raises ValueError for a time without a zone."""
    if time.tzinfo is None:
        raise ValueError("a time without a zone is no instant")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{time} lies beyond the calendar") from None


def to_us(time: datetime) -> int:
    """Microseconds since 1970 UTC, exactly. Raises TypeError for a time without a zone."""
    return (time - EPOCH) // MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The UTC datetime of microseconds since 1970."""
    return EPOCH + microseconds * MICROSECOND
