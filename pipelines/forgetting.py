"""Forgetting a person: out of the landing zone, the lake, the ledger and the analysts' database, and nothing sent.

What belongs here: the order, and that it can be taken up after a crash. What each store keeps of a person, and what is
left of it, is `resources.forget_landing`, `forget_lake` and `forget_ledger`.

First nobody may send to them or let them in; then everything by which they are known is written down (`meta`, as
`forgetting`), because the stores lose it one by one; then the stores, each safe to do again; last the files that were
replaced are deleted, and what was written down goes. Then the ledger's file is due to be written anew (`scrubbing`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from journey.person import FORGOTTEN, Person
from journey.words import LeaveReason, MessageState
from pipelines import scrubbing
from pipelines.publish import publish
from resources.forget_lake import Traces, erase_from_kept, erase_from_lake
from resources.forget_landing import erase_from_landing, names_in
from resources.forget_ledger import Eraser, keep_places
from resources.forgotten import make_key
from resources.home import Home
from resources.leaving import cancel, leave
from resources.ledger import BULK, Lease, select_in
from resources.person import Known, know
from resources.tables import answer, event_cursor, meta

JOB = "forgetting"
_COUNT = "forgotten"
IN_FLIGHT = 30.0
"""Seconds to wait for what is on the wire; what is not settled then is known by its number only."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Forgotten:
    """What was done. `label` stands for the person in what is counted; `cancelled` messages were not sent; `rows` are
    lines of landing files; `rewritten` lake files; `left`: files that still name them, which nobody but their owner can
    change; `packed`: compressed ones of the landing zone, into which nobody looked; `emptied`: whether the ledger's
    file has been written anew since, else a pass does it."""

    label: str
    cancelled: int = 0
    lines: int = 0
    files: tuple[str, ...] = ()
    rewritten: int = 0
    left: tuple[str, ...] = ()
    emptied: bool = True
    packed: tuple[str, ...] = ()


class Job(msgspec.Struct):
    """Who is being forgotten, as it is written down meanwhile."""

    contact_id: str
    label: str
    ids: set[str]
    phones: set[str]
    whatsapp: set[str]
    wamids: set[str]
    messages: set[int]
    participants: set[int]
    bodies: list[tuple[int, list[int]]]

    def learn(self, known: Known) -> None:
        """Add what is known now to what was known."""
        person = known.person
        self.ids |= person.ids
        self.phones |= person.phones
        self.whatsapp |= person.whatsapp
        self.wamids |= {one for one in person.wamids if not one.startswith(FORGOTTEN)}
        self.messages |= set(known.messages)
        self.participants |= set(known.participants)
        self.bodies += list(known.bodies.items())

    def person(self, like: Person) -> Person:
        """The person, where `like` is what is still known of them."""
        sets = (frozenset(self.ids), frozenset(self.phones), frozenset(self.whatsapp), frozenset(self.wamids))
        return replace(like, ids=sets[0], phones=sets[1], whatsapp=sets[2], wamids=sets[3])

    def traces(self, key: bytes) -> Traces:
        """What the ledger had of them."""
        rows: dict[int, set[int]] = {}
        for file, places in self.bodies:
            rows.setdefault(file, set()).update(places)
        return Traces(self.label, key, self.messages, self.participants, rows)


def unfinished(home: Home) -> Job | None:
    """Somebody whose forgetting was cut short."""
    value = home.ledger.meta(JOB)
    return None if value is None else msgspec.json.decode(value, type=Job)


def forget(home: Home, lease: Lease, contact_id: str, say: Say = lambda _: None) -> Forgotten:
    """Take a person out of everything. Whoever was begun before and not finished is finished first."""
    begun = unfinished(home)
    if begun is not None and begun.contact_id != contact_id:
        say("Finishing somebody whose forgetting was cut short.")
        _forget(home, lease, begun.contact_id, say)
    return _forget(home, lease, contact_id, say)


def _forget(home: Home, lease: Lease, contact_id: str, say: Say) -> Forgotten:
    key, job = _begin(home, lease, contact_id)
    say("Cancelling what is planned for them.")
    cancelled = _quiet(home, lease, sorted(job.ids))
    known = know(home, contact_id)  # what came back from the wire meanwhile too
    job.learn(known)
    _write_down(home, lease, job)
    person, traces = job.person(known.person), job.traces(key)
    say("Landing files.")
    landing = erase_from_landing(home.landing, person, lease)
    say("The lake.")
    rewritten = _lake(home, lease, person, traces)
    say("The ledger.")
    Eraser(home.ledger, lease, person, traces).erase(landing.places, landing.requests)
    say("The analysts' database.")
    publish(home, lease)
    home.lake.sweep(lease, keep=-IN_FLIGHT)
    kept = erase_from_kept(home.path, person, {home.paths.lake, home.paths.landing, home.paths.dagster})
    with home.ledger.write(lease) as tx:
        tx.execute(meta.delete().where(meta.c.name == JOB))
        scrubbing.ask(tx)
    say("The ledger's file.")
    emptied = scrubbing.scrub(home, lease)
    left = [*landing.left, *(one for one in _project_files(home) if names_in(home.path / one, person))]
    files = (*landing.files, *kept)
    return Forgotten(job.label, cancelled, landing.lines, files, rewritten, tuple(left), emptied, tuple(landing.packed))


