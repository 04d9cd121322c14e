"""Statuses of the webhook log into ledger and lake: whose each is, whether it says something new, and writing it.

What belongs here: matching statuses to messages, leaving out what we have, and the transactions. What a status does to
its message is `statuses`; which part of a log is read when, `deliveries`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from journey.codes import MARKETING_STOPPED, explain
from journey.consent import changes_frame
from journey.person import FORGOTTEN
from journey.words import Scope, Status
from resources import statuses
from resources.ahead import ahead
from resources.consents import apply_consent
from resources.home import Home
from resources.lake import LakeFile
from resources.ledger import BULK, Lease, select_in
from resources.mark import begin_anew, is_behind
from resources.outbox import LONGEST_DETAILS
from resources.sharing import note_others

MESSAGE_EVENTS: dict[str, pl.DataType] = {
    "wamid": pl.String(),
    "message_id": pl.Int64(),
    "status": pl.String(),
    "status_at": pl.Datetime("us", "UTC"),
    "received_at": pl.Datetime("us", "UTC"),
    "error_code": pl.Int64(),
    "error_title": pl.String(),
    "pricing_category": pl.String(),
    "pricing_type": pl.String(),
}
TOLD = (
    "wamid", "status", "status_at", "received_at", "error_code", "error_title", "error_details", "pricing_category",
    "pricing_type", "epoch", "claimed", "uid", "callback", "phone_number_id",
)  # fmt: skip
"""Columns of statuses, as in `webhook_shapes.STATUSES`; and the epoch, the id and the uid of the message of ours that
each says it is of. Of those, nobody asks for their callback and number, which are null."""
_ANEW = """SELECT uid, id FROM message WHERE state IN ('planned', 'held') AND uid IN {}
UNION ALL SELECT uid, id FROM message WHERE state IN ('attempted', 'unknown') AND uid IN {}"""
"""A message that is not settled, by its uid: a restored ledger may know it by another id than its statuses."""
_BY_ID = {
    "by_callback": pl.Int64,
    "uid": pl.Int64,
    "its_wamid": pl.String,
    **{f"its_{one.value}": pl.Int64 for one in Status},
}
_OF_WAMID = "SELECT wamid, id FROM message WHERE wamid IN {}"
_BY_WAMID = {"wamid": pl.String, "by_wamid": pl.Int64}
_BY_UID = {"uid": pl.Int64, "by_uid": pl.Int64}
_EARLY = {"wamid": pl.String, "status": pl.String}
_HAVE = {"message_id": pl.Int64, **{f"had_{one.value}": pl.Int64 for one in Status}}
_KNOWN = [one.value for one in Status]
_TIMES = ", ".join(f"{one.value}_at" for one in Status)
_HAD = f"SELECT id, {_TIMES} FROM message WHERE id IN {{}}"
_NAMED = f"SELECT id, uid, wamid, {_TIMES} FROM message WHERE id IN {{}}"


def claims(statuses: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """What is looked at of statuses (`webhook_shapes.STATUSES`), as TOLD: whose message each claims to be, by what we
    sent along (`prefix`: that of this installation), in the place of the text. A million take 200 MB."""
    mine = pl.when(pl.col("callback").str.starts_with(prefix + ":")).then(pl.col("callback").str.split(":"))
    told = statuses.with_columns(mine=mine).with_columns(
        epoch=pl.col("mine").list.get(2, null_on_oob=True).cast(pl.Int32, strict=False),
        claimed=pl.col("mine").list.get(3, null_on_oob=True).cast(pl.Int64, strict=False),
        uid=pl.col("mine").list.get(4, null_on_oob=True).cast(pl.Int64, strict=False),
    )
    others = pl.when(pl.col("uid").is_null()).then(pl.col("callback", "phone_number_id"))
    return told.with_columns(others).select(TOLD)


def take_in_statuses(home: Home, lease: Lease, told: pl.DataFrame, now: datetime) -> int:
    """Fold statuses (TOLD) and record each once, those of 5,000 messages a transaction, in the order of the messages:
    what is far apart in a log may be one page of the ledger. Gives how many were new."""
    fresh = _fresh(home, match(home, told))
    if fresh.is_empty():
        return 0
    fresh = fresh.with_columns(pl.col("received_at").fill_null(pl.lit(now, MESSAGE_EVENTS["received_at"])))
    ours = fresh.filter(pl.col("message_id").is_not_null())
    ours = ours.with_columns(place=pl.col("message_id").rle_id().cast(pl.Int64))
    strange = fresh.filter(pl.col("message_id").is_null()).with_row_index("place", ours["message_id"].n_unique())
    whole = pl.concat([ours, strange.with_columns(pl.col("place").cast(pl.Int64)).select(ours.columns)])
    parts = whole.with_columns(part=pl.col("place") // BULK).partition_by("part", maintain_order=True)
    ready = ahead(lambda part: _ready(home, part, now), parts)
    for _, part in zip(home.ledger.chunks(len(parts), 1), ready, strict=True):
        _write(home, lease, part, now)
    return fresh.height


@dataclass(frozen=True)
class _Ready:
    """Statuses that say something new, ready for their transaction: those of our messages, those of them that Meta's
    131050 came with, what they say of our messages, those of nobody's, rows of `early_status`, and the file of all."""

    ours: pl.DataFrame
    stopped: pl.DataFrame
    told: statuses.Told
    strange: pl.DataFrame
    early: pl.DataFrame
    file: LakeFile


