"""The landing zone without one person: their lines are written over, and everything else stays where it is.

What belongs here: finding their lines in files of contacts, events, requests and webhooks, and taking them out so that
nothing is read twice and nothing is lost. What is theirs is decided by `journey.person`.

Text files keep their inode, their size and their lines: what is theirs becomes spaces, which every reader passes over.
So whoever appends meanwhile (the gateway to its newest log) is not in the way, and a cursor still says the right place;
only its hash is another. A Parquet file is written anew and put in the old one's place.

A crash must not make a pass read a file from its start. So the cursor that fits the file as it will be is written
beside the old one before the first byte is: under a name that no file has, where `Landing` looks for what was renamed
and for what was read before. After the bytes it takes the old one's place.
"""

import contextlib
import mmap
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import IO

import polars as pl
import sqlalchemy as sa

from journey.contact_rows import known_column
from journey.csv_rows import UnreadableCsv, csv_records
from journey.event_rows import known_field
from journey.person import Person
from journey.rows import frame_rows
from resources.lake import parquet_schema
from resources.landing import CHUNK, Cursor, FileStat, Kind, Landing, sample
from resources.ledger import Lease
from resources.tables import landing_file

KINDS: tuple[Kind, ...] = ("contacts", "events", "requests", "webhooks")
"""Coupon files name nobody."""


@dataclass
class Erased:
    """What was taken out. `lines` and rows in `files`; `places`: (file under landing/, line) of each line that went;
    `left`: files that name them and are of no kind that can be rewritten."""

    lines: int = 0
    files: list[str] = field(default_factory=list)
    places: set[tuple[str, int]] = field(default_factory=set)
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes that take the place of as many from `offset` on."""

    offset: int
    data: bytes


def erase_from_landing(landing: Landing, person: Person, lease: Lease | None) -> Erased:
    """Take a person out of every landing file. Doing it again finds nothing."""
    erased = Erased()
    for stat in landing.files(KINDS):
        with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
            _erase(landing, stat, person, lease, erased)
    for path in _others(landing.root):
        if names_in(path, person):
            erased.left.append(f"landing/{path.relative_to(landing.root).as_posix()}")
    return erased


def erase_messages(landing: Landing, stat: FileStat, wamids: Collection[str], lease: Lease | None) -> None:
    """Take out of a webhook log what it says of messages from or to somebody who was forgotten before."""
    person = Person(frozenset(), frozenset(), frozenset(), frozenset(wamids), "")
    for one in landing.files(["webhooks"]):
        if one.name == stat.name:
            _erase(landing, one, person, lease, Erased())


def names_in(path: Path, person: Person) -> bool:
    """Whether a file's bytes name them without any doubt."""
    if person.marks is None:
        return False
    with contextlib.suppress(OSError), path.open("rb") as file, _mapped(file) as content:
        return person.marks.search(content) is not None
    return False


def _erase(landing: Landing, stat: FileStat, person: Person, lease: Lease | None, erased: Erased) -> None:
    lines = 0
    if stat.form == "parquet":
        lines = _parquet(landing, stat, person, lease)
    elif stat.form == "csv":
        lines = _write_over(landing, stat, _in_csv(stat, person), lease, erased)
    elif stat.form == "ndjson":
        lines = _write_over(landing, stat, _in_ndjson(landing, stat, person), lease, erased)
    elif names_in(stat.path, person):
        erased.left.append(f"landing/{stat.shown}")
    if lines:
        erased.lines += lines
        erased.files.append(f"landing/{stat.shown}")


def _others(root: Path) -> Iterator[Path]:
    """Files under landing/ that no pass reads: those being written, or left over."""
    for path in sorted(root.rglob("*")):
        read = path.parent.parent == root and not path.name.startswith(".")
        if path.is_file() and not read:
            yield path


# -- what is theirs --------------------------------------------------------------------------------------------------

Found = tuple[int, int, bytes, bool]
"""A line's number, its offset, what takes its place (as long), and whether it went whole."""


def _in_ndjson(landing: Landing, stat: FileStat, person: Person) -> list[Found]:
    found: list[Found] = []
    with stat.path.open("rb") as file, _mapped(file) as content:
        end, number, counted = 0, 1, 0
        for match in person.anywhere.finditer(content):
            if match.start() < end:
                continue
            start = content.rfind(b"\n", 0, match.start()) + 1
            end = content.find(b"\n", match.start())
            end = len(content) if end < 0 else end
            raw = content[start:end]
            left = person.line(stat.kind, raw)
            if left is None:
                continue
            if len(left) > len(raw):  # JSON is never longer here; what was written oddly goes to a file of its own
                _keep(landing, stat, left)
                left = b""
            number, counted = number + _newlines(content, counted, start), start
            found.append((number, start, left.ljust(len(raw)), not left.strip()))
    return found


