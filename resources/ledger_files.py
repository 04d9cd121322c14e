"""The ledger's file as a whole: looking for damage, and copying a file that nobody has open.

What belongs here: SQLite's own looks at a file and its own backup. A file that is open somewhere is never opened in
another way than by SQLite (see `ledger`). Copying the ledger while it is at work is `Ledger.copy`.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from journey.problems import LedgerError
from resources.ledger import Ledger

SIDES = ("-wal", "-shm")
"""What stands beside a ledger's file while it is at work; the first is part of it."""

MOST = 5  # findings that are told


def damage(ledger: Ledger) -> list[str]:
    """What SQLite finds wrong with the ledger (`quick_check`), through its own door; empty: nothing."""
    with ledger.read() as tx:
        found = [str(row[0]) for row in tx.exec_driver_sql(f"PRAGMA quick_check({MOST})").all()]
    return [] if found == ["ok"] else found


def copied_damage(path: Path) -> list[str]:
    """What SQLite finds wrong with a copy (`integrity_check`); empty: nothing. Nobody may have it open."""
    try:
        with _closed(path) as con:
            found = [str(row[0]) for row in con.execute(f"PRAGMA integrity_check({MOST})").fetchall()]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def copy_closed(source: Path, target: Path) -> None:
    """Copy a ledger's file that nobody has open. LedgerError: it can't be read."""
    try:
        with _closed(source) as con, contextlib.closing(sqlite3.connect(target)) as made:
            con.backup(made)
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"the copy of the ledger can't be read: {error}", where=str(source)) from error


def facts_of(path: Path) -> dict[str, str]:
    """The facts (`meta`) of a copy that nobody has open. LedgerError: it is no ledger."""
    try:
        with _closed(path) as con:
            return dict(con.execute("SELECT name, value FROM meta").fetchall())
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"it is no ledger of Estafette: {error}", where=str(path)) from error


def listed_files(path: Path) -> list[tuple[str, int, bool]]:
    """The lake's files that a copy lists: (path under the lake, bytes, whether it counts: else it was replaced)."""
    with _closed(path) as con:
        rows = con.execute("SELECT path, bytes, dropped_at IS NULL FROM lake_file ORDER BY id").fetchall()
    return [(str(name), int(size), bool(counts)) for name, size, counts in rows]


@contextlib.contextmanager
def _closed(path: Path) -> Iterator[sqlite3.Connection]:
    """A file that nobody writes, read without a trace beside it."""
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as con:
        yield con
