"""The outbox: which messages may go out now, and what became of each.

What belongs here: the statements of the sending protocol. One `turn` is one commit: outcomes in, then claim and stamp
the next few. The stamp (`attempted`) is on disk before the POST, so that a crash leaves a message `unknown` and never
sends it twice. The claim looks at priority, due time, silent hours, campaign, sender, template and consent, so that
STOP and `stop` hold within a turn. The loop that posts is `pipelines.lane`; what Meta's codes ask for is
`journey.codes`.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from journey.codes import MARKETING_CAP, MARKETING_STOPPED, UNDELIVERABLE, Action
from journey.outcome import Outcome
from journey.pacing import faster, slowed_below, slower
from journey.words import Scope, SkipReason
from resources import coupons, hold, reached, spending, statuses
from resources.leaving import cancel_of_left
from resources.ledger import US, Lease, Ledger, mark_dirty, select_in
from resources.tables import campaign as campaigns
from resources.tables import sender as senders

INBOX = ""
"""The campaign of what people send by hand: nothing stops it but a stopped sender."""

RETRY_SECONDS = (2.0, 10.0, 40.0)
"""Waits (wall) before a message that met a fault of Meta's is tried again; after the last it fails with the code."""

WINDOW = timedelta(hours=24)
"""The customer service window: free text goes out so long after the person's last message to the sender."""

CAPPED = timedelta(hours=24)
"""So long Meta's own cap (131049) keeps other marketing from a person."""

TRANSACTIONAL, ANY_PRIORITY = 0, 99

PAIR_SECONDS = 4.0
PAIR_LONGEST = 256.0
"""131056: 4^n seconds for that person, as Meta asks; capped, because the message expires by itself."""


LANES = "send:"
"""What the leases of lanes begin with."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is stamped and must now be posted, or handed back."""

    id: int
    uid: int
    copy: int
    body_file: int
    body_row: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a claimed message; `outcome` None hands it back unposted."""

    id: int
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn gave. `pace` is the sender's in force; `stopped` why it may not send; `skipped` how many were."""

    claimed: tuple[Claimed, ...]
    pace: float
    stopped: str | None
    skipped: int


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
_HAND_BACK = (
    "UPDATE message SET state = 'planned', attempted_at = NULL, attempted_wall = NULL, lane = NULL, not_before = ?"
    " WHERE id = ? AND state = 'attempted'"
)
# Statuses may have come before the answer: what they said stays, an error of an earlier try does not.
_ACCEPT = """UPDATE message SET wamid = CASE WHEN contact_id LIKE 'forgotten:%' THEN wamid ELSE ? END,
  accepted_at = MIN(?, COALESCE(accepted_at, ?)),
  error_code = CASE WHEN failed_at IS NULL THEN NULL ELSE error_code END,
  error_title = CASE WHEN failed_at IS NULL THEN NULL ELSE error_title END,
  state = CASE WHEN state IN ('attempted', 'unknown') THEN 'accepted' ELSE state END WHERE id = ?"""
_FAIL = """UPDATE message SET state = 'failed', failed_at = ?, error_code = ?, error_title = ?
  WHERE id = ? AND state IN ('attempted', 'unknown')"""
_UNKNOWN = "UPDATE message SET state = 'unknown', error_code = ?, error_title = ? WHERE id = ? AND state = 'attempted'"
# `tries` counts faults, `pair_tries` 131056: being told to slow down, or a template on hold, uses up none of them.
_LATER = """UPDATE message SET state = 'planned', attempted_at = NULL, attempted_wall = NULL, lane = NULL,
  tries = tries + ?, pair_tries = pair_tries + ?,
  not_before = ?, error_code = ?, error_title = ? WHERE id = ? AND state = 'attempted'"""


def lane_name(sender: str, share: int, shares: int) -> str:
    """The lease of one lane: the share `share` of `shares` of a sender's messages."""
    return f"{LANES}{sender}:{share}/{shares}"


