"""What an `update` step, or a coupon's tag, does to contacts.

What belongs here: values that fit the types of properties, and contacts before → after. What files do to contacts is
`contact_merge`; of the two the later one wins, column by column.

A known property's type reads the value. A new property takes the type of its value as it is written: a text in the form
of a date is a date; one that is put in quotes is never a number. A tag that is taken away is no longer one that files
brought, and a later file may bring it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import polars as pl

from journey.clock import is_zone
from journey.conditions import Scalar, written
from journey.contact_rows import CONTACT
from journey.properties import KIND_WORDS, POLARS, PropertyType, convert, observe

ALSO_SET = ("locale", "timezone")
"""Columns of every contact that may be set beside properties."""


@dataclass(frozen=True, slots=True)
class Values:
    """`columns`: what is set, one row, with its types (null: cleared). `types`: every property's type, the new ones
    too. `unfit`: why something is not set, in words."""

    columns: pl.DataFrame
    types: Mapping[str, PropertyType]
    unfit: tuple[str, ...]


def fit(
    values: Mapping[str, Scalar | None],
    types: Mapping[str, PropertyType],
    stated: Mapping[str, PropertyType],
    timezone: ZoneInfo,
) -> Values:
    """Values as the types of properties have them. `types`: as they are known; `stated`: by the settings; `timezone`:
    of times without a zone. A whole-number property that nobody stated widens for a number with decimals."""
    after = dict(types)
    known = {name.casefold(): name for name in types}
    said = {name.casefold(): (name, kind) for name, kind in stated.items()}
    columns: list[pl.Series] = []
    unfit = []
    for name, value in values.items():
        folded = name.casefold()
        if folded in ALSO_SET:
            if value is not None and folded == "timezone" and not is_zone(str(value)):
                unfit.append(f"`{name}`: {value!r} is no time zone")
            else:
                columns.append(pl.Series(folded, [None if value is None else written(value)], pl.String))
            continue
        if folded in CONTACT:
            unfit.append(f"`{name}` is no property of a contact")
            continue
        own = known.get(folded) or said.get(folded, (name,))[0]
        if value is None:
            if own in after:
                columns.append(pl.Series(own, [None], POLARS[after[own]]))
            continue
        kind = said[folded][1] if folded in said else after.get(own) or _kind(value)
        if kind == "bigint" and folded not in said and isinstance(value, float) and not value.is_integer():
            kind = "double"
        found = convert(pl.Series(own, [_text(value, kind)], pl.String), kind, timezone)
        if found[0] is None:
            unfit.append(f"`{own}`: {value!r} is no {KIND_WORDS[kind]}")
            continue
        after[own] = kind
        columns.append(found)
    return Values(pl.DataFrame(columns), after, tuple(unfit))


def updated(
    known: pl.DataFrame, values: Values | None, add_tags: Sequence[str] = (), remove_tags: Sequence[str] = ()
) -> pl.DataFrame:
    """Those of `known` (whole contacts) that differ after the update, whole. Tags are taken away before others come."""
    after = known
    changes = []
    for column in values.columns if values is not None else ():
        before = pl.col(column.name) if column.name in known.columns else pl.lit(None, column.dtype)
        changes.append(before.cast(column.dtype, strict=False).ne_missing(pl.lit(column[0], column.dtype)))
        after = after.with_columns(pl.lit(column[0], column.dtype).alias(column.name))
    if add_tags or remove_tags:
        less = pl.lit(pl.Series([list(remove_tags)], dtype=pl.List(pl.String))).first()
        more = pl.lit(pl.Series([list(add_tags)], dtype=pl.List(pl.String))).first()
        tags = pl.col("tags").fill_null([]).list.set_difference(less).list.set_union(more).list.unique().list.sort()
        file_tags = pl.col("file_tags").fill_null([]).list.set_difference(less).list.unique().list.sort()
        after = after.with_columns(tags=tags, file_tags=file_tags)
        for name in ("tags", "file_tags"):
            before = pl.col(name).fill_null([]).list.unique().list.sort().list.join("\0")
            later = after.get_column(name).list.join("\0")
            changes.append(before != later)
            changes.append(pl.col(name).fill_null([]).list.len() != after.get_column(name).list.len())
    if not changes:
        return known.clear()
    return after.filter(known.select(pl.any_horizontal(changes)).to_series())


def _kind(value: Scalar) -> PropertyType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "bigint"
    if isinstance(value, float):
        return "double"
    return observe(pl.Series([value], dtype=pl.String), quoted=1).settle() or "text"


def _text(value: Scalar, kind: PropertyType) -> str:
    if kind != "text" and isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return str(int(value))
    return written(value)
