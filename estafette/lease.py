"""The lease `pass` for a command that works without Dagster.

What belongs here: waiting for it, saying who has it, and keeping it for the length of a block. `resources.definitions`
does the same for Dagster's runs; this one spares `import` the second that importing Dagster takes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from journey.problems import LedgerError
from resources.alive import keep
from resources.lease_names import PASS
from resources.ledger import WANTED, Lease, LeaseRow, Ledger, holder_name

WAIT = 600.0
LOOK = 0.25


def holder(ledger: Ledger) -> LeaseRow | None:
    """Who makes a pass now."""
    return next((row for row in ledger.leases() if row.name == PASS), None)


def describe(row: LeaseRow) -> str:
    """A lease's holder for people."""
    return row.holder + (f" ({row.note})" if row.note else "")


@contextmanager
def passing(
    ledger: Ledger, note: str, say: Callable[[str], None], wait: float = WAIT, *, ask: bool = False
) -> Iterator[Lease]:  # fmt: skip
    """Hold the lease `pass` within the block, renewed from a thread. LedgerError where it is not free in time. With
    `ask`, a live pass is asked to make room: it would stay for up to an hour."""
    asking = ledger.take(WANTED + PASS, holder_name(), seconds=wait, note=note) if ask else None
    try:
        lease = _take(ledger, note, say, wait)
    finally:
        if asking is not None:
            ledger.release(asking)
    with keep(ledger, lease):
        yield lease


def _take(ledger: Ledger, note: str, say: Callable[[str], None], wait: float) -> Lease:
    deadline, told = time.monotonic() + wait, False
    while True:
        lease = ledger.take(PASS, holder_name(), note=note)
        if lease is not None:
            return lease
        row = holder(ledger)
        if row is not None and not told:
            say(f"Waiting: a pass is at work, {describe(row)}.")
            told = True
        if time.monotonic() > deadline:
            raise LedgerError(
                "another pass is at work" + (f": {describe(row)}" if row else ""),
                mend="It takes everything along; run this again when it has ended",
            )
        time.sleep(LOOK)
