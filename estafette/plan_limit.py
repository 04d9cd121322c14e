"""What Meta's limit of people in 24 hours makes of a planned campaign: over how many days it goes, and who is too late.

What belongs here: reckoning with the people of a rehearsal. The limit itself is `resources.reached`.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.clock import show_duration, to_us
from journey.messaging_limit import DAY, days
from pipelines.rehearse import Rehearsal
from resources.home import Home
from resources.ledger import US
from resources.reached import COUNTS, limit_of, people_of
from resources.tables import sender as senders

_KNOWN = "SELECT phone FROM reached WHERE portfolio = ? AND last_at > ?"
_OPEN = "SELECT contact_id FROM reply WHERE sender = ? AND replied_at > ? GROUP BY contact_id"
_AHEAD = """SELECT count(DISTINCT phone) FROM message WHERE kind = 'template' AND id NOT IN
  (SELECT value FROM json_each(?)) AND sender IN (SELECT name FROM sender WHERE portfolio = ?)
  AND (state = 'planned' OR (state = 'held' AND held_why = 'messaging_limit'))"""


def limit_document(home: Home, found: Rehearsal) -> dict[str, Any] | None:
    """How the limit binds the planned messages; None where there is none, or none is known.

    `needed` people want a place, `people` of `people_in_24_hours` places are taken, `ahead` people wait already;
    `too_late`: how many get none before their messages expire.
    """
    now = to_us(found.now)
    with home.ledger.read() as tx:
        name = found.campaign.sender
        portfolio = tx.execute(sa.select(senders.c.portfolio).where(senders.c.name == name)).scalar()
        limit = limit_of(tx, portfolio) if portfolio else None
        if not portfolio or limit is None:
            return None
        templates = found.messages.filter(pl.col("kind") == "template")
        known = tx.exec_driver_sql(_KNOWN, (portfolio, now - COUNTS)).scalars().all()
        written = tx.exec_driver_sql(_OPEN, (name, now - COUNTS)).scalars().all()
        ids = json.dumps(templates.get_column("message_id").to_list())
        ahead = int(tx.exec_driver_sql(_AHEAD, (ids, portfolio)).scalar_one())
        people = people_of(tx, portfolio, now)
    asking = templates.filter(
        ~pl.col("phone").is_in(pl.Series(known, dtype=pl.String).implode()),
        ~pl.col("contact_id").is_in(pl.Series(written, dtype=pl.String).implode()),
    )
    needed = asking.get_column("phone").n_unique()
    first = asking.select(pl.col("expires_at").min()).item()
    waits = 0 if first is None else max(0, to_us(first) - now)
    places = max(0, limit - people) + limit * (waits // COUNTS)
    return {
        "portfolio": portfolio,
        "people_in_24_hours": limit,
        "people": people,
        "ahead": ahead,
        "needed": needed,
        "days": days(needed + ahead, limit - people, limit),
        "waits_for": show_duration(timedelta(seconds=waits // US)),
        "too_late": min(needed, max(0, needed + ahead - places)),
    }


def limit_lines(told: Mapping[str, Any] | None) -> Iterator[str]:
    """The same for people to read."""
    if told is None:
        return
    ahead = f"; {told['ahead']:,} people wait already" if told["ahead"] else ""
    lasts = "they all have a place today" if told["days"] == 1 else f"it goes over {told['days']} days"
    yield (
        f"Messaging limit: {told['people_in_24_hours']:,} people in 24 hours, {told['people']:,} of them taken{ahead};"
        f" {told['needed']:,} people are new: {lasts}."
    )
    if told["too_late"]:
        enough = show_duration(DAY * told["days"])
        yield (
            f"About {told['too_late']:,} of them would be skipped (messaging_limit): their messages wait"
            f" {told['waits_for']} at most. `expires: {enough}` in the message would do."
        )
