"""Taking contact files in: landing zone → contact store, consent and quarantine.

What belongs here: the walk over pending files, and the transaction of each part of one. What cells mean is
`journey.contact_rows`, what rows do is `journey.contact_merge`. A bad file never stops the others.

Every part is safe to do again: a row that changes nothing writes nothing, so a crash in the middle of a CSV, whose
cursor moves at its end only, costs the time of reading it again. A file whose exact content was read before (a copy, a
file that was renamed) is not read again, unless it is a new file and others came in between: a later file wins, also
where it says again what an earlier one said.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

import polars as pl

from journey.clock import to_us
from journey.contact_merge import Merged, merge, not_overwriting
from journey.contact_rows import (
    ContactRules,
    column_findings,
    contact_schema,
    evidence,
    known_column,
    property_columns,
    read_contacts,
)
from journey.csv_rows import UnreadableCsv
from journey.json_rows import ndjson_rows
from journey.properties import Evidence, PropertyType
from journey.rows import Rows, bad_frame
from resources.consents import write_changes, write_changes_in_bulk
from resources.contacts import Contacts
from resources.containing import FAULTS, reaches_further, unforeseen
from resources.forgotten import bring_back
from resources.landing import Cursor, FileStat, Landing
from resources.landing_tables import UnreadableTable, table_rows
from resources.ledger import BULK, Lease
from resources.quarantine import put_aside, put_aside_in_bulk
from resources.takeover import MOST, rename, rewrite

Item = TypeVar("Item")

BATCH = 100_000
SMALL = 64 << 20  # bytes; a CSV up to this is kept in memory between its two readings; Parquet may unfold to more


@dataclass(frozen=True, slots=True)
class TakenFile:
    """What became of one file in this pass. `rows`: rows and bad rows read; `new`, `changed`, `unchanged`: contacts (or
    events: new, and known ones as unchanged); `quarantined`: findings; `again`: exactly this was read before."""

    kind: str
    name: str
    rows: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    taken_over: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """What of the settings the take-in needs. `default`: `consent.default` is opted_in."""

    region: str
    timezone: ZoneInfo
    default: bool
    properties: Mapping[str, PropertyType] = field(default_factory=dict)


def take_in_contacts(
    landing: Landing,
    contacts: Contacts,
    rules: IntakeRules,
    lease: Lease | None,
    now: datetime,
    wall: float,
    final: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> list[TakenFile]:
    """Takes in every pending contact file, oldest first. `now`: the campaign's clock; `wall`: seconds since 1970;
    `final`: also a last line of NDJSON that has no newline yet (when it parses); `beat` is called before every write,
    for whoever must renew a lease."""
    intake = ContactIntake(landing, contacts, rules, lease, now, beat)
    taken = []
    for stat in landing.pending(wall, ["contacts"]):
        try:
            taken.append(intake.take(stat, wall, final))
        except FileNotFoundError:  # renamed or removed since it was listed
            continue
        except Exception as error:
            taken.append(set_aside(landing, stat, lease, now, error))
    if taken:
        contacts.fold(lease)
    return taken


class UnreadableFile(Exception):
    """A landing file that can't be read. Trouble of our own stores is none: it ends the pass, and the file waits."""


@contextmanager
def reading() -> Iterator[None]:
    """Around whatever reads a landing file, and nothing else."""
    try:
        yield
    except FileNotFoundError:  # renamed or removed: its new name comes by itself
        raise
    except (OSError, *FAULTS, UnicodeError, UnreadableCsv, UnreadableTable) as error:
        raise UnreadableFile((str(error).splitlines() or [type(error).__name__])[0]) from error


def readable(items: Iterable[Item]) -> Iterator[Item]:
    """The items of a landing file. What fails while one of them is put to use is not the file's fault."""
    with reading():
        yield from items


def set_aside(landing: Landing, stat: FileStat, lease: Lease | None, now: datetime, error: Exception) -> TakenFile:
    """Quarantines a file that can't be read at all, or on which Estafette itself fails; it is looked at again when it
    changes. An error that is not of this file alone is raised again."""
    if isinstance(error, UnreadableFile):
        reason = f"the file can't be read: {error}"
    elif reaches_further(error):
        raise error
    else:
        reason = unforeseen(error)
    cursor = Cursor(stat.kind, stat.name, stat.inode, stat.size, size=stat.size, mtime_ns=stat.mtime_ns, quarantined=1)
    with landing.ledger.write(lease) as tx:
        quarantined = put_aside(tx, stat.kind, stat.shown, bad_frame([(0, reason, "")]), now)
        landing.save(tx, cursor, to_us(now))
    return TakenFile(stat.kind, stat.name, quarantined=quarantined)