class Outbox:
    """The outbox of one sender's share. `ceiling` is the sender's configured pace, of which a lane has 1/shares."""

    def __init__(self, ledger: Ledger, lease: Lease, sender: str, share: int, shares: int, ceiling: float) -> None:
        self.ledger, self.lease, self.sender = ledger, lease, sender
        self.share, self.shares, self.ceiling = share, shares, ceiling
        self._lane = f"{lease.name}#{lease.token}"

    def turn(self, settled: Sequence[Settled], want: int, now: int, wall: int) -> Turn:
        """One commit: outcomes in, then claim and stamp at most `want`. `now` and `wall` in microseconds since 1970.

        LeaseLost: someone else sends for this share now; nothing was written and nothing may be posted.
        """
        with self.ledger.write(self.lease) as tx:
            settle(tx, self.sender, settled, now, wall)
            state = tx.execute(sa.select(senders).where(senders.c.name == self.sender)).one_or_none()
            pace = self.ceiling
            if state is not None and state.slowed_at is not None:
                pace = faster(state.pace, self.ceiling, (wall - state.slowed_at) / US)
            stopped = state.stopped_why if state is not None and state.stopped_at is not None else hold.held(tx)
            claimed: list[Claimed] = []
            skipped = 0
            if want > 0 and stopped is None:
                claimed, skipped = self._claim(tx, want, state, now, wall)
        return Turn(tuple(claimed), pace / self.shares, stopped, skipped)

    def _claim(
        self, tx: sa.Connection, want: int, sender: sa.Row[Any] | None, now: int, wall: int
    ) -> tuple[list[Claimed], int]:
        budgets, reach = self._budgets(tx, now), reached.reach_of(tx, sender, want, now)
        rows = self._candidates(tx, budgets, want, highest(sender), now, wall)
        if reach is not None:
            reach.look_at(rows)
        claimed, stamps = [], []
        skips: list[tuple[int, SkipReason, str | None]] = []
        answered = _being_answered(tx, rows)
        for row in rows:
            reason = _refusal(tx, row, self.sender, now)
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
            stamps.append((now, wall, self._lane, row.id))
            claimed.append(Claimed(row.id, row.uid, row.copy, row.body_file, row.body_row))
        if stamps:
            tx.exec_driver_sql(_STAMP, stamps)
            mark_dirty(tx, "message", [c.id for c in claimed])
        if skips:
            skip(tx, skips, now)
        if reach is not None:
            reach.write()
        return claimed, len(skips)

    def _budgets(self, tx: sa.Connection, now: int) -> dict[str, spending.Budget | None]:
        """The campaigns that may send, and the inbox, each with what it may cost (None: anything). One that has cost
        more is stopped; one whose messages on the way may take it there waits for what becomes of them."""
        running = sa.select(campaigns).where(campaigns.c.live, campaigns.c.stopped_at.is_(None))
        found: dict[str, spending.Budget | None] = {INBOX: None}
        for row in tx.execute(running).all():
            budget = spending.budget_of(tx, row)
            if budget is None or not spending.stop_overspent(tx, row, budget, now):
                found[row.name] = budget
        return found

    def _candidates(
        self, tx: sa.Connection, names: Collection[str], want: int, most: int, now: int, wall: int
    ) -> list[sa.Row[Any]]:
        """The next `want` of all campaigns in `names`, in the order of all: priority (up to `most`), due time, id."""
        rows: list[sa.Row[Any]] = []
        capped = now - CAPPED // timedelta(microseconds=1)
        for name in names:
            params = (capped, self.sender, name, most, now, wall, wall, now, self.shares, self.share, want)
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
    for scope in (row.contact_scope, row.phone_scope):
        if scope == Scope.file and not row.by_hand:
            return SkipReason.not_opted_in, "withdrawn by a contact file after the message was planned"
        if scope == Scope.all or (scope == Scope.marketing and row.category == "MARKETING"):
            return SkipReason.opted_out, f"opted out of {scope} after the message was planned"
    if row.unreachable and not row.by_hand:
        return SkipReason.invalid_phone, f"Meta said {UNDELIVERABLE} of this phone"
    if row.capped:
        return SkipReason.meta_marketing_cap, f"Meta said {MARKETING_CAP} of this person after the message was planned"
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


