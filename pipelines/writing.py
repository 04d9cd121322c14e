"""Writing what was planned: messages with their codes and links, skips, and people who now wait for them.

What belongs here: the rows of one transaction. Who gets what is `plan`, and for answers of the inbox `inbox`.
"""

import zlib

import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.pricing import ESTIMATE
from journey.steps import MessageStep, TemplateMessage
from journey.words import MessageState, ParticipantState, SkipReason
from pipelines.codes import coupon_rows, link_rows
from resources.coupons import claim
from resources.ledger import mark_dirty
from resources.outbox import message_uid

_COLUMNS = (
    "id, uid, participant_id, campaign, version, step, visit, contact_id, phone, sender, share, kind, template,"
    " language, category, priority, author, state, held_why, due_at, expires_at, planned_at, body_file, body_row,"
    " quiet_at, window_until, counted, coupon_id, market, price, currency, price_source"
)
_WRITTEN = [
    "participant_id", "contact_id", "key", "occurrence", "step", "visit", "phone", "template", "language", "category",
    "priority", "held_why", "due_at", "expires_at", "quiet_at", "window_until", "counted", "coupon_id", "market",
    "price", "currency",
]  # fmt: skip
_INSERT = (
    f"INSERT INTO message ({_COLUMNS}) VALUES ({', '.join('?' * len(_COLUMNS.split(',')))}) ON CONFLICT DO NOTHING"
)


def write_messages(
    tx: sa.Connection,
    campaign: Campaign,
    step: MessageStep,
    messages: pl.DataFrame,
    first_id: int,
    body_file: int,
    at: int,
    author: str | None = None,
) -> None:
    """The messages with the ids from `first_id` on, and the codes that are theirs. `author`: who wrote them by hand."""
    message = step.message
    held, planned = MessageState.held.value, MessageState.planned.value
    name, version, sender = campaign.name, campaign.version, campaign.sender
    rows = [
        (
            first_id + place, message_uid(name, contact, key, occurrence, step_name, str(visit)), participant, name,
            version, step_name, visit, contact, phone, sender, zlib.crc32(phone.encode()), message.kind, template,
            language, category, priority, author, held if held_why else planned, held_why, due_at, expires_at, at,
            body_file, place, quiet_at, window_until, counted, coupon_id, market, price, currency,
            None if price is None else ESTIMATE,
        )
        for place, (
            participant, contact, key, occurrence, step_name, visit, phone, template, language, category, priority,
            held_why, due_at, expires_at, quiet_at, window_until, counted, coupon_id, market, price, currency,
        ) in enumerate(messages.select(_WRITTEN).iter_rows())
    ]  # fmt: skip
    tx.exec_driver_sql(_INSERT, rows)
    if isinstance(message, TemplateMessage) and message.coupons is not None:
        claim(tx, coupon_rows(messages, first_id), message.coupons.tag, at)
    links = link_rows(messages, first_id)
    if links:
        tx.exec_driver_sql("INSERT INTO link (code, message_id, button, url) VALUES (?, ?, ?, ?)", links)
    unapproved = pl.col("held_why") == SkipReason.template_not_approved
    for name, language in messages.filter(unapproved).select("template", "language").unique().iter_rows():
        tx.exec_driver_sql(
            "INSERT INTO template_hold (name, language, status, changed_at) VALUES (?, ?, 'PAUSED', ?)"
            " ON CONFLICT DO NOTHING",
            (name, language, at),
        )


def write_skips(tx: sa.Connection, campaign: Campaign, skips: pl.DataFrame, at: int) -> None:
    """Those who get no message, each with the reason."""
    if skips.height:
        tx.exec_driver_sql(
            "INSERT INTO skip (participant_id, campaign, step, visit, contact_id, reason, detail, skipped_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [
                (i, campaign.name, step_name, visit, contact_id, reason, detail, at)
                for i, step_name, visit, contact_id, reason, detail in skips.select(
                    "participant_id", "step", "visit", "contact_id", "skip_reason", "skip_detail"
                ).iter_rows()
            ],
        )


def after(tx: sa.Connection, before: dict[str, int], messages: pl.DataFrame, skips: pl.DataFrame) -> None:
    """Put who got a message to waiting, and say which exported buckets changed (a chunk spans two at most)."""
    ids = [i for i in messages.get_column("participant_id").to_list() if i]
    if ids:
        tx.exec_driver_sql(
            "UPDATE participant SET state = ?, wake_at = NULL WHERE id = ? AND left_at IS NULL",
            [(ParticipantState.waiting.value, i) for i in ids],
        )
    for name, last in last_ids(tx).items():
        if last > before[name]:
            mark_dirty(tx, name, [before[name] + 1, last])
    mark_dirty(tx, "participant", [*ids, *(i for i in skips.get_column("participant_id").to_list() if i)])


def last_ids(tx: sa.Connection) -> dict[str, int]:
    """The last ids given, before anything is written."""
    return {
        name: int(tx.exec_driver_sql(f"SELECT COALESCE(max(id), 0) FROM {name}").scalar_one())
        for name in ("message", "skip")
    }
