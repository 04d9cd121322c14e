"""Checks of where values come from: properties that contacts have, attributes that the entries bring, variables.

What belongs here: whatever can be told of a value without knowing which place it fills.
"""

import re
from collections.abc import Collection, Mapping

from journey.campaign import ApiEntry, AudienceEntry, Campaign
from journey.clock import zone
from journey.dates import date_pattern_problem
from journey.findings import CheckContext, Findings
from journey.reading import zone_words
from journey.source import Key
from journey.spelling import suggest
from journey.variables import Variable

#: Properties that every contact has beside those of the files.
OF_EVERY_CONTACT = frozenset({"contact_id", "phone", "locale"})
#: Columns of contacts beside their properties that conditions may name.
FILTERED_COLUMNS = frozenset({"timezone", "tags", "opted_in", "opted_in_at", "opted_out_at", "wa_id", "wa_user_id"})

Place = tuple[Key, ...]
_REFUSED = re.compile(r"[\n\r\t]| {5,}")


def check_variable(
    variable: Variable, path: Place, campaign: Campaign, context: CheckContext, findings: Findings
) -> None:
    """Adds the findings about one variable."""
    if variable.source == "user":
        check_property(variable.name, (*path, "user"), context, findings)
    elif variable.source == "event":
        covered = variable.fallback is not None
        check_attribute(variable.name, (*path, "event"), campaign, context, findings, covered=covered)
    if variable.fallback is not None and _REFUSED.search(variable.fallback):
        what = "the fallback has a new line, a tab or more than four spaces in a row, which Meta refuses"
        findings.hole((*path, "fallback"), what, "Write it on one line with single spaces.")
    pattern = date_pattern_problem(variable.format) if isinstance(variable.format, str) else None
    if pattern is not None:
        findings.hole((*path, "format"), pattern, 'Write e.g. "%d/%m à %H:%M".')
    if variable.timezone is not None:
        try:
            zone(variable.timezone)
        except ValueError as error:
            findings.hole((*path, "timezone"), *zone_words(str(error)))


def check_property(
    name: str, path: Place, context: CheckContext, findings: Findings, also: Collection[str] = ()
) -> None:
    """A property of contacts is one that somebody has: an error once contacts are loaded."""
    known = context.properties
    if known is None:
        return
    of_all = {*OF_EVERY_CONTACT, *also}
    if name in of_all or name in known or name.partition(".")[0] in known:
        return
    what = f"no known contact has the property `{name}`"
    mend = suggest(name, {*known, *of_all}, none="")
    (findings.hole if context.contacts_loaded else findings.warning)(path, what, mend)


def check_attribute(
    name: str, path: Place, campaign: Campaign, context: CheckContext, findings: Findings, *, covered: bool
) -> None:
    """What brought the contact in has this property, whichever entry it was.

    `covered`: something stands in where it is missing; only what no entry at all can bring is worth a word then. Of
    events nothing is known.
    """
    root = name.partition(".")[0]
    missing: list[tuple[str, str]] = []
    for entry in campaign.entries:
        if isinstance(entry, ApiEntry):
            if root not in entry.attributes:
                what = f"requests bring no attribute `{root}`"
                missing.append((what, suggest(root, entry.attributes, none=f"Add it: api: {{attributes: [{root}]}}.")))
        elif isinstance(entry, AudienceEntry):
            columns = context.columns.get(entry.segment)
            if columns is None or root in columns or name in columns:
                continue
            none = "Only the further columns of a SQL segment can be used; for a contact's property write {user: …}."
            missing.append((f"the segment `{entry.segment}` brings no `{root}`", suggest(root, columns, none=none)))
    if not covered:
        for what, mend in missing:
            findings.hole(path, what, mend)
    elif len(missing) == len(campaign.entries):
        for what, mend in missing:
            findings.warning(path, what, mend)


def check_user_conditions(names: Mapping[str, object], path: Place, context: CheckContext, findings: Findings) -> None:
    """Conditions on contacts name properties that somebody has."""
    for name in names:
        check_property(name, (*path, name), context, findings, also=FILTERED_COLUMNS)


def check_segment(name: str, path: Place, context: CheckContext, findings: Findings) -> None:
    """A segment is there and can be used."""
    if name in context.broken_segments:
        findings.hole(path, f"the segment `{name}` cannot be used", "Mend its file in segments/ first.")
    elif name not in context.segments:
        none = f"Add segments/{name}.sql or .yaml."
        what = f"there is no segment `{name}` in segments/"
        findings.hole(path, what, suggest(name, context.segments, none=none))
