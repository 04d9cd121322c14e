"""One query against the analyst database, as `estafette query` runs it: it can read and nothing else.

What belongs here: what such a query may be, and its result. The file itself is `resources.analyst_db`.

The database is attached read-only, but DuckDB could still write files (COPY, also inside a WITH, which it calls a
SELECT) and read any. So one statement that reads is admitted, without the words that write files, and the session sees
the lake's files and no other, has no network and can't be configured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from journey.problems import UsageError
from resources.analyst_db import connect
from resources.segment_guard import error_line, error_text

_READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)
_WRITES = ("copy", "export")
"""What writes files; everything else that writes is refused by the read-only database."""


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
    with connect(path, timezone) as con:
        _refuse(con, sql)
        con.execute("SET allowed_directories = ?", [[str(path.resolve().parent / "lake")]])
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        try:
            con.execute(sql, list(params) or None)
            described = con.description or []
            rows = con.fetchall()
        except duckdb.Error as error:
            line = error_line(error)
            raise UsageError(error_text(error), where=f"line {line}" if line else "") from None
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
    tokens = duckdb.tokenize(sql)
    for (start, kind), (end, _) in zip(tokens, [*tokens[1:], (len(sql.encode()), None)], strict=True):
        word = sql.encode()[start:end].decode("utf-8", "replace").strip().lower()
        if kind == duckdb.token_type.keyword and word in _WRITES:
            raise UsageError(f"the database for analysts can only be read, and this has `{word.upper()}`", mend=mend)
