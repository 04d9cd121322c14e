"""Holding: what silent hours, templates and media hold goes out later, or is skipped with the right cause."""

import pytest

from pipelines import expiring, holding
from pipelines.holding import wait_is_over
from resources.ledger import US
from resources.stopping import resume_campaign
from tests.stage import OFFER, SETTINGS, person, refused, template

NIGHT = SETTINGS + 'silent_hours: {from: "21:00", to: "08:00", days_off: [sun]}\n'
SILENT = OFFER.replace("steps:", 'settings: {silent_hours: {from: "21:00", to: "08:00"}}\nsteps:')
HELD = "SELECT state, held_why FROM message"


def evening(make_home, **more):
    """One in Paris, one in Tokyo (where it is five in the morning), at 21:30 in Paris on a Tuesday."""
    people = [person(0, timezone="Europe/Paris"), person(1, timezone="Asia/Tokyo")]
    stage = make_home(**{"now": "2026-12-01T20:30:00+00:00", "settings": NIGHT, "contacts": people, **more})
    stage.run()
    return stage


def due(stage):
    """In minutes from 1 December, midnight in Paris."""
    start = 1_796_079_600 * US
    assert start == 1_796_079_600_000_000
    return {c: (at - start) / 60 / US for c, at in stage.rows("SELECT contact_id, due_at FROM message")}


def sent(stage):
    return sorted(stage.value("SELECT contact_id FROM message WHERE id = ?", one.id) for one in stage.send())


def test_what_is_planned_in_silent_hours_is_held_to_the_first_minute_where_each_lives(make_home):
    stage = evening(make_home)
    assert stage.rows(HELD) == [("held", "silent_hours")] * 2
    assert due(stage) == {"c0": 32 * 60, "c1": 24 * 60}  # eight o'clock in Paris; in Tokyo
    assert sent(stage.turn() and stage) == []
    stage.at("2026-12-01T22:59:59+00:00").turn()
    assert sent(stage) == []
    stage.at("2026-12-01T23:00:00+00:00").turn()
    assert sent(stage) == ["c1"]
    stage.at("2026-12-02T07:00:00+00:00").turn()
    assert sent(stage) == ["c0"]


def test_at_the_first_minute_a_pass_is_asked_for(make_home):
    stage = evening(make_home)

    def asked():
        with stage.home.ledger.read() as tx:
            return wait_is_over(tx, stage.us, int(stage.wall * US))

    assert not asked()
    stage.at("2026-12-02T07:00:00+00:00")
    assert asked()
    stage.turn()
    assert not asked()
    stage.at("2026-12-02T20:00:00+00:00")  # they did not go out, and silence begins
    assert asked()


def test_the_project_hours_hold_where_a_campaign_has_none_of_its_own(make_home):
    plain = OFFER.replace("name: offer", "name: plain")
    none = OFFER.replace("name: offer", "name: awake").replace("steps:", "settings: {silent_hours: none}\nsteps:")
    stage = make_home(now="2026-12-01T20:30:00+00:00", settings=NIGHT, contacts=1, campaigns=[plain, none])
    stage.run("plain")
    stage.run("awake")
    assert stage.rows("SELECT campaign, state FROM message ORDER BY campaign") == [
        ("awake", "planned"),
        ("plain", "held"),
    ]


def test_a_campaigns_hours_replace_the_projects(make_home):
    stage = make_home(now="2026-12-06T12:00:00+00:00", settings=NIGHT, contacts=1, campaigns=[SILENT])  # a Sunday
    stage.run()
    assert stage.states() == {"planned": 1}


def test_a_zone_that_is_unknown_or_missing_is_the_settings(make_home):
    people = [person(0, timezone=""), person(1, timezone="Mars/Base")]
    stage = evening(make_home, contacts=people)
    assert set(due(stage).values()) == {32 * 60}


def test_silent_hours_hold_text_and_transactional_messages_too(make_home):
    order = OFFER.replace("template: hello", "template: order")
    stage = evening(make_home, campaigns=[order])
    assert stage.states() == {"held": 2}


def test_what_has_not_gone_out_when_silence_begins_is_held_for_the_morning(make_home):
    stage = make_home(now="2026-12-01T19:30:00+00:00", settings=NIGHT, contacts=1)
    stage.run()
    assert stage.states() == {"planned": 1}
    stage.at("2026-12-01T20:00:00+00:00")
    assert sent(stage) == [], "no lane takes it, even before a pass has seen it"
    stage.turn()
    assert stage.rows(HELD) == [("held", "silent_hours")]
    stage.at("2026-12-02T07:00:00+00:00").turn()
    assert sent(stage) == ["c0"]


