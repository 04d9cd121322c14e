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
MOST_VALUES = 20_000_000
"""Values that a column may have for each row, on average, and in one group of rows: lists of billions of nulls take no
room in a file."""

PART_BYTES = 256 << 20
PART_VALUES = 2_000_000
"""Bytes and values in lists that are unfolded at once, as far as the file itself says."""

MOST_TEXT = 1 << 30
MOST_FOLDED = 100
"""Bytes of text that a file may unfold to: so many, and a hundred times its own size. A text that a million rows share
stands in it once."""

COPIED = 64 << 20  # bytes of text that are copied at once


class UnreadableTable(ValueError):
    """A Parquet file that is none, or says of itself that it holds more than can be read."""


def table_rows(stat: FileStat, batch: int) -> Iterator[Rows]:
    """The rows of a CSV or Parquet file, at most `batch` at a time. UnreadableTable, UnreadableCsv, OSError,
    PolarsError: it can't be read."""
    if stat.form == "csv":
        with stat.path.open("rb") as file:
            yield from csv_rows(bounded_lines(file), batch)
        return
    rows, size, values = measured(stat.path)
    batch = max(1, min(batch, batch * PART_BYTES // max(size, 1), batch * PART_VALUES // max(values, 1)))
    scan = pl.scan_parquet(stat.path, glob=False)
    left = MOST_TEXT + MOST_FOLDED * stat.size
    for start in range(0, max(rows, 1), batch):
        frame = scan.slice(start, batch).collect()
        lengths, long = _lengths(frame)
        left -= int(lengths.sum())
        if left < 0:
            raise UnreadableTable("it unfolds to far more text than a file of its size may; split it, or write CSV")
        place = 0
        for length in _parts(lengths):
            some = slice(place, place + length)
            yield _sound(frame[some], long[some], start + place + 1)
            place += length


def measured(path: Path, most: int = 100_000) -> tuple[int, int, int]:
    """The rows of a Parquet file, and how many bytes, and values in a column, `most` of them take unfolded.
    UnreadableTable: too much."""
    try:
        told = pq.read_metadata(path)
    except pa.ArrowException as error:
        raise UnreadableTable(f"it is no Parquet file: {str(error).splitlines()[0]}") from None
    if told.num_columns > MOST_COLUMNS:
        raise UnreadableTable(f"it has {told.num_columns:,} columns, and the most is {MOST_COLUMNS:,}")
    if told.num_rows > MOST_ROWS:
        raise UnreadableTable(f"it has {told.num_rows:,} rows, and the most is {MOST_ROWS:,}; split it")
    largest = longest = 0
    for number in range(told.num_row_groups):
        group = told.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            longest = max(longest, column.num_values * most // max(group.num_rows, most, 1))
            if column.num_values > max(group.num_rows, min(MOST_VALUES, MOST_ITEMS * max(group.num_rows, 1))):
                raise UnreadableTable(f"its column `{column.path_in_schema}` has {column.num_values:,} values in lists")
        largest = max(largest, group.total_byte_size * most // max(group.num_rows, most, 1))
    return told.num_rows, largest, longest


def _lengths(frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """How many bytes the texts of each row have in all, and which rows have one (or a list of them) that is longer than
    may be, which counts for nothing. Looked at before any is copied: all may be one and the same."""
    found = [(pl.col(name), _length(pl.col(name), kind)) for name, kind in frame.schema.items()]
    sizes = [length.cast(pl.Int64).fill_null(0) for _, length in found if length is not None]
    if not sizes:
        return pl.repeat(0, frame.height, dtype=pl.Int64, eager=True), pl.repeat(False, frame.height, eager=True)
    told = frame.select(length=pl.sum_horizontal(sizes), long=pl.max_horizontal(sizes) > 4 * LONGEST_CELL)
    return told.select(pl.when("long").then(0).otherwise("length")).to_series(), told["long"]


def _length(column: pl.Expr, kind: pl.DataType) -> pl.Expr | None:
    """How many bytes a value takes as text, at least; None where that can't be much."""
    if isinstance(kind, pl.String):
        return column.str.len_bytes()
    if isinstance(kind, pl.Categorical | pl.Enum):
        return column.cat.len_bytes()
    if isinstance(kind, pl.Binary):
        return 2 * column.bin.size()
    if isinstance(kind, pl.Array):
        return _length(column.arr.to_list(), pl.List(kind.inner))
    if isinstance(kind, pl.List):
        inner = _length(pl.element(), kind.inner)  # type: ignore[arg-type]
        items = column.list.len().cast(pl.Int64)
        return items if inner is None else items + column.list.eval(inner.cast(pl.Int64)).list.sum()
    if isinstance(kind, pl.Struct):
        fields = [_length(column.struct.field(one.name), one.dtype) for one in kind.fields]  # type: ignore[arg-type]
        known = [one.cast(pl.Int64).fill_null(0) for one in fields if one is not None]
        return pl.sum_horizontal(known) if known else None
    return None


def _parts(lengths: pl.Series) -> Iterator[int]:
    """How many rows to copy at once, one part after the other: one row, or rows of `COPIED` bytes in all."""
    if lengths.is_empty():
        yield 0
        return
    yield from (lengths.cum_sum() // COPIED).rle().struct.field("len").to_list()


def _sound(frame: pl.DataFrame, long: pl.Series, first: int) -> Rows:
    """The rows, without those that are bad: with a text longer than a cell of CSV may be (`long`), or with a NUL, which
    neither SQLite nor Meta takes: it would cut a text short on the way."""
    if long.any():
        blank = pl.when(pl.lit(~long))
        frame = frame.select(blank.then(pl.col(name)).alias(name) for name in frame.columns)
    rows = frame_rows(frame, first)
    nul = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    for name, texts in rows.cells.items():  # a list is JSON by now
        sign = "\\u0000" if frame.schema[name].is_nested() else "\0"
        nul |= texts.str.contains(sign, literal=True).fill_null(False)
    bad = [(first + place, f"a text in it is longer than {LONGEST_CELL:,} characters", "") for place in long.arg_true()]
    bad += [(first + place, "it holds a NUL character", rows.raw[place]) for place in nul.arg_true()]
    if not bad:
        return rows
    good = ~(long | nul)
    return Rows(
        rows.line.filter(good),
        rows.raw.filter(good),
        {name: column.filter(good) for name, column in rows.cells.items()},
        bad_frame(sorted(bad)),
        declared=rows.declared,
    )
