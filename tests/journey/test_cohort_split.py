"""Splits and experiments: the first match, and shares that are the same for ever."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.campaign import Campaign
from journey.cohort import PEOPLE, decide
from journey.cohort_experiment import arms_of
from journey.cohort_split import first_match
from journey.draws import draw
from journey.steps import Arm, ExperimentStep, SplitBranch, SplitStep


def people(number):
    return pl.DataFrame([(n, f"c{n}", 1, 0) for n in range(number)], schema=PEOPLE, orient="row")


def moves(step, who):
    campaign = Campaign(name="offer", sender="main", entries=(), steps={"here": step}, version="v", file="f")
    found = decide(campaign, "here", who, 0)
    assert found.waits.is_empty()
    assert not found.moves["waited"].any()
    return found.moves.select("branch", "to_step").rows()


@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=20))
def test_the_first_branch_that_matches_wins_and_else_is_for_the_rest(rows):
    step = SplitStep(branches=tuple(SplitBranch(segment=f"s{n}", next=f"to{n}") for n in (1, 2, 3)), otherwise="rest")
    answers = [pl.Series([row[n] for row in rows]) for n in range(3)]
    want = []
    for row in rows:
        number = next((n for n, yes in enumerate(row, 1) if yes), None)
        want.append(("else", "rest") if number is None else (str(number), f"to{number}"))
    assert moves(step, first_match(people(len(rows)), answers)) == want


def experiment(**weights):
    return ExperimentStep(arms={name: Arm(weight=weight, next=f"to_{name}") for name, weight in weights.items()})


def one_arm(step, contact):
    """Lay the arms out on a line in the file's order, and see where the contact's draw falls."""
    total = sum(arm.weight for arm in step.arms.values())
    mark = draw("offer", "here", contact) * total
    for name, arm in step.arms.items():
        if mark < arm.weight:
            return name
        mark -= arm.weight
    raise AssertionError


@given(st.lists(st.integers(0, 9), min_size=2, max_size=4).filter(any))
def test_each_contacts_arm_is_where_its_draw_falls(weights):
    step = experiment(**{f"arm{n}": weight for n, weight in enumerate(weights)})
    contacts = pl.Series([f"c{n}" for n in range(50)])
    found = arms_of("offer", "here", step, contacts)
    assert found.to_list() == [one_arm(step, one) for one in contacts]
    assert moves(step, people(50)) == [(arm, f"to_{arm}") for arm in found]


@pytest.mark.parametrize(
    "weights", [{"a": 50, "b": 50}, {"a": 1, "b": 3}, {"a": 10, "b": 20, "c": 70}, {"a": 0, "b": 1}]
)
def test_shares_are_as_the_weights_say(weights):
    """Within four standard deviations of 20,000 draws: one in ten thousand experiments would miss it."""
    number = 20_000
    found = arms_of("offer", "here", experiment(**weights), pl.Series([f"user-{n}" for n in range(number)]))
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs((found == name).sum() - number * share) <= 4 * math.sqrt(number * share * (1 - share))


def test_an_arm_is_the_same_for_ever_and_another_experiments_is_another():
    contacts = pl.Series([f"user-{n}" for n in range(1_000)])
    step = experiment(a=1, b=1)
    here = arms_of("offer", "here", step, contacts)
    assert here[:6].to_list() == arms_of("offer", "here", step, contacts[:6]).to_list(), "whoever else is there"
    for other in (arms_of("offer", "there", step, contacts), arms_of("other", "here", step, contacts)):
        assert 400 < (here == other).sum() < 600
