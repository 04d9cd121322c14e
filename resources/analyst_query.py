"""One query against the analyst database, as `estafette query` runs it: it can read and nothing else.

What belongs here: what such a query may be, and its result. The file itself is `resources.analyst_db`.

The database is attached read-only, but DuckDB could still write files (COPY, also inside a WITH, which it calls a
SELECT; also out of a text, which a table function runs) and read any. So one statement that reads is admitted, without
the words that write files and without table functions but a few; and the session sees the lake's files and no other,
has no network and no extensions, can't be configured, and has limits of memory and of disk.
"""

import functools
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from journey.problems import EstafetteError, UsageError
from resources.analyst_db import connect
from resources.segment_guard import error_line, error_text
from resources.work_process import Ended, WorkProcess

_READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)
_WRITES = ("copy", "export")
"""What writes files; everything else that writes is refused by the read-only database."""

_SPOILT = ("/lake/", "TProtocolException")  # what DuckDB says of Parquet that is gone or spoilt
REBUILD = "Where a file is spoilt or gone, `estafette rebuild` writes it anew"

_TABLE_FUNCTIONS = frozenset(
    {
        "unnest",
        "range",
        "generate_series",
        "repeat",
        "repeat_row",
        "json_each",
        "json_tree",
        "pg_timezone_names",
        "glob",
    }
)
_TELLING = ("duckdb_", "pragma_")
"""How table functions begin that say what there is. Of the others one runs the statement that it is given as a text,
COPY and all, and others read files or keep logs; a release of DuckDB brings more."""

MEMORY = 4_000_000_000
SPILLED = "20GB"
"""Bytes that a query may hold, and what it may put on disk meanwhile: the pass beside it needs some of both."""

_process = WorkProcess()


@dataclass(frozen=True, slots=True)
class Result:
    """A query's result: the names and DuckDB types of its columns, and its rows (times with their zone)."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def query(path: Path, sql: str, params: Sequence[object] = (), timezone: str = "UTC") -> Result:
    """Run one query on the published file at `path` (data/analytics.duckdb). Times are shown in `timezone`.

    UsageError: it is no single query that only reads, or it fails (with DuckDB's sentence). EstafetteError: nothing is
    published yet.
    """
    with tempfile.TemporaryDirectory(prefix="estafette-query-") as folder:
        return _query(path, sql, list(params), timezone, folder)


def query_apart(path: Path, sql: str, timezone: str = "UTC") -> Result:
    """`query` in a process of its own, for a person who may interrupt it: DuckDB looks whether it is interrupted
    between calls and not within one. EstafetteError, too: the process ended, for want of memory mostly."""
    with tempfile.TemporaryDirectory(prefix="estafette-query-") as folder:
        try:
            found: Result = _process.ask(_query, path, sql, (), timezone, folder, seconds=math.inf, growth=sys.maxsize)
        except Ended as ended:
            raise EstafetteError(str(ended), mend="Ask for less: fewer rows or columns, or a count of them") from None
        return found


def _query(path: Path, sql: str, params: Sequence[object], timezone: str, folder: str) -> Result:
    """In `folder` it may put down what does not fit into memory."""
    with connect(path, timezone) as con:
        _refuse(con, sql)
        _bound(con, folder)
        con.execute("SET allowed_directories = ?", [[str(path.resolve().parent / "lake")]])
        con.execute("SET enable_external_access = false")
        con.execute("SET python_enable_replacements = false")
        con.execute("SET autoload_known_extensions = false")
        con.execute("SET autoinstall_known_extensions = false")
        con.execute("SET lock_configuration = true")
        try:
            con.execute(sql, list(params) or None)
            described = con.description or []
            rows = con.fetchall()
        except duckdb.Error as error:
            line, told = error_line(error), error_text(error)
            mend = REBUILD if any(word in told for word in _SPOILT) else ""
            raise UsageError(told, where=f"line {line}" if line else "", mend=mend) from None
    return Result(tuple(str(one[0]) for one in described), tuple(str(one[1]) for one in described), rows)


def _refuse(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """UsageError for anything but one statement that reads."""
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        line = error_line(error)
        raise UsageError(error_text(error), where=f"line {line}" if line else "") from None
    if len(statements) != 1:
        raise UsageError(f"{len(statements)} statements, and `query` runs one")
    mend = "Write one SELECT; a column of that name goes in double quotes"
    if statements[0].type not in _READS:
        raise UsageError("the database for analysts can only be read", mend=mend)
    words = _words(sql)
    for (kind, word), (_, then) in zip(words, [*words[1:], (duckdb.token_type.comment, "")], strict=True):
        if kind == duckdb.token_type.keyword and word in _WRITES:
            raise UsageError(f"the database for analysts can only be read, and this has `{word.upper()}`", mend=mend)
        if then.startswith("(") and _is_refused(word):
            known = "It reads the published tables; docs/query-results.md names them"
            raise UsageError(f"the table function `{word}` is refused", mend=known)


def _words(sql: str) -> list[tuple[object, str]]:
    """The words and signs of a statement as DuckDB divides it, without comments; names without their quotes."""
    text = sql.encode()
    tokens = duckdb.tokenize(sql)
    ends = [*(start for start, _ in tokens[1:]), len(text)]
    parts = [
        (kind, text[start:end].decode("utf-8", "replace").strip().strip('"').lower())
        for (start, kind), end in zip(tokens, ends, strict=True)
    ]
    return [one for one in parts if one[0] != duckdb.token_type.comment]


def _is_refused(name: str) -> bool:
    return name in _known_table_functions() and name not in _TABLE_FUNCTIONS and not name.startswith(_TELLING)


@functools.lru_cache(maxsize=1)
def _known_table_functions() -> frozenset[str]:
    """All that this DuckDB has: what stands before a bracket is most often a function of values, or none at all."""
    with duckdb.connect(":memory:") as con:
        rows = con.execute("SELECT function_name FROM duckdb_functions() WHERE function_type LIKE 'table%'").fetchall()
    return frozenset(str(one).lower() for (one,) in rows)


def _bound(con: duckdb.DuckDBPyConnection, folder: str) -> None:
    """Limits of memory, and of what is put on disk meanwhile, in `folder`. A small machine gives half of its own."""
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    con.execute(f"SET memory_limit = '{min(MEMORY, half)}B'")
    con.execute("SET temp_directory = ?", [folder])
    con.execute(f"SET max_temp_directory_size = '{SPILLED}'")
