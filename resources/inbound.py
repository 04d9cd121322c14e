"""What people write back: answers matched to contacts and messages, stop and start words, Meta's preferences.

What belongs here: writing `reply`, and ending the passages of who has opted out of everything. What a word does to
consent is `journey.consent`; who a phone or an id of Meta's is, `contacts`.

A stop word is looked for before any answer. An answer belongs to the message it quotes; without a quote to the newest
message of the same sender to this contact that has no answer yet. The first answer to a message by time counts; later
ones are kept as late. A reaction is kept and is no answer.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from journey.consent import changes_frame
from journey.stop_words import is_one_of
from journey.webhook import Parsed
from journey.words import LeaveReason, Scope, SkipReason
from resources.consents import apply_consent
from resources.home import Home
from resources.leaving import leave
from resources.ledger import Lease, chunks, mark_dirty, select_in
from resources.outbox import skip
from resources.whatsapp_ids import people_of

REACTION = "reaction"
SAID = ("text", "button", "list")
"""Kinds that can be a stop or start word as a whole; the caption of a picture is not."""
MARKETING = "marketing_messages"  # Meta's name of the one category that people can stop


def take_in_answers(home: Home, lease: Lease, source: str, parsed: Parsed, now: datetime) -> int:
    """Write the inbound messages and preferences of some lines of the log. Gives how many messages were new."""
    inbound = _unseen(home, parsed.inbound)
    if inbound.height:
        inbound = people_of(home.contacts, lease, inbound, now)
    changes = [*_words(home, source, inbound, now), *_preferences(home, lease, source, parsed.preferences, now)]
    if changes:
        apply_consent(home.contacts, lease, changes_frame(changes), now)
    for part in chunks(inbound.height):
        _write(home, lease, inbound[part], now)
    return inbound.height


def _unseen(home: Home, inbound: pl.DataFrame) -> pl.DataFrame:
    """Each message once, without those that the ledger has."""
    once = inbound.unique(subset="wamid", keep="first", maintain_order=True)
    with home.ledger.read() as tx:
        rows = select_in(tx, "SELECT wamid FROM reply WHERE wamid IN :ids", once.get_column("wamid").to_list())
    return once.filter(~pl.col("wamid").is_in([row.wamid for row in rows]))


def _words(home: Home, source: str, inbound: pl.DataFrame, now: datetime) -> list[dict[str, object]]:
    words = home.project.settings.stop_words
    changes = []
    for row in inbound.filter(pl.col("kind").is_in(SAID)).iter_rows(named=True):
        said = (row["text"], row["payload"])
        change = "opted_out" if is_one_of(said, words.all) else "opted_in" if is_one_of(said, words.start) else None
        if change is not None:
            cause = "stop_word" if change == "opted_out" else "start_word"
            changes.append(_change(row, change, Scope.all, cause, source, row["wamid"], min(row["replied_at"], now)))
    return changes


def _preferences(
    home: Home, lease: Lease, source: str, preferences: pl.DataFrame, now: datetime
) -> list[dict[str, object]]:
    """Meta's own switch: marketing messages stopped or resumed in WhatsApp."""
    wanted = preferences.filter(
        pl.col("value").is_in(["stop", "resume"]),
        pl.col("category").fill_null(MARKETING) == MARKETING,
    )
    if wanted.is_empty():
        return []
    people = people_of(home.contacts, lease, wanted, now)
    return [
        _change(
            row,
            "opted_out" if row["value"] == "stop" else "opted_in",
            Scope.marketing,
            "meta_preference",
            source,
            None,
            min(row["changed_at"] or now, now),
        )
        for row in people.iter_rows(named=True)
    ]


def _change(
    row: dict[str, Any], change: str, scope: Scope, cause: str, source: str, wamid: str | None, at: datetime
) -> dict[str, object]:
    return {
        "contact_id": row["contact_id"],
        "phone": row["phone"],
        "change": change,
        "scope": scope.value,
        "cause": cause,
        "source": source,
        "wamid": wamid,
        "changed_at": at,
    }


