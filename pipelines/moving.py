"""Moving: writing who goes from which step to which, and who stays and waits.

What belongs here: the transactions of moves and waits, with everything that belongs to a move: its row in
`participant_steps`, the visit that it begins, what an `update` step does to the contact, and which events have met
somebody who arrives at a `wait_for`. Who moves is `journey.cohort`. 5,000 people a transaction.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import to_us
from journey.contact_update import Values, fit, updated
from journey.loops import in_loops
from journey.properties import PropertyType
from journey.steps import MessageStep, UpdateStep
from journey.words import END, LeaveReason, ParticipantState
from pipelines.signals import met_on_arrival, write_met
from pipelines.standing import COPY, DUE, Due
from resources.ahead import ahead
from resources.home import Home
from resources.lake import LakeFile
from resources.leaving import leave
from resources.ledger import BULK, Lease, mark_dirty, select_in

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

_VISITS_SQL = f"""
SELECT p.id, m.step, max(m.visit) FROM participant p
CROSS JOIN message m ON m.participant_id = p.id AND m.step IN (SELECT value FROM json_each(:steps))
WHERE {DUE} GROUP BY 1, 2
UNION ALL
SELECT p.id, s.step, max(s.visit) FROM participant p
CROSS JOIN skip s ON s.participant_id = p.id AND s.step IN (SELECT value FROM json_each(:steps))
WHERE {DUE} GROUP BY 1, 2
UNION ALL
SELECT p.id, v.step, v.visits FROM participant p
CROSS JOIN visited v ON v.participant_id = p.id AND v.step IN (SELECT value FROM json_each(:steps))
WHERE {DUE}
UNION ALL
SELECT p.id, t.step, max(t.visit) FROM participant p
CROSS JOIN met t ON t.participant_id = p.id AND t.step IN (SELECT value FROM json_each(:steps))
WHERE {DUE} GROUP BY 1, 2
UNION ALL
SELECT p.id, p.step, p.visit FROM participant p WHERE {DUE} AND p.step IN (SELECT value FROM json_each(:steps))
"""
_GO = """
UPDATE participant SET step = ?, visit = ?, version = ?, state = ?, arrived_at = ?, wake_at = ?,
not_after = CASE WHEN ? THEN NULL ELSE not_after END
WHERE left_at IS NULL AND id IN (SELECT value FROM json_each(?))
"""
_LEAVE = """
UPDATE participant SET state = ?, left_at = ?, reason = ?, wake_at = NULL WHERE id = ? AND left_at IS NULL
"""
_VISITED = """
INSERT INTO visited (participant_id, step, visits) VALUES (?, ?, ?)
ON CONFLICT (participant_id, step) DO UPDATE SET visits = max(visits, excluded.visits)
"""
# Lanes settle messages meanwhile and wake their people: whoever's message is not what it was is looked at again.
_WAIT_WITH_MESSAGE = f"""
UPDATE participant SET wake_at = ?, state = 'waiting' WHERE id = ? AND left_at IS NULL
AND ? = ({COPY.format(column="c.state", p="participant")})
"""
_WAIT = "UPDATE participant SET wake_at = ?, state = 'waiting' WHERE id = ? AND left_at IS NULL"


@dataclass(frozen=True, slots=True)
class Updates:
    """What an `update` step makes of contacts: those that change, whole, and every property's type after it."""

    contacts: pl.DataFrame
    types: dict[str, PropertyType]

    def put(self, home: Home, contact_ids: pl.Series) -> LakeFile | None:
        """The changes of some of them as a file of the lake, if there are any."""
        return home.contacts.put(self.contacts.filter(pl.col("contact_id").is_in(contact_ids.implode())), self.types)


def write_moves(home: Home, lease: Lease, one: Due, moves: pl.DataFrame, now: datetime) -> None:
    """Write moves (`with_visits`) of people due at one step."""
    step = one.campaign.steps.get(one.step)
    updates = _updates(home, one, step, moves) if isinstance(step, UpdateStep) else None
    remember = step is not None and not isinstance(step, MessageStep) and one.step in in_loops(one.campaign)
    steps = moves.iter_slices(BULK)
    files = ahead(
        lambda some: home.lake.put("participant_steps", _steps(some, one.campaign, now), at="moved_at"), steps
    )
    for part, file in zip(home.ledger.chunks(moves.height), files, strict=True):
        chunk = moves[part]
        delta = updates.put(home, chunk.get_column("contact_id")) if updates is not None else None
        met = _met(home, one.campaign, chunk, now)
        with home.ledger.write(lease) as tx:
            home.lake.register(tx, file)
            if updates is not None and delta is not None:
                home.contacts.settle(tx, updates.types)
                home.lake.register(tx, delta)
            _move(tx, one.campaign, chunk, to_us(now))
            write_met(tx, met)
            if remember:
                _many(tx, _VISITED, chunk.select("participant_id", "from_step", "from_visit").rows())
            mark_dirty(tx, "participant", chunk.get_column("participant_id").to_list())
    if updates is not None and updates.contacts.height:
        home.contacts.fold(lease)


