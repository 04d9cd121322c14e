"""Campaigns as the ledger knows them: when each was first seen live, and each of its entries as it is now.

What belongs here: what a pass writes down of the project's files before anything comes in, so that every entry knows
from when on it counts. A schedule makes up for nothing from before it was seen; a trigger takes the events that are
taken in after it was seen.
"""

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.campaign import ApiEntry, Campaign, Entry
from journey.clock import to_us
from journey.pricing import MILLION
from pipelines.places import TRIGGER, cursor_name, follow
from pipelines.signals import meet_anew
from resources.events import EventMark
from resources.home import Home
from resources.ledger import Lease, chunks, mark_dirty
from resources.tables import campaign as campaigns
from resources.tables import event_cursor as cursors
from resources.tables import schedule as schedules


def know_campaigns(home: Home, lease: Lease, now: datetime) -> dict[str, Campaign]:
    """Remember when each live campaign, and each of its entries, was first seen. Gives the live campaigns.

    First of all that a pass does, before events are taken in: a trigger of a file that is there knows those. A campaign
    that is stopped, has a hole, or whose file is gone, keeps its place among the events; a draft does not. Writes only
    what is new.
    """
    live = home.project.live_campaigns()
    at = to_us(now)
    with home.ledger.read() as tx:
        if not _news(tx, live):
            return live
    held = _wake_inside(home, lease, live, now)
    with home.ledger.write(lease) as tx:
        known = {row.name: row for row in tx.execute(sa.select(campaigns))}
        for name, campaign in live.items():
            follow(tx, name, dict(_entries(campaign)))
        seen = {(r.campaign, r.entry): r.digest for r in tx.execute(sa.select(schedules))}
        looking = {row.name: int(row.position) for row in tx.execute(sa.select(cursors))}
        mark = home.events.mark(tx)
        for name, campaign in live.items():
            values = {"version": campaign.version, "live": True, **_cost(campaign)}
            if name not in known:
                tx.execute(campaigns.insert().values(name=name, live_since=at, **values))
            elif name not in held and {key: getattr(known[name], key) for key in values} != values:
                tx.execute(campaigns.update().where(campaigns.c.name == name).values(**values))
            for place, digest in _entries(campaign):
                if seen.get((name, place)) != digest:
                    row = insert(schedules).values(campaign=name, entry=place, digest=digest, since=at)
                    again = {"digest": digest, "since": at}
                    tx.execute(row.on_conflict_do_update(index_elements=["campaign", "entry"], set_=again))
            for place, _ in campaign.triggers():
                cursor = cursor_name(name, place)
                # In the middle of a batch an edited trigger can't tell what it has dealt with: it goes on behind it.
                edited = seen.get((name, place)) != _digest(campaign.entries[place]) and looking.get(cursor, 0) > 0
                if cursor not in looking or edited:
                    _start_at(tx, cursor, mark)
            _forget_triggers(tx, looking, name, {cursor_name(name, place) for place, _ in campaign.triggers()})
        resting = [name for name, row in known.items() if row.live and name not in live]
        if resting:  # a draft, a hole, a file that is gone: nothing of it is sent until it is live again
            tx.execute(campaigns.update().where(campaigns.c.name.in_(resting)).values(live=False))
        for name in resting:
            # What a draft did not want it never gets. A file that is gone may be on its way back (git takes away before
            # it lays anew): it keeps its place, and `max_age` bounds what it catches up with.
            if name in home.project.campaigns and name not in home.project.holes:
                _forget_triggers(tx, looking, name, set())
    return live


def _news(tx: sa.Connection, live: dict[str, Campaign]) -> bool:
    """Whether the ledger does not know the live campaigns as they are."""
    columns = (campaigns.c.name, campaigns.c.version, campaigns.c.cost_above, campaigns.c.cost_currency)
    known = {tuple(row) for row in tx.execute(sa.select(*columns).where(campaigns.c.live))}
    if known != {(name, campaign.version, *_cost(campaign).values()) for name, campaign in live.items()}:
        return True
    seen = {(row.campaign, row.entry, row.digest) for row in tx.execute(sa.select(schedules))}
    looking = set(tx.execute(sa.select(cursors.c.name)).scalars())
    return any(
        (name, place, digest) not in seen for name, campaign in live.items() for place, digest in _entries(campaign)
    ) or any(cursor_name(name, place) not in looking for name, one in live.items() for place, _ in one.triggers())


def _cost(campaign: Campaign) -> dict[str, Any]:
    """What a campaign may cost (`stop_if.cost_above`), as whoever claims its messages asks for it."""
    amount, currency = campaign.settings.stop_if.cost_above or (None, None)
    return {"cost_above": None if amount is None else int(amount * MILLION), "cost_currency": currency}


def _entries(campaign: Campaign) -> list[tuple[int, str]]:
    """The entries that begin at some time: (place, digest)."""
    return [(place, _digest(entry)) for place, entry in enumerate(campaign.entries) if not isinstance(entry, ApiEntry)]


def _digest(entry: Entry) -> str:
    return hashlib.sha256(entry.model_dump_json().encode()).hexdigest()[:16]


def _start_at(tx: sa.Connection, cursor: str, mark: EventMark) -> None:
    values = {"batch": mark.batch, "file_id": mark.file_id, "position": 0}
    row = insert(cursors).values(name=cursor, **values)
    tx.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))


def _forget_triggers(tx: sa.Connection, looking: Collection[str], campaign: str, places: Collection[str]) -> None:
    """A trigger that was taken out (not among `places`) starts anew where it comes back."""
    mine = [name for name in looking if name.rpartition(":")[0] == f"{TRIGGER}{campaign}"]
    gone = [name for name in mine if name not in places]
    if gone:
        tx.execute(cursors.delete().where(cursors.c.name.in_(gone)))


def _wake_inside(home: Home, lease: Lease, live: dict[str, Campaign], now: datetime) -> set[str]:
    """Whoever is inside a campaign whose file is another now is looked at: the newest version says what they wait for,
    whatever kind of step they stand at, and whether there still is such a step. Gives the campaigns in which an error
    came up: their new version counts as not seen yet."""
    with home.ledger.read() as tx:
        known = tx.execute(sa.select(campaigns.c.name, campaigns.c.version, campaigns.c.live)).all()
    for name, version, was_live in known:
        if name not in live or (live[name].version, True) == (version, was_live):
            continue
        if home.troubles.rests(name):
            continue
        with home.troubles.contained(lease, name, "looking at those inside, because its file has changed", now):
            _wake(home, lease, live[name], now)
    return {name for name, _, _ in known if home.troubles.rests(name)}


def _wake(home: Home, lease: Lease, campaign: Campaign, now: datetime) -> None:
    meet_anew(home, lease, campaign, now)
    waiting = "SELECT id FROM participant WHERE campaign = ? AND left_at IS NULL AND coalesce(wake_at > ?, 1)"
    at = to_us(now)
    ids = home.ledger.frame(waiting, {"id": pl.Int64}, (campaign.name, at)).to_series()
    for part in chunks(ids.len()):
        woken = ids[part].to_list()
        with home.ledger.write(lease) as tx:
            look = "UPDATE participant SET wake_at = ? WHERE id = ? AND left_at IS NULL"
            tx.exec_driver_sql(look, [(at, one) for one in woken])
            mark_dirty(tx, "participant", woken)
