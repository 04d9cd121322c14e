"""Checks of the ways into a campaign: segments, schedules, triggers.

What belongs here: whatever can be told of one entry, or of the entries beside one another.
"""

from datetime import date, datetime, timedelta

from journey.campaign import AudienceEntry, Campaign, TriggerEntry, When
from journey.check_values import Place, check_segment
from journey.clock import EPOCH, is_zone, parse_time, resolve, utc, zone
from journey.conditions import Ago, Clock, Moment, parse_moment
from journey.findings import CheckContext, Findings
from journey.reading import zone_words
from journey.schedule import CONTACT, parse_cron

#: A pass looks at schedules about once a minute; with less leeway than this a healthy one would refuse people.
SHORTEST_LATE = timedelta(minutes=5)
#: Clocks differ by at most 26 hours over the world.
AROUND_THE_WORLD = timedelta(hours=26)

#: Far from the ends of the calendar, where some zone has no date for an instant.
YEARS = range(1970, 2200)

_TIME_MEND = "Write a date and a time, e.g. 2026-12-01 10:00."


def check_entries(campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    """Adds the findings about every entry."""
    for number, entry in enumerate(campaign.entries):
        path: Place = ("entries", number, entry.kind)
        if entry in campaign.entries[:number]:
            what = "this entry is there twice"
            findings.warning(("entries", number), what, "Keep one of the two: nobody can enter by the second.")
        if isinstance(entry, AudienceEntry):
            _audience(entry, path, campaign, context, findings)
        elif isinstance(entry, TriggerEntry):
            _trigger(entry, path, context, findings)


def check_time(text: str | None, path: Place, findings: Findings) -> datetime | None:
    """A date and time as written, or None and a hole."""
    if text is None:
        return None
    try:
        time = parse_time(text)
    except ValueError as error:
        findings.hole(path, str(error).partition("; ")[0], _TIME_MEND)
        return None
    if time.year not in YEARS:
        findings.hole(path, f"the year {time.year} is hardly meant", _TIME_MEND)
        return None
    return time


def check_zone(name: str | None, path: Place, findings: Findings, also: str = "") -> None:
    """A time zone has a name that is known."""
    if name is None:
        return
    try:
        zone(name)
    except ValueError as error:
        what, mend = zone_words(str(error))
        findings.hole(path, what, mend + also)


# -- audiences -------------------------------------------------------------------------------------------------------


def _audience(entry: AudienceEntry, path: Place, campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    check_segment(entry.segment, (*path, "segment"), context, findings)
    if entry.when is None:
        return
    _when(entry.when, (*path, "when"), context, findings)
    if entry.when.cron is not None and campaign.settings.re_entry is None:
        what = "with `cron` the campaign must say how often a contact may come back"
        mend = "Add `re_entry` under `settings`: once, always, or {times: 1, per: 30d}."
        findings.hole((*path, "when", "cron"), what, mend)


def _when(when: When, path: Place, context: CheckContext, findings: Findings) -> None:
    by_contact = when.timezone == CONTACT
    check_zone(when.timezone if not by_contact else None, (*path, "timezone"), findings, also=f" Or write {CONTACT}.")
    check_zone(when.fallback, (*path, "fallback"), findings)
    if not by_contact:
        for key, written in (("fallback", when.fallback is not None), ("if_past", when.if_past != "skip")):
            if written:
                what = f"`{key}` has no effect without `timezone: contact`"
                findings.warning((*path, key), what, "Add `timezone: contact`, or remove it.")
    if when.late < SHORTEST_LATE:
        what = "with so little leeway a pass that runs a minute late enters no one"
        findings.warning((*path, "late"), what, "Write 5m or more.")
    at = check_time(when.at, (*path, "at"), findings)
    not_after = check_time(when.not_after, (*path, "not_after"), findings)
    if when.cron is not None:
        try:
            parse_cron(when.cron)
        except ValueError as error:
            mend = 'Write five fields, minute hour day month weekday, e.g. "0 10 * * MON".'
            findings.hole((*path, "cron"), str(error), mend)
    if at is not None and at.tzinfo is not None and by_contact:
        what = "`at` names a zone, and `timezone: contact` another one for each contact"
        findings.hole((*path, "at"), what, "Remove the zone from the time, or `timezone: contact`.")
        return
    _order(when, at, not_after, path, context, findings)


def _order(
    when: When,
    at: datetime | None,
    not_after: datetime | None,
    path: Place,
    context: CheckContext,
    findings: Findings,
) -> None:
    """`at` before `not_after`, and neither of them over already."""
    by_contact = when.timezone == CONTACT
    name = when.fallback if by_contact else when.timezone
    name = name or context.timezone
    if name is None or not is_zone(name):
        return

    def instant(time: datetime) -> datetime:
        return resolve(time, zone(name)) if time.tzinfo is None else utc(time)

    if at is not None and not_after is not None and instant(not_after) < instant(at):
        what = "`not_after` is before `at`: no one could enter"
        findings.hole((*path, "not_after"), what, "Write a later time, or remove it.")
    slack = AROUND_THE_WORLD if by_contact else timedelta(0)
    for key, time, grace in (("at", at, when.late), ("not_after", not_after, timedelta(0))):
        if time is not None and context.now is not None and instant(time) + slack + grace < context.now:
            what = "this time is over; no one enters any more"
            findings.warning((*path, key), what, "Write a time to come, or let it be.")


# -- triggers --------------------------------------------------------------------------------------------------------


def _trigger(entry: TriggerEntry, path: Place, context: CheckContext, findings: Findings) -> None:
    start = _bound(entry.active_from, (*path, "active", "from"), findings)
    end = _bound(entry.active_to, (*path, "active", "to"), findings)
    if entry.key is not None and entry.key in ("contact_id", "phone"):
        what = f"`key: {entry.key}` tells no passages apart: each contact has one"
        findings.warning((*path, "key"), what, "Name what differs, e.g. order_number, or remove it.")
    if context.timezone is None or not is_zone(context.timezone):
        return
    clock = Clock(context.now or EPOCH, zone(context.timezone))
    if start is not None and end is not None and _last(end, clock) < clock.bounds(start)[0]:
        what = "`to` is before `from`: no event could start the journey"
        findings.hole((*path, "active", "to"), what, "Write a later day, or exchange the two.")
    elif end is not None and context.now is not None and _last(end, clock) < context.now:
        what = "this time is over; no event starts the journey any more"
        findings.warning((*path, "active", "to"), what, "Write a day to come, or let it be.")


def _bound(text: str | None, path: Place, findings: Findings) -> date | datetime | None:
    if text is None:
        return None
    moment: Moment | None = parse_moment(text)
    if moment is None or isinstance(moment, Ago):
        findings.hole(path, f"“{text}” is no date", "Write a date, 2026-11-01, or a date and a time, 2026-11-01 10:00.")
        return None
    if moment.year not in YEARS:
        findings.hole(path, f"the year {moment.year} is hardly meant", "Write a date, e.g. 2026-11-01.")
        return None
    return moment


def _last(moment: date | datetime, clock: Clock) -> datetime:
    """The last instant of a bound: a day includes all of it."""
    first, after = clock.bounds(moment)
    return first if first == after else after - timedelta(microseconds=1)
