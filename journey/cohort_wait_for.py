"""Who moves on from a `wait_for`: the earliest of what they wait for, or the deadline.

What belongs here: the rules of a `wait_for` step, and which of what happened to somebody comes first. Which events a
branch matches is decided where events come in (`pipelines.signals`).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from journey.steps import WaitForStep
from journey.words import Branch

HAPPENED: Mapping[str, Any] = {"participant_id": pl.Int64, "branch_number": pl.Int64, "happened_at": pl.Int64}
"""What happened of all that is waited for: the number of the branch from 1, and when. Any number of rows a person."""

MET: Mapping[str, Any] = {"met_branch": pl.Int64, "met_at": pl.Int64}
"""The earliest of it for each of those who are due, ties by the order of the branches; null: nothing."""


def first_met(people: pl.DataFrame, happened: pl.DataFrame) -> pl.DataFrame:
    """`people` (`participant_id`, …) with MET, of all that happened to them (HAPPENED)."""
    earliest = (
        happened.drop_nulls()
        .sort("happened_at", "branch_number")
        .unique("participant_id", keep="first", maintain_order=True)
        .select("participant_id", met_branch="branch_number", met_at="happened_at")
    )
    return people.join(earliest, on="participant_id", how="left", maintain_order="left")


def wait_for(step: WaitForStep, now: int) -> list[pl.Expr]:
    """branch (null: stays), to_step, waited and wake_at. `within` runs from the arrival; the deadline itself counts."""
    deadline = pl.col("arrived_at") + step.within // timedelta(microseconds=1)
    over = deadline <= now
    met = (pl.col("met_at") <= deadline).fill_null(False)
    goes = met & over if step.full_wait else met
    targets = {number: branch.next for number, branch in enumerate(step.branches, 1)}
    return [
        pl.when(goes)
        .then(pl.col("met_branch").cast(pl.String))
        .when(over)
        .then(pl.lit(Branch.otherwise.value))
        .alias("branch"),
        pl.when(goes)
        .then(pl.col("met_branch").replace_strict(targets, default=step.otherwise, return_dtype=pl.String))
        .otherwise(pl.lit(step.otherwise))
        .alias("to_step"),
        pl.lit(True).alias("waited"),
        pl.when(~over).then(deadline).alias("wake_at"),
    ]
