"""Writing what was planned: messages with their codes and links, skips, and people who now wait for them.

What belongs here: the rows of one transaction. Who gets what is `plan`, and for answers of the inbox `inbox`.
"""

import zlib
from dataclasses import dataclass

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.pricing import ESTIMATE
from journey.steps import MessageStep, TemplateMessage
from journey.words import MessageState, SkipReason
from pipelines.codes import coupon_rows, link_rows
from resources.coupons import claim
from resources.home import Home
from resources.inserting import Ready, ready
from resources.lake import LakeFile
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


@dataclass(frozen=True)
class Chunk:
    """What one transaction is to write: people (as `plan.decided`, with codes), their rows, and the file of the bodies,
    which is on disk."""

    messages: pl.DataFrame
    skips: pl.DataFrame
    file: LakeFile | None
    message_rows: Ready
    skip_rows: Ready


def chunk_of(
    home: Home, campaign: Campaign, step: MessageStep, people: pl.DataFrame, at: int, author: str | None = None
) -> Chunk:
    """Make ready what a transaction writes. `author`: who wrote the messages by hand."""
    messages = people.filter(pl.col("skip_reason").is_null())
    skips = people.filter(pl.col("skip_reason").is_not_null())
    file = home.bodies.put(messages) if messages.height else None
    rows = _message_rows(campaign, step, messages, at, author), _skip_rows(campaign, skips, at)
    return Chunk(messages, skips, file, *rows)


def write_chunk(tx: sa.Connection, home: Home, campaign: Campaign, step: MessageStep, chunk: Chunk, at: int) -> range:
    """Write a chunk. Gives the ids of its messages. ClaimLost: a coupon code of it is somebody else's by now."""
    before = _last_ids(tx)
    first = before["message"] + 1
    if chunk.file is not None:
        chunk.message_rows.insert(tx, id=first, body_file=home.lake.register(tx, chunk.file))
        _write_codes(tx, step, chunk.messages, first, at)
        _hold_templates(tx, chunk.messages, at)
    chunk.skip_rows.insert(tx)
    _after(tx, before, chunk)
    return range(first, first + chunk.messages.height)


def _message_rows(
    campaign: Campaign, step: MessageStep, messages: pl.DataFrame, at: int, author: str | None
) -> Ready:  # fmt: skip
    held, planned = MessageState.held.value, MessageState.planned.value
    uids = [
        message_uid(campaign.name, contact, key, occurrence, step_name, str(visit))
        for contact, key, occurrence, step_name, visit in messages.select(_KEY).iter_rows()
    ]
    rows = messages.select(
        pl.Series("uid", uids, pl.Int64),
        pl.Series("share", [zlib.crc32(phone.encode()) for phone in messages.get_column("phone")], pl.Int64),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("body_row"),
        *_WRITTEN,
        campaign=pl.lit(campaign.name),
        version=pl.lit(campaign.version),
        sender=pl.lit(campaign.sender),
        kind=pl.lit(step.message.kind),
        author=pl.lit(author, pl.String),
        state=pl.when(pl.col("held_why").is_null()).then(pl.lit(planned)).otherwise(pl.lit(held)),
        planned_at=pl.lit(at),
        price_source=pl.when(pl.col("price").is_not_null()).then(pl.lit(ESTIMATE)),
    )
    return ready("message", rows, first="id", later=("body_file",), if_new=True)


def _skip_rows(campaign: Campaign, skips: pl.DataFrame, at: int) -> Ready:
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
    return ready("skip", rows, if_new=True)


def _write_codes(tx: sa.Connection, step: MessageStep, messages: pl.DataFrame, first_id: int, at: int) -> None:
    message = step.message
    if isinstance(message, TemplateMessage) and message.coupons is not None:
        claim(tx, coupon_rows(messages, first_id), message.coupons.tag, at)
    links = link_rows(messages, first_id)
    if links:
        tx.exec_driver_sql("INSERT INTO link (code, message_id, button, url) VALUES (?, ?, ?, ?)", links)


def _hold_templates(tx: sa.Connection, messages: pl.DataFrame, at: int) -> None:
    unapproved = pl.col("held_why") == SkipReason.template_not_approved
    for name, language in messages.filter(unapproved).select("template", "language").unique().iter_rows():
        tx.exec_driver_sql(
            "INSERT INTO template_hold (name, language, status, changed_at) VALUES (?, ?, 'PAUSED', ?)"
            " ON CONFLICT DO NOTHING",
            (name, language, at),
        )


def _after(tx: sa.Connection, before: dict[str, int], chunk: Chunk) -> None:
    """Put who got a message to waiting, and say which exported buckets changed (a chunk spans two at most)."""
    ids = [i for i in chunk.messages.get_column("participant_id").to_list() if i]
    if ids:
        tx.exec_driver_sql(_WAITING, (msgspec.json.encode(ids).decode(),))
    for name, last in _last_ids(tx).items():
        if last > before[name]:
            mark_dirty(tx, name, [before[name] + 1, last])
    mark_dirty(tx, "participant", [*ids, *(i for i in chunk.skips.get_column("participant_id").to_list() if i)])


def _last_ids(tx: sa.Connection) -> dict[str, int]:
    """The last ids given, before anything is written."""
    return {
        name: int(tx.exec_driver_sql(f"SELECT COALESCE(max(id), 0) FROM {name}").scalar_one())
        for name in ("message", "skip")
    }
