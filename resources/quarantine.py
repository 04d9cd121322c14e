"""The quarantine: what could not be read, once for each text, reason and place.

What belongs here: writing rows of the ledger's table `quarantine`. Reasons are sentences of whoever reads.
"""

from datetime import datetime
from hashlib import blake2b

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from resources.ledger import Lease, Ledger, chunks
from resources.tables import quarantine


def put_aside(tx: sa.Connection, source: str, file: str, bad: pl.DataFrame, now: datetime) -> int:
    """Writes `bad` (line Int64, reason and raw String), at most 5,000 rows; gives how many were new."""
    if bad.is_empty():
        return 0
    rows = [
        {
            "source": source,
            "file": file,
            "line": line,
            "reason": reason,
            "raw": raw,
            "digest": _digest(source, file, line, reason, raw),
            "quarantined_at": to_us(now),
        }
        for line, reason, raw in bad.select("line", "reason", "raw").iter_rows()
    ]
    return max(0, tx.execute(insert(quarantine).on_conflict_do_nothing(), rows).rowcount)


def put_aside_in_bulk(
    ledger: Ledger, lease: Lease | None, source: str, file: str, bad: pl.DataFrame, now: datetime
) -> int:
    """`put_aside` in transactions of its own: for a file with more bad rows than one transaction may hold. Doing it
    again changes nothing, so a crash before the file's cursor moves does no harm."""
    new = 0
    for part in chunks(bad.height):
        with ledger.write(lease) as tx:
            new += put_aside(tx, source, file, bad[part], now)
    return new


def _digest(source: str, file: str, line: int, reason: str, raw: str) -> str:
    text = "\0".join((source, file, str(line), reason, raw))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