def end_passages(tx: sa.Connection, contact_ids: Iterable[str], now: int) -> None:
    """Who has opted out of everything leaves every campaign; what was planned for them is skipped."""
    ids = sorted(set(contact_ids))
    planned = select_in(
        tx,
        "SELECT m.id FROM message m WHERE m.contact_id IN :ids AND m.state IN ('planned', 'held')",
        ids,
    )
    if planned:
        skip(tx, [(int(row.id), SkipReason.opted_out, "opted out of everything") for row in planned], now)
    inside = select_in(tx, "SELECT id FROM participant WHERE left_at IS NULL AND contact_id IN :ids", ids)
    leave(tx, [int(row.id) for row in inside], LeaveReason.opted_out, now)


def _write(home: Home, lease: Lease, part: pl.DataFrame, now: datetime) -> None:
    senders = {sender.phone_number_id: name for name, sender in home.project.settings.senders.items()}
    rows = sorted(part.iter_rows(named=True), key=lambda row: row["replied_at"])
    words = home.project.settings.stop_words
    with home.ledger.write(lease) as tx:
        gone = [
            row["contact_id"]
            for row in rows
            if row["kind"] in SAID and is_one_of((row["text"], row["payload"]), words.all)
        ]
        end_passages(tx, gone, to_us(now))
        quoted = _quoted(tx, [row["context_wamid"] for row in rows if row["context_wamid"]])
        for row in rows:
            sender = senders.get(row["phone_number_id"], row["phone_number_id"])
            at = to_us(min(row["replied_at"], now))
            message = quoted.get(row["context_wamid"] or "") or _newest_unanswered(tx, row, sender, at)
            answer = row["kind"] != REACTION
            late = bool(answer and message is not None and _answered(tx, int(message.id)))
            tx.exec_driver_sql(
                "INSERT INTO reply (wamid, message_id, participant_id, campaign, step, contact_id, sender, kind,"
                " payload, text, late, replied_at, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (
                    row["wamid"],
                    *((message.id, message.participant_id, message.campaign, message.step) if message else [None] * 4),
                    row["contact_id"],
                    sender,
                    row["kind"],
                    row["payload"],
                    row["text"],
                    late,
                    at,
                    to_us(row["received_at"] or now),
                ),
            )
        made = select_in(tx, "SELECT id FROM reply WHERE wamid IN :ids", [row["wamid"] for row in rows])
        mark_dirty(tx, "reply", [int(row.id) for row in made])


def _quoted(tx: sa.Connection, wamids: list[str]) -> dict[str, Any]:
    rows = select_in(
        tx, "SELECT id, wamid, participant_id, campaign, step FROM message WHERE wamid IN :ids", sorted(set(wamids))
    )
    return {str(row.wamid): row for row in rows}


def _newest_unanswered(tx: sa.Connection, row: dict[str, Any], sender: str, at: int) -> Any:
    if row["kind"] == REACTION or row["context_wamid"]:
        return None
    return tx.exec_driver_sql(
        "SELECT m.id, m.participant_id, m.campaign, m.step FROM message m WHERE m.contact_id = ? AND m.sender = ?"
        " AND m.attempted_at <= ? AND m.state NOT IN ('failed', 'skipped', 'cancelled') AND NOT EXISTS"
        " (SELECT 1 FROM reply r WHERE r.message_id = m.id AND r.kind <> 'reaction')"
        " ORDER BY m.attempted_at DESC, m.id DESC LIMIT 1",
        (row["contact_id"], sender, at),
    ).one_or_none()


def _answered(tx: sa.Connection, message_id: int) -> bool:
    found = tx.exec_driver_sql(
        "SELECT 1 FROM reply WHERE message_id = ? AND kind <> 'reaction' LIMIT 1", (message_id,)
    ).one_or_none()
    return found is not None
