"""The requests that came in: API entries that somebody asked for, and answers of the inbox, each known by its uuid.

What belongs here: taking request files in. What a line says is `journey.request_rows`; what becomes of a request is
with the pass (`pipelines.requests`, `pipelines.inbox`). One whose uuid is known changes nothing, whatever it says.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from journey.request_rows import RequestRows, read_requests
from journey.rows import bad_frame
from resources.contact_intake import TakenFile, UnreadableFile, readable, reading, set_aside
from resources.containing import Line, line_by_line, unforeseen
from resources.landing import Cursor, FileStat, Landing
from resources.ledger import BULK, Lease
from resources.quarantine import put_aside, put_aside_in_bulk
from resources.tables import answer, request


def take_in_requests(
    landing: Landing, senders: Collection[str], lease: Lease | None, now: datetime, wall: float, final: bool = False
) -> list[TakenFile]:
    """Takes in every pending request file, oldest first; `senders` are those of the settings, the other arguments as
    `take_in_contacts`."""
    taken = []
    for stat in landing.pending(wall, ["requests"]):
        try:
            taken.append(_take(landing, stat, senders, lease, now, wall, final))
        except FileNotFoundError:  # renamed or removed since it was listed
            continue
        except Exception as error:
            taken.append(set_aside(landing, stat, lease, now, error))
    return taken


def _take(
    landing: Landing, stat: FileStat, senders: Collection[str], lease: Lease | None, now: datetime, wall: float,
    final: bool,
) -> TakenFile:  # fmt: skip
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
        for read, cursor in _parts(read_lines(chunk.lines, senders), chunk.cursor):
            taken = write_requests(landing, stat, taken, read, cursor, lease, now)
    return taken


def read_lines(lines: Sequence[Line], senders: Collection[str]) -> RequestRows:
    """The requests of some lines; a line on which we fail ourselves takes no other along."""
    found = []
    for one in line_by_line(lines, lambda some: read_requests(some, senders)):
        if not isinstance(one, RequestRows):
            (number, raw), error = one
            bad = bad_frame([(number, unforeseen(error), raw.decode("utf-8", "replace").strip())])
            one = replace(read_requests([], senders), bad=bad)
        found.append(one)
    return RequestRows(
        pl.concat([one.frame for one in found]),
        pl.concat([one.answers for one in found]),
        pl.concat([one.bad for one in found]),
    )


def _parts(read: RequestRows, cursor: Cursor) -> Iterator[tuple[RequestRows, Cursor | None]]:
    """What one transaction may hold; the cursor comes with the last part."""
    start = 0
    while max(read.frame.height, read.answers.height) - start > BULK:
        part = RequestRows(read.frame.slice(start, BULK), read.answers.slice(start, BULK), read.bad.clear())
        yield part, None
        start += BULK
    yield RequestRows(read.frame.slice(start), read.answers.slice(start), read.bad), cursor


def write_requests(
    landing: Landing, stat: FileStat, taken: TakenFile, read: RequestRows, cursor: Cursor | None, lease: Lease | None,
    now: datetime,
) -> TakenFile:  # fmt: skip
    quarantined, bad = 0, read.bad
    if bad.height > BULK:
        quarantined = put_aside_in_bulk(landing.ledger, lease, stat.kind, stat.shown, bad, now, stat.path)
        bad = bad.clear()
    rows, answers = (
        [
            {**row, "source": stat.shown, "taken_at": to_us(now)}
            for row in frame.select(pl.exclude("line")).iter_rows(named=True)
        ]
        for frame in (read.frame, read.answers)
    )
    with landing.ledger.write(lease) as tx:
        new = sum(
            max(0, tx.execute(insert(table).on_conflict_do_nothing(), some).rowcount)
            for table, some in ((request, rows), (answer, answers))
            if some
        )
        quarantined += put_aside(tx, stat.kind, stat.shown, bad, now, stat.path)
        taken = replace(
            taken,
            rows=taken.rows + len(rows) + len(answers) + read.bad.height,
            new=taken.new + new,
            unchanged=taken.unchanged + len(rows) + len(answers) - new,
            quarantined=taken.quarantined + quarantined,
        )
        if cursor is not None:  # its counts are those of before this pass
            total = cursor.quarantined + taken.quarantined
            landing.save(tx, replace(cursor, rows=cursor.rows + taken.rows, quarantined=total), to_us(now))
    return taken
