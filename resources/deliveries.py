"""Taking in the webhook log: statuses, answers, preferences and news of templates, in one pass over each file.

What belongs here: matching what Meta reports to messages and contacts, and writing it with the file's cursor. Parsing
is `journey.webhook`; folding a status is `statuses`; what people write is `inbound`.

What we have already is known by the ledger itself (a status by its message, an answer by its wamid), so a delivery that
comes twice, in another order or in another file changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from journey.clock import from_us, to_us
from journey.codes import MARKETING_STOPPED, explain
from journey.consent import changes_frame
from journey.rows import bad_frame
from journey.webhook import Parsed, parse
from journey.words import Scope, Status
from resources import statuses
from resources.answering import match_again
from resources.consents import apply_consent
from resources.contact_intake import UnreadableFile, readable
from resources.containing import Line, line_by_line, reaches_further, unforeseen
from resources.forget_landing import erase_messages
from resources.forgotten import apart
from resources.home import Home
from resources.inbound import take_in_answers
from resources.landing import FileStat
from resources.ledger import Lease, chunks, select_in
from resources.numbers import take_in_numbers
from resources.quarantine import put_aside
from resources.sharing import note_others
from resources.statuses import REFUSED_MARKETING, Folded

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
_ANEW = """SELECT id, uid FROM message WHERE state IN ('planned', 'held') AND uid IN :ids
UNION ALL SELECT id, uid FROM message WHERE state IN ('attempted', 'unknown') AND uid IN :ids"""
"""A message that is not settled, by its uid: a restored ledger may know it by another id than its statuses."""

LINES = 4_000
"""Lines of the log that are dealt with together: some 5,000 statuses, which is one transaction's worth."""


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
            known = isinstance(error, UnreadableFile)
            reason = f"the file can't be read: {error}" if known else unforeseen(error)
            bad = pl.DataFrame({"line": [0], "reason": [reason], "raw": [""]})
            with home.ledger.write(lease) as tx:
                taken.quarantined += put_aside(tx, "webhooks", stat.shown, bad, now)
    match_again(home, lease, now)
    return taken


def _take_in_file(home: Home, lease: Lease, stat: FileStat, now: datetime, final: bool, taken: TakenWebhooks) -> None:
    for chunk in readable(home.landing.chunks(stat, home.wall(), final)):
        parts = list(chunks(len(chunk.lines), LINES)) or [slice(0, 0)]
        for part in parts:
            last = part.stop == len(chunk.lines)
            bad = deal_with(home, lease, stat, chunk.lines[part], now, taken)
            with home.ledger.write(lease) as tx:
                taken.quarantined += put_aside(tx, "webhooks", stat.shown, bad, now)
                if last:
                    home.landing.save(tx, chunk.cursor, to_us(now))
            taken.lines += part.stop - part.start
    if taken.late:  # the log says it in full
        erase_messages(home.landing, stat, taken.late, lease)
        taken.late = set()


def deal_with(
    home: Home, lease: Lease, stat: FileStat, lines: Sequence[Line], now: datetime, taken: TakenWebhooks
) -> pl.DataFrame:
    """Write what some lines say. Gives what could not be read of them (BAD), and each line on which we fail ourselves:
    it takes no other line along."""

    def use(some: Sequence[Line]) -> pl.DataFrame:
        parsed, late = apart(home.ledger, home.prefix(), parse(some))
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
    """Fold statuses and record each once, 5,000 a transaction. Gives how many were new."""
    new, installation = 0, home.ledger.meta("installation") or ""
    for part in chunks(parsed.statuses.height):
        matched = _match(home, parsed.statuses[part])
        fresh = _fresh(home, matched)
        if fresh.is_empty():
            continue
        events = fresh.select(
            "wamid",
            "message_id",
            "status",
            "status_at",
            pl.col("received_at").fill_null(pl.lit(now, MESSAGE_EVENTS["received_at"])),
            "error_code",
            "error_title",
            "pricing_category",
            "pricing_type",
        )
        ours = events.filter(pl.col("message_id").is_not_null())
        stopped = ours.filter(status=Status.failed, error_code=MARKETING_STOPPED)
        if stopped.height:  # before the fold, after which a crash would leave them known and done
            _marketing_stopped(home, lease, stopped, now)
        file = home.lake.put("message_events", events, at="received_at")
        early = events.with_columns(fresh["uid"]).filter(pl.col("message_id").is_null())
        with home.ledger.write(lease) as tx:
            home.lake.register(tx, file)
            statuses.fold(tx, [Folded(*row) for row in _rows(ours)], to_us(now))
            note_others(tx, fresh.filter(pl.col("message_id").is_null()), installation, now)
            statuses.keep_early(
                tx,
                [
                    {
                        "wamid": wamid,
                        "status": status,
                        "status_at": to_us(min(at, now)),
                        "received_at": to_us(received),
                        "error_code": code,
                        "error_title": title,
                        "uid": uid,
                    }
                    for wamid, status, at, received, code, title, uid in early.select(
                        "wamid", "status", "status_at", "received_at", "error_code", "error_title", "uid"
                    ).iter_rows()
                ],
            )
        new += fresh.height
    return new


