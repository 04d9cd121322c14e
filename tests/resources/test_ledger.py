"""The ledger: leases that fence, transactions that hold, frames of the right types, schemas of other versions."""

import json
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journey.problems import LeaseLost, LedgerError
from resources import ledger as rooms
from resources import tables
from resources.ledger import BUCKET, Ledger, chunks, mark_dirty, select_in

ROOT = Path(__file__).resolve().parents[2]
INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))  # SQLite's ->> ends a text at its first NUL


class Wall:
    """A wall clock in the test's hand."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def ledger(tmp_path, wall):
    opened = Ledger.open(tmp_path / "data/ledger.sqlite", wall)
    yield opened
    opened.close()


def holds(ledger):
    with ledger.read() as tx:
        return tx.exec_driver_sql("SELECT phone FROM unreachable ORDER BY 1").scalars().all()


def note(tx, phone):
    tx.exec_driver_sql("INSERT INTO unreachable VALUES (?, 1, 1)", (phone,))


# -- leases ------------------------------------------------------------------------------------------------------------


def test_a_lease_has_one_holder_until_it_runs_out_or_is_given_back(ledger, wall):
    first = ledger.take("pass", "one")
    assert ledger.take("pass", "two") is None
    assert ledger.take("send:main:0/1", "two") is not None
    wall.time += 30
    second = ledger.take("pass", "two")
    assert second.token == first.token + 1
    ledger.release(second)
    assert ledger.take("pass", "one").token == second.token + 1


def test_a_renewed_lease_lasts(ledger, wall):
    first = ledger.take("pass", "one")
    wall.time += 29
    ledger.renew(first, note="at work")
    wall.time += 29
    assert ledger.take("pass", "two") is None
    assert [(row.name, row.holder, row.note) for row in ledger.leases()] == [("pass", "one", "at work")]


def test_whoever_lost_the_lease_writes_nothing_and_renews_nothing(ledger, wall):
    first = ledger.take("pass", "one")
    wall.time += 31
    second = ledger.take("pass", "two")
    with pytest.raises(LeaseLost), ledger.write(first) as tx:
        note(tx, "+331")
    with pytest.raises(LeaseLost):
        ledger.renew(first)
    ledger.release(first)
    assert holds(ledger) == []
    with ledger.write(second) as tx:
        note(tx, "+332")
    assert holds(ledger) == ["+332"]


OTHER = """
import sys
from resources.ledger import Ledger
wall = float(sys.argv[3])
ledger = Ledger.open(sys.argv[1], lambda: wall)
lease = ledger.take("pass", "other")
print(lease.token if lease else "refused", flush=True)
if sys.argv[2] == "die":
    import os, signal
    with ledger.write(lease) as tx:
        tx.exec_driver_sql("INSERT INTO unreachable VALUES ('+33half', 1, 1)")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def other(ledger, what, wall):
    command = [sys.executable, "-c", OTHER, ledger.engine.url.database, what, str(wall.time)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, timeout=60)
    return done.stdout.strip()


def test_another_process_is_refused_then_takes_over_and_fences_the_first(ledger, wall):
    first = ledger.take("pass", "one")
    assert other(ledger, "take", wall) == "refused"
    wall.time += 31
    assert other(ledger, "take", wall) == "2"
    with pytest.raises(LeaseLost), ledger.write(first) as tx:
        note(tx, "+331")
    assert holds(ledger) == []


def test_a_process_that_is_killed_within_a_transaction_leaves_nothing_of_it(ledger, wall):
    assert other(ledger, "die", wall) == "1"
    assert holds(ledger) == []
    assert ledger.take("pass", "one") is None
    wall.time += 31
    assert ledger.take("pass", "one").token == 2


# -- transactions ------------------------------------------------------------------------------------------------------


def test_an_exception_undoes_the_whole_transaction(ledger):
    with pytest.raises(ZeroDivisionError), ledger.write() as tx:
        note(tx, "+331")
        raise ZeroDivisionError
    assert holds(ledger) == []


