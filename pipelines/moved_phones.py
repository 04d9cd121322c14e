"""Moved phones: what is planned for a phone that is no longer its contact's goes to nobody.

What belongs here: the look, after contacts have changed, at what waits to be sent. A number that one person gives up
may be another's by the morning; the body of a message that was planned in the evening still names it.
"""

from datetime import datetime

import polars as pl

from journey.clock import to_us
from journey.words import SkipReason
from resources.home import Home
from resources.ledger import Lease, chunks
from resources.skipping import skip

_WAITING = "SELECT id, contact_id, phone FROM message WHERE state IN ('planned', 'held')"
_SCHEMA = {"id": pl.Int64, "contact_id": pl.String, "planned": pl.String}


def skip_moved(home: Home, lease: Lease, now: datetime) -> int:
    """Skip what is planned or held for a phone that its contact no longer has. Gives how many messages. To be called
    where a file has changed contacts: it reads everything that waits."""
    waiting = home.ledger.frame(_WAITING, _SCHEMA)
    if waiting.is_empty():
        return 0
    phones = home.contacts.frame(["contact_id", "phone"], waiting.get_column("contact_id").unique())
    moved = waiting.join(phones, on="contact_id").filter(pl.col("phone").ne_missing(pl.col("planned")))
    for part in chunks(moved.height):
        rows = [
            (i, SkipReason.invalid_phone, f"planned for {planned}, which is no longer the contact's phone")
            for i, planned in moved[part].select("id", "planned").iter_rows()
        ]
        with home.ledger.write(lease) as tx:
            skip(tx, rows, to_us(now))
    return moved.height
