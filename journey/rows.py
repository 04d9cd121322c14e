"""Rows of contact and event files, whatever their format: columns of texts, and what could not be read.

What belongs here: the shape `Rows`, and Parquet → `Rows` (`csv_rows` and `json_rows` read the text formats). No file is
opened here: lines of bytes and frames come in. Which columns there should be and what they mean is for `contact_rows`
and `event_rows`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from journey.properties import PropertyType

#: What could not be read: `line` from 1, a sentence, and the text itself (shortened to MOST_RAW characters)
BAD = {"line": pl.Int64(), "reason": pl.String(), "raw": pl.String()}
MOST_RAW = 10_000
MOST_COLUMNS = 1_000
"""Columns of a file, or fields of a line: every one of another name becomes a property of all contacts."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a file, in its order.

    `line` Int64 (where the row starts) and `raw` String are as long as every one of `cells`: columns of texts by the
    file's own names, in its order, trimmed, null where blank. `absent`: for columns that some rows do not bring at all
    (JSON), True where they do not. `declared`: types that the format itself states (Parquet); `quoted`: how many values
    were texts in a format that marks them (JSON). `bad` (BAD): lines that are no rows.
    """

    line: pl.Series
    raw: pl.Series
    cells: Mapping[str, pl.Series]
    bad: pl.DataFrame
    absent: Mapping[str, pl.Series] = field(default_factory=dict)
    declared: Mapping[str, PropertyType] = field(default_factory=dict)
    quoted: Mapping[str, int] = field(default_factory=dict)

    @property
    def height(self) -> int:
        return self.line.len()


def bad_frame(rows: Iterable[tuple[int, str, str]] = ()) -> pl.DataFrame:
    """Lines that could not be read, as a frame (BAD)."""
    shortened = [(line, reason, raw[:MOST_RAW]) for line, reason, raw in rows]
    return pl.DataFrame(shortened, schema=BAD, orient="row")


# -- Parquet -----------------------------------------------------------------------------------------------------------


def frame_rows(frame: pl.DataFrame, first_line: int = 1) -> Rows:
    """The rows of a Parquet file; `line` is the row's number from 1."""
    cells: dict[str, pl.Series] = {}
    declared: dict[str, PropertyType] = {}
    for column in frame.iter_columns():
        kind, texts = _texts(column)
        cells[column.name] = trimmed(column.name, texts)
        if kind is not None:
            declared[column.name] = kind
    numbers = pl.int_range(first_line, first_line + frame.height, dtype=pl.Int64, eager=True).alias("line")
    shown = pl.DataFrame(list(cells.values())).select(pl.struct(pl.all()).struct.json_encode().alias("raw"))
    raws = shown["raw"] if cells else pl.Series("raw", [], pl.String)
    return Rows(numbers, raws, cells, bad_frame(), declared=declared)


def _texts(column: pl.Series) -> tuple[PropertyType | None, pl.Series]:
    dtype = column.dtype
    if dtype == pl.Boolean:
        return "boolean", column.cast(pl.String)
    if dtype.is_integer():
        return "bigint", column.cast(pl.String)
    if dtype.is_float() or dtype.is_decimal():
        return "double", column.cast(pl.Float64).cast(pl.String)
    if dtype == pl.Date:
        return "date", column.cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        aware = dtype.time_zone is not None
        pattern = "%Y-%m-%dT%H:%M:%S%.6f"
        civil = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if aware else column
        return "timestamptz", civil.dt.strftime(pattern + "Z" if aware else pattern)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text", column.cast(pl.String)
    if dtype == pl.Null:
        return None, column.cast(pl.String)
    return "text", pl.Series(column.name, [None if one is None else text_of(one) for one in _plain(column)], pl.String)


def _plain(column: pl.Series) -> list[Any]:
    """Values of nested or odd types as JSON knows them."""
    return [
        one
        if one is None or isinstance(one, str | int | float | list | dict)
        else (one.hex() if isinstance(one, bytes) else str(one))
        for one in column.to_list()
    ]


# -- shared ------------------------------------------------------------------------------------------------------------


def trimmed(name: str, values: Iterable[str | None]) -> pl.Series:
    """A column of texts without the white space around them; null where nothing is left."""
    column = values if isinstance(values, pl.Series) else pl.Series(name, list(values), pl.String)
    text = pl.col(name).str.strip_chars()
    return column.alias(name).to_frame().select(pl.when(text != "").then(text).alias(name)).to_series()


def line_numbers(numbers: Sequence[int]) -> pl.Series:
    """The column `line`."""
    return pl.Series("line", numbers, pl.Int64)


def shown_bytes(*lines: bytes) -> str:
    """Lines as a person can read them, whatever bytes they hold."""
    return b"".join(lines).decode("utf-8", "replace").rstrip("\r\n")


def text_of(value: Any) -> str | None:
    """A JSON value as text: texts as they are, true, 1, 1.5; lists and objects as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return msgspec.json.encode(value).decode()
