"""Taking in the webhook log: statuses, answers, preferences and news of templates, in one pass over each file.

What belongs here: matching what Meta reports to messages and contacts, and writing it with the file's cursor. Parsing
is `journey.webhook`; folding a status is `statuses`; what people write is `inbound`.

What we have already is known by the ledger itself (a status by its message, an answer by its wamid), so a delivery that
comes twice, in another order or in another file changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.clock import from_us, to_us
from journey.codes import MARKETING_STOPPED, explain
from journey.consent import changes_frame
from journey.rows import bad_frame
from journey.webhook import Parsed, parse
from journey.words import Scope, Status
from resources import statuses
from resources.ahead import ahead, beside
from resources.answering import match_again
from resources.consents import apply_consent
from resources.contact_intake import UnreadableFile, readable, set_aside
from resources.containing import Line, line_by_line, reaches_further, unforeseen
from resources.forget_landing import erase_messages
from resources.forgotten import apart
from resources.home import Home
from resources.inbound import take_in_answers
from resources.lake import LakeFile
from resources.landing import FileStat, LeadsElsewhere
from resources.ledger import BULK, Lease, select_in
from resources.numbers import take_in_numbers
from resources.quarantine import put_aside, put_aside_in_bulk
from resources.sharing import note_others
from resources.statuses import REFUSED_MARKETING

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
_HAD = f"SELECT id, {', '.join(f'{one.value}_at' for one in Status)} FROM message WHERE id IN {{}}"


@dataclass
class TakenWebhooks:
    """What one pass took in. `late`: ids of messages of somebody who was forgotten that the log still says."""

    files: int = 0
    lines: int = 0
    statuses: int = 0
    answers: int = 0
    quarantined: int = 0
    late: set[str] = field(default_factory=set, repr=False)


def take_in_webhooks(home: Home, lease: Lease, now: datetime, final: bool = False) -> TakenWebhooks:
    """Take in every webhook log file from where it was left. A file that can't be read never stops the others."""
    taken = TakenWebhooks()
    _marketing_refused(home, lease, now)
    for stat in home.landing.pending(home.wall(), ["webhooks"]):
        taken.files += 1
        try:
            _take_in_file(home, lease, stat, now, final, taken)
        except Exception as error:
            if reaches_further(error):
                raise
            if isinstance(error.__cause__, LeadsElsewhere):  # nobody looks at it again until it changes
                taken.quarantined += set_aside(home.landing, stat, lease, now, error).quarantined
                continue
            known = isinstance(error, UnreadableFile)
            reason = f"the file can't be read: {error}" if known else unforeseen(error)
            bad = pl.DataFrame({"line": [0], "reason": [reason], "raw": [""]})
            with home.ledger.write(lease) as tx:
                taken.quarantined += put_aside(tx, "webhooks", stat.shown, bad, now)
    match_again(home, lease, now)
    return taken


def _take_in_file(home: Home, lease: Lease, stat: FileStat, now: datetime, final: bool, taken: TakenWebhooks) -> None:
    chunks = readable(home.landing.chunks(stat, home.wall(), final))
    for chunk, parsed in beside((chunk, _parsed(chunk.lines)) for chunk in chunks):
        bad = deal_with(home, lease, stat, chunk.lines, now, taken, parsed)
        if bad.height > BULK:
            taken.quarantined += put_aside_in_bulk(home.ledger, lease, "webhooks", stat.shown, bad, now)
            bad = bad.clear()
        with home.ledger.write(lease) as tx:
            taken.quarantined += put_aside(tx, "webhooks", stat.shown, bad, now)
            home.landing.save(tx, chunk.cursor, to_us(now))
        taken.lines += len(chunk.lines)
    if taken.late:  # the log says it in full
        erase_messages(home.landing, stat, taken.late, lease)
        taken.late = set()


def _parsed(lines: Sequence[Line]) -> Parsed | None:
    """What lines hold. None: we fail on one of them, which is found where they are dealt with."""
    try:
        return parse(lines)
    except Exception as error:
        if reaches_further(error):
            raise
        return None