def settle(tx: sa.Connection, sender: str, settled: Sequence[Settled], now: int, wall: int) -> None:
    """Write what became of claimed messages, and what their codes ask for beyond them."""
    if not settled:
        return
    by: dict[Action | None, list[Settled]] = {}
    for one in settled:
        by.setdefault(one.outcome.action if one.outcome is not None else None, []).append(one)
    if Action.hold_campaign in by:  # what no campaign sent has none that could wait
        held = by.pop(Action.hold_campaign)
        by_hand = _of_inbox(tx, [one.id for one in held])
        for one in held:
            by.setdefault(Action.final if one.id in by_hand else Action.hold_campaign, []).append(one)
    back = [one.id for one in by.pop(None, [])]
    if back:
        tx.exec_driver_sql(_HAND_BACK, [(0, i) for i in back])
    woken: list[int] = []
    for action, group in by.items():
        outcomes = [(one.id, one.outcome) for one in group if one.outcome is not None]
        ids = [i for i, _ in outcomes]
        first = outcomes[0][1]
        if action is Action.accepted:
            spending.note_accepted(tx, ids)
            coupons.mark_sent(tx, ids)
            tx.exec_driver_sql(_ACCEPT, [(o.wamid, now, now, i) for i, o in outcomes])
            statuses.join_early(tx, [(i, o.wamid) for i, o in outcomes if o.wamid is not None], now)
            woken += ids
        elif action is Action.unknown:
            tx.exec_driver_sql(_UNKNOWN, [(o.code, o.title, i) for i, o in outcomes])
            woken += ids
        elif action is Action.not_sent:
            tx.exec_driver_sql(_HAND_BACK, [(wall + US, i) for i in ids])
        elif action is Action.slow_down:
            _slow_down(tx, sender, ids, now, wall)
            tx.exec_driver_sql(_LATER, [(0, 0, wall + US // 2, o.code, o.title, i) for i, o in outcomes])
        elif action in (Action.retry_soon, Action.pair_slow):
            woken += _try_again(tx, action, outcomes, now, wall)
        elif action in (Action.stop_sender, Action.hold_campaign, Action.hold_template, Action.media_unreachable):
            if action is Action.stop_sender:
                _stop_sender(tx, sender, first, now)
            elif action is Action.hold_campaign:
                _stop_campaigns(tx, ids, first, now)
            elif action is Action.hold_template:
                _hold_templates(tx, ids, "PAUSED", first.code, now)
            # A stopped sender, campaign or template keeps them from being claimed; media is tried again each minute.
            later = wall + (60 * US if action is Action.media_unreachable else 0)
            tx.exec_driver_sql(_LATER, [(0, 0, later, o.code, o.title, i) for i, o in outcomes])
            if action in (Action.hold_template, Action.media_unreachable):
                why = (
                    SkipReason.media_unreachable
                    if action is Action.media_unreachable
                    else SkipReason.template_not_approved
                )
                tx.exec_driver_sql(
                    "UPDATE message SET state = 'held', held_why = ? WHERE id = ? AND state = 'planned'",
                    [(why.value, i) for i in ids],
                )
        else:  # refused for good: this message, or its template, or its person
            _fail(tx, outcomes, now)
            if action is Action.stop_template:
                _hold_templates(tx, ids, "DISABLED", first.code, now)
            statuses.note_unreachable(tx, [i for i, o in outcomes if o.code == UNDELIVERABLE], UNDELIVERABLE, now)
            statuses.refuse_marketing(tx, [i for i, o in outcomes if o.code == MARKETING_STOPPED], now)
            woken += ids
    statuses.wake(tx, woken, now)
    mark_dirty(tx, "message", [one.id for one in settled])
    went = (Action.accepted, Action.unknown)
    stayed = [one.id for one in settled if one.outcome is None or one.outcome.action not in went]
    reached.give_back(tx, stayed)
    cancel_of_left(tx, stayed)


def _fail(tx: sa.Connection, outcomes: Sequence[tuple[int, Outcome]], now: int) -> None:
    """Refused outright. What was unknown before may have gone out all the same, and keeps its coupon code."""
    certain = select_in(tx, "SELECT id FROM message WHERE state = 'attempted' AND id IN :ids", [i for i, _ in outcomes])
    tx.exec_driver_sql(_FAIL, [(now, o.code, o.title, i) for i, o in outcomes])
    coupons.give_back(tx, [int(row.id) for row in certain])


def _try_again(
    tx: sa.Connection, action: Action, outcomes: Sequence[tuple[int, Outcome]], now: int, wall: int
) -> list[int]:
    """Refusals that may be tried again; gives the ids of those that have had their tries."""
    pair = action is Action.pair_slow
    counter = "pair_tries" if pair else "tries"
    found = select_in(tx, f"SELECT id, {counter} AS tries FROM message WHERE id IN :ids", [i for i, _ in outcomes])
    tries = {r.id: int(r.tries) for r in found}
    over: list[int] = []
    for i, outcome in outcomes:
        tried = tries.get(i, 0)
        if pair:
            wait = min(PAIR_LONGEST, PAIR_SECONDS**tried)
        elif tried < len(RETRY_SECONDS):
            wait = RETRY_SECONDS[tried]
        else:
            _fail(tx, [(i, outcome)], now)
            over.append(i)
            continue
        tx.exec_driver_sql(_LATER, (not pair, pair, wall + int(wait * US), outcome.code, outcome.title, i))
    return over


def _slow_down(tx: sa.Connection, sender: str, ids: Sequence[int], now: int, wall: int) -> None:
    """Halve the pace, once for all refusals of what was sent before the last slow-down."""
    stamped = select_in(tx, "SELECT max(attempted_wall) AS latest FROM message WHERE id IN :ids", ids)
    row = tx.execute(sa.select(senders).where(senders.c.name == sender)).one_or_none()
    if row is None or (row.slowed_at is not None and (stamped[0].latest or 0) <= row.slowed_at <= wall):
        return
    since = None if row.slowed_at is None else (wall - row.slowed_at) / US
    pace = row.ceiling if since is None else faster(row.pace, row.ceiling, since)
    below = slowed_below(row.slowed_below, pace, row.ceiling, since)
    values = {"pace": slower(pace), "slowed_at": wall, "slowed_below": below}
    tx.execute(senders.update().where(senders.c.name == sender).values(**values))


def _stop_sender(tx: sa.Connection, sender: str, outcome: Outcome, now: int) -> None:
    why = f"{outcome.code} {outcome.title}: {outcome.details or ''}".strip().rstrip(":")
    tx.execute(
        senders.update()
        .where(senders.c.name == sender, senders.c.stopped_at.is_(None))
        .values(stopped_at=now, stopped_code=outcome.code, stopped_why=why)
    )


def _stop_campaigns(tx: sa.Connection, ids: Sequence[int], outcome: Outcome, now: int) -> None:
    names = {str(r.campaign) for r in select_in(tx, "SELECT DISTINCT campaign FROM message WHERE id IN :ids", ids)}
    why = f"{outcome.code} {outcome.title}"
    tx.execute(
        campaigns.update()
        .where(campaigns.c.name.in_(names), campaigns.c.stopped_at.is_(None))
        .values(stopped_at=now, stopped_why=why)
    )


def _of_inbox(tx: sa.Connection, ids: Sequence[int]) -> set[int]:
    return {int(r.id) for r in select_in(tx, f"SELECT id FROM message WHERE campaign = '{INBOX}' AND id IN :ids", ids)}


def _hold_templates(tx: sa.Connection, ids: Sequence[int], status: str, code: int | None, now: int) -> None:
    for row in select_in(tx, "SELECT DISTINCT template, language FROM message WHERE id IN :ids", ids):
        tx.exec_driver_sql(
            "INSERT INTO template_hold (name, language, status, code, changed_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (name, language) DO UPDATE SET status = excluded.status, code = excluded.code",
            (row.template, row.language, status, code, now),
        )


def recover(ledger: Ledger, wall: int, now: int, lease: Lease | None = None) -> int:
    """Stamped messages of lanes that are gone become unknown: nobody can say whether they left. Gives how many."""
    with ledger.write(lease) as tx:
        rows = tx.exec_driver_sql(
            "UPDATE message SET state = 'unknown', error_title = 'the sender stopped before the answer' WHERE id IN ("
            " SELECT m.id FROM message m LEFT JOIN lease l ON l.name || '#' || l.token = m.lane AND l.until > ?"
            " WHERE m.state IN ('attempted', 'unknown') AND m.state = 'attempted' AND l.name IS NULL) RETURNING id",
            (wall,),
        ).all()
        ids = [int(row.id) for row in rows]
        statuses.wake(tx, ids, now)
        mark_dirty(tx, "message", ids)
    return len(ids)


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


def send_again(tx: sa.Connection, ids: Sequence[int], now: int) -> None:
    """Plan a copy of messages whose outcome stayed unknown (`when_unknown: resend`), with an id of its own."""
    columns = (
        "participant_id, campaign, version, step, visit, contact_id, phone, sender, share, kind, template, language,"
        " category, priority, body_file, body_row, author, quiet_at, window_until, coupon_id, market, price, currency,"
        " price_source"
    )
    for row in select_in(tx, "SELECT id, uid, copy FROM message WHERE id IN :ids", ids):
        copy = int(row.copy) + 1
        tx.exec_driver_sql(
            f"INSERT INTO message (uid, copy, state, due_at, planned_at, expires_at, {columns})"
            f" SELECT ?, ?, 'planned', ?, ?, ? + expires_at - planned_at, {columns} FROM message WHERE id = ?"
            " ON CONFLICT DO NOTHING",
            (message_uid(str(row.uid), str(copy)), copy, now, now, now, row.id),
        )
    made = select_in(
        tx,
        "SELECT n.id FROM message m JOIN message n ON n.participant_id = m.participant_id AND n.step = m.step"
        " AND n.visit = m.visit AND n.copy = m.copy + 1 WHERE m.id IN :ids",
        ids,
    )
    copies = [int(row.id) for row in made]
    if copies:
        statuses.join_by_uid(tx, min(copies), max(copies), now)
    mark_dirty(tx, "message", copies)


def message_uid(*parts: str) -> int:
    """63 bits that say what a message is, the same on every ledger."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
