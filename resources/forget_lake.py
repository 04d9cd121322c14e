"""The lake without one person: files that hold them are written anew, without their rows or with rows that say nothing.

What belongs here: which tables hold what of a person, and what is left of it. Files that hold nothing of them are not
touched. A new file takes the old one's number: deltas of contacts have an order, messages name their bodies by it, and
whoever has looked at events knows how far by it. Rows that are counted, or named by their place, stay as rows.
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from journey.person import FORGOTTEN, Person
from journey.words import EntryOutcome
from resources.contacts import BASE, DELTA
from resources.forgotten import disguised
from resources.lake import Lake, parquet_schema
from resources.ledger import Lease
from resources.on_disk import into_place
from resources.tables import lake_file

EXPORTS = "export/"
EVENTS = "events"


@dataclass(frozen=True)
class Traces:
    """What the ledger knows that is theirs: `messages`, `participants` (ids), `bodies` (file → rows in it). `label`
    stands for them in what is counted; `key` disguises ids of messages."""

    label: str
    key: bytes
    messages: Collection[int] = ()
    participants: Collection[int] = ()
    bodies: Mapping[int, Collection[int]] = field(default_factory=dict)


Rewritten = Callable[[sa.Connection, pl.DataFrame, pl.DataFrame], None]
"""Called in the transaction in which a new file of events counts: (transaction, the rows before, the rows after)."""


def erase_from_lake(
    lake: Lake, person: Person, traces: Traces, lease: Lease | None, also: Rewritten | None = None
) -> int:
    """Write every file that holds them anew. Gives how many; the old ones are orphans, to be swept."""
    with lake.ledger.read() as tx:
        live = tx.execute(
            sa.select(lake_file).where(lake_file.c.dropped_at.is_(None)).order_by(lake_file.c.id)
        ).all()  # fmt: skip
    count = 0
    for row in live:
        name = str(row.name)
        if name.startswith(EXPORTS):
            continue
        path = lake.root / str(row.path)
        with contextlib.suppress(FileNotFoundError):  # lost; `doctor` and the publish say so
            after = _without(name, path, int(row.id), person, traces)
            if after is None:
                continue
            made = lake.put(name, after)
            before = pl.read_parquet(path, glob=False) if name == EVENTS and also is not None else None
            with lake.ledger.write(lease) as tx:  # whoever sends waits for it: nothing is read here
                lake.replace(tx, int(row.id), made)
                if before is not None and also is not None:
                    also(tx, before, after)
            count += 1
    return count


def _without(name: str, path: Path, number: int, person: Person, traces: Traces) -> pl.DataFrame | None:
    """A file's rows without them; None where they are not in it."""
    there = parquet_schema(path)
    if name == "bodies":
        return _bodies(path, traces.bodies.get(number, ()), traces)
    if name == "message_events":
        return _statuses(path, person, traces)
    if "contact_id" not in there:
        return None
    texts = [one for one, kind in there.items() if kind == pl.String() and one not in ("contact_id", "event_key")]
    hit = pl.any_horizontal(_theirs(person), *(_names(pl.col(one), person) for one in texts))
    if not pl.scan_parquet(path, glob=False).select(hit.fill_null(False).any()).collect(engine="streaming").item():
        return None
    frame = pl.read_parquet(path, glob=False)
    if name in (BASE, DELTA, EVENTS):
        left = frame.filter(~_theirs(person).fill_null(False))
    else:
        left = _nameless(name, frame, person, traces.label)
    return _mentions(left, texts, person, traces.label)


def _theirs(person: Person) -> pl.Expr:
    return pl.col("contact_id").is_in(sorted(person.ids))


def _among(column: str, numbers: Collection[int]) -> pl.Expr:
    return pl.col(column).cast(pl.Int64).is_in(pl.Series("number", sorted(numbers), pl.Int64).implode())


def _names(column: pl.Expr, person: Person) -> pl.Expr:
    words = [*person.words, *(f'"{one}"' for one in sorted(person.ids) if person.lists)]
    return column.str.contains_any(words) if words else pl.lit(False)


