"""Who takes which way at a split: the first question that is answered with yes.

What belongs here: the rules of a `split` step. Who is in a segment, and whose properties meet conditions, is found out
by `pipelines.standing`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from journey.steps import SplitStep
from journey.words import Branch

MATCHED: Mapping[str, Any] = {"matched": pl.Int64}
"""The number from 1 of the first branch that matches each of those who are due; null: none does."""


def first_match(people: pl.DataFrame, answers: Sequence[pl.Series]) -> pl.DataFrame:
    """`people` with MATCHED, of the answers to each branch's question (Boolean; branches and people in order)."""
    named = [answer.alias(f"\ue000{number}") for number, answer in enumerate(answers, 1)]
    first = pl.coalesce(pl.when(pl.col(one.name)).then(number) for number, one in enumerate(named, 1))
    return people.with_columns(named).with_columns(matched=first.cast(pl.Int64)).select(*people.columns, "matched")


def split(step: SplitStep) -> list[pl.Expr]:
    """branch and to_step: nobody stays."""
    targets = {number: branch.next for number, branch in enumerate(step.branches, 1)}
    return [
        pl.coalesce(pl.col("matched").cast(pl.String), pl.lit(Branch.otherwise.value)).alias("branch"),
        pl.col("matched").replace_strict(targets, default=step.otherwise, return_dtype=pl.String).alias("to_step"),
    ]
