"""What people write back: answers, stop and start words, Meta's preferences.

What belongs here: reading inbound messages, putting words into force, and ending the passages of who has opted out of
everything. Which message an answer belongs to is `answering`; what a word does to consent is `journey.consent`; who a
phone or an id of Meta's is, `whatsapp_ids`. A stop word is looked for before any answer.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from journey.consent import changes_frame
from journey.stop_words import is_one_of
from journey.webhook import Parsed
from journey.words import LeaveReason, Scope, SkipReason
from resources.answering import SAID, Answer, write_answers
from resources.consents import apply_consent
from resources.home import Home
from resources.leaving import leave
from resources.ledger import Lease, chunks, select_in
from resources.skipping import skip
from resources.whatsapp_ids import people_of

ANSWERS = 1_000
"""Answers of one transaction: it looks up what each may belong to (0.1 ms), and lanes wait for it."""
MARKETING = "marketing_messages"  # Meta's name of the one category that people can stop


def take_in_answers(home: Home, lease: Lease, source: str, parsed: Parsed, now: datetime) -> int:
    """Write the inbound messages and preferences of some lines of the log. Gives how many messages were new."""
    inbound = _unseen(home, parsed.inbound)
    if inbound.height:
        inbound = people_of(home.contacts, lease, inbound, now)
    changes = [*_words(home, source, inbound, now), *_preferences(home, lease, source, parsed.preferences, now)]
    if changes:
        frame = changes_frame(changes)
        _end_passages_by_word(home, lease, frame, now)
        apply_consent(home.contacts, lease, frame, now)
    answers = _answers(home, inbound, now)
    for part in chunks(len(answers), ANSWERS):
        with home.ledger.write(lease) as tx:
            write_answers(tx, home, answers[part], to_us(now))
    return inbound.height


def _end_passages_by_word(home: Home, lease: Lease, changes: pl.DataFrame, now: datetime) -> None:
    """End the passages of who said a stop word. Where they had opted in again after it, a word that comes late ends
    those that had begun by then, as it would have in time, and none that began since.

    This comes before the words are put into force, which a crash would hide behind what was said with them.
    """
    stopped = changes.filter(change="opted_out", scope=Scope.all.value)
    since = home.contacts.find(ids=stopped["contact_id"]).select("contact_id", "opted_in_at")
    known = stopped.join(since, on="contact_id", how="left").with_columns(
        whole=(pl.col("changed_at") >= pl.col("opted_in_at")).fill_null(True)
    )
    gone = known.group_by("contact_id").agg(pl.col("whole").any(), pl.col("changed_at").max().to_physical())
    until = pl.when(~pl.col("whole")).then("changed_at")
    rows = gone.sort("contact_id").select("contact_id", until=until).rows()
    for part in chunks(len(rows)):
        with home.ledger.write(lease) as tx:
            end_passages(tx, rows[part], to_us(now))


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


# `stops`: (contact_id, until) each. By the indexes on contacts, which CROSS JOIN asks for.
_STOPS = """(SELECT json_extract(value, '$[0]') AS contact_id, json_extract(value, '$[1]') AS until
  FROM json_each(:stops)) stop"""
_INSIDE = f"""SELECT p.id FROM {_STOPS} CROSS JOIN participant p ON p.contact_id = stop.contact_id
  WHERE p.left_at IS NULL AND (stop.until IS NULL OR p.entered_at <= stop.until)"""
_PLANNED = f"""SELECT m.id FROM {_STOPS} CROSS JOIN message m ON m.contact_id = stop.contact_id
  WHERE m.state IN ('planned', 'held') AND (stop.until IS NULL OR EXISTS (SELECT 1 FROM participant p
    WHERE p.id = m.participant_id AND p.left_at IS NULL AND p.entered_at <= stop.until))"""


def end_passages(tx: sa.Connection, stops: Sequence[tuple[str, int | None]], now: int) -> None:
    """Who has opted out of everything (contact_id) leaves every campaign, or those that they had entered by a time (in
    microseconds, None: all); what was planned for them is skipped."""
    if not stops:
        return
    given = {"stops": msgspec.json.encode(stops).decode()}
    planned = tx.exec_driver_sql(_PLANNED, given).scalars().all()
    if planned:
        skip(tx, [(int(one), SkipReason.opted_out, "opted out of everything") for one in planned], now)
    inside = tx.exec_driver_sql(_INSIDE, given).scalars().all()
    leave(tx, [int(one) for one in inside], LeaveReason.opted_out, now)


def _answers(home: Home, inbound: pl.DataFrame, now: datetime) -> list[Answer]:
    senders = {sender.phone_number_id: name for name, sender in home.project.settings.senders.items()}
    return [
        Answer(
            row["wamid"],
            row["contact_id"],
            senders.get(row["phone_number_id"], row["phone_number_id"]),
            row["kind"],
            row["payload"],
            row["text"],
            row["context_wamid"] or None,
            to_us(min(row["replied_at"], now)),
            to_us(row["received_at"] or now),
        )
        for row in inbound.iter_rows(named=True)
    ]