def test_a_read_sees_one_cut_and_is_in_nobodys_way(ledger):
    with ledger.read() as reading:
        before = reading.exec_driver_sql("SELECT count(*) FROM unreachable").scalar_one()
        with ledger.write() as tx:
            note(tx, "+331")
        assert reading.exec_driver_sql("SELECT count(*) FROM unreachable").scalar_one() == before
    assert holds(ledger) == ["+331"]


def test_writers_take_turns_and_lose_nothing(ledger):
    with ledger.write() as tx:
        tx.execute(tables.meta.insert().values(name="counter", value="0"))

    def work():
        for _ in range(25):
            with ledger.write() as tx:
                value = int(tx.exec_driver_sql("SELECT value FROM meta WHERE name = 'counter'").scalar_one())
                tx.exec_driver_sql("UPDATE meta SET value = ? WHERE name = 'counter'", (str(value + 1),))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.meta("counter") == "100"


def test_a_writer_waits_for_the_lock_and_says_so_where_it_never_comes(ledger):
    ledger.patience = 0.2
    other = Ledger.open(ledger.engine.url.database)
    with other.write() as tx:
        tx.execute(tables.meta.insert().values(name="first", value="1"))
        with pytest.raises(LedgerError, match="could not be written"), ledger.write():
            pytest.fail("two within the lock")
    ledger.patience = 30.0
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with other.write() as tx:
            tx.execute(tables.meta.insert().values(name="second", value="2"))
            held.set()
            done.wait(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with ledger.write() as tx:
        assert tx.exec_driver_sql("SELECT value FROM meta WHERE name = 'second'").scalar() == "2"
    holder.join()
    other.close()


def test_the_ledger_is_as_safe_as_sqlite_can_be(ledger):
    with ledger.read() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2


# -- frames ------------------------------------------------------------------------------------------------------------


def by_frame(ledger, query, schema, params=()):
    return ledger.frame(query, schema, params)


def by_frames(ledger, query, schema, params=()):
    with ledger.read() as tx:
        [frame] = ledger.frames([(query, schema, params)], tx)
    return frame


both_doors = pytest.mark.parametrize("read", [by_frame, by_frames])


@both_doors
def test_a_frame_has_the_types_that_it_is_asked_for(ledger, read):
    schema = {
        "i": pl.Int64(), "f": pl.Float64(), "b": pl.Boolean(), "t": pl.Datetime("us", "UTC"), "s": pl.String(),
        "l": pl.List(pl.String()),
    }  # fmt: skip
    query = (
        "SELECT 9007199254740993, 1.5, 1, 1796126400000001, 'é\"\n' || char(0x1F600), '[\"a\",null]'"
        " UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL"
    )
    frame = read(ledger, query, schema)
    assert dict(frame.schema) == schema
    moment = datetime(2026, 12, 1, 12, 0, 0, 1, UTC)
    assert frame.rows() == [(9007199254740993, 1.5, True, moment, 'é"\n😀', ["a", None]), (None,) * 6]


@both_doors
def test_an_empty_frame_has_its_columns_and_types_too(ledger, read):
    frame = read(ledger, "SELECT id, name FROM lake_file", {"id": pl.Int64, "name": pl.String})
    assert (frame.height, dict(frame.schema)) == (0, {"id": pl.Int64, "name": pl.String})


@both_doors
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.tuples(INTEGERS | st.none(), TEXTS | st.none(), st.booleans() | st.none()), max_size=20))
def test_a_frame_has_what_was_written_whatever_it_is(ledger, read, rows):
    query = "SELECT value ->> 0 AS i, value ->> 1 AS s, value ->> 2 AS b FROM json_each(?)"
    frame = read(ledger, query, {"i": pl.Int64(), "s": pl.String(), "b": pl.Boolean()}, (json.dumps(rows),))
    assert frame.rows() == rows


