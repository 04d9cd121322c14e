"""Advance: who is due moves on, as sets, until nothing moves.

What belongs here: reading where the people due stand, and writing their moves. Which way each of them goes is
`journey.cohort`. A move and its row in `participant_steps` are one transaction; 5,000 people a transaction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import to_us
from journey.cohort import STANDING, decide
from journey.words import END, Branch, ParticipantState
from resources.home import Home
from resources.ledger import US, Lease, chunks, mark_dirty, select_in
from resources.outbox import send_again
from resources.statuses import wake

UNKNOWN_WALL = 60
"""Seconds (wall) that a message stays unknown at least, however the clock is turned: its status may be on the way."""

WAITED = [Branch.read, Branch.not_read, Branch.undelivered]
"""Branches that come after a wait: `not_after` bounds only what is reached without one."""

STEPS: dict[str, pl.DataType] = {
    "participant_id": pl.Int64(),
    "campaign": pl.String(),
    "contact_id": pl.String(),
    "from_step": pl.String(),
    "branch": pl.String(),
    "to_step": pl.String(),
    "visit": pl.Int64(),
    "moved_at": pl.Datetime("us", "UTC"),
}

_STANDING_SQL = """
SELECT p.id, p.contact_id, p.step, p.visit, m.state, COALESCE(m.attempted_wall <= :wall, 1), s.reason,
  m.attempted_at, m.accepted_at, m.delivered_at, m.read_at
FROM participant p
LEFT JOIN message m ON m.participant_id = p.id AND m.step = p.step AND m.visit = p.visit
  AND m.copy = (SELECT max(c.copy) FROM message c
                WHERE c.participant_id = p.id AND c.step = p.step AND c.visit = p.visit)
LEFT JOIN skip s ON s.participant_id = p.id AND s.step = p.step AND s.visit = p.visit
WHERE p.left_at IS NULL AND p.wake_at <= :now AND p.campaign = :campaign
"""
_UNKNOWN_SQL = """
SELECT m.id
FROM message m
JOIN participant p ON p.id = m.participant_id AND p.step = m.step AND p.visit = m.visit AND p.left_at IS NULL
WHERE m.state IN ('attempted', 'unknown') AND m.state = 'unknown' AND m.campaign = ?
  AND m.attempted_at <= ? AND m.attempted_wall <= ?
  AND NOT EXISTS (SELECT 1 FROM message c WHERE c.participant_id = m.participant_id AND c.step = m.step
                  AND c.visit = m.visit AND c.copy > m.copy)
"""
_VISITS_SQL = """
SELECT id, step, max(visit) FROM (
  SELECT p.id, m.step, m.visit FROM participant p JOIN message m ON m.participant_id = p.id
  WHERE p.left_at IS NULL AND p.wake_at <= :now AND p.campaign = :campaign
  UNION ALL
  SELECT p.id, s.step, s.visit FROM participant p JOIN skip s ON s.participant_id = p.id
  WHERE p.left_at IS NULL AND p.wake_at <= :now AND p.campaign = :campaign
) GROUP BY id, step
"""
# Lanes settle messages meanwhile and wake their people: whoever's message is not what it was is looked at again.
_WAIT_SQL = """
UPDATE participant SET wake_at = ?, state = 'waiting' WHERE id = ? AND left_at IS NULL AND ? = (
  SELECT m.state FROM message m WHERE m.participant_id = participant.id AND m.step = participant.step
  AND m.visit = participant.visit ORDER BY m.copy DESC LIMIT 1)
