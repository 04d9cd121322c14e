"""Damage of the lake and of the landing zone: files that are gone, cut short, or spoilt where they lie.

What belongs here: the looks, and that a pass refuses to work by half of what is known. A file of the lake has its size
in the ledger and its check sum in its name; of a landing file the cursor knows the check sum of what was read. Making
things again is `rebuild`; damage of the ledger itself, `ledger_files`.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from journey.problems import LedgerError
from resources.backup import DERIVED
from resources.contacts import BASE, DELTA
from resources.events import NAME as EVENTS
from resources.home import Home
from resources.lake import wrong
from resources.landing import Cursor, FileStat, Landing, spoilt
from resources.tables import lake_file

NAMED = ("bodies", "audience")
"""Tables whose files are named by rows: one that is lost stays listed (with LOST as its size), and says so."""

LOST = -1
SCANNED = (BASE, DELTA, EVENTS, "entries", "message_events", "participant_steps")
"""Tables of which every file is read: without one of them a pass would decide by half of what is so."""


UNDER_WAY = "rebuilding"  # in `meta`: the tables that are being made again

SPOILT = "the disk has spoilt it: what was read of it is known, what stands there now is not what came in"


def damaged(home: Home, names: Iterable[str] | None = None, *, read: bool = False) -> list[sa.Row[Any]]:
    """The files that count (of these tables, or all but what a publish makes) and that are gone or of another size, or
    (`read`: every byte is looked at) hold other bytes than were written."""
    query = sa.select(lake_file).where(lake_file.c.dropped_at.is_(None), lake_file.c.bytes != LOST)
    if names is not None:
        query = query.where(lake_file.c.name.in_(list(names)))
    with home.ledger.read() as tx:
        rows = tx.execute(query.order_by(lake_file.c.id)).all()
    mine = [row for row in rows if not row.path.startswith(DERIVED)]
    return [row for row in mine if wrong(home.lake.root, str(row.path), int(row.bytes), read=read) is not None]


def refuse_damage(home: Home) -> None:
    """LedgerError where a file is gone or damaged that every pass reads, or where not all of them are made again."""
    if home.ledger.meta(UNDER_WAY) is not None:
        raise LedgerError(
            "a rebuild was broken off, and not everything that was lost is there again",
            where=str(home.paths.lake),
            mend="Nothing is sent by half of what is known: run `estafette rebuild` once more",
        )
    found = damaged(home, SCANNED)
    if found:
        more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
        raise LedgerError(
            f"files of the lake are gone or damaged: {found[0].path}{more}",
            where=str(home.paths.lake),
            mend="Nothing is sent by half of what is known: run `estafette rebuild`, or put them back from a backup",
        )


def spoilt_files(landing: Landing) -> list[tuple[FileStat, Cursor]]:
    """Landing files that hold other bytes than were read of them, though nobody wrote them since (`landing.spoilt`), or
    that can't be read. Every byte that was read is looked at."""
    cursors, found = landing.cursors(), []
    for stat in landing.files():
        cursor = cursors.get((stat.kind, stat.name))
        try:
            if cursor is not None and spoilt(stat, cursor):
                found.append((stat, cursor))
        except FileNotFoundError:  # renamed or removed since
            continue
        except OSError:
            found.append((stat, cursor or Cursor(stat.kind, stat.name, stat.inode)))
    return found