def _nameless(name: str, frame: pl.DataFrame, person: Person, label: str) -> pl.DataFrame:
    """Their rows stay, for they are counted or have a place, and say nothing of them."""
    theirs = _theirs(person)
    blank = [one for one in ("event_id", "request_uuid", "detail", "attributes") if one in frame.columns]
    changes = [pl.when(theirs).then(pl.lit(label)).otherwise("contact_id").alias("contact_id")]
    changes += [pl.when(~theirs).then(pl.col(one)).alias(one) for one in blank]
    if "outcome" in frame.columns and name == "audience":  # whoever is still to come in does not
        unknown = pl.lit(EntryOutcome.unknown_contact.value)
        changes.append(pl.when(theirs).then(unknown).otherwise("outcome").alias("outcome"))
    if "occurrence" in frame.columns:
        own = theirs & (pl.col("entry") != "audience")
        changes.append(pl.when(own).then(pl.lit(label)).otherwise("occurrence").alias("occurrence"))
    return frame.with_columns(changes)


def _mentions(frame: pl.DataFrame, texts: Collection[str], person: Person, label: str) -> pl.DataFrame:
    """Rows of others that name them: the label stands there instead."""
    for one in texts:
        named = frame.get_column(one)
        places = frame.select(_names(pl.col(one), person).fill_null(False)).to_series().arg_true()
        if places.len():
            changed = [
                person.relabelled(text, label) if one == "properties" else person.renamed(text, label)
                for text in named.gather(places)
            ]
            frame = frame.with_columns(named.scatter(places, pl.Series(changed, dtype=pl.String)))
    return frame


def _bodies(path: Path, rows: Collection[int], traces: Traces) -> pl.DataFrame | None:
    """Bodies are named by their place: theirs are empty. A body that no message names (a crash) is found by whose
    passage it was for."""
    columns = pl.scan_parquet(path, glob=False).select("participant_id", "body").with_row_index("place")
    theirs = _among("place", rows) | _among("participant_id", traces.participants)
    places = columns.filter(theirs & (pl.col("body") != "")).select("place").collect().to_series()
    if places.is_empty():
        return None
    frame = pl.read_parquet(path, glob=False)
    return frame.with_columns(frame.get_column("body").scatter(places, pl.repeat("", places.len(), eager=True)))


def _statuses(path: Path, person: Person, traces: Traces) -> pl.DataFrame | None:
    """What Meta reported of their messages stays, under the messages' disguised ids: the id itself holds the phone."""
    words = [*sorted(person.wamids), *person.in_wamids]
    by_wamid = pl.col("wamid").str.contains_any(words) if words else pl.lit(False)
    theirs = (_among("message_id", traces.messages) | by_wamid).fill_null(False)
    open_ = theirs & ~pl.col("wamid").str.starts_with(FORGOTTEN)
    found = pl.scan_parquet(path, glob=False).select("message_id", "wamid").with_row_index("place").filter(open_)
    places = found.collect().select("place", "wamid")
    if places.is_empty():
        return None
    frame = pl.read_parquet(path, glob=False)
    hidden = [disguised(traces.key, one) for one in places["wamid"]]
    return frame.with_columns(frame["wamid"].scatter(places["place"], pl.Series(hidden, dtype=pl.String)))


def erase_from_kept(home: Path, person: Person, passed: Collection[Path]) -> list[str]:
    """Take them out of Parquet files elsewhere in the home, such as `plan --out` leaves: their rows go. Gives the files
    that were rewritten, as paths from the home."""
    done: list[str] = []
    for path in _files(home, passed):
        try:
            if "contact_id" not in parquet_schema(path):
                continue
            some = pl.scan_parquet(path, glob=False).select(_theirs(person).any()).collect().item()
        except (OSError, pl.exceptions.PolarsError):
            continue
        if some:
            hidden = path.with_name(f".{path.name}.forgetting")
            pl.read_parquet(path, glob=False).filter(~_theirs(person).fill_null(False)).write_parquet(hidden)
            into_place(hidden, path)
            done.append(path.relative_to(home).as_posix())
    return done


def _files(home: Path, passed: Collection[Path]) -> Iterator[Path]:
    for folder, inner, files in os.walk(home):
        inner[:] = [one for one in inner if not one.startswith(".") and Path(folder, one) not in passed]
        yield from (Path(folder, one) for one in sorted(files) if one.endswith(".parquet"))
