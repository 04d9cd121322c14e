"""The landing zone: which files came in, how far each has been read, and reading on from there.

What belongs here: listing, cursors, the decision what is pending, chunks of lines. What the lines mean is for whoever
takes them in; how files get here from the command line is `landing_import`.

A file counts once it is complete: names with a dot in front, and folders, are passed over. NDJSON may grow. CSV and
Parquet are read from their start whenever they change. A cursor is written in the transaction of the work it belongs
to, so a crash between two chunks neither loses nor doubles one.

A link counts where it leads to a file of the landing zone. One that leads elsewhere is never opened: whoever may put
files here need not be somebody who may read the whole machine, and what can't be read is shown in the quarantine.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import IO, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.json_rows import json_object
from resources.ledger import Ledger
from resources.tables import landing_file

Kind = Literal["contacts", "events", "coupons", "requests", "webhooks"]
KINDS: tuple[Kind, ...] = ("contacts", "events", "coupons", "requests", "webhooks")
CHUNK = 16 << 20  # bytes
LONGEST_LINE = 64 << 20  # bytes; a line beyond this is cut, and will be no JSON
QUIET = 10.0  # seconds without growth after which a last line without its newline is taken
_SAMPLE = 1 << 16
_UNTRIED = -1  # as mtime: a last line without its newline waits
NDJSON = frozenset({".ndjson", ".jsonl", ".json"})
CSV = frozenset({".csv", ".tsv", ".txt"})
PARQUET = frozenset({".parquet", ".pq"})


@dataclass(frozen=True, slots=True)
class FileStat:
    """A file of the landing zone as `stat` sees it."""

    kind: Kind
    name: str
    path: Path
    inode: int
    size: int
    mtime_ns: int

    @property
    def form(self) -> Literal["ndjson", "csv", "parquet", "unknown"]:
        """What its ending says it is."""
        suffix = self.path.suffix.lower()
        if suffix in NDJSON:
            return "ndjson"
        return "csv" if suffix in CSV else "parquet" if suffix in PARQUET else "unknown"

    @property
    def shown(self) -> str:
        """Its path under landing/, as tables show it."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a file has been read: `offset` bytes, `line` lines. `size` and `mtime_ns` as they were then. `sample` is
    a hash of the first and last 64 KiB of what was read, `content` of a file that was read whole; `check` is the check
    sum of all that was read, however often it was read on ("" where they are not known). `rows` and `quarantined` count
    over the file."""

    kind: Kind
    name: str
    inode: int
    offset: int = 0
    line: int = 0
    sample: str = ""
    content: str = ""
    size: int = 0
    mtime_ns: int = 0
    rows: int = 0
    quarantined: int = 0
    check: str = ""

    @property
    def prefix_hash(self) -> str:
        """`sample`, `check` and `content` as the ledger keeps them."""
        return f"{self.sample}{f'.{self.check}' if self.check else ''}:{self.content}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole lines (number from 1, bytes) and the cursor after them; `cursor` has the counts of before."""

    lines: list[tuple[int, bytes]]
    cursor: Cursor


def pending(stats: Iterable[FileStat], cursors: Mapping[tuple[str, str], Cursor], wall: float) -> list[FileStat]:
    """The files with something to read, oldest first. `cursors` by (kind, name); `wall` in seconds since 1970.

    Stats only: sensors ask this each few seconds.
    """
    found = [one for one in stats if _is_pending(one, cursors.get((one.kind, one.name)), wall)]
    return sorted(found, key=lambda one: (one.mtime_ns, one.name))


def _is_pending(stat: FileStat, cursor: Cursor | None, wall: float) -> bool:
    if cursor is None:
        return stat.size > 0
    if (stat.inode, stat.size) != (cursor.inode, cursor.size):
        return True
    if cursor.mtime_ns == _UNTRIED:
        return is_quiet(stat, wall)
    return stat.mtime_ns != cursor.mtime_ns