def deal_with(
    home: Home,
    lease: Lease,
    stat: FileStat,
    lines: Sequence[Line],
    now: datetime,
    taken: TakenWebhooks,
    whole: Parsed | None = None,
) -> pl.DataFrame:
    """Write what some lines say (`whole`: all that they hold, where that was read before). Gives what could not be read
    of them (BAD), and each line on which we fail ourselves: it takes no other line along."""

    def use(some: Sequence[Line]) -> pl.DataFrame:
        read = whole if whole is not None and len(some) == len(lines) else parse(some)
        parsed, late = apart(home.ledger, home.prefix(), read)
        taken.late |= late
        folded = _fold(home, lease, parsed, now)  # first: a status may tell the wamid that an answer quotes
        answers = take_in_answers(home, lease, stat.shown, parsed, now)
        _news(home, lease, parsed, now)
        take_in_numbers(home.ledger, lease, parsed.numbers, now)
        taken.statuses += folded
        taken.answers += answers
        return parsed.bad

    found = [bad_frame()]
    for one in line_by_line(lines, use):
        if isinstance(one, pl.DataFrame):
            found.append(one)
        else:
            (number, raw), error = one
            found.append(bad_frame([(number, unforeseen(error), raw.decode("utf-8", "replace").strip())]))
    return pl.concat(found)


def _fold(home: Home, lease: Lease, parsed: Parsed, now: datetime) -> int:
    """Fold statuses and record each once, those of 5,000 messages a transaction. Gives how many were new."""
    fresh = _fresh(home, match(home, parsed.statuses))
    if fresh.is_empty():
        return 0
    fresh = fresh.with_columns(pl.col("received_at").fill_null(pl.lit(now, MESSAGE_EVENTS["received_at"])))
    ours = fresh.filter(pl.col("message_id").is_not_null()).sort("message_id", maintain_order=True)
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
    early = strange.select(
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
    """Those that say something new, each (message or wamid, status) once, the earliest first."""
    once = matched.sort("status_at", maintain_order=True).unique(
        subset=["message_id", "wamid", "status"], keep="first", maintain_order=True
    )
    strange = once.filter(pl.col("message_id").is_null())["wamid"]
    with home.ledger.read() as tx:
        had = _asked(home, tx, _HAD, dict(_HAVE), once["message_id"])
        early = _asked(home, tx, "SELECT wamid, status FROM early_status WHERE wamid IN {}", _EARLY, strange)
    once = once.join(had, on="message_id", how="left", maintain_order="left")
    once = once.join(early.with_columns(kept=True), on=["wamid", "status"], how="left", maintain_order="left")
    ours = pl.coalesce(
        pl.when(pl.col("status") == one.value).then(pl.col(f"had_{one.value}").is_not_null()) for one in Status
    )
    seen = pl.when(pl.col("message_id").is_not_null()).then(ours).otherwise("kept")
    return once.filter(~seen.fill_null(False))


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


def _marketing_refused(home: Home, lease: Lease, now: datetime) -> None:
    """131050 in Meta's answer: the lane has put it into force, the contact and the history follow here."""
    with home.ledger.read() as tx:
        rows = tx.exec_driver_sql(
            "SELECT substr(subject, 9) AS contact_id, changed_at FROM suppression"
            " WHERE cause = ? AND subject LIKE 'contact:%'",
            (REFUSED_MARKETING,),
        ).all()
    if not rows:
        return
    phones = dict(home.contacts.find(ids=[row.contact_id for row in rows]).select("contact_id", "phone").iter_rows())
    changes = [
        {
            "contact_id": row.contact_id,
            "phone": phones.get(row.contact_id),
            "change": "opted_out",
            "scope": Scope.marketing.value,
            "cause": "meta_131050",
            "source": "messages",
            "wamid": None,
            "changed_at": from_us(row.changed_at),
        }
        for row in rows
    ]
    apply_consent(home.contacts, lease, changes_frame(changes), now)
    with home.ledger.write(lease) as tx:
        tx.exec_driver_sql("UPDATE suppression SET cause = 'meta_131050' WHERE cause = ?", (REFUSED_MARKETING,))


def _news(home: Home, lease: Lease, parsed: Parsed, now: datetime) -> None:
    """Templates that were paused, disabled or approved again hold or let go what is planned with them."""
    events = parsed.templates.filter(pl.col("kind") == "status")
    if events.is_empty():
        return
    with home.ledger.write(lease) as tx:
        for name, language, event in (
            events.sort("changed_at", maintain_order=True).select("name", "language", "event").iter_rows()
        ):
            if event in ("APPROVED", "REINSTATED", "UNARCHIVED"):
                tx.exec_driver_sql("DELETE FROM template_hold WHERE name = ? AND language = ?", (name, language))
            elif event is not None and event != "FLAGGED":  # a warning: it may still be sent
                tx.exec_driver_sql(
                    "INSERT INTO template_hold (name, language, status, code, changed_at) VALUES (?, ?, ?, 0, ?)"
                    " ON CONFLICT (name, language) DO UPDATE SET status = excluded.status, code = 0",
                    (name, language, event, to_us(now)),
                )
