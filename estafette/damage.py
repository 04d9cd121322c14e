"""Damage: what `doctor` finds of the stores themselves, and what to do.

What belongs here: looks at the ledger's file, and at every byte of the lake's and the landing zone's files. They change
nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from estafette.line import Line
from journey.clock import civil_time, from_us, zone
from journey.failures import KINDS, Failure, place
from resources import hold
from resources.backup import DERIVED, damaged_files
from resources.damage import spoilt_files
from resources.home import Home
from resources.lake import wrong
from resources.ledger_files import damage
from resources.tables import lake_file

DAMAGED = "Stop everything, then `estafette restore DIR` with the last backup; what is here is moved aside, not deleted"
LOST = {
    True: "Their messages have no text any more, nor can those that wait be sent: `estafette rebuild`, or a backup",
    False: "`estafette rebuild` makes what landing files still say; else put it back from a backup",
}
SPOILT = "Copy it back from a backup: a pass reads it once more, and nothing is done twice; else `rebuild` lacks it"
REBUILT = "`estafette rebuild` writes exports anew; nothing is lost, and nobody is sent anything by them"
SHOWN = 5  # lost files that are named


def look_at_ledger(home: Home) -> Iterator[Line]:
    """Whether it is whole and can be written, and whether a restore holds all sends."""
    with home.ledger.write() as tx:
        mode = str(tx.exec_driver_sql("PRAGMA journal_mode").scalar_one())
        why, found = hold.held(tx), hold.restored(tx)
        in_doubt = hold.doubtful(tx)
    wrong = damage(home.ledger)
    if wrong:
        yield Line("ledger", "FAIL", f"it is damaged: {wrong[0]}", DAMAGED)
    else:
        yield Line("ledger", "ok", f"opens, is whole and can be written ({mode})")
    if why is not None and found is not None:
        told = f"all sends are held since {_at(home, found.at)}; {in_doubt:,} messages may have gone out before"
        yield Line("restore", "FAIL", told, KINDS[Failure.sends_held].mend, place("all-sends-are-held"))


def look_at_lake(home: Home) -> Iterator[Line]:
    """The files that the ledger lists, and those that nobody lists."""
    with home.ledger.read() as tx:
        rows = tx.execute(sa.select(lake_file.c.path, lake_file.c.bytes, lake_file.c.dropped_at)).all()
    lost = damaged_files(home.lake.root, [(row.path, row.bytes, row.dropped_at is None) for row in rows])
    for name, what in lost[:SHOWN]:
        yield Line("lake", "FAIL", f"{name}: {what}", LOST[name.split("/")[0] == "bodies"])
    if len(lost) > SHOWN:
        yield Line("lake", "FAIL", f"and {len(lost) - SHOWN:,} more files", "`estafette rebuild` lists them all")
    yield from _exports(home, [row for row in rows if row.dropped_at is None and row.path.startswith(DERIVED)])
    known = {row.path for row in rows}
    orphans = [
        path for path in home.lake.root.rglob("*.parquet") if path.relative_to(home.lake.root).as_posix() not in known
    ]
    if not lost:
        of_crashes = f"; {len(orphans):,} left by crashes, which go by themselves" if orphans else ""
        yield Line("lake", "ok", f"{len(rows):,} files{of_crashes}")
    if not home.paths.analytics.is_file() and home.contacts.loaded():
        yield Line(
            "analysts", "warn", "analytics.duckdb is not there", "The next pass makes it, or `estafette rebuild`"
        )


def _exports(home: Home, rows: Sequence[Any]) -> Iterator[Line]:
    """What the last publish exported for the analysts. A pass writes again what is gone or cut short, and whatever
    changes; a spoilt one lies there until then."""
    looked_at = [(row.path, wrong(home.lake.root, row.path, row.bytes, read=True)) for row in rows]
    lost = [f"{path}: {what}" for path, what in looked_at if what is not None]
    if lost:
        more = f"; and {len(lost) - 1:,} more" if len(lost) > 1 else ""
        yield Line("analysts", "warn", f"{lost[0]}{more}", REBUILT, place("numbers-are-missing"))


def look_at_files(home: Home) -> Iterator[Line]:
    """The landing files, as far as they were read."""
    found = spoilt_files(home.landing)
    for stat, _ in found[:SHOWN]:
        told = f"landing/{stat.shown}: its bytes are not those that were read, and nobody wrote it since"
        yield Line("landing", "FAIL", told, SPOILT)
    if len(found) > SHOWN:
        yield Line("landing", "FAIL", f"and {len(found) - SHOWN:,} more files", "`estafette rebuild` lists them all")


def _at(home: Home, us: int) -> datetime:
    return civil_time(from_us(us), zone(home.project.settings.timezone)).replace(microsecond=0)
