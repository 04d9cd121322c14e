"""Plan: everyone who stands at a message step gets a message, or a skip with its reason.

What belongs here: finding who has arrived, and writing messages, bodies, codes and skips. What a body looks like is
`rendering`, who may not be messaged `refusals` and `limits`, when it may go out `silence`, which codes are in it
`codes`, what waits `holding`. A message is keyed by (participant, step, visit): planning twice plans nothing new. 5,000
people a transaction.
"""

import zlib
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import civil_time, to_us
from journey.pricing import ESTIMATE, prices
from journey.steps import MessageStep, TemplateMessage
from journey.words import Held, MessageState, ParticipantState, SkipReason
from pipelines.codes import coupon_rows, link_rows, with_codes
from pipelines.limits import limited
from pipelines.rendering import ARRIVED, rendered_for
from pipelines.silence import expiry, rule_of, times_of
from pipelines.standing import DUE, due
from resources.coupons import ClaimLost, claim
from resources.home import Home
from resources.leaving import cancel_of_left
from resources.ledger import Lease, chunks, mark_dirty
from resources.outbox import message_uid

ARRIVED_SQL = f"""
SELECT p.id, p.contact_id, p.step, p.visit, p.key, p.occurrence, p.priority, p.attributes, p.not_after
FROM participant p
WHERE {DUE}
  AND NOT EXISTS (SELECT 1 FROM message m WHERE m.participant_id = p.id AND m.step = p.step AND m.visit = p.visit)
  AND NOT EXISTS (SELECT 1 FROM skip s WHERE s.participant_id = p.id AND s.step = p.step AND s.visit = p.visit)
ORDER BY p.priority, p.id
"""
_COLUMNS = (
    "id, uid, participant_id, campaign, version, step, visit, contact_id, phone, sender, share, kind, template,"
    " language, category, priority, state, held_why, due_at, expires_at, planned_at, body_file, body_row, quiet_at,"
    " window_until, counted, coupon_id, market, price, currency, price_source"
)
_WRITTEN = [
    "participant_id", "contact_id", "key", "occurrence", "step", "visit", "phone", "template", "language", "category",
    "priority", "held_why", "due_at", "expires_at", "quiet_at", "window_until", "counted", "coupon_id", "market",
    "price", "currency",
]  # fmt: skip
_INSERT = (
    f"INSERT INTO message ({_COLUMNS}) VALUES ({', '.join('?' * len(_COLUMNS.split(',')))}) ON CONFLICT DO NOTHING"
)


def plan(home: Home, lease: Lease, now: datetime) -> int:
    """Plan a message, or a skip, for everyone who has arrived at a message step. Gives how many people."""
    planned = 0
    for campaign in home.project.live_campaigns().values():
        steps = campaign.message_steps()
        for one in due(home, campaign, to_us(now), steps):
            group, step = home.ledger.frame(ARRIVED_SQL, ARRIVED, one.params()), steps[one.step]
            if group.height:
                people = rendered_for(home, campaign, step, group, now)
                people = _timed(home, campaign, step, _in_time(limited(home, campaign, step, people, now), now), now)
                for part in chunks(people.height):
                    _write(home, lease, campaign, step, people[part], now)
                planned += group.height
    return planned


def _in_time(people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Who has come too late for the entry's `not_after` gets no message."""
    late = (pl.col("not_after") < to_us(now)).fill_null(False) & pl.col("skip_reason").is_null()
    return people.with_columns(
        skip_reason=pl.when(late).then(pl.lit(SkipReason.too_late.value)).otherwise("skip_reason"),
        skip_detail=pl.when(late).then(pl.lit("after the entry's not_after")).otherwise("skip_detail"),
    )


def _timed(home: Home, campaign: Campaign, step: MessageStep, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """When each message may go out, whether it is held until then, how long it waits, and what it is likely to cost."""
    at = to_us(now)
    people = people.with_columns(moment=pl.lit(at, pl.Int64))
    going = people.filter(pl.col("skip_reason").is_null()).select("participant_id", "contact_id", "timezone", "moment")
    times = going.select("participant_id").hstack(times_of(home, rule_of(home, campaign), going, now).get_columns())
    people = people.join(times, on="participant_id", how="left", maintain_order="left")
    silent = pl.col("held_why").is_null() & (pl.col("due_at") > at)
    expires = pl.lit(at + step.message.expires // timedelta(microseconds=1), pl.Int64)
    day = civil_time(now, ZoneInfo(home.project.settings.timezone)).date()
    wanted = campaign.settings.stop_if.cost_above
    card = home.project.rates
    currency = wanted[1] if wanted is not None and wanted[1] in card.currencies else None
    cost = prices(card, people.get_column("phone"), people.get_column("category"), day, currency)
    return people.with_columns(
        *cost.get_columns(),
        held_why=pl.when(silent).then(pl.lit(Held.silent_hours.value)).otherwise("held_why"),
        expires_at=expiry(expires, pl.col("due_at"), pl.col("moment"), pl.col("not_after")),
    )


def _write(
    home: Home, lease: Lease, campaign: Campaign, step: MessageStep, people: pl.DataFrame, now: datetime
) -> None:
    """Write one chunk. Codes are looked up before its transaction, so that bodies are on disk when it begins, and are
    claimed in it; where somebody else has claimed one meanwhile, all of it is done again."""
    while True:
        with home.ledger.read() as tx:
            chunk = with_codes(tx, step, people, to_us(now))
        messages = chunk.filter(pl.col("skip_reason").is_null())
        skips = chunk.filter(pl.col("skip_reason").is_not_null())
        file = home.bodies.put(messages) if messages.height else None
        try:
            with home.ledger.write(lease) as tx:
                before = _last_ids(tx)
                if file is not None:
                    body_file = home.lake.register(tx, file)
                    _write_messages(tx, campaign, step, messages, before["message"] + 1, body_file, to_us(now))
                _write_skips(tx, campaign, skips, to_us(now))
                _after(tx, before, messages, skips)
                # Who was dropped by hand since they were looked at gets nothing.
                cancel_of_left(tx, range(before["message"] + 1, before["message"] + 1 + messages.height))
        except ClaimLost:
            continue
        return


def _write_messages(
    tx: sa.Connection,
    campaign: Campaign,
    step: MessageStep,
    messages: pl.DataFrame,
    first_id: int,
    body_file: int,
    at: int,
) -> None:
    """The messages with the ids from `first_id` on, and the codes that are theirs."""
    message = step.message
    held, planned = MessageState.held.value, MessageState.planned.value
    name, version, sender = campaign.name, campaign.version, campaign.sender
    rows = [
        (
            first_id + place, message_uid(name, contact, key, occurrence, step_name, str(visit)), participant, name,
            version, step_name, visit, contact, phone, sender, zlib.crc32(phone.encode()), message.kind, template,
            language, category, priority, held if held_why else planned, held_why, due_at, expires_at, at, body_file,
            place, quiet_at, window_until, counted, coupon_id, market, price, currency,
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


def _write_skips(tx: sa.Connection, campaign: Campaign, skips: pl.DataFrame, at: int) -> None:
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
