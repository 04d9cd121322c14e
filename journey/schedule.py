"""Schedules of audiences: which occurrence is due, when each contact enters it, who is too late.

What belongs here: cron and `at`, civil times by zone, what was missed. All of it pure: the caller says what time it is
and keeps what was done. How often a contact may pass is `entry`; who is in the audience, `audience`.

The rules (spec §3.4 "Entering") as they are read here:

- An occurrence of a fixed zone is an instant; its name is that instant in UTC. With `timezone: contact` it is a civil
  time that each zone reaches in turn; its name is that civil time.
- The segment is evaluated when the first zone in use reaches the occurrence, but never before the campaign was live. A
  contact whose local time was over by then follows `if_past`; `late` is for passes that ran late afterwards.
- Of the occurrences that were missed only the latest runs. What was over everywhere before the campaign was first seen
  live is no occurrence, so that an old file in a fresh installation messages nobody; `at` alone grants `late` there,
  for a file that arrives some minutes after its own time.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
from cronsim import CronSim, CronSimError

from journey.campaign import When
from journey.clock import civil_time, is_zone, parse_time, resolve, utc, zone
from journey.words import EntryOutcome

CONTACT = "contact"  # `timezone: contact`: each contact's own zone
INSTANT = pl.Datetime("us", "UTC")

_FIELDS = "minute hour day month weekday"
_ANY_TIME = datetime(2024, 1, 1)  # of a leap year; any would do to try an expression


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One firing of a schedule.

    `name` is unique within an entry and stays the same however often it is computed. `evaluate_at` (UTC) is when the
    segment is to be evaluated. `local` is the civil time at which each contact enters, without tzinfo; None where the
    schedule has a zone of its own: everyone then enters at `evaluate_at`.
    """

    name: str
    evaluate_at: datetime
    local: datetime | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A `When` that has been read: `tz` is its zone, or with `by_contact` the zone of contacts without a known one."""

    by_contact: bool
    tz: ZoneInfo
    at: datetime | None
    cron: str | None
    not_after: datetime | None
    late: timedelta


def read_when(when: When, timezone: str) -> Schedule:
    """Reads a schedule; `timezone` is the settings'. Raises ValueError where `check` would find a hole."""
    by_contact = when.timezone == CONTACT
    name = when.fallback if by_contact else when.timezone
    if when.cron is not None:
        parse_cron(when.cron)
    schedule = Schedule(
        by_contact,
        zone(name or timezone),
        parse_time(when.at) if when.at is not None else None,
        when.cron,
        parse_time(when.not_after) if when.not_after is not None else None,
        when.late,
    )
    if by_contact and schedule.at is not None and schedule.at.tzinfo is not None:
        raise ValueError(f"{when.at!r} names a zone, and `timezone: contact` another for each contact")
    return schedule


def parse_cron(expression: str) -> None:
    """Raises ValueError, with what is wrong, unless `expression` has five cron fields that fire at some time."""
    if expression.strip().startswith("@"):
        raise ValueError(f"{expression!r} is a nickname; write the five fields {_FIELDS}")
    fields = len(expression.split())
    if fields != 5:
        raise ValueError(f"{expression!r} has {fields} field{'s' * (fields != 1)}, not the five {_FIELDS}")
    try:
        fires = next(CronSim(expression, _ANY_TIME), None)
    except (CronSimError, ValueError, IndexError) as error:
        wrong = str(error).removeprefix("Bad ").replace("day-of-month", "day").replace("day-of-week", "weekday")
        raise ValueError(f"the {wrong} of {expression!r} cannot be understood") from None
    if fires is None:
        raise ValueError(f"{expression!r} never fires")


def due_occurrence(
    when: When, timezone: str, *, live_since: datetime, last: str | None, zones: Iterable[str | None], now: datetime
) -> Occurrence | None:
    """The occurrence that is to run now: the latest one reached and not done; None where there is none.

    `timezone`: the settings'. `live_since` (UTC): when the campaign was first seen live. `last`: the name of the last
    scheduled occurrence that was made, if any (an earlier one is never made again, also after the schedule was edited).
    `zones`: the distinct time zones of contacts, None for those without; looked at with `timezone: contact` only.
    """
    schedule = read_when(when, timezone)
    if not schedule.by_contact:
        return _due_at_an_instant(schedule, live_since, last, now)
    return _due_by_contact(schedule, live_since, last, _zones(schedule, zones), now)


