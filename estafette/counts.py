"""What the ledger says now: messages by state, skips by reason, what is held and why, the funnel of an occurrence.

What belongs here: reading, fresh, for `status`, `run`, `tick` and the demo. Analysts have `data/analytics.duckdb`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from journey.codes import explain
from journey.reasons import held as held_text
from journey.words import EntryOutcome, ParticipantState
from resources.home import Home
from resources.ledger import select_in
from resources.tables import message, occurrence, participant, skip

WAITING = "m.state IN ('planned', 'held')"

#: Why a message that waits is not sent now, the first that holds.
_HELD_SQL = f"""
SELECT m.campaign,
    CASE
        WHEN c.stopped_at IS NOT NULL THEN 'the campaign is stopped: ' || COALESCE(c.stopped_why, '')
        WHEN s.stopped_at IS NOT NULL THEN 'the sender ' || m.sender || ' is stopped: ' || COALESCE(s.stopped_why, '')
        WHEN h.name IS NOT NULL THEN 'the template ' || m.template || ' (' || m.language || ') is ' || h.status
        WHEN m.held_why = 'template_not_approved'
            THEN 'the template ' || m.template || ' (' || m.language || ') is not approved'
        WHEN m.held_why IS NOT NULL THEN m.held_why
        WHEN s.paused_at IS NOT NULL AND m.priority > 0 THEN 'bulk of ' || m.sender || ' rests: ' || s.paused_why
        WHEN m.due_at > :now THEN 'its time is not there yet'
        WHEN m.tries > 0 THEN 'it is tried again: ' || COALESCE(m.error_code || ' ' || m.error_title, '')
        ELSE 'it is next to be sent'
    END AS why,
    count(*) AS messages, min(m.expires_at) AS expires_at,
    CASE WHEN m.held_why = 'silent_hours' OR m.due_at > :now THEN min(m.due_at) END AS due_at
