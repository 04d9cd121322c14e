"""The quarantine: what could not be read, once for each text, reason and place.

What belongs here: writing rows of the ledger's table `quarantine`. Reasons are sentences of whoever reads.
"""

from datetime import datetime
from hashlib import blake2b
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from resources.landing import CSV
from resources.ledger import Lease, Ledger, chunks
from resources.tables import quarantine

MOST_HEADER = 1 << 16  # bytes


def put_aside(
    tx: sa.Connection, source: str, file: str, bad: pl.DataFrame, now: datetime, path: Path | None = None
) -> int:
    """Writes `bad` (line Int64, reason and raw String), at most 5,000 rows; gives how many were new. `path`: the file
    itself, whose header is kept with the rows of a CSV file."""
    if bad.is_empty():
        return 0
    header = csv_header(path) if path is not None else None
    rows = [
        {
            "source": source,
            "file": file,
            "line": line,
            "reason": reason,
            "raw": raw,
            "digest": digest_of(source, file, line, reason, raw),
            "quarantined_at": to_us(now),
            "header": header,
        }
        for line, reason, raw in bad.select("line", "reason", "raw").iter_rows()
    ]
    return max(0, tx.execute(insert(quarantine).on_conflict_do_nothing(), rows).rowcount)


def put_aside_in_bulk(
    ledger: Ledger, lease: Lease | None, source: str, file: str, bad: pl.DataFrame, now: datetime,
    path: Path | None = None,
) -> int:  # fmt: skip
    """`put_aside` in transactions of its own: for a file with more bad rows than one transaction may hold. Doing it
    again changes nothing, so a crash before the file's cursor moves does no harm."""
    new = 0
    for part in chunks(bad.height):
        with ledger.write(lease) as tx:
            new += put_aside(tx, source, file, bad[part], now, path)
    return new


def csv_header(path: Path) -> str | None:
    """The header of a CSV file as it stands there; None where it is none, or is gone."""
    if path.suffix.lower() not in CSV:
        return None
    try:
        with path.open("rb") as lines:
            for line in lines:
                text = line[:MOST_HEADER].decode("utf-8-sig", "replace").rstrip("\r\n")
                if text.strip():
                    return text
    except OSError:
        pass
    return None


def digest_of(source: str, file: str, line: int, reason: str, raw: str) -> str:
    """What a row of the quarantine is known by."""
    text = "\0".join((source, file, str(line), reason, raw))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
