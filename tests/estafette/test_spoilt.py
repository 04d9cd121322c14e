"""What a disk spoils by itself, at the same size and time: `doctor` finds it, and a rebuild or a backup mends it."""

import json
import os
import random
import shutil

import pytest

from estafette.damage import look_at_files, look_at_lake, look_at_ledger
from estafette.doctor import _safely
from journey.problems import EstafetteError
from resources import rebuild as rebuilding
from resources.backup import make_backup, open_backup
from resources.damage import refuse_damage
from resources.ledger_files import copied_damage
from resources.rebuild import rebuild
from resources.restore import put_back
from tests.lived_in import lived_in
from tests.stage import Stage


@pytest.fixture
def stage(make_home):
    return lived_in(make_home)


def spoil(path, at=0.5, mask=0x10):
    """Flip a bit, and leave size and time as they are."""
    data, stat = bytearray(path.read_bytes()), path.stat()
    data[int(len(data) * at)] ^= mask
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def told(look, stage):
    return [line.found for line in look(stage.home) if line.level == "FAIL"]


def test_a_bit_anywhere_in_any_file_of_the_lake_is_found(stage):
    listed = stage.rows("SELECT path FROM lake_file WHERE dropped_at IS NULL AND path NOT LIKE 'export/%'")
    files = [stage.home.lake.root / path for (path,) in listed]
    assert len({path.split("/")[0] for (path,) in listed}) > 4
    assert told(look_at_lake, stage) == []
    chance = random.Random(4)
    for file in files:
        place, mask = chance.random(), 1 << chance.randrange(8)
        spoil(file, place, mask)
        [what] = told(look_at_lake, stage)
        assert what == f"{file.relative_to(stage.home.lake.root)}: its bytes are not those that were written"
        spoil(file, place, mask)
    assert told(look_at_lake, stage) == []


def test_a_rebuild_makes_again_what_the_disk_spoilt(stage):
    def known():
        events = sorted((row["event_id"], row["contact_id"]) for row in stage.lake("events"))
        reports = sorted((row["message_id"], row["status"]) for row in stage.lake("message_events"))
        return events, reports, stage.home.contacts.frame(["contact_id", "city"]).sort("contact_id").rows()

    before = known()
    for name in ("events", "message_events", "contacts", "contacts_delta"):
        for file in (stage.home.lake.root / name).rglob("*.parquet"):
            spoil(file)
    rebuild(stage.home, stage.lease, stage.now)
    assert known() == before
    assert told(look_at_lake, stage) == []
    assert stage.turn().planned == 0


@pytest.mark.parametrize("kind", ["contacts", "events", "webhooks"])
def test_a_landing_file_that_was_spoilt_is_found_and_a_copy_of_it_mends_it(stage, tmp_path, kind):
    [file] = (stage.path / "landing" / kind).iterdir()
    assert told(look_at_files, stage) == []
    copy = shutil.copy2(file, tmp_path)
    spoil(file)
    [what] = told(look_at_files, stage)
    assert what.startswith(f"landing/{kind}/{file.name}: its bytes are not those that were read")
    assert stage.turn().planned == 0
    assert (f"landing/{kind}/{file.name}", "the disk has spoilt it") in [
        (name, why.split(":")[0]) for name, _, why in rebuild(stage.home, stage.lease, stage.now).lost
    ]
    states = stage.states()
    file.unlink()
    shutil.copy2(copy, file)
    stage.turn()
    assert told(look_at_files, stage) == []
    assert stage.states() == states
    assert stage.send() == []


def test_a_log_that_grows_is_looked_at_as_far_as_it_was_read(stage):
    log = stage.path / "landing/webhooks/log.ndjson"
    with log.open("a") as lines:  # so long that its beginning and its end say nothing of its middle
        lines.write(f'{{"{"x" * 300_000}": 1}}\n')
    stage.turn()
    stage.status(3, "read")
    assert told(look_at_files, stage) == [], "nobody has read its end"
    stage.turn()
    assert told(look_at_files, stage) == []
    spoil(log)
    assert len(told(look_at_files, stage)) == 1
    stage.status(3, "delivered").turn()
    assert len(told(look_at_files, stage)) == 1, "it goes on growing"