def test_a_frame_keeps_the_order_of_its_query_and_binds_what_it_is_given(ledger):
    with ledger.write() as tx:
        for number in range(50):
            note(tx, f"+33{number:02d}")
    query = "SELECT phone FROM unreachable WHERE phone > ? ORDER BY phone DESC"
    assert ledger.frame(query, {"phone": pl.String}, ("+3346",))["phone"].to_list() == ["+3349", "+3348", "+3347"]
    named = ledger.frame("SELECT phone FROM unreachable WHERE phone = :p", {"phone": pl.String}, {"p": "+3301"})
    assert named["phone"].to_list() == ["+3301"]


def test_a_frame_within_a_transaction_sees_what_it_wrote(ledger):
    with ledger.write() as tx:
        note(tx, "+331")
        assert ledger.frame("SELECT phone FROM unreachable", {"phone": pl.String}, tx=tx).height == 1


def test_more_ids_than_sqlite_has_variables_are_asked_in_turns(ledger):
    with ledger.write() as tx:
        tx.exec_driver_sql("INSERT INTO unreachable VALUES (?, 1, 1)", [(str(n),) for n in range(25_000)])
        ids = [str(n) for n in range(40_000)]
        assert len(select_in(tx, "SELECT phone FROM unreachable WHERE phone IN :ids", ids)) == 25_000


def test_chunks_cover_everything_once():
    assert [(part.start, part.stop) for part in chunks(12, 5, 0)] == [(0, 5), (5, 10), (10, 12)]
    assert list(chunks(0)) == []


def test_a_long_write_rests_between_its_parts_only_while_somebody_sends(ledger, monkeypatch):
    rests = []
    monkeypatch.setattr("resources.ledger.time.sleep", rests.append)
    assert [(part.start, part.stop) for part in ledger.chunks(12, 5)] == [(0, 5), (5, 10), (10, 12)]
    assert not rests
    ledger.take("pass", "me")
    lane = ledger.take("send:main:0/1", "me")
    assert len(list(ledger.chunks(12, 5))) == 3
    assert len(rests) == 2 and min(rests) > 0
    ledger.release(lane)
    assert len(list(ledger.chunks(12, 5))) == 3
    assert len(rests) == 2


def test_frames_come_one_after_the_other_in_one_cut(ledger):
    with ledger.write() as tx:
        tx.exec_driver_sql("INSERT INTO unreachable VALUES (?, 1, 1)", [(str(n),) for n in range(7)])
    asked = [("SELECT phone FROM unreachable WHERE phone % 3 = ?", {"phone": pl.String}, (n,)) for n in range(3)]
    with ledger.read() as tx:
        frames = ledger.frames(asked, tx)
        first = next(frames)
        with ledger.write() as other:
            other.exec_driver_sql("DELETE FROM unreachable")
        found = [first, *frames]
    assert [one["phone"].to_list() for one in found] == [["0", "3", "6"], ["1", "4"], ["2", "5"]]


def test_a_bucket_is_marked_once_whoever_changes_it(ledger):
    with ledger.write() as tx:
        mark_dirty(tx, "message", [1, 2, BUCKET - 1, BUCKET])
        mark_dirty(tx, "message", [3])
        mark_dirty(tx, "skip", [])
        assert tx.exec_driver_sql("SELECT name, bucket FROM dirty ORDER BY 2").all() == [("message", 0), ("message", 1)]


# -- schemas -----------------------------------------------------------------------------------------------------------


