"""A number that changes hands between planning and sending."""

from tests.stage import OFFER, SETTINGS, person

NIGHT = SETTINGS + 'silent_hours: {from: "21:00", to: "08:00"}\n'


def test_who_got_a_number_overnight_does_not_get_what_was_planned_for_its_last_holder(make_home):
    stage = make_home(now="2026-12-01T20:30:00+00:00", settings=NIGHT, contacts=3)
    stage.run()
    assert stage.states() == {"held": 3}
    stage.contacts([person(0, phone="0611111111"), {**person(1)}], "first.csv").later(hours=1).turn()
    stage.contacts([{"contact_id": "new", "phone": "0600000000", "country": "FR"}], "second.csv").turn()
    assert stage.rows("SELECT contact_id, reason, detail FROM skip") == [
        ("c0", "invalid_phone", "planned for +33600000000, which is no longer the contact's phone")
    ]
    stage.at("2026-12-02T07:00:00+00:00").turn()
    assert {one.id for one in stage.send()} == {2, 3}


def test_a_file_that_changes_something_else_takes_no_message_away(make_home):
    stage = make_home(now="2026-12-01T20:30:00+00:00", settings=NIGHT, contacts=2, campaigns=[OFFER])
    stage.run()
    stage.contacts([{"contact_id": "c0", "country": "BE"}, {"contact_id": "c1", "country": "BE"}]).turn()
    assert stage.states() == {"held": 2}
