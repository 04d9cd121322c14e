"""Whom a portfolio has written to of late: the messaging limit, counted.

What belongs here: who counts, how many more may be written to, and giving a place back. Meta counts different people
outside a service window in a moving 24 hours, for all numbers of a business portfolio together; so do we, in the very
transaction that claims a message, with a row a person and a counter a portfolio: no lane, and no two of them, can go
over it, and no turn reads more than what it claims. Where there is no limit, nobody is counted; where one comes up,
they are counted anew from the messages before anything more goes out. So they are where messages turn out to have gone
out past this ledger, which a restore brings: of those that it does not know at all, each counts as a person of its own.
What Meta says of the limit is `numbers`; what a pass holds and lets go is `pipelines.messaging_limit`.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.messaging_limit import DAY, MARGIN, NO_LIMIT
from resources.ledger import BULK, US, Lease, Ledger, chunks, mark_dirty, select_in
from resources.tables import portfolio as portfolios
from resources.tables import sender as senders

MARGIN_US = int(MARGIN.total_seconds()) * US
COUNTS = int(DAY.total_seconds()) * US + MARGIN_US
"""So long after the last message a person counts, in microseconds."""

SWEEP = 500
"""People who no longer count that one turn of a lane forgets at most; a pass forgets all of them."""

_KNOWN = "SELECT phone, last_at FROM reached WHERE portfolio = ? AND phone IN (SELECT value FROM json_each(?))"
_OPEN = """SELECT DISTINCT contact_id FROM reply WHERE contact_id IN (SELECT value FROM json_each(?)) AND sender = ?
  AND replied_at > ?"""
_TAKE = """INSERT INTO reached (portfolio, phone, message_id, last_at, before_at) VALUES (?, ?, ?, ?, NULL)
  ON CONFLICT (portfolio, phone) DO UPDATE SET before_at = last_at, last_at = excluded.last_at,
  message_id = excluded.message_id"""
_FORGET = """DELETE FROM reached WHERE rowid IN
  (SELECT rowid FROM reached WHERE portfolio = ? AND last_at <= ? ORDER BY last_at LIMIT ?)"""
_ADD = "UPDATE portfolio SET people = people + ? WHERE name = ?"
_OF_MESSAGES = """SELECT r.portfolio, r.phone, r.before_at FROM message m JOIN sender s ON s.name = m.sender
  JOIN reached r ON r.portfolio = s.portfolio AND r.phone = m.phone AND r.message_id = m.id WHERE m.id IN :ids"""
_HOLD = "UPDATE message SET state = 'held', held_why = 'messaging_limit' WHERE id = ? AND state = 'planned'"
# Who was written to inside a window is counted as well: it is not known any more, and too many is on the safe side.
# Each of the forgotten, whose phones are gone, is still one.
_OF_LATE = """SELECT CASE m.phone WHEN '' THEN m.contact_id ELSE m.phone END AS phone, max(m.attempted_at), max(m.id)
  FROM (SELECT name FROM campaign UNION ALL SELECT '') c CROSS JOIN message m ON m.campaign = c.name
  WHERE m.attempted_at > ? AND m.attempted_at IS NOT NULL AND m.kind = 'template'
    AND (m.state <> 'failed' OR m.accepted_at IS NOT NULL)
    AND m.sender IN (SELECT name FROM sender WHERE portfolio IN (?, '')) GROUP BY 1
UNION ALL SELECT 'uid:' || uid, min(status_at), 0 FROM early_status WHERE uid IS NOT NULL GROUP BY uid
  HAVING min(status_at) > ?"""


def limit_of(tx: sa.Connection, portfolio: str) -> int | None:
    """How many people a portfolio may write to in 24 hours: the least that is known of its senders, where the settings'
    word comes before Meta's. None: there is no limit, or none is known."""
    rows = tx.execute(
        sa.select(senders.c.stated_limit, senders.c.messaging_limit).where(senders.c.portfolio == portfolio)
    ).all()
    known = [row.messaging_limit if row.stated_limit is None else row.stated_limit for row in rows]
    return min((int(one) for one in known if one is not None and one != NO_LIMIT), default=None)


def limited(tx: sa.Connection) -> dict[str, int]:
    """The portfolios that have a limit, with it."""
    names = tx.execute(sa.select(senders.c.portfolio).where(senders.c.portfolio != "").distinct()).scalars().all()
    found = {str(name): limit_of(tx, name) for name in names}
    return {name: limit for name, limit in found.items() if limit is not None}


