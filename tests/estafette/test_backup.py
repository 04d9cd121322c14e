"""`backup`, `restore`, `resume --all`, and what `status` and `doctor` say of damage."""

import errno
import json
import shutil
import subprocess
import sys

import pytest

from resources.backup import make_backup, open_backup
from resources.home import open_home
from resources.lake import Lake
from resources.openers import openers

ROWS = "contact_id,phone,first_name,opted_in\n" + "".join(f"c{n},06123456{n:02},jean,true\n" for n in range(5))


@pytest.fixture
def filled(cli, home, tmp_path):
    """A home with people in it."""
    file = tmp_path / "people.csv"
    file.write_text(ROWS)
    assert cli("import", str(file)).code == 0
    return home


def lines(cli, *, what=None):
    found = cli("doctor", "--json").json["lines"]
    return {(one["what"], one["level"]): one["found"] for one in found if what is None or one["what"] == what}


def test_a_backup_holds_everything_but_secrets(cli, filled, tmp_path):
    target = tmp_path / "safe" / "monday"
    found = cli("backup", str(target), "--json")
    assert found.code == 0
    manifest = json.loads((target / "manifest.json").read_text())
    for name in ("data/ledger.sqlite", "landing/contacts/people.csv", "project/estafette.yaml"):
        assert (target / name).stat().st_size == manifest["files"][name]
    assert any(name.startswith("data/lake/contacts") for name in manifest["files"])
    assert not list(target.rglob(".env"))
    assert [one.name for one in target.parent.iterdir()] == ["monday"]


def test_of_a_log_that_is_being_written_whole_lines_are_kept(filled, tmp_path, monkeypatch):
    log = filled / "landing/webhooks/log.ndjson"
    log.parent.mkdir(exist_ok=True)
    log.write_text('{"object":1}\n')
    copy = shutil.copyfile

    def while_it_grows(source, target):
        if source == log:
            with log.open("a") as more:
                more.write('{"object":2}\n{"obj')
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", while_it_grows)
    with open_home(filled) as home:
        made = make_backup(home, tmp_path / "monday")
    assert (made.path / "landing/webhooks/log.ndjson").read_text() == '{"object":1}\n{"object":2}\n'
    assert open_backup(made.path).files["landing/webhooks/log.ndjson"] == 26


