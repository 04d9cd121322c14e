"""The database in which a segment runs: in memory, thrown away with the query, and seeing nothing but two tables.

What belongs here: that DuckDB, the evaluation of a segment in it, and what becomes of its rows. What its SQL may hold
is `segment_guard`; where the two tables come from, `Contacts.tables`; who calls this, in a process that can be ended,
is `segments`.

The database sees the lake's files of contacts and events and no other, has no network, and cannot be configured any
further once the query runs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from journey.audience import Segment
from journey.audience_sql import segment_sql, segment_view
from journey.condition_sql import Kind, quoted
from journey.conditions import Clock
from journey.problems import SegmentError
from resources.segment_guard import failed, refuse

MEMORY = "2GB"
"""What DuckDB counts of its own; what else the process takes is limited by `segments`."""

SPILLED = "20GB"
"""What a query may put on disk meanwhile; DuckDB's own limit is nearly all there is."""

_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
_WIDE = {"HUGEINT", "UHUGEINT"}  # sum() of integers; a value over 2^63 is an error, not another number
_TIMES = ("TIMESTAMP", "DATETIME")
_NESTED = ("STRUCT", "MAP", "UNION", "VARIANT")


@dataclass(frozen=True, slots=True)
class Tables:
    """How `contacts` and `events` come into a DuckDB: the files it must be able to read, the statements that make the
    views, and what each column of `contacts` holds."""

    paths: tuple[str, ...]
    setup: tuple[str, ...]
    columns: Mapping[str, Kind]


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is in a segment. `frame`: contact_id (String, known, once each, in the query's order where it has one, else
    by id), then the query's further columns as Boolean, Int64, Float64, String, Date or Datetime("us", "UTC"); lists
    and structs are JSON text and named in `nested`. `rows`: what the query gave; left out were `nulls` and `unknown`
    ids, and `repeated` rows."""

    frame: pl.DataFrame
    rows: int
    nulls: int = 0
    unknown: int = 0
    repeated: int = 0
    nested: tuple[str, ...] = ()

    @property
    def left_out(self) -> int:
        """Rows whose contact_id is null or nobody's."""
        return self.nulls + self.unknown


def audience(needed: Sequence[Segment], tables: Tables, clock: Clock, memory: str, folder: Path) -> Audience:
    """The audience of the last of these segments; those before it are named by it, or by each other, and come first.
    `folder` takes what does not fit into `memory`. SegmentError: one is refused or fails (with file and line)."""
    with _database(tables, clock, memory, folder) as con:
        segment = needed[-1]
        try:
            for segment in needed[:-1]:
                _keep(con, segment, *_query(con, segment, tables, clock))
            segment = needed[-1]
            return _run(con, segment, *_query(con, segment, tables, clock))
        except duckdb.Error as error:
            raise failed(error, segment) from None


def columns(segment: Segment, tables: Tables, clock: Clock, memory: str, folder: Path) -> tuple[str, ...]:
    """The further columns that an SQL segment returns, without running it. SegmentError: it can't run."""
    with _database(tables, clock, memory, folder) as con:
        try:
            types = _describe(con, *_query(con, segment, tables, clock))
        except duckdb.Error as error:
            raise failed(error, segment) from None
    key = _id_column(segment, types)
    return tuple(name for name in types if name != key)


def _query(
    con: duckdb.DuckDBPyConnection, segment: Segment, tables: Tables, clock: Clock
) -> tuple[str, dict[str, Any]]:
    """A SELECT that can stand in brackets, and its parameters."""
    if segment.kind == "yaml":
        query = segment_sql(segment, tables.columns, clock)
        return query.sql, dict(query.params)
    text = segment.text.removeprefix("\ufeff")
    refusal = refuse(text)
    if refusal is not None:
        where = f"{segment.file}:{refusal.line}" if refusal.line else segment.file
        raise SegmentError(refusal.what, where=where, mend=refusal.mend.rstrip("."))
    # A view: the text may end in a semicolon and a comment, and DuckDB's errors name its own lines.
    view = quoted(f"query {segment.name}")
    con.execute(f"create view {view} as {text}")
    return f"select * from {view}", {}


def _keep(con: duckdb.DuckDBPyConnection, segment: Segment, query: str, params: Mapping[str, Any]) -> None:
    """Evaluate a segment that another one refers to, once, into a table of its contact_ids."""
    column = quoted(_id_column(segment, _describe(con, query, params)))
    table = quoted(segment_view(segment.name))
    ids = f"select distinct {column}::varchar as contact_id from ({query}) where {column} is not null"
    con.execute(f"create table {table} as {ids}", params)