def test_a_ledger_of_a_newer_estafette_is_refused_and_left_as_it_is(ledger):
    with ledger.write() as tx:
        tx.exec_driver_sql("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(LedgerError, match="schema 99"):
        Ledger.open(ledger.engine.url.database)
    assert ledger.meta("schema_version") == "99"


def test_an_older_ledger_is_migrated_version_by_version(ledger, monkeypatch):
    newest = tables.SCHEMA_VERSION + 2
    done = []

    def step(version):
        def migrate(tx: sa.Connection) -> None:
            done.append(version)
            tx.exec_driver_sql(f"ALTER TABLE unreachable ADD COLUMN since_{version} INTEGER")

        return migrate

    monkeypatch.setattr(rooms, "MIGRATIONS", {v: step(v) for v in range(tables.SCHEMA_VERSION, newest)})
    monkeypatch.setattr(tables, "SCHEMA_VERSION", newest)
    for _ in range(2):
        Ledger.open(ledger.engine.url.database).close()
    assert done == list(range(newest - 2, newest))
    assert ledger.meta("schema_version") == str(newest)


def test_a_migration_that_fails_changes_nothing(ledger, monkeypatch):
    def broken(tx: sa.Connection) -> None:
        note(tx, "+331")
        raise ZeroDivisionError

    before = ledger.meta("schema_version")
    monkeypatch.setattr(rooms, "MIGRATIONS", {tables.SCHEMA_VERSION: broken})
    monkeypatch.setattr(tables, "SCHEMA_VERSION", tables.SCHEMA_VERSION + 1)
    with pytest.raises(ZeroDivisionError):
        Ledger.open(ledger.engine.url.database)
    assert (ledger.meta("schema_version"), holds(ledger)) == (before, [])


def test_two_installations_are_told_apart(tmp_path):
    two = [Ledger.open(tmp_path / name) for name in ("a.sqlite", "b.sqlite")]
    assert two[0].meta("installation") != two[1].meta("installation")
    for one in two:
        one.close()


@pytest.mark.parametrize("where", ["postgresql://localhost/x", "mysql://localhost/x"])
def test_an_engine_that_is_not_supported_is_said(where):
    with pytest.raises(LedgerError, match="can't be kept"):
        Ledger.open(where)


def test_a_file_that_is_no_ledger_is_said(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_text("this is no database, it is a text of some length" * 50)
    with pytest.raises(LedgerError, match="the ledger is damaged"):
        Ledger.open(path)


def test_a_frame_too_big_for_one_text_of_sqlite_is_read_by_rows(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    with ledger.write() as tx:
        tx.exec_driver_sql(
            "INSERT INTO meta (name, value) VALUES (?, ?)", [(f"n{i:04}", "x" * 50) for i in range(1_000)]
        )
    query, schema = (
        "SELECT name, value FROM meta WHERE name LIKE 'n0%' ORDER BY name",
        {"name": pl.String, "v": pl.String},
    )
    whole = ledger.frame(query, schema)
    with ledger.read() as tx:
        raw = tx.connection.dbapi_connection
        assert raw is not None
        before = raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 20_000)
        try:
            assert ledger.frame(query, schema, tx=tx).equals(whole)
        finally:
            raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
    assert whole.height == 1_000


def test_what_older_pages_still_hold_is_gone_once_the_file_is_written_anew(tmp_path: Path) -> None:
    """Also of a ledger whose SQLite did not overwrite what it deleted. Another process reads the bytes: a plain open()
    in this one would drop SQLite's locks."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(path)

    def said() -> bool:
        look = "any(b'Jeanne' in open(f, 'rb').read() for f in glob.glob(sys.argv[1] + '*'))"
        code = f"import glob, sys; sys.exit(not {look})"
        return subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0

    with ledger.engine.connect() as tx:
        tx.exec_driver_sql("PRAGMA secure_delete=OFF")
        tx.exec_driver_sql("INSERT INTO meta (name, value) VALUES ('x', 'Jeanne')")
        tx.exec_driver_sql("DELETE FROM meta WHERE name = 'x'")
    assert said()
    ledger.rewrite()
    assert said(), "in its journal"
    assert ledger.empty_journal()
    assert not said()
    assert ledger.meta("schema_version")
    ledger.close()


def test_whoever_reads_on_an_old_cut_keeps_the_journal_and_no_writer_waits_for_them(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    with ledger.read() as old:
        old.exec_driver_sql("SELECT * FROM meta").all()
        with ledger.write() as tx:
            tx.exec_driver_sql("INSERT INTO meta (name, value) VALUES ('x', '1')")
        waiting = threading.Thread(target=ledger.empty_journal, kwargs={"wait": 3.0})
        waiting.start()
        writes = 0
        while waiting.is_alive():
            with ledger.write() as tx:
                tx.exec_driver_sql("UPDATE meta SET value = value + 1 WHERE name = 'x'")
            writes += 1
        waiting.join()
    assert writes > 5
    assert ledger.empty_journal()
    ledger.close()