def next_occurrence(
    when: When, timezone: str, *, live_since: datetime, last: str | None, zones: Iterable[str | None], now: datetime
) -> Occurrence | None:
    """The first occurrence that is still ahead (its `evaluate_at` is after `now`); arguments as `due_occurrence`."""
    schedule = read_when(when, timezone)
    if not schedule.by_contact:
        after = max(now, live_since, _last_instant(schedule, last) or now)
        ahead: Iterator[datetime] = iter([utc(_instant(schedule.at, schedule.tz))] if schedule.at else ())
        if schedule.cron is not None:
            ahead = _instants(schedule.cron, after, schedule.tz)
        instant = next((one for one in ahead if one > after), None)
        return _fixed(instant) if instant is not None and _allowed(schedule, instant) else None
    tzs = _zones(schedule, zones)
    done = _last_local(schedule, last)
    # What a clock shows now is reached, in that zone and so for the schedule.
    start = max(filter(None, [max(civil_time(now, tz) for tz in tzs), done]))
    for local in [schedule.at] if schedule.at is not None else _locals(schedule.cron or "", start):
        first = min(resolve(local, tz) for tz in tzs)
        if first > now and first >= live_since and (done is None or local > done):
            return Occurrence(local.isoformat(), first, local) if _allowed_local(schedule, local, tzs) else None
    return None


def enter_times(people: pl.DataFrame, occurrence: Occurrence, when: When, timezone: str) -> pl.DataFrame:
    """When each contact of an evaluated occurrence enters.

    `people`: `timezone` (String, null or unknown where there is none) and any other columns. Adds, rows in order:
    `enter_at` (Datetime us UTC), `not_after` (the same; null where nothing bounds it), `outcome` (String: null, or
    `too_late` for those who do not enter: their time was over under `if_past: skip`, or is after `not_after`).
    """
    schedule = read_when(when, timezone)
    names = people["timezone"].cast(pl.String).unique().to_list()
    rows: list[tuple[str | None, datetime, datetime | None, str | None]] = []
    for name in names:
        tz = zone(name) if name is not None and is_zone(name) else schedule.tz
        enter_at, over = occurrence.evaluate_at, False
        if occurrence.local is not None:
            enter_at, over = _local_entry(occurrence.local, occurrence.evaluate_at, when.if_past, tz)
        bound = None
        if schedule.not_after is not None:
            bound = _instant(schedule.not_after, tz if schedule.by_contact else schedule.tz)
            over = over or enter_at > bound
        rows.append((name, enter_at, bound, EntryOutcome.too_late.value if over else None))
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "timezone": pl.String,
        "enter_at": INSTANT,
        "not_after": INSTANT,
        "outcome": pl.String,
    }
    by_zone = pl.DataFrame(rows, schema=schema, orient="row")
    return people.with_columns(pl.col("timezone").cast(pl.String)).join(
        by_zone, on="timezone", how="left", nulls_equal=True, maintain_order="left"
    )


def is_too_late(enter_at: datetime, late: timedelta, now: datetime, not_after: datetime | None = None) -> bool:
    """Whether a contact whose time was `enter_at` may no longer enter `now`, because the pass ran late."""
    return now > enter_at + late or (not_after is not None and now > not_after)


def too_late(late: timedelta, now: datetime) -> pl.Expr:
    """`is_too_late` over the columns `enter_at` and `not_after` of `enter_times`: Boolean, never null."""
    moment = pl.lit(now, dtype=INSTANT)
    return (moment > pl.col("enter_at") + pl.lit(late)) | (moment > pl.col("not_after")).fill_null(False)


def _local_entry(local: datetime, evaluate_at: datetime, if_past: str, tz: ZoneInfo) -> tuple[datetime, bool]:
    """(when a contact in `tz` enters, whether that is too late)."""
    enter_at = resolve(local, tz)
    if enter_at >= evaluate_at:
        return enter_at, False
    if if_past == "now":
        return evaluate_at, False
    if if_past == "next_day":
        while enter_at < evaluate_at:
            local += timedelta(days=1)
            enter_at = resolve(local, tz)
        return enter_at, False
    return enter_at, True


def _zones(schedule: Schedule, names: Iterable[str | None]) -> list[ZoneInfo]:
    """The zones in use: unknown and missing ones count as the fallback, which also stands in where there is nobody."""
    known = {zone(name) if name is not None and is_zone(name) else schedule.tz for name in names}
    return list(known) or [schedule.tz]


