"""The types of properties: guessing one from a column of texts, and reading the column as it.

What belongs here: which texts are a boolean, bigint, double, date or timestamptz, and the rule by which a new column
gets its type. Where types are kept, and what becomes of values that do not fit, is not decided here.

A new column takes the narrowest type that two thirds of its values fit, else text; a column of whole numbers with one
decimal among them is double, one of dates with one time timestamptz. Numbers written with a leading 0 or +, and those
too long for 64 bits, are codes (postcodes, phones, ids): one keeps a column from being numeric. Only `true` and `false`
make a column boolean, because `oui` and `1` must come out of a message as they were written; once a column is boolean,
the other words (yes, no, oui, non, 1, 0) are read as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import polars as pl

from journey.clock import resolve
from journey.conditions import BOOLEANS

PropertyType = Literal["boolean", "bigint", "double", "text", "date", "timestamptz"]

#: What a type is to someone who reads why a value was refused.
KIND_WORDS: Mapping[str, str] = {
    "boolean": "boolean (true or false)",
    "bigint": "whole number",
    "double": "number",
    "text": "text",
    "date": "date",
    "timestamptz": "date with a time",
}
TYPES: tuple[PropertyType, ...] = get_args(PropertyType)
TIME = pl.Datetime("us", "UTC")
POLARS: Mapping[PropertyType, pl.DataType] = {
    "boolean": pl.Boolean(),
    "bigint": pl.Int64(),
    "double": pl.Float64(),
    "text": pl.String(),
    "date": pl.Date(),
    "timestamptz": TIME,
}
DUCKDB: Mapping[PropertyType, str] = {
    "boolean": "BOOLEAN",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "text": "VARCHAR",
    "date": "DATE",
    "timestamptz": "TIMESTAMPTZ",
}

_BIGINT = r"^-?(0|[1-9][0-9]{0,18})$"
_DOUBLE = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"
_CODE = r"^\+[0-9]|^-?0[0-9]+(\.[0-9]+)?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIME = (
    r"^(?<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?<minute>[0-9]{2}:[0-9]{2})(?<second>:[0-9]{2})?(?<part>\.[0-9]{1,9})?"
    r" ?(?<zone>[Zz]|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2})?$"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """How many of a column's values (blank ones left out) fit each type. Adds up over the parts of a file.

    `quoted`: how many are texts in a format that writes numbers and booleans without quotes (JSON).
    """

    values: int = 0
    quoted: int = 0
    codes: int = 0
    boolean: int = 0
    bigint: int = 0
    double: int = 0
    date: int = 0
    timestamptz: int = 0

    def __add__(self, other: "Evidence") -> "Evidence":
        mine, others = self._counts(), other._counts()
        return Evidence(*(one + another for one, another in zip(mine, others, strict=True)))

    def settle(self) -> PropertyType | None:
        """The column's type; None while it has no value."""
        if not self.values:
            return None
        plain = self.quoted * 3 < self.values  # else they were put in quotes on purpose
        candidates: tuple[tuple[PropertyType, int, bool], ...] = (
            ("boolean", self.boolean, plain),
            ("bigint", self.bigint, plain and not self.codes and self.bigint == self.double),
            ("double", self.double, plain and not self.codes),
            ("date", self.date, not self.timestamptz),
            ("timestamptz", self.date + self.timestamptz, True),
        )
        for kind, fitting, allowed in candidates:
            if allowed and fitting * 3 >= self.values * 2:
                return kind
        return "text"

    def _counts(self) -> tuple[int, ...]:
        return (
            self.values,
            self.quoted,
            self.codes,
            self.boolean,
            self.bigint,
            self.double,
            self.date,
            self.timestamptz,
        )


