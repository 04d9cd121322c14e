"""An append-only log of lines that are on disk before anyone is told so.

What belongs here: files of the landing zone that the gateway writes. What a line says is its caller's matter.

Group commit: one write and one fdatasync are under way at a time, and all lines that arrive meanwhile share the next
(measured: 10,800 requests a second, against 2,000 with one sync each). A file is never reopened: what a crash left of a
line at its end is never joined with the next line, because the next process starts another file.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from resources.on_disk import make_folder, sync

Clock = Callable[[], datetime]

LARGEST_FILE = 64 * 1024 * 1024  # bytes; a reader hashes what it has read of a file
OLDEST_FILE = 3_600.0  # seconds
TOLD = 60.0  # seconds between two lines about a disk: whoever is refused comes again and again
MOST_WAITING = 64 * 1024 * 1024  # bytes; beyond it the disk is too slow, and who sends had better come again

LOG = logging.getLogger(__name__)
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class LogError(OSError):
    """A line is not on disk; its sender must bring it again."""


class LandingLog:
    """Appends lines to files of one directory. `append` belongs to one running loop; files are written in a thread.

    Files are named by the clock's time (UTC) and a count, so that they sort by age, and at random, so that no two are
    the same. `largest` (bytes) and `oldest` (seconds) say when the next file is begun.
    """

    def __init__(
        self, directory: Path, clock: Clock, *, largest: int = LARGEST_FILE, oldest: float = OLDEST_FILE
    ) -> None:
        self.directory = directory
        self._clock, self._largest, self._oldest = clock, largest, oldest
        self._waiting: list[tuple[bytes, asyncio.Future[Exception | None]]] = []
        self._bytes_waiting = 0
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "landing-log")
        self._closed = False
        self._told, self._told_at, self._untold = False, float("-inf"), 0
        self._file: _File | None = None  # these two are the thread's
        self._files = 0

    async def append(self, line: bytes) -> None:
        """Returns once the line (without its newline) is on disk. Raises LogError if it is not."""
        if self._closed:
            raise LogError("the log is closed")
        if self._bytes_waiting + len(line) > MOST_WAITING:
            raise LogError("too much waits for the disk")
        loop = asyncio.get_running_loop()
        written: asyncio.Future[Exception | None] = loop.create_future()
        self._waiting.append((line, written))
        self._bytes_waiting += len(line)
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        error = await written
        if error is not None:
            raise LogError(getattr(error, "strerror", None) or str(error)) from error

    async def close(self) -> None:
        """Writes what waits, then ends."""
        self._closed = True
        if self._writing is not None:
            await self._writing
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_file)
        self._thread.shutdown()

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            data = b"".join(part for line, _ in batch for part in (line, b"\n"))
            error: Exception | None = None
            try:
                await loop.run_in_executor(self._thread, self._write, data)
            except Exception as caught:  # whatever it is, each who waits must hear of it
                error = caught
            self._bytes_waiting -= len(data) - len(batch)
            self._tell(error, len(batch))
            for _, written in batch:
                if not written.done():  # its request may be gone
                    written.set_result(error)
        self._writing = None

    def _tell(self, error: Exception | None, lines: int) -> None:
        """For whoever reads the gateway's log: that the disk refuses, and that it takes again."""
        if error is None:
            if self._told:
                LOG.warning("landing/%s: what comes in is kept again", self.directory.name)
            self._told = False
            return
        self._untold += lines
        if time.monotonic() - self._told_at >= TOLD:
            why = getattr(error, "strerror", None) or str(error)
            what = "landing/%s: what comes in can't be kept (%s): %d refused, whoever sent it must bring it again"
            LOG.error(what, self.directory.name, why, self._untold)
            self._told, self._told_at, self._untold = True, time.monotonic(), 0

    # in the thread

    def _write(self, data: bytes) -> None:
        """Writes and syncs; where someone moved the file away meanwhile, once more into another."""
        for _ in range(2):
            file = self._current()
            try:
                file.append(data)
            except OSError:
                self._file = None
                file.abandon()
                raise
            if file.is_in_place():
                return
            self._close_file()
        raise LogError(f"files vanish from {self.directory}")

    def _current(self) -> "_File":
        file = self._file
        if file is not None and not file.is_to_follow(self._largest, self._oldest) and file.is_in_place():
            return file
        self._close_file()
        make_folder(self.directory)
        self._files += 1
        name = f"{self._clock():%Y%m%dT%H%M%S.%fZ}-{self._files:06}-{secrets.token_hex(4)}.ndjson"
        self._file = _File(self.directory / name)
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _File:
    """One file, from its first line to its last."""

    def __init__(self, path: Path) -> None:
        self._path, self._began, self._size = path, time.monotonic(), 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._inode = os.fstat(self._fd).st_ino
        try:
            sync(path.parent)  # without it a power cut takes the name, and all lines with it
        except OSError:
            self.abandon()
            raise

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]  # a full disk takes a part
        _sync(self._fd)
        self._size += len(data)

    def is_to_follow(self, largest: int, oldest: float) -> bool:
        return self._size >= largest or time.monotonic() - self._began >= oldest

    def is_in_place(self) -> bool:
        """Whether the name still leads to this file: a line in a deleted file is not kept."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def abandon(self) -> None:
        """After a failed write: takes its part back, so that no line stands there by half, and ends the file."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self._size)
        self.close()
        if self._size == 0:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)
