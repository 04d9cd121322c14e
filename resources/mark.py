"""A mark beside the ledger of how far it has come: one that was put back by hand, past `estafette restore`, is known by
it, and holds all sends as a restore does.

What belongs here: the mark and the look at it. Each pass sets it, and goes on setting it as it publishes: a number that
rises in the ledger, then the same in a small file. A ledger whose number is below the file's is an older one: it would
send again what went out since. Nothing is known of one that is less than a publish older, nor where the whole of
`data/` was put back with it.
"""

import contextlib
import json
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from journey.clock import to_us
from resources.ledger import Ledger

FILE = "ledger.mark"
_MARK = "mark"
_SET = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
# What the campaign's clock showed when the last thing was done that this ledger knows of.
_LAST = """SELECT max(at) FROM (SELECT max(taken_at) AS at FROM landing_file UNION ALL
  SELECT max(planned_at) FROM message UNION ALL SELECT max(attempted_at) FROM message
  UNION ALL SELECT max(entered_at) FROM participant)"""


def set_mark(ledger: Ledger, data: Path) -> None:
    """Note that the ledger has come further. `data`: the folder in which the mark is."""
    with ledger.write() as tx:
        facts = _facts(tx)
        number = facts.get(_MARK, 0) + 1
        tx.exec_driver_sql(_SET, (_MARK, str(number)))
    hidden = data / f".{FILE}.{secrets.token_hex(4)}"
    try:
        hidden.write_text(json.dumps({**facts, _MARK: number}), encoding="utf-8")
        hidden.replace(data / FILE)
    except OSError:  # the disk is full: the mark stays where it was
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)


def hold_if_older(ledger: Ledger, data: Path, clock: Callable[[], datetime]) -> bool:
    """Hold all sends where the ledger is an older one than worked here last. Gives whether that is so."""
    try:
        seen: dict[str, Any] = json.loads((data / FILE).read_text(encoding="utf-8"))
        number, epoch = int(seen[_MARK]), int(seen["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    with ledger.read() as tx:
        if not _is_older(tx, seen, number):
            return False
    from resources.hold import Restored, begin

    with ledger.write() as tx:
        if not _is_older(tx, seen, number):  # somebody else was faster
            return True
        now = to_us(clock())
        since = tx.exec_driver_sql(_LAST).scalar()
        begin(tx, Restored(now, min(now, int(since or now)), lost=False), max(epoch, _facts(tx)["epoch"]) + 1)
        tx.exec_driver_sql(_SET, (_MARK, str(number)))
    return True


def _is_older(tx: sa.Connection, seen: dict[str, Any], number: int) -> bool:
    facts = _facts(tx)
    return bool(facts["installation"] == seen.get("installation")) and int(facts.get(_MARK, 0)) < number


def _facts(tx: sa.Connection) -> dict[str, Any]:
    rows = tx.exec_driver_sql("SELECT name, value FROM meta WHERE name IN ('installation', 'epoch', 'mark')").all()
    return {name: value if name == "installation" else int(value) for name, value in rows}
