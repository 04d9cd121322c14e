"""Rows of CSV and Parquet files of the landing zone, some at a time, however large they are or pretend to be.

What belongs here: opening them, and what is refused before it is unfolded: a Parquet file of a few kilobytes can hold
billions of rows, or a text of a megabyte in each of a million. Meaning is for whoever takes the rows in; lines of
NDJSON are `landing`.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from journey.csv_rows import LONGEST_CELL, bounded_lines, csv_rows
from journey.rows import MOST_COLUMNS, Rows, bad_frame, frame_rows
from resources.landing import FileStat

MOST_ROWS = 50_000_000
MOST_ITEMS = 1_000
"""Values that a column may have for each row, on average: lists of billions of nulls take no room in a file."""

PART_BYTES = 256 << 20
"""Bytes that are unfolded at once, as far as the file itself says."""


class UnreadableTable(ValueError):
    """A Parquet file that is none, or says of itself that it holds more than can be read."""


def table_rows(stat: FileStat, batch: int) -> Iterator[Rows]:
    """The rows of a CSV or Parquet file, at most `batch` at a time. UnreadableTable, UnreadableCsv, OSError,
    PolarsError: it can't be read."""
    if stat.form == "csv":
        with stat.path.open("rb") as file:
            yield from csv_rows(bounded_lines(file), batch)
        return
    rows, size = measured(stat.path)
    batch = max(1, min(batch, batch * PART_BYTES // max(size, 1)))
    scan = pl.scan_parquet(stat.path, glob=False)
    for start in range(0, max(rows, 1), batch):
        yield _short(scan.slice(start, batch).collect(), start + 1)


def measured(path: Path, most: int = 100_000) -> tuple[int, int]:
    """The rows of a Parquet file, and how many bytes `most` of them take unfolded. UnreadableTable: too much."""
    try:
        told = pq.read_metadata(path)
    except pa.ArrowException as error:
        raise UnreadableTable(f"it is no Parquet file: {str(error).splitlines()[0]}") from None
    if told.num_columns > MOST_COLUMNS:
        raise UnreadableTable(f"it has {told.num_columns:,} columns, and the most is {MOST_COLUMNS:,}")
    if told.num_rows > MOST_ROWS:
        raise UnreadableTable(f"it has {told.num_rows:,} rows, and the most is {MOST_ROWS:,}; split it")
    largest = 0
    for number in range(told.num_row_groups):
        group = told.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            if column.num_values > MOST_ITEMS * max(group.num_rows, 1):
                raise UnreadableTable(f"its column `{column.path_in_schema}` has {column.num_values:,} values in lists")
        largest = max(largest, group.total_byte_size * most // max(group.num_rows, most, 1))
    return told.num_rows, largest


def _short(frame: pl.DataFrame, first: int) -> Rows:
    """The rows, without those that have a text longer than a cell of CSV may be: they are bad."""
    lengths = [
        pl.col(name).str.len_bytes() if kind == pl.String() else pl.col(name).cat.len_bytes()
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.String | pl.Categorical | pl.Enum)
    ]  # looked at before they are copied: all rows may point to one text
    if not lengths:
        return frame_rows(frame, first)
    long = frame.select(pl.max_horizontal(lengths) > 4 * LONGEST_CELL).to_series().fill_null(False)
    if not long.any():
        return frame_rows(frame, first)
    blank = pl.when(~long)
    kept = frame_rows(frame.select(blank.then(pl.col(name)).alias(name) for name in frame.columns), first)
    reason = f"a text in it is longer than {LONGEST_CELL:,} characters"
    bad = bad_frame([(first + place, reason, "") for place in long.arg_true()])
    good = ~long
    return Rows(
        kept.line.filter(good),
        kept.raw.filter(good),
        {name: column.filter(good) for name, column in kept.cells.items()},
        bad,
        declared=kept.declared,
    )
