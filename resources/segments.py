"""Evaluating a segment: who is in it now, and with which attributes.

What belongs here: the throw-away DuckDB in which a segment runs, and what becomes of its rows. What its SQL may hold is
`segment_guard`; where the two tables come from, `Contacts.tables`.

The database is in memory and dies with the query. It sees the lake's files of contacts and events and no other, has no
network, and cannot be configured any further once the query runs.
"""

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from journey.audience import Segment, order
from journey.audience_sql import segment_sql, segment_view
from journey.condition_sql import quoted
from journey.conditions import Clock
from journey.problems import SegmentError
from resources.contacts import Tables
from resources.segment_guard import failed, refuse

MEMORY = "2GB"
SPILLED = "20GB"
"""What a query may put on disk meanwhile; DuckDB's own limit is nearly all there is."""

MOST_MEMORY = 4 << 30
"""Bytes by which the process may grow: what functions build, and what is handed over, DuckDB does not count."""

SECONDS = 300.0
LOOK = 0.1
LONGEST_TEXT = LONGEST_LIST = 1_000_000
"""Characters, or items, that one call may build. DuckDB does not look at the clock within a call."""

MOST_PAIRS = 100_000_000
"""Pairs of characters that one call may look at, or that a replacement may make."""

_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
_WIDE = {"HUGEINT", "UHUGEINT"}  # sum() of integers; a value over 2^63 is an error, not another number
_TIMES = ("TIMESTAMP", "DATETIME")
_NESTED = ("STRUCT", "MAP", "UNION", "VARIANT")


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


def evaluate(
    name: str,
    segments: Mapping[str, Segment],
    tables: Tables,
    now: datetime,
    timezone: ZoneInfo,
    memory: str = MEMORY,
    seconds: float = SECONDS,
    growth: int = MOST_MEMORY,
) -> Audience:
    """The audience of the segment `name` at `now` (UTC); times without a zone are in `timezone` (the settings').

    SegmentError: it is unknown, refused, fails (with file and line), takes longer than `seconds`, or makes the process
    grow by more than `growth` bytes.
    """
    try:
        needed = order(segments, name)
    except KeyError as error:
        raise SegmentError(f"there is no segment `{error.args[0]}`", mend="`estafette check` lists them") from None
    except ValueError as error:
        raise SegmentError(str(error), where=segments[name].file) from None
    clock = Clock(now, timezone)
    with _database(tables, clock, memory) as con, _limit(con, seconds, growth) as broken:
        segment = needed[-1]
        try:
            for segment in needed[:-1]:
                _keep(con, segment, *_query(con, segment, tables, clock))
            segment = needed[-1]
            return _run(con, segment, *_query(con, segment, tables, clock))
        except duckdb.Error as error:
            if broken:
                mend = "Narrow it down, e.g. by time; a join without a condition pairs everybody with everybody"
                raise SegmentError(broken[0], where=segment.file, mend=mend) from None
            raise failed(error, segment) from None


