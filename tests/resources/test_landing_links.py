"""Links in the landing zone: those that stay in it are files, those that lead elsewhere are never opened."""

import os
import shutil

import pytest

from pipelines.forgetting import forget
from resources.backup import make_backup
from tests.stage import person

REASON = "it is a link to something outside the landing zone; put a copy of the file here"
LINE = {
    "contacts": '{"contact_id":"c9","phone":"0600000009"}',
    "events": '{"event":"seen","contact_id":"c1","occurred_at":"2026-11-23T10:00:00Z"}',
    "coupons": '{"code":"SECRET"}',
    "requests": '{"request_uuid":"r9","campaign":"offer","users":["c1"],"attribute_values":{}}',
    "webhooks": '{"object":"whatsapp_business_account","entry":[]}',
}


@pytest.mark.parametrize("kind", list(LINE))
def test_a_link_that_leads_elsewhere_is_said_once_and_never_read(make_home, tmp_path, kind):
    stage = make_home(contacts=[person(1)])
    outside = tmp_path / "secret.ndjson"
    outside.write_text(LINE[kind] + "\nTOKEN=secret\n")
    (stage.path / "landing" / kind).mkdir(exist_ok=True)
    link = stage.path / "landing" / kind / "link.ndjson"
    link.symlink_to(outside)
    stage.turn()
    assert stage.rows("SELECT file, line, reason, raw FROM quarantine") == [
        (f"{kind}/link.ndjson", 0, f"the file can't be read: {REASON}", "")
    ]
    assert stage.home.landing.pending(stage.wall) == [], "nobody is woken by it again"
    assert link not in [one.path for one in stage.home.landing.files()]


def test_the_homes_own_secrets_are_elsewhere_too(make_home):
    stage = make_home(contacts=[person(1)])
    (stage.path / ".env").write_text("WHATSAPP_TOKEN=secret\n")
    (stage.path / "landing/contacts/env.csv").symlink_to("../../.env")
    stage.turn()
    assert stage.rows("SELECT reason, raw FROM quarantine") == [(f"the file can't be read: {REASON}", "")]


def test_a_link_within_the_landing_zone_and_a_folder_that_is_a_link_are_read(make_home, tmp_path):
    stage = make_home(contacts=[person(1)])
    landing = stage.path / "landing"
    (landing / ".kept.csv").write_text("contact_id,phone\nc8,0600000008\n")
    (landing / "contacts/link.csv").symlink_to("../.kept.csv")
    shutil.rmtree(landing / "events")
    (tmp_path / "mounted").mkdir()
    (landing / "events").symlink_to(tmp_path / "mounted")
    stage.happens("seen", "c8").turn()
    assert stage.rows("SELECT reason FROM quarantine") == []
    assert stage.home.contacts.frame()["contact_id"].to_list() == ["c1", "c8"]
    assert stage.home.events.scan().collect().height == 1


def test_forget_and_backup_leave_alone_what_a_link_leads_to(make_home, tmp_path):
    stage = make_home(contacts=[person(1, contact_id="somebody-1"), person(2)])
    outside = tmp_path / "outside.csv"
    outside.write_text("contact_id,phone\nsomebody-1,0600000001\n")
    (stage.path / "landing/contacts/link.csv").symlink_to(outside)
    stage.turn()
    folder = make_backup(stage.home, tmp_path / "backup").path
    assert not (folder / "landing/contacts/link.csv").exists()
    done = forget(stage.home, stage.lease, "somebody-1")
    assert outside.read_text() == "contact_id,phone\nsomebody-1,0600000001\n"
    assert done.left == ("landing/contacts/link.csv",), "what still names them is told"


def test_forget_takes_them_out_of_what_a_link_within_the_landing_zone_leads_to(make_home):
    stage = make_home(contacts=[person(2)])
    kept = stage.path / "landing/contacts/one.csv"
    kept.write_text("contact_id,phone\nsomebody-1,0600000001\nc3,0600000003\n")
    (stage.path / "landing/contacts/two.csv").symlink_to("one.csv")
    stage.turn()
    assert forget(stage.home, stage.lease, "somebody-1").left == ()
    assert "somebody-1" not in kept.read_text()
    assert os.readlink(stage.path / "landing/contacts/two.csv") == "one.csv"
    stage.turn()
    assert stage.home.contacts.frame()["contact_id"].to_list() == ["c2", "c3"]
