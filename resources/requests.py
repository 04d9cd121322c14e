"""The requests that came in: API entries that somebody asked for, each known by its uuid.

What belongs here: taking request files in. What a line says is `journey.request_rows`; what becomes of a request is
with the pass (`pipelines.requests`). A request whose uuid is known changes nothing, whatever it says.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import polars as pl
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from journey.request_rows import RequestRows, read_requests
from resources.contact_intake import TakenFile, UnreadableFile, readable, reading, set_aside
from resources.landing import Cursor, FileStat, Landing
from resources.ledger import BULK, Lease
from resources.quarantine import put_aside, put_aside_in_bulk
from resources.tables import request


def take_in_requests(
    landing: Landing, lease: Lease | None, now: datetime, wall: float, final: bool = False
) -> list[TakenFile]:
    """Takes in every pending request file, oldest first; arguments as `take_in_contacts`."""
    taken = []
    for stat in landing.pending(wall, ["requests"]):
        try:
            taken.append(_take(landing, stat, lease, now, wall, final))
        except FileNotFoundError:  # renamed or removed since it was listed
            continue
        except UnreadableFile as error:
            taken.append(set_aside(landing, stat, lease, now, error))
    return taken


def _take(landing: Landing, stat: FileStat, lease: Lease | None, now: datetime, wall: float, final: bool) -> TakenFile:
    taken = TakenFile(stat.kind, stat.name)
    with reading():
        copied = landing.copy_of(stat)
    if copied is not None:
        with landing.ledger.write(lease) as tx:
            landing.save(tx, copied, to_us(now))
        return replace(taken, again=True)
    if stat.form != "ndjson":
        raise UnreadableFile(f"`{stat.path.suffix}` is not for requests; use .ndjson")
    for chunk in readable(landing.chunks(stat, wall, final)):
        for read, cursor in _parts(read_requests(chunk.lines), chunk.cursor):
            taken = _write(landing, stat, taken, read, cursor, lease, now)
    return taken


def _parts(read: RequestRows, cursor: Cursor) -> Iterator[tuple[RequestRows, Cursor | None]]:
    """What one transaction may hold; the cursor comes with the last part."""
    start = 0
    while read.frame.height - start > BULK:
        yield RequestRows(read.frame.slice(start, BULK), read.bad.clear()), None
        start += BULK
    yield RequestRows(read.frame.slice(start), read.bad), cursor


def _write(
    landing: Landing, stat: FileStat, taken: TakenFile, read: RequestRows, cursor: Cursor | None, lease: Lease | None,
    now: datetime,
) -> TakenFile:  # fmt: skip
    quarantined, bad = 0, read.bad
    if bad.height > BULK:
        quarantined = put_aside_in_bulk(landing.ledger, lease, stat.kind, stat.shown, bad, now)
        bad = bad.clear()
    rows = [
        {**row, "source": stat.shown, "taken_at": to_us(now)}
        for row in read.frame.select(pl.exclude("line")).iter_rows(named=True)
    ]
    with landing.ledger.write(lease) as tx:
        new = max(0, tx.execute(insert(request).on_conflict_do_nothing(), rows).rowcount) if rows else 0
        quarantined += put_aside(tx, stat.kind, stat.shown, bad, now)
        taken = replace(
            taken,
            rows=taken.rows + len(rows) + read.bad.height,
            new=taken.new + new,
            unchanged=taken.unchanged + len(rows) - new,
            quarantined=taken.quarantined + quarantined,
        )
        if cursor is not None:  # its counts are those of before this pass
            total = cursor.quarantined + taken.quarantined
            landing.save(tx, replace(cursor, rows=cursor.rows + taken.rows, quarantined=total), to_us(now))
    return taken