def _ready(home: Home, fresh: pl.DataFrame, now: datetime) -> _Ready:
    ours = fresh.filter(pl.col("message_id").is_not_null())
    strange = fresh.filter(pl.col("message_id").is_null())
    folded = ours.select(
        pl.col("status_at").to_physical() if one == "status_at" else one
        for one in statuses.FOLDED
        if one != "error_title"
    ).with_columns(error_title=_told(ours))
    early = pl.concat([strange, _odd(ours).with_columns(uid=pl.lit(None, strange.schema["uid"]))])
    early = early.with_columns(error_title=_told(early)).select(
        "wamid", "status", pl.min_horizontal("status_at", pl.lit(now)).to_physical(),
        pl.col("received_at").to_physical(), "error_code", "error_title", "uid",
    )  # fmt: skip
    stopped = ours.filter(status=Status.failed, error_code=MARKETING_STOPPED)
    file = home.lake.put("message_events", fresh.select(list(MESSAGE_EVENTS)), at="received_at")
    return _Ready(ours, stopped, statuses.tell(folded, to_us(now)), strange, early, file)


def _told(found: pl.DataFrame) -> pl.Series:
    """What each says of an error: Meta's title, else ours, and what Meta's details add to it, but for people who are
    forgotten: Meta's words may repeat what it was sent."""
    titles = {code: explain(code).title for code in found["error_code"].drop_nulls().unique()}
    ours = pl.col("error_code").replace_strict(titles, default=None, return_dtype=pl.String)
    title, details = pl.coalesce(pl.col("error_title").replace("", None), ours), pl.col("error_details")
    same = details.str.strip_chars(" .").str.to_lowercase() == title.str.strip_chars(" .").str.to_lowercase()
    adds = (details.str.strip_chars() != "") & ~same & ~pl.col("wamid").str.starts_with(FORGOTTEN)
    whole = pl.format("{}: {}", title, details.str.slice(0, LONGEST_DETAILS))
    return found.select(pl.when(adds).then(whole).otherwise(title)).to_series()


def _write(home: Home, lease: Lease, part: _Ready, now: datetime) -> None:
    """Fold and record statuses that say something new, in one transaction with the file of them."""
    if part.stopped.height:  # before the fold, after which a crash would leave them known and done
        _marketing_stopped(home, lease, part.stopped, now)
    installation = (home.ledger.meta("installation") or "") if part.strange.height else ""
    with home.ledger.write(lease) as tx:
        home.lake.register(tx, part.file)
        untried = statuses.fold(tx, part.told, to_us(now))
        note_others(tx, part.strange, installation, now)
        statuses.keep_early(tx, part.early.rows(named=True))
        behind = _is_behind(tx, part.ours.filter(pl.col("message_id").is_in(untried)), part.strange)
        if behind:
            begin_anew(tx, now)
    if behind:
        raise is_behind()


def match(home: Home, told: pl.DataFrame) -> pl.DataFrame:
    """Adds to statuses (TOLD), in no order: `message_id`, by wamid, else by what we sent along: the message's id,
    checked by its uid, whatever the epoch; where a restored ledger has given the message another id, by the uid. And
    of those that bear the wamid of the message that they name, that (`its_wamid`) and the times of its statuses
    (`its_…`)."""
    with home.ledger.read() as tx:
        by_id = _asked(home, tx, _NAMED, _BY_ID, told["claimed"]).with_columns(claimed="by_callback")
        own = told.join(by_id, on=["claimed", "uid"], how="left")
        # Mostly the message that is named bears the wamid. No other has it then.
        known = (pl.col("its_wamid") == pl.col("wamid")).fill_null(False)
        named, others = own.filter(known), own.filter(~known)
        by_wamid = _asked(home, tx, _OF_WAMID, _BY_WAMID, others["wamid"])
        unfound = others.filter(~pl.col("uid").is_in(by_id["uid"].implode()))["uid"]
        anew = _asked(home, tx, _ANEW, _BY_UID, unfound).unique("uid", keep="first", maintain_order=True)
    others = (
        others.join(anew, on="uid", how="left", maintain_order="left")
        .with_columns(by_callback=pl.coalesce("by_callback", "by_uid"))
        .join(by_wamid, on="wamid", how="left", maintain_order="left")
        # One message a wamid, also where only one of its statuses says whose it is.
        .with_columns(message_id=pl.coalesce("by_wamid", pl.col("by_callback").drop_nulls().first().over("wamid")))
        .with_columns(pl.lit(None, kind).alias(one) for one, kind in _BY_ID.items() if one.startswith("its_"))
    )
    named = named.with_columns(message_id="claimed")
    return pl.concat([named, others.select(named.columns)])


