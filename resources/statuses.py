"""Meta's statuses folded into messages, in any order and any number of times.

What belongs here: the update-if-null statements and who is woken by them. Parsing is `journey.webhook`; matching a
status to its message is here too, because it is a look into the ledger.

A delivered or read beats failed; the time of a status is Meta's, but never before the message's attempt nor after the
moment it was taken in. What comes before its message's wamid is known waits in `early_status`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from journey.codes import MARKETING_STOPPED, UNDELIVERABLE
from journey.words import Status
from resources import coupons, spending
from resources.ledger import mark_dirty, select_in
from resources.tables import early_status

REFUSED_MARKETING = "refused_131050"
"""The cause of an opt-out that is in force and not with the contact yet."""


@dataclass(frozen=True, slots=True)
class Folded:
    """One status of one of our messages. Times in microseconds since 1970 UTC."""

    message_id: int
    wamid: str
    status: str
    status_at: int
    error_code: int | None
    error_title: str | None


# Parameters of each: at, wamid, code, title, id. A row that is not there, or has the status already, changes nothing.
_AT = "MAX(:at, COALESCE(attempted_at, :at))"
# Accepted no later than any status says: the same whichever of them, or the answer, comes first.
_KNOWN = f"""accepted_at = MIN({_AT}, COALESCE(accepted_at, {_AT})), attempted_at = COALESCE(attempted_at, :at),
    wamid = COALESCE(wamid, :wamid), held_why = NULL"""
_FOLD = {
    Status.sent: f"""UPDATE message SET sent_at = {_AT}, {_KNOWN},
        error_code = CASE WHEN failed_at IS NULL THEN NULL ELSE error_code END,
        error_title = CASE WHEN failed_at IS NULL THEN NULL ELSE error_title END, state = CASE
        WHEN read_at IS NOT NULL THEN 'read' WHEN delivered_at IS NOT NULL THEN 'delivered'
        WHEN failed_at IS NOT NULL THEN 'failed' ELSE 'sent' END
        WHERE id = :id AND sent_at IS NULL""",
    Status.delivered: f"""UPDATE message SET delivered_at = {_AT}, {_KNOWN}, error_code = NULL, error_title = NULL,
        state = CASE WHEN read_at IS NOT NULL THEN 'read' ELSE 'delivered' END
        WHERE id = :id AND delivered_at IS NULL""",
    Status.read: f"""UPDATE message SET read_at = {_AT}, {_KNOWN}, error_code = NULL, error_title = NULL, state = 'read'
        WHERE id = :id AND read_at IS NULL""",
    Status.failed: f"""UPDATE message SET failed_at = {_AT}, {_KNOWN},
        error_code = CASE WHEN COALESCE(read_at, delivered_at) IS NULL THEN :code ELSE error_code END,
        error_title = CASE WHEN COALESCE(read_at, delivered_at) IS NULL THEN :title ELSE error_title END,
        state = CASE WHEN read_at IS NOT NULL THEN 'read' WHEN delivered_at IS NOT NULL THEN 'delivered'
        ELSE 'failed' END
        WHERE id = :id AND failed_at IS NULL""",
}


def fold(tx: sa.Connection, statuses: Sequence[Folded], now: int) -> None:
    """Fold statuses of our own messages and wake whom they may move. One transaction's worth (at most `BULK`)."""
    if not statuses:
        return
    ids = sorted({s.message_id for s in statuses})
    unsettled = select_in(tx, "SELECT id FROM message WHERE accepted_at IS NULL AND id IN :ids", ids)
    new = {int(row.id) for row in unsettled}
    accepted = sorted(new & {s.message_id for s in statuses if s.status in _FOLD})  # whatever it says: Meta has it
    spending.note_accepted(tx, accepted)
    coupons.mark_sent(tx, accepted)
    for status, statement in _FOLD.items():
        rows = [
            {
                "at": min(s.status_at, now),
                "wamid": s.wamid,
                "code": s.error_code,
                "title": s.error_title,
                "id": s.message_id,
            }
            for s in statuses
            if s.status == status
        ]
        if rows:
            tx.execute(sa.text(statement), rows)
    moved = {s.message_id for s in statuses if s.status in (Status.read, Status.failed)}
    wake(tx, sorted(moved | {int(row.id) for row in unsettled}), now)
    gone = [s.message_id for s in statuses if s.status == Status.failed and s.error_code == UNDELIVERABLE]
    note_unreachable(tx, gone, UNDELIVERABLE, now)
    mark_dirty(tx, "message", ids)


