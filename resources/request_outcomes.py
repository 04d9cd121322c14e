"""What became of a request: one outcome a person.

What belongs here: putting together what three places know. The ledger has the request and how far it has come, and who
of its people is waited for; the lake's `entries` have who was let in or refused; a request that no pass has read yet
stands in the landing zone only.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.clock import from_us
from resources.home import Home
from resources.landing import Cursor, FileStat
from resources.tables import request as requests
from resources.tables import waiting_entry

PENDING, WAITING = "pending", "waiting"
MOST_UNREAD = 256 << 20  # bytes of request files that are looked through for one that no pass has read
_COLUMNS = ("contact_id", "outcome", "detail", "participant_id", "met_at")


def request_outcomes(home: Home, request_uuid: str, after: int, limit: int) -> dict[str, Any] | None:
    """A request and `limit` outcomes of its people, those `after` so many; None: nobody ever asked for it.

    `state` is `pending` (no pass has read it), `working` (some of its people wait, or are not dealt with yet) or
    `done`. `counts` are over all of its people. An outcome is one of `journey.words.EntryOutcome`; or `waiting`: the
    contact is not known, and is waited for; or `pending`. `next` is the `after` of the next page, null on the last.
    """
    found = _known(home, request_uuid, after, limit)
    if found is None:
        unread = _unread(home, request_uuid)
        found = _known(home, request_uuid, after, limit)  # a pass may have read it meanwhile
        if found is None and unread is not None:
            return _pending(request_uuid, unread, after, limit)
    return found


def _known(home: Home, request_uuid: str, after: int, limit: int) -> dict[str, Any] | None:
    """What is known of a request that a pass has read, all of it at one moment; None where none has."""
    with home.ledger.read() as tx:
        row = tx.execute(sa.select(requests).where(requests.c.uuid == request_uuid)).one_or_none()
        if row is None:
            return None
        done = _entries(home, tx, row)
        waiting = tx.execute(
            sa.select(waiting_entry.c.contact_id, waiting_entry.c.until)
            .where(waiting_entry.c.request_uuid == request_uuid)
            .order_by(waiting_entry.c.id)
        ).all()
    counts = {str(name): int(number) for name, number in done["outcome"].value_counts(sort=True).iter_rows()}
    people: list[str] = msgspec.json.decode(row.people)
    rest = people[row.position :] if row.done_at is None and row.kind != "segment" else []
    for outcome, number in ((WAITING, len(waiting)), (PENDING, len(rest))):
        if number:
            counts[outcome] = number
    page = [_shown(one) for one in done.slice(after, limit).iter_rows(named=True)]
    start = max(0, after - done.height)
    page += [_waits(*one) for one in waiting[start : start + limit - len(page)]]
    start = max(0, start - len(waiting))
    page += [_not_yet(row.kind, one) for one in rest[start : start + limit - len(page)]]
    total = done.height + len(waiting) + len(rest)
    return {
        "request_uuid": request_uuid,
        "campaign": row.campaign,
        "state": "working" if row.done_at is None or waiting else "done",
        "taken_at": from_us(row.taken_at).isoformat(),
        "detail": row.detail,
        "counts": counts,
        "outcomes": page,
        "next": after + limit if after + limit < total else None,
    }


def _entries(home: Home, tx: sa.Connection, row: sa.Row[Any]) -> pl.DataFrame:
    """The request's rows of `entries`, in their order. Files that were closed before the request was taken in are not
    opened."""
    files = [
        home.lake.root / str(one.path)
        for one in home.lake.rows("entries", tx)
        if one.max_at is None or int(str(one.max_at)) >= row.taken_at
    ]
    if not files:
        return pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String))
    mine = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore", glob=False)
    found = mine.filter(pl.col("request_uuid") == row.uuid).select(_COLUMNS).collect(engine="streaming")
    return found.sort("met_at", "contact_id", "outcome", "participant_id", maintain_order=True)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "met_at": row["met_at"].isoformat()}


def _waits(contact_id: str, until: int) -> dict[str, Any]:
    return _outcome(contact_id, WAITING, f"the contact is not known; it is waited for until {from_us(until)}")


def _not_yet(kind: str, named: str) -> dict[str, Any]:
    if kind == "phones":
        return _outcome(None, PENDING, named)
    return _outcome(named, PENDING, None)


def _outcome(contact_id: str | None, outcome: str, detail: str | None) -> dict[str, Any]:
    return {"contact_id": contact_id, "outcome": outcome, "detail": detail, "participant_id": None, "met_at": None}


def _pending(request_uuid: str, line: dict[str, Any], after: int, limit: int) -> dict[str, Any]:
    kind = next(one for one in ("users", "phones", "segment") if line.get(one) is not None)
    people = [] if kind == "segment" else line[kind]
    people = people if isinstance(people, list) else [people]
    return {
        "request_uuid": request_uuid,
        "campaign": line.get("campaign"),
        "state": PENDING,
        "taken_at": None,
        "detail": None,
        "counts": {PENDING: len(people)} if people else {},
        "outcomes": [_not_yet(kind, str(one)) for one in people[after : after + limit]],
        "next": after + limit if after + limit < len(people) else None,
    }


def _unread(home: Home, request_uuid: str) -> dict[str, Any] | None:
    """The line of a request that no pass has read."""
    wanted = request_uuid.encode()
    cursors = home.landing.cursors(["requests"])
    left = MOST_UNREAD
    for stat in reversed(home.landing.pending(home.wall(), ["requests"])):
        if stat.form != "ndjson" or home.landing.leads_elsewhere(stat):
            continue
        for line in _tail(stat, cursors.get((stat.kind, stat.name)), left):
            left -= len(line)
            if wanted in line and (found := _request(line, request_uuid)) is not None:
                return found
        if left <= 0:
            break
    return None


def _tail(stat: FileStat, cursor: Cursor | None, most: int) -> Iterator[bytes]:
    """The lines of a file after what was read of it."""
    offset = cursor.offset if cursor is not None and cursor.inode == stat.inode else 0
    try:
        with stat.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                yield line
                most -= len(line)
                if most <= 0:
                    return
    except OSError:  # moved away meanwhile
        return


def _request(line: bytes, request_uuid: str) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("request_uuid") != request_uuid:
        return None
    return value if any(value.get(one) is not None for one in ("users", "phones", "segment")) else None
