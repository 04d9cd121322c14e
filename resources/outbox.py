"""The outbox: what became of each message that was to go out, and what follows from it.

What belongs here: the statements of the sending protocol. One `turn` is one commit: outcomes in, then claim and stamp
the next few (`resources.claim`). The stamp (`attempted`) is on disk before the POST, so that a crash leaves a message
`unknown` and never sends it twice. The loop that posts is `pipelines.lane`; what Meta's codes ask for is
`journey.codes`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from journey.codes import MARKETING_STOPPED, SEE_DETAILS, UNDELIVERABLE, Action, explain
from journey.outcome import Outcome
from journey.pacing import faster, slowed_below, slower
from journey.words import SkipReason
from resources import coupons, hold, reached, spending, statuses
from resources.claim import INBOX, Claimed, Share, claim
from resources.lease_names import LANES
from resources.leaving import cancel_of_left
from resources.ledger import US, Lease, Ledger, mark_dirty, select_in
from resources.mark import raise_mark
from resources.tables import campaign as campaigns
from resources.tables import sender as senders
from resources.taken_over import note_lost

RETRY_SECONDS = (2.0, 10.0, 40.0)
"""Waits (wall) before a message that met a fault of Meta's is tried again; after the last it fails with the code."""

LONGEST_WAIT = 300.0
"""No answer keeps a message back for longer (wall), whatever it asks for: the next one may ask again."""

PAIR_SECONDS = (6.0, 6.0, 16.0, 64.0, 256.0)
"""131056: waits (wall) for that person. Meta asks for 4^n seconds, and takes one message in six from the same number: a
try that comes sooner is refused for certain. The last holds for all that follow, because the message expires by
itself."""

LONGEST_DETAILS = 300  # characters of Meta's words that are kept with a message


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a claimed message; `outcome` None hands it back unposted."""

    id: int
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn gave. `pace` is the lane's part of the sender's in force, `ceiling` the sender's as configured now;
    `stopped` why it may not send; `skipped` how many were; `mark` the number that is to be noted before anything that
    was claimed is posted (`resources.mark`)."""

    claimed: tuple[Claimed, ...]
    pace: float
    ceiling: float
    stopped: str | None
    skipped: int
    mark: int | None


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

_LOST = """UPDATE message SET state = 'unknown', error_title = 'the sender stopped before the answer' WHERE id IN (
  SELECT m.id FROM message m LEFT JOIN lease l ON l.name || '#' || l.token = m.lane AND l.until > ?
  WHERE m.state IN ('attempted', 'unknown') AND m.state = 'attempted' AND l.name IS NULL) RETURNING id, lane"""


def lane_name(sender: str, share: int, shares: int) -> str:
    """The lease of one lane: the share `share` of `shares` of a sender's messages."""
    return f"{LANES}{sender}:{share}/{shares}"


def cut_otherwise(name: str, sender: str, shares: int) -> bool:
    """Whether a lease is that of a lane of this sender of which there were another number: its share overlaps."""
    lane, _, number = name.rpartition("/")
    return lane.startswith(f"{LANES}{sender}:") and number != str(shares)


