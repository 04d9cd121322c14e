"""Plan: everyone who stands at a message step gets a message, or a skip with its reason.

What belongs here: finding who has arrived, and writing messages, bodies and skips. What a body looks like is
`rendering`, who may not be messaged `refusals`, what waits `holding`. A message is keyed by (participant, step, visit):
planning twice plans nothing new. 5,000 people a transaction.
"""

import zlib
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import to_us
from journey.steps import MessageStep
from journey.words import MessageState, ParticipantState, SkipReason
from pipelines.rendering import ARRIVED, rendered_for
from pipelines.standing import DUE, due
from resources.home import Home
from resources.ledger import Lease, chunks, mark_dirty
from resources.outbox import message_uid

ARRIVED_SQL = f"""
SELECT p.id, p.contact_id, p.step, p.visit, p.key, p.occurrence, p.priority, p.attributes, p.not_after
FROM participant p
WHERE {DUE}
  AND NOT EXISTS (SELECT 1 FROM message m WHERE m.participant_id = p.id AND m.step = p.step AND m.visit = p.visit)
  AND NOT EXISTS (SELECT 1 FROM skip s WHERE s.participant_id = p.id AND s.step = p.step AND s.visit = p.visit)
"""


def plan(home: Home, lease: Lease, now: datetime) -> int:
    """Plan a message, or a skip, for everyone who has arrived at a message step. Gives how many people."""
    planned = 0
    for campaign in home.project.live_campaigns().values():
        steps = campaign.message_steps()
        for one in due(home, campaign, to_us(now), steps):
            group, step = home.ledger.frame(ARRIVED_SQL, ARRIVED, one.params()), steps[one.step]
            if group.height:
                _write(home, lease, campaign, step, rendered_for(home, campaign, step, group, now), now)
                planned += group.height
    return planned


def _write(
    home: Home, lease: Lease, campaign: Campaign, step: MessageStep, rendered: pl.DataFrame, now: datetime
) -> None:
    at = to_us(now)
    expires = at + step.message.expires // timedelta(microseconds=1)
    for part in chunks(rendered.height):
        chunk = rendered[part]
        late = (pl.col("not_after") < at).fill_null(False) & pl.col("skip_reason").is_null()
        chunk = chunk.with_columns(
            skip_reason=pl.when(late).then(pl.lit(SkipReason.too_late.value)).otherwise("skip_reason"),
            skip_detail=pl.when(late).then(pl.lit("after the entry's not_after")).otherwise("skip_detail"),
        )
        messages = chunk.filter(pl.col("skip_reason").is_null())
        skips = chunk.filter(pl.col("skip_reason").is_not_null())
        file = home.bodies.put(messages) if messages.height else None
        with home.ledger.write(lease) as tx:
            before = _last_ids(tx)
            if file is not None:
                body_file = home.lake.register(tx, file)
                tx.exec_driver_sql(
                    "INSERT INTO message (uid, participant_id, campaign, version, step, visit, contact_id, phone,"
                    " sender, share, kind, template, language, category, priority, state, held_why, due_at, expires_at,"
                    " planned_at, body_file, body_row)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'template', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT DO NOTHING",
                    [
                        (
                            _uid(campaign, r),
                            r["participant_id"], campaign.name, campaign.version, r["step"], r["visit"],
                            r["contact_id"], r["phone"], campaign.sender, zlib.crc32(r["phone"].encode()),
                            r["template"], r["language"], r["category"], r["priority"],
                            (MessageState.held if r["held_why"] else MessageState.planned).value, r["held_why"],
                            at, _bounded(expires, r["not_after"]), at, body_file, place,
                        )
                        for place, r in enumerate(messages.iter_rows(named=True))
                    ],
                )  # fmt: skip
                held = messages.filter(pl.col("held_why") == SkipReason.template_not_approved.value)
                held = held.select("template", "language").unique()
                for name, language in held.iter_rows():
                    tx.exec_driver_sql(
                        "INSERT INTO template_hold (name, language, status, changed_at) VALUES (?, ?, 'PAUSED', ?)"
                        " ON CONFLICT DO NOTHING",
                        (name, language, at),
                    )
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
            _after(tx, before, messages, skips)


def _uid(campaign: Campaign, row: dict[str, Any]) -> int:
    return message_uid(campaign.name, row["contact_id"], row["key"], row["occurrence"], row["step"], str(row["visit"]))


def _bounded(expires: int, not_after: int | None) -> int:
    return expires if not_after is None else min(expires, not_after)


def _after(tx: sa.Connection, before: dict[str, int], messages: pl.DataFrame, skips: pl.DataFrame) -> None:
    """Put who got a message to waiting, and say which exported buckets changed (a chunk spans two at most)."""
    ids = messages.get_column("participant_id").to_list()
    if ids:
        tx.exec_driver_sql(
            "UPDATE participant SET state = ?, wake_at = NULL WHERE id = ? AND left_at IS NULL",
            [(ParticipantState.waiting.value, i) for i in ids],
        )
    for name, last in _last_ids(tx).items():
        if last > before[name]:
            mark_dirty(tx, name, [before[name] + 1, last])
    mark_dirty(tx, "participant", [*ids, *skips.get_column("participant_id").to_list()])


def _last_ids(tx: sa.Connection) -> dict[str, int]:
    return {
        name: int(tx.exec_driver_sql(f"SELECT COALESCE(max(id), 0) FROM {name}").scalar_one())
        for name in ("message", "skip")
    }