def observe(column: pl.Series, quoted: int = 0) -> Evidence:
    """What a column of texts (null: no value) says of its type."""
    text = pl.col(column.name)
    row = (
        column.drop_nulls()
        .to_frame()
        .select(
            pl.len().alias("values"),
            (text.str.contains(_CODE) | _too_long(text)).sum().alias("codes"),
            text.str.to_lowercase().is_in(["true", "false"]).sum().alias("boolean"),
            text.str.contains(_BIGINT).sum().alias("bigint"),
            text.str.contains(_DOUBLE).sum().alias("double"),
            text.str.contains(_DATE).sum().alias("date"),
            text.str.contains(_TIME).sum().alias("timestamptz"),
        )
        .row(0, named=True)
    )
    return Evidence(quoted=quoted, **row)


def convert(column: pl.Series, kind: PropertyType, timezone: ZoneInfo) -> pl.Series:
    """A column of texts as `kind`: null where a value is null or does not fit. Times without a zone are in `timezone`.

    In a timestamptz column a date is its local midnight.
    """
    name, text = column.name, pl.col(column.name)
    frame = column.to_frame()
    match kind:
        case "text":
            return column
        case "boolean":
            word = text.str.to_lowercase()
            return frame.select(word.replace_strict(BOOLEANS, default=None, return_dtype=pl.Boolean)).to_series()
        case "bigint":
            return frame.select(_where(text, _BIGINT).cast(pl.Int64, strict=False)).to_series()
        case "double":
            value = _where(text, _DOUBLE).cast(pl.Float64, strict=False)
            return frame.select(pl.when(value.is_finite()).then(value).alias(name)).to_series()
        case "date":
            return frame.select(_where(text, _DATE).str.to_date("%Y-%m-%d", strict=False)).to_series()
        case _:
            return _times(column, timezone)


def _too_long(text: pl.Expr) -> pl.Expr:
    return text.str.contains(r"^-?[1-9][0-9]{18,}$") & text.cast(pl.Int64, strict=False).is_null()


def _where(text: pl.Expr, pattern: str) -> pl.Expr:
    return pl.when(text.str.contains(pattern)).then(text)


def _times(column: pl.Series, timezone: ZoneInfo) -> pl.Series:
    """Texts → Datetime("us", "UTC"). Distinct values are read once: a column of times repeats itself less than one of
    dates, and both are common."""
    name = column.name
    distinct = column.unique().drop_nulls().alias("text").to_frame()
    text = pl.col("text")
    groups = text.str.extract_groups(_TIME)
    date = pl.when(text.str.contains(_DATE)).then(text).otherwise(groups.struct.field("date"))
    part = pl.concat_str(
        date,
        pl.lit("T"),
        groups.struct.field("minute").fill_null("00:00"),
        groups.struct.field("second").fill_null(":00"),
        groups.struct.field("part").fill_null(".0"),
    )
    zone = groups.struct.field("zone").str.to_uppercase().str.replace_all(":", "", literal=True)
    offset = (
        pl.when(zone == "Z").then(pl.lit("+0000")).when(zone.str.len_chars() == 3).then(zone + "00").otherwise(zone)
    )
    read = distinct.with_columns(civil=part, offset=offset).with_columns(
        aware=pl.concat_str("civil", "offset").str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False
        ),
        naive=pl.when(pl.col("offset").is_null())
        .then(pl.col("civil"))
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False),
    )
    read = read.with_columns(
        local=pl.col("naive").dt.replace_time_zone(timezone.key, ambiguous="earliest", non_existent="null")
    )
    gaps = read.filter(pl.col("naive").is_not_null() & pl.col("local").is_null())
    moved = {civil: resolve(civil, timezone) for civil in gaps["naive"].unique()}
    after = pl.col("naive").replace_strict(moved, default=None, return_dtype=TIME) if moved else pl.lit(None, TIME)
    read = read.select("text", at=pl.coalesce("aware", pl.col("local").dt.convert_time_zone("UTC"), after))
    joined = column.alias("text").to_frame().join(read, on="text", how="left", maintain_order="left")
    return joined["at"].alias(name)
