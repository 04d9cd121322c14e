"""The ledger's file without what its pages still hold of rows that are gone, once nobody sends.

What belongs here: when the file is written anew, and that it is not forgotten. SQLite overwrites what is deleted
(`secure_delete`), but where rows of a page moved to another one their bytes stay in it: of rows that were changed at
random one in 150 left some. Only the whole file written anew is certainly without them, and meanwhile nobody else can
write: 13 s for a ledger of a million messages (610 MB). So it waits for a moment in which no lane is at work, and the
ledger remembers that it is due. What a passing writer waits for, 30 s, is what a ledger of some gigabytes takes; a lane
or a page that comes in the middle of a larger one says that the ledger is busy, and nothing is lost.
"""

import sqlalchemy as sa

from resources.home import Home
from resources.ledger import LONGEST_LEASE, Lease
from resources.tables import meta

DUE = "scrub"
SLOW = 10 << 20  # bytes a second; a file is written anew four times as fast


def ask(tx: sa.Connection) -> None:
    """Have the ledger's file written anew, in the transaction after which it should be."""
    tx.exec_driver_sql("INSERT INTO meta (name, value) VALUES (?, 'due') ON CONFLICT DO NOTHING", (DUE,))


def is_due(home: Home) -> bool:
    """Whether the ledger's file is to be written anew."""
    return home.ledger.meta(DUE) is not None


def scrub(home: Home, lease: Lease) -> bool:
    """Write the file anew where that is due and nobody sends, and empty its journal. Gives whether nothing is left to
    do. One that can't be written (no room: it takes its size once more) stays due."""
    if not is_due(home):
        return True
    if any(row.name.startswith("send:") for row in home.ledger.leases()):
        home.ledger.empty_journal()
        return False
    size = home.ledger_path().stat().st_size
    home.ledger.renew(lease, seconds=min(LONGEST_LEASE, 30.0 + size / SLOW))
    try:
        home.ledger.rewrite()
    except sa.exc.OperationalError:
        return False
    if not home.ledger.empty_journal():
        return False
    with home.ledger.write(lease) as tx:
        tx.execute(meta.delete().where(meta.c.name == DUE))
    return True
