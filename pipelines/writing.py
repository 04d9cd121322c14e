"""Writing what was planned: messages with their codes and links, skips, and people who now wait for them.

What belongs here: the rows of one transaction. Who gets what is `plan`, and for answers of the inbox `inbox`.
"""

import zlib

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.pricing import ESTIMATE
from journey.steps import MessageStep, TemplateMessage
from journey.words import MessageState, SkipReason
from pipelines.codes import coupon_rows, link_rows
from resources.coupons import claim
from resources.inserting import insert
from resources.ledger import mark_dirty
from resources.outbox import message_uid

_WRITTEN = [
    "participant_id", "contact_id", "step", "visit", "phone", "template", "language", "category", "priority",
    "held_why", "due_at", "expires_at", "quiet_at", "window_until", "counted", "coupon_id", "market", "price",
    "currency",
]  # fmt: skip
_KEY = ["contact_id", "key", "occurrence", "step", "visit"]
_WAITING = """UPDATE participant SET state = 'waiting', wake_at = NULL
  WHERE left_at IS NULL AND id IN (SELECT value FROM json_each(?))"""


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
    uids = [
        message_uid(campaign.name, contact, key, occurrence, step_name, str(visit))
        for contact, key, occurrence, step_name, visit in messages.select(_KEY).iter_rows()
    ]
    rows = messages.select(
        pl.int_range(first_id, first_id + pl.len(), dtype=pl.Int64).alias("id"),
        pl.Series("uid", uids, pl.Int64),
        pl.Series("share", [zlib.crc32(phone.encode()) for phone in messages.get_column("phone")], pl.Int64),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("body_row"),
        *_WRITTEN,
        campaign=pl.lit(campaign.name),
        version=pl.lit(campaign.version),
        sender=pl.lit(campaign.sender),
        kind=pl.lit(message.kind),
        author=pl.lit(author, pl.String),
        state=pl.when(pl.col("held_why").is_null()).then(pl.lit(planned)).otherwise(pl.lit(held)),
        planned_at=pl.lit(at),
        body_file=pl.lit(body_file),
        price_source=pl.when(pl.col("price").is_not_null()).then(pl.lit(ESTIMATE)),
    )
    insert(tx, "message", rows, if_new=True)
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
    rows = skips.select(
        "participant_id",
        "step",
        "visit",
        "contact_id",
        campaign=pl.lit(campaign.name),
        reason="skip_reason",
        detail="skip_detail",
        skipped_at=pl.lit(at),
    )
    insert(tx, "skip", rows, if_new=True)


def after(tx: sa.Connection, before: dict[str, int], messages: pl.DataFrame, skips: pl.DataFrame) -> None:
    """Put who got a message to waiting, and say which exported buckets changed (a chunk spans two at most)."""
    ids = [i for i in messages.get_column("participant_id").to_list() if i]
    if ids:
        tx.exec_driver_sql(_WAITING, (msgspec.json.encode(ids).decode(),))
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