FROM message m
LEFT JOIN campaign c ON c.name = m.campaign
LEFT JOIN sender s ON s.name = m.sender
LEFT JOIN template_hold h ON h.name = m.template AND h.language = m.language
JOIN participant p ON p.id = m.participant_id
WHERE {WAITING} AND (:campaign IS NULL OR m.campaign = :campaign)
    AND (:occurrence IS NULL OR p.occurrence = :occurrence)
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
"""


@dataclass(frozen=True, slots=True)
class Held:
    """Messages that wait, and why; `expires_at`: when the first of them is given up, `due_at`: when the first may go
    out, where that is known (microseconds)."""

    campaign: str
    why: str
    messages: int
    expires_at: int
    due_at: int | None


@dataclass
class Snapshot:
    """Totals of one moment; the difference of two says what a pass did."""

    participants: int = 0
    inside: int = 0
    messages: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    skips: dict[str, int] = field(default_factory=dict)
    files: int = 0
    replies: int = 0
    quarantined: int = 0

    @property
    def planned(self) -> int:
        """All messages that were ever planned."""
        return sum(self.messages.values())


def snapshot(home: Home) -> Snapshot:
    """The totals now."""
    with home.ledger.read() as tx:
        one = tx.exec_driver_sql(
            "SELECT (SELECT count(*) FROM participant), (SELECT count(*) FROM participant WHERE left_at IS NULL),"
            " (SELECT count(*) FROM message WHERE accepted_at IS NOT NULL), (SELECT count(*) FROM landing_file),"
            " (SELECT count(*) FROM reply), (SELECT count(*) FROM quarantine)"
        ).one()
        states = tx.exec_driver_sql("SELECT state, count(*) FROM message GROUP BY state").all()
        skips = tx.exec_driver_sql("SELECT reason, count(*) FROM skip GROUP BY reason").all()
    return Snapshot(one[0], one[1], _dict(states), one[2], _dict(skips), one[3], one[4], one[5])


def held(home: Home, campaign: str | None = None, name: str | None = None) -> list[Held]:
    """What waits and why: of one campaign, of one occurrence, or of all."""
    values = {"now": to_us(home.clock()), "campaign": campaign, "occurrence": name}
    with home.ledger.read() as tx:
        return [Held(*row) for row in tx.execute(sa.text(_HELD_SQL), values).all()]


def by(tx: sa.Connection, column: sa.Column[Any], *where: sa.ColumnElement[bool]) -> dict[str, int]:
    """Rows by the values of one column, the most frequent first."""
    number = sa.func.count().label("number")
    rows = tx.execute(sa.select(column, number).where(*where).group_by(column).order_by(number.desc(), column)).all()
    return {str(value): int(count) for value, count in rows if value is not None}


def occurrence_funnel(home: Home, campaign: str, ids: Sequence[int]) -> dict[str, Any]:
    """What became of the people of some occurrences of one campaign, so far."""
    with home.ledger.read() as tx:
        rows = tx.execute(sa.select(occurrence).where(occurrence.c.id.in_(ids)).order_by(occurrence.c.id)).all()
        names = [row.name for row in rows]
        people = sa.select(participant.c.id).where(
            participant.c.campaign == campaign,
            participant.c.occurrence.in_(names),
            participant.c.state != ParticipantState.control,
        )
        mine = message.c.participant_id.in_(people)
        entered = tx.execute(sa.select(sa.func.count()).select_from(people.subquery())).scalar_one()
        states = by(tx, message.c.state, mine)
        skips = by(tx, skip.c.reason, skip.c.participant_id.in_(people))
        failed = by(tx, message.c.error_code, mine, message.c.state == "failed")
        accepted = tx.execute(
            sa.select(sa.func.count()).select_from(message).where(mine, message.c.accepted_at.is_not(None))
        ).scalar_one()
    waits = [one for name in names for one in held(home, campaign, name)]
    return {
        "campaign": campaign,
        "occurrences": names,
        "audience": sum(row.rows for row in rows),
        "left_out": sum(row.left_out for row in rows),
        "entered": entered,
        "refused": refused(home, campaign, names),
        "planned": sum(states.values()),
        "skipped": skips,
        "accepted": accepted,
        "failed": {f"{code} {explain(int(code)).title}": number for code, number in failed.items()},
        "unknown": states.get("unknown", 0),
        "held": {held_text(one.why): one.messages for one in waits},
        "states": states,
    }


def refused(home: Home, campaign: str, names: Sequence[str]) -> dict[str, int]:
    """Those of an audience who did not enter, by outcome."""
    if not home.lake.files("entries"):
        return {}
    rows = (
        home.lake.scan("entries")
        .filter(pl.col("campaign") == campaign, pl.col("occurrence").is_in(list(names)))
        .filter(pl.col("outcome") != EntryOutcome.entered)
        .group_by("outcome")
        .len()
        .sort("len", descending=True)
        .collect()
    )
    return {str(outcome): int(number) for outcome, number in rows.iter_rows()}


def settled(home: Home, campaign: str, ids: Sequence[int]) -> tuple[int, int]:
    """(people whose first message is settled, people entered) of some occurrences: for the progress bar."""
    with home.ledger.read() as tx:
        names = [row.name for row in select_in(tx, "SELECT name FROM occurrence WHERE id IN :ids", list(ids))]
        done = most = 0
        for name in names:
            row = tx.exec_driver_sql(
                "SELECT count(*), sum(EXISTS (SELECT 1 FROM message m WHERE m.participant_id = p.id"
                " AND m.state NOT IN ('planned', 'held', 'attempted')) OR EXISTS (SELECT 1 FROM skip s"
                " WHERE s.participant_id = p.id)) FROM participant p WHERE p.campaign = ? AND p.occurrence = ?"
                " AND p.state <> 'control'",
                (campaign, name),
            ).one()
            most, done = most + int(row[0]), done + int(row[1] or 0)
    return done, most


def _dict(rows: Sequence[Any]) -> dict[str, int]:
    return {str(name): int(number) for name, number in rows}