def _rows(ours: pl.DataFrame) -> Iterator[tuple[int, str, str, int, int | None, str | None]]:
    for message_id, wamid, status, at, code, title in ours.select(
        "message_id", "wamid", "status", "status_at", "error_code", "error_title"
    ).iter_rows():
        yield message_id, wamid, status, to_us(at), code, title or (explain(code).title if code is not None else None)


def _match(home: Home, part: pl.DataFrame) -> pl.DataFrame:
    """Adds `message_id`: by wamid, else by what we sent along: the message's id, checked by its uid, whatever the
    epoch; where a restored ledger has given the message another id, by the uid. And `uid`, where what was sent along
    says one."""
    prefix = home.installation_prefix()
    own = part.with_columns(
        mine=pl.when(pl.col("callback").str.starts_with(prefix + ":")).then(
            pl.col("callback").str.strip_prefix(prefix + ":")
        )
    ).with_columns(
        claimed=pl.col("mine").str.split(":").list.get(1, null_on_oob=True).cast(pl.Int64, strict=False),
        uid=pl.col("mine").str.split(":").list.get(2, null_on_oob=True).cast(pl.Int64, strict=False),
    )
    ids = own.get_column("claimed").drop_nulls().unique().to_list()
    wamids = own.get_column("wamid").unique().to_list()
    with home.ledger.read() as tx:
        by_id = select_in(tx, "SELECT id, uid FROM message WHERE id IN :ids", ids)
        by_wamid = select_in(tx, "SELECT id, wamid FROM message WHERE wamid IN :ids", wamids)
        found = {int(row.uid) for row in by_id} | {None}
        uids = [uid for uid in own.get_column("uid").unique().to_list() if uid not in found]
        again = select_in(tx, _ANEW, uids) if uids else []
    known = pl.DataFrame(
        [(r.id, r.uid, r.id) for r in by_id],
        schema={"claimed": pl.Int64, "uid": pl.Int64, "by_callback": pl.Int64},
        orient="row",
    )
    anew = pl.DataFrame(
        [(r.uid, r.id) for r in again], schema={"uid": pl.Int64, "by_uid": pl.Int64}, orient="row"
    ).unique("uid", keep="first")
    named = pl.DataFrame(
        [(r.wamid, r.id) for r in by_wamid], schema={"wamid": pl.String, "by_wamid": pl.Int64}, orient="row"
    )
    return (
        own.join(known, on=["claimed", "uid"], how="left", maintain_order="left")
        .join(anew, on="uid", how="left", maintain_order="left")
        .with_columns(by_callback=pl.coalesce("by_callback", "by_uid"))
        .join(named, on="wamid", how="left", maintain_order="left")
        # One message a wamid, also where only one of its statuses says whose it is.
        .with_columns(message_id=pl.coalesce("by_wamid", pl.col("by_callback").drop_nulls().first().over("wamid")))
    )


def _fresh(home: Home, matched: pl.DataFrame) -> pl.DataFrame:
    """Those that say something new, each (message or wamid, status) once, the earliest first."""
    once = matched.sort("status_at", maintain_order=True).unique(
        subset=["message_id", "wamid", "status"], keep="first", maintain_order=True
    )
    ids = once.get_column("message_id").drop_nulls().unique().to_list()
    strange = once.filter(pl.col("message_id").is_null()).get_column("wamid").unique().to_list()
    with home.ledger.read() as tx:
        rows = select_in(tx, "SELECT id, sent_at, delivered_at, read_at, failed_at FROM message WHERE id IN :ids", ids)
        early = select_in(tx, "SELECT wamid, status FROM early_status WHERE wamid IN :ids", strange)
    have = {(r.id, s.value) for r in rows for s in Status if getattr(r, f"{s.value}_at") is not None}
    kept = {(r.wamid, r.status) for r in early}
    seen = [
        (message_id, status) in have if message_id is not None else (wamid, status) in kept
        for message_id, wamid, status in once.select("message_id", "wamid", "status").iter_rows()
    ]
    return once.filter(~pl.Series(seen, dtype=pl.Boolean))


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
