"""`wait_for`: the earliest in time wins, ties by order, for everyone as for each alone."""

from datetime import timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from journey.campaign import Campaign
from journey.cohort import PEOPLE, decide
from journey.cohort_wait_for import HAPPENED, first_met
from journey.steps import EventMatch, WaitBranch, WaitForStep

HOUR = 3_600_000_000
NOW = 1_000 * HOUR


def step(full=False):
    branches = (
        WaitBranch(kind="event", match=EventMatch(event="purchase"), next="thanks"),
        WaitBranch(kind="read", step="offer", next="more"),
        WaitBranch(kind="reply", step="offer", next="end"),
    )
    return WaitForStep(within=timedelta(hours=48), branches=branches, otherwise="last", full_wait=full)


def decided(one, rows, happened, now=NOW):
    campaign = Campaign(name="offer", sender="main", entries=(), steps={"bought": one}, version="v", file="f")
    people = pl.DataFrame(rows, schema=PEOPLE, orient="row")
    return decide(campaign, "bought", first_met(people, pl.DataFrame(happened, schema=HAPPENED, orient="row")), now)


def one_person(full, arrived, things):
    """(branch, to) or when to look again. `things`: (branch's number, when) in any order."""
    deadline = arrived + 48 * HOUR
    best = None
    for number, at in things:
        if at is None or at > deadline:
            continue
        if best is None or (at, number) < (best[1], best[0]):
            best = (number, at)
    if best is not None and (not full or deadline <= NOW):
        return str(best[0]), {1: "thanks", 2: "more", 3: "end"}[best[0]]
    if deadline <= NOW:
        return "else", "last"
    return deadline


times = st.integers(-96, 0).map(lambda hours: NOW + hours * HOUR)
things = st.lists(st.tuples(st.integers(1, 3), st.none() | times), max_size=6)


@given(st.lists(st.tuples(times, things), max_size=20), st.booleans())
def test_everyone_goes_as_each_would_alone(rows, full):
    people = [(n, f"c{n}", 1, arrived) for n, (arrived, _) in enumerate(rows)]
    happened = [(n, number, at) for n, (_, found) in enumerate(rows) for number, at in found]
    found = decided(step(full), people, happened)
    told = {row["participant_id"]: (row["branch"], row["to_step"]) for row in found.moves.to_dicts()}
    told |= {row["participant_id"]: row["wake_at"] for row in found.waits.to_dicts()}
    assert [told[n] for n in range(len(rows))] == [one_person(full, *row) for row in rows]
    assert found.moves["waited"].all()


def test_the_deadline_itself_counts_and_ties_go_by_order():
    people = [(1, "c1", 1, NOW - 48 * HOUR), (2, "c2", 1, NOW - 48 * HOUR), (3, "c3", 1, NOW - 48 * HOUR + 1)]
    found = decided(step(), people, [(1, 2, NOW), (1, 1, NOW), (2, 1, NOW + 1), (3, 3, NOW + 2)])
    assert found.moves.select("participant_id", "branch").rows() == [(1, "1"), (2, "else")]
    assert found.waits.rows() == [(3, NOW + 1, None)]


def test_what_was_true_before_the_arrival_counts():
    found = decided(step(), [(1, "c1", 1, NOW)], [(1, 2, NOW - 500 * HOUR)])
    assert found.moves["branch"].to_list() == ["2"]


def test_who_leaves_by_a_branch_has_come_to_the_end():
    found = decided(step(), [(1, "c1", 4, NOW)], [(1, 3, NOW)])
    assert found.moves.select("to_step", "reason", "from_visit").rows() == [("end", "end", 4)]
