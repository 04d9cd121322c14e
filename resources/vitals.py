"""How the installation fares, in numbers, for whoever watches over it.

What belongs here: looks at the ledger and the landing zone that change nothing. How they are shown is the gateway's.

What is asked of the ledger is few, or waits to go out and has an index. Counts over all messages and passages come from
the analyst database (measured with a million of each: 0.1 s, where the ledger takes 0.9 s).
"""

import contextlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from journey.pacing import faster
from journey.problems import EstafetteError, LeaseLost, foreseen
from resources import hold
from resources.analyst_db import connect
from resources.containing import told
from resources.disk_trouble import disk_trouble
from resources.home import Home
from resources.ledger import US
from resources.reached import Standing, standings
from resources.tables import meta

PASSED = "passed_at"  # in `meta`: when a pass last came to its end, or published on its way; microseconds, wall
FAILED = "pass_failed"  # in `meta`: when a pass last failed, if none came to its end since, and why; JSON, wall
WHY = 500  # characters of it

_RECEIVED = re.compile(rb'\s*\{\s*"received_at"\s*:\s*"([0-9T:.+-]+Z?)"')
_QUEUE = """SELECT m.sender, count(*), min(m.due_at) FROM message m JOIN campaign c ON c.name = m.campaign
LEFT JOIN sender s ON s.name = m.sender
WHERE c.live AND c.stopped_at IS NULL AND m.state = 'planned' AND m.due_at <= ?
  AND (s.paused_at IS NULL OR m.priority <= 0) AND (m.quiet_at IS NULL OR m.quiet_at > ?) GROUP BY m.sender"""
_TOTALS = {
    "messages": "SELECT state, count(*) FROM {message} GROUP BY 1",
    "failed": "SELECT error_code, count(*) FROM {message} WHERE state = 'failed' AND error_code IS NOT NULL GROUP BY 1",
    "participants": "SELECT state, count(*) FROM {participant} GROUP BY 1",
    "skips": "SELECT reason, count(*) FROM {skip} GROUP BY 1",
    "entries": "SELECT outcome, count(*) FROM {entries} GROUP BY 1",
}
_IN_LEDGER = {"message": "message", "participant": "participant", "skip": "skip"}
_PUBLISHED = {"message": "messages", "participant": "participants", "skip": "skips", "entries": "entries"}


@dataclass(frozen=True, slots=True)
class Vitals:
    """Counts, and ages in seconds (None: there is nothing to be old). `messages` by state, `failed` by Meta's code,
    `participants` by state, `skips` by reason and `entries` by outcome are as of the last publish (before the first: of
    this moment, and no entries). `queue` by sender: (messages
    that may go out now, how long the oldest has been due). `senders`: (name, pace in messages a second, the configured
    one, whether it is stopped). `unread` by kind of landing file: (bytes that no pass has read, how long the oldest of
    them has lain there: for webhooks by the time of its line, for other files since they last grew). `passes`: how many
    there were. `resting`: senders whose bulk rests; `limits`: how each portfolio stands with Meta's messaging limit."""

    messages: dict[str, int] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)
    participants: dict[str, int] = field(default_factory=dict)
    skips: dict[str, int] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)
    queue: dict[str, tuple[int, float]] = field(default_factory=dict)
    senders: list[tuple[str, float, float, bool]] = field(default_factory=list)
    resting: tuple[str, ...] = ()
    limits: list[Standing] = field(default_factory=list)
    unread: dict[str, tuple[int, float]] = field(default_factory=dict)
    stopped_campaigns: int = 0
    sends_held: bool = False
    troubled_campaigns: int = 0
    waiting_entries: int = 0
    open_requests: int = 0
    quarantined: int = 0
    leases: int = 0
    passes: int = 0
    pass_running: bool = False
    pass_age: float | None = None


def note_pass(tx: sa.Connection, wall: float) -> None:
    """Write down that a pass works: at its end, and while it lives whenever it publishes."""
    note(tx, PASSED, str(int(wall * US)))
    tx.execute(meta.delete().where(meta.c.name == FAILED))


def note_failed_pass(home: Home, error: BaseException) -> None:
    """Write down that a pass failed, for whoever looks; where that can't be written, the log of the run alone has it.
    A lease that was lost is no failure: somebody else makes the pass."""
    if isinstance(error, LeaseLost):
        return
    why = told(foreseen(error) or disk_trouble(error) or error)[:WHY]
    with contextlib.suppress(Exception), home.ledger.write() as tx:
        note(tx, FAILED, json.dumps({"at": int(home.wall() * US), "why": why}))


