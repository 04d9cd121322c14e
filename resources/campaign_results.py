"""What campaigns have come to, counted in the analyst database: funnels, moves, skips, failures, answers, goals.

What belongs here: the queries, and their rows as plain values. How they are shown stands with the pages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import duckdb

FUNNEL = ("entered", "planned", "skipped", "accepted", "delivered", "read", "replied", "clicked", "failed", "unknown")
MOST = 100  # rows of a list that may grow without end, as answers in people's own words do

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Lift:
    """One goal, over the control group; rates as parts of 1, None where an arm is empty."""

    goal: str
    treated: int
    treated_reached: int
    control: int
    control_reached: int
    difference: float | None
    low: float | None
    high: float | None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it was given, by how many people; `late`: how many of those came late."""

    step: str | None
    kind: str
    text: str
    people: int
    late: int


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm of an experiment: passages that took it, and how many of them read or answered any message of the
    campaign, or reached a goal."""

    step: str
    arm: str
    passages: int
    read: int
    replied: int
    reached: int


@dataclass(frozen=True, slots=True)
class Results:
    """A campaign's results. `steps`: the funnel of each; `entries`: passages by kind of entry; `here`: people who stand
    at each step; `moves`: by (step, way, next step); `skips`: by (step, reason), `failures`: by (step, code);
    `left`: passages that are over, by reason; `refused`: who met an entry and did not come in, by outcome; `costs`:
    (category, currency, source, messages, price); `daily`: (day, accepted, read, answered), in the order of days."""

    funnel: Counts = field(default_factory=dict)
    steps: Mapping[str, Counts] = field(default_factory=dict)
    entries: Counts = field(default_factory=dict)
    control: int = 0
    here: Counts = field(default_factory=dict)
    moves: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    skips: Mapping[tuple[str, str], int] = field(default_factory=dict)
    failures: Mapping[tuple[str, int | None], int] = field(default_factory=dict)
    left: Counts = field(default_factory=dict)
    refused: Counts = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    lift: tuple[Lift, ...] = ()
    arms: tuple[ArmResult, ...] = ()
    costs: tuple[tuple[str | None, str | None, str | None, int, float | None], ...] = ()
    daily: tuple[tuple[date, int, int, int], ...] = ()


def published_at(con: duckdb.DuckDBPyConnection) -> datetime:
    """Which moment the database shows."""
    row = con.execute("SELECT published_at FROM published").fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def funnels(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """The funnel of every campaign that anybody entered, by name, with `inside`: passages that are not over."""
    found = {
        str(row[0]): dict(zip(FUNNEL, map(int, row[1:]), strict=True))
        for row in con.execute(f"SELECT campaign, {', '.join(FUNNEL)} FROM campaign_funnel").fetchall()
    }
    inside = con.execute("SELECT campaign, count(*) FROM participants WHERE left_at IS NULL GROUP BY 1").fetchall()
    for name, number in inside:
        found.setdefault(str(name), dict.fromkeys(FUNNEL, 0))["inside"] = int(number)
    return found


_ARMS = """
WITH drawn AS (
    SELECT DISTINCT from_step, branch, participant_id FROM participant_steps
    WHERE campaign = $name AND list_contains($steps, from_step)
)
SELECT
    from_step,
    branch,
    count(*),
    count(*) FILTER (WHERE participant_id IN (
        SELECT participant_id FROM messages WHERE campaign = $name AND read_at IS NOT NULL)),
    count(*) FILTER (WHERE participant_id IN (
        SELECT participant_id FROM replies WHERE campaign = $name AND NOT late AND kind <> 'reaction')),
    count(*) FILTER (WHERE participant_id IN (SELECT participant_id FROM goals WHERE campaign = $name))
