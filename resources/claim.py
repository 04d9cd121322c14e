"""The claim: which messages may go out now, in which order, and stamping them.

What belongs here: the statements that look at priority, due time, silent hours, campaign, sender, template, consent,
budget and Meta's limits, for the few messages that are next (`claim`), for as many as wait (`backlog`), and for what is
to be tried again (`retry_within`). A claim is part of a turn of `resources.outbox`, and of its transaction.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from journey.refusing import Why, first
from journey.words import Scope, SkipReason
from resources import hold, reached, spending
from resources.ledger import Ledger, mark_dirty, select_in
from resources.skipping import skip
from resources.tables import campaign as campaigns
from resources.tables import sender as senders

INBOX = ""
"""The campaign of what people send by hand: nothing stops it but a stopped sender."""

WINDOW = timedelta(hours=24)
"""The customer service window: free text goes out so long after the person's last message to the sender."""

CAPPED = timedelta(hours=24)
"""So long Meta's own cap (131049) keeps other marketing from a person."""

TRANSACTIONAL, ANY_PRIORITY = 0, 99


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is stamped and must now be posted, or handed back."""

    id: int
    uid: int
    copy: int
    body_file: int
    body_row: int


# No wait is longer than ten minutes (wall): one that ends later began before the clock was set back.
_MAY_NOW = "m.not_before NOT BETWEEN ? + 1 AND ? + 600000000"
_CANDIDATES = f"""
SELECT m.priority, m.due_at, m.id, m.uid, m.copy, m.category, m.body_file, m.body_row, m.expires_at, m.held_why,
       m.campaign, m.kind, m.contact_id, m.phone, m.price, m.currency, m.window_until,
       sc.scope AS contact_scope, sp.scope AS phone_scope,
       m.campaign = '' AND m.kind = 'text' AS by_hand, u.phone IS NOT NULL AS unreachable,
       m.category = 'MARKETING' AND EXISTS (SELECT 1 FROM message x
         WHERE x.error_code = 131049 AND x.contact_id = m.contact_id AND x.failed_at > ?) AS capped
FROM message m
LEFT JOIN template_hold h ON h.name = m.template AND h.language = m.language
LEFT JOIN suppression sc ON sc.subject = 'contact:' || m.contact_id
LEFT JOIN suppression sp ON sp.subject = 'phone:' || m.phone
LEFT JOIN unreachable u ON u.phone = m.phone
WHERE m.sender = ? AND m.campaign = ? AND m.state = 'planned' AND m.priority <= ? AND m.due_at <= ?
  AND {_MAY_NOW} AND (m.quiet_at IS NULL OR m.quiet_at > ?) AND h.name IS NULL AND m.share % ? = ?
ORDER BY m.priority, m.due_at, m.id
LIMIT ?
"""
_CLAIMABLE = """
FROM (SELECT name FROM campaign WHERE live AND stopped_at IS NULL UNION ALL SELECT '') c
CROSS JOIN message m ON m.campaign = c.name
LEFT JOIN template_hold h ON h.name = m.template AND h.language = m.language
WHERE m.sender = ? AND m.state = 'planned' AND m.priority <= ? AND m.due_at <= ?
  AND (m.quiet_at IS NULL OR m.quiet_at > ?) AND h.name IS NULL"""
_STAMP = """UPDATE message SET state = 'attempted', attempted_at = ?, attempted_wall = ?, lane = ?, held_why = NULL
  WHERE id = ?"""


@dataclass(frozen=True, slots=True)
class Share:
    """Whose messages are claimed: the share `share` of `shares` of a sender's, stamped with the name of their lane."""

    sender: str
    share: int
    shares: int
    lane: str


def claim(
    tx: sa.Connection, mine: Share, sender: sa.Row[Any] | None, want: int, now: int, wall: int
) -> tuple[list[Claimed], int]:
    """Claim and stamp at most `want` messages. Gives them, and how many were skipped on the way. `sender`: its row in
    the ledger; `now` and `wall` in microseconds since 1970."""
    budgets, reach = _budgets(tx, now), reached.reach_of(tx, sender, want, now)
    rows = _candidates(tx, mine, budgets, want, highest(sender), now, wall)
    if reach is not None:
        reach.look_at(rows)
    claimed, stamps = [], []
    skips: list[tuple[int, SkipReason, str | None]] = []
    answered = _being_answered(tx, rows)
    for row in rows:
        reason = _refusal(tx, row, mine.sender, now)
        if reason is not None:
            skips.append((row.id, *reason))
            continue
        if row.campaign == INBOX and row.contact_id in answered:
            continue
        budget = budgets[row.campaign]
        if budget is not None and budget.spent:
            continue
        if reach is not None and not reach.admits(row):
            continue
        if budget is not None:
            budget.take(row.price, row.currency)
        if row.campaign == INBOX:
            answered.add(row.contact_id)
        stamps.append((now, wall, mine.lane, row.id))
        claimed.append(Claimed(row.id, row.uid, row.copy, row.body_file, row.body_row))
    if stamps:
        tx.exec_driver_sql(_STAMP, stamps)
        mark_dirty(tx, "message", [c.id for c in claimed])
    if skips:
        skip(tx, skips, now)
    if reach is not None:
        reach.write()
    return claimed, len(skips)