def _in_csv(stat: FileStat, person: Person) -> list[Found]:
    """Records, each with all its lines. A record of somebody else loses only what names them."""
    with stat.path.open("rb") as file, _mapped(file) as content:
        if person.anywhere.search(content) is None:
            return []
    named = known_column if stat.kind == "contacts" else known_field
    hits: list[tuple[int, int, bool]] = []
    with stat.path.open("rb") as lines, contextlib.suppress(UnreadableCsv):
        records = csv_records(lines)
        _, _, header, _ = next(records)
        places = [place for place, name in enumerate(header) if named(name) in ("contact_id", "phone")]
        for first, last, cells, good in records:
            if good and any(place < len(cells) and person.is_id(cells[place]) for place in places):
                hits.append((first, last, True))
            elif not good or person.is_named_in("\0".join(cells).encode("utf-8", "replace")):
                hits.append((first, last, False))
    return list(_located(stat, hits, person))


def _located(stat: FileStat, hits: Sequence[tuple[int, int, bool]], person: Person) -> Iterator[Found]:
    """The lines of these records (first, last, whether they go whole), at their offsets."""
    waiting = iter(hits)
    hit = next(waiting, None)
    offset = 0
    with stat.path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if hit is not None and number > hit[1]:
                hit = next(waiting, None)
            if hit is None:
                return
            if number >= hit[0]:
                raw = line.rstrip(b"\r\n")
                left = b" " * len(raw) if hit[2] else person.masked(raw)
                if left != raw:
                    yield number, offset, left, hit[2]
            offset += len(line)


def _keep(landing: Landing, stat: FileStat, line: bytes) -> None:
    target = stat.path.with_name(f"{stat.path.stem}-kept-{secrets.token_hex(4)}{stat.path.suffix}")
    hidden = target.with_name(f".{target.name}")
    hidden.write_bytes(line + b"\n")
    _sync(hidden)
    hidden.rename(target)


# -- writing over ----------------------------------------------------------------------------------------------------


def _write_over(landing: Landing, stat: FileStat, found: Sequence[Found], lease: Lease | None, erased: Erased) -> int:
    if not found:
        return 0
    write_over(landing, stat, [Patch(offset, data) for _, offset, data, _ in found], lease)
    erased.places |= {(stat.shown, number) for number, _, _, whole in found if whole}
    return len(found)


def write_over(landing: Landing, stat: FileStat, patches: Sequence[Patch], lease: Lease | None) -> None:
    """Write over some bytes of a text file, and let its cursor know."""
    helper = _helper(stat)
    cursors = landing.cursors([stat.kind])
    cursor = _fitting(stat, cursors.get((stat.kind, stat.name)), cursors.get((stat.kind, helper)))
    after: Cursor | None = None
    if cursor is not None:
        with stat.path.open("rb") as file:
            patched = _Patched(file, patches)
            same = (cursor.size, cursor.mtime_ns) == (stat.size, stat.mtime_ns) and cursor.content
            after = replace(
                cursor,
                name=helper,
                sample=sample(patched, cursor.offset),  # type: ignore[arg-type]
                content=_content(patched, stat.size) if same else "",
            )
        with landing.ledger.write(lease) as tx:
            landing.save(tx, after, _taken_at(tx, stat))
    handle = os.open(stat.path, os.O_WRONLY)
    try:
        for patch in patches:
            rest, place = memoryview(patch.data), patch.offset
            while rest:
                written = os.pwrite(handle, rest, place)
                rest, place = rest[written:], place + written
        os.fsync(handle)
        if os.fstat(handle).st_size == stat.size:  # nobody appended: it is no newer than it was
            os.utime(handle, ns=(stat.mtime_ns, stat.mtime_ns))
    finally:
        os.close(handle)
    if after is not None:
        with landing.ledger.write(lease) as tx:
            landing.save(tx, replace(after, name=stat.name), _taken_at(tx, stat))
            _drop(tx, stat.kind, helper)


def _fitting(stat: FileStat, own: Cursor | None, helper: Cursor | None) -> Cursor | None:
    """The cursor by which the file would be read on; None where it would be read from its start, and still is to be."""
    if own is None or own.inode != stat.inode or own.offset > stat.size:
        return None
    if helper is not None and helper.inode == stat.inode:  # a crash came in between; the bytes may be either
        return own
    with stat.path.open("rb") as file:
        return own if sample(file, own.offset) == own.sample else None