"""


def advance(home: Home, lease: Lease, now: datetime) -> int:
    """Move everyone due, once round. Gives how many moved; call it again until nobody does."""
    moved = 0
    for campaign in _due_campaigns(home, now):
        params = {
            "now": to_us(now),
            "wall": int((home.ledger.wall() - UNKNOWN_WALL) * US),
            "campaign": campaign.name,
        }
        standing = home.ledger.frame(_STANDING_SQL, STANDING, params)
        moves, waits = decide(campaign, standing, to_us(now))
        _write_waits(home, lease, waits)
        if moves.height:
            _write_moves(home, lease, campaign, _visits(home, moves, params), now)
        moved += moves.height
    return moved


def settle_unknown(home: Home, lease: Lease, now: datetime) -> int:
    """Messages that stayed unknown as long as their campaign waits: failed, or sent again as a copy of their own."""
    settled = 0
    for campaign in home.project.live_campaigns().values():
        rule = campaign.settings.when_unknown
        if rule.then == "assume_sent":  # the participant goes on; the message stays what it is
            continue
        over = to_us(now) - rule.after // timedelta(microseconds=1)
        wall = int((home.ledger.wall() - UNKNOWN_WALL) * US)
        found = home.ledger.frame(_UNKNOWN_SQL, {"id": pl.Int64}, (campaign.name, over, wall)).to_series()
        for part in chunks(found.len()):
            settled += _settle(home, lease, rule.then, found[part].to_list(), now)
    return settled


def _settle(home: Home, lease: Lease, then: str, found: list[int], now: datetime) -> int:
    with home.ledger.write(lease) as tx:  # one of which news came meanwhile is no longer unknown
        rows = select_in(tx, "SELECT id FROM message WHERE state = 'unknown' AND id IN :ids", found)
        ids = [int(row.id) for row in rows]
        if ids:
            if then == "fail":
                tx.exec_driver_sql(
                    "UPDATE message SET state = 'failed', failed_at = ?, error_title = 'no answer, taken as failed'"
                    " WHERE id = ?",
                    [(to_us(now), i) for i in ids],
                )
            else:
                send_again(tx, ids, to_us(now))
            wake(tx, ids, to_us(now))
            mark_dirty(tx, "message", ids)
    return len(ids)


def _due_campaigns(home: Home, now: datetime) -> list[Campaign]:
    due = "SELECT 1 FROM participant WHERE left_at IS NULL AND campaign = ? AND wake_at <= ? LIMIT 1"
    with home.ledger.read() as tx:
        return [
            campaign
            for name, campaign in home.project.live_campaigns().items()
            if tx.exec_driver_sql(due, (name, to_us(now))).one_or_none() is not None
        ]


def _visits(home: Home, moves: pl.DataFrame, params: dict[str, object]) -> pl.DataFrame:
    """The visit that each move begins: 1, or one more than the last where a loop, or a file that has changed, leads
    back to a step."""
    going = moves.filter(pl.col("to_step") != END)
    if going.is_empty():
        return moves.with_columns(visit=pl.lit(1, pl.Int64))
    known = home.ledger.frame(
        _VISITS_SQL, {"participant_id": pl.Int64, "to_step": pl.String, "visit": pl.Int64}, params
    )
    return moves.join(known, on=["participant_id", "to_step"], how="left", maintain_order="left").with_columns(
        visit=(pl.col("visit").fill_null(0) + 1).cast(pl.Int64)
    )


def _write_moves(home: Home, lease: Lease, campaign: Campaign, moves: pl.DataFrame, now: datetime) -> None:
    at = to_us(now)
    for part in chunks(moves.height):
        chunk = moves[part]
        steps = chunk.with_columns(campaign=pl.lit(campaign.name), moved_at=pl.lit(now, STEPS["moved_at"]))
        file = home.lake.put("participant_steps", steps.select(list(STEPS)), at="moved_at")
        leaving = chunk.filter(pl.col("to_step") == END)
        going = chunk.filter(pl.col("to_step") != END)
        waited = pl.col("branch").is_in(WAITED)
        with home.ledger.write(lease) as tx:
            home.lake.register(tx, file)
            _many(
                tx,
                "UPDATE participant SET state = 'ended', left_at = ?, reason = ?, wake_at = NULL WHERE id = ?"
                " AND left_at IS NULL",
                [(at, reason, i) for i, reason in leaving.select("participant_id", "reason").iter_rows()],
            )
            _many(
                tx,
                "UPDATE participant SET step = ?, visit = ?, version = ?, state = ?, arrived_at = ?, wake_at = ?,"
                " not_after = CASE WHEN ? THEN NULL ELSE not_after END WHERE id = ? AND left_at IS NULL",
                [
                    (to_step, visit, campaign.version, ParticipantState.active.value, at, at, through, i)
                    for i, to_step, visit, through in going.select(
                        "participant_id", "to_step", "visit", waited.alias("waited")
                    ).iter_rows()
                ],
            )
            mark_dirty(tx, "participant", chunk.get_column("participant_id").to_list())


def _write_waits(home: Home, lease: Lease, waits: pl.DataFrame) -> None:
    for part in chunks(waits.height):
        rows = list(waits[part].select("wake_at", "participant_id", "message_state").iter_rows())
        with home.ledger.write(lease) as tx:
            _many(tx, _WAIT_SQL, rows)
            mark_dirty(tx, "participant", [i for _, i, _ in rows])


def _many(tx: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        tx.exec_driver_sql(statement, list(rows))