def test_a_backup_goes_into_no_folder_that_is_anything_else(cli, filled, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    assert "not empty" in cli("backup", str(tmp_path / "full")).err
    assert "Name a folder that is not there yet" in cli("backup", str(tmp_path / "full")).err
    assert "can't lie in data/" in cli("backup", str(filled / "data/backup")).err
    assert "there is no backup here" in cli("restore", str(tmp_path / "full")).err


def test_of_a_backup_for_which_there_is_no_room_nothing_is_left(cli, filled, tmp_path, monkeypatch):
    copy = shutil.copyfile

    def full(source, target):
        copy(source, target)
        if source.suffix == ".parquet":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        failed = cli("backup", str(tmp_path / "safe" / "monday"))
    assert failed.code == 1
    assert "No space left on device" in failed.err
    assert list((tmp_path / "safe").iterdir()) == []
    assert cli("backup", str(tmp_path / "safe" / "monday")).code == 0


def test_a_damaged_backup_is_refused_before_anything_changes(cli, filled, tmp_path):
    target = tmp_path / "monday"
    cli("backup", str(target))
    lake = next((target / "data/lake").rglob("*.parquet"))
    lake.write_bytes(lake.read_bytes()[:-1])
    found = cli("restore", str(target))
    assert found.code == 1
    assert "the backup is damaged" in found.err
    assert not list(filled.glob("data.*"))


def test_a_restore_holds_all_sends_and_everybody_says_so_until_they_are_let_go(cli, filled, tmp_path):
    target = tmp_path / "monday"
    cli("backup", str(target))
    found = cli("restore", str(target))
    assert found.code == 0
    assert "All sends are held." in found.out
    (aside,) = filled.glob("data.replaced-*")
    assert (aside / "ledger.sqlite").exists()
    assert "resume --all" in cli("status").out
    assert cli("status", "--json").json["held_after_restore"]["in_doubt"] == 0
    assert ("restore", "FAIL") in lines(cli)
    refused = cli("run", "autumn_offer")
    assert refused.code == 1
    assert "resume --all" in refused.err
    assert cli("resume", "--all").code == 0
    assert cli("status", "--json").json["held_after_restore"] is None
    assert "Nothing is held" in cli("resume", "--all").out
    assert cli("resume", "autumn_offer", "--all").code == 2


def test_a_restore_into_an_empty_folder_brings_the_whole_home(cli, filled, tmp_path, monkeypatch):
    target = tmp_path / "monday"
    cli("backup", str(target))
    env = (filled / ".env").read_text()
    shutil.rmtree(filled)
    filled.mkdir()
    (filled / ".env").write_text(env)
    assert cli("restore", str(target)).code == 0
    with open_home(filled) as again:
        assert again.contacts.count() == 5
        assert again.landing.pending(0) == []


def test_a_restore_refuses_while_somebody_works_or_where_the_backup_is_anothers(cli, filled, tmp_path, monkeypatch):
    target = tmp_path / "monday"
    cli("backup", str(target))
    monkeypatch.setattr("resources.restore.PATIENCE", 0)
    with open_home(filled) as other:
        lease = other.ledger.take("pass", "someone")
        busy = cli("restore", str(target))
        assert busy.code == 1
        assert "someone holds pass" in busy.err
        other.ledger.release(lease)
        with other.ledger.write() as tx:
            tx.exec_driver_sql("UPDATE meta SET value = 'another' WHERE name = 'installation'")
            tx.exec_driver_sql(
                "INSERT INTO message (uid, participant_id, campaign, version, step, visit, contact_id, phone, sender,"
                " share, kind, priority, state, due_at, expires_at, planned_at)"
                " VALUES (1, 1, 'c', 'v', 's', 1, 'c1', '+33', 'main', 1, 'text', 0, 'sent', 1, 1, 1)"
            )
    assert "of another installation" in cli("restore", str(target)).err
    assert not list(filled.glob("data.*"))


def test_a_process_with_the_ledger_open_is_found(filled, tmp_path):
    code = "import sys, time; f = open(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    file = filled / "landing/contacts/people.csv"
    with subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            assert [(one.pid, one.path) for one in openers([filled / "landing"])] == [(other.pid, file)]
        finally:
            other.kill()


def test_the_doctor_finds_files_that_are_gone_or_cut_short(cli, filled):
    assert ("lake", "ok") in lines(cli)
    file = next((filled / "data/lake/contacts").rglob("*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    assert "bytes of" in lines(cli)["lake", "FAIL"]
    file.unlink()
    assert "it is gone" in lines(cli)["lake", "FAIL"]
    (filled / "data/analytics.duckdb").touch()
    assert ("analysts", "warn") not in lines(cli)
    (filled / "data/analytics.duckdb").unlink()
    assert "is not there" in lines(cli)["analysts", "warn"]


def test_the_doctor_and_a_query_say_what_mends_an_export_that_the_disk_has_spoilt(cli, filled):
    assert cli("tick").code == 0
    [file] = (filled / "data/lake/export/contacts").rglob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:40] + bytes(len(whole) - 80) + whole[-40:])
    assert "its bytes are not those that were written" in lines(cli)["analysts", "warn"]
    asked = cli("query", "SELECT * FROM contacts")
    assert asked.code == 1 and "estafette rebuild" in asked.err
    assert cli("rebuild").code == 0
    assert ("analysts", "warn") not in lines(cli)
    assert cli("query", "SELECT * FROM contacts").code == 0


def test_the_doctor_finds_a_damaged_ledger_and_says_what_to_do(cli, filled):
    with open_home(filled) as home, home.ledger.write() as tx:
        tx.exec_driver_sql("PRAGMA writable_schema = ON")
        root = tx.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'quarantine'").scalar()
        tx.exec_driver_sql("UPDATE sqlite_master SET rootpage = ? WHERE name = 'skip'", (root,))
    found = cli("doctor", "--json")
    assert found.code == 1
    (line,) = [one for one in found.json["lines"] if one["what"] == "ledger"]
    assert line["level"] == "FAIL"
    assert "restore" in line["mend"]


def test_a_full_disk_is_one_sentence_and_what_came_in_comes_in_later(cli, tmp_path, monkeypatch, box):
    file = tmp_path / "people.csv"
    file.write_text(ROWS)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "put", full)
        for command in (("import", str(file)), ("tick",)):
            failed = cli(*command)
            assert failed.code == 1
            assert "the disk is full" in failed.err
            assert failed.err.count("\n") <= 2
    assert cli("tick").code == 0
    assert cli("query", "SELECT count(*) AS n FROM contacts", "--json").json["rows"] == [[5]]
