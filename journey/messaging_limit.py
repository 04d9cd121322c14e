"""How many people a sender may write to in 24 hours, and whether bulk should rest: Meta's words, read.

What belongs here: the tiers of Meta as numbers, what a limit makes of a campaign, and which words about a number ask
for a rest. Where the words come from is `resources.numbers`; who counts for the limit is `resources.reached`.
Source: Meta, "Messaging limits" (September 2026): different people outside a service window in a moving 24 hours, of a
whole business portfolio.
"""

import re
from datetime import timedelta

NO_LIMIT = -1
DAY = timedelta(hours=24)

MARGIN = timedelta(minutes=1)
"""A person counts this much longer than 24 hours: Meta may have got our message up to a time-out after its stamp."""

_TIER = re.compile(r"(?:TIER_)?([0-9]{1,9})(K?)", re.IGNORECASE)
_UNLIMITED = ("UNLIMITED", "TIER_UNLIMITED", "-1")
_RESTING = {
    "FLAGGED": "Meta has flagged the number for low quality",
    "RESTRICTED": "Meta has restricted the number",
    "BANNED": "Meta has banned the number",
}


def people(word: str | int | None) -> int | None:
    """How many people a word of Meta's, or of the settings, allows: `TIER_2K`, `2000`, `10k`, `unlimited` (NO_LIMIT).

    None where it says nothing (`TIER_NOT_SET`).
    """
    text = str(word).strip() if word is not None else ""
    if text.upper() in _UNLIMITED:
        return NO_LIMIT
    found = _TIER.fullmatch(text)
    return int(found[1]) * (1000 if found[2] else 1) if found else None


def show(limit: int | None) -> str:
    """A limit for people to read."""
    return "not known" if limit is None else "no limit" if limit == NO_LIMIT else f"{limit:,} people in 24 hours"


def days(needed: int, room: int, limit: int) -> int:
    """Over how many days `needed` people are spread: `room` of them now, `limit` in each 24 hours after."""
    rest = needed - max(0, room)
    return 1 if rest <= 0 else 1 + -(-rest // max(1, limit))


def worry(quality: str | None, status: str | None) -> str | None:
    """Why bulk should rest, by what Meta says of a number: a status (or a webhook's event), or a quality of RED. None:
    it need not."""
    resting = _RESTING.get((status or "").upper())
    if resting is not None:
        return resting
    return "Meta calls the number's quality RED" if (quality or "").upper() == "RED" else None