def _begin(home: Home, lease: Lease, contact_id: str) -> tuple[bytes, Job]:
    """The key, and the job: the one that was begun, or a new one with a number that nobody had."""
    known = know(home, contact_id)
    with home.ledger.write(lease) as tx:
        key = make_key(tx)
        value = tx.execute(sa.select(meta.c.value).where(meta.c.name == JOB)).scalar_one_or_none()
        if value is not None:
            job = msgspec.json.decode(value, type=Job)
        else:
            number = int(tx.execute(sa.select(meta.c.value).where(meta.c.name == _COUNT)).scalar() or 0) + 1
            _put(tx, _COUNT, str(number))
            job = Job(contact_id, f"{FORGOTTEN}{number}", set(), set(), set(), set(), set(), set(), [])
        job.learn(known)
        _put(tx, JOB, msgspec.json.encode(job).decode())
    return key, job


def _write_down(home: Home, lease: Lease, job: Job) -> None:
    with home.ledger.write(lease) as tx:
        _put(tx, JOB, msgspec.json.encode(job).decode())


def _put(tx: sa.Connection, name: str, value: str) -> None:
    statement = insert(meta).values(name=name, value=value)
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def _quiet(home: Home, lease: Lease, ids: list[str]) -> int:
    """End their passages, cancel what is planned, and wait for what is on the wire. Gives how many were cancelled."""
    before = _in_state(home, ids, MessageState.cancelled)
    now = to_us(home.clock())
    with home.ledger.read() as tx:
        inside = [row.id for row in select_in(tx, _INSIDE, ids)]
        planned = [row.id for row in select_in(tx, _PLANNED, ids)]
    for start in range(0, max(len(inside), len(planned), 1), BULK):
        with home.ledger.write(lease) as tx:
            leave(tx, inside[start : start + BULK], LeaveReason.dropped_by_hand, now)
            cancel(tx, planned[start : start + BULK])
            open_ = answer.c.contact_id.in_(ids) & answer.c.done_at.is_(None)
            tx.execute(answer.update().where(open_).values(done_at=now, outcome="forgotten"))
    deadline = time.monotonic() + IN_FLIGHT
    while _in_state(home, ids, MessageState.attempted) and time.monotonic() < deadline and _sending(home):
        time.sleep(0.1)
    return _in_state(home, ids, MessageState.cancelled) - before


_INSIDE = "SELECT id FROM participant WHERE left_at IS NULL AND contact_id IN :ids"
_PLANNED = "SELECT id FROM message WHERE state IN ('planned', 'held') AND contact_id IN :ids"


def _in_state(home: Home, ids: list[str], state: MessageState) -> int:
    with home.ledger.read() as tx:
        rows = select_in(tx, "SELECT id FROM message WHERE contact_id IN :ids AND state = :state", ids, state=state)
    return len(rows)


def _sending(home: Home) -> bool:
    """Whether a lane is at work, which would settle what is on the wire."""
    return any(row.name.startswith("send:") for row in home.ledger.leases())


def _lake(home: Home, lease: Lease, person: Person, traces: Traces) -> int:
    entries = _met(home, person)

    def also(tx: sa.Connection, before: pl.DataFrame, after: pl.DataFrame) -> None:
        assert entries is not None
        keep_places(tx, before, after, entries)

    return erase_from_lake(home.lake, person, traces, lease, also if entries is not None else None)


def _met(home: Home, person: Person) -> pl.DataFrame | None:
    """Who was met for their events (campaign, event_id), where a trigger is in the middle of a batch; else None."""
    with home.ledger.read() as tx:
        if tx.execute(sa.select(event_cursor.c.name).where(event_cursor.c.position > 0).limit(1)).first() is None:
            return None
        waiting: list[Any] = list(tx.exec_driver_sql("SELECT campaign, event_id FROM waiting_entry").all())
    ids = pl.Series("id", sorted(person.ids), pl.String).implode()
    theirs = home.events.scan().filter(pl.col("contact_id").is_in(ids)).select("event_id").collect()
    schema = {"campaign": pl.String(), "event_id": pl.String()}
    met = home.lake.scan("entries", dict(schema)).select("campaign", "event_id")
    found = pl.concat([met, pl.LazyFrame(waiting, schema=schema, orient="row")])
    return found.join(theirs.lazy(), on="event_id", how="semi").collect(engine="streaming")


def _project_files(home: Home) -> list[str]:
    """The project's own files, which are in Git and not ours to change."""
    folders = ("campaigns", "segments", "templates")
    found = [path for folder in folders for path in sorted((home.path / folder).glob("*")) if path.is_file()]
    return [path.relative_to(home.path).as_posix() for path in (*found, home.path / "estafette.yaml")]
