"""Skips: messages that were planned and will not be sent.

What belongs here: writing that down, with its reason, and what follows for coupon codes and for who waits. Who is
skipped when a message is planned has a row of the same table by `pipelines.writing`.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from journey.words import SkipReason
from resources import coupons, statuses
from resources.ledger import mark_dirty, select_in


def skip(tx: sa.Connection, rows: Sequence[tuple[int, SkipReason, str | None]], now: int) -> None:
    """Planned messages that will not be sent: (message id, reason, detail). Their participants are looked at now.

    One that a lane has stamped meanwhile goes out and is no skip.
    """
    last = "SELECT COALESCE(max(id), 0) FROM skip"
    before = int(tx.exec_driver_sql(last).scalar_one())
    tx.exec_driver_sql(
        "INSERT INTO skip (participant_id, campaign, step, visit, contact_id, reason, detail, message_id, skipped_at)"
        " SELECT participant_id, campaign, step, visit, contact_id, ?, ?, id, ? FROM message WHERE id = ?"
        " AND state IN ('planned', 'held') ON CONFLICT DO NOTHING",
        [(reason.value, detail, now, message_id) for message_id, reason, detail in rows],
    )
    ids = [message_id for message_id, _, _ in rows]
    tx.exec_driver_sql(
        "UPDATE message SET state = 'skipped', held_why = NULL WHERE id = ? AND state IN ('planned', 'held')",
        [(message_id,) for message_id in ids],
    )
    skipped = select_in(tx, "SELECT id FROM message WHERE state = 'skipped' AND id IN :ids", ids)
    coupons.give_back(tx, [int(row.id) for row in skipped])
    mark_dirty(tx, "message", ids)
    mark_dirty(tx, "skip", range(before + 1, int(tx.exec_driver_sql(last).scalar_one()) + 1))
    statuses.wake(tx, ids, now)
