"""The analyst database: publishing a new `data/analytics.duckdb`, and opening it.

What belongs here: the file. It holds views over an explicit list of Parquet files, a few small tables counted at
publishing, and a comment on every table and column (`journey.schemas`). Each publish writes a new file and puts it in
the old one's place: readers never lock the writer nor the reverse, and a session keeps the cut with which it began.
What a cut is made of is `resources.export`; what `estafette query` admits is `resources.analyst_query`.

The file has the storage version of DuckDB 1.2, because the default of 2.0 can't be opened by tools of 1.x; it needs no
extension. Paths in it are absolute.
"""

import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from journey import schemas
from journey.problems import EstafetteError
from journey.schemas import Table
from journey.template import Template
from resources.analyst_views import quoted, select, text
from resources.contacts import Contacts
from resources.export import Cut, export
from resources.lake import Lake
from resources.ledger import Lease, Ledger
from resources.on_disk import sync
from resources.project import Paths
from resources.settings import Settings
from resources.tables import meta
from resources.tallies import count_conversations, tally

STORAGE = "v1.2.0"
NAME = "estafette"
"""The database's name in a session that `connect` opens."""

FORMAT = 2
"""Raised when the views or tables change, so that an unchanged ledger is published again."""

_STAMP = "analyst_db"
_ORPHAN_SECONDS = 3600.0
_COUNTED = (schemas.CAMPAIGN_FUNNEL, schemas.STEP_FUNNEL, schemas.CAMPAIGN_DAILY, schemas.LIFT, schemas.COSTS)
_COUNTING = ("analyst_funnels.sql", "analyst_lift.sql", "analyst_costs.sql")
_SQL = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did. `counts`: rows by table, also where the file stayed; `seconds` it took; `changed`: whether
    there is a new file; `written`: Parquet files written for it; `lost`: files of rendered bodies that are gone (their
    messages have no body)."""

    path: Path
    counts: Mapping[str, int]
    seconds: float
    changed: bool
    written: int = 0
    lost: tuple[str, ...] = ()


def publish(
    paths: Paths,
    ledger: Ledger,
    lake: Lake,
    contacts: Contacts,
    settings: Settings,
    templates: Mapping[tuple[str, str], Template],
    *,
    now: datetime,
    lease: Lease | None,
    goals: Mapping[str, Sequence[str]] | None = None,
    wall: Callable[[], float] = time.time,
    min_age: float = 0.0,
) -> Published:
    """Show the analysts what is known now (`now`, UTC, on the campaign's clock). `goals`: the names of the goals in
    each campaign's file, because those that nobody has reached yet have no row in the ledger.

    Nothing changed since the last publish: the file stays, as it does while it is younger than `min_age` seconds
    (wall). `lease`: the right to act, renewed on the way; None only where nobody else can publish. LeaseLost: it has
    passed on, and the file is as it was.
    """
    began = time.monotonic()
    path = paths.analytics
    with contextlib.suppress(FileNotFoundError):
        if min_age and wall() - path.stat().st_mtime < min_age:
            return Published(path, _stamp(ledger).counts, time.monotonic() - began, changed=False)
    cut = export(ledger, lake, contacts, settings.consent.default == "opted_in", lease)
    known = _templates(templates, paths.home / "templates", cut.held)
    wanted = sorted((campaign, goal) for campaign, named in (goals or {}).items() for goal in named)
    digest = _digest(cut, known, wanted, settings.timezone)
    stamp = _stamp(ledger)
    if stamp.state == _state(path, digest):
        return Published(path, stamp.counts, time.monotonic() - began, False, cut.written, cut.lost)
    for kept in (path, paths.tallies):
        _sweep(kept, wall())
    hidden = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        counts = _write(hidden, cut, paths.tallies, known, wanted, settings.timezone, now)
        sync(hidden)
        hidden.chmod(0o444)
        with ledger.write(lease) as tx:  # who has lost the lease must not put an older cut in place of a newer one
            hidden.replace(path)
            tx.execute(meta.delete().where(meta.c.name == _STAMP))
            stamp = _Stamp(_state(path, digest), counts)
            tx.execute(meta.insert().values(name=_STAMP, value=json.dumps([stamp.state, stamp.counts])))
    finally:
        hidden.unlink(missing_ok=True)
    sync(path.parent)
    return Published(path, counts, time.monotonic() - began, True, cut.written, cut.lost)


def connect(path: Path, timezone: str = "UTC") -> duckdb.DuckDBPyConnection:
    """A session on the published file, read-only, with the cut of this moment; times are shown in `timezone`.

    It is a fresh in-memory database with the file attached: `duckdb.connect` of a path that is open in this process
    already gives the old file after a publish. EstafetteError: nothing is published, or it can't be opened.
    """
    if not path.exists():
        raise EstafetteError(
            "nothing has been published for analysts yet", where=str(path), mend="Run `estafette tick`, which publishes"
        )
    con = duckdb.connect(":memory:")
    try:
        con.execute(f"ATTACH {text(str(path))} AS {NAME} (READ_ONLY)")
        con.execute(f"USE {NAME}")
        con.execute(f"SET TimeZone = {text(timezone)}")
    except duckdb.Error as error:
        con.close()
        raise EstafetteError(f"the analyst database can't be opened: {error}", where=str(path)) from error
    return con


# -- has anything changed? -------------------------------------------------------------------------------------------


def _digest(cut: Cut, templates: Sequence[tuple[Any, ...]], goals: Sequence[tuple[str, str]], timezone: str) -> str:
    """Says whether the file would be another one."""
    parts = {name: [str(path) for path in part.files] for name, part in sorted(cut.parts.items())}
    columns = [(column.name, column.dtype.sql) for column in cut.contacts.columns]
    told = repr((FORMAT, STORAGE, parts, columns, templates, goals, timezone))
    return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What the ledger remembers of the last publish: `state` of the file, and its row counts."""

    state: str
    counts: Mapping[str, int]


def _state(path: Path, digest: str) -> str:
    """The file's content, and what shows that it is still the file we wrote; empty where there is none."""
    with contextlib.suppress(FileNotFoundError):
        stat = path.stat()
        return f"{digest} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"
    return ""


def _stamp(ledger: Ledger) -> _Stamp:
    value = ledger.meta(_STAMP)
    return _Stamp("none", {}) if value is None else _Stamp(*json.loads(value))


def _templates(
    templates: Mapping[tuple[str, str], Template], folder: Path, held: Mapping[tuple[str, str], str]
) -> list[tuple[Any, ...]]:
    """The rows of the table `templates`."""
    rows = []
    for key, template in sorted(templates.items()):
        pulled_at = None
        with contextlib.suppress(OSError):
            pulled_at = datetime.fromtimestamp((folder / template.file_name).stat().st_mtime, UTC)
        components = json.dumps(template.raw.get("components"), ensure_ascii=False)
        status = held.get(key, template.status)
        rows.append((*key, status or None, template.category or None, components, template.quality, pulled_at))
    return rows


# -- the file --------------------------------------------------------------------------------------------------------


def _write(
    path: Path,
    cut: Cut,
    tallies: Path,
    templates: Sequence[tuple[Any, ...]],
    goals: Sequence[tuple[str, str]],
    timezone: str,
    now: datetime,
) -> dict[str, int]:
    """Write the whole database as a new file; `tallies` is where those are kept. Gives the row count of each table."""
    tables = {**schemas.TABLES, cut.contacts.name: cut.contacts}
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(":memory:", config={"temp_directory": str(path.with_suffix(".tmp"))}) as con:
        con.execute(f"ATTACH {text(str(path))} AS {NAME} (STORAGE_VERSION '{STORAGE}')")
        con.execute(f"USE {NAME}")
        con.execute("SET TimeZone = 'UTC'")
        tally(con, cut.parts, tallies)
        con.execute("BEGIN")
        for name, part in cut.parts.items():
            con.execute(f"CREATE VIEW {name} AS {select(con, tables[name], part.files)}")
        con.execute(f"CREATE VIEW {schemas.CONVERSATIONS.name} AS {_conversations(con, cut)}")
        for table in (*_COUNTED, schemas.TEMPLATES, schemas.PUBLISHED):
            con.execute(_create(table))
        if templates:
            con.executemany(_insert(schemas.TEMPLATES), templates)
        con.execute("SET VARIABLE zone = ?", [timezone])
        con.execute("CREATE TEMP TABLE written_goals (campaign VARCHAR, goal VARCHAR)")
        if goals:
            con.executemany("INSERT INTO written_goals VALUES (?, ?)", goals)
        for name in _COUNTING:
            con.execute((_SQL / name).read_text(encoding="utf-8"))
        counts = {name: part.rows for name, part in cut.parts.items()}
        for table in (*_COUNTED, schemas.TEMPLATES):
            counts[table.name] = int(_one(con, f"SELECT count(*) FROM {table.name}"))
        counts[schemas.CONVERSATIONS.name] = count_conversations(cut.parts)
        con.execute(_insert(schemas.PUBLISHED), [now, *(counts[name] for name in schemas.PUBLISHED.names[1:])])
        con.execute(";".join(_comments(con, tables)))
        con.execute("COMMIT")
        con.execute("USE memory")
        con.execute(f"CHECKPOINT {NAME}")
        con.execute(f"DETACH {NAME}")
    return {name: counts[name] for name in schemas.PUBLISHED.names[1:]}


def _conversations(con: duckdb.DuckDBPyConnection, cut: Cut) -> str:
    messages = select(con, schemas.MESSAGES, cut.parts[schemas.MESSAGES.name].files)
    replies = select(con, schemas.REPLIES, cut.parts[schemas.REPLIES.name].files, [("sender", "VARCHAR")])
    query = (_SQL / "analyst_conversations.sql").read_text(encoding="utf-8")
    return query.replace("{messages}", messages).replace("{replies}", replies)


def _create(table: Table) -> str:
    columns = ", ".join(f"{quoted(column.name)} {column.dtype.sql}" for column in table.columns)
    return f"CREATE TABLE {table.name} ({columns})"


def _insert(table: Table) -> str:
    return f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})"


def _comments(con: duckdb.DuckDBPyConnection, tables: Mapping[str, Table]) -> Iterator[str]:
    views = {row[0] for row in con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
    for table in tables.values():
        kind = "VIEW" if table.name in views else "TABLE"
        yield f"COMMENT ON {kind} {table.name} IS {text(table.comment)}"
        for column in table.columns:
            yield f"COMMENT ON COLUMN {table.name}.{quoted(column.name)} IS {text(column.comment)}"


def _one(con: duckdb.DuckDBPyConnection, statement: str) -> Any:
    row = con.execute(statement).fetchone()
    assert row is not None
    return row[0]


def _sweep(path: Path, wall: float) -> None:
    """Delete what a crashed publish left behind."""
    for orphan in path.parent.glob(f".{path.stem}-*"):
        with contextlib.suppress(FileNotFoundError):
            if wall - orphan.stat().st_mtime > _ORPHAN_SECONDS:
                orphan.unlink()
