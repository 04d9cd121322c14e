"""The disks of a home: whether there is room on them, and whether they can be written.

What belongs here: looks at the folders that ask no store anything, so that they also serve where the ledger can't be
opened. `landing` and `data` may lie on disks of their own. What a library makes of such trouble is `disk_trouble`.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from journey.failures import Failure, Found
from resources.disk_trouble import CLOSED
from resources.home import Home
from resources.lock_holder import lock_holder

LOW, VERY_LOW = 5 << 30, 512 << 20  # bytes of free disk
KINDS_OF_DISKS = (Failure.disk_full, Failure.disk_closed, Failure.disk_low, Failure.ledger_blocked)
NAMELESS = getattr(os, "O_TMPFILE", os.O_DIRECTORY)  # where there is no such thing, nothing is tried


def disk_failures(home: Home) -> Iterator[Found]:
    """What is wrong with the disks of a home, of `KINDS_OF_DISKS`."""
    if not all(_writable(path) for path in (home.paths.landing, home.paths.data)):
        yield Found(Failure.disk_closed)
    holder = lock_holder(home.ledger_path())
    if holder is not None and holder.stopped:
        yield Found(Failure.ledger_blocked, detail=f"Process {holder.pid} ({holder.command})")
    free, told = disk_free(home), {"free": "0 files"}
    if free >= 0:
        told = {"free": f"{free / (1 << 30):,.1f} GB"}
    if free < LOW:
        yield Found(Failure.disk_full if free < VERY_LOW else Failure.disk_low, values=told)


def disk_free(home: Home) -> int:
    """Bytes that are free where it is tightest; -1: a disk has bytes, and no room for another file."""
    found = []
    for path in (home.path, home.paths.landing, home.paths.data):
        with suppress(FileNotFoundError):
            place = os.statvfs(path)
            found.append(-1 if place.f_files and not place.f_favail else place.f_bavail * place.f_frsize)
    return min(found)


def _writable(path: Path) -> bool:
    """Whether files can be made in a folder; one that is not there yet is nobody's trouble. A file without a name is
    made, which leaves nothing behind: of a disk that closed itself after an error the permissions say nothing."""
    if not path.exists():
        return True
    try:
        os.close(os.open(path, NAMELESS | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in CLOSED:
            return False
    return os.access(path, os.W_OK | os.X_OK)
