"""Rows of a frame come into their table as they are, whatever stands in them."""

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from resources.inserting import ready

TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER = st.none() | st.integers(-(2**63), 2**63 - 1)
ROWS = st.lists(st.tuples(NUMBER, TEXT, TEXT, st.none() | st.booleans()), max_size=6)
KINDS = {"id": pl.Int64, "key": pl.String, "attributes": pl.String, "counted": pl.Boolean}


@pytest.fixture(scope="module")
def engine():
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as tx:
        tx.exec_driver_sql(
            'CREATE TABLE one (place INTEGER PRIMARY KEY, id BIGINT, "key" TEXT, attributes TEXT, counted)'
        )
    return engine


@given(ROWS)
def test_every_value_comes_in_as_if_it_were_bound(engine, rows):
    frame = pl.DataFrame(rows, schema=KINDS, orient="row")
    with engine.connect() as tx:
        ready("one", frame).insert(tx)
        found = tx.exec_driver_sql('SELECT id, "key", attributes, counted FROM one ORDER BY place').all()
        kinds = tx.exec_driver_sql("SELECT DISTINCT typeof(counted) FROM one").scalars().all()
        tx.rollback()
    assert [(*row[:3], None if row[3] is None else bool(row[3])) for row in found] == rows
    assert set(kinds) <= {"integer", "null"}


def test_what_is_there_already_stays_where_that_is_asked_for(engine):
    with engine.connect() as tx:
        ready("one", pl.DataFrame({"place": [1, 2], "key": ["a", "b"]})).insert(tx)
        ready("one", pl.DataFrame({"place": [2, 3], "key": ["other", "c"]}), if_new=True).insert(tx)
        assert tx.exec_driver_sql('SELECT place, "key" FROM one ORDER BY 1').all() == [(1, "a"), (2, "b"), (3, "c")]
        with pytest.raises(sa.exc.IntegrityError):
            ready("one", pl.DataFrame({"place": [3], "key": ["d"]})).insert(tx)
        tx.rollback()


def test_numbers_and_what_is_the_same_for_all_may_come_last(engine):
    rows = ready("one", pl.DataFrame({"key": ["a", "b", "c"]}), first="place", later=("id", "attributes"))
    alone = ready("one", pl.DataFrame({"key": ["d"]}), first="place", later=("id",))
    with engine.connect() as tx:
        rows.insert(tx, place=7, id=12, attributes=None)
        alone.insert(tx, place=10, id=13)
        ready("one", pl.DataFrame({"key": []}, schema={"key": pl.String}), first="place").insert(tx, place=11)
        found = tx.exec_driver_sql('SELECT place, id, "key", attributes FROM one ORDER BY 1').all()
        tx.rollback()
    assert found == [(7, 12, "a", None), (8, 12, "b", None), (9, 12, "c", None), (10, 13, "d", None)]
