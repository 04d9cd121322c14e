"""What is wrong with the numbers that send, and what healed: for `resources.failures`.

What belongs here: finding each kind that concerns a sender, and writing down that Meta can't be reached, which only the
lane that tries it knows.
"""

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey.clock import from_us, to_us
from journey.failures import Failure, Found
from journey.messaging_limit import NO_LIMIT
from resources.reached import standings
from resources.tables import meta, template_hold
from resources.tables import sender as senders
from resources.taken_over import became, dropped, gone
from resources.vitals import note, pace_of

UNREACHED = "unreached:"  # in `meta`, with the sender's name: since when Meta can't be reached, and why; JSON, wall
NEWS = 900_000_000  # microseconds for which it holds: lanes try again each minute while anything waits


def sender_trouble(tx: sa.Connection, names: Collection[str], now: datetime, wall: int) -> Iterator[Found]:
    """What concerns the senders of these names, the messaging limit and templates. `wall` in microseconds."""
    yield from _senders(tx, names, wall)
    yield from _unreached(tx, names, wall)
    yield from _limits(tx, now)
    yield from _templates(tx)


def healed(tx: sa.Connection, names: Collection[str], wall: int) -> Iterator[Found]:
    """Processes that died or were held up: with whose work nobody has gone on yet; then those within a day, of passes
    and of these senders, with whose work others did."""
    left = dropped(tx, wall)
    if left is not None:
        values = {"since": from_us(left[0].at), "number": left[1]}
        yield Found(Failure.work_dropped, values=values, detail=_who(left[0].holder))
    known = gone(tx, wall)
    passes = [one for one in known if one.sender is None]
    if passes:
        values = {"since": from_us(passes[-1].at), "number": len(passes)}
        yield Found(Failure.pass_taken_over, values=values, detail=_who(passes[-1].holder), count=len(passes))
    for name in names:
        lanes = [one for one in known if one.sender == name]
        if lanes:
            on_the_wire = [number for one in lanes for number in one.messages]
            settled, unknown = became(tx, on_the_wire)
            told = {"messages": settled + unknown, "known": settled}
            values = {"since": from_us(lanes[-1].at), "number": len(lanes), **told}
            yield Found(Failure.sender_taken_over, name, values, _who(lanes[-1].holder), count=len(lanes))


def note_unreached(tx: sa.Connection, sender: str, wall: int, why: str) -> None:
    """Write down that a lane gave up because Meta can't be reached (microseconds)."""
    before = _told(tx, sender)
    since = before["at"] if before is not None and wall - before["last"] < NEWS else wall
    note(tx, UNREACHED + sender, json.dumps({"at": since, "last": wall, "why": why}))


def note_reached(tx: sa.Connection, sender: str) -> None:
    """Meta answered again."""
    tx.execute(meta.delete().where(meta.c.name == UNREACHED + sender))


def unreached(tx: sa.Connection) -> list[str]:
    """The senders for which Meta can't be reached."""
    rows = tx.execute(sa.select(meta.c.name).where(meta.c.name.startswith(UNREACHED))).scalars()
    return [name.removeprefix(UNREACHED) for name in rows]


def _senders(tx: sa.Connection, names: Collection[str], wall: int) -> Iterator[Found]:
    for row in tx.execute(sa.select(senders).where(senders.c.name.in_(names))).all():
        if row.stopped_at is not None:
            values = {"since": from_us(row.stopped_at)}
            yield Found(Failure.sender_stopped, row.name, values, _sentence(row.stopped_why), row.stopped_code)
        if row.paused_at is not None:
            values = {"since": from_us(row.paused_at)}
            yield Found(Failure.sender_resting, row.name, values, _sentence(row.paused_why))
        pace = pace_of(row, wall)
        if pace < row.ceiling:
            told = {"pace": f"{pace:g}", "ceiling": f"{row.ceiling:g}"}
            yield Found(Failure.sender_slowed, row.name, told)


def _unreached(tx: sa.Connection, names: Collection[str], wall: int) -> Iterator[Found]:
    for name in unreached(tx):
        told = _told(tx, name)
        if name in names and told is not None and abs(wall - told["last"]) < NEWS:
            yield Found(Failure.sender_unreached, name, {"since": from_us(told["at"])}, f"{told['why']}.")


def _told(tx: sa.Connection, sender: str) -> dict[str, Any] | None:
    value = tx.execute(sa.select(meta.c.value).where(meta.c.name == UNREACHED + sender)).scalar()
    return dict(json.loads(value)) if value is not None else None


def _limits(tx: sa.Connection, now: datetime) -> Iterator[Found]:
    for one in standings(tx, to_us(now)):
        if one.waiting and one.limit not in (None, NO_LIMIT):
            values = {"people": one.people, "limit": one.limit, "number": one.waiting}
            yield Found(Failure.limit_reached, values=values)


def _templates(tx: sa.Connection) -> Iterator[Found]:
    for row in tx.execute(sa.select(template_hold).order_by(template_hold.c.name, template_hold.c.language)).all():
        code = row.code or None  # 0: Meta's news said so, and no answer
        yield Found(Failure.template_held, f"{row.name} ({row.language})", {"status": row.status}, code=code)


def _sentence(why: str | None) -> str:
    return why or "" if not why or why.endswith((".", ")")) else f"{why}."


def _who(holder: str) -> str:
    """A lease's holder (host, process, a random part) as far as a person can use it."""
    host, _, process = holder.rpartition(":")[0].rpartition(":")
    return f"(process {process} on {host})" if process else ""
