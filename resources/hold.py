"""After a restore: all sends are held, and what may have gone out meanwhile goes to nobody a second time by itself.

What belongs here: what the ledger remembers of a restore, the hold that every claim looks at, which messages are in
doubt, and what becomes of them when somebody lets the sends go. Putting the files back is `restore`.

A ledger that was restored knows nothing of what happened after its backup. Three things speak for what went out:

1. Statuses. Each names its message by a number that is the same on every ledger (`message.uid`), whatever the epoch.
   One whose message is not planned (yet) is kept with that number, and planning the message finds it.
2. The moment of the restore. What is planned or held and was due by then, and whatever catching up to that moment
   plans, may have gone out: it is held as in doubt (`restored`), and whoever lets the sends go says what becomes of it.
3. The time that was lost. Where a message in doubt was taken as sent, its passage may have gone on in that time; a
   message that it could have reached by then (`reach.soonest`) is taken as sent too. Where the landing zone was lost as
   well, that is so of everybody who was inside.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.campaign import Campaign
from journey.problems import LedgerError
from journey.reach import soonest
from journey.words import Held
from resources import statuses
from resources.containing import troubles
from resources.ledger import BUCKET, Lease, Ledger, chunks, mark_dirty, select_in
from resources.reached import miscounted
from resources.tables import meta

HOLD = "hold"
RESTORED = "restored"
WHY = "all sends are held since a restore; `estafette resume --all` lets them go"
TITLE = "may have gone out before a restore; taken as sent"
IN_DOUBT = Held.restored.value

_OPEN = "state IN ('planned', 'held') AND (held_why IS NULL OR held_why <> 'restored')"
_PLANNED_SINCE = f"SELECT id FROM message WHERE {_OPEN} AND planned_at >= ?"
_DUE_BY = f"UPDATE message SET state = 'held', held_why = 'restored' WHERE {_OPEN} AND (due_at <= :at OR :lost)"
# What was on its way, and whose statuses are lost: what a campaign makes of unknown messages is not for these.
_UNKNOWN = f"""UPDATE message SET state = 'unknown', held_why = 'restored', error_title = '{TITLE}'
  WHERE state IN ('attempted', 'unknown')"""
_WAKE = """UPDATE participant SET wake_at = ? WHERE left_at IS NULL AND state = 'waiting' AND id IN (
  SELECT participant_id FROM message WHERE state = 'unknown' AND held_why = 'restored')"""
_DIRTY = f"""INSERT INTO dirty (name, bucket) SELECT DISTINCT 'message', id / {BUCKET} FROM message
  WHERE held_why = 'restored' ON CONFLICT DO NOTHING"""
_INSIDE = "INSERT INTO doubt (participant_id, step) SELECT id, step FROM participant WHERE left_at IS NULL"
_HOLD = "UPDATE message SET state = 'held', held_why = 'restored' WHERE id = ? AND state IN ('planned', 'held')"
# No `attempted_wall`: no rule about unknown messages (`when_unknown`) sends these again.
_ASSUME = f"""UPDATE message SET state = 'unknown', held_why = 'restored', attempted_at = ?, error_title = '{TITLE}'
  WHERE id = ? AND state IN ('planned', 'held')"""
_DOUBT = """INSERT INTO doubt (participant_id, step) SELECT participant_id, step FROM message
  WHERE id = ? AND participant_id <> 0 ON CONFLICT DO NOTHING"""
_SEND = (
    "UPDATE message SET state = 'planned', held_why = NULL WHERE id = ? AND state = 'held' AND held_why = 'restored'"
)
# The time in which nothing could go out does not count; `not_after` bounds it all the same.
_GIVE_BACK = """UPDATE message SET expires_at = MIN(
  expires_at + MAX(0, :now - MAX(planned_at, :since)),
  COALESCE((SELECT p.not_after FROM participant p WHERE p.id = message.participant_id), 9223372036854775807))