class Outbox:
    """The outbox of one sender's share. `ceiling` is the sender's configured pace, of which a lane has 1/shares; once
    the ledger knows the sender, what it says of it counts: the settings may change while a lane is at work."""

    def __init__(self, ledger: Ledger, lease: Lease, sender: str, share: int, shares: int, ceiling: float) -> None:
        self.ledger, self.lease, self.sender = ledger, lease, sender
        self.shares, self.ceiling = shares, ceiling
        self._mine = Share(sender, share, shares, f"{lease.name}#{lease.token}")

    def turn(self, settled: Sequence[Settled], want: int, now: int, wall: int) -> Turn:
        """One commit: outcomes in, then claim and stamp at most `want`. `now` and `wall` in microseconds since 1970.

        LeaseLost: someone else sends for this share now; nothing was written and nothing may be posted.
        """
        with self.ledger.write(self.lease) as tx:
            settle(tx, self.sender, settled, now, wall)
            state = tx.execute(sa.select(senders).where(senders.c.name == self.sender)).one_or_none()
            pace = ceiling = self.ceiling if state is None else float(state.ceiling)
            if state is not None and state.slowed_at is not None:
                pace = faster(state.pace, ceiling, (wall - state.slowed_at) / US)
            stopped = state.stopped_why if state is not None and state.stopped_at is not None else hold.held(tx)
            claimed: list[Claimed] = []
            skipped = 0
            if want > 0 and stopped is None:
                claimed, skipped = claim(tx, self._mine, state, want, now, wall)
            mark = raise_mark(tx) if claimed else None
        return Turn(tuple(claimed), pace / self.shares, ceiling, stopped, skipped, mark)


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
            tx.exec_driver_sql(_LATER, [(0, 0, wall + _wait(0.5, o), o.code, o.title, i) for i, o in outcomes])
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
            statuses.refuse_marketing(tx, {i: now for i, o in outcomes if o.code == MARKETING_STOPPED})
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
    tx.exec_driver_sql(_FAIL, [(now, o.code, _told(o), i) for i, o in outcomes])
    coupons.give_back(tx, [int(row.id) for row in certain])


def _try_again(
    tx: sa.Connection, action: Action, outcomes: Sequence[tuple[int, Outcome]], now: int, wall: int
) -> list[int]:
    """Refusals that may be tried again; gives the ids of those that have had their tries."""
    pair = action is Action.pair_slow
    counter = "pair_tries" if pair else "tries"
    found = select_in(tx, f"SELECT id, {counter} AS tries FROM message WHERE id IN :ids", [i for i, _ in outcomes])
    tries = {r.id: int(r.tries) for r in found}
    later: list[tuple[object, ...]] = []
    over: list[tuple[int, Outcome]] = []
    for i, outcome in outcomes:
        tried = tries.get(i, 0)
        if pair:
            wait = PAIR_SECONDS[min(tried, len(PAIR_SECONDS) - 1)]
        elif tried < len(RETRY_SECONDS):
            wait = RETRY_SECONDS[tried]
        else:
            over.append((i, outcome))
            continue
        later.append((not pair, pair, wall + _wait(wait, outcome), outcome.code, outcome.title, i))
    if later:
        tx.exec_driver_sql(_LATER, later)
    if over:
        _fail(tx, over, now)
    return [i for i, _ in over]


def _told(outcome: Outcome) -> str | None:
    """The title of a refusal, with Meta's own words where the code alone does not say what to mend."""
    if outcome.details and SEE_DETAILS in explain(outcome.code).sentence:
        return f"{outcome.title}: {outcome.details[:LONGEST_DETAILS]}"
    return outcome.title


def _wait(seconds: float, outcome: Outcome) -> int:
    """Microseconds until a message is tried again: ours, or what Meta's answer asks for where that is longer."""
    return int(max(seconds, min(outcome.wait or 0.0, LONGEST_WAIT)) * US)


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
    why = f"{outcome.code} {outcome.title}: {outcome.details or ''}".rstrip(": .")  # it stands within sentences
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
    templates = "SELECT DISTINCT template, language FROM message WHERE template IS NOT NULL"
    for row in select_in(tx, f"{templates} AND id IN :ids", ids):
        tx.exec_driver_sql(
            "INSERT INTO template_hold (name, language, status, code, changed_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (name, language) DO UPDATE SET status = excluded.status, code = excluded.code",
            (row.template, row.language, status, code, now),
        )


def recover(ledger: Ledger, wall: int, now: int, lease: Lease | None = None) -> int:
    """Stamped messages of lanes that are gone become unknown: nobody can say whether they left. Gives how many."""
    with ledger.write(lease) as tx:
        rows = tx.exec_driver_sql(_LOST, (wall,)).all()
        ids = [int(row.id) for row in rows]
        note_lost(tx, [(int(row.id), row.lane) for row in rows], wall)
        statuses.wake(tx, ids, now)
        mark_dirty(tx, "message", ids)
    return len(ids)


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