def wake(tx: sa.Connection, message_ids: Sequence[int], now: int) -> None:
    """Have the participants who wait with these messages looked at now."""
    woken = select_in(
        tx,
        "UPDATE participant SET wake_at = :now WHERE left_at IS NULL AND state = 'waiting'"
        " AND id IN (SELECT participant_id FROM message WHERE id IN :ids) RETURNING id",
        message_ids,
        now=now,
    )
    mark_dirty(tx, "participant", [int(row.id) for row in woken])


def note_unreachable(tx: sa.Connection, message_ids: Sequence[int], code: int, now: int) -> None:
    """Remember the phones of messages that Meta said cannot be reached."""
    if message_ids:
        tx.execute(
            sa.text(
                "INSERT INTO unreachable (phone, code, seen_at) SELECT phone, :code, :now FROM message WHERE id = :id"
                " ON CONFLICT (phone) DO NOTHING"
            ),
            [{"code": code, "now": now, "id": message_id} for message_id in message_ids],
        )


def refuse_marketing(tx: sa.Connection, message_ids: Sequence[int], now: int) -> None:
    """131050: no marketing to these people from now on. `deliveries` writes it to the contacts at the next pass."""
    for row in select_in(tx, "SELECT contact_id, phone FROM message WHERE id IN :ids", message_ids):
        for subject in (f"contact:{row.contact_id}", f"phone:{row.phone}"):
            tx.exec_driver_sql(
                "INSERT INTO suppression (subject, scope, cause, changed_at) VALUES (?, 'marketing', ?, ?)"
                " ON CONFLICT (subject) DO UPDATE SET scope = 'marketing', cause = excluded.cause,"
                " changed_at = excluded.changed_at WHERE suppression.scope = 'file'",
                (subject, REFUSED_MARKETING, now),
            )


def keep_early(tx: sa.Connection, rows: Sequence[dict[str, object]]) -> None:
    """Keep statuses whose wamid no message bears yet (columns of `early_status`)."""
    if rows:
        tx.execute(
            sa.text(
                "INSERT INTO early_status (wamid, status, status_at, received_at, error_code, error_title, uid) VALUES"
                " (:wamid, :status, :status_at, :received_at, :error_code, :error_title, :uid) ON CONFLICT DO NOTHING"
            ),
            list(rows),
        )


def join_early(tx: sa.Connection, accepted: Sequence[tuple[int, str]], now: int) -> None:
    """Fold the early statuses of messages whose wamid has just become known: (message id, wamid) each."""
    ids = {wamid: message_id for message_id, wamid in accepted}
    if not ids:
        return
    found = tx.execute(sa.select(early_status).where(early_status.c.wamid.in_(ids))).all()
    _join(tx, [(ids[row.wamid], row) for row in found], now)


def join_by_uid(tx: sa.Connection, first: int, last: int, now: int) -> None:
    """Fold the early statuses that name a message among those with the ids `first` to `last`, planned just now: it went
    out before the ledger was restored."""
    if tx.execute(sa.select(early_status.c.uid).where(early_status.c.uid.is_not(None)).limit(1)).first() is None:
        return
    found = tx.exec_driver_sql(
        "SELECT m.id, e.* FROM message m JOIN early_status e ON e.uid = m.uid WHERE m.id BETWEEN ? AND ?"
        " ORDER BY m.id, e.status_at",
        (first, last),
    ).all()
    _join(tx, [(int(row.id), row) for row in found], now)


def _join(tx: sa.Connection, found: Sequence[tuple[int, Any]], now: int) -> None:
    """Fold what was kept of these messages (id, row of `early_status`), and forget it."""
    if not found:
        return
    fold(
        tx,
        [Folded(i, r.wamid, r.status, r.status_at, r.error_code, r.error_title) for i, r in found],
        now,
    )
    refused = [i for i, r in found if r.status == Status.failed and r.error_code == MARKETING_STOPPED]
    refuse_marketing(tx, refused, now)
    tx.execute(early_status.delete().where(early_status.c.wamid.in_({r.wamid for _, r in found})))


def sweep_early(tx: sa.Connection, before: int) -> None:
    """Forget statuses of messages that never became ours (a number shared with another system), taken in before."""
    tx.execute(early_status.delete().where(early_status.c.received_at < before))
