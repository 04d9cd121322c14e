"""A trigger that has come half-way through a batch passes over nobody when events of that batch are erased."""

import polars as pl
import pytest

from resources.forget_ledger import keep_places
from tests.stage import Stage


@pytest.mark.parametrize(("erased", "position"), [("e1", 1), ("e3", 2), ("old", 2)])
def test_a_trigger_counts_only_those_who_are_left(make_home, erased: str, position: int) -> None:
    """It has dealt with e1 and e2 of batch 5; e3 is next, and `old` is of a batch that it has finished."""
    stage: Stage = make_home()
    batches = {"old": 4, "e1": 5, "e2": 5, "e3": 5}
    before = pl.DataFrame({"event_id": list(batches), "batch": list(batches.values())})
    entries = pl.DataFrame({"campaign": ["offer"] * 3, "event_id": ["old", "e1", "e2"]})
    with stage.home.ledger.write() as tx:
        insert = "INSERT INTO event_cursor (name, batch, file_id, position) VALUES (?, 4, 0, 2)"
        tx.exec_driver_sql(insert, [("trigger:offer:0",), ("trigger:other:0",), ("journeys",)])
        keep_places(tx, before, before.filter(pl.col("event_id") != erased), entries)
    found = dict(stage.rows("SELECT name, position FROM event_cursor"))
    assert (found["trigger:offer:0"], found["trigger:other:0"]) == (position, 2)
