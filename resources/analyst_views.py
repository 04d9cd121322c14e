"""The SQL of the analyst database's views: a table of `journey.schemas`, read from its Parquet files.

What belongs here: that, and quoting. Which views there are is `resources.analyst_db`.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from journey.schemas import Table


def select(
    con: duckdb.DuckDBPyConnection, table: Table, files: Sequence[Path], more: Sequence[tuple[str, str]] = ()
) -> str:
    """A SELECT of a table's columns (and `more`, as name and type) from its files; null where no file has one, no rows
    without files. `filename` among `more` is the path of a row's file."""
    there = {"filename"}
    if files:
        described = con.execute("DESCRIBE FROM read_parquet(?, union_by_name = true)", [[str(path) for path in files]])
        there |= {str(row[0]) for row in described.fetchall()}
    columns = [*((column.name, column.dtype.sql) for column in table.columns), *more]
    select = ", ".join(
        f"{quoted(name) if files and name in there else 'NULL'}::{dtype} AS {quoted(name)}" for name, dtype in columns
    )
    if not files:
        return f"SELECT {select} WHERE false"
    return f"SELECT {select} FROM read_parquet([{', '.join(text(str(path)) for path in files)}], union_by_name = true)"


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'
