"""Everything that can be wrong with a campaign before it is launched.

What belongs here: the checks of entries and of what the campaign names outside itself, and the two questions that the
house asks: `check` (what would a person want to know?) and `holes` (what keeps it from being live?). The way through
the steps is `check_flow`; messages and their templates are `check_message`. A finding says what is wrong and what to
do, for someone who sees the file for the first time.
"""

from datetime import datetime, timedelta

from journey.campaign import AudienceEntry, Campaign, When
from journey.check_flow import check_flow
from journey.check_message import check_messages
from journey.clock import is_zone, parse_time, resolve, utc, zone
from journey.entry import CONTACT, parse_cron
from journey.findings import CheckContext, Findings
from journey.problems import Problem
from journey.reading import zone_words
from journey.source import Key, Source
from journey.spelling import suggest

__all__ = ["CheckContext", "check", "find", "holes"]

#: A pass looks at schedules about once a minute; with less leeway than this a healthy one would refuse people.
SHORTEST_LATE = timedelta(minutes=5)
#: Clocks differ by at most 26 hours over the world.
AROUND_THE_WORLD = timedelta(hours=26)

#: Far from the ends of the calendar, where some zone has no date for an instant.
YEARS = range(1970, 2200)

_TIME_MEND = "Write a date and a time, e.g. 2026-12-01 10:00."


def check(campaign: Campaign, source: Source, context: CheckContext) -> list[Problem]:
    """Every finding about a campaign, errors and warnings, by line. `source` is the file it was read from."""
    return find(campaign, source, context).all()


def holes(campaign: Campaign, source: Source, context: CheckContext) -> list[Problem]:
    """The errors that keep a campaign from being live.

    What can mend itself without the file (a template that is not approved) is an error of `check` and no hole: what is
    live goes on and holds its messages.
    """
    return sorted(find(campaign, source, context).holes, key=lambda one: (one.line, one.field))


def find(campaign: Campaign, source: Source, context: CheckContext) -> Findings:
    """`check` and `holes` at once."""
    findings = Findings(source)
    if context.senders is not None and campaign.sender not in context.senders:
        what = f"there is no sender `{campaign.sender}` in estafette.yaml"
        findings.hole(("sender",), what, suggest(campaign.sender, context.senders, none="Add it under `senders`."))
    for number, entry in campaign.audiences():
        path: tuple[Key, ...] = ("entries", number, "audience")
        _segment(entry, path, context, findings)
        if entry.when is not None:
            _when(entry.when, (*path, "when"), context, findings)
            if entry.when.cron is not None and campaign.settings.re_entry is None:
                what = "with `cron` the campaign must say how often a contact may come back"
                mend = "Add `re_entry` under `settings`: once, always, or {times: 1, per: 30d}."
                findings.hole((*path, "when", "cron"), what, mend)
    check_flow(campaign, findings)
    check_messages(campaign, context, findings)
    return findings


def _segment(entry: AudienceEntry, path: tuple[Key, ...], context: CheckContext, findings: Findings) -> None:
    if entry.segment in context.broken_segments:
        what = f"the segment `{entry.segment}` cannot be used"
        findings.hole((*path, "segment"), what, "Mend its file in segments/ first.")
    elif entry.segment not in context.segments:
        none = f"Add segments/{entry.segment}.sql or .yaml."
        what = f"there is no segment `{entry.segment}` in segments/"
        findings.hole((*path, "segment"), what, suggest(entry.segment, context.segments, none=none))


def _when(when: When, path: tuple[Key, ...], context: CheckContext, findings: Findings) -> None:
    by_contact = when.timezone == CONTACT
    _zone(when.timezone if not by_contact else None, (*path, "timezone"), findings, also=f" Or write {CONTACT}.")
    _zone(when.fallback, (*path, "fallback"), findings)
    if not by_contact:
        for key, written in (("fallback", when.fallback is not None), ("if_past", when.if_past != "skip")):
            if written:
                what = f"`{key}` has no effect without `timezone: contact`"
                findings.warning((*path, key), what, "Add `timezone: contact`, or remove it.")
    if when.late < SHORTEST_LATE:
        what = "with so little leeway a pass that runs a minute late enters no one"
        findings.warning((*path, "late"), what, "Write 5m or more.")
    at = _time(when.at, (*path, "at"), findings)
    not_after = _time(when.not_after, (*path, "not_after"), findings)
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
    path: tuple[Key, ...],
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


def _time(text: str | None, path: tuple[Key, ...], findings: Findings) -> datetime | None:
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


def _zone(name: str | None, path: tuple[Key, ...], findings: Findings, also: str = "") -> None:
    if name is None:
        return
    try:
        zone(name)
    except ValueError as error:
        what, mend = zone_words(str(error))
        findings.hole(path, what, mend + also)
