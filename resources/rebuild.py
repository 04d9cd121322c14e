"""Making again what derives from something else, and listing what can't be made again.

What belongs here: the tables of the lake. Contacts and events derive from the landing files, Meta's reports from the
webhook log; the texts of messages that wait are rendered again when they are planned anew. Rendered texts that went
out, moves, entries and evaluated audiences derive from nothing: a file of them that is gone is lost, and is no longer
listed among what counts. Nothing here starts anything: events that are made again have a batch that everybody has seen.
What is under way stands in the ledger: one that was broken off is known, and the next one makes the same tables again.

Publishing again what analysts see is with the pass (`pipelines.publish`).
"""

import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from journey.contact_rows import contact_schema
from journey.webhook import parse
from resources.backup import DERIVED
from resources.contact_intake import take_in_contacts
from resources.contacts import BASE, DELTA, Contacts
from resources.coupons import give_back
from resources.damage import LOST, NAMED, SPOILT, UNDER_WAY, damaged, spoilt_files
from resources.event_intake import take_in_events
from resources.events import EVENTS, Events
from resources.events import NAME as EVENT_TABLE
from resources.home import Home
from resources.lake import Lake
from resources.landing import Cursor, FileStat, Kind, Landing
from resources.ledger import Lease, Ledger, chunks, mark_dirty, select_in
from resources.retry_kinds import rules_of
from resources.status_intake import MESSAGE_EVENTS, claims, match
from resources.tables import answer, lake_file, meta
from resources.tables import export as exports

SEEN = 0
"""The batch of events that were made again: nobody who looks at new events sees them."""

PART = 500_000
"""Rows of events or reports that are in memory at once."""

NO_FILE = "what no file brought of contacts: what `update` steps wrote, ids of WhatsApp; the rest was made again"
# What may have gone out before a restore is not planned anew.
_WAITING = "state IN ('planned', 'held') AND COALESCE(held_why, '') <> 'restored'"


@dataclass
class Rebuilt:
    """What was made again: rows by table, messages that wait and are planned anew; and what is lost: (file, rows,
    why)."""

    rows: dict[str, int] = field(default_factory=dict)
    planned_anew: int = 0
    lost: list[tuple[str, int, str]] = field(default_factory=list)


def rebuild(home: Home, lease: Lease, now: datetime) -> Rebuilt:
    """Make again what is gone or damaged, as far as it derives from something, and forget every export, so that the
    next publish writes all of them."""
    done = Rebuilt()
    found = damaged(home, read=True)
    tables = {str(row.name) for row in found} | set((home.ledger.meta(UNDER_WAY) or "").split())
    _give_up(home, lease, found, tables)
    if tables & {BASE, DELTA, EVENT_TABLE}:
        _from_landing(home, lease, tables, now, done)
    if "message_events" in tables:
        done.rows["message_events"] = _reports(home, lease)
    if "bodies" in tables:
        done.planned_anew = _plan_anew(home, lease, now)
    made = {EVENT_TABLE, "message_events"}
    for row in found:
        if row.name not in made:
            done.lost.append((row.path, int(row.rows), _why(row.name)))
    done.lost += [(f"landing/{stat.shown}", cursor.rows, SPOILT) for stat, cursor in spoilt_files(home.landing)]
    _forget_exports(home, lease)
    return done


def _why(name: str) -> str:
    return {
        "bodies": "texts of messages; those that went out are no longer kept",
        "audience": "who was in an audience when it was evaluated; whoever was still to enter does not",
        "entries": "who met an entry, with which outcome",
        "participant_steps": "moves from step to step",
        BASE: NO_FILE,
        DELTA: NO_FILE,
    }.get(name, "it derives from nothing")


def _give_up(home: Home, lease: Lease, rows: Sequence[sa.Row[Any]], tables: Iterable[str]) -> None:
    """What is gone or damaged counts no longer; what rows name stays known as lost. `tables` are under way now."""
    with home.ledger.write(lease) as tx:
        tx.execute(meta.delete().where(meta.c.name == UNDER_WAY))
        if tables:
            tx.execute(meta.insert().values(name=UNDER_WAY, value=" ".join(sorted(tables))))
    for part in chunks(len(rows)):
        with home.ledger.write(lease) as tx:
            home.lake.drop(tx, [row.id for row in rows[part] if row.name not in NAMED])
            named = [row.id for row in rows[part] if row.name in NAMED]
            tx.execute(lake_file.update().where(lake_file.c.id.in_(named)).values(bytes=LOST))


# -- from landing files ------------------------------------------------------------------------------------------------


