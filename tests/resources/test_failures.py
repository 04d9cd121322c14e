"""Single kinds of failures, where they are easily told wrongly: of the disk, of senders that are gone, of news."""

import errno
import os
from types import SimpleNamespace

import pytest

from resources import disks
from resources.failures import failures
from resources.tables import sender as senders
from tests.stage import SETTINGS, refused

TWO = SETTINGS.replace("consent:", '  second: {phone_number_id: "2", waba_id: "1"}\nconsent:', 1)


def told(stage):
    return {(str(one.kind), one.about) for one in failures(stage.home, stage.home.project, stage.now)}


def kinds(stage):
    return {kind for kind, _ in told(stage)}


def test_a_disk_that_closed_itself_is_seen_whatever_the_permissions_say(make_home, monkeypatch):
    """ext4 after an error: access(2) answers yes, and every write fails."""
    stage, real = make_home(templates=()), os.open

    def closed(path, flags, *more, **others):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, flags, *more, **others)

    assert "disk_closed" not in kinds(stage)
    before = {str(path) for path in stage.path.rglob("*")}
    monkeypatch.setattr(os, "open", closed)
    assert "disk_closed" in kinds(stage)
    assert {str(path) for path in stage.path.rglob("*")} == before, "a look leaves nothing behind"


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EISDIR, errno.ENOSPC])
def test_a_file_system_without_nameless_files_is_not_closed(make_home, monkeypatch, error):
    stage = make_home(templates=())
    monkeypatch.setattr(disks, "NAMELESS", 0)  # a folder can't be opened for writing
    monkeypatch.setattr(os, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(error, "no")))
    assert "disk_closed" not in kinds(stage)


def test_a_disk_without_a_free_file_is_full(make_home, monkeypatch):
    stage = make_home(templates=())
    found = SimpleNamespace(f_bavail=1 << 40, f_frsize=4096, f_files=1_000, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    [full] = [one for one in failures(stage.home, stage.home.project, stage.now) if one.kind == "disk_full"]
    assert full.values == {"free": "0 files"}
    found.f_files = 0  # one that does not count them
    assert "disk_full" not in kinds(stage)


def test_a_sender_taken_out_of_the_settings_is_told_of_no_more(make_home):
    stage = make_home(settings=TWO)
    stage.turn()
    with stage.home.ledger.write() as tx:
        values = {"stopped_at": 1, "stopped_code": 190, "stopped_why": "190", "paused_at": 1, "paused_why": "RED"}
        tx.execute(senders.update().values(slowed_at=int(stage.wall * 1e6), pace=1.0, **values))
    both = {(kind, name) for kind in ("stopped", "resting", "slowed") for name in ("main", "second")}
    assert {(f"sender_{kind}", name) for kind, name in both} <= told(stage)
    (stage.path / "estafette.yaml").write_text(SETTINGS)
    stage.reload()
    assert {name for kind, name in told(stage) if kind.startswith("sender")} == {"main"}


def test_what_waits_for_a_sender_that_is_gone_asks_for_no_pass(make_home):
    """Its messages wait until they expire; nobody can do anything about it."""
    stage = make_home(settings=TWO)
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE message SET sender = 'second'")
        tx.exec_driver_sql("UPDATE lease SET until = 0")
        tx.exec_driver_sql("DELETE FROM meta WHERE name = 'passed_at'")
        tx.exec_driver_sql("UPDATE participant SET wake_at = NULL")
    stage.later(minutes=30)
    assert "no_pass_yet" in kinds(stage)
    (stage.path / "estafette.yaml").write_text(SETTINGS)
    stage.reload()
    assert "no_pass_yet" not in kinds(stage)


def test_metas_news_of_a_template_say_nothing_of_the_token(make_home):
    """What a webhook says has no code of its own; 0 in its place is that of a wrong token."""
    stage = make_home()
    stage.turn()
    news = {"message_template_name": "hello", "message_template_language": "fr", "event": "PAUSED"}
    stage.webhook(news, field="message_template_status_update").turn()
    [held] = [one for one in failures(stage.home, stage.home.project, stage.now) if one.kind == "template_held"]
    assert held.about == "hello (fr)" and held.code is None and held.asks == ""


def test_what_metas_code_asks_for_stands_with_a_campaign_that_it_stopped(make_home):
    stage = make_home()
    stage.run()
    stage.send(refused(131048))
    [stopped] = [one for one in failures(stage.home, stage.home.project, stage.now) if one.kind == "campaign_stopped"]
    assert stopped.code == 131048 and "quality" in stopped.asks