def _met(home: Home, campaign: Campaign, chunk: pl.DataFrame, now: datetime) -> list[tuple[Any, ...]]:
    """Which events have met those who arrive at a `wait_for`. One that had met them before is not met again: it may
    have brought them here, at the very time that it occurred."""
    found = met_on_arrival(home, campaign, chunk, now)
    if not found:
        return []
    with home.ledger.read() as tx:
        ids = sorted({row[0] for row in found})
        rows = select_in(tx, "SELECT participant_id, event_id FROM met WHERE participant_id IN :ids", ids)
    before = {(row.participant_id, row.event_id) for row in rows}
    return [row for row in found if (row[0], row[4]) not in before]


def write_waits(home: Home, lease: Lease, waits: pl.DataFrame) -> None:
    """Write who waits for what (`cohort.WAITS`)."""
    for part in home.ledger.chunks(waits.height):
        rows = waits[part].select("wake_at", "participant_id", "message_state").rows()
        with home.ledger.write(lease) as tx:
            _many(tx, _WAIT_WITH_MESSAGE, [row for row in rows if row[2] is not None])
            _many(tx, _WAIT, [row[:2] for row in rows if row[2] is None])
            mark_dirty(tx, "participant", [row[1] for row in rows])


def _move(tx: sa.Connection, campaign: Campaign, chunk: pl.DataFrame, at: int) -> None:
    leaving = chunk.filter(pl.col("to_step") == END)
    removed = pl.col("reason") == LeaveReason.step_removed
    # Nothing follows a step that is no more: what was planned at it is taken back.
    leave(tx, leaving.filter(removed).get_column("participant_id").to_list(), LeaveReason.step_removed, at)
    ended = ParticipantState.ended.value
    _many(
        tx,
        _LEAVE,
        [(ended, at, reason, i) for i, reason in leaving.filter(~removed).select("participant_id", "reason").rows()],
    )
    going = chunk.filter(pl.col("to_step") != END).select("participant_id", "to_step", "visit", "waited")
    active = ParticipantState.active.value
    for (to, visit, waited), group in going.partition_by("to_step", "visit", "waited", as_dict=True).items():
        ids = msgspec.json.encode(group.get_column("participant_id").to_list()).decode()
        tx.exec_driver_sql(_GO, (to, visit, campaign.version, active, at, at, waited, ids))


def _steps(chunk: pl.DataFrame, campaign: Campaign, now: datetime) -> pl.DataFrame:
    return chunk.with_columns(campaign=pl.lit(campaign.name), moved_at=pl.lit(now, STEPS["moved_at"])).select(
        pl.col(name).cast(dtype) for name, dtype in STEPS.items()
    )


def with_visits(home: Home, one: Due, moves: pl.DataFrame) -> pl.DataFrame:
    """`moves` (`cohort.MOVES`) with the visit that each begins: 1, or one more than the last where a loop, or a file
    that has changed, leads back to a step."""
    targets = [step for step in moves.get_column("to_step").unique().to_list() if step != END]
    if not targets:
        return moves.with_columns(visit=pl.lit(1, pl.Int64))
    columns = {"participant_id": pl.Int64, "to_step": pl.String, "visit": pl.Int64}
    params = {**one.params(), "steps": json.dumps(targets)}
    known = home.ledger.frame(_VISITS_SQL, columns, params).group_by("participant_id", "to_step").agg(pl.max("visit"))
    return moves.join(known, on=["participant_id", "to_step"], how="left", maintain_order="left").with_columns(
        visit=(pl.col("visit").fill_null(0) + 1).cast(pl.Int64)
    )


def _updates(home: Home, one: Due, step: UpdateStep, moves: pl.DataFrame) -> Updates:
    """What the step makes of the contacts of these moves; who is no contact any more has nothing to change."""
    settings = home.project.settings
    types = home.contacts.types()
    values: Values | None = None
    if step.set:
        values = fit(step.set, types, settings.properties, ZoneInfo(settings.timezone))
        types = dict(values.types)
        for why in values.unfit:
            home.say(f"{one.campaign.file}: the step `{one.step}` leaves a property as it is: {why}")
    known = home.contacts.frame(ids=moves.get_column("contact_id"))
    return Updates(updated(known, values, step.add_tags, step.remove_tags), types)


def _many(tx: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        tx.exec_driver_sql(statement, list(rows))
