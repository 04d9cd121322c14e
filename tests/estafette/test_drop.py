"""`drop`: people taken out by hand."""

import pytest

from resources.home import open_home
from tests.estafette.test_why import ran

__all__ = ["ran"]


def rows(home, query: str) -> list[tuple]:
    with open_home(home) as opened, opened.ledger.read() as tx:
        return [tuple(row) for row in tx.exec_driver_sql(query).all()]


def test_whoever_is_inside_leaves_and_the_others_are_told_apart(ran, home):
    found = ran("drop", "small", "c1", "0612345672", "c3", "--json")
    assert found.code == 0
    assert found.json["dropped"] == 1  # c2 and c3 have left already
    query = "SELECT state, reason, left_at IS NULL FROM participant WHERE contact_id = 'c1'"
    assert rows(home, query) == [("dropped", "dropped_by_hand", 0)]
    again = ran("drop", "small", "c1")
    assert (again.code, "was not inside" in again.out) == (0, True)
    assert "left at first: dropped_by_hand" in ran("why", "c1").out


def test_what_was_planned_for_them_is_cancelled(ran, home):
    with open_home(home) as opened, opened.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE message SET state = 'planned' WHERE contact_id = 'c1'")
    assert ran("drop", "small", "06 12 34 56 71").code == 0
    assert rows(home, "SELECT state FROM message WHERE contact_id = 'c1'") == [("cancelled",)]


@pytest.mark.parametrize("given", [("small", "nobody"), ("smal", "c1")])
def test_a_name_that_nobody_has_drops_nobody(ran, home, given):
    campaign, who = given
    found = ran("drop", campaign, "c1", who)
    assert found.code == 1
    assert rows(home, "SELECT count(*) FROM participant WHERE state = 'dropped'") == [(0,)]


def test_without_anybody_named_the_use_is_told(ran):
    assert ran("drop", "small").code == 2
