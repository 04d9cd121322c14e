"""Rows of event files → events.

What belongs here: what an event's fields are, what makes a row bad, and the id of an event that brings none. Whether an
event is known already is for `resources/events`.

An event without `event_id` gets one from what it says: event, contact or phone as written, occurred_at, properties, and
a counter among identical lines of its file. So the same event in two files is one event, and two identical lines of one
file are two.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from journey.json_rows import json_objects
from journey.phones import E164, normalise_all
from journey.properties import TIME, convert
from journey.rows import MOST_RAW, Rows, bad_frame, text_of

#: Events as their rows give them: at least one of contact_id and phone (E.164); `properties` is a JSON object's text,
#: keys sorted; `said` is what a derived id is made of, null where the row brings an id.
EVENT_ROWS: Mapping[str, pl.DataType] = {
    "line": pl.Int64(),
    "raw": pl.String(),
    "event_id": pl.String(),
    "event": pl.String(),
    "contact_id": pl.String(),
    "phone": pl.String(),
    "occurred_at": TIME,
    "properties": pl.String(),
    "said": pl.String(),
}
_NAMES = {
    "event": "event",
    "event id": "event_id",
    "contact id": "contact_id",
    "user id": "contact_id",
    "phone": "phone",
    "phone number": "phone",
    "occurred at": "occurred_at",
    "properties": "properties",
}
_FIELDS = ("event", "event_id", "contact_id", "phone", "occurred_at", "properties")
_DERIVED = "auto-"
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class EventRows:
    """`frame`: EVENT_ROWS in the file's order. `bad`: rows that were not taken (BAD)."""

    frame: pl.DataFrame
    bad: pl.DataFrame


def known_field(name: str) -> str | None:
    """Which field of an event a column or key is; None for a property."""
    return _NAMES.get(" ".join(name.casefold().replace("_", " ").replace("-", " ").split()))


def read_json_events(lines: Iterable[tuple[int, bytes]], region: str, timezone: ZoneInfo) -> EventRows:
    """Events from lines (number, bytes) of NDJSON. Keys that are no field of an event are properties too."""
    objects, bad = json_objects(lines)
    rows: list[dict[str, Any]] = []
    for number, text, value in objects:
        fields: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for key, one in value.items():
            field = known_field(key)
            if field is None or field in fields:
                others[key] = one
            else:
                fields[field] = one
        inner = fields.get("properties")
        rows.append(
            {
                "line": number,
                "raw": text.decode("utf-8", "replace"),
                **{name: _word(fields.get(name)) for name in _FIELDS if name != "properties"},
                "properties": _canonical(inner, others),
            }
        )
    return _events(pl.DataFrame(rows, schema=dict(EVENT_ROWS) | {"occurred_at": pl.String()}), bad, region, timezone)


def read_table_events(rows: Rows, region: str, timezone: ZoneInfo) -> EventRows:
    """Events from CSV or Parquet: columns that are no field of an event are properties, as texts where the format has
    no types; an empty cell is no property."""
    fields: dict[str, str] = {}
    for name in rows.cells:
        field = known_field(name)
        if field is not None:
            fields.setdefault(field, name)
    names = [name for name in rows.cells if name not in fields.values()]
    readers = [_reader(rows.declared.get(name)) for name in names]
    columns = [rows.cells[name].to_list() for name in names]
    inner = rows.cells[fields["properties"]].to_list() if "properties" in fields else [None] * rows.height
    texts: list[str | None] = []
    for place, text in enumerate(inner):
        others = {
            name: read(column[place])
            for name, read, column in zip(names, readers, columns, strict=True)
            if column[place] is not None
        }
        texts.append(_canonical(_decoded(text), others))
    empty = pl.repeat(None, rows.height, dtype=pl.String, eager=True)
    frame = pl.DataFrame([rows.line, rows.raw]).with_columns(
        *(
            (rows.cells[fields[name]] if name in fields else empty).alias(name)
            for name in _FIELDS
            if name != "properties"
        ),
        pl.Series("properties", texts, pl.String),
        empty.alias("said"),
    )
    return _events(frame.select(list(EVENT_ROWS)), rows.bad, region, timezone)


def derive_ids(frame: pl.DataFrame, counter: "IdenticalLines") -> pl.DataFrame:
    """EVENT_ROWS with every event_id. `counter` knows the lines of the file before these."""
    if frame["said"].null_count() == frame.height:
        return frame
    numbers = counter.number(frame["raw"])
    ids = [
        own if said is None else derived_id(said, number)
        for own, said, number in zip(frame["event_id"], frame["said"], numbers, strict=True)
    ]
    return frame.with_columns(pl.Series("event_id", ids, pl.String))