WHERE state IN ('planned', 'held')"""
_LATE_COMERS = """SELECT m.id, m.step, '' AS stood FROM message m JOIN participant p ON p.id = m.participant_id
WHERE m.id BETWEEN :first AND :last AND m.state IN ('planned', 'held') AND p.id > :known AND p.since < :at"""
_WENT_ON = """SELECT m.id, m.step, d.step AS stood FROM message m JOIN doubt d ON d.participant_id = m.participant_id
WHERE m.id BETWEEN :first AND :last AND m.state IN ('planned', 'held')"""


@dataclass(frozen=True, slots=True)
class Restored:
    """The last restore. `at`: its moment, `since`: that of its backup (microseconds on the campaign's clock). `lost`:
    the landing zone was lost too. `known`: once everything until `at` has been taken in and planned, the last
    participant there was by then; None before."""

    at: int
    since: int
    lost: bool
    known: int | None = None


@dataclass(frozen=True, slots=True)
class LetGo:
    """What letting the sends go did: messages in doubt, and what became of them (`sent_again`: they go out); messages
    that went out and that this ledger does not know; how many wait to go out."""

    in_doubt: int
    sent_again: bool
    foreign: int
    waiting: int


def held(tx: sa.Connection) -> str | None:
    """Why nothing may be sent at all; None where it may."""
    return WHY if tx.execute(sa.select(meta.c.value).where(meta.c.name == HOLD)).first() is not None else None


def restored(tx: sa.Connection) -> Restored | None:
    """The last restore, if there ever was one."""
    value = tx.execute(sa.select(meta.c.value).where(meta.c.name == RESTORED)).scalar()
    return None if value is None else Restored(**json.loads(value))


def doubtful(tx: sa.Connection) -> int:
    """How many messages are held because they may have gone out before a restore."""
    query = "SELECT count(*) FROM message WHERE state = 'held' AND held_why = 'restored'"
    return int(tx.exec_driver_sql(query).scalar_one())


def begin(tx: sa.Connection, found: Restored, epoch: int) -> None:
    """Make a ledger that was put back, by `restore` or by hand (`mark`), begin anew: a new epoch, sends held, nobody
    acts, nobody is logged in."""
    for name, value in (("epoch", str(epoch)), (HOLD, "restore"), (RESTORED, json.dumps(asdict(found)))):
        _put(tx, name, value)
    tx.exec_driver_sql("UPDATE lease SET until = 0, token = token + 1000000")  # whoever acted before is fenced off
    tx.exec_driver_sql("DELETE FROM session")
    tx.exec_driver_sql("DELETE FROM doubt")
    miscounted(tx)
    tx.exec_driver_sql(_DUE_BY, {"at": found.at, "lost": found.lost})
    if found.lost:
        tx.exec_driver_sql(_UNKNOWN)
        tx.exec_driver_sql(_WAKE, (found.at,))
        tx.exec_driver_sql(_INSIDE)
    tx.exec_driver_sql(_DIRTY)


def catch_up(ledger: Ledger, lease: Lease, *, whole: bool) -> None:
    """Note that a turn has been made since the restore: what it planned may have gone out before. `whole`: every
    audience that was due was evaluated; where not, or where a campaign met an error, the next turn catches up too.
    Where nothing is to be noted, one small query."""
    with ledger.read() as tx:
        found = restored(tx)
        if found is None or found.known is not None:
            return
        ids = [int(row.id) for row in tx.exec_driver_sql(_PLANNED_SINCE, (found.at,))]
    for part in chunks(len(ids)):
        with ledger.write(lease) as tx:
            tx.exec_driver_sql(_HOLD, [(i,) for i in ids[part]])
            mark_dirty(tx, "message", ids[part])
    if not whole or troubles(ledger):
        return
    with ledger.write(lease) as tx:
        known = int(tx.exec_driver_sql("SELECT COALESCE(max(id), 0) FROM participant").scalar_one())
        _put(tx, RESTORED, json.dumps(asdict(replace(found, known=known))))


def recall(tx: sa.Connection, campaign: Campaign, first: int, last: int, now: int) -> None:
    """Look whether messages that have just been planned (ids `first` to `last`) went out before a restore: in the
    transaction that plans them. On a ledger that was never restored, two small queries."""
    if first > last:
        return
    statuses.join_by_uid(tx, first, last, now)
    found = restored(tx)
    if found is None or found.known is None:  # until it is caught up all that is planned is in doubt
        return
    params = {"first": first, "last": last, "known": found.known, "at": found.at}
    rows = [*tx.exec_driver_sql(_WENT_ON, params), *tx.exec_driver_sql(_LATE_COMERS, params)]
    if not rows:
        return
    lost = timedelta(microseconds=max(0, found.at - found.since))
    ahead = {stood: _within(campaign, stood, lost) for stood in {row.stood for row in rows}}
    ids = sorted({int(row.id) for row in rows if row.step in ahead[row.stood]})
    if held(tx) is not None:
        tx.exec_driver_sql(_HOLD, [(i,) for i in ids])
    else:
        _assume(tx, ids, now)


def let_go(ledger: Ledger, lease: Lease, now: int, *, send: bool) -> LetGo:
    """End the hold. What is in doubt is taken as sent, or (`send`) goes out after all. The hold ends with the last
    transaction. LedgerError: not everything was caught up with (`catch_up`)."""
    with ledger.read() as tx:
        found = restored(tx)
        query = "SELECT id FROM message WHERE state = 'held' AND held_why = 'restored'"
        ids = [int(row.id) for row in tx.exec_driver_sql(query)]
    if found is None or found.known is None:
        raise LedgerError(
            "not everything that was due has been caught up with, so nobody can say what may have gone out",
            mend="`estafette status` says which campaign fails: mend it, or stop it, then run this again",
        )
    for part in chunks(len(ids)):
        with ledger.write(lease) as tx:
            if send:
                tx.exec_driver_sql(_SEND, [(i,) for i in ids[part]])
                mark_dirty(tx, "message", ids[part])
            else:
                _assume(tx, ids[part], now)
    with ledger.write(lease) as tx:
        if send:
            tx.exec_driver_sql("DELETE FROM doubt")
        tx.exec_driver_sql(_GIVE_BACK, {"now": now, "since": found.since})
        tx.execute(meta.delete().where(meta.c.name == HOLD))
        waiting = "SELECT count(*) FROM message WHERE state IN ('planned', 'held')"
        return LetGo(len(ids), send, foreign(tx), int(tx.exec_driver_sql(waiting).scalar_one()))


def foreign(tx: sa.Connection) -> int:
    """How many messages went out, as their statuses say, that this ledger does not know."""
    query = "SELECT count(DISTINCT uid) FROM early_status WHERE uid IS NOT NULL"
    return int(tx.exec_driver_sql(query).scalar_one())


def _within(campaign: Campaign, stood: str, lost: timedelta) -> set[str]:
    """The steps that somebody who stood there may have reached in the time that was lost; who came in too late to stand
    anywhere (an empty name) began with the first."""
    start = stood or campaign.first_step
    found = {step for step, after in soonest(campaign, start).items() if after <= lost}
    return found if stood else found | {start}


def _assume(tx: sa.Connection, ids: Sequence[int], now: int) -> None:
    """Take these messages as sent: they are unknown, their codes stay theirs, and their people go on."""
    if not ids:
        return
    tx.exec_driver_sql(_DOUBT, [(i,) for i in ids])
    tx.exec_driver_sql(_ASSUME, [(now, i) for i in ids])
    miscounted(tx)
    taken = select_in(tx, "SELECT id FROM message WHERE state = 'unknown' AND id IN :ids", list(ids))
    statuses.wake(tx, [int(row.id) for row in taken], now)
    mark_dirty(tx, "message", ids)


def _put(tx: sa.Connection, name: str, value: str) -> None:
    row = insert(meta).values(name=name, value=value)
    tx.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
