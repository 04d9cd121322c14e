"""The landing zone without one person: their lines are written over, and everything else stays where it is.

What belongs here: finding their lines in files of contacts, events, requests and webhooks, and taking them out so that
nothing is read twice and nothing is lost. What is theirs is decided by `journey.person`.

What is theirs in a text file becomes spaces, which every reader passes over. A Parquet file is written anew, and put in
the old one's place (`landing_changes`).
"""

import contextlib
import mmap
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

import polars as pl

from journey.contact_rows import known_column
from journey.csv_rows import UnreadableCsv, csv_records
from journey.event_rows import known_field
from journey.json_rows import json_object
from journey.person import Person
from journey.rows import frame_rows
from resources.lake import parquet_schema
from resources.landing import CHUNK, FileStat, Kind, Landing
from resources.landing_changes import Patch, finish, replace_parquet, take_up, write_over
from resources.ledger import Lease
from resources.on_disk import into_place

KINDS: tuple[Kind, ...] = ("contacts", "events", "requests", "webhooks")
"""Coupon files name nobody."""

PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"PAR1")
"""How gzip, zip, zstd, bzip2, xz, 7z and Parquet begin: their bytes say nothing of whom they name."""


@dataclass
class Erased:
    """What was taken out. `lines` and rows in `files`; `places`: (file under landing/, line) of each line that went;
    `requests`: uuids of those that named them; `left`: files that name them and are of no kind that can be rewritten;
    `packed`: files of such a kind that are compressed, so that nobody knows whom they name.
    """

    lines: int = 0
    files: list[str] = field(default_factory=list)
    places: set[tuple[str, int]] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    left: list[str] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)


def erase_from_landing(landing: Landing, person: Person, lease: Lease | None) -> Erased:
    """Take a person out of every landing file. Doing it again finds nothing."""
    erased = Erased()
    take_up(landing, lease)
    for stat in landing.files(KINDS):
        with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
            _erase(landing, stat, person, lease, erased)
    for path in (*_others(landing.root), *(one.path for one in landing.astray())):
        _told(path, f"landing/{path.relative_to(landing.root).as_posix()}", person, erased)
    finish(landing, lease)
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
        lines = _write_over(landing, stat, _in_ndjson(stat, person, erased), lease, erased)
    else:
        _told(stat.path, f"landing/{stat.shown}", person, erased)
    if lines:
        erased.lines += lines
        erased.files.append(f"landing/{stat.shown}")


def _told(path: Path, shown: str, person: Person, erased: Erased) -> None:
    """A file that nothing here can rewrite: its owner is told where it names them, or may."""
    if names_in(path, person):
        erased.left.append(shown)
    elif _is_packed(path):
        erased.packed.append(shown)


def _is_packed(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(8).startswith(PACKED)
    return False


def _others(root: Path) -> Iterator[Path]:
    """Files under landing/ that no pass reads: those being written, or left over."""
    for path in sorted(root.rglob("*")):
        read = path.parent.parent == root and not path.name.startswith(".")
        if path.is_file() and not read:
            yield path


# -- what is theirs --------------------------------------------------------------------------------------------------

Found = tuple[int, int, bytes, bool]
"""A line's number, its offset, what takes its place (as long), and whether it went whole."""


def _in_ndjson(stat: FileStat, person: Person, erased: Erased) -> list[Found]:
    found: list[Found] = []
    with stat.path.open("rb") as file, _mapped(file) as content:
        for number, start, raw in _lines(content, person):
            left = person.line(stat.kind, raw)
            if left is None:
                continue
            if stat.kind == "requests" and (asked := json_object(raw.strip())[0].get("request_uuid")) is not None:
                erased.requests.add(str(asked))
            if len(left) > len(raw):  # JSON is never longer here; what was written oddly goes to a file of its own
                _keep(stat, left)
                left = b""
            found.append((number, start, left.ljust(len(raw)), not left.strip()))
    return found


def _lines(content: mmap.mmap, person: Person) -> Iterator[tuple[int, int, bytes]]:
    """Every line that may name them: number, offset, bytes."""
    end, number, counted = -1, 1, 0
    for match in person.anywhere.finditer(content):
        if match.start() < end:
            continue
        start = content.rfind(b"\n", 0, match.start()) + 1
        end = content.find(b"\n", match.start())
        end = len(content) if end < 0 else end
        number, counted = number + _newlines(content, counted, start), start
        yield number, start, content[start:end]


def _in_csv(stat: FileStat, person: Person) -> list[Found]:
    """Records, each with all its lines. A record of somebody else loses only what names them."""
    named = known_column if stat.kind == "contacts" else known_field
    hits: list[tuple[int, int, bool | None]] = []
    with stat.path.open("rb") as file, _mapped(file) as content, contextlib.suppress(UnreadableCsv):
        if person.anywhere.search(content) is None:
            return []
        records = _records(stat.path, content, person)
        _, _, header, _ = next(records)
        places = [place for place, name in enumerate(header) if named(name) in ("contact_id", "phone")]
        for first, last, cells, good in records:
            if good and any(place < len(cells) and person.is_id(cells[place]) for place in places):
                hits.append((first, last, True))
            elif not good or person.is_named_in("\0".join(cells).encode("utf-8", "replace")):
                hits.append((first, last, False if good else None))
    return list(_located(stat, hits, person))


def _records(path: Path, content: mmap.mmap, person: Person) -> Iterator[tuple[int, int, list[str], bool]]:
    """The header, and every record that may name them, as `csv_records`. Without quotes a record is a line, and only
    some lines need be read."""
    with path.open("rb") as lines:
        if content.find(b'"') >= 0:
            yield from csv_records(lines)
            return
        head = next(csv_records(lines))
        lines.seek(0)
        before = [lines.readline() for _ in range(head[0])]
    yield head
    for number, _, raw in _lines(content, person):
        if number > head[0]:
            yield from ((number, number, cells, good) for *_, cells, good in islice(csv_records([*before, raw]), 1, 2))


def _located(stat: FileStat, hits: Sequence[tuple[int, int, bool | None]], person: Person) -> Iterator[Found]:
    """The lines of these records (first, last, whether they go whole; None: if they are named), at their offsets."""
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
                whole = person.is_named_in(raw) if hit[2] is None else hit[2]
                left = b" " * len(raw) if whole else person.masked(raw)
                if left != raw:
                    yield number, offset, left, whole
            offset += len(line)


def _keep(stat: FileStat, line: bytes) -> None:
    target = stat.path.with_name(f"{stat.path.stem}-kept-{secrets.token_hex(4)}{stat.path.suffix}")
    hidden = target.with_name(f".{target.name}")
    hidden.write_bytes(line + b"\n")
    into_place(hidden, target)


def _write_over(landing: Landing, stat: FileStat, found: Sequence[Found], lease: Lease | None, erased: Erased) -> int:
    if not found:
        return 0
    write_over(landing, stat, [Patch(offset, data) for _, offset, data, _ in found], lease)
    erased.places |= {(stat.shown, number) for number, _, _, whole in found if whole}
    return len(found)


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
    replace_parquet(landing, stat, kept, lease)
    return whole.height - kept.height


# -- shared ----------------------------------------------------------------------------------------------------------


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