class _Patched:
    """A file as it will be, as far as reading and seeking go."""

    def __init__(self, file: IO[bytes], patches: Sequence[Patch]) -> None:
        self.file, self.patches, self.at = file, sorted(patches, key=lambda one: one.offset), 0

    def seek(self, offset: int) -> int:
        self.at = self.file.seek(offset)
        return self.at

    def read(self, size: int) -> bytes:
        self.file.seek(self.at)
        data = bytearray(self.file.read(size))
        for patch in self.patches:
            low, high = max(patch.offset, self.at), min(patch.offset + len(patch.data), self.at + len(data))
            if low < high:
                data[low - self.at : high - self.at] = patch.data[low - patch.offset : high - patch.offset]
        self.at += len(data)
        return bytes(data)


def _content(file: "_Patched", size: int) -> str:
    """`Cursor.content` of the whole file, as it is counted."""
    hashed = blake2b(digest_size=16)
    file.seek(0)
    while size > 0 and (data := file.read(min(CHUNK, size))):
        hashed.update(data)
        size -= len(data)
    return hashed.hexdigest()


# -- Parquet ---------------------------------------------------------------------------------------------------------


def _parquet(landing: Landing, stat: FileStat, person: Person, lease: Lease | None) -> int:
    """A Parquet file without their rows, in the old one's place. Gives how many rows went."""
    named = known_column if stat.kind == "contacts" else known_field
    try:
        names = [name for name in parquet_schema(stat.path) if named(name) in ("contact_id", "phone")]
        naming = pl.read_parquet(stat.path, columns=names, glob=False) if names else pl.DataFrame()
    except (OSError, pl.exceptions.PolarsError):  # no Parquet file; it is in quarantine
        return 0
    theirs = [any(person.is_id(one) for one in row) for row in zip(*frame_rows(naming).cells.values(), strict=True)]
    if not any(theirs):
        return 0
    whole = pl.read_parquet(stat.path, glob=False)
    kept = whole.filter(~pl.Series(theirs, dtype=pl.Boolean))
    hidden = stat.path.with_name(f".{stat.path.name}.{os.getpid()}")
    try:
        kept.write_parquet(hidden)
        os.utime(hidden, ns=(stat.mtime_ns, stat.mtime_ns))
        _sync(hidden)
        own = landing.cursors([stat.kind]).get((stat.kind, stat.name))
        read = own is not None and (own.inode, own.size, own.mtime_ns) == (stat.inode, stat.size, stat.mtime_ns)
        helper = _helper(stat)
        after: Cursor | None = None
        if own is not None and read:
            made = landing.whole(FileStat(stat.kind, helper, hidden, 0, 0, 0))
            after = replace(made, rows=own.rows, quarantined=own.quarantined, line=own.line)
            with landing.ledger.write(lease) as tx:
                landing.save(tx, after, _taken_at(tx, stat))
        hidden.replace(stat.path)
    finally:
        hidden.unlink(missing_ok=True)
    _sync(stat.path.parent)
    if after is not None:
        with landing.ledger.write(lease) as tx:
            landing.save(tx, replace(after, name=stat.name), _taken_at(tx, stat))
            _drop(tx, stat.kind, helper)
    return whole.height - kept.height


# -- shared ----------------------------------------------------------------------------------------------------------


def _helper(stat: FileStat) -> str:
    return f".{stat.name}.forgetting"


def _taken_at(tx: sa.Connection, stat: FileStat) -> int:
    mine = (landing_file.c.kind == stat.kind) & (landing_file.c.name == stat.name)
    return int(tx.execute(sa.select(landing_file.c.taken_at).where(mine)).scalar() or 0)


def _drop(tx: sa.Connection, kind: str, name: str) -> None:
    tx.execute(landing_file.delete().where((landing_file.c.kind == kind) & (landing_file.c.name == name)))


def _newlines(content: mmap.mmap, start: int, end: int) -> int:
    return sum(content[at : min(at + CHUNK, end)].count(b"\n") for at in range(start, end, CHUNK))


@contextlib.contextmanager
def _mapped(file: IO[bytes]) -> Iterator[mmap.mmap]:
    """A file's bytes as they are now; an empty one has none to map."""
    if os.fstat(file.fileno()).st_size == 0:
        with mmap.mmap(-1, 1) as nothing:
            yield nothing
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