@dataclass
class Reach:
    """The limit of one portfolio, as one turn of a lane of `sender` meets it. `people` count now, out of `limit`;
    `counted` False: nobody knows yet how many, and nothing that would count may go.

    Use: `look_at` the messages that are next, ask `admits` of each in their order, then `write` once.
    """

    tx: sa.Connection
    portfolio: str
    sender: str
    limit: int
    people: int
    counted: bool
    now: int
    held: list[int] = field(default_factory=list)
    _free: set[str] = field(default_factory=set)  # phones that count already
    _kept: set[str] = field(default_factory=set)  # phones that count no more and are not forgotten yet: in `people`
    _open: set[str] = field(default_factory=set)  # contacts in whose window we may write
    _rows: list[tuple[str, str, int, int]] = field(default_factory=list)
    _new: int = 0

    def look_at(self, rows: Sequence[sa.Row[Any]]) -> None:
        """What there is to know of the people of these messages (phone, contact_id)."""
        templates = [row for row in rows if row.kind == "template"]
        phones, contacts = (
            json.dumps(sorted({getattr(row, of) for row in templates})) for of in ("phone", "contact_id")
        )
        known = self.tx.exec_driver_sql(_KNOWN, (self.portfolio, phones)).all()
        self._free = {row.phone for row in known if row.last_at > self.now - COUNTS}
        self._kept = {row.phone for row in known} - self._free
        # The window must be open when Meta gets the message.
        since = self.now - COUNTS + 2 * MARGIN_US
        self._open = set(self.tx.exec_driver_sql(_OPEN, (contacts, self.sender, since)).scalars())

    def admits(self, row: sa.Row[Any]) -> bool:
        """Whether one more message may go. One that may not is put to `held`, unless it is only not known yet."""
        if row.kind != "template" or row.contact_id in self._open:
            return True
        if not self.counted:
            return False
        if row.phone not in self._free:
            more = int(row.phone not in self._kept)
            if self.people + self._new + more > self.limit:
                self.held.append(int(row.id))
                return False
            self._new += more
            self._free.add(row.phone)
        self._rows.append((self.portfolio, row.phone, int(row.id), self.now))
        return True

    def write(self) -> None:
        """Count whom `admits` let through, and hold those it did not."""
        if self._rows:
            self.tx.exec_driver_sql(_TAKE, self._rows)
        if self._new:
            self.tx.exec_driver_sql(_ADD, (self._new, self.portfolio))
        hold(self.tx, self.held)


def note_by_hand(tx: sa.Connection, sender: str, phone: str, now: int) -> None:
    """Count a message that went out past the ledger (`estafette test`): Meta counts it as well."""
    row = tx.execute(sa.select(senders).where(senders.c.name == sender)).one_or_none()
    reach = reach_of(tx, row, 1, now)
    if reach is None or not reach.counted:
        return
    known = "SELECT 1 FROM reached WHERE portfolio = ? AND phone = ?"
    new = tx.exec_driver_sql(known, (reach.portfolio, phone)).first() is None
    tx.exec_driver_sql(_TAKE, (reach.portfolio, phone, 0, now))
    tx.exec_driver_sql(_ADD, (int(new), reach.portfolio))


def reach_of(tx: sa.Connection, sender: sa.Row[Any] | None, want: int, now: int) -> Reach | None:
    """The limit that binds a sender (its row in the ledger); None where there is none: then nobody is counted any more.
    `want`: how many people it is about to write to at most."""
    name = sender.portfolio if sender is not None else ""
    limit = limit_of(tx, name) if name else None
    row = tx.execute(sa.select(portfolios).where(portfolios.c.name == name)).one_or_none() if name else None
    if limit is None:
        if row is not None and row.counted_at is not None:
            tx.execute(portfolios.update().where(portfolios.c.name == name).values(counted_at=None))
        return None
    assert sender is not None
    people, counted = (int(row.people), row.counted_at is not None) if row is not None else (0, False)
    if counted and people + want > limit:
        people -= forget(tx, name, now, SWEEP)
    return Reach(tx, name, sender.name, limit, people, counted, now)


def forget(tx: sa.Connection, portfolio: str, now: int, most: int = BULK) -> int:
    """Forget people who no longer count, `most` at once. Gives how many."""
    gone = tx.exec_driver_sql(_FORGET, (portfolio, now - COUNTS, most)).rowcount
    if gone:
        tx.exec_driver_sql(_ADD, (-gone, portfolio))
    return gone


def hold(tx: sa.Connection, ids: Collection[int]) -> None:
    """Planned messages that go over the limit wait; one transaction's worth."""
    if ids:
        tx.exec_driver_sql(_HOLD, [(i,) for i in ids])
        mark_dirty(tx, "message", ids)


