"""The ledger's mutable rows and the contacts as Parquet files for the analysts: one cut, cheap to bring up to date.

What belongs here: which buckets are due, writing them, and the list of files that make a cut. Which tables and columns
there are is `resources.export_tables`, what becomes of the files `resources.analyst_db`.

Rows are exported in buckets of 100,000 ids; a writer marks its bucket in `dirty` in its own transaction. No mark is
ever lost: the marks are first renamed (`exporting:NAME`) in a transaction of their own, then everything is read in one
read transaction that begins later, and only the renamed marks are deleted with the commit. A mark that comes in between
has its old name and waits for the next export; renamed marks that a crash left behind are taken up by the next export.

Files are the lake's (under `export/`): a name is never used twice, and a file that was replaced stays for a day, for
whoever reads an older cut, or at least an hour where such files take much room.
"""

import contextlib
import hashlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from journey import schemas
from journey.schemas import Table
from resources.ahead import ahead
from resources.contacts import BASE, DELTA, Contacts
from resources.export_bodies import BodyFiles
from resources.export_tables import BY_NAME, EXPORTED, Exported
from resources.lake import Lake, LakeFile
from resources.ledger import BUCKET, LEASE_SECONDS, US, Asked, Lease, Ledger
from resources.tables import dirty, lake_file, meta, template_hold
from resources.tables import export as exports

FACTS = (schemas.EVENTS, schemas.ENTRIES, schemas.PARTICIPANT_STEPS, schemas.MESSAGE_EVENTS)
"""Tables that are files of the lake as they are."""

EXPORTING = "exporting:"
CONTACT_ROWS = 250_000
KEEP_BYTES = 5 << 30
KEEP_SECONDS = 3600.0
"""Replaced files over `KEEP_BYTES` in all are deleted after `KEEP_SECONDS` already, oldest first: a busy campaign of a
million messages replaces at least 22 MB a minute (measured), which is 32 GB in a day."""

