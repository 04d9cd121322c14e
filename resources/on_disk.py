"""Files that are there after a power cut, whole: in the order in which a disk keeps a promise.

What belongs here: syncing a file and a folder, making folders, and putting a written file in its place. A file that is
renamed before its bytes are on disk may be there and empty after a cut; a name whose folder was not synced may be gone,
with all that it names. The ledger sees to its own files (`PRAGMA synchronous`), the gateway's log to its lines.
"""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, and have their names on disk."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        sync(one.parent)


def into_place(written: Path, target: Path) -> None:
    """Give a file that was written under another name of the same folder its own, once its bytes are on disk. What had
    that name is replaced at one stroke."""
    sync(written)
    written.replace(target)
    sync(target.parent)
