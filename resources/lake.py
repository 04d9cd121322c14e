"""The lake: immutable Parquet files of bulk facts, counted by their row in the ledger.

What belongs here: writing a file so that it is whole or not there, the list of files that count, merging small files.
A file counts once its row is in `lake_file`, written in the transaction of the work it belongs to: a crash leaves an
orphan, never a double row. A name is never used twice: replacing a file under a reader fails its query. It ends with
the check sum of the file.
"""

import contextlib
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from resources.ledger import US, Lease, Ledger
from resources.on_disk import into_place, make_folder
from resources.tables import lake_file

CLASSES = (1 << 20, 1 << 25)
"""Size classes in bytes: small under 1 MiB, middle under 32 MiB; larger files are left alone."""

MERGE = 32
"""Files of one class within a day that become one: each row is then written again log32(n) times."""

_AT_ONCE = 1 << 22  # bytes

KEEP_SECONDS = 24 * 3600
"""A dropped file stays this long, for whoever still reads an older list."""

MERGED = ("entries", "events", "message_events", "participant_steps")
"""Tables of plain facts; the others are named by their rows (bodies, audience) or ordered (contacts)."""


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A written file that does not count yet. `path` is under the lake's root; times in microseconds, or None."""

    name: str
    path: str
    rows: int
    bytes: int
    min_at: int | None
    max_at: int | None


class Lake:
    """The lake of one home. `root` is data/lake."""

    def __init__(self, root: Path, ledger: Ledger, wall: Callable[[], float] = time.time) -> None:
        self.root, self.ledger, self.wall = root.resolve(), ledger, wall

    def put(self, name: str, frame: pl.DataFrame | pl.LazyFrame, at: str | None = None) -> LakeFile:
        """Write `frame` as a new file of the table `name`, safe on disk before it returns; not counted yet. A lazy one
        goes through in parts, so it may be larger than memory; its file has no range of times.

        `at` names the column of times whose range is kept with the file.
        """
        now = datetime.fromtimestamp(self.wall(), UTC)
        folder, stem = f"{name}/{now:%Y%m%d}", f"{now:%H%M%S%f}-{secrets.token_hex(4)}"
        make_folder(self.root / folder)
        hidden = self.root / folder / f".{stem}.parquet"
        try:
            frame.lazy().sink_parquet(hidden, compression="zstd", compression_level=1)
            relative = f"{folder}/{stem}-{check_of(hidden)}.parquet"
            target = self.root / relative
            into_place(hidden, target)
        except BaseException:
            hidden.unlink(missing_ok=True)
            raise
        if isinstance(frame, pl.LazyFrame):
            rows, low, high = int(pl.scan_parquet(target, glob=False).select(pl.len()).collect().item()), None, None
        else:
            rows, (low, high) = frame.height, _range(frame, at)
        return LakeFile(name, relative, rows, target.stat().st_size, low, high)

    def register(self, tx: sa.Connection, file: LakeFile) -> int:
        """Make a written file count, in the transaction of the work it belongs to. Gives its id."""
        row = tx.execute(
            lake_file.insert().values(
                name=file.name,
                path=file.path,
                rows=file.rows,
                bytes=file.bytes,
                min_at=file.min_at,
                max_at=file.max_at,
                created_at=int(self.wall() * US),
            )
        )
        key = row.inserted_primary_key
        assert key is not None
        return int(key[0])

    def drop(self, tx: sa.Connection, ids: Iterable[int]) -> None:
        """Make files count no longer; they are deleted a day later."""
        tx.execute(lake_file.update().where(lake_file.c.id.in_(list(ids))).values(dropped_at=int(self.wall() * US)))

    def replace(self, tx: sa.Connection, file_id: int, made: LakeFile) -> None:
        """Let a file that counts be another one from now on: it keeps its number, and so its place among the others
        and whatever names it. Only for taking a person out; the old file is to be deleted."""
        values = {"path": made.path, "rows": made.rows, "bytes": made.bytes}
        tx.execute(lake_file.update().where(lake_file.c.id == file_id).values(**values))

    def rows(self, name: str, tx: sa.Connection | None = None) -> Sequence[sa.Row[tuple[object, ...]]]:
        """The `lake_file` rows that count of one table, oldest first."""
        query = sa.select(lake_file).where(lake_file.c.name == name, lake_file.c.dropped_at.is_(None))
        with contextlib.ExitStack() as stack:
            connection = tx if tx is not None else stack.enter_context(self.ledger.read())
            return connection.execute(query.order_by(lake_file.c.id)).all()

    def files(self, name: str, tx: sa.Connection | None = None) -> list[Path]:
        """The paths of the files that count of one table, oldest first."""
        return [self.root / str(row.path) for row in self.rows(name, tx)]

    def path(self, file_id: int) -> Path:
        """Where a file is, by its id (also one that was dropped within the day)."""
        with self.ledger.read() as tx:
            path = tx.execute(sa.select(lake_file.c.path).where(lake_file.c.id == file_id)).scalar_one()
        return self.root / str(path)

    def scan(self, name: str, schema: dict[str, pl.DataType] | None = None) -> pl.LazyFrame:
        """All rows of a table; an empty frame of `schema` where it has no files yet."""
        files = self.files(name)
        if not files:
            return pl.LazyFrame(schema=schema or {})
        return pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore", glob=False)

    # -- keeping house -----------------------------------------------------------------------------------------------

    def merge(self, lease: Lease | None) -> int:
        """Merge small files of a class within the day, 32 into one. Gives the number of files that went."""
        gone = 0
        for name in MERGED:
            groups: dict[tuple[str, int], list[sa.Row[tuple[object, ...]]]] = {}
            for row in self.rows(name):
                size = next((i for i, limit in enumerate(CLASSES) if int(str(row.bytes)) < limit), None)
                if size is not None:
                    groups.setdefault((str(row.path).split("/")[1], size), []).append(row)
            for rows in groups.values():
                for start in range(0, len(rows) - MERGE + 1, MERGE):
                    gone += self._merge(name, rows[start : start + MERGE], lease)
        return gone

    def _merge(self, name: str, rows: Sequence[sa.Row[tuple[object, ...]]], lease: Lease | None) -> int:
        # Never all in memory: 32 files of the middle class were 4 GB of events (measured).
        frame = pl.concat(
            [pl.scan_parquet(self.root / str(row.path), glob=False) for row in rows], how="diagonal_relaxed"
        )
        lows = [int(str(row.min_at)) for row in rows if row.min_at is not None]
        highs = [int(str(row.max_at)) for row in rows if row.max_at is not None]
        made = self.put(name, frame)
        merged = LakeFile(name, made.path, made.rows, made.bytes, min(lows, default=None), max(highs, default=None))
        with self.ledger.write(lease) as tx:
            self.register(tx, merged)
            self.drop(tx, [int(str(row.id)) for row in rows])
        return len(rows)

    def sweep(self, lease: Lease | None, keep: float = KEEP_SECONDS) -> int:
        """Delete what was dropped more than a day ago, and orphans of crashes that old. Gives the number of files."""
        before = self.wall() - keep
        with self.ledger.write(lease) as tx:
            rows = tx.execute(
                sa.select(lake_file.c.id, lake_file.c.path).where(lake_file.c.dropped_at < int(before * US))
            ).all()
            if rows:
                tx.execute(lake_file.delete().where(lake_file.c.id.in_([row.id for row in rows])))
            known = set(tx.execute(sa.select(lake_file.c.path)).scalars())
        swept = 0
        for path in self.root.rglob("*.parquet"):
            if path.relative_to(self.root).as_posix() not in known and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
                swept += 1
        return swept