def _budgets(tx: sa.Connection, now: int) -> dict[str, spending.Budget | None]:
    """The campaigns that may send, and the inbox, each with what it may cost (None: anything). One that has cost more
    is stopped; one whose messages on the way may take it there waits for what becomes of them, and stands in nobody's
    way."""
    running = sa.select(campaigns).where(campaigns.c.live, campaigns.c.stopped_at.is_(None))
    found: dict[str, spending.Budget | None] = {INBOX: None}
    for row in tx.execute(running).all():
        budget = spending.budget_of(tx, row)
        if budget is None or not (spending.stop_overspent(tx, row, budget, now) or budget.spent):
            found[row.name] = budget
    return found


def _candidates(
    tx: sa.Connection, mine: Share, names: Collection[str], want: int, most: int, now: int, wall: int
) -> list[sa.Row[Any]]:
    """The next `want` of all campaigns in `names`, in the order of all: priority (up to `most`), due time, id."""
    rows: list[sa.Row[Any]] = []
    capped = now - CAPPED // timedelta(microseconds=1)
    for name in names:
        params = (capped, mine.sender, name, most, now, wall, wall, now, mine.shares, mine.share, want)
        rows += tx.exec_driver_sql(_CANDIDATES, params).all()
    return sorted(rows, key=lambda row: (row.priority, row.due_at, row.id))[:want]


def _being_answered(tx: sa.Connection, rows: Sequence[sa.Row[Any]]) -> set[str]:
    """To whom an answer of the inbox is on its way: the next one waits, so that a conversation keeps its order."""
    if not any(row.campaign == INBOX for row in rows):
        return set()
    query = f"SELECT contact_id FROM message WHERE state = 'attempted' AND campaign = '{INBOX}'"
    return {str(one) for one in tx.exec_driver_sql(query).scalars()}


def highest(sender: sa.Row[Any] | None) -> int:
    """Up to which priority a sender's messages may go out now: while its bulk rests, what is transactional."""
    return TRANSACTIONAL if sender is not None and sender.paused_at is not None else ANY_PRIORITY


def _refusal(tx: sa.Connection, row: sa.Row[Any], sender: str, now: int) -> tuple[SkipReason, str | None] | None:
    """Why a message that is next may not go out after all."""
    scopes = {row.contact_scope, row.phone_scope}
    applying = {
        Why.stopped_all: Scope.all in scopes,
        Why.stopped_marketing: Scope.marketing in scopes,
        Why.not_opted_in: Scope.file in scopes,
        Why.unreachable: row.unreachable,
        Why.capped: row.capped,
    }
    met = [why for why, applies in applying.items() if applies]
    refusal = first(met, marketing=row.category == "MARKETING", by_hand=row.by_hand) if met else None
    if refusal is not None:
        return refusal.reason, refusal.since
    if row.window_until is not None and row.window_until <= now:
        width = WINDOW // timedelta(microseconds=1)  # it may have been opened again since
        if last_written(tx, [row.contact_id], sender).get(row.contact_id, 0) + width <= now:
            return SkipReason.outside_service_window, f"the 24 hours after the last message to {sender} are over"
    if int(row.expires_at) < now:
        return (SkipReason(row.held_why) if row.held_why in set(SkipReason) else SkipReason.too_late), "held too long"
    return None


def last_written(tx: sa.Connection, contact_ids: Sequence[str], sender: str) -> dict[str, int]:
    """When each of these contacts last wrote to a sender (microseconds); who never did is left out."""
    rows = select_in(
        tx,
        "SELECT contact_id, max(replied_at) AS wrote_at FROM reply WHERE contact_id IN :ids AND sender = :sender"
        " GROUP BY contact_id",
        contact_ids,
        sender=sender,
    )
    return {str(row.contact_id): int(row.wrote_at) for row in rows}


def backlog(ledger: Ledger, now: int, wall: int, names: Collection[str] | None = None) -> dict[str, int]:
    """How many messages could be claimed now, by sender (counted up to 100,000 each: more makes no difference).

    `names`: only these senders; those that are stopped are left out, and bulk that rests.
    """
    with ledger.read() as tx:
        if hold.held(tx) is not None:
            return {}
        running = tx.execute(sa.select(senders).where(senders.c.stopped_at.is_(None))).all()
        return {
            row.name: int(
                tx.exec_driver_sql(
                    f"SELECT count(*) FROM (SELECT 1 {_CLAIMABLE} AND {_MAY_NOW} LIMIT 100000)",
                    (row.name, highest(row), now, now, wall, wall),
                ).scalar_one()
            )
            for row in running
            if names is None or row.name in names
        }


def retry_within(ledger: Ledger, sender: str, share: int, shares: int, now: int, until: int) -> bool:
    """Whether a message of a share is to be tried (again) until `until` (wall)."""
    with ledger.read() as tx:
        most = highest(tx.execute(sa.select(senders).where(senders.c.name == sender)).one_or_none())
        row = tx.exec_driver_sql(
            f"SELECT 1 {_CLAIMABLE} AND m.share % ? = ? AND m.not_before <= ? LIMIT 1",
            (sender, most, now, now, shares, share, until),
        ).one_or_none()
        return row is not None and hold.held(tx) is None
