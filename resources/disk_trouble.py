"""Trouble with the disk, said as such: full, read-only, not ours to write, damaged, or without what was there.

What belongs here: knowing it again in whatever a library made of it. SQLite, Polars, DuckDB and Dagster each wrap what
the system said in an error of their own.
"""

import errno
import os
from pathlib import Path

from journey.problems import EstafetteError

LAKE = "data/lake"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_SAID = (
    (("no space left", "disk is full", "disk quota"), "full"),
    (("readonly database", "read-only file system", "permission denied", "attempt to write a readonly"), "closed"),
    (("malformed", "file is not a database"), "damaged"),
    (("disk i/o error", "input/output error"), "broken"),
)
_SENTENCES = {
    "full": (
        "the disk is full",
        "Make room, then run it again: nothing is lost, and nobody gets a message twice",
    ),
    "closed": (
        "the project's data can't be written: the disk or the folder is read-only",
        "Mend the permissions or the mount, then run it again: nothing is lost",
    ),
    "damaged": (
        "the ledger is damaged",
        "Stop everything, then `estafette restore DIR` with the last backup; `estafette doctor` says more",
    ),
    "lost": (
        "a file of the lake is gone",
        "Run `estafette rebuild`, or put it back from a backup; `estafette doctor` says which are gone",
    ),
    "broken": (
        "the disk does not answer as it should, or is full",
        "See whether it has room, then look after the disk; `estafette doctor` says afterwards what is damaged",
    ),
}


NO_ROOM = 1 << 20  # bytes: less is none for SQLite, which says "disk I/O error" where it can't make its side files


def disk_trouble(error: BaseException, folder: Path | None = None) -> EstafetteError | None:
    """What the disk has to do with an error, as a sentence; None: nothing. `folder`: where it came up, if known."""
    waiting, met = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in met:
            continue
        met.add(id(one))
        kind = _kind(one)
        if kind == "broken" and folder is not None and _has_no_room(folder):
            kind = "full"
        if kind is not None:
            message, mend = _SENTENCES[kind]
            where = str(one.filename) if isinstance(one, OSError) and one.filename else ""
            return EstafetteError(message, where=where, mend=mend)
        causes = (one.__cause__, getattr(one, "user_exception", None), one.__context__)
        waiting += [cause for cause in causes if isinstance(cause, BaseException)]
    return None


def closed(folder: Path) -> EstafetteError | None:
    """Where SQLite says no more than that it can't open a file: whether its folder can't be written."""
    if not folder.is_dir() or os.access(folder, os.W_OK | os.X_OK):
        return None
    return disk_trouble(OSError(errno.EROFS, "", str(folder)))


def _has_no_room(folder: Path) -> bool:
    try:
        place = os.statvfs(folder)
    except OSError:
        return False
    return place.f_bavail * place.f_frsize < NO_ROOM


def _kind(error: BaseException) -> str | None:
    if isinstance(error, FileNotFoundError):
        return "lost" if f"/{LAKE}/" in str(error) else None
    if isinstance(error, OSError) and error.errno is not None:
        return "full" if error.errno in _FULL else "closed" if error.errno in CLOSED else None
    text = str(error).lower()
    return next((kind for words, kind in _SAID if any(word in text for word in words)), None)
