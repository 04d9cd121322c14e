"""Landing files changed where they lie, with their cursors: nothing is read twice, and nothing is lost.

What belongs here: bytes written over in a text file, and a Parquet file in another one's place. What is changed, and
why, is `forget_landing`.

Text files keep their inode, their size and their lines. So whoever appends meanwhile (the gateway to its newest log) is
not in the way, and a cursor still says the right place; only its hash is another.

A crash must not make a pass read a file from its start. So the cursor that fits the file as it will be is written
beside the old one before the first byte is: under a name that no file has, where `Landing` looks for what was renamed
and for what was read before. After the bytes it takes the old one's place.
"""

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import IO

import polars as pl
import sqlalchemy as sa

from resources.landing import CHUNK, Cursor, FileStat, Landing, sample
from resources.ledger import Lease
from resources.on_disk import into_place
from resources.tables import landing_file

_ENDING = ".forgetting"


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes that take the place of as many from `offset` on."""

    offset: int
    data: bytes


def write_over(landing: Landing, stat: FileStat, patches: Sequence[Patch], lease: Lease | None) -> None:
    """Write over some bytes of a text file, and let its cursor know."""
    helper = _helper(stat)
    cursors = landing.cursors([stat.kind])
    cursor = _fitting(stat, cursors.get((stat.kind, stat.name)), cursors.get((stat.kind, helper)))
    after: Cursor | None = None
    if cursor is not None:
        with stat.path.open("rb") as file:
            patched = _Patched(file, patches)
            whole = cursor.size == stat.size and cursor.content == _content(_Patched(file, ()), stat.size)
            after = replace(
                cursor,
                name=helper,
                sample=sample(patched, cursor.offset),  # type: ignore[arg-type]
                content=_content(patched, stat.size) if whole else "",
                check=_check(patched, cursor.offset) if cursor.check else "",
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


def take_up(landing: Landing, lease: Lease | None) -> None:
    """What a crash left: where the bytes were written and the cursor was not, it is now."""
    cursors = landing.cursors()
    for stat in landing.files():
        own, helper = cursors.get((stat.kind, stat.name)), cursors.get((stat.kind, _helper(stat)))
        if helper is None or helper.inode != stat.inode or helper.offset > stat.size:
            continue
        with stat.path.open("rb") as file:
            fits = sample(file, helper.offset) == helper.sample
            own_fits = own is not None and own.inode == stat.inode and sample(file, own.offset) == own.sample
        if fits and not own_fits:
            with landing.ledger.write(lease) as tx:
                landing.save(tx, replace(helper, name=stat.name), _taken_at(tx, stat))


def finish(landing: Landing, lease: Lease | None) -> None:
    """Nothing is under way any more: the cursors of files as they were to be go."""
    with landing.ledger.write(lease) as tx:
        tx.execute(landing_file.delete().where(landing_file.c.name.like(f".%{_ENDING}")))


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


def _check(file: "_Patched", size: int) -> str:
    """`Cursor.check` of so many bytes."""
    found = 0
    file.seek(0)
    while size > 0 and (data := file.read(min(CHUNK, size))):
        found = zlib.crc32(data, found)
        size -= len(data)
    return f"{found:08x}"


def replace_parquet(landing: Landing, stat: FileStat, frame: pl.DataFrame, lease: Lease | None) -> None:
    """Put other rows in the place of a Parquet file; where it was read, it still is."""
    hidden = stat.path.with_name(f".{stat.path.name}.{os.getpid()}")
    try:
        frame.write_parquet(hidden)
        os.utime(hidden, ns=(stat.mtime_ns, stat.mtime_ns))
        own = landing.cursors([stat.kind]).get((stat.kind, stat.name))
        read = own is not None and own.content == landing.whole(stat).content
        helper = _helper(stat)
        after: Cursor | None = None
        if own is not None and read:
            made = landing.whole(FileStat(stat.kind, helper, hidden, 0, 0, 0))
            after = replace(made, rows=own.rows, quarantined=own.quarantined, line=own.line)
            with landing.ledger.write(lease) as tx:
                landing.save(tx, after, _taken_at(tx, stat))
        into_place(hidden, stat.path)
    finally:
        hidden.unlink(missing_ok=True)
    if after is not None:
        with landing.ledger.write(lease) as tx:
            landing.save(tx, replace(after, name=stat.name), _taken_at(tx, stat))
            _drop(tx, stat.kind, helper)


def _helper(stat: FileStat) -> str:
    return f".{stat.name}{_ENDING}"


def _taken_at(tx: sa.Connection, stat: FileStat) -> int:
    mine = (landing_file.c.kind == stat.kind) & (landing_file.c.name == stat.name)
    return int(tx.execute(sa.select(landing_file.c.taken_at).where(mine)).scalar() or 0)


def _drop(tx: sa.Connection, kind: str, name: str) -> None:
    tx.execute(landing_file.delete().where((landing_file.c.kind == kind) & (landing_file.c.name == name)))
