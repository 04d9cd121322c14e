"""Who takes which arm of an experiment.

What belongs here: the rules of an `experiment` step. How chance is drawn is `draws`.
"""

import bisect
import itertools

import polars as pl

from journey.draws import draw
from journey.steps import ExperimentStep


def arms_of(campaign: str, name: str, step: ExperimentStep, contacts: pl.Series) -> pl.Series:
    """The arm of each contact (String): the same for a contact however often it comes, shares by weight.

    The arms share [0, 1) in the file's order; a contact's arm is where its draw of (campaign, step, contact) falls.
    """
    names = [arm for arm, one in step.arms.items() if one.weight > 0]
    ends = list(itertools.accumulate(step.arms[arm].weight for arm in names))
    drawn = [
        names[min(bisect.bisect_right(ends, draw(campaign, name, one) * ends[-1]), len(names) - 1)]
        for one in contacts.to_list()
    ]
    return pl.Series("arm", drawn, pl.String)


def experiment(campaign: str, name: str, step: ExperimentStep, contacts: pl.Series) -> list[pl.Expr]:
    """branch and to_step, in the contacts' order: nobody stays."""
    arms = arms_of(campaign, name, step, contacts)
    targets = {arm: one.next for arm, one in step.arms.items()}
    return [
        pl.lit(arms).alias("branch"),
        pl.lit(arms.replace_strict(targets, return_dtype=pl.String)).alias("to_step"),
    ]
