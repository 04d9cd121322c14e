"""Which events are entries: the active period, their age, their key, and the people whom they name.

What belongs here: from matching events to CANDIDATES (`entry`), pure and as frames. Which events match the conditions
is asked before; who the people are and whether they come in, afterwards.
"""

import contextlib
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import msgspec
import polars as pl

from journey.campaign import TriggerEntry
from journey.conditions import Clock, parse_moment
from journey.entry import CANDIDATES, INSTANT, candidates
from journey.words import EntryOutcome

ORDER = ("batch", "occurred_at", "event_id")
"""Events of one taking-in come in by when they occurred."""


def is_active(entry: TriggerEntry, clock: Clock) -> pl.Expr:
    """Whether an event's `occurred_at` is within the active period; `to` includes its day. Dates and times without a
    zone are in the clock's (the settings'). Raises ValueError where `check` would find a hole."""
    within = pl.lit(True)
    if entry.active_from is not None:
        start, _ = clock.bounds(_moment(entry.active_from))
        within = within & (pl.col("occurred_at") >= start)
    if entry.active_to is not None:
        start, end = clock.bounds(_moment(entry.active_to))
        within = within & (pl.col("occurred_at") < end if end > start else pl.col("occurred_at") <= start)
    return within


def entries(
    entry: TriggerEntry, place: int, events: pl.DataFrame, keys: pl.Series | None, clock: Clock
) -> pl.DataFrame:
    """The people whom some matching events bring in: CANDIDATES with `batch` and `occurred_at`, ordered by ORDER.

    `events`: columns of EVENTS; what they say counts as never after they were taken in. `keys`: the text of the entry's
    `key` in each of them, null where it is missing; None where the entry has no key. Those who do not come in for the
    event's own sake have their outcome: outside of the active period, too old now, without the key, or with nobody in
    the property of `contacts`.
    """
    late = pl.lit(clock.now, INSTANT) - pl.col("occurred_at") > entry.max_age
    no_key = pl.col("key").is_null()
    nobody = pl.col("contact_id").is_null()
    rows = events.with_columns(key=pl.lit("", pl.String) if keys is None else keys)
    if entry.contacts is not None:
        name = entry.contacts
        named: list[list[str | None]] = [[*people_named(text, name)] or [None] for text in rows["properties"]]
        rows = rows.with_columns(contact_id=pl.Series(named, dtype=pl.List(pl.String))).explode("contact_id")
    outcome = (
        pl.when(~is_active(entry, clock))
        .then(pl.lit(EntryOutcome.not_active.value))
        .when(late)
        .then(pl.lit(EntryOutcome.too_old.value))
        .when(no_key | nobody)
        .then(pl.lit(EntryOutcome.refused.value))
    )
    detail = (
        pl.when(outcome != EntryOutcome.refused)
        .then(pl.lit(None, pl.String))
        .when(no_key)
        .then(pl.lit(f"the event has no `{entry.key}`, which is the key"))
        .when(nobody)
        .then(pl.lit(f"the event names nobody in `{entry.contacts}`"))
    )
    rows = rows.with_columns(
        place=pl.lit(place),
        occurrence="event_id",
        key_name=pl.lit(entry.key if keys is not None else None, pl.String),
        attributes="properties",
        since=pl.min_horizontal("occurred_at", "taken_at"),
        outcome=outcome,
        detail=detail,
    ).sort(*ORDER, maintain_order=True)
    whole = candidates(rows.with_columns(pl.col("key").fill_null("")))
    return whole.with_columns(rows["batch"], rows["occurred_at"]).select(*CANDIDATES, "batch", "occurred_at")


def people_named(properties: str | None, name: str) -> Iterator[str]:
    """The ids in a property that holds one or a list of them (also as JSON in a text), each once. Numbers count as they
    are written; anything else names nobody."""
    value = _property(msgspec.json.decode(properties), name) if properties else None
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(msgspec.DecodeError):
            value = msgspec.json.decode(value)
    listed = value if isinstance(value, list) else [value]
    texts = [str(one).strip() for one in listed if isinstance(one, str | int) and not isinstance(one, bool)]
    yield from dict.fromkeys(text for text in texts if text)


def _property(value: Any, name: str) -> Any:
    """A property by its name, where dots go into nested objects, unless a name has them itself."""
    if not isinstance(value, dict) or name in value:
        return value.get(name) if isinstance(value, dict) else None
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _moment(text: str) -> date | datetime:
    moment = parse_moment(text)
    if not isinstance(moment, date):
        raise ValueError(f"{text!r} is no date or time")
    return moment