_CONTACTS_TOKEN = "analyst_contacts"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Part:
    """The files of one table, and how many rows they have."""

    files: tuple[Path, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What the analysts are to see. `parts` by the analysts' table; `contacts` is its table with the properties;
    `held`: templates that Meta refused, (name, language) → status. `written`: files written for this cut; `lost`: files
    of bodies that are gone."""

    parts: Mapping[str, Part]
    contacts: Table
    held: Mapping[tuple[str, str], str]
    written: int
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Made:
    """A bucket as it was written; `file` None: it has no rows."""

    name: str
    bucket: int
    file: LakeFile | None


def export(ledger: Ledger, lake: Lake, contacts: Contacts, opted_in: bool, lease: Lease | None) -> Cut:
    """Write what changed since the last export and give the cut. `opted_in`: the settings' default.

    One exporter at a time: `lease` says that it is us (None: nobody else can be there), and is renewed on the way.
    LeaseLost: someone else took over; the files just written are orphans, and swept.
    """
    _rename_marks(ledger, lease)
    beat = _Beat(ledger, lease)
    with ledger.read() as tx:
        bodies = BodyFiles(lake, tx)
        marks = {(str(row.name), int(row.bucket)) for row in tx.execute(sa.select(dirty)) if _is_renamed(row.name)}
        known = {(r.name, r.bucket): (r.path, r.rows) for r in tx.execute(sa.select(exports))}
        broken = _broken(tx, lake, known)
        due = sorted(_due(tx, known, marks) | {key for key in broken if key[0] in BY_NAME})
        before = {key: path for key, (path, _) in known.items() if key not in broken}
        made = []
        with contextlib.closing(_written(ledger, lake, tx, due, before, bodies)) as writing:
            for one in writing:
                beat()
                made.append(one)
        parts = {
            table.name: Part(tuple(lake.root / str(r.path) for r in rows), sum(int(str(r.rows)) for r in rows))
            for table in FACTS
            for rows in [lake.rows(table.name, tx)]
        }
        held = {(r.name, r.language): r.status for r in tx.execute(sa.select(template_hold))}
        table = schemas.with_properties(contacts.types(tx).items())
        token = _token(tx, lake, table, opted_in)
        known_token = tx.execute(sa.select(meta.c.value).where(meta.c.name == _CONTACTS_TOKEN)).scalar_one_or_none()
    people = {key for key in known if key[0] == BASE}
    if token != known_token or people & broken:
        made += _write_contacts(lake, contacts, table, opted_in, beat)
        known = {key: value for key, value in known.items() if key not in people}
    else:
        people = set()
    if made or marks or people or token != known_token:
        _commit(ledger, lake, lease, made, marks, people, token)
        _relieve(ledger, lake, lease)
    for one in made:
        known[one.name, one.bucket] = (one.file.path, one.file.rows) if one.file is not None else ("", 0)
    for name, table_name in ((BASE, schemas.CONTACTS.name), *((e.name, e.table.name) for e in EXPORTED)):
        mine = [known[key] for key in sorted(known) if key[0] == name]
        parts[table_name] = Part(tuple(lake.root / path for path, _ in mine if path), sum(rows for _, rows in mine))
    written = sum(one.file is not None for one in made)
    return Cut(parts, table, held, written, tuple(sorted(bodies.lost)))


# -- what is due -----------------------------------------------------------------------------------------------------


def _is_renamed(name: str) -> bool:
    return name.startswith(EXPORTING) and name.removeprefix(EXPORTING) in BY_NAME


def _rename_marks(ledger: Ledger, lease: Lease | None) -> None:
    """Give the marks that are there now another name, so that those set from now on can be told from them."""
    mine = dirty.c.name.in_(list(BY_NAME))
    with ledger.read() as tx:
        if tx.execute(sa.select(dirty.c.name).where(mine).limit(1)).first() is None:
            return
    with ledger.write(lease) as tx:
        tx.exec_driver_sql(
            f"INSERT INTO dirty (name, bucket) SELECT '{EXPORTING}' || name, bucket FROM dirty"
            f" WHERE name IN ({', '.join('?' * len(BY_NAME))}) ON CONFLICT DO NOTHING",
            tuple(BY_NAME),
        )
        tx.execute(dirty.delete().where(mine))


def _broken(tx: sa.Connection, lake: Lake, known: Mapping[tuple[str, int], tuple[str, int]]) -> set[tuple[str, int]]:
    """The buckets whose file is gone, or of another size than was written."""
    query = sa.select(lake_file.c.path, lake_file.c.bytes).where(lake_file.c.name.startswith("export/"))
    sizes = {str(row.path): int(row.bytes) for row in tx.execute(query)}
    found = set()
    for key, (path, _) in known.items():
        try:
            whole = not path or (lake.root / path).stat().st_size == sizes.get(path)
        except OSError:
            whole = False
        if not whole:
            found.add(key)
    return found


def _due(
    tx: sa.Connection, known: Mapping[tuple[str, int], tuple[str, int]], marks: set[tuple[str, int]]
) -> set[tuple[str, int]]:
    """The buckets to be written: marked, never exported, or grown."""
    due = {(name.removeprefix(EXPORTING), bucket) for name, bucket in marks}
    for one in EXPORTED:
        # Two sub-queries: SQLite looks min and max up in the key only one at a time, and else reads the whole table.
        bounds = f"SELECT (SELECT min(id) FROM {one.name}), (SELECT max(id) FROM {one.name})"
        low, high = tx.exec_driver_sql(bounds).one()
        if high is None:
            continue
        buckets = range(low // BUCKET, high // BUCKET + 1)
        due |= {(one.name, bucket) for bucket in buckets if (one.name, bucket) not in known}
        last = max((bucket for name, bucket in known if name == one.name), default=None)
        if one.grows and last is not None:
            rows = tx.exec_driver_sql(
                f"SELECT count(*) FROM {one.name} WHERE id >= ? AND id < ?", (last * BUCKET, (last + 1) * BUCKET)
            ).scalar_one()
            if rows != known[one.name, last][1]:
                due.add((one.name, last))
    return due


def _token(tx: sa.Connection, lake: Lake, table: Table, opted_in: bool) -> str:
    """Says whether the contacts are still the same: their files, their columns and the default of consent."""
    files = [row.path for name in (BASE, DELTA) for row in lake.rows(name, tx)]
    columns = [(column.name, column.dtype.sql) for column in table.columns]
    return hashlib.sha256(repr((files, columns, opted_in)).encode()).hexdigest()[:16]


# -- writing ---------------------------------------------------------------------------------------------------------


def _written(
    ledger: Ledger,
    lake: Lake,
    tx: sa.Connection,
    due: Sequence[tuple[str, int]],
    before: Mapping[tuple[str, int], str],
    bodies: BodyFiles,
) -> Generator[_Made]:
    """Write the buckets that are due; `before` has the paths of their last exports. Three are under way at any time:
    SQLite reads one, one becomes a frame, and one is written. To be closed, so that nobody reads in `tx` any more."""

    def write(given: tuple[tuple[str, int], pl.DataFrame]) -> _Made:
        (name, bucket), frame = given
        one = BY_NAME[name]
        if frame.is_empty():
            return _Made(name, bucket, None)
        if name == "message":
            frame = bodies.add(frame, before.get((name, bucket), ""))
        return _Made(name, bucket, lake.put(f"export/{one.table.name}", one.finished(frame)))

    asked = [_asked(BY_NAME[name], bucket) for name, bucket in due]
    with contextlib.closing(ledger.frames(asked, tx)) as frames:
        yield from ahead(write, zip(due, frames, strict=True))


def _asked(one: Exported, bucket: int) -> Asked:
    return one.query, one.schema, (bucket * BUCKET, (bucket + 1) * BUCKET)


def _write_contacts(lake: Lake, contacts: Contacts, table: Table, opted_in: bool, beat: "_Beat") -> Iterator[_Made]:
    people = contacts.current(list(table.names)).with_columns(pl.col("opted_in").fill_null(opted_in))
    bucket = 0
    for frame in people.collect_batches(chunk_size=CONTACT_ROWS):
        beat()
        if frame.height:
            yield _Made(BASE, bucket, lake.put(f"export/{table.name}", frame))
            bucket += 1


class _Beat:
    """Renews the lease when a third of it has gone."""

    def __init__(self, ledger: Ledger, lease: Lease | None) -> None:
        self.ledger, self.lease, self.last = ledger, lease, time.monotonic()

    def __call__(self) -> None:
        if self.lease is not None and time.monotonic() - self.last > LEASE_SECONDS / 3:
            self.ledger.renew(self.lease)
            self.last = time.monotonic()


# -- making it count -------------------------------------------------------------------------------------------------


def _commit(
    ledger: Ledger,
    lake: Lake,
    lease: Lease | None,
    made: Sequence[_Made],
    marks: set[tuple[str, int]],
    people: set[tuple[str, int]],
    token: str,
) -> None:
    """The new files count, those that they replace do not, and the marks that led to them go; all at once."""
    with ledger.write(lease) as tx:
        for name, bucket in {*people, *((one.name, one.bucket) for one in made)}:
            _forget(tx, lake, name, bucket)
        for one in made:
            if one.file is not None:
                lake.register(tx, one.file)
            path, rows = (one.file.path, one.file.rows) if one.file is not None else ("", 0)
            tx.execute(exports.insert().values(name=one.name, bucket=one.bucket, path=path, rows=rows))
        for name, bucket in marks:
            tx.execute(dirty.delete().where(dirty.c.name == name, dirty.c.bucket == bucket))
        tx.execute(meta.delete().where(meta.c.name == _CONTACTS_TOKEN))
        tx.execute(meta.insert().values(name=_CONTACTS_TOKEN, value=token))


def _forget(tx: sa.Connection, lake: Lake, name: str, bucket: int) -> None:
    mine = (exports.c.name == name) & (exports.c.bucket == bucket)
    path = tx.execute(sa.select(exports.c.path).where(mine)).scalar_one_or_none()
    if path is None:
        return
    lake.drop(tx, tx.execute(sa.select(lake_file.c.id).where(lake_file.c.path == path)).scalars())
    tx.execute(exports.delete().where(mine))


def _relieve(ledger: Ledger, lake: Lake, lease: Lease | None) -> None:
    """Delete replaced files sooner than after a day (`Lake.sweep`) where they take much room."""
    until = int((lake.wall() - KEEP_SECONDS) * US)
    replaced = (
        sa.select(lake_file.c.id, lake_file.c.path, lake_file.c.bytes, lake_file.c.dropped_at)
        .where(lake_file.c.name.startswith("export/"), lake_file.c.dropped_at.is_not(None))
        .order_by(lake_file.c.dropped_at.desc(), lake_file.c.id.desc())
    )
    kept, gone = 0, list[tuple[int, str]]()
    with ledger.read() as tx:
        for row in tx.execute(replaced):
            kept += row.bytes
            if kept > KEEP_BYTES and row.dropped_at < until:
                gone.append((row.id, row.path))
    if gone:
        with ledger.write(lease) as tx:
            tx.execute(lake_file.delete().where(lake_file.c.id.in_([number for number, _ in gone])))
        for _, path in gone:
            (lake.root / path).unlink(missing_ok=True)
