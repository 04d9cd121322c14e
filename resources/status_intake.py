"""Statuses of the webhook log into ledger and lake: whose each is, whether it says something new, and writing it.

What belongs here: matching statuses to messages, leaving out what we have, and the transactions. What a status does to
its message is `statuses`; which part of a log is read when, `deliveries`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from journey.codes import MARKETING_STOPPED, explain
from journey.consent import changes_frame
from journey.words import Scope, Status
from resources import statuses
from resources.ahead import ahead
from resources.consents import apply_consent
from resources.home import Home
from resources.lake import LakeFile
from resources.ledger import BULK, Lease, select_in
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
_ANEW = """SELECT uid, id FROM message WHERE state IN ('planned', 'held') AND uid IN {}
UNION ALL SELECT uid, id FROM message WHERE state IN ('attempted', 'unknown') AND uid IN {}"""
"""A message that is not settled, by its uid: a restored ledger may know it by another id than its statuses."""
_BY_ID = {"by_callback": pl.Int64, "uid": pl.Int64, "its_wamid": pl.String}
_BY_WAMID = {"wamid": pl.String, "by_wamid": pl.Int64}
_BY_UID = {"uid": pl.Int64, "by_uid": pl.Int64}
_EARLY = {"wamid": pl.String, "status": pl.String}
_HAVE = {"message_id": pl.Int64, **{f"had_{one.value}": pl.Int64 for one in Status}}
_KNOWN = [one.value for one in Status]
_HAD = f"SELECT id, {', '.join(f'{one.value}_at' for one in Status)} FROM message WHERE id IN {{}}"


def take_in_statuses(home: Home, lease: Lease, told: pl.DataFrame, now: datetime) -> int:
    """Fold statuses (`webhook_shapes.STATUSES`) and record each once, those of 5,000 messages a transaction, in the
    order of the messages: what is far apart in a log may be one page of the ledger. Gives how many were new."""
    fresh = _fresh(home, match(home, told.drop("line", "waba_id", "error_details")))
    if fresh.is_empty():
        return 0
    fresh = fresh.with_columns(pl.col("received_at").fill_null(pl.lit(now, MESSAGE_EVENTS["received_at"])))
    ours = fresh.filter(pl.col("message_id").is_not_null())
    ours = ours.with_columns(place=pl.col("message_id").rle_id().cast(pl.Int64))
    strange = fresh.filter(pl.col("message_id").is_null()).with_row_index("place", ours["message_id"].n_unique())
    whole = pl.concat([ours, strange.with_columns(pl.col("place").cast(pl.Int64)).select(ours.columns)])
    parts = whole.with_columns(part=pl.col("place") // BULK).partition_by("part", maintain_order=True)
    files = ahead(
        lambda part: home.lake.put("message_events", part.select(list(MESSAGE_EVENTS)), at="received_at"), parts
    )
    for one, file in zip(home.ledger.chunks(len(parts), 1), files, strict=True):
        _write(home, lease, parts[one.start], file, now)
    return fresh.height


def _write(home: Home, lease: Lease, fresh: pl.DataFrame, file: LakeFile, now: datetime) -> None:
    """Fold and record statuses that say something new, in one transaction with the file of them."""
    ours = fresh.filter(pl.col("message_id").is_not_null())
    strange = fresh.filter(pl.col("message_id").is_null())
    stopped = ours.filter(status=Status.failed, error_code=MARKETING_STOPPED)
    if stopped.height:  # before the fold, after which a crash would leave them known and done
        _marketing_stopped(home, lease, stopped, now)
    titles = {code: explain(code).title for code in ours["error_code"].drop_nulls().unique()}
    title = pl.col("error_code").replace_strict(titles, default=None, return_dtype=pl.String)
    folded = ours.select(
        pl.col("status_at").to_physical() if one == "status_at" else one
        for one in statuses.FOLDED
        if one != "error_title"
    ).with_columns(error_title=ours.select(pl.coalesce(pl.col("error_title").replace("", None), title)).to_series())
    early = pl.concat([strange, _odd(ours).with_columns(uid=pl.lit(None, strange.schema["uid"]))]).select(
        "wamid", "status", pl.min_horizontal("status_at", pl.lit(now)).to_physical(),
        pl.col("received_at").to_physical(), "error_code", "error_title", "uid",
    )  # fmt: skip
    installation = home.ledger.meta("installation") or ""
    with home.ledger.write(lease) as tx:
        home.lake.register(tx, file)
        statuses.fold(tx, folded, to_us(now))
        note_others(tx, strange, installation, now)
        statuses.keep_early(tx, early.rows(named=True))


def match(home: Home, told: pl.DataFrame) -> pl.DataFrame:
    """Adds `message_id`: by wamid, else by what we sent along: the message's id, checked by its uid, whatever the
    epoch; where a restored ledger has given the message another id, by the uid. And `uid`, where what was sent along
    says one."""
    prefix = home.installation_prefix()
    mine = pl.col("callback").str.strip_prefix(prefix + ":").str.split(":")
    own = told.with_columns(mine=pl.when(pl.col("callback").str.starts_with(prefix + ":")).then(mine)).with_columns(
        claimed=pl.col("mine").list.get(1, null_on_oob=True).cast(pl.Int64, strict=False),
        uid=pl.col("mine").list.get(2, null_on_oob=True).cast(pl.Int64, strict=False),
    )
    with home.ledger.read() as tx:
        by_id = _asked(home, tx, "SELECT id, uid, wamid FROM message WHERE id IN {}", _BY_ID, own["claimed"])
        by_id = by_id.with_columns(claimed="by_callback")
        own = own.join(by_id, on=["claimed", "uid"], how="left", maintain_order="left")
        # Mostly the message that is named bears the wamid. No other has it then.
        known = (pl.col("its_wamid") == pl.col("wamid")).fill_null(False)
        open_ = own.filter(~known)
        by_wamid = _asked(home, tx, "SELECT wamid, id FROM message WHERE wamid IN {}", _BY_WAMID, open_["wamid"])
        unfound = open_.filter(~pl.col("uid").is_in(by_id["uid"].implode()))["uid"]
        anew = _asked(home, tx, _ANEW, _BY_UID, unfound).unique("uid", keep="first", maintain_order=True)
    return (
        own.join(anew, on="uid", how="left", maintain_order="left")
        .with_columns(by_callback=pl.coalesce("by_callback", "by_uid"))
        .join(by_wamid, on="wamid", how="left", maintain_order="left")
        .with_columns(by_wamid=pl.when(known).then("claimed").otherwise("by_wamid"))
        # One message a wamid, also where only one of its statuses says whose it is.
        .with_columns(message_id=pl.coalesce("by_wamid", pl.col("by_callback").drop_nulls().first().over("wamid")))
    )


def _fresh(home: Home, matched: pl.DataFrame) -> pl.DataFrame:
    """Those that say something new, each (message or wamid, status) once, the earliest; by message. A message knows
    which of its statuses it has had; any other has a row of `early_status`, as has one that nobody knows (`_odd`)."""
    once = matched.sort("message_id", "status_at", nulls_last=True, maintain_order=True).unique(
        subset=["message_id", "wamid", "status"], keep="first", maintain_order=True
    )
    strange = pl.concat([once.filter(pl.col("message_id").is_null()), _odd(once)])["wamid"]
    with home.ledger.read() as tx:
        had = _asked(home, tx, _HAD, dict(_HAVE), once["message_id"])
        early = _asked(home, tx, "SELECT wamid, status FROM early_status WHERE wamid IN {}", _EARLY, strange)
    once = once.join(had, on="message_id", how="left", maintain_order="left")
    once = once.join(early.with_columns(kept=True), on=["wamid", "status"], how="left", maintain_order="left")
    ours = pl.coalesce(
        pl.when(pl.col("status") == one.value).then(pl.col(f"had_{one.value}").is_not_null()) for one in Status
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
