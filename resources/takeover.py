"""A contact with an id of its own takes over the `whatsapp:…` contact of its phone, with its history.

What belongs here: writing the new id wherever the old one stands, in the ledger and in the lake. That it happens at all
is decided in `journey.contact_merge`.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from journey.words import LeaveReason
from resources.consents import contact_subject
from resources.lake import Lake, LakeFile, parquet_schema
from resources.leaving import leave
from resources.ledger import mark_dirty
from resources.tables import click, consent_history, coupon, goal, message, participant, reply, skip, suppression

#: Tables of the lake whose rows say which contact they are about
RENAMED = ("events", "entries", "participant_steps")
MOST = 2_000
"""Takeovers in one transaction: each touches several rows."""


def rewrite(lake: Lake, takeovers: Mapping[str, str]) -> list[tuple[int, LakeFile]]:
    """Writes every lake file that names an old id again, with the new one: (id of the file replaced, the new file).
    They count once `rename` has run."""
    old = pl.Series("old", list(takeovers), pl.String)
    written: list[tuple[int, LakeFile]] = []
    for name in RENAMED:
        for row in lake.rows(name):
            path = lake.root / str(row.path)
            if not _names(path, old):
                continue
            frame = pl.read_parquet(path, glob=False).with_columns(pl.col("contact_id").replace(dict(takeovers)))
            made = lake.put(name, frame)
            low, high = (None if one is None else int(str(one)) for one in (row.min_at, row.max_at))
            written.append((int(str(row.id)), LakeFile(name, made.path, made.rows, made.bytes, low, high)))
    return written


def rename(
    tx: sa.Connection, lake: Lake, takeovers: Mapping[str, str], files: list[tuple[int, LakeFile]], now: datetime
) -> None:
    """Gives everything of the old ids to the new ones, in the caller's transaction."""
    for _, file in files:
        lake.register(tx, file)
    lake.drop(tx, [number for number, _ in files])
    for old, new in takeovers.items():
        _leave_twice(tx, old, new, now)
        _enter_apart(tx, old, new)
        _coupons(tx, old, new)
        for table in (participant, message, skip, reply, consent_history, goal, click):
            ids = list(tx.execute(sa.select(table.c.id).where(table.c.contact_id == old)).scalars())
            if ids:
                tx.execute(table.update().where(table.c.contact_id == old).values(contact_id=new))
                mark_dirty(tx, table.name, ids)
        _suppression(tx, old, new)


def _names(path: Path, old: pl.Series) -> bool:
    if "contact_id" not in parquet_schema(path):
        return False
    some = pl.scan_parquet(path, glob=False).select(pl.col("contact_id").is_in(old.implode()).any())
    return bool(some.collect(engine="streaming").item())


def _leave_twice(tx: sa.Connection, old: str, new: str, now: datetime) -> None:
    """A person is in a campaign once at a time: where both ids are, the stranger's passage ends."""
    mine, theirs = participant.alias(), participant.alias()
    both = (
        sa.select(theirs.c.id)
        .join(mine, (mine.c.campaign == theirs.c.campaign) & (mine.c.key == theirs.c.key))
        .where(theirs.c.contact_id == old, mine.c.contact_id == new)
        .where(theirs.c.left_at.is_(None), mine.c.left_at.is_(None))
    )
    ids = list(tx.execute(both).scalars())
    leave(tx, ids, LeaveReason.dropped_by_hand, to_us(now))


def _enter_apart(tx: sa.Connection, old: str, new: str) -> None:
    """Two passages of one person that began at one moment (one occurrence let both ids in) differ by a microsecond."""
    mine, theirs = participant.alias(), participant.alias()
    same = (mine.c.campaign == theirs.c.campaign) & (mine.c.key == theirs.c.key)
    both = (
        sa.select(theirs.c.id)
        .join(mine, same & (mine.c.entered_at == theirs.c.entered_at))
        .where(theirs.c.contact_id == old, mine.c.contact_id == new)
    )
    while ids := list(tx.execute(both).scalars()):
        later = participant.c.entered_at + 1
        tx.execute(participant.update().where(participant.c.id.in_(ids)).values(entered_at=later))


def _coupons(tx: sa.Connection, old: str, new: str) -> None:
    """Codes, found by the messages that have them: a pool may hold a million, and nobody else looks for a holder."""
    theirs = sa.select(message.c.coupon_id).where(message.c.contact_id == old, message.c.coupon_id.is_not(None))
    ids = list(tx.execute(sa.select(coupon.c.id).where(coupon.c.id.in_(theirs), coupon.c.contact_id == old)).scalars())
    if ids:
        tx.execute(coupon.update().where(coupon.c.id.in_(ids)).values(contact_id=new))
        mark_dirty(tx, "coupon", ids)


def _suppression(tx: sa.Connection, old: str, new: str) -> None:
    row = tx.execute(sa.select(suppression).where(suppression.c.subject == contact_subject(old))).one_or_none()
    if row is None:
        return
    values = {"scope": row.scope, "cause": row.cause, "changed_at": row.changed_at}
    statement = insert(suppression).values(subject=contact_subject(new), **values)
    rank = {"file": 1, "marketing": 2, "all": 3}
    weaker = sa.case(rank, value=suppression.c.scope, else_=0) < rank[row.scope]
    tx.execute(statement.on_conflict_do_update(index_elements=["subject"], set_=values, where=weaker))
    tx.execute(suppression.delete().where(suppression.c.subject == contact_subject(old)))