def _run(con: duckdb.DuckDBPyConnection, segment: Segment, query: str, params: Mapping[str, Any]) -> Audience:
    types = _describe(con, query, params)
    key = _id_column(segment, types)
    wanted = {key: "varchar"} | {name: _cast(kind) for name, kind in types.items() if name != key}
    casts = [_casted(name, cast) for name, cast in wanted.items()]
    found = _frame(con, f"select {', '.join(casts)} from ({query})", params).rename({key: "contact_id"})
    ids = found.filter(pl.col("contact_id").is_not_null())
    frame = ids.unique("contact_id", keep="first", maintain_order=True)
    unknown = 0
    if segment.kind == "sql":  # a YAML segment starts from the contacts themselves
        con.register("found", frame.select("contact_id").to_arrow())
        known = _frame(con, "select contact_id from contacts semi join found using (contact_id)", {})
        known_ids = ids.join(known, on="contact_id", how="semi", maintain_order="left")
        unknown = ids.height - known_ids.height
        frame = known_ids.unique("contact_id", keep="first", maintain_order=True)
    if not _ordered(segment):
        frame = frame.sort("contact_id")
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    frame = frame.with_columns(pl.col(name).dt.convert_time_zone("UTC").dt.cast_time_unit("us") for name in times)
    return Audience(
        frame,
        rows=found.height,
        nulls=found.height - ids.height,
        unknown=unknown,
        repeated=ids.height - unknown - frame.height,
        nested=tuple(name for name, cast in wanted.items() if cast == "json"),
    )


def _ordered(segment: Segment) -> bool:
    """Whether a query may say in which order people come. Where none does they come by id: whatever is done with many
    of them then reads and writes what lies side by side (a third of the cost of entering and planning a million)."""
    return segment.kind == "sql" and _ORDER.search(segment.text) is not None


def _frame(con: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, Any]) -> pl.DataFrame:
    table = con.sql(query, params=dict(params)).to_arrow_table() if params else con.sql(query).to_arrow_table()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _describe(con: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, Any]) -> dict[str, str]:
    """The query's columns and their types."""
    rows = con.execute(f"describe {query}", dict(params)).fetchall()
    return {str(row[0]): str(row[1]).upper() for row in rows}


def _id_column(segment: Segment, types: Mapping[str, str]) -> str:
    found = [name for name in types if name.casefold() == "contact_id"]
    if not found:
        mend = "Select it, or name a column so: `id as contact_id`"
        raise SegmentError("the query returns no column `contact_id`", where=segment.file, mend=mend)
    return found[0]


def _cast(kind: str) -> str:
    """What an attribute of a DuckDB type is kept as."""
    if kind == "JSON" or kind.endswith("]") or kind.startswith(_NESTED):
        return "json"
    if kind in _INTEGERS | _WIDE:
        return "bigint"
    if kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        return "double"
    if kind in ("BOOLEAN", "DATE"):
        return kind.lower()
    return "timestamptz" if kind.startswith(_TIMES) else "varchar"


def _casted(name: str, cast: str) -> str:
    column = quoted(name)
    return f"to_json({column})::varchar as {column}" if cast == "json" else f"{column}::{cast} as {column}"


# -- the database ------------------------------------------------------------------------------------------------------


@contextmanager
def _database(tables: Tables, clock: Clock, memory: str, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect(":memory:", config={"memory_limit": memory, "temp_directory": str(folder)})
    try:
        con.execute(f"set max_temp_directory_size = '{SPILLED}'")
        con.execute("set enable_progress_bar = false")  # it would stand in the output of a command
        con.execute(f"set TimeZone = '{clock.zone.key}'")
        con.execute("set allowed_paths = $paths", {"paths": list(tables.paths)})
        for statement in (*tables.setup, *_turned(clock)):
            con.execute(statement)
        con.execute("set enable_external_access = false")
        con.execute("set python_enable_replacements = false")
        con.execute("set autoload_known_extensions = false")
        con.execute("set autoinstall_known_extensions = false")
        con.execute("set lock_configuration = true")
        yield con
    finally:
        con.close()


def _turned(clock: Clock) -> Iterator[str]:
    """Macros that shadow whatever tells the time: a segment sees the run's clock and no other."""
    now = clock.now.astimezone(UTC)
    local = now.astimezone(clock.zone).replace(tzinfo=None)
    values = {
        f"timestamptz '{now.isoformat()}'": (
            "now",
            "get_current_timestamp",
            "current_timestamp",
            "transaction_timestamp",
        ),
        f"timestamp '{local.isoformat()}'": ("localtimestamp", "current_localtimestamp"),
        f"date '{local.date().isoformat()}'": ("today", "current_date"),
        f"time '{local.time().isoformat()}'": ("get_current_time", "current_time", "current_localtime"),
    }
    for value, names in values.items():
        for name in names:
            yield f"create macro {name}() as {value}"
    day = f"timestamp '{local.date().isoformat()}'"
    yield f"create macro age(a) as system.main.age({day}, a::timestamp), (a, b) as system.main.age(a, b)"