FROM drawn GROUP BY ALL ORDER BY ALL
"""


def campaign_results(con: duckdb.DuckDBPyConnection, name: str, experiments: Sequence[str] = ()) -> Results:
    """Everything about one campaign; all nothing where nobody has entered. `experiments`: its steps that are such."""

    def rows(query: str) -> list[tuple[Any, ...]]:
        return con.execute(query, [name]).fetchall()

    numbers = ", ".join(FUNNEL)
    whole = rows(f"SELECT {numbers} FROM campaign_funnel WHERE campaign = ?")
    kinds = dict(rows("SELECT entry, count(*) FROM participants WHERE campaign = ? AND state <> 'control' GROUP BY 1"))
    control = rows("SELECT count(*) FROM participants WHERE campaign = ? AND state = 'control'")[0][0]
    values = dict(rows("SELECT goal, sum(value) FROM goals WHERE campaign = ? AND arm <> 'control' GROUP BY 1"))
    return Results(
        funnel=dict(zip(FUNNEL, map(int, whole[0]), strict=True)) if whole else {},
        steps={
            row[0]: dict(zip(FUNNEL, map(int, row[1:]), strict=True))
            for row in rows(f"SELECT step, {numbers} FROM step_funnel WHERE campaign = ?")
        },
        entries=kinds,
        control=control,
        here=dict(
            rows("SELECT step, count(*) FROM participants WHERE campaign = ? AND left_at IS NULL GROUP BY 1 ORDER BY 1")
        ),
        moves={
            (row[0], row[1], row[2]): row[3]
            for row in rows(
                "SELECT from_step, branch, to_step, count(*) FROM participant_steps"
                " WHERE campaign = ? AND from_step IS NOT NULL GROUP BY ALL ORDER BY ALL"
            )
        },
        skips={
            (row[0], row[1]): row[2]
            for row in rows(
                "SELECT step, reason, count(*) FROM skips WHERE campaign = ? GROUP BY ALL ORDER BY 3 DESC, 1, 2"
            )
        },
        failures={
            (row[0], row[1]): row[2]
            for row in rows(
                "SELECT step, error_code, count(*) FROM messages WHERE campaign = ? AND state = 'failed'"
                " GROUP BY ALL ORDER BY 3 DESC, 1, 2"
            )
        },
        left=dict(
            rows(
                "SELECT reason, count(*) FROM participants WHERE campaign = ? AND left_at IS NOT NULL"
                " AND state <> 'control' GROUP BY 1 ORDER BY 2 DESC, 1"
            )
        ),
        refused=dict(
            rows(
                "SELECT outcome, count(*) FROM entries WHERE campaign = ? AND outcome NOT IN ('entered', 'control')"
                " GROUP BY 1 ORDER BY 2 DESC, 1"
            )
        ),
        answers=tuple(
            Answer(*row)
            for row in rows(
                "SELECT step, kind, coalesce(text, payload, ''), count(DISTINCT contact_id),"
                " count(DISTINCT contact_id) FILTER (WHERE late) FROM replies"
                " WHERE campaign = ? AND kind <> 'reaction'"
                f" GROUP BY ALL ORDER BY 4 DESC, 1, 2, 3 LIMIT {MOST}"
            )
        ),
        lift=tuple(
            Lift(*row, values.get(row[0]))  # type: ignore[call-arg]
            for row in rows(
                "SELECT goal, treated, treated_reached, control, control_reached, difference, low, high FROM lift"
                " WHERE campaign = ? ORDER BY goal"
            )
        ),
        arms=tuple(
            ArmResult(*row)
            for row in (
                con.execute(_ARMS, {"name": name, "steps": list(experiments)}).fetchall() if experiments else ()
            )
        ),
        costs=tuple(
            (row[0], row[1], row[2], int(row[3]), None if row[4] is None else float(row[4]))
            for row in rows(
                "SELECT category, currency, price_source, sum(messages), sum(price) FROM costs WHERE campaign = ?"
                " GROUP BY ALL ORDER BY ALL"
            )
        ),
        daily=tuple(
            (row[0], int(row[1]), int(row[2]), int(row[3]))
            for row in rows("SELECT day, accepted, read, replied FROM campaign_daily WHERE campaign = ? ORDER BY day")
        ),
    )