def derived_id(said: str, number: int) -> str:
    """The id of the `number`th (from 0) event of a file that says this."""
    digest = blake2b(said.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return f"{_DERIVED}{digest}" + (f"-{number}" if number else "")


def event_key(event_id: str) -> int:
    """A 64-bit hash of an event's id, the same for ever: what a scan for known events compares."""
    return int.from_bytes(
        blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True
    )


class IdenticalLines:
    """How often each line of a file stood in it before. Eight bytes a line; good for one process."""

    def __init__(self) -> None:
        self._seen: list[pl.Series] = []

    def feed(self, lines: pl.Series) -> None:
        """Lines that stand before those that will be asked for."""
        self._seen.append(lines.hash())

    def number(self, lines: pl.Series) -> list[int]:
        """For each of the next lines, how many identical ones stand before it."""
        hashes = lines.hash().alias("hash")
        frame = hashes.to_frame().with_columns(within=pl.int_range(pl.len(), dtype=pl.Int64).over("hash"))
        asked = hashes.unique()
        before = [one.filter(one.is_in(asked.implode())) for one in self._seen]
        counts = pl.concat([pl.Series("hash", [], pl.UInt64), *before]).value_counts(name="before")
        joined = frame.join(counts, on="hash", how="left", maintain_order="left")
        self._seen.append(hashes)
        return joined.select(pl.col("within") + pl.col("before").fill_null(0).cast(pl.Int64)).to_series().to_list()


def _events(frame: pl.DataFrame, bad: pl.DataFrame, region: str, timezone: ZoneInfo) -> EventRows:
    """Checks every field; what a row says is settled here. `occurred_at` is still text."""
    text = pl.col("event", "event_id", "contact_id", "phone", "occurred_at").str.strip_chars()
    frame = frame.with_columns(text).with_columns(
        pl.when(pl.col(name) != "").then(pl.col(name)).alias(name)
        for name in ("event", "event_id", "contact_id", "phone", "occurred_at")
    )
    # A contact `whatsapp:+33…` may have got an id of its own since: what counts is the phone.
    stranger = pl.col("contact_id").str.strip_prefix("whatsapp:")
    is_phone = pl.col("contact_id").str.starts_with("whatsapp:+") & stranger.str.contains(f"^{E164.pattern}$")
    frame = frame.with_columns(
        written="phone",
        at=convert(frame["occurred_at"], "timestamptz", timezone),
        phone=normalise_all(frame["phone"], region),
        has_time=pl.col("occurred_at").is_not_null(),
    ).with_columns(
        phone=pl.when(is_phone).then(stranger).otherwise("phone"),
        contact_id=pl.when(~is_phone.fill_null(False)).then("contact_id"),
    )
    problem = (
        pl.when(pl.col("event").is_null())
        .then(pl.lit("there is no event"))
        .when(pl.max_horizontal(pl.col("event", "event_id", "contact_id").str.len_chars()) > LONGEST_NAME)
        .then(pl.lit(f"event, event_id or contact_id is longer than {LONGEST_NAME} characters"))
        .when(~pl.col("has_time"))
        .then(pl.lit("there is no occurred_at"))
        .when(pl.col("at").is_null())
        .then(
            pl.format(
                "“{}”: occurred_at is no time (e.g. 2026-12-01T10:00:00Z)", pl.col("occurred_at").str.slice(0, 60)
            )
        )
        .when(pl.col("contact_id").is_null() & pl.col("phone").is_null() & pl.col("written").is_not_null())
        .then(pl.format("“{}”: phone is no phone number", pl.col("written").str.slice(0, 60)))
        .when(pl.col("contact_id").is_null() & pl.col("phone").is_null())
        .then(pl.lit("there is neither a contact_id nor a phone"))
        .when(pl.col("properties").is_null())
        .then(pl.lit("properties is no JSON object"))
    )
    frame = frame.with_columns(occurred_at="at", problem=problem)
    wrong = frame.filter(pl.col("problem").is_not_null())
    found = bad_frame().vstack(wrong.select("line", reason="problem", raw=pl.col("raw").str.slice(0, MOST_RAW)))
    good = frame.filter(pl.col("problem").is_null())
    said = pl.concat_str(
        "event",
        pl.coalesce("contact_id", "phone"),
        pl.col("occurred_at").to_physical().cast(pl.String),
        "properties",
        separator="\0",
    )
    good = good.with_columns(said=pl.when(pl.col("event_id").is_null()).then(said)).select(list(EVENT_ROWS))
    return EventRows(good, pl.concat([bad, found]).sort("line", maintain_order=True))


def _word(value: Any) -> str | None:
    """A field that is a word: texts, and numbers as they are written; anything else is none."""
    return text_of(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _decoded(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _canonical(inner: Any, others: Mapping[str, Any]) -> str | None:
    """An event's properties as JSON with sorted keys; None where they are no object."""
    if inner is not None and not isinstance(inner, dict):
        return None
    return msgspec.json.encode({**others, **(inner or {})}, order="sorted").decode()


def _reader(declared: str | None) -> Any:
    readers = {"boolean": lambda text: text == "true", "bigint": int, "double": float}
    return readers.get(declared or "", str)