class _AsTaken(Landing):
    """The landing zone, read from its start into other stores, in the order in which it was read the first time."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        super().__init__(home.paths.landing, ledger)
        with home.ledger.read() as tx:
            rows = tx.exec_driver_sql("SELECT kind, name, taken_at FROM landing_file").all()
        self._taken = {(row.kind, row.name): int(row.taken_at) for row in rows}

    def pending(self, wall: float, kinds: Iterable[Kind] = ()) -> list[FileStat]:
        """What was read before, in that order; what was not is left to a pass."""
        known = [one for one in super().pending(wall, kinds) if (one.kind, one.name) in self._taken]
        return sorted(known, key=lambda one: (self._taken[one.kind, one.name], one.mtime_ns, one.name))

    def save(self, tx: sa.Connection, cursor: Cursor, taken_at: int) -> None:
        """As of then: of copies the moment tells which of them were read."""
        super().save(tx, cursor, self._taken[cursor.kind, cursor.name])


def _from_landing(home: Home, lease: Lease, tables: Iterable[str], now: datetime, done: Rebuilt) -> None:
    """Read the landing files into stores of their own, and bring from there who and what is missing here."""
    folder = home.paths.data / f".rebuilding-{secrets.token_hex(4)}"
    ledger = Ledger.open(folder / "ledger.sqlite", home.wall)
    try:
        lake = Lake(folder / "lake", ledger, home.wall)
        contacts, events = Contacts(lake, ledger, home.contacts.stated), Events(lake, ledger)
        landing, rules, wall = _AsTaken(home, ledger), rules_of(home), home.wall()
        take_in_contacts(landing, contacts, rules, None, now, wall, final=True)
        if {BASE, DELTA} & set(tables):
            done.rows[BASE] = _contacts(home, lease, contacts)
        if EVENT_TABLE in tables:
            take_in_events(landing, events, contacts, rules, None, now, wall, final=True)
            done.rows[EVENT_TABLE] = _events(home, lease, events)
    finally:
        ledger.close()
        shutil.rmtree(folder, ignore_errors=True)


def _contacts(home: Home, lease: Lease, made: Contacts) -> int:
    """Contacts that are not here any more, with the consent that the ledger knows."""
    there = home.contacts.frame(["contact_id"]).lazy()
    types = made.types() | home.contacts.types()
    frame = made.current().join(there, on="contact_id", how="anti").collect()
    if frame.is_empty():
        return 0
    with home.ledger.read() as tx:
        subjects = [f"contact:{one}" for one in frame["contact_id"]]
        rows = select_in(
            tx, "SELECT subject, scope, cause, changed_at FROM suppression WHERE subject IN :ids", subjects
        )
    schema = contact_schema(types)
    out = pl.DataFrame(
        [(row.subject.removeprefix("contact:"), row.scope, row.cause, row.changed_at) for row in rows],
        schema={"contact_id": pl.String, "scope": pl.String, "cause": pl.String, "at": pl.Int64},
        orient="row",
    )
    joined = frame.join(out, on="contact_id", how="left", maintain_order="left")
    opted_out = pl.col("scope").is_not_null()
    joined = joined.with_columns(
        opt_out_scope=pl.when(opted_out).then("scope").otherwise("opt_out_scope"),
        opt_out_cause=pl.when(opted_out).then("cause").otherwise("opt_out_cause"),
        opted_out_at=pl.when(opted_out).then(pl.col("at").cast(schema["opted_out_at"])).otherwise("opted_out_at"),
        opted_in=pl.when(opted_out & (pl.col("scope") != "marketing")).then(pl.lit(False)).otherwise("opted_in"),
    )
    file = home.contacts.put(joined.drop("scope", "cause", "at"), types)
    assert file is not None
    with home.ledger.write(lease) as tx:
        home.contacts.settle(tx, types)
        home.lake.register(tx, file)
    home.contacts.fold(lease, force=True)
    return frame.height


def _events(home: Home, lease: Lease, made: Events) -> int:
    """Events that are not here any more, some at a time. Nobody who looks at new events sees them."""
    count = 0
    for part in _parts(made.lake.files(EVENT_TABLE)):
        frame = home.events.new(part).with_columns(batch=pl.lit(SEEN, pl.Int64))
        count += _add(home, lease, EVENT_TABLE, frame.select(list(EVENTS)), "occurred_at")
    return count


def _parts(files: Sequence[Path]) -> Iterator[pl.DataFrame]:
    """The rows of some files of one table, at most `PART` at a time."""
    waiting: list[pl.DataFrame] = []
    for file in files:
        scanned = pl.scan_parquet(file, glob=False)
        rows = int(scanned.select(pl.len()).collect().item())
        for start in range(0, rows, PART):
            some = scanned.slice(start, PART).collect()
            if waiting and sum(one.height for one in waiting) + some.height > PART:
                yield pl.concat(waiting)
                waiting = []
            waiting.append(some)
    if waiting:
        yield pl.concat(waiting)


def _add(home: Home, lease: Lease, name: str, frame: pl.DataFrame, at: str) -> int:
    if frame.height:
        file = home.lake.put(name, frame, at=at)
        with home.ledger.write(lease) as tx:
            home.lake.register(tx, file)
    return frame.height


def _reports(home: Home, lease: Lease) -> int:
    """Statuses of the webhook log that are not here any more, each (message or wamid, status) once: first all that the
    log says, into files; then those of some messages after the other."""
    folder = home.paths.data / f".rebuilding-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        files: list[Path] = []
        rows = 0
        for part in _told(home):
            files.append(folder / f"{len(files)}.parquet")
            part.write_parquet(files[-1])
            rows += part.height
        count, key, portions = 0, ["wamid", "status"], -(-rows // PART)
        for portion in range(portions):
            mine = pl.col("wamid").hash(seed=0) % portions == portion
            told = pl.scan_parquet(files, schema=MESSAGE_EVENTS, glob=False).filter(mine).collect(engine="streaming")
            once = told.sort("status_at", "received_at").unique(key, keep="first", maintain_order=True)
            known = home.lake.scan("message_events", MESSAGE_EVENTS).filter(mine).select(key)
            missing = once.join(known.collect(engine="streaming"), on=key, how="anti", maintain_order="left")
            count += _add(home, lease, "message_events", missing, "received_at")
        return count
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told(home: Home) -> Iterator[pl.DataFrame]:
    """What the webhook log says of messages (MESSAGE_EVENTS), a portion of a log at a time."""
    prefix = home.installation_prefix()
    for stat in home.landing.files(["webhooks"]):
        for lines in home.landing.prefix(stat, stat.size):
            statuses = parse(list(enumerate(lines, 1))).statuses
            received = pl.col("received_at").fill_null(pl.col("status_at"))
            matched = [match(home, claims(statuses[part], prefix)) for part in chunks(statuses.height, pause=0.0)]
            if matched:
                yield pl.concat(matched).with_columns(received).select(list(MESSAGE_EVENTS))


# -- texts of messages that wait ---------------------------------------------------------------------------------------


def _plan_anew(home: Home, lease: Lease, now: datetime) -> int:
    """Messages that wait and have lost their text are as if they had not been planned: the next pass plans them, under
    the same uid. Those that were ever attempted stay as they are. Gives how many."""
    with home.ledger.read() as tx:
        lost = f"SELECT id FROM lake_file WHERE name = 'bodies' AND bytes = {LOST}"
        query = f"SELECT id FROM message WHERE body_file IN ({lost}) AND {_WAITING} AND copy = 1"
        ids = [int(row.id) for row in tx.exec_driver_sql(query)]
    for part in chunks(len(ids)):
        with home.ledger.write(lease) as tx:
            open_ = f"SELECT id, participant_id, step FROM message WHERE {_WAITING} AND id IN :ids"
            rows = select_in(tx, open_, ids[part])
            mine = [int(row.id) for row in rows]
            give_back(tx, mine)
            tx.exec_driver_sql("DELETE FROM link WHERE message_id = ?", [(i,) for i in mine])
            tx.exec_driver_sql("DELETE FROM message WHERE id = ?", [(i,) for i in mine])
            people = [(to_us(now), row.participant_id) for row in rows]
            tx.exec_driver_sql("UPDATE participant SET wake_at = ? WHERE id = ? AND left_at IS NULL", people)
            by_hand = [row.step for row in rows if not row.participant_id]
            tx.execute(answer.update().where(answer.c.uuid.in_(by_hand)).values(done_at=None, outcome=None))
            mark_dirty(tx, "message", mine)
            mark_dirty(tx, "participant", [row.participant_id for row in rows if row.participant_id])
    return len(ids)


def _forget_exports(home: Home, lease: Lease) -> None:
    """The next publish writes all of them; with that everything is there again."""
    home.paths.tallies.unlink(missing_ok=True)
    with home.ledger.write(lease) as tx:
        paths = tx.execute(sa.select(exports.c.path)).scalars().all()
        home.lake.drop(tx, tx.execute(sa.select(lake_file.c.id).where(lake_file.c.path.startswith(DERIVED))).scalars())
        tx.execute(exports.delete().where(exports.c.path.in_(paths)))
        tx.execute(meta.delete().where(meta.c.name == UNDER_WAY))
