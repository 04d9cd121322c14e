"""Coupon codes: which there are, and who gets which.

What belongs here: the claim of codes for messages that are being planned, what becomes of a code when its message
leaves or does not, and the tag of those who got one. Taking pools in is `coupon_intake`.

A code belongs to one message ever. It is `free` until a message is planned with it, `claimed` by that message from then
on, and `sent` once Meta has accepted it. It is free again only where it certainly never left: the message was skipped,
cancelled, or refused outright. Codes go out in one order, soonest expiry first, then as they came in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.words import SkipReason
from resources.contacts import Contacts
from resources.ledger import BULK, Lease, mark_dirty, select_in

# Two looks, each in the order of an index: codes that end, soonest first, then those that do not.
_ENDING = """SELECT id, code, expires_at FROM coupon WHERE pool = ? AND state = 'free' AND expires_at > ?
  ORDER BY expires_at, id LIMIT ?"""
_ENDLESS = """SELECT id, code, expires_at FROM coupon WHERE pool = ? AND state = 'free' AND expires_at IS NULL
  ORDER BY id LIMIT ?"""
_CLAIM = """UPDATE coupon SET state = 'claimed', message_id = ?, contact_id = ?, claimed_at = ?, tag = ?
  WHERE id = ? AND state = 'free'"""


@dataclass(frozen=True, slots=True)
class Left:
    """What a pool has: codes that may be given out at a moment, free ones that have expired, and all it ever had."""

    free: int
    expired: int
    total: int

    @property
    def reason(self) -> SkipReason:
        """Why nobody gets a code any more."""
        return SkipReason.coupons_expired if self.expired else SkipReason.coupons_exhausted


def left(tx: sa.Connection, pool: str, now: int) -> Left:
    """What a pool has at a moment (microseconds)."""
    row = tx.exec_driver_sql(
        "SELECT COALESCE(sum(state = 'free' AND (expires_at IS NULL OR expires_at > ?)), 0),"
        " COALESCE(sum(state = 'free' AND expires_at <= ?), 0), count(*) FROM coupon WHERE pool = ?",
        (now, now, pool),
    ).one()
    return Left(*(int(one) for one in row))


def has_expired(tx: sa.Connection, pool: str, now: int) -> bool:
    """Whether a pool has free codes that can no longer be given out."""
    query = "SELECT 1 FROM coupon WHERE pool = ? AND state = 'free' AND expires_at <= ? LIMIT 1"
    return tx.exec_driver_sql(query, (pool, now)).one_or_none() is not None


def free_codes(tx: sa.Connection, pool: str, wanted: int, now: int) -> list[tuple[int, str]]:
    """The next `wanted` codes of a pool (fewer where it has no more), in the order in which they go out: (id, code).
    They are nobody's until `claim`."""
    rows = [*tx.exec_driver_sql(_ENDING, (pool, now, wanted)).all()]
    if len(rows) < wanted:
        rows += tx.exec_driver_sql(_ENDLESS, (pool, wanted - len(rows))).all()
    return [(int(row.id), str(row.code)) for row in rows]


class ClaimLost(Exception):
    """A code that was free has been claimed meanwhile; nothing may be written with it."""


def claim(tx: sa.Connection, claims: Sequence[tuple[int, int, str]], tag: str | None, now: int) -> None:
    """Give codes to messages that are written in this transaction: (coupon id, message id, contact id) each.

    ClaimLost: one of them is no longer free; the transaction must not be committed.
    """
    if not claims:
        return
    done = tx.exec_driver_sql(_CLAIM, [(message, contact, now, tag, coupon) for coupon, message, contact in claims])
    if done.rowcount != len(claims):
        raise ClaimLost
    mark_dirty(tx, "coupon", [coupon for coupon, _, _ in claims])


def give_back(tx: sa.Connection, message_ids: Iterable[int]) -> None:
    """Free the codes of messages that certainly never left: skipped, cancelled, or refused outright."""
    ids = list(message_ids)
    freed = _change(
        tx,
        "UPDATE coupon SET state = 'free', message_id = NULL, contact_id = NULL, claimed_at = NULL, tag = NULL"
        " WHERE state = 'claimed' AND message_id IN :ids AND id IN"
        " (SELECT coupon_id FROM message WHERE id IN :ids AND coupon_id IS NOT NULL) RETURNING id",
        ids,
    )
    if freed:  # what comes of such a message later is no longer the code's
        gone = select_in(tx, "SELECT id, coupon_id FROM message WHERE id IN :ids AND coupon_id IS NOT NULL", ids)
        tx.exec_driver_sql(
            "UPDATE message SET coupon_id = NULL WHERE id = ?", [(row.id,) for row in gone if row.coupon_id in freed]
        )


def mark_sent(tx: sa.Connection, message_ids: Iterable[int]) -> None:
    """Meta has accepted these messages: their codes are out, and whoever got one is given the tag by the next pass."""
    _change(
        tx,
        "UPDATE coupon SET state = 'sent' WHERE state = 'claimed' AND id IN"
        " (SELECT coupon_id FROM message WHERE id IN :ids AND coupon_id IS NOT NULL) RETURNING id",
        list(message_ids),
    )


def _change(tx: sa.Connection, statement: str, ids: list[int]) -> set[int]:
    changed = {int(row.id) for row in select_in(tx, statement, ids)} if ids else set()
    mark_dirty(tx, "coupon", changed)
    return changed


# -- tags --------------------------------------------------------------------------------------------------------------


def write_tags(contacts: Contacts, lease: Lease | None) -> int:
    """Give their tag to the contacts whose code Meta has accepted. Gives how many codes that were."""
    query = "SELECT id, contact_id, tag FROM coupon WHERE state = 'sent' AND tag IS NOT NULL ORDER BY id LIMIT ?"
    done = 0
    while True:
        with contacts.ledger.read() as tx:
            rows = tx.exec_driver_sql(query, (BULK,)).all()
        if not rows:
            return done
        delta = contacts.put(_tagged(contacts, rows), contacts.types())
        with contacts.ledger.write(lease) as tx:
            if delta is not None:
                contacts.lake.register(tx, delta)
            tx.exec_driver_sql("UPDATE coupon SET tag = NULL WHERE id = ?", [(row.id,) for row in rows])
        done += len(rows)


def _tagged(contacts: Contacts, rows: Sequence[sa.Row[Any]]) -> pl.DataFrame:
    """The contacts as they are with their new tags. A tag that is set is no longer a file's: later than any file."""
    new = (
        pl.DataFrame([(row.contact_id, row.tag) for row in rows], schema=["contact_id", "tag"], orient="row")
        .group_by("contact_id")
        .agg(new=pl.col("tag").unique())
    )
    known = contacts.find(ids=new.get_column("contact_id")).join(new, on="contact_id", how="inner")
    return known.with_columns(
        tags=pl.col("tags").fill_null([]).list.set_union("new").list.unique().list.sort(),
        file_tags=pl.col("file_tags").fill_null([]).list.set_difference("new").list.sort(),
    ).drop("new")
