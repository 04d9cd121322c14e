"""The event store: what contacts did, in the lake, each event once.

What belongs here: which events are known, which are new to whoever looks, what contacts did. How event files are taken
in is `event_intake`.

An event is known by its id, wherever and however often it comes: the 64-bit hash of the id is a column of its own, so
that a pass scans eight bytes an event to see which of its events are new.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from journey.event_rows import (
    event_key,
)
from journey.properties import TIME
from resources.lake import Lake
from resources.ledger import Lease, Ledger
from resources.tables import lake_file, meta

NAME = "events"
BATCH = 100_000
#: `event_key` is a hash of `event_id`; `properties` a JSON object; `source_file` the first file that brought the event;
#: `taken_at` is on the campaign's clock. `batch` rises with every taking-in: whoever looks at new events keeps the last
#: one it has seen (`event_cursor`). It is null in files from before batches were counted.
EVENTS: Mapping[str, pl.DataType] = {
    "event_id": pl.String(),
    "event_key": pl.Int64(),
    "event": pl.String(),
    "contact_id": pl.String(),
    "occurred_at": TIME,
    "properties": pl.String(),
    "source_file": pl.String(),
    "taken_at": TIME,
    "batch": pl.Int64(),
}
_BATCH = "event_batch"  # in `meta`: the last number that was given


@dataclass(frozen=True, slots=True)
class EventMark:
    """How far somebody has looked at the events: every batch up to `batch`; what is newer stands in files of the lake
    registered after `file_id`."""

    batch: int = 0
    file_id: int = 0


class Events:
    """The events of one home."""

    def __init__(self, lake: Lake, ledger: Ledger) -> None:
        self.lake, self.ledger = lake, ledger

    def scan(self) -> pl.LazyFrame:
        """Every event (EVENTS)."""
        return self.lake.scan(NAME, dict(EVENTS))

    def new(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of `frame` (with event_id) whose event is not known yet, each event once, with `event_key`."""
        frame = frame.unique("event_id", keep="first", maintain_order=True)
        keys = pl.Series("event_key", [event_key(one) for one in frame["event_id"]], pl.Int64)
        frame = frame.with_columns(keys)
        if frame.is_empty():
            return frame
        same = pl.col("event_key").is_in(keys.implode())
        found = self.scan().select("event_key").filter(same).collect(engine="streaming").to_series().unique()
        if found.is_empty():
            return frame
        # Two ids may have one hash (7 in 100,000 lakes of 50 million events): what counts is the id.
        known = self.scan().select("event_id", "event_key").filter(pl.col("event_key").is_in(found.implode()))
        return frame.join(
            known.select("event_id").collect(engine="streaming"), on="event_id", how="anti", maintain_order="left"
        )

    # -- what is new -------------------------------------------------------------------------------------------------

    def next_batch(self, lease: Lease | None) -> int:
        """A number above all that were given. One that a crash leaves unused is missed by nobody."""
        with self.ledger.write(lease) as tx:
            batch = self._last_batch(tx) + 1
            tx.execute(
                insert(meta)
                .values(name=_BATCH, value=str(batch))
                .on_conflict_do_update(index_elements=["name"], set_={"value": str(batch)})
            )
        return batch

    def mark(self, tx: sa.Connection) -> EventMark:
        """Where somebody stands who has seen everything until now."""
        newest = sa.select(sa.func.max(lake_file.c.id)).where(lake_file.c.name == NAME)
        return EventMark(self._last_batch(tx), int(tx.execute(newest).scalar() or 0))

    def reach(self, mark: EventMark, names: Iterable[str], most: int) -> int:
        """The last of the batches after the mark that bring `most` events of `names` together; a batch at least."""
        with self.ledger.read() as tx:
            last = self._last_batch(tx)
            newer = [row for row in self.lake.rows(NAME, tx) if int(str(row.id)) > mark.file_id]
        if sum(int(str(row.rows)) for row in newer) <= most:
            return last
        wanted = (pl.col("batch") > mark.batch) & pl.col("event").is_in(list(names))
        found = pl.scan_parquet(
            [self.lake.root / str(row.path) for row in newer],
            schema=dict(EVENTS), missing_columns="insert", extra_columns="ignore", glob=False,
        ).filter(wanted).group_by("batch").len().collect(engine="streaming").sort("batch")  # fmt: skip
        beyond = found.filter(pl.col("len").cum_sum() > most)["batch"]
        # The batch before the first that is too much; but one alone may be.
        return last if beyond.is_empty() else max(int(beyond[0]) - 1, int(found["batch"][0]))

    def since(self, mark: EventMark, names: Iterable[str] | None = None, until: int | None = None) -> pl.DataFrame:
        """Events of batches after the mark (EVENTS), up to the batch `until`, those of `names` only: by batch, then
        time, then id."""
        with self.ledger.read() as tx:
            if self._last_batch(tx) <= mark.batch:
                return pl.DataFrame(schema=dict(EVENTS))
            files = [
                self.lake.root / str(row.path) for row in self.lake.rows(NAME, tx) if int(str(row.id)) > mark.file_id
            ]
        newer = pl.col("batch") > mark.batch
        wanted = newer if names is None else newer & pl.col("event").is_in(list(names))
        if until is not None:
            wanted = wanted & (pl.col("batch") <= until)
        return self._read(files, wanted).sort("batch", "occurred_at", "event_id")

    def parts_since(self, mark: EventMark, names: Iterable[str]) -> Iterator[pl.DataFrame]:
        """`since` in parts of at most `BATCH` events, in no order: what came in at once may not fit into memory."""
        wanted = (pl.col("batch") > mark.batch) & pl.col("event").is_in(list(names))
        for row in self.lake.rows(NAME):
            if int(str(row.id)) > mark.file_id:
                found = self._read([self.lake.root / str(row.path)], wanted)
                yield from found.iter_slices(BATCH)

    def any_from(self, at: int) -> bool:
        """Whether there may be events that occurred at that time (microseconds) or later; no file is opened."""
        return bool(self._files_from(at))

    def _files_from(self, at: int) -> list[Path]:
        rows = [row for row in self.lake.rows(NAME) if row.max_at is None or int(str(row.max_at)) >= at]
        return [self.lake.root / str(row.path) for row in rows]

    def of(self, contact_ids: Iterable[str] | pl.Series, names: Iterable[str], occurred_from: datetime) -> pl.DataFrame:
        """What these contacts did since `occurred_from` (EVENTS), of these names, by time, then id. Files whose events
        are all older are not opened."""
        ids = contact_ids if isinstance(contact_ids, pl.Series) else pl.Series("id", list(contact_ids), pl.String)
        wanted = (
            (pl.col("occurred_at") >= pl.lit(occurred_from, TIME))
            & pl.col("event").is_in(list(names))
            & pl.col("contact_id").is_in(ids.implode())
        )
        return self._read(self._files_from(to_us(occurred_from)), wanted).sort("occurred_at", "event_id")

    def _read(self, files: list[Path], wanted: pl.Expr) -> pl.DataFrame:
        if not files:
            return pl.DataFrame(schema=dict(EVENTS))
        found = pl.scan_parquet(
            files, schema=dict(EVENTS), missing_columns="insert", extra_columns="ignore", glob=False
        )
        return found.filter(wanted).collect(engine="streaming")

    def _last_batch(self, tx: sa.Connection) -> int:
        return int(tx.execute(sa.select(meta.c.value).where(meta.c.name == _BATCH)).scalar() or 0)

    def view(self, name: str = NAME) -> tuple[tuple[str, ...], str]:
        """(files to be read, statement) that make the view of events for a DuckDB: event_id, event, contact_id,
        occurred_at, properties (JSON)."""
        paths = [str(path) for path in self.lake.files(NAME)]
        columns = "event_id, event, contact_id, occurred_at, properties::json as properties"
        if not paths:
            types = "null::varchar as event_id, null::varchar as event, null::varchar as contact_id"
            empty = f"select {types}, null::timestamptz as occurred_at, null::json as properties where false"
            return (), f"create view {name} as {empty}"
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        return tuple(paths), f"create view {name} as select {columns} from read_parquet([{listed}])"