def parquet_schema(file: Path | str) -> pl.Schema:
    """The columns of a Parquet file. `pl.read_parquet_schema` takes brackets in a path for a pattern. PolarsError,
    OSError: it is none, or is damaged."""
    try:
        return pl.scan_parquet(file, glob=False).collect_schema()
    except pl.exceptions.PanicException as error:
        raise pl.exceptions.ComputeError(str(error)) from None


def _range(frame: pl.DataFrame, at: str | None) -> tuple[int | None, int | None]:
    if at is None or frame.is_empty():
        return None, None
    times = frame.get_column(at).cast(pl.Datetime("us", "UTC")).to_physical()
    low, high = times.min(), times.max()
    return (low if isinstance(low, int) else None), (high if isinstance(high, int) else None)


def check_of(path: Path) -> str:
    """The check sum of a file's bytes (4 GB a second). What a disk spoils by itself changes it. OSError: it can't be
    read."""
    found = 0
    with path.open("rb") as file:
        while data := file.read(_AT_ONCE):
            found = zlib.crc32(data, found)
    return f"{found:08x}"


def wrong(root: Path, path: str, size: int, *, read: bool) -> str | None:
    """What is wrong with a file of the lake (`path` under its root) that should have `size` bytes; None: nothing.
    `read`: its bytes are looked at too, where its name says what they were (not in files of before there were check
    sums)."""
    file = root / path
    try:
        there = file.stat().st_size
        if there != size:
            return f"it has {there:,} bytes of {size:,}"
        _, _, check = file.stem.partition("-")[2].partition("-")
        if read and check and check_of(file) != check:
            return "its bytes are not those that were written"
    except FileNotFoundError:
        return "it is gone"
    except OSError as error:
        return f"it can't be read ({error.strerror or error})"
    return None