def _is_behind(tx: sa.Connection, untried: pl.DataFrame, strange: pl.DataFrame) -> bool:
    """Whether statuses show that this ledger is an older copy of one that sent on: they bear what only it sends along,
    of this epoch, and are of messages that were never tried here (`untried`), or whose ids were not given here yet."""
    if untried.is_empty() and strange["claimed"].null_count() == strange.height:  # nearly always
        return False
    now = pl.col("epoch") == int(tx.exec_driver_sql("SELECT value FROM meta WHERE name = 'epoch'").scalar_one())
    given = tx.exec_driver_sql("SELECT max(id) FROM message").scalar()
    return bool(untried.filter(now).height or strange.filter(now, pl.col("claimed") > int(given or 0)).height)


def messages_of(home: Home, wamids: pl.Series) -> pl.DataFrame:
    """The messages that bear these wamids: `wamid`, `by_wamid` (their ids)."""
    with home.ledger.read() as tx:
        return _asked(home, tx, _OF_WAMID, _BY_WAMID, wamids)


def _fresh(home: Home, matched: pl.DataFrame) -> pl.DataFrame:
    """Those that say something new, each (message or wamid, status) once, the earliest; by message. A message knows
    which of its statuses it has had; any other has a row of `early_status`, as has one that nobody knows (`_odd`)."""
    once = matched.sort("message_id", "status_at", nulls_last=True, maintain_order=True).unique(
        subset=["message_id", "wamid", "status"], keep="first", maintain_order=True
    )
    strange = pl.concat([once.filter(pl.col("message_id").is_null()), _odd(once)])["wamid"]
    unsure = once.filter(pl.col("its_wamid").is_null())["message_id"]
    with home.ledger.read() as tx:
        had = _asked(home, tx, _HAD, dict(_HAVE), unsure)
        early = _asked(home, tx, "SELECT wamid, status FROM early_status WHERE wamid IN {}", _EARLY, strange)
    once = once.join(had, on="message_id", how="left", maintain_order="left")
    once = once.join(early.with_columns(kept=True), on=["wamid", "status"], how="left", maintain_order="left")
    ours = pl.coalesce(
        pl.when(pl.col("status") == one.value).then(pl.coalesce(f"its_{one.value}", f"had_{one.value}").is_not_null())
        for one in Status
    )
    told = pl.col("message_id").is_not_null() & pl.col("status").is_in(_KNOWN)
    return once.filter(~pl.when(told).then(ours).otherwise("kept").fill_null(False))


def _odd(told: pl.DataFrame) -> pl.DataFrame:
    """Statuses that move nothing (`played`, or one that is new at Meta): each is recorded once."""
    return told.filter(pl.col("message_id").is_not_null(), ~pl.col("status").is_in(_KNOWN))


def _asked(
    home: Home, tx: sa.Connection, query: str, columns: Mapping[str, Any], values: pl.Series
) -> pl.DataFrame:  # fmt: skip
    """What a query (`{}`: these values) says, as a frame of `columns`."""
    wanted = values.drop_nulls().unique()
    if wanted.is_empty():
        return pl.DataFrame(schema=dict(columns))
    listed = {"ids": msgspec.json.encode(wanted.to_list()).decode()}
    return home.ledger.frame(query.replace("{}", "(SELECT value FROM json_each(:ids))"), columns, listed, tx)


def _marketing_stopped(home: Home, lease: Lease, failed: pl.DataFrame, now: datetime) -> None:
    """131050 in a status: the person has stopped marketing from this business."""
    with home.ledger.read() as tx:
        people = select_in(
            tx,
            "SELECT id, contact_id, phone, wamid FROM message WHERE id IN :ids",
            failed.get_column("message_id").to_list(),
        )
    at = dict(failed.select("message_id", "status_at").iter_rows())
    changes = [
        {
            "contact_id": r.contact_id,
            "phone": r.phone,
            "change": "opted_out",
            "scope": Scope.marketing.value,
            "cause": "meta_131050",
            "source": "webhooks",
            "wamid": r.wamid,
            "changed_at": min(at[r.id], now),
        }
        for r in people
    ]
    apply_consent(home.contacts, lease, changes_frame(changes), now)