def test_a_file_that_somebody_changed_is_not_spoilt(stage):
    file = stage.path / "landing/contacts/people.csv"
    file.write_text(file.read_text().replace("City 1", "City 9"))
    assert told(look_at_files, stage) == []
    stage.turn()
    assert told(look_at_files, stage) == []
    assert stage.home.contacts.frame(["city"])["city"].to_list().count("City 9") == 1


def test_a_spoilt_ledger_is_found_and_a_restore_mends_it(stage, tmp_path):
    made = make_backup(stage.home, tmp_path / "monday")
    path = stage.home.ledger_path()
    page = stage.value("SELECT rootpage FROM sqlite_master WHERE name = 'click'")  # of what nobody asks for here
    stage.home.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096] ^= 0x10
    path.write_bytes(data)
    stage = Stage(stage.path, stage.now)
    try:
        [line] = _safely(look_at_ledger, stage.home)
        assert line.level == "FAIL"
        assert "malformed" in line.found or "it is damaged" in line.found
        assert "estafette restore" in line.mend
        with stage.home.ledger.write() as tx:
            tx.exec_driver_sql("UPDATE lease SET until = 0")
        put_back(stage.home, open_backup(made.path))
        assert copied_damage(path) == []
    finally:
        stage.home.close()


def test_a_spoilt_backup_is_refused_whichever_of_its_files_it_is(stage, tmp_path):
    folder = make_backup(stage.home, tmp_path / "monday").path
    open_backup(folder)
    for name in json.loads((folder / "manifest.json").read_text())["files"]:
        spoil(folder / name)
        with pytest.raises(EstafetteError, match="the backup is damaged"):
            open_backup(folder)
        spoil(folder / name)
    open_backup(folder)


def test_a_restore_brings_the_landing_file_that_the_disk_spoilt(stage, tmp_path):
    folder = make_backup(stage.home, tmp_path / "monday").path
    log = stage.path / "landing/webhooks/log.ndjson"
    whole = log.read_bytes()
    spoil(log)
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 0")
    assert put_back(stage.home, open_backup(folder)).brought == 1
    assert log.read_bytes() == whole


def test_a_rebuild_has_some_rows_at_a_time_in_memory(stage, monkeypatch):
    for number in range(20):
        stage.happens("seen", "c3", number=number)
    stage.turn()
    before = {name: sorted(map(repr, stage.lake(name))) for name in ("message_events",)}
    events = sorted(row["event_id"] for row in stage.lake("events"))
    for name in ("events", "message_events"):
        for file in (stage.home.lake.root / name).rglob("*.parquet"):
            file.unlink()
    monkeypatch.setattr(rebuilding, "PART", 3)
    rebuild(stage.home, stage.lease, stage.now)
    assert sorted(row["event_id"] for row in stage.lake("events")) == events
    assert {"message_events": sorted(map(repr, stage.lake("message_events")))} == before
    assert max(int(row.rows) for row in stage.home.lake.rows("events")) <= 3


def test_a_rebuild_that_was_broken_off_is_known_and_the_next_one_goes_on(stage, monkeypatch):
    before = sorted(row["event_id"] for row in stage.lake("events"))
    for file in (stage.home.lake.root / "events").rglob("*.parquet"):
        file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(rebuilding, "_from_landing", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rebuild(stage.home, stage.lease, stage.now)
    with pytest.raises(EstafetteError, match="broken off"):
        refuse_damage(stage.home)
    rebuild(stage.home, stage.lease, stage.now)
    assert sorted(row["event_id"] for row in stage.lake("events")) == before
    refuse_damage(stage.home)
