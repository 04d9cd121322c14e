"""Reading again what is in the quarantine, by the same intake as the first time.

What belongs here: which rows are asked for, finding their text, and what becomes of each. How a kind of file is read
stands with its intake; what rows of contacts may overwrite is `journey.contact_merge.not_overwriting`.

A row whose text reads now is taken in, and goes; one that still can't be read stays, with today's reason. A row whose
file says something else in its place by now goes: the file was mended, and was read again as any changed file is.
Taking in twice changes nothing (events are known by their id, answers and statuses by their message, codes and requests
by themselves), so a crash between a row's taking in and its going does no harm.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.rows import MOST_RAW
from journey.webhook import parse
from resources import retry_kinds
from resources.containing import reaches_further, unforeseen
from resources.home import Home
from resources.landing import KINDS, FileStat, Kind
from resources.ledger import Lease, chunks, mark_dirty
from resources.quarantine import csv_header, digest_of
from resources.tables import landing_file, quarantine

_OF_CELL = re.compile(r"(?:“.*”: )?(.+?) is no .*; the rest of the row was taken", re.DOTALL)
IN_PART = "its text was kept in part only, and its file is gone; import the row again"
NO_BYTES = "it holds bytes that are no text, and its file is gone; import the row again"
NO_HEADER = "the header of its file is not known any more; import the row again"
NOT_A_LINE = "it is no line of a file; what it was about has to be done again"


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of the quarantine with its text as it is to be read (`text`), and the header of its CSV file."""

    id: int
    line: int
    reason: str
    raw: str
    text: bytes
    header: str | None


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of a row: `reason` None: it was read, or mended in its file (`mended`), and is gone."""

    id: int
    source: str
    file: str
    line: int
    reason: str | None
    mended: bool = False


def asked(
    tx: sa.Connection, ids: Sequence[int] = (), source: str | None = None, file: str | None = None
) -> Sequence[sa.Row[Any]]:
    """The rows of the quarantine with these ids (none named: all), of a source, of a file (`contacts/a.csv`, or its
    name): in the order of their files and lines."""
    query = sa.select(quarantine)
    if ids:
        query = query.where(quarantine.c.id.in_(list(ids)))
    if source is not None:
        query = query.where(quarantine.c.source == source)
    if file is not None:
        query = query.where(sa.or_(quarantine.c.file == file, quarantine.c.file.endswith(f"/{file}", autoescape=True)))
    order = sa.case({kind: place for place, kind in enumerate(KINDS)}, value=quarantine.c.source, else_=len(KINDS))
    return tx.execute(query.order_by(order, quarantine.c.file, quarantine.c.line, quarantine.c.id)).all()


def retry(home: Home, lease: Lease, ids: Sequence[int], now: datetime) -> list[Retried]:
    """Read these rows again. Whatever is pending in the landing zone must have been taken in before."""
    with home.ledger.read() as tx:
        rows = [row for part in chunks(len(ids)) for row in asked(tx, ids[part])]
    files: dict[tuple[str, str], list[sa.Row[Any]]] = {}
    for row in rows:
        files.setdefault((row.source, row.file), []).append(row)
    done: list[Retried] = []
    for (source, file), group in files.items():
        found = _file(home, lease, source, file, group, now)
        _settle(home, lease, group, found)
        done += [Retried(row.id, source, file, row.line, *found[row.id]) for row in group]
    return done


Found = dict[int, tuple[str | None, bool]]


def _file(home: Home, lease: Lease, source: str, file: str, rows: Sequence[sa.Row[Any]], now: datetime) -> Found:
    """What becomes of the rows of one file: (reason or None, whether it was mended in the file), by id."""
    if source not in KINDS:
        return {row.id: (NOT_A_LINE, False) for row in rows}
    stat = _stat(home, source, file)
    found: Found = {}
    whole = [row for row in rows if row.line == 0]
    for row in whole:
        found[row.id] = (_whole(home, lease, stat, row, now), False)
    there = _lines(stat, [row.line for row in rows if row.line > 0])
    header = csv_header(stat.path)
    kept: list[Kept] = []
    for row in rows:
        if row.line == 0:
            continue
        line = None if there is None else there.get(row.line, b"")
        found[row.id], one = _text(row, line, header, stat)
        if one is not None:
            kept.append(one)
    for part in chunks(len(kept), retry_kinds.TOGETHER):
        found |= _read(lambda some: retry_kinds.READERS[source](home, lease, stat, some, now), kept[part])
    if source == "webhooks" and there is not None:
        found |= _mended_webhooks(rows, found, there)
    return found


def _text(
    row: sa.Row[Any], line: bytes | None, header: str | None, stat: FileStat
) -> tuple[tuple[str | None, bool], Kept | None]:
    """The text of a row as it is to be read; where there is none, what becomes of it. `line`: what stands in its place
    now (None: its file is gone, or has no lines)."""
    raw, form = row.raw, stat.form
    if form == "csv" and row.line == 1:  # of the header itself
        return (None, False), Kept(row.id, 1, row.reason, raw, raw.encode("utf-8", "replace"), header or row.header)
    same = line is not None and _same(raw, line, form)
    if line is not None and not same and stat.kind != "webhooks":  # a webhook's text may be one item of its line
        return (None, True), None
    if same and line is not None and form == "ndjson":
        return (None, False), Kept(row.id, row.line, row.reason, raw, line, None)
    if len(raw) >= MOST_RAW and stat.kind != "webhooks":
        return (IN_PART, False), None
    if "\ufffd" in raw:
        return (row.reason if line is not None else NO_BYTES, False), None
    known = row.header or header
    if form == "csv" and known is None:
        return (NO_HEADER, False), None
    return (None, False), Kept(row.id, row.line, row.reason, raw, raw.encode("utf-8", "replace"), known)


def _mended_webhooks(rows: Sequence[sa.Row[Any]], found: Found, there: dict[int, bytes]) -> Found:
    """The rows that still can't be read, of lines that no longer hold what they say."""
    still = {row.line for row in rows if row.line > 0 and found[row.id][0] is not None}
    bad = parse([(number, line) for number, line in there.items() if number in still]).bad
    said = set(bad.select("line", "raw").iter_rows())
    mended = [row for row in rows if row.line in still and found[row.id][0] is not None]
    return {row.id: (None, True) for row in mended if (row.line, row.raw) not in said}