def is_quiet(stat: FileStat, wall: float) -> bool:
    """Whether a file has not grown for a while. One that grew at a time which is still to come did so before the clock
    was set back."""
    return abs(wall - stat.mtime_ns / 1e9) >= QUIET


def legible(name: str) -> str:
    """A file's name as the ledger can keep it: bytes of it that are no UTF-8 are written `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class LeadsElsewhere(OSError):
    """A link in the landing zone to something outside it."""


class Landing:
    """The landing zone of one home. `root` is landing/."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self.root, self.ledger = root, ledger

    def files(self, kinds: Iterable[Kind] = KINDS) -> list[FileStat]:
        """Every complete file, by kind and name."""
        return self._files(kinds, astray=False)

    def astray(self, kinds: Iterable[Kind] = KINDS) -> list[FileStat]:
        """Every link to a file that is not of the landing zone: never opened."""
        return self._files(kinds, astray=True)

    def _files(self, kinds: Iterable[Kind], *, astray: bool) -> list[FileStat]:
        """Every complete file; or (`astray`) every link to a file elsewhere, as it stands here itself."""
        found: list[FileStat] = []
        for kind in kinds:
            try:
                entries = list(os.scandir(self.root / kind))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                try:
                    if entry.name.startswith(".") or not entry.is_file():
                        continue
                    path = Path(entry.path)
                    if (entry.is_symlink() and self._is_outside(kind, path)) is not astray:
                        continue
                    stat = entry.stat(follow_symlinks=not astray)
                except FileNotFoundError:  # renamed or removed meanwhile
                    continue
                found.append(FileStat(kind, legible(entry.name), path, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return sorted(found, key=lambda one: (one.kind, one.name))

    def leads_elsewhere(self, stat: FileStat) -> bool:
        """Whether it is a link that leads out of the landing zone. Its folders may be the operator's links."""
        return stat.path.is_symlink() and self._is_outside(stat.kind, stat.path)

    def _is_outside(self, kind: Kind, path: Path) -> bool:
        there = path.resolve()
        return not any(there.is_relative_to(one.resolve()) for one in (self.root, self.root / kind))

    def _admit(self, stat: FileStat) -> None:
        """LeadsElsewhere: it is not to be opened."""
        if self.leads_elsewhere(stat):
            raise LeadsElsewhere("it is a link to something outside the landing zone; put a copy of the file here")

    def cursors(self, kinds: Iterable[Kind] = KINDS, tx: sa.Connection | None = None) -> dict[tuple[str, str], Cursor]:
        """Every cursor, by (kind, name)."""
        query = sa.select(landing_file).where(landing_file.c.kind.in_(list(kinds)))
        if tx is not None:
            rows = tx.execute(query).all()
        else:
            with self.ledger.read() as own:
                rows = own.execute(query).all()
        found: dict[tuple[str, str], Cursor] = {}
        for row in rows:
            sample, check, content = hashes(row.prefix_hash)
            found[row.kind, row.name] = Cursor(
                row.kind,
                row.name,
                row.inode,
                row.offset,
                row.line,
                sample,
                content,
                row.size,
                row.mtime_ns,
                row.rows,
                row.quarantined,
                check,
            )
        return found

    def pending(self, wall: float, kinds: Iterable[Kind] = KINDS) -> list[FileStat]:
        """The files with something to read, oldest first; links that lead elsewhere too, until it was said of them."""
        listed = list(kinds)
        every = self.files(listed) + self.astray(listed)
        return pending(every, self.cursors(listed), wall)

    def save(self, tx: sa.Connection, cursor: Cursor, taken_at: int) -> None:
        """Write a cursor, in the transaction of what was read. `taken_at` in microseconds."""
        values = {
            "inode": cursor.inode,
            "offset": cursor.offset,
            "line": cursor.line,
            "prefix_hash": cursor.prefix_hash,
            "size": cursor.size,
            "mtime_ns": cursor.mtime_ns,
            "taken_at": taken_at,
            "rows": cursor.rows,
            "quarantined": cursor.quarantined,
        }
        statement = insert(landing_file).values(kind=cursor.kind, name=cursor.name, **values)
        tx.execute(statement.on_conflict_do_update(index_elements=["kind", "name"], set_=values))

    def copy_of(self, stat: FileStat) -> Cursor | None:
        """The cursor of a file of which nothing was read yet, where exactly this content was read to its end before
        under another name (or this one): it is at its end too. None where it is not so."""
        self._admit(stat)
        same_size = [one for one in self.cursors([stat.kind]).values() if one.content and one.size == stat.size]
        if not same_size:
            return None
        cursor = self.whole(stat)
        lines = [one.line for one in same_size if one.content == cursor.content]
        return replace(cursor, line=lines[0]) if lines else None

    def stands(self, copy: Cursor) -> int | None:
        """When the content of a copy (`copy_of`) was taken in, in microseconds; None where another file of its kind,
        which may say otherwise, came in after it. A file that was renamed is no copy, nor is one that was written
        again as it is."""
        with self.ledger.read() as tx:
            rows = tx.execute(sa.select(landing_file).where(landing_file.c.kind == copy.kind)).all()
        same = [row for row in rows if row.prefix_hash.endswith(f":{copy.content}")]
        there = {one.name for one in self.files([copy.kind])}
        for row in same:
            renamed = row.name not in there and (row.inode, row.mtime_ns) == (copy.inode, copy.mtime_ns)
            if row.name == copy.name or renamed:
                return int(row.taken_at)
        last = max((int(row.taken_at), row.mtime_ns, row.name) for row in same)
        return None if any((row.taken_at, row.mtime_ns, row.name) > last for row in rows) else last[0]

    def start(self, stat: FileStat) -> Cursor:
        """Where to read a file on: after what was read of it, at 0 where that has changed. A file that was renamed is
        known by its inode and what was read of it."""
        self._admit(stat)
        cursors = self.cursors([stat.kind])
        candidates = [cursors.get((stat.kind, stat.name))]
        there = {one.name for one in self.files([stat.kind])}
        candidates += [one for one in cursors.values() if one.inode == stat.inode and one.name not in there]
        for one in candidates:
            if one is None or one.offset > stat.size or one.inode != stat.inode:
                continue
            with stat.path.open("rb") as file:
                if sample(file, one.offset) == one.sample:
                    return replace(one, name=stat.name)
        return Cursor(stat.kind, stat.name, stat.inode)

    def chunks(self, stat: FileStat, wall: float, final: bool = False, size: int = CHUNK) -> Iterator[Chunk]:
        """The lines of an NDJSON file that have not been read, some 16 MB at a time, up to its last newline.

        A last line without its newline is among them when it parses, and the file has not grown for 10 s or `final`
        is true. At least one chunk (perhaps without lines), so that the cursor knows the file as it is now.
        """
        cursor = self.start(stat)
        with stat.path.open("rb") as file:
            known = os.fstat(file.fileno())
            now = replace(cursor, inode=known.st_ino, size=known.st_size, mtime_ns=known.st_mtime_ns)
            hashed = blake2b(digest_size=16) if cursor.offset == 0 else None
            check = int(cursor.check or "0", 16) if cursor.check or not cursor.offset else None
            offset, line, rest = cursor.offset, cursor.line, b""
            if offset and _byte(file, offset - 1) != b"\n":
                line -= 1  # its last line had no newline: what follows still belongs to it
            file.seek(offset)
            left = known.st_size - offset
            done = False
            while not done:
                data = file.read(min(size, left))
                left -= len(data)
                done = not data or left <= 0
                if hashed is not None:
                    hashed.update(data)
                data = rest + data
                end = data.rfind(b"\n") + 1
                if not end and not done and len(data) < LONGEST_LINE:
                    rest = data
                    continue
                if not end and not done:
                    end = len(data)
                whole, rest = data[:end], data[end:]
                check = check if check is None else zlib.crc32(whole, check)
                lines = [(line + number, one) for number, one in enumerate(_split(whole), 1)]
                line += whole.count(b"\n")
                offset += end
                mtime = known.st_mtime_ns
                if done and rest.strip():
                    taken = (final or is_quiet(stat, wall)) and json_object(rest.strip())[1] is None
                    if taken:
                        line += 1
                        lines.append((line, rest))
                        offset += len(rest)
                        check = check if check is None else zlib.crc32(rest, check)
                    elif not is_quiet(stat, wall):
                        mtime = _UNTRIED
                whole_file = done and offset == known.st_size and hashed is not None
                now = replace(
                    now,
                    offset=offset,
                    line=line,
                    sample=sample(file, offset),
                    content=hashed.hexdigest() if whole_file and hashed is not None else "",
                    check="" if check is None else f"{check:08x}",
                    size=known.st_size if done else offset,
                    mtime_ns=mtime,
                )
                file.seek(offset + (0 if done else len(rest)))
                yield Chunk(lines, now)

    def prefix(self, stat: FileStat, until: int, size: int = CHUNK) -> Iterator[list[bytes]]:
        """The lines of a file before an offset, some at a time: for what depends on all of a file."""
        rest = b""
        with stat.path.open("rb") as file:
            left = until
            while left > 0 and (data := file.read(min(size, left))):
                left -= len(data)
                data = rest + data
                end = data.rfind(b"\n") + 1 if left > 0 else len(data)
                rest = data[end:]
                yield _split(data[:end])

    def whole(self, stat: FileStat) -> Cursor:
        """The cursor of a file that is read whole (CSV, Parquet), as it is after that; without counts."""
        self._admit(stat)
        with stat.path.open("rb") as file:
            known = os.fstat(file.fileno())
            hashed, check = blake2b(digest_size=16), 0
            while data := file.read(CHUNK):
                hashed.update(data)
                check = zlib.crc32(data, check)
            return Cursor(
                stat.kind,
                stat.name,
                known.st_ino,
                offset=known.st_size,
                sample=sample(file, known.st_size),
                content=hashed.hexdigest(),
                check=f"{check:08x}",
                size=known.st_size,
                mtime_ns=known.st_mtime_ns,
            )


def hashes(kept: str) -> tuple[str, str, str]:
    """(`sample`, `check`, `content`) of a cursor, from `prefix_hash`; earlier ones have no check sum."""
    head, _, content = kept.partition(":")
    found, _, check = head.partition(".")
    return found, check, content


def spoilt(stat: FileStat, cursor: Cursor) -> bool:
    """Whether a file that nobody has written since it was read holds other bytes than were read: the disk's doing. One
    of which nothing is known, or that was changed, is not. OSError: it can't be read."""
    grown = stat.form == "ndjson" and stat.size > cursor.size
    if not cursor.check or cursor.inode != stat.inode or not (grown or stat.mtime_ns == cursor.mtime_ns):
        return False
    found, left = 0, cursor.offset
    with stat.path.open("rb") as file:
        while left > 0 and (data := file.read(min(CHUNK, left))):
            found = zlib.crc32(data, found)
            left -= len(data)
    return left > 0 or f"{found:08x}" != cursor.check


def sample(file: IO[bytes], offset: int) -> str:
    """A hash of the first and last 64 KiB before an offset: whoever replaces a file changes one of them, and a file of
    gigabytes is not read again each second."""
    found = blake2b(str(offset).encode(), digest_size=16)
    file.seek(0)
    found.update(file.read(min(_SAMPLE, offset)))
    if offset > _SAMPLE:
        start = max(_SAMPLE, offset - _SAMPLE)
        file.seek(start)
        found.update(file.read(offset - start))
    return found.hexdigest()


def _split(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return lines[:-1] if not lines[-1] else lines


def _byte(file: IO[bytes], at: int) -> bytes:
    file.seek(at)
    return file.read(1)