def note(tx: sa.Connection, name: str, value: str) -> None:
    """Keep a fact about the installation in `meta`."""
    known = insert(meta).values(name=name, value=value)
    tx.execute(known.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def pass_age(home: Home) -> float | None:
    """Seconds since a pass last came to its end, or published on its way; None: none ever did."""
    with home.ledger.read() as tx:
        said = tx.execute(meta.select().where(meta.c.name == PASSED)).one_or_none()
    return None if said is None else max(0.0, home.wall() - int(said.value) / US)


def vitals(home: Home, present: datetime) -> Vitals:
    """Everything at one moment; `present` is the campaign's clock (UTC)."""
    now, wall = to_us(present), int(home.wall() * US)
    totals = _published(home)
    with home.ledger.read() as tx:

        def counts(query: str, *params: object) -> dict[Any, int]:
            return {row[0]: int(row[1]) for row in tx.exec_driver_sql(query, params).all()}

        def number(query: str) -> int:
            return int(tx.exec_driver_sql(query).scalar_one())

        held = (
            tx.exec_driver_sql("SELECT name FROM lease WHERE until > ? AND name NOT LIKE 'run:%'", (wall,))
            .scalars()
            .all()
        )
        queue = [] if hold.held(tx) is not None else tx.exec_driver_sql(_QUEUE, (now, now)).all()
        senders = tx.exec_driver_sql(
            "SELECT name, pace, ceiling, slowed_at, stopped_at, paused_at FROM sender ORDER BY name"
        ).all()
        found = Vitals(
            **(
                totals
                or {name: counts(query.format(**_IN_LEDGER)) for name, query in _TOTALS.items() if name != "entries"}
            ),
            queue={row[0]: (int(row[1]), max(0.0, (now - int(row[2])) / US)) for row in queue},
            senders=[(row.name, pace_of(row, wall), float(row.ceiling), row.stopped_at is not None) for row in senders],
            resting=tuple(row.name for row in senders if row.paused_at is not None),
            limits=standings(tx, now),
            unread=_unread(home, present),
            sends_held=hold.held(tx) is not None,
            stopped_campaigns=number("SELECT count(*) FROM campaign WHERE stopped_at IS NOT NULL"),
            troubled_campaigns=number("SELECT count(*) FROM trouble"),
            waiting_entries=number("SELECT count(*) FROM waiting_entry"),
            open_requests=number("SELECT count(*) FROM request WHERE done_at IS NULL"),
            quarantined=number("SELECT count(*) FROM quarantine"),
            leases=len(held),
            passes=counts("SELECT name, token FROM lease WHERE name = 'pass'").get("pass", 0),
            pass_running="pass" in held,
            pass_age=pass_age(home),
        )
    return found


def _published(home: Home) -> dict[str, dict[Any, int]] | None:
    """What there is of everything, as the analysts see it; None where nothing is published yet."""
    with contextlib.suppress(EstafetteError, duckdb.Error), connect(home.paths.analytics) as con:
        return {name: dict(con.execute(query.format(**_PUBLISHED)).fetchall()) for name, query in _TOTALS.items()}
    return None


def pace_of(row: Any, wall: int) -> float:
    """The pace in force: it recovers by itself, and the row changes only when it is lowered."""
    return float(row.ceiling if row.slowed_at is None else faster(row.pace, row.ceiling, (wall - row.slowed_at) / US))


def _unread(home: Home, present: datetime) -> dict[str, tuple[int, float]]:
    """What lies in the landing zone unread, by kind."""
    wall = home.wall()
    cursors = home.landing.cursors()
    found: dict[str, tuple[int, float]] = {}
    for stat in home.landing.pending(wall):
        cursor = cursors.get((stat.kind, stat.name))
        read = cursor.offset if cursor is not None and cursor.inode == stat.inode else 0
        at = _received(stat.path, read) if stat.kind == "webhooks" else None
        lain = wall - stat.mtime_ns / 1e9 if at is None else (present - at).total_seconds()
        size, age = found.get(stat.kind, (0, 0.0))
        found[stat.kind] = (size + max(0, stat.size - read), max(age, lain))
    return found


def _received(path: Path, offset: int) -> datetime | None:
    """When the first line after an offset of the webhook log came in; None where it does not say."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            said = _RECEIVED.match(file.read(100))
        at = None if said is None else datetime.fromisoformat(said[1].decode())
    except (OSError, ValueError):
        return None
    return at if at is not None and at.tzinfo is not None else None