def test_a_pass_that_comes_two_nights_late_holds_nothing_that_may_go_out_now(make_home):
    stage = make_home(now="2026-12-01T19:30:00+00:00", settings=NIGHT, contacts=1)
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE message SET expires_at = expires_at + 3 * 86400000000")
    stage.at("2026-12-03T12:00:00+00:00").turn()
    assert sent(stage) == ["c0"]
    assert stage.value("SELECT quiet_at FROM message") == stage.us + 8 * 3600 * US


@pytest.mark.parametrize(("expires", "minutes"), [("1h", 1), ("10m", 1), ("20h", 9.5 * 60)])
def test_a_held_message_waits_to_its_expiry_or_to_the_end_of_the_first_allowed_minute(make_home, expires, minutes):
    text = OFFER.replace("language: fr}", f"language: fr, expires: {expires}}}")
    stage = evening(make_home, contacts=1, campaigns=[text])
    stage.at("2026-12-02T07:00:00+00:00").turn()
    assert stage.value("SELECT expires_at FROM message") == stage.us + minutes * 60 * US
    stage.later(minutes=minutes).turn()
    assert stage.skips() == {}
    stage.later(microseconds=1).turn()
    assert stage.rows("SELECT reason, detail FROM skip") == [("too_late", "not sent before it expired")]


def test_what_expired_before_silence_began_is_too_late_and_not_held(make_home):
    text = OFFER.replace("language: fr}", "language: fr, expires: 10m}")
    stage = make_home(now="2026-12-01T19:30:00+00:00", settings=NIGHT, contacts=1, campaigns=[text])
    stage.run()
    stage.at("2026-12-01T20:10:00+00:00").turn()
    assert stage.skips() == {"too_late": 1}


def test_not_after_bounds_what_silent_hours_hold(make_home):
    bounded = OFFER.replace(
        "{segment: everyone}",
        '{segment: everyone, when: {at: "2026-12-01 21:30", not_after: "2026-12-01 22:00"}}',
    )
    stage = make_home(now="2026-12-01T20:00:00+00:00", settings=NIGHT, contacts=1, campaigns=[bounded])
    stage.turn()
    stage.at("2026-12-01T20:30:00+00:00").turn()
    assert stage.states() == {"held": 1}
    stage.at("2026-12-01T21:00:01+00:00").turn()
    assert stage.rows("SELECT reason, detail FROM skip") == [("too_late", "held by silent hours until it expired")]


def test_who_wrote_in_the_last_15_minutes_is_awake_until_those_are_over(make_home):
    stage = make_home(now="2026-12-01T20:30:00+00:00", settings=NIGHT, contacts=2)
    stage.turn()
    stage.says("+33600000001", "Bonjour").later(minutes=5)
    stage.run()
    assert stage.rows("SELECT contact_id, state FROM message ORDER BY 1") == [("c0", "held"), ("c1", "planned")]
    assert stage.value("SELECT quiet_at FROM message WHERE contact_id = 'c1'") == stage.us + 600 * US
    stage.later(minutes=10)
    assert sent(stage) == []
    stage.turn()
    assert stage.rows("SELECT DISTINCT state, due_at FROM message") == [("held", 1_796_194_800_000_000)]


def test_who_writes_in_the_night_lets_go_what_is_held_for_them(make_home):
    stage = evening(make_home, contacts=2)
    stage.later(hours=2)
    stage.says("+33600000001", "Je ne dors pas").turn()
    assert sent(stage) == ["c1"]
    assert stage.states() == {"accepted": 1, "held": 1}


def test_who_wrote_longer_ago_sleeps(make_home):
    stage = make_home(now="2026-12-01T20:30:00+00:00", settings=NIGHT, contacts=1)
    stage.says("+33600000000", "Bonjour").turn()
    stage.later(minutes=15)
    stage.run()
    assert stage.states() == {"held": 1}


def test_a_template_that_is_approved_in_the_night_waits_for_the_morning(make_home):
    stage = evening(make_home, contacts=1, templates=[template("hello", status="PENDING")])
    assert stage.rows(HELD) == [("held", "template_not_approved")]
    stage.template(template("hello")).later(hours=1).turn()
    assert stage.rows(HELD) == [("held", "silent_hours")]
    stage.at("2026-12-02T07:00:00+00:00").turn()
    assert sent(stage) == ["c0"]


def test_a_template_that_is_approved_after_its_message_expired_is_the_reason_all_the_same(make_home):
    stage = make_home(contacts=1, templates=[template("hello", status="PENDING")])
    stage.run()
    stage.template(template("hello")).later(days=3).turn()
    assert stage.skips() == {"template_not_approved": 1}


