"""The lake: what counts is what the ledger lists; merging and sweeping lose nothing."""

import os

import polars as pl
import pytest

from journey.problems import LeaseLost
from resources.lake import KEEP_SECONDS, MERGE, Lake
from resources.ledger import Ledger


@pytest.fixture
def lake(tmp_path):
    times = {"now": 1_796_126_400.0}
    ledger = Ledger.open(tmp_path / "ledger.sqlite", lambda: times["now"])
    opened = Lake(tmp_path / "lake", ledger, lambda: times["now"])
    opened.times = times
    yield opened
    ledger.close()


def add(lake, name="events", **columns):
    file = lake.put(name, pl.DataFrame(columns), at="t" if "t" in columns else None)
    with lake.ledger.write() as tx:
        return lake.register(tx, file)


def files_on_disk(lake):
    return sorted(path for path in lake.root.rglob("*.parquet"))


def age(lake, seconds):
    for path in files_on_disk(lake):
        os.utime(path, (lake.times["now"] - seconds,) * 2)


def test_a_file_counts_once_it_is_registered(lake):
    file = lake.put("events", pl.DataFrame({"n": [1]}))
    assert lake.scan("events", {"n": pl.Int64()}).collect().height == 0
    with lake.ledger.write() as tx:
        lake.register(tx, file)
    assert lake.scan("events").collect().rows() == [(1,)]


def test_a_file_whose_transaction_fails_is_an_orphan_that_nobody_sees(lake):
    file = lake.put("events", pl.DataFrame({"n": [1]}))
    with pytest.raises(ZeroDivisionError), lake.ledger.write() as tx:
        lake.register(tx, file)
        raise ZeroDivisionError
    assert lake.files("events") == []
    assert len(files_on_disk(lake)) == 1


def test_no_name_is_used_twice_and_no_half_file_is_left(lake):
    names = {lake.put("events", pl.DataFrame({"n": [1]})).path for _ in range(20)}
    assert len(names) == 20
    with pytest.raises(Exception, match=r"(?i)object|serializ|support"):
        lake.put("events", pl.DataFrame({"n": pl.Series([object()], dtype=pl.Object)}))
    assert len(list(lake.root.rglob("*"))) == 20 + 2  # and the two folders


def test_files_of_other_shapes_are_read_together(lake):
    add(lake, n=[1])
    add(lake, n=[2], m=["x"])
    assert set(lake.scan("events").collect().columns) >= {"n"}
    assert lake.scan("events").collect()["n"].to_list() == [1, 2]


def test_the_range_of_times_is_kept_with_the_file(lake):
    add(lake, t=pl.Series([5, 3, None, 9], dtype=pl.Datetime("us", "UTC")))
    (row,) = lake.rows("events")
    assert (row.min_at, row.max_at, row.rows) == (3, 9, 4)


def test_merging_keeps_every_row_once_and_takes_whole_groups_only(lake):
    for number in range(MERGE + 5):
        add(lake, n=[number], t=pl.Series([number], dtype=pl.Datetime("us", "UTC")))
    assert lake.merge(None) == MERGE
    assert len(lake.files("events")) == 6
    assert sorted(lake.scan("events").collect()["n"]) == list(range(MERGE + 5))
    assert {(row.min_at, row.max_at) for row in lake.rows("events")} >= {(0, MERGE - 1), (MERGE, MERGE)}
    assert lake.merge(None) == 0


def test_files_of_different_days_and_of_tables_that_are_named_by_row_are_left_alone(lake):
    for number in range(MERGE):
        add(lake, "bodies", n=[number])
        add(lake, n=[number])
        if number == MERGE // 2:
            lake.times["now"] += 86_400
    assert lake.merge(None) == 0
    assert len(lake.files("bodies")) == MERGE


def test_whoever_lost_the_lease_merges_nothing(lake):
    for number in range(MERGE):
        add(lake, n=[number])
    lease = lake.ledger.take("pass", "one")
    lake.times["now"] += 31
    lake.ledger.take("pass", "two")
    with pytest.raises(LeaseLost):
        lake.merge(lease)
    assert len(lake.files("events")) == MERGE


def test_dropped_files_stay_a_day_for_whoever_reads_an_older_list(lake):
    first = add(lake, n=[1])
    add(lake, n=[2])
    path = lake.path(first)
    with lake.ledger.write() as tx:
        lake.drop(tx, [first])
    assert lake.scan("events").collect()["n"].to_list() == [2]
    age(lake, KEEP_SECONDS + 10)
    assert lake.sweep(None) == 0
    assert path.exists()
    lake.times["now"] += KEEP_SECONDS + 1
    assert lake.sweep(None) == 1
    assert not path.exists()
    assert lake.scan("events").collect()["n"].to_list() == [2]


def test_orphans_are_swept_once_they_are_a_day_old(lake):
    add(lake, n=[1])
    orphan = lake.root / lake.put("events", pl.DataFrame({"n": [2]})).path
    age(lake, KEEP_SECONDS - 10)
    assert lake.sweep(None) == 0
    age(lake, KEEP_SECONDS + 10)
    assert lake.sweep(None) == 1
    assert not orphan.exists()
    assert lake.scan("events").collect()["n"].to_list() == [1]