@dataclass(slots=True)
class ContactIntake:
    """The taking in of contact files under one lease, at one moment."""

    landing: Landing
    contacts: Contacts
    rules: IntakeRules
    lease: Lease | None
    now: datetime
    beat: Callable[[], None]

    def take(self, stat: FileStat, wall: float, final: bool) -> TakenFile:
        taken = TakenFile(stat.kind, stat.name)
        with reading():
            copied = self.landing.copy_of(stat)
        since = self.landing.stands(copied) if copied is not None else None
        if copied is not None and since is not None:
            with self.contacts.ledger.write(self.lease) as tx:
                self.landing.save(tx, copied, since)
            return replace(taken, again=True)
        if stat.form == "ndjson":
            for chunk in readable(self.landing.chunks(stat, wall, final)):
                rows = ndjson_rows(chunk.lines)
                types = self._types([rows])
                taken = self._write(taken, stat, rows, types, chunk.cursor)
            return taken
        if stat.form == "unknown":
            raise UnreadableFile(f"`{stat.path.suffix}` is no known ending; use .csv, .ndjson or .parquet")
        with reading():
            cursor = self.landing.whole(stat)
        kept = list(self._parts(stat)) if stat.form == "csv" and stat.size <= SMALL else None
        types = self._types(kept if kept is not None else self._parts(stat))
        last: Rows | None = None
        for part in kept if kept is not None else self._parts(stat):
            if last is not None:
                taken = self._write(taken, stat, last, types, None)
            last = part
        return self._write(taken, stat, last if last is not None else _no_rows(), types, cursor)

    def _parts(self, stat: FileStat) -> Iterator[Rows]:
        """The rows of a CSV or Parquet file; findings about its columns are with the first."""
        first = True
        for rows in readable(table_rows(stat, BATCH)):
            if first:
                if not {"contact_id", "phone"} & {known_column(name) for name in rows.cells}:
                    raise UnreadableFile("it has neither a column `phone` nor `contact_id`")
                header = ",".join(rows.cells)
                rows = replace(rows, bad=pl.concat([column_findings(rows.cells, header), rows.bad]))
            first = False
            yield rows

    def _types(self, parts: Iterable[Rows]) -> dict[str, PropertyType]:
        """Every property's type after these rows: stated by the settings, known, or settled now. A bigint that nobody
        stated widens to double where a file brings decimals."""
        known = self.contacts.types()
        stated = {name.casefold(): (name, kind) for name, kind in self.rules.properties.items()}
        found: dict[str, Evidence] = {}
        declared: dict[str, PropertyType] = {}
        spelled = [*self.rules.properties, *known]  # as it is known, else as the settings write it
        for rows in parts:
            names = property_columns(rows.cells, spelled)
            spelled += [own for own in names.values() if own not in spelled]
            seen = {name: own for name, own in names.items() if own not in known or known[own] == "bigint"}
            for own, evident in evidence(rows, seen).items():
                found[own] = found.get(own, Evidence()) + evident
            declared |= {names[name]: kind for name, kind in rows.declared.items() if name in names}
        types = dict(known)
        for own, evident in found.items():
            if own.casefold() in stated:
                types[own] = stated[own.casefold()][1]
            elif own not in known:
                settled = declared.get(own) or evident.settle()
                if settled is not None and evident.values:
                    types[own] = settled
            elif evident.double > evident.bigint:
                types[own] = "double"
        return types

    def _write(
        self, taken: TakenFile, stat: FileStat, rows: Rows, types: Mapping[str, PropertyType], cursor: Cursor | None
    ) -> TakenFile:
        """Takes some rows in. With the file's last rows comes its cursor."""
        read = read_contacts(rows, ContactRules(self.rules.region, self.rules.timezone, types))
        bad = [read.bad]
        frame = read.frame
        parts = [frame]
        merged = self._merge(frame, stat, types)
        if len(merged.takeovers) > MOST:
            parts = [frame[start : start + MOST] for start in range(0, frame.height, MOST)]
        quarantined = 0
        for number, part in enumerate(parts):
            if len(parts) > 1:
                merged = self._merge(part, stat, types)
            last = number == len(parts) - 1
            findings = pl.concat([*bad, merged.bad])
            bad = []
            counted = replace(
                taken,
                rows=taken.rows + (rows.height + rows.bad.height if last else 0),
                new=taken.new + merged.new,
                changed=taken.changed + merged.changed,
                unchanged=taken.unchanged + merged.unchanged,
                taken_over=taken.taken_over + len(merged.takeovers),
            )
            quarantined += self._commit(stat, merged, findings, types, cursor if last else None, counted)
            taken = replace(counted, quarantined=taken.quarantined)
        return replace(taken, quarantined=taken.quarantined + quarantined)

    def again(self, stat: FileStat, rows: Rows, may_be_old: Callable[[list[str]], set[str]]) -> pl.DataFrame:
        """Takes rows in that were put aside before. Gives what is still not taken (BAD). `may_be_old`: those of some
        contacts of whom newer data may have come since; a row without a time of its own overwrites nothing there."""
        types = self._types([rows])
        read = read_contacts(rows, ContactRules(self.rules.region, self.rules.timezone, types))
        bad = [read.bad]
        for start in range(0, read.frame.height, MOST):
            part = read.frame[start : start + MOST]
            known = self._known(part, types)
            part, old = not_overwriting(known, part, may_be_old)
            merged = merge(known, part, types, self.now, stat.shown, self.rules.default)
            self._commit(stat, merged, bad_frame(), types, None, TakenFile(stat.kind, stat.name))
            bad += [old, merged.bad]
        return pl.concat(bad)

    def _merge(self, frame: pl.DataFrame, stat: FileStat, types: Mapping[str, PropertyType]) -> Merged:
        return merge(self._known(frame, types), frame, types, self.now, stat.shown, self.rules.default)

    def _known(self, frame: pl.DataFrame, types: Mapping[str, PropertyType]) -> pl.DataFrame:
        # Whom the rows may touch: their ids, whoever has their phones, and the strangers of those phones.
        stranger = frame["contact_id"].str.extract(r"^whatsapp:(\+[0-9]+)$")
        phones = pl.concat([frame["phone"], stranger.alias("phone")]).drop_nulls().unique()
        bring_back(self.contacts, self.lease, phones)
        ids = pl.concat([frame["contact_id"], ("whatsapp:" + phones).alias("contact_id")])
        known = self.contacts.find(ids=ids, phones=phones)
        schema = contact_schema(types)
        known = known.with_columns(
            pl.lit(None, schema[name]).alias(name) for name in types if name not in known.columns
        )
        return known.select(pl.col(name).cast(kind, strict=False) for name, kind in schema.items())

    def _commit(
        self,
        stat: FileStat,
        merged: Merged,
        bad: pl.DataFrame,
        types: Mapping[str, PropertyType],
        cursor: Cursor | None,
        counted: TakenFile,
    ) -> int:
        self.beat()
        ledger, changes = self.contacts.ledger, merged.changes
        quarantined = 0
        if bad.height > BULK:
            quarantined += put_aside_in_bulk(ledger, self.lease, stat.kind, stat.shown, bad, self.now, stat.path)
            bad = bad.clear()
        if changes.height > BULK:
            write_changes_in_bulk(ledger, self.lease, changes)
            changes = changes.clear()
        delta = self.contacts.put(merged.contacts, types)
        files = rewrite(self.contacts.lake, merged.takeovers) if merged.takeovers else []
        with ledger.write(self.lease) as tx:
            self.contacts.settle(tx, types)
            if delta is not None:
                self.contacts.lake.register(tx, delta)
            rename(tx, self.contacts.lake, merged.takeovers, files, self.now)
            write_changes(tx, changes)
            quarantined += put_aside(tx, stat.kind, stat.shown, bad, self.now, stat.path)
            if cursor is not None:  # its counts are those of before this pass
                total = cursor.quarantined + counted.quarantined + quarantined
                cursor = replace(cursor, rows=cursor.rows + counted.rows, quarantined=total)
                self.landing.save(tx, cursor, to_us(self.now))
        return quarantined


def _no_rows() -> Rows:
    empty = pl.Series("line", [], pl.Int64)
    return Rows(empty, pl.Series("raw", [], pl.String), {}, bad_frame())