@pytest.mark.parametrize(("approved", "goes"), [("2026-12-02T22:00:00+00:00", ["c0"]), (None, [])])
def test_what_a_template_holds_until_it_expires_in_the_night_is_held_to_the_morning(make_home, approved, goes):
    """Its 24 hours are over at half past nine in the evening: the first minute that silent hours allow is later."""
    stage = evening(make_home, contacts=1, templates=[template("hello", status="PENDING")])
    stage.at("2026-12-02T20:45:00+00:00").turn()
    assert stage.skips() == {}
    if approved:
        stage.template(template("hello")).at(approved).turn()
        assert stage.rows(HELD) == [("held", "silent_hours")]
    stage.at("2026-12-03T07:00:00+00:00").turn()
    assert stage.skips() == {}
    assert sent(stage) == goes
    stage.at("2026-12-03T07:01:01+00:00").turn()
    assert stage.skips() == ({} if goes else {"template_not_approved": 1})


def test_a_pass_that_comes_after_the_night_in_which_a_message_expired_gives_it_up(make_home):
    stage = evening(make_home, contacts=1, templates=[template("hello", status="PENDING")])
    stage.at("2026-12-03T07:01:01+00:00").turn()
    assert stage.skips() == {"template_not_approved": 1}


def test_media_that_meta_could_not_fetch_are_tried_each_minute_and_not_in_the_night(make_home):
    stage = make_home(now="2026-12-01T19:59:30+00:00", settings=NIGHT, contacts=1)
    stage.run()
    stage.send(refused(131052))
    assert stage.rows(HELD) == [("held", "media_unreachable")]
    stage.later(seconds=61).turn()
    assert stage.rows(HELD) == [("held", "silent_hours")]
    stage.at("2026-12-02T07:00:00+00:00").turn()
    assert sent(stage) == ["c0"]


def test_silent_hours_and_the_time_a_campaign_stood_still_do_not_add_up_to_a_skip(make_home):
    """Stopped in the evening, resumed at noon: what was held goes out then, and is not too late."""
    text = OFFER.replace("language: fr}", "language: fr, expires: 1h}")
    stage = evening(make_home, contacts=1, campaigns=[text])
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = ?", (stage.us,))
    stage.at("2026-12-02T07:00:00+00:00").turn()
    assert sent(stage) == []
    stage.at("2026-12-02T12:00:00+00:00").turn()
    assert stage.skips() == {}
    resume_campaign(stage.home.ledger, stage.home.project, "offer", stage.us)
    stage.turn()
    assert sent(stage) == ["c0"]


def test_what_is_resumed_in_the_night_is_held_until_the_morning(make_home):
    stage = make_home(now="2026-12-01T19:30:00+00:00", settings=NIGHT, contacts=1)
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = ?", (stage.us,))
    stage.at("2026-12-01T22:00:00+00:00")
    resume_campaign(stage.home.ledger, stage.home.project, "offer", stage.us)
    assert sent(stage) == []
    stage.turn()
    assert stage.rows(HELD) == [("held", "silent_hours")]
    stage.at("2026-12-02T07:00:00+00:00").turn()
    assert sent(stage) == ["c0"]


@pytest.mark.parametrize(
    ("day", "utc"),
    [("2027-03-27", "2027-03-28T06:00:00+00:00"), ("2027-10-30", "2027-10-31T07:00:00+00:00")],
)
def test_over_a_night_in_which_clocks_are_set_the_morning_is_eight_by_the_clock(make_home, day, utc):
    stage = make_home(now=f"{day}T22:00:00+00:00", contacts=1, campaigns=[SILENT])
    stage.run()
    stage.at(utc).later(seconds=-1).turn()
    assert sent(stage) == []
    stage.later(seconds=1).turn()
    assert sent(stage) == ["c0"]


def test_looks_for_what_is_over_use_their_indexes(make_home):
    stage = make_home()
    for query, params, index in (
        (holding._DUE, (1,), "message_silent"),
        (holding._SILENT, {"now": 1}, "message_quiet"),
        (holding._AWAKE, {"now": 1, "since": 1}, "reply_recent"),
        (expiring.OVER, (1,), "message_expiry"),
        (holding._MEDIA, ("media_unreachable", 1, 1), "message_held"),
    ):
        of = holding.Of.all_but(["second"])
        named = isinstance(params, dict)
        whole = f"{query}{of.sql.replace('?', ':names') if named else of.sql}"
        more = {**params, "names": of.names} if named else (*params, of.names)
        for asked, bound in ((query, params), (whole, more)):
            with stage.home.ledger.read() as tx:
                plan = " ".join(str(row[-1]) for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", bound))
            assert index in plan, plan
            assert "SCAN m" not in plan, plan