def returned(segment: Segment, tables: Tables, now: datetime, timezone: ZoneInfo) -> tuple[str, ...]:
    """The further columns that an SQL segment returns, without running it. SegmentError: it can't run."""
    clock = Clock(now, timezone)
    with _database(tables, clock, MEMORY) as con:
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
    columns = {key: "varchar"} | {name: _cast(kind) for name, kind in types.items() if name != key}
    casts = [_casted(name, cast) for name, cast in columns.items()]
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
        nested=tuple(name for name, cast in columns.items() if cast == "json"),
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
def _database(tables: Tables, clock: Clock, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory(prefix="estafette-segment-") as folder:
        con = duckdb.connect(":memory:", config={"memory_limit": memory, "temp_directory": folder})
        try:
            con.execute(f"set max_temp_directory_size = '{SPILLED}'")
            con.execute("set enable_progress_bar = false")  # it would stand in the output of a command
            con.execute(f"set TimeZone = '{clock.zone.key}'")
            con.execute("set allowed_paths = $paths", {"paths": list(tables.paths)})
            for statement in (*tables.setup, *_turned(clock), *_bounded()):
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


def _bounded() -> Iterator[str]:
    """Macros that shadow what makes a text or a list of any length from a few, or compares each character with each:
    one such call would outlast every limit."""
    for name, parameters, size in (
        ("repeat", "a, n", "length(a) * n"),
        ("lpad", "a, n, b", "n"),
        ("rpad", "a, n, b", "n"),
        ("bar", "a, low, high, n", "n"),
    ):
        error = f"error('`{name}` makes at most {LONGEST_TEXT} characters here')"
        much = f"{size} > {LONGEST_TEXT}"
        # Constants are worked out in both arms.
        bounded = f"case when {much} then 0 else n end"
        given = ", ".join(bounded if one == "n" else one for one in parameters.split(", "))
        yield f"create macro {name}({parameters}) as case when {much} then {error} else system.main.{name}({given}) end"
    for name in ("range", "generate_series"):
        yield _shadow(name, ("n", "n", "n"), ("a, n", "abs(n - a)", "a"), ("a, n, c", _STEPS, "a"))
    for name in ("list_resize", "array_resize"):
        yield _shadow(name, ("l, n", "n", "0"), ("l, n, v", "n", "0"))
    yield _shadow("bitstring", ("a, n", "n", "length(a)::integer"))
    for name in ("levenshtein", "editdist3", "damerau_levenshtein", "jaro_similarity", "jaro_winkler_similarity"):
        more = [("a, n, c", _PAIRS, "''")] if name.startswith("jaro") else []
        yield _shadow(name, ("a, n", _PAIRS, "''"), *more, most=MOST_PAIRS)
    yield _shadow("replace", ("a, b, n", _PAIRS, "''"), most=MOST_PAIRS)


_PAIRS = "length(a)::hugeint * length(n)"
_STEPS = (
    "abs(coalesce(try_cast(n::varchar as double) - try_cast(a::varchar as double),"
    " epoch(try_cast(n::varchar as timestamptz)) - epoch(try_cast(a::varchar as timestamptz)))"
    " / coalesce(try_cast(c::varchar as double), epoch(try_cast(c::varchar as interval))))"
)


def _shadow(name: str, *forms: tuple[str, str, str], most: int = LONGEST_LIST) -> str:
    """A macro in place of a function. Each form: its parameters, of which `n` makes it large; how large; and what
    stands for `n` where that is too much, because constants are worked out in both arms."""
    made = []
    for parameters, size, instead in forms:
        much = f"{size} > {most}"
        instead = "0" if instead == "n" else instead
        given = ", ".join(
            f"case when {much} then {instead} else n end" if one == "n" else one for one in parameters.split(", ")
        )
        error = f"error('`{name}` would take too long here: more than {most} at once')"
        made.append(f"({parameters}) as case when {much} then {error} else system.main.{name}({given}) end")
    return f"create macro {name}{', '.join(made)}"


@contextmanager
def _limit(con: duckdb.DuckDBPyConnection, seconds: float, growth: int) -> Iterator[list[str]]:
    """Interrupts what runs longer than `seconds`, or makes the process grow by more than `growth` bytes. The list then
    says which."""
    broken: list[str] = []
    over = threading.Event()
    before, deadline = _resident(), time.monotonic() + seconds

    def watch() -> None:
        while not over.wait(min(LOOK, seconds)):
            if time.monotonic() > deadline:
                broken.append(f"it took longer than {seconds:g} s")
            elif _resident() - before > growth:
                broken.append(f"it needs more than {growth / (1 << 30):.2g} GB of memory")
            if broken:
                con.interrupt()
                return

    thread = threading.Thread(name="limit of a segment", target=watch, daemon=True)
    thread.start()
    try:
        yield broken
    finally:
        over.set()
        thread.join()


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say (then time alone limits)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