def _due_at_an_instant(schedule: Schedule, live_since: datetime, last: str | None, now: datetime) -> Occurrence | None:
    done = _last_instant(schedule, last)
    if schedule.at is not None:
        instant = _instant(schedule.at, schedule.tz)
        due = instant <= now and instant + schedule.late >= live_since and (done is None or instant > done)
        return _fixed(instant) if due and _allowed(schedule, instant) else None
    expression, high = schedule.cron or "", now
    if schedule.not_after is not None:
        high = min(high, _instant(schedule.not_after, schedule.tz))
    latest: datetime | None = None
    for start in _starts(high, live_since):
        for instant in _instants(expression, start, schedule.tz):
            if instant > high:
                break
            latest = instant
        if latest is not None:
            break
    if latest is None or latest < live_since or (done is not None and latest <= done):
        return None
    return _fixed(latest)


def _due_by_contact(
    schedule: Schedule, live_since: datetime, last: str | None, tzs: list[ZoneInfo], now: datetime
) -> Occurrence | None:
    done = _last_local(schedule, last)
    latest: datetime | None = None
    grace = timedelta(0)
    if schedule.at is not None:
        if min(resolve(schedule.at, tz) for tz in tzs) <= now:
            latest, grace = schedule.at, schedule.late
    else:
        low = min(civil_time(live_since, tz) for tz in tzs) - timedelta(days=1)
        for start in _starts(max(civil_time(now, tz) for tz in tzs), low):
            for local in _locals(schedule.cron or "", start):
                if min(resolve(local, tz) for tz in tzs) > now or not _allowed_local(schedule, local, tzs):
                    break
                latest = local
            if latest is not None:
                break
    if latest is None or (done is not None and latest <= done) or not _allowed_local(schedule, latest, tzs):
        return None
    first, final = min(resolve(latest, tz) for tz in tzs), max(resolve(latest, tz) for tz in tzs)
    if final + grace < live_since:
        return None
    return Occurrence(latest.isoformat(), max(first, live_since), latest)


def _starts(high: datetime, low: datetime) -> Iterator[datetime]:
    """Points to look forward from until something is found: an hour before `high`, then further back, down to `low`.

    Looking forward is the only way that meets each time once on days on which clocks change; starting at `low` at once
    would walk a year of minutes after a long stop.
    """
    low -= timedelta(minutes=1)  # what falls on `low` itself counts
    span = timedelta(hours=1)
    while high - span > low:
        yield high - span
        span *= 8
    yield low


def _instants(expression: str, after: datetime, tz: ZoneInfo) -> Iterator[datetime]:
    """The instants (UTC) later than `after` at which clocks in `tz` meet the expression.

    A fixed hour that a change of clocks leaves out fires at the first instant after the gap, one that comes twice at
    the first; hours written with a star follow the clock through both (as Debian's cron does it).
    """
    for time in CronSim(expression, after.astimezone(tz)):
        instant = time.astimezone(UTC)
        if instant > after:
            yield instant


def _locals(expression: str, after: datetime) -> Iterator[datetime]:
    return iter(CronSim(expression, after))


def _instant(time: datetime, tz: ZoneInfo) -> datetime:
    return resolve(time, tz) if time.tzinfo is None else utc(time)


def _fixed(instant: datetime) -> Occurrence:
    return Occurrence(instant.isoformat().replace("+00:00", "Z"), instant)


def _allowed(schedule: Schedule, instant: datetime) -> bool:
    return schedule.not_after is None or instant <= _instant(schedule.not_after, schedule.tz)


def _allowed_local(schedule: Schedule, local: datetime, tzs: list[ZoneInfo]) -> bool:
    """Whether anyone could still enter at this civil time."""
    if schedule.not_after is None:
        return True
    if schedule.not_after.tzinfo is None:
        return local <= schedule.not_after
    return min(resolve(local, tz) for tz in tzs) <= utc(schedule.not_after)


def _last(last: str | None, by_instant: Callable[[datetime], datetime]) -> datetime | None:
    return by_instant(parse_time(last)) if last is not None else None


def _last_instant(schedule: Schedule, last: str | None) -> datetime | None:
    """The last occurrence as an instant; one from when the schedule was by contact counts in the schedule's zone."""
    return _last(last, lambda time: _instant(time, schedule.tz))


def _last_local(schedule: Schedule, last: str | None) -> datetime | None:
    return _last(last, lambda time: time if time.tzinfo is None else civil_time(time, schedule.tz))
