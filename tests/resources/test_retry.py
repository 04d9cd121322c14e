"""The quarantine read again: what reads now is taken in once, what does not stays, nothing newer is overwritten."""

import json

import pytest

from pipelines.take_in import take_in
from resources import statuses
from resources.retry import asked, retry
from tests.stage import SETTINGS, person


def again(stage):
    """`quarantine retry --all`; gives (line, reason) of what stays."""
    stage.reload()
    with stage.home.ledger.read() as tx:
        ids = [row.id for row in asked(tx)]
    take_in(stage.home, stage.lease, stage.now, final=True)
    done = retry(stage.home, stage.lease, ids, stage.now)
    return [(one.line, one.reason) for one in done if one.reason is not None]


def settings(stage, more):
    (stage.path / "estafette.yaml").write_text(SETTINGS + more)
    return stage.reload()


def people(stage, *columns, ids=None):
    return stage.home.contacts.frame(list(columns), ids).sort("contact_id").rows()


def waiting(stage):
    return stage.value("SELECT count(*) FROM quarantine")


def test_a_row_whose_phone_was_in_use_comes_in_once_the_phone_is_free(make_home):
    stage = make_home(contacts=1)
    stage.turn()
    stage.contacts([{"user id": "x", "phone": "0600000000", "city": "Lyon"}], "two.csv").turn()
    assert again(stage) == [(2, "phone_in_use: another contact has this phone")]
    (stage.path / "landing/contacts/two.csv").unlink()
    stage.contacts([{"contact_id": "c0", "phone": "0611111111"}], "moved.csv").turn()
    assert again(stage) == []
    assert people(stage, "contact_id", "phone", "city") == [("c0", "+33611111111", None), ("x", "+33600000000", "Lyon")]
    assert waiting(stage) == 0
    assert again(stage) == []


def test_a_cell_comes_in_when_the_settings_say_what_it_is(make_home):
    stage = make_home(contacts=[person(n, zip=75000 + n) for n in range(3)])
    stage.turn()
    stage.contacts([person(0), person(1, zip="2A004"), person(9, zip="98000A")], "more.csv").turn()
    assert len(again(stage)) == 2
    settings(stage, "properties: {zip: text}\n")
    assert again(stage) == []
    assert people(stage, "contact_id", "zip", ids=["c1", "c9"]) == [("c1", "2A004"), ("c9", "98000A")]


def test_an_old_row_overwrites_nothing_that_is_newer(make_home):
    stage = make_home(contacts=[person(0, city="Paris", visits=1)])
    stage.turn()
    stage.contacts([person(0, city="Lille", visits="many"), person(1, city="Lyon", visits="few")], "a.csv").turn()
    stage.contacts([person(0, city="Nice")], "b.csv").turn()
    settings(stage, "properties: {visits: text}\n")
    ((line, reason),) = again(stage)
    assert line == 2
    assert "newer data" in reason
    assert people(stage, "contact_id", "city", "visits") == [("c0", "Nice", "1"), ("c1", "Lyon", "few")]


def test_a_row_that_says_when_it_is_of_is_judged_by_that(make_home):
    stage = make_home(contacts=[person(0, city="Paris")])
    stage.turn()
    old, new = {"updated_at": "2026-11-01 10:00"}, {"updated_at": "2026-11-20 10:00"}
    stage.contacts([person(0, city="Lille", opted_in="perhaps", **old)], "a.csv").turn()
    stage.contacts([person(0, city="Nice", **new)], "b.csv").turn()
    with stage.home.ledger.write() as tx:  # as if what an opt-in may say had been learnt since
        tx.exec_driver_sql("UPDATE quarantine SET raw = replace(raw, 'perhaps', 'true')")
    (stage.path / "landing/contacts/a.csv").unlink()
    assert again(stage) == []
    assert people(stage, "contact_id", "city") == [("c0", "Nice")]
    assert waiting(stage) == 0


