"""A mark of how far the ledger has come: one that was put back by hand, past `estafette restore`, is known by it, and
holds all sends as a restore does.

What belongs here: the mark, the look at it, and what follows where a ledger is an older one. The mark is a number that
rises in the ledger and then in two small files, one in `data/`, one in `landing/` for whoever puts all of `data/` back.
Each pass raises it, each publish, and each turn of a lane that stamps messages, before the first of them is posted. So
a ledger whose number is below a file's is older than something that went out, and would send it again.

Nothing is known by it where both folders were put back with the ledger (a machine's snapshot). Then a status tells that
names a message which this ledger has never tried to send, or does not have yet (`status_intake`).
"""

import contextlib
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from journey.clock import to_us
from journey.problems import LedgerError
from resources.ledger import Ledger

FILE = "ledger.mark"
_WIDTH = 128  # bytes: written over in place, ten times a second
_SET = "INSERT INTO meta (name, value) VALUES ('mark', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_RAISE = """INSERT INTO meta (name, value) VALUES ('mark', '1') ON CONFLICT (name)
  DO UPDATE SET value = CAST(value AS INTEGER) + 1 RETURNING CAST(value AS INTEGER)"""
# What the campaign's clock showed when the last thing was done that this ledger knows of.
_LAST = """SELECT max(at) FROM (SELECT max(taken_at) AS at FROM landing_file UNION ALL
  SELECT max(planned_at) FROM message UNION ALL SELECT max(attempted_at) FROM message
  UNION ALL SELECT max(entered_at) FROM participant)"""


def raise_mark(tx: sa.Connection) -> int:
    """Note in a transaction that the ledger has come further. Gives the number, for `Mark.note` once it is written."""
    return int(tx.exec_driver_sql(_RAISE).scalar_one())


class Mark:
    """The mark's two files. `data` and `landing`: the folders in which they are."""

    def __init__(self, ledger: Ledger, data: Path, landing: Path) -> None:
        self.ledger, self.files = ledger, (data / FILE, landing / f".{FILE}")
        self._whose: dict[str, Any] | None = None

    def set(self) -> None:
        """Note that the ledger has come further."""
        with self.ledger.write() as tx:
            number = raise_mark(tx)
        self.note(number)

    def note(self, number: int) -> None:
        """Write a number that the ledger has come to. Where the disk refuses, the files stay where they were. Nothing
        is synced: after a power cut they may be behind, never ahead of what was done."""
        if self._whose is None:
            with self.ledger.read() as tx:
                facts = _facts(tx)
            self._whose = {"installation": facts["installation"], "epoch": facts["epoch"]}
        text = json.dumps({**self._whose, "mark": number}).ljust(_WIDTH - 1) + "\n"
        for file in self.files:
            with contextlib.suppress(OSError):
                handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
                try:
                    os.pwrite(handle, text.encode(), 0)
                finally:
                    os.close(handle)

    def hold_if_older(self, clock: Callable[[], datetime]) -> bool:
        """Hold all sends where the ledger is an older one than worked here last. Gives whether that is so."""
        with self.ledger.read() as tx:
            if self._newer(tx) is None:
                return False
        with self.ledger.write() as tx:  # while nobody can raise it
            newer = self._newer(tx)
            if newer is None:  # somebody else was faster
                return True
            begin_anew(tx, clock(), newer[0])
            tx.exec_driver_sql(_SET, (str(newer[1]),))
        return True

    def _newer(self, tx: sa.Connection) -> tuple[int, int] | None:
        """(epoch, number) of the mark, where it is beyond the ledger's."""
        facts = _facts(tx)
        seen = [one[1:] for one in map(_read, self.files) if one[0] == facts["installation"]]
        newest = max(seen, default=(0, 0))
        return newest if newest > (facts["epoch"], facts.get("mark", 0)) else None


def begin_anew(tx: sa.Connection, now: datetime, epoch: int = 0) -> None:
    """Take the ledger as one that was restored just now: all sends are held. `epoch`: one that was in use here."""
    from resources.hold import Restored, begin

    at = to_us(now)
    since = tx.exec_driver_sql(_LAST).scalar()
    begin(tx, Restored(at, min(at, int(since or at)), lost=False), max(epoch, _facts(tx)["epoch"]) + 1)


def is_behind() -> LedgerError:
    """What to say of a ledger that statuses have shown to be an older one."""
    return LedgerError(
        "statuses tell of messages that went out and that this ledger has not sent: it is an older copy of itself, and"
        " all sends are held",
        mend="`estafette status` says what may have gone out; `estafette resume --all` lets the rest go",
    )


def _read(file: Path) -> tuple[str, int, int]:
    """(installation, epoch, number) of one file."""
    try:
        seen = json.loads(file.read_text(encoding="utf-8"))
        return str(seen["installation"]), int(seen["epoch"]), int(seen["mark"])
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or a power cut took a part
        return "", 0, 0


def _facts(tx: sa.Connection) -> dict[str, Any]:
    rows = tx.exec_driver_sql("SELECT name, value FROM meta WHERE name IN ('installation', 'epoch', 'mark')").all()
    return {name: value if name == "installation" else int(value) for name, value in rows}
