"""Meta's statuses folded into messages, in any order and any number of times.

What belongs here: the update-if-null statements and who is woken by them. Parsing is `journey.webhook`; matching a
status to its message is here too, because it is a look into the ledger.

A delivered or read beats failed; the time of a status is Meta's, but never before the message's attempt nor after the
moment it was taken in. What comes before its message's wamid is known waits in `early_status`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.codes import MARKETING_STOPPED, UNDELIVERABLE
from journey.words import Status
from resources import coupons, spending
from resources.ledger import BUCKET, mark_dirty, select_in
from resources.reached import miscounted
from resources.tables import early_status

REFUSED_MARKETING = "refused_131050"
"""The cause of an opt-out that is in force and not with the contact yet."""

JOINED = "early_joined"
"""In `meta`: since when (taken in, microseconds) statuses came that had no message then and have one now; the lake has
them without until `early_names`."""

#: Statuses of messages of ours. Times in microseconds since 1970 UTC.
FOLDED: Mapping[str, Any] = {
    "message_id": pl.Int64,
    "wamid": pl.String,
    "status": pl.String,
    "status_at": pl.Int64,
    "error_code": pl.Int64,
    "error_title": pl.String,
}

# What most messages have by then is written to the few that have not: each index costs more than all of the fold.
_BARE = """SELECT id, accepted_at IS NULL AS new, attempted_at IS NULL AS elsewhere, wamid IS NULL AS nameless,
  state IN ('planned', 'held') AND attempted_at IS NULL AND tries = 0 AND pair_tries = 0 AND not_before = 0
  AND error_code IS NULL AND held_why IS NOT 'restored' AS untried FROM message
  WHERE (accepted_at IS NULL OR wamid IS NULL OR attempted_at IS NULL OR held_why IS NOT NULL) AND id IN :ids"""
_KNOWN = """UPDATE message SET attempted_at = COALESCE(attempted_at, :sent, :delivered, :read, :failed),
  wamid = COALESCE(wamid, :wamid), held_why = NULL WHERE id = :id"""
_TOLD = ("id", *(one.value for one in Status), "code", "title")
_NEW = " OR ".join(f"({one}_at IS NULL AND told.{one} IS NOT NULL)" for one in Status)
_NEVER = 2**62
_NAMED_SINCE = """INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE
  SET value = MIN(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))"""
# Accepted no later than any status says: the same whichever of them, or the answer, comes first.
_SOONEST = ", ".join(
    f"COALESCE(CASE WHEN {one}_at IS NULL THEN MAX(told.{one}, attempted_at) END, {_NEVER})" for one in Status
)
_WAITING = """left_at IS NULL AND state = 'waiting' AND id IN (
  SELECT participant_id FROM message WHERE id IN (SELECT value FROM json_each(:ids)))"""
_ARRIVED = "COALESCE(read_at, delivered_at, told.read, told.delivered) IS NOT NULL"
# A status that a message has already changes nothing. One statement for all: a third less than one a message.
_SET = f"""UPDATE message SET
  {", ".join(f"{one}_at = COALESCE({one}_at, MAX(told.{one}, attempted_at))" for one in Status)},
  accepted_at = MIN(COALESCE(accepted_at, {_NEVER}), {_SOONEST}),
  error_code = CASE WHEN {_ARRIVED} THEN NULL WHEN failed_at IS NULL THEN told.code ELSE error_code END,
  error_title = CASE WHEN {_ARRIVED} THEN NULL WHEN failed_at IS NULL THEN told.title ELSE error_title END,
  state = CASE WHEN COALESCE(read_at, told.read) IS NOT NULL THEN 'read'
    WHEN COALESCE(delivered_at, told.delivered) IS NOT NULL THEN 'delivered'
    WHEN COALESCE(failed_at, told.failed) IS NOT NULL THEN 'failed' ELSE 'sent' END
  FROM told WHERE message.id = told.id AND ({_NEW})"""


@dataclass(frozen=True)
class Told:
    """What statuses of at most `BULK` messages say, ready to be written: a row a message (message_id, wamid, the time
    of each status, code, title), its rows with a status that moves something, and those in JSON."""

    every: pl.DataFrame
    meant: pl.DataFrame
    json: str


def tell(statuses: pl.DataFrame, now: int) -> Told:
    """Statuses of our own messages (FOLDED), those of one message together."""
    at, failed = pl.min_horizontal("status_at", pl.lit(now)), pl.col("status") == Status.failed.value
    every = statuses.group_by("message_id", maintain_order=True).agg(
        pl.col("wamid").first(),
        *(at.filter(pl.col("status") == one.value).min().alias(one.value) for one in Status),
        code=pl.col("error_code").filter(failed).first(),
        title=pl.col("error_title").filter(failed).first(),
    )
    meant = every.filter(pl.any_horizontal(pl.col(one.value).is_not_null() for one in Status)).rename(
        {"message_id": "id"}
    )
    return Told(every, meant, msgspec.json.encode(meant.select(_said(meant)).rows()).decode())


def _said(meant: pl.DataFrame) -> list[str]:
    """The columns of `told` that say something. SQLite takes a quarter of a microsecond to find one in a row."""
    return [one for one in _TOLD if meant[one].null_count() < meant.height]


def fold(tx: sa.Connection, told: Told, now: int) -> list[int]:
    """Fold what statuses say into their messages and wake whom it may move. Gives the messages (ids) that this ledger
    had never tried to send."""
    meant = told.meant
    if told.every.is_empty():
        return []
    ids = told.every.get_column("message_id")
    bare = select_in(tx, _BARE, ids.to_list())
    new = [int(row.id) for row in bare if row.new]
    if any(row.elsewhere for row in bare):  # before a restore
        miscounted(tx)
    accepted = meant.filter(pl.col("id").is_in(new)).get_column("id").sort().to_list()  # whatever it says: Meta has it
    spending.note_accepted(tx, accepted)
    coupons.mark_sent(tx, accepted)
    wanting = meant.filter(pl.col("id").is_in([int(row.id) for row in bare]))
    if wanting.height:
        tx.exec_driver_sql(_KNOWN, wanting.rows(named=True))
    places = {one: place for place, one in enumerate(_said(meant))}
    values = ", ".join(f"json_extract(value, '$[{places[one]}]')" if one in places else "NULL" for one in _TOLD)
    rows = f"WITH told ({', '.join(_TOLD)}) AS MATERIALIZED (SELECT {values} FROM json_each(:told))"
    tx.exec_driver_sql(f"{rows} {_SET}", {"told": told.json})
    moved = meant.filter(pl.any_horizontal(pl.col("read", "failed").is_not_null())).get_column("id").to_list()
    wake(tx, sorted({*moved, *new}), now)
    gone = meant.filter(pl.col("failed").is_not_null(), code=UNDELIVERABLE).get_column("id").to_list()
    note_unreachable(tx, gone, UNDELIVERABLE, now)
    mark_dirty(tx, "message", ids)
    nameless = pl.col("id").is_in([int(row.id) for row in bare if row.nameless]) & pl.col("wamid").is_not_null()
    join_early(tx, meant.filter(nameless).select("id", "wamid").rows(), now)
    return [int(row.id) for row in bare if row.untried]


def wake(tx: sa.Connection, message_ids: Sequence[int], now: int) -> None:
    """Have the participants who wait with these messages looked at now."""
    if not message_ids:
        return
    given = {"now": now, "ids": msgspec.json.encode(list(message_ids)).decode()}
    if tx.exec_driver_sql(f"UPDATE participant SET wake_at = :now WHERE {_WAITING}", given).rowcount:
        buckets = f"SELECT DISTINCT 'participant', id / {BUCKET} FROM participant WHERE wake_at = :now AND {_WAITING}"
        tx.exec_driver_sql(f"INSERT INTO dirty (name, bucket) {buckets} ON CONFLICT DO NOTHING", given)


def note_unreachable(tx: sa.Connection, message_ids: Sequence[int], code: int, now: int) -> None:
    """Remember the phones of messages that Meta said cannot be reached."""
    if message_ids:
        tx.execute(
            sa.text(
                "INSERT INTO unreachable (phone, code, seen_at) SELECT phone, :code, :now FROM message WHERE id = :id"
                " ON CONFLICT (phone) DO NOTHING"
            ),
            [{"code": code, "now": now, "id": message_id} for message_id in message_ids],
        )


def refuse_marketing(tx: sa.Connection, refused: Mapping[int, int]) -> None:
    """131050: no marketing to the people of these messages (when it was said, by id). `deliveries` writes it to the
    contacts at the next pass."""
    for row in select_in(tx, "SELECT id, contact_id, phone FROM message WHERE id IN :ids", list(refused)):
        for subject in (f"contact:{row.contact_id}", f"phone:{row.phone}"):
            tx.exec_driver_sql(
                "INSERT INTO suppression (subject, scope, cause, changed_at) VALUES (?, 'marketing', ?, ?)"
                " ON CONFLICT (subject) DO UPDATE SET scope = 'marketing', cause = excluded.cause,"
                " changed_at = excluded.changed_at WHERE suppression.scope = 'file'",
                (subject, REFUSED_MARKETING, refused[row.id]),
            )


def keep_early(tx: sa.Connection, rows: Sequence[dict[str, object]]) -> None:
    """Keep statuses whose wamid no message bears yet (columns of `early_status`)."""
    foreign = {row["uid"] for row in rows} - {None}
    if foreign:
        known = select_in(tx, "SELECT DISTINCT uid FROM early_status WHERE uid IN :ids", sorted(foreign, key=str))
        if len(known) < len(foreign):
            miscounted(tx)
    if rows:
        tx.execute(
            sa.text(
                "INSERT INTO early_status (wamid, status, status_at, received_at, error_code, error_title, uid) VALUES"
                " (:wamid, :status, :status_at, :received_at, :error_code, :error_title, :uid) ON CONFLICT DO NOTHING"
            ),
            list(rows),
        )


def join_early(tx: sa.Connection, accepted: Sequence[tuple[int, str]], now: int) -> None:
    """Fold the early statuses of messages whose wamid has just become known: (message id, wamid) each."""
    ids = {wamid: message_id for message_id, wamid in accepted}
    if not ids:
        return
    found = select_in(tx, "SELECT * FROM early_status WHERE wamid IN :ids", list(ids))
    _join(tx, [(ids[row.wamid], row) for row in found], now)


def join_by_uid(tx: sa.Connection, first: int, last: int, now: int) -> None:
    """Fold the early statuses that name a message among those with the ids `first` to `last`, planned just now: it went
    out before the ledger was restored."""
    if tx.execute(sa.select(early_status.c.uid).where(early_status.c.uid.is_not(None)).limit(1)).first() is None:
        return
    found = tx.exec_driver_sql(
        "SELECT m.id, e.* FROM message m JOIN early_status e ON e.uid = m.uid WHERE m.id BETWEEN ? AND ?"
        " ORDER BY m.id, e.status_at",
        (first, last),
    ).all()
    _join(tx, [(int(row.id), row) for row in found], now)


def _join(tx: sa.Connection, found: Sequence[tuple[int, Any]], now: int) -> None:
    """Fold what was kept of these messages (id, row of `early_status`), and forget it; that a status came which moves
    nothing stays known."""
    if not found:
        return
    rows = [(i, r.wamid, r.status, r.status_at, r.error_code, r.error_title) for i, r in found]
    fold(tx, tell(pl.DataFrame(rows, schema=FOLDED, orient="row"), now), now)
    tx.exec_driver_sql(_NAMED_SINCE, (JOINED, str(min(int(r.received_at) for _, r in found))))
    stopped = [(i, r) for i, r in found if r.status == Status.failed and r.error_code == MARKETING_STOPPED]
    refuse_marketing(tx, {i: min(int(r.status_at), now) for i, r in stopped})
    joined = early_status.c.wamid.in_({r.wamid for _, r in found}) & early_status.c.status.in_([*Status])
    tx.execute(early_status.delete().where(joined))


def sweep_early(tx: sa.Connection, before: int) -> None:
    """Forget statuses of messages that never became ours (a number shared with another system), taken in before."""
    tx.execute(early_status.delete().where(early_status.c.received_at < before))