def give_back(tx: sa.Connection, ids: Sequence[int]) -> None:
    """These stamped messages have certainly not gone out: who was counted for them alone counts no more."""
    rows = select_in(tx, _OF_MESSAGES, list(ids)) if ids else []
    if not rows:
        return
    alone = [row for row in rows if row.before_at is None]
    before = [(row.before_at, row.portfolio, row.phone) for row in rows if row.before_at is not None]
    if alone:
        keys = [(row.portfolio, row.phone) for row in alone]
        tx.exec_driver_sql("DELETE FROM reached WHERE portfolio = ? AND phone = ?", keys)
        tx.exec_driver_sql(_ADD, [(-1, row.portfolio) for row in alone])
    if before:
        back = "UPDATE reached SET last_at = ?, before_at = NULL, message_id = 0 WHERE portfolio = ? AND phone = ?"
        tx.exec_driver_sql(back, before)


def miscounted(tx: sa.Connection) -> None:
    """Messages went out that nobody counted: until a pass has counted anew, nothing that would count goes out."""
    tx.exec_driver_sql("UPDATE portfolio SET counted_at = NULL WHERE counted_at IS NOT NULL")


def count_anew(ledger: Ledger, lease: Lease, portfolio: str, now: int) -> int:
    """Count the people of a portfolio from its messages, where nobody keeps them. Gives how many there are.

    Until the last transaction nothing that would count goes out, so that none is missed; a crash begins it again.
    """
    columns = {"phone": pl.String, "last_at": pl.Int64, "message_id": pl.Int64}
    found = ledger.frame(_OF_LATE, columns, (now - COUNTS, portfolio, now - COUNTS))
    while True:
        with ledger.write(lease) as tx:
            mine = "SELECT rowid FROM reached WHERE portfolio = ? LIMIT ?"
            gone = tx.exec_driver_sql(f"DELETE FROM reached WHERE rowid IN ({mine})", (portfolio, BULK)).rowcount
        if gone < BULK:
            break
    for part in chunks(found.height):
        rows = [(portfolio, phone, i, last) for phone, last, i in found[part].iter_rows()]
        with ledger.write(lease) as tx:
            tx.exec_driver_sql(_TAKE, rows)
    with ledger.write(lease) as tx:
        whole = "SELECT count(*) FROM reached WHERE portfolio = ?"
        people = int(tx.exec_driver_sql(whole, (portfolio,)).scalar_one())
        values = {"people": people, "counted_at": now}
        row = insert(portfolios).values(name=portfolio, **values)
        tx.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))
    return people


@dataclass(frozen=True, slots=True)
class Standing:
    """How a portfolio stands: its senders, its limit (people, NO_LIMIT, or None: not known), when Meta said so (None:
    the settings do, or nobody), how many people count now, and how many messages wait for a place."""

    portfolio: str
    senders: tuple[str, ...]
    limit: int | None
    said_at: int | None
    people: int
    waiting: int


def standings(tx: sa.Connection, now: int) -> list[Standing]:
    """Every portfolio, by name. Where there is no limit nobody is counted."""
    rows: dict[str, list[sa.Row[Any]]] = {}
    for row in tx.execute(sa.select(senders).where(senders.c.portfolio != "").order_by(senders.c.name)).all():
        rows.setdefault(row.portfolio, []).append(row)
    found = []
    for name, mine in sorted(rows.items()):
        limit = limit_of(tx, name)
        told = [row.messaging_limit if row.stated_limit is None else row.stated_limit for row in mine]
        if limit is None and NO_LIMIT in told:
            limit = NO_LIMIT
        said = [row.limit_at for row in mine if row.stated_limit is None and row.messaging_limit == limit]
        held = "SELECT count(*) FROM message WHERE state = 'held' AND held_why = 'messaging_limit' AND sender IN :ids"
        waiting = int(select_in(tx, held, [row.name for row in mine])[0][0])
        counted = 0 if limit in (None, NO_LIMIT) else people_of(tx, name, now)
        names = tuple(str(row.name) for row in mine)
        found.append(Standing(name, names, limit, max(filter(None, said), default=None), counted, waiting))
    return found


def people_of(tx: sa.Connection, portfolio: str, now: int) -> int:
    """How many people count for a portfolio's limit now."""
    counting = "SELECT count(*) FROM reached WHERE portfolio = ? AND last_at > ?"
    return int(tx.exec_driver_sql(counting, (portfolio, now - COUNTS)).scalar_one())
