"""The messaging limit, as a pass keeps it: what goes over it is held, and goes on as places become free.

What belongs here: deciding of the queue as a whole, before and after lanes have been at it. Lanes keep to the limit by
themselves (`resources.reached`) and hold what they meet; a pass takes the rest of a long queue out of their way, counts
people where nobody does, and lets as many go as there are places, what is transactional first.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from resources.claim import INBOX, highest
from resources.home import Home
from resources.ledger import Lease, chunks, mark_dirty
from resources.reached import COUNTS, count_anew, forget, hold, limited, people_of
from resources.tables import campaign as campaigns
from resources.tables import portfolio as portfolios
from resources.tables import sender as senders

WROTE = timedelta(minutes=15)
"""Who has written so short a time ago is written to at once, without a place; passes are made more often than that."""

_QUEUE = """SELECT m.id, m.contact_id, m.phone FROM message m WHERE m.sender = ? AND m.campaign = ?
  AND m.state = 'planned' AND m.kind = 'template'
  AND NOT EXISTS (SELECT 1 FROM reached r WHERE r.portfolio = ? AND r.phone = m.phone AND r.last_at > ?)
  AND NOT EXISTS (SELECT 1 FROM reply y WHERE y.contact_id = m.contact_id AND y.sender = m.sender AND y.replied_at > ?)
"""
_QUEUED = """SELECT count(*) FROM (SELECT 1 FROM message WHERE state = 'planned' AND sender = ? AND campaign = ?
  AND priority <= ? LIMIT ?)"""
_WAITING = """SELECT m.priority, m.due_at, m.id FROM message m WHERE m.sender = ? AND m.campaign = ?
  AND m.state = 'held' AND m.held_why = 'messaging_limit' AND m.priority <= ?
  ORDER BY m.priority, m.due_at, m.id LIMIT ?"""
# From who has written to what is held for them.
_WROTE = """SELECT DISTINCT m.id FROM reply r CROSS JOIN message m ON m.contact_id = r.contact_id
  WHERE r.replied_at > ? AND m.sender = r.sender AND m.state || '' = 'held' AND m.held_why = 'messaging_limit'"""
_LET_GO = """UPDATE message SET state = 'planned', held_why = NULL WHERE id = ? AND state = 'held'
  AND held_why = 'messaging_limit'"""


def keep_messaging_limit(home: Home, lease: Lease, now: datetime) -> int:
    """Hold what goes over the limit of its portfolio, and let go what has a place. Gives how many were let go."""
    at = to_us(now)
    with home.ledger.read() as tx:
        limits = limited(tx)
        if not limits and not _anything_held(tx):
            return 0
        known = {row.name: row for row in tx.execute(sa.select(portfolios)).all()}
    for name in limits:
        if name not in known or known[name].counted_at is None:
            count_anew(home.ledger, lease, name, at)
        _forget_all(home, lease, name, at)
    let_go: list[int] = []
    with home.ledger.read() as tx:
        if _anything_held(tx):
            wrote = tx.exec_driver_sql(_WROTE, (at - WROTE // timedelta(microseconds=1),)).scalars()
            let_go = sorted({*_may_go(tx, at), *map(int, wrote)})
        over = list(_over(home, tx, limits, at))
    for part in chunks(len(let_go)):
        with home.ledger.write(lease) as tx:
            tx.exec_driver_sql(_LET_GO, [(i,) for i in let_go[part]])
            mark_dirty(tx, "message", let_go[part])
    for ids in over:
        for part in chunks(ids.len()):
            with home.ledger.write(lease) as tx:
                hold(tx, ids[part].to_list())
    return len(let_go)


def place_is_free(tx: sa.Connection, now: int) -> bool:
    """Whether a pass would let something go that the limit holds, or has people to count first. `now` in
    microseconds."""
    limits = limited(tx)
    counted = set(tx.execute(sa.select(portfolios.c.name).where(portfolios.c.counted_at.is_not(None))).scalars())
    return not counted >= limits.keys() or (_anything_held(tx) and bool(_may_go(tx, now, 1)))


def _anything_held(tx: sa.Connection) -> bool:
    held = "SELECT 1 FROM message WHERE state = 'held' AND held_why = 'messaging_limit' LIMIT 1"
    return tx.exec_driver_sql(held).first() is not None


def _may_go(tx: sa.Connection, now: int, most: int | None = None) -> list[int]:
    """The ids of what the limit holds and there is a place for: in the order of all that a portfolio sends. Where there
    is no limit any more, all of it."""
    limits = limited(tx)
    by_portfolio: dict[str, list[sa.Row[Any]]] = {}
    for row in tx.execute(sa.select(senders).where(senders.c.stopped_at.is_(None))).all():
        by_portfolio.setdefault(row.portfolio, []).append(row)
    names = [INBOX, *_running(tx)]
    ids: list[int] = []
    for portfolio, mine in by_portfolio.items():
        room = 2**31
        if portfolio in limits:
            room = limits[portfolio] - people_of(tx, portfolio, now)
            room -= _queued(tx, mine, names, room) if room > 0 else 0
        wanted = min(room, most) if most is not None else room
        if wanted <= 0:
            continue
        rows = [
            found
            for row in mine
            for name in names
            for found in tx.exec_driver_sql(_WAITING, (row.name, name, highest(row), wanted)).all()
        ]
        rows.sort(key=lambda found: (found.priority, found.due_at, found.id))
        ids += [int(found.id) for found in rows[:wanted]]
    return ids


def _queued(tx: sa.Connection, mine: list[sa.Row[Any]], names: list[str], most: int) -> int:
    """How many messages of these senders may go out already, each of which may want a place (counted up to `most` for
    each campaign)."""
    asked = [(row.name, name, highest(row), most) for row in mine for name in names]
    return sum(int(tx.exec_driver_sql(_QUEUED, params).scalar_one()) for params in asked)


def _running(tx: sa.Connection) -> list[str]:
    running = sa.select(campaigns.c.name).where(campaigns.c.live, campaigns.c.stopped_at.is_(None))
    return [str(name) for name in tx.execute(running).scalars()]


def _over(home: Home, tx: sa.Connection, limits: dict[str, int], now: int) -> Iterator[pl.Series]:
    """What is queued without a place, where there is none left: ids, a campaign and sender at once."""
    names = [INBOX, *_running(tx)]
    for row in tx.execute(sa.select(senders).where(senders.c.portfolio.in_(list(limits)))).all():
        if people_of(tx, row.portfolio, now) < limits[row.portfolio]:
            continue
        for name in names:
            params = (row.name, name, row.portfolio, now - COUNTS, now - COUNTS)
            columns = {"id": pl.Int64, "contact_id": pl.String, "phone": pl.String}
            yield home.ledger.frame(_QUEUE, columns, params, tx).get_column("id")


def _forget_all(home: Home, lease: Lease, portfolio: str, now: int) -> None:
    """Forget everybody who no longer counts, 5,000 a transaction."""
    old = "SELECT 1 FROM reached WHERE portfolio = ? AND last_at <= ? LIMIT 1"
    while True:
        with home.ledger.read() as tx:
            if tx.exec_driver_sql(old, (portfolio, now - COUNTS)).first() is None:
                return
        with home.ledger.write(lease) as tx:
            forget(tx, portfolio, now)
