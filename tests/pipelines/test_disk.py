"""The disk: full, read-only, files cut short or replaced. Nothing is lost, and nobody gets anything twice."""

import errno
import os
import resource
import signal
from types import SimpleNamespace

import polars as pl
import pytest
import sqlalchemy as sa

from pipelines.publish import publish
from resources.disk_trouble import disk_trouble
from resources.lake import Lake
from resources.ledger import US
from resources.outbox import Outbox, recover

FULL = OSError(errno.ENOSPC, "No space left on device")


def full(*_, **__):
    raise FULL


@pytest.fixture
def small_files():
    """No file may grow beyond some size, as on a full disk; to be called with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_costs_a_pass_and_nothing_else(make_home, monkeypatch):
    stage = make_home()
    for method in ("put", "register"):
        with monkeypatch.context() as patch:
            patch.setattr(Lake, method, full)
            with pytest.raises(OSError, match="No space left"):
                stage.run()
    assert stage.states() == {}
    stage.run()
    assert len(stage.send()) == 3
    assert stage.run().planned == 0
    assert stage.send() == []


def test_a_ledger_that_cannot_grow_says_so_and_goes_on_afterwards(make_home, small_files):
    stage = make_home(contacts=400)
    stage.turn()
    wal = stage.path / "data/ledger.sqlite-wal"
    small_files(wal.stat().st_size + 4096)
    with pytest.raises(Exception) as failed:
        stage.run()
    trouble = disk_trouble(failed.value)
    assert trouble is not None
    assert "the disk" in trouble.message
    small_files(resource.RLIM_INFINITY)
    stage.run()
    assert stage.value("SELECT count(DISTINCT contact_id) FROM message") == stage.value("SELECT count(*) FROM message")
    assert len(stage.send(want=1_000)) == 400
    assert stage.send() == []


def test_an_outcome_that_could_not_be_written_leaves_its_message_unknown_and_never_sends_it_again(
    make_home, monkeypatch
):
    stage = make_home(contacts=1)
    stage.run()
    lease = stage.home.ledger.take("send:main:0/1", "test")
    outbox = Outbox(stage.home.ledger, lease, "main", 0, 1, 80.0)
    wall = int(stage.wall * US)
    assert len(outbox.turn([], 10, stage.us, wall).claimed) == 1  # posted, and then the disk is full
    stage.home.ledger.release(lease)
    recover(stage.home.ledger, wall + 60 * US, stage.us)
    assert stage.states() == {"unknown": 1}
    stage.turn()
    assert stage.send() == []


def test_a_ledger_that_is_read_only_is_said_as_such(make_home):
    stage = make_home()
    stage.turn()
    engine = sa.create_engine(f"sqlite:///file:{stage.path}/data/ledger.sqlite?mode=ro&uri=true")
    with pytest.raises(sa.exc.DatabaseError) as failed, engine.connect() as tx:
        tx.exec_driver_sql("DELETE FROM meta")
    engine.dispose()
    trouble = disk_trouble(failed.value)
    assert trouble is not None
    assert "read-only" in trouble.message


def test_of_a_disk_without_room_it_is_said_that_it_is_full_also_where_sqlite_knows_no_more_than_an_error(
    tmp_path, monkeypatch
):
    error = sa.exc.OperationalError("", {}, Exception("disk I/O error"))
    assert "or is full" in disk_trouble(error, tmp_path).message
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=4096))
    assert disk_trouble(error, tmp_path).message == "the disk is full"


def test_a_landing_file_that_is_replaced_while_it_is_read_is_read_again(make_home, monkeypatch):
    stage = make_home(contacts=0)
    folder = stage.path / "landing/contacts"
    (folder / "a.csv").write_text("contact_id,phone\nc1,0612345671\n")
    real = type(stage.home.landing).whole

    def replaced(self, stat):
        cursor = real(self, stat)
        new = folder / ".a.csv"
        new.write_text("contact_id,phone\nc1,0612345671\nc2,0612345672\n")
        new.rename(folder / "a.csv")
        return cursor

    with monkeypatch.context() as patch:
        patch.setattr(type(stage.home.landing), "whole", replaced)
        stage.turn()
    stage.turn()
    assert stage.home.contacts.frame(["contact_id"])["contact_id"].sort().to_list() == ["c1", "c2"]
    assert stage.home.landing.pending(stage.wall) == []


@pytest.mark.parametrize("end", ["", '{"event":"bought","contact_id":"c2","occ'])
def test_a_half_written_line_waits_for_its_other_half(make_home, end):
    stage = make_home()
    log = stage.path / "landing/events/log.ndjson"
    line = '{"event":"bought","contact_id":"c1","occurred_at":"2026-12-01T10:00:00Z"}\n'
    log.write_text(line + end)
    stage.turn()
    assert len(stage.lake("events")) == 1
    assert stage.value("SELECT count(*) FROM quarantine") == 0
    with log.open("a") as more:
        more.write(end and 'urred_at":"2026-12-01T10:00:00Z"}\n')
    stage.turn()
    assert len(stage.lake("events")) == (2 if end else 1)


def test_a_body_file_that_was_cut_short_shows_no_text_and_stops_no_publish(make_home):
    stage = make_home()
    stage.run()
    stage.send()
    file = next((stage.home.lake.root / "bodies").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:20])
    published = publish(stage.home, stage.lease)
    assert len(published.lost) == 1
    assert published.counts["messages"] == 3


def test_half_a_file_of_a_crash_counts_nowhere(make_home, monkeypatch):
    stage = make_home()
    written = pl.LazyFrame.sink_parquet

    def half(self, path, **more):
        written(self, path, **more)
        os.truncate(path, 10)
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(pl.LazyFrame, "sink_parquet", half)
        with pytest.raises(OSError, match="No space left"):
            stage.turn()
    assert list(stage.home.lake.root.rglob("*.parquet")) == []
    stage.run()
    assert stage.states() == {"planned": 3}
