"""Entries for ids that nobody had: they wait 24 h for their contact, and come in or are refused.

What belongs here: looking at them again when contacts have come, and when their time is over. Who has to wait is found
out where entries are met (`letting_in.known_people`).
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.campaign import Campaign
from journey.clock import to_us
from journey.entry import CANDIDATES, INSTANT, candidates
from journey.words import EntryKind, EntryOutcome
from pipelines.letting_in import Entered, Then, known_people, let_in, refuse
from resources.contacts import BASE, DELTA
from resources.home import Home
from resources.ledger import Lease
from resources.tables import event_cursor as cursors
from resources.tables import lake_file
from resources.tables import waiting_entry as waiting
from resources.takeover import rewrite

_ROWS = {
    "id": pl.Int64(),
    "campaign": pl.String(),
    "place": pl.Int64(),
    "kind": pl.String(),
    "occurrence": pl.String(),
    "contact_id": pl.String(),
    "event_id": pl.String(),
    "request_uuid": pl.String(),
    "key": pl.String(),
    "key_name": pl.String(),
    "attributes": pl.String(),
    "since": INSTANT,
    "until": pl.Int64(),
}
_SQL = """
SELECT id, campaign, entry, kind, occurrence, contact_id, event_id, request_uuid, "key", key_name, attributes, since,
  until
FROM waiting_entry WHERE campaign = ? ORDER BY since, id
"""


def enter_waiting(
    home: Home, lease: Lease, running: Mapping[str, Campaign], now: datetime, result: Entered
) -> None:  # fmt: skip
    """Let in those whose contact has come (into `running` campaigns), refuse those whose day is over. One small query
    where nobody waits; contacts are read only where some came since, or somebody's time is over."""
    at = to_us(now)
    with home.ledger.read() as tx:
        rows = tx.execute(
            sa.select(waiting.c.campaign, sa.func.min(waiting.c.until).label("until")).group_by(waiting.c.campaign)
        ).all()
        if not rows:
            return
        newest = int(
            tx.execute(sa.select(sa.func.max(lake_file.c.id)).where(lake_file.c.name.in_([BASE, DELTA]))).scalar() or 0
        )
        seen = {row.name: int(row.file_id) for row in tx.execute(sa.select(cursors))}
    for row in rows:
        campaign = running.get(row.campaign)
        came = campaign is not None and newest > seen.get(_cursor(row.campaign), 0)
        if not came and row.until > at:
            continue
        if home.troubles.rests(row.campaign):
            continue
        with home.troubles.contained(lease, row.campaign, "letting in whose contact has come", now):
            _look_at(home, lease, row.campaign, campaign, now, result)
            if came:
                _seen(home, lease, row.campaign, newest)


def _look_at(home: Home, lease: Lease, name: str, campaign: Campaign | None, now: datetime, result: Entered) -> None:
    entries = _waiting(home, name)
    people = known_people(home, entries)
    _theirs(home, lease, entries["contact_id"], people["contact_id"])
    known = pl.col("outcome").is_null()
    over = (pl.col("until") < to_us(now)) | ((pl.col("until") == to_us(now)) & ~known)
    if campaign is not None:
        _let_in(home, lease, campaign, people.filter(known & ~over), now, result)
    _refuse(home, lease, name, people.filter(over), now, result)


def _theirs(home: Home, lease: Lease, asked: pl.Series, found: pl.Series) -> None:
    """What was said of a phone before its contact came is said of the contact: `exit_on` and goals look for it. (Where
    a stranger of that phone was a contact, taking over has done this.)"""
    new = pl.DataFrame({"old": asked, "new": found}).filter(pl.col("old") != pl.col("new")).unique()
    if new.is_empty():
        return
    files = rewrite(home.lake, dict(new.iter_rows()))
    if files:
        with home.ledger.write(lease) as tx:
            for _, file in files:
                home.lake.register(tx, file)
            home.lake.drop(tx, [number for number, _ in files])


def _cursor(campaign: str) -> str:
    return f"waiting:{campaign}"


def _waiting(home: Home, campaign: str) -> pl.DataFrame:
    """CANDIDATES, with `id`, `kind` and `until`, by when what brings them in happened."""
    rows = home.ledger.frame(_SQL, _ROWS, (campaign,))
    return candidates(rows).with_columns(rows["id"], rows["kind"], rows["until"])


def _let_in(home: Home, lease: Lease, campaign: Campaign, people: pl.DataFrame, now: datetime, result: Entered) -> None:
    there = {one.kind for one in campaign.entries}
    for (kind,), group in people.partition_by("kind", as_dict=True, maintain_order=True).items():
        rows, then = group.select(list(CANDIDATES)), _delete(group["id"])
        if kind in there:
            let_in(home, lease, campaign, EntryKind(str(kind)), rows, now, result, then)
        else:  # the entry was taken out of the file meanwhile
            why = f"the campaign has no {kind} entry any more"
            rows = rows.with_columns(outcome=pl.lit(EntryOutcome.refused.value), detail=pl.lit(why))
            refuse(home, lease, campaign.name, EntryKind(str(kind)), rows, now, result, then)


def _refuse(home: Home, lease: Lease, campaign: str, people: pl.DataFrame, now: datetime, result: Entered) -> None:
    for (kind,), group in people.partition_by("kind", as_dict=True, maintain_order=True).items():
        rows = group.select(list(CANDIDATES)).with_columns(
            outcome=pl.lit(EntryOutcome.unknown_contact.value), detail=pl.lit("no such contact came within 24 h")
        )
        refuse(home, lease, campaign, EntryKind(str(kind)), rows, now, result, _delete(group["id"]))


def _delete(ids: pl.Series) -> Then:
    """Nobody waits any more who has been dealt with."""

    def then(tx: sa.Connection, part: slice) -> None:
        listed = msgspec.json.encode(ids[part].to_list()).decode()
        tx.exec_driver_sql("DELETE FROM waiting_entry WHERE id IN (SELECT value FROM json_each(?))", (listed,))

    return then


def _seen(home: Home, lease: Lease, campaign: str, file_id: int) -> None:
    values = {"batch": 0, "file_id": file_id, "position": 0}
    with home.ledger.write(lease) as tx:
        row = insert(cursors).values(name=_cursor(campaign), **values)
        tx.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))
