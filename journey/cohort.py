"""Cohorts: who moves from which step along which branch, decided for everyone due at once.

What belongs here: what a decision says, and which room decides for which kind of step (`cohort_message`,
`cohort_delay`, `cohort_wait_for`, `cohort_split`, `cohort_experiment`; who is at an `update` just moves on). Each takes
a frame of the people due at one step and what its kind must know of them. What does not: reading and writing the ledger
(`pipelines.advance`), which people are looked at (their `wake_at`).

Only the step as it is now decides, whatever it was when somebody came to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from journey.campaign import Campaign
from journey.cohort_delay import DELAYED, delay
from journey.cohort_experiment import experiment
from journey.cohort_message import MESSAGED, message
from journey.cohort_split import MATCHED, split
from journey.cohort_wait_for import MET, wait_for
from journey.steps import DelayStep, ExperimentStep, MessageStep, SplitStep, Step, WaitForStep
from journey.words import END, Branch, LeaveReason

PEOPLE: Mapping[str, Any] = {
    "participant_id": pl.Int64,
    "contact_id": pl.String,
    "visit": pl.Int64,
    "arrived_at": pl.Int64,
}
"""Who is due at a step. Times in microseconds since 1970 UTC, here and below."""

MOVES: Mapping[str, Any] = {
    "participant_id": pl.Int64,
    "contact_id": pl.String,
    "from_step": pl.String,
    "from_visit": pl.Int64,
    "branch": pl.String,
    "to_step": pl.String,  # `end` for who leaves
    "reason": pl.String,  # why they leave; null for who goes on
    "waited": pl.Boolean,  # whether there is a wait on this way: `not_after` bounds only what is reached without
}
"""Who moves. One row a participant at most."""

WAITS: Mapping[str, Any] = {"participant_id": pl.Int64, "wake_at": pl.Int64, "message_state": pl.String}
"""Who stays, and when to look again; null: when something from outside happens. `message_state`: what they wait with,
at a message step."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Who moves (MOVES) and who waits (WAITS) at one step. Who is in neither stays due."""

    moves: pl.DataFrame
    waits: pl.DataFrame


def facts(step: Step | None) -> dict[str, Any]:
    """The columns that a decision needs of the people due at a step (None: one that the campaign no longer has)."""
    kinds: list[tuple[type, Mapping[str, Any]]] = [
        (MessageStep, MESSAGED),
        (DelayStep, DELAYED),
        (WaitForStep, MET),
        (SplitStep, MATCHED),
    ]
    return {**PEOPLE, **next((columns for kind, columns in kinds if isinstance(step, kind)), {})}


def decide(campaign: Campaign, name: str, people: pl.DataFrame, now: int) -> Decision:
    """Who of the people due at the step `name` (`facts`) moves, and who waits for what.

    People at a message step without message and skip are in neither: their message is to be planned first. Those at a
    step that the campaign no longer has end their passage (`step_removed`).
    """
    step = campaign.steps.get(name)
    match step:
        case MessageStep():
            decided = people.with_columns(message(campaign, step, now))
        case DelayStep():
            decided = people.with_columns(delay(step, now))
        case WaitForStep():
            decided = people.with_columns(wait_for(step, now))
        case SplitStep():
            decided = people.with_columns(split(step))
        case ExperimentStep():
            decided = people.with_columns(experiment(campaign.name, name, step, people.get_column("contact_id")))
        case None:
            decided = people.with_columns(_all(END, LeaveReason.step_removed))
        case _:
            decided = people.with_columns(_all(step.next, LeaveReason.end))
    columns = {
        "reason": pl.lit(str(LeaveReason.end)),
        "waited": pl.lit(False),
        "wake_at": pl.lit(None, pl.Int64),
        "message_state": pl.lit(None, pl.String),
    }
    missing = [one.alias(column) for column, one in columns.items() if column not in decided.columns]
    decided = decided.with_columns(missing)
    leaves = pl.col("to_step") == END
    moves = decided.filter(pl.col("branch").is_not_null()).with_columns(
        from_step=pl.lit(name), from_visit="visit", reason=pl.when(leaves).then("reason")
    )
    stay = pl.col("branch").is_null()
    waits = decided.filter(stay & ~pl.col("stands") if "stands" in decided.columns else stay)
    return Decision(_as(moves, MOVES), _as(waits, WAITS))


def _all(to_step: str, reason: LeaveReason) -> list[pl.Expr]:
    return [
        pl.lit(str(Branch.next)).alias("branch"),
        pl.lit(to_step).alias("to_step"),
        pl.lit(str(reason)).alias("reason"),
    ]


def _as(frame: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