def test_what_was_mended_in_its_file_is_read_from_there(make_home):
    stage = make_home(contacts=0)
    folder = stage.path / "landing/contacts"
    (folder / "a.csv").write_text("contact_id,phone\nc1,n/a\nc2,nobody\n")
    stage.turn()
    assert waiting(stage) == 2
    (folder / "a.csv").write_text("contact_id,phone\nc1,0612345678\nc2,nobody\n")
    assert [line for line, _ in again(stage)] == [3]
    assert people(stage, "contact_id") == [("c1",)]


def test_a_file_that_could_not_be_read_at_all_is_read_from_its_start(make_home):
    stage = make_home()
    file = stage.path / "landing/events/a.csv"
    file.write_text("event,who,occurred_at\nbought,c0,2026-12-01\n")
    stage.turn()
    ((_, reason),) = again(stage)
    assert "it needs the columns" in reason
    file.write_text("event,contact_id,occurred_at\nbought,c0,2026-12-01\n")
    assert again(stage) == []
    assert [row["event"] for row in stage.lake("events")] == ["bought"]
    assert waiting(stage) == 0


@pytest.mark.parametrize("kept", [True, False])
def test_identical_events_are_as_many_as_there_were(make_home, kept):
    stage = make_home()
    file = stage.path / "landing/events/a.csv"
    file.write_text("event,contact_id,occurred_at,n\nbought,c0,then,1\nbought,c0,then,1\n")
    stage.turn()
    assert len(again(stage)) == 2
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE quarantine SET raw = replace(raw, 'then', '2026-12-01T10:00:00Z')")
    if kept:
        stat = file.stat()
        file.write_text(file.read_text().replace("then", "2026-12-01T10:00:00Z"))
        again(stage)
        assert stat.st_size != file.stat().st_size
    else:
        file.unlink()
        assert again(stage) == []
    assert len(stage.lake("events")) == 2
    assert waiting(stage) == 0


def test_a_delivery_on_which_estafette_failed_counts_once_it_no_longer_does(make_home, monkeypatch):
    stage = make_home()
    stage.run()
    stage.send()

    def broken(*_):
        raise KeyError("status")

    with monkeypatch.context() as patch:
        patch.setattr(statuses, "fold", broken)
        stage.status(1, "delivered").turn()
    assert stage.states() == {"accepted": 3}
    assert waiting(stage) == 1
    assert again(stage) == []
    assert stage.states() == {"accepted": 2, "delivered": 1}
    assert waiting(stage) == 0
    again(stage)
    assert len(stage.lake("message_events")) == 1


def test_a_delivery_that_still_says_nothing_stays(make_home):
    stage = make_home()
    log = stage.path / "landing/webhooks/log.ndjson"
    log.write_text('{"object":"page","entry":[]}\n{broken\n')
    stage.turn()
    assert [line for line, _ in again(stage)] == [1, 2]
    log.unlink()
    assert [line for line, _ in again(stage)] == [1, 2]


def test_codes_and_requests_are_read_again_too(make_home):
    stage = make_home()
    (stage.path / "landing/coupons").mkdir()
    (stage.path / "landing/coupons/autumn.csv").write_text("vouchers,expires_at\nA1,soon\n")
    (stage.path / "landing/requests").mkdir()
    (stage.path / "landing/requests/log.ndjson").write_text('{"request_uuid":"r1","campaign":"offer"}\n')
    stage.turn()
    assert len(again(stage)) == 2
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE quarantine SET raw = replace(raw, 'soon', '2027-01-01') WHERE source = 'coupons'")
        body = json.dumps({"request_uuid": "r1", "campaign": "offer", "users": ["c1"]})
        tx.exec_driver_sql("UPDATE quarantine SET raw = ? WHERE source = 'requests'", (body,))
    for one in ("coupons/autumn.csv", "requests/log.ndjson"):
        (stage.path / "landing" / one).unlink()
    assert again(stage) == []
    assert stage.rows("SELECT pool, code FROM coupon") == [("autumn", "A1")]
    assert stage.rows("SELECT uuid FROM request") == [("r1",)]
