"""Taking event files in: landing zone → event store and quarantine.

What belongs here: the walk over pending files, and the transaction of each part of one. What a row of a file says is
`journey.event_rows`, which events are known `resources.events`. A bad file never stops the others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from journey.clock import to_us
from journey.event_rows import EventRows, IdenticalLines, derive_ids, known_field, read_json_events, read_table_events
from journey.phones import stranger_id
from journey.properties import TIME
from journey.rows import bad_frame
from resources.contact_intake import IntakeRules, TakenFile, UnreadableFile, readable, reading, set_aside
from resources.contacts import Contacts
from resources.containing import Line, line_by_line, unforeseen
from resources.events import BATCH, EVENTS, NAME, Events
from resources.landing import Cursor, FileStat, Landing
from resources.landing_tables import table_rows
from resources.ledger import BULK, Lease
from resources.quarantine import put_aside, put_aside_in_bulk


def take_in_events(
    landing: Landing,
    events: Events,
    contacts: Contacts,
    rules: IntakeRules,
    lease: Lease | None,
    now: datetime,
    wall: float,
    final: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> list[TakenFile]:
    """Takes in every pending event file, oldest first; arguments as `take_in_contacts`. Take contacts in before: an
    event that names a phone belongs to the contact that has it then."""
    intake = EventIntake(landing, events, contacts, rules, lease, now, beat)
    taken = []
    for stat in landing.pending(wall, ["events"]):
        try:
            taken.append(intake.take(stat, wall, final))
        except FileNotFoundError:  # renamed or removed since it was listed
            continue
        except Exception as error:
            taken.append(set_aside(landing, stat, lease, now, error))
    return taken


@dataclass(slots=True)
class EventIntake:
    """The taking in of event files under one lease, at one moment."""

    landing: Landing
    events: Events
    contacts: Contacts
    rules: IntakeRules
    lease: Lease | None
    now: datetime
    beat: Callable[[], None]
    counter: IdenticalLines = field(default_factory=IdenticalLines)

    def take(self, stat: FileStat, wall: float, final: bool) -> TakenFile:
        self.counter = IdenticalLines()
        taken = TakenFile(stat.kind, stat.name)
        with reading():
            copied = self.landing.copy_of(stat)
        if copied is not None:
            with self.events.ledger.write(self.lease) as tx:
                self.landing.save(tx, copied, to_us(self.now))
            return replace(taken, again=True)
        if stat.form == "ndjson":
            start = self.landing.start(stat).offset
            fed = start == 0
            for chunk in readable(self.landing.chunks(stat, wall, final)):
                read = self.read(chunk.lines)
                if not fed and read.frame["said"].null_count() < read.frame.height:
                    self._feed(stat, start)
                    fed = True
                taken = self.write(taken, stat, read, chunk.cursor)
            return taken
        if stat.form == "unknown":
            raise UnreadableFile(f"`{stat.path.suffix}` is no known ending; use .ndjson, .csv or .parquet")
        with reading():
            cursor = self.landing.whole(stat)
        last: EventRows | None = None
        for read in self._parts(stat):
            if last is not None:
                taken = self.write(taken, stat, last, None)
            last = read
        if last is None:
            last = self.read([])
        return self.write(taken, stat, last, cursor)

    def _parts(self, stat: FileStat) -> Iterator[EventRows]:
        first = True
        for rows in readable(table_rows(stat, BATCH)):
            fields = {known_field(name) for name in rows.cells}
            if first and not ({"event", "occurred_at"} <= fields and fields & {"contact_id", "phone"}):
                raise UnreadableFile("it needs the columns `event`, `occurred_at`, and `contact_id` or `phone`")
            first = False
            yield read_table_events(rows, self.rules.region, self.rules.timezone)

    def read(self, lines: Sequence[Line]) -> EventRows:
        """The events of some lines; a line on which we fail ourselves takes no other along."""
        found = []
        for one in line_by_line(lines, lambda some: read_json_events(some, self.rules.region, self.rules.timezone)):
            if not isinstance(one, EventRows):
                (number, raw), error = one
                bad = bad_frame([(number, unforeseen(error), raw.decode("utf-8", "replace").strip())])
                one = replace(read_json_events([], self.rules.region, self.rules.timezone), bad=bad)
            found.append(one)
        return EventRows(pl.concat([one.frame for one in found]), pl.concat([one.bad for one in found]))

    def _feed(self, stat: FileStat, until: int) -> None:
        """Tells the counter of the lines read in earlier passes: identical ones of one file are different events."""
        for lines in self.landing.prefix(stat, until):
            texts = [line.strip().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace") for line in lines]
            self.counter.feed(pl.Series("raw", [text for text in texts if text], pl.String))

    def write(self, taken: TakenFile, stat: FileStat, read: EventRows, cursor: Cursor | None) -> TakenFile:
        self.beat()
        frame = derive_ids(read.frame, self.counter)
        new = self.events.new(frame)
        lake, ledger, bad = self.events.lake, self.events.ledger, read.bad
        taken = replace(
            taken,
            rows=taken.rows + frame.height + bad.height,
            new=taken.new + new.height,
            unchanged=taken.unchanged + frame.height - new.height,
        )
        quarantined = 0
        if bad.height > BULK:
            quarantined = put_aside_in_bulk(ledger, self.lease, stat.kind, stat.shown, bad, self.now, stat.path)
            bad = bad.clear()
        file = lake.put(NAME, self._whose(new, stat), at="occurred_at") if new.height else None
        with ledger.write(self.lease) as tx:
            if file is not None:
                lake.register(tx, file)
            quarantined += put_aside(tx, stat.kind, stat.shown, bad, self.now, stat.path)
            taken = replace(taken, quarantined=taken.quarantined + quarantined)
            if cursor is not None:  # its counts are those of before this pass
                total = cursor.quarantined + taken.quarantined
                cursor = replace(cursor, rows=cursor.rows + taken.rows, quarantined=total)
                self.landing.save(tx, cursor, to_us(self.now))
        return taken

    def _whose(self, frame: pl.DataFrame, stat: FileStat) -> pl.DataFrame:
        """Events as they are stored: a phone alone means the contact that has it, else the stranger of that phone."""
        alone = pl.col("contact_id").is_null()
        holders = self.contacts.find(phones=frame.filter(alone)["phone"]).select("phone", holder="contact_id")
        joined = frame.join(holders, on="phone", how="left", maintain_order="left")
        stranger = pl.lit(stranger_id("")) + pl.col("phone")
        return joined.with_columns(
            contact_id=pl.coalesce("contact_id", "holder", stranger),
            source_file=pl.lit(stat.shown),
            taken_at=pl.lit(self.now, TIME),
            batch=pl.lit(self.events.next_batch(self.lease), pl.Int64),
        ).select(list(EVENTS))