def _read(use: Callable[[Sequence[Kept]], pl.DataFrame], kept: Sequence[Kept]) -> Found:
    """Take rows in; those on which we fail ourselves stay, and take no other along."""
    try:
        bad = use(kept)
    except Exception as error:
        if reaches_further(error):
            raise
        if len(kept) == 1:
            return {kept[0].id: (unforeseen(error), False)}
        middle = len(kept) // 2
        return _read(use, kept[:middle]) | _read(use, kept[middle:])
    reasons: dict[int, list[str]] = {}
    for place, reason in bad.select("line", "reason").iter_rows():
        reasons.setdefault(place, []).append(reason)
    return {one.id: (_own(one.reason, reasons.get(one.id, [])), False) for one in kept}


def _own(before: str, reasons: Sequence[str]) -> str | None:
    """Why a row stays: of a cell that could not be read, only what is still said of that cell; the rest of its row was
    taken in, or has rows of its own."""
    cell = _OF_CELL.fullmatch(before)
    if cell is None:
        whole = [one for one in reasons if _OF_CELL.fullmatch(one) is None]
        return next(iter([*whole, *reasons]), None)
    same = [one for one in reasons if (other := _OF_CELL.fullmatch(one)) is None or other[1] == cell[1]]
    return same[0] if same else None


def _whole(home: Home, lease: Lease, stat: FileStat, row: sa.Row[Any], now: datetime) -> str | None:
    """A file that could not be read at all: it is read from its start, as if it had just come."""
    if row.raw:
        return NOT_A_LINE
    if not stat.path.is_file():
        return "the file is gone; import it again"
    if retry_kinds.newer_files(home, stat):
        return "contact files were taken in after it, which it must not undo; import it again where it is right"
    with home.ledger.write(lease) as tx:
        mine = (landing_file.c.kind == stat.kind) & (landing_file.c.name == stat.name)
        tx.execute(landing_file.delete().where(mine))
        tx.execute(quarantine.delete().where(quarantine.c.id == row.id))
    mark = row.quarantined_at
    retry_kinds.take_in_kind(home, lease, stat.kind, now)
    with home.ledger.read() as tx:
        again = tx.execute(
            sa.select(quarantine.c.reason).where(
                quarantine.c.source == row.source, quarantine.c.file == row.file, quarantine.c.line == 0,
                quarantine.c.quarantined_at >= mark,
            )
        ).scalar()  # fmt: skip
    return again


def _settle(home: Home, lease: Lease, rows: Sequence[sa.Row[Any]], found: Found) -> None:
    """Rows that were read go; the others get today's reason."""
    for part in chunks(len(rows)):
        some = rows[part]
        with home.ledger.write(lease) as tx:
            for row in some:
                reason, _ = found[row.id]
                if reason is None or row.line == 0:
                    if reason is None:
                        tx.execute(quarantine.delete().where(quarantine.c.id == row.id))
                elif reason != row.reason:
                    digest = digest_of(row.source, row.file, row.line, reason, row.raw)
                    twin = tx.execute(sa.select(quarantine.c.id).where(quarantine.c.digest == digest)).first()
                    mine = quarantine.c.id == row.id
                    if twin is not None:
                        tx.execute(quarantine.delete().where(mine))
                    else:
                        tx.execute(quarantine.update().where(mine).values(reason=reason, digest=digest))
            mark_dirty(tx, "quarantine", [row.id for row in some])


def _stat(home: Home, source: str, file: str) -> FileStat:
    """The landing file of a row, which may be gone."""
    kind: Kind = next(kind for kind in KINDS if kind == source)
    name = file.removeprefix(f"{kind}/")
    path = home.paths.landing / kind / Path(name).name
    try:
        stat = path.stat()
    except OSError:
        return FileStat(kind, name, path, 0, 0, 0)
    return FileStat(kind, name, path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _lines(stat: FileStat, wanted: Sequence[int]) -> dict[int, bytes] | None:
    """The lines of a text file with these numbers; None where the file is gone, or has no lines."""
    if stat.form not in ("csv", "ndjson") or not wanted:
        return None
    numbers, last = set(wanted), max(wanted)
    try:
        with stat.path.open("rb") as file:
            return {number: line for number, line in enumerate(_until(file, last), 1) if number in numbers}
    except OSError:
        return None


def _until(lines: Iterator[bytes], last: int) -> Iterator[bytes]:
    for number, line in enumerate(lines, 1):
        if number > last:
            return
        yield line


def _same(raw: str, line: bytes, form: str) -> bool:
    """Whether a line of the file is still the one that was put aside. Of a row over several lines, the first one."""
    text = line.strip().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()
    first = raw.splitlines()[0].strip() if form == "csv" and raw.strip() else raw.strip()
    if len(raw) >= MOST_RAW:
        return text.startswith(first)
    return text == first
