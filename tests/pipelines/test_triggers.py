"""Trigger entries: events start journeys, of whom they name, once each."""

import json
from datetime import timedelta

import pytest

from tests.stage import OFFER, in_parts, person

ORDER = """
name: order
sender: main
entries:
  - trigger: {%s}
steps:
  ready:
    message: {template: order, language: fr}
    on_read: {within: 2d, read: end, not_read: end}
"""
STATUS = "event: order_status_changed, where: {status: Ready for pickup}"
KEYED = ORDER % (STATUS + ", key: order_number")


def order(more="", **settings):
    text = ORDER % (STATUS + more)
    if settings:
        text = text.replace("steps:", f"settings: {json.dumps(settings)}\nsteps:")
    return text


def ready(stage, contact="c1", number="A1", **more):
    return stage.happens("order_status_changed", contact, status="Ready for pickup", order_number=number, **more)


def details(stage):
    return {row["detail"] for row in stage.lake("entries")}


def started(make_home, text, **more):
    """A home that knows the campaign: what happens from now on is news."""
    stage = make_home(campaigns=[text], **more)
    stage.turn()
    return stage


def test_an_event_that_matches_starts_the_journey_of_its_actor(make_home):
    stage = started(make_home, order())
    ready(stage, event_id="e7", at=stage.now - timedelta(minutes=3)).turn()
    (row,) = stage.rows(
        "SELECT contact_id, entry, occurrence, priority, attributes, entered_at, since, key, key_name FROM participant"
    )
    assert row[:4] == ("c1", "trigger", "e7", 0)
    assert json.loads(row[4]) == {"order_number": "A1", "status": "Ready for pickup"}
    assert row[5:] == (stage.us, stage.us - 180_000_000, "", None)
    (entry,) = stage.lake("entries")
    assert (entry["entry"], entry["occurrence"], entry["event_id"], entry["outcome"]) == (
        "trigger",
        "e7",
        "e7",
        "entered",
    )
    assert stage.states() == {"planned": 1}


def test_an_event_that_does_not_meet_the_conditions_is_no_entry(make_home):
    stage = started(make_home, order())
    stage.happens("order_status_changed", "c1", status="Shipped")
    stage.happens("something_else", "c1", status="Ready for pickup").turn()
    assert (stage.entered(), stage.lake("entries")) == ([], [])


def test_each_event_starts_one_journey_however_often_it_comes_and_passes_run(make_home):
    stage = started(make_home, order())
    for file in ("a.ndjson", "b.ndjson"):
        ready(stage, event_id="e1", file=file, at=stage.now)
        for _ in range(2):
            stage.turn()
    assert stage.outcomes() == {"entered": 1}


def test_events_from_before_the_campaign_was_seen_start_nothing(make_home):
    stage = make_home(campaigns=[])
    stage.turn()
    ready(stage).turn()
    stage.campaign(order()).turn()
    assert stage.outcomes() == {}
    ready(stage, number="A2").turn()
    assert stage.outcomes() == {"entered": 1}


def test_events_taken_in_by_the_pass_that_first_sees_the_campaign_count(make_home):
    stage = make_home(campaigns=[order()])
    ready(stage).turn()
    assert stage.entered() == ["c1"]


def test_a_campaign_that_contacts_make_whole_takes_the_events_that_came_with_them(make_home):
    # A property that no contact has is a hole once there are contacts; here the same pass brings it and the event.
    text = order().replace("template: order", "template: named, variables: {first_name: {user: first_name}}")
    stage = make_home(campaigns=[text])
    stage.turn()
    stage.reload()
    assert stage.home.project.live_campaigns() == {}
    stage.contacts([person(1, first_name="Jean")])
    ready(stage).turn()
    assert stage.entered() == ["c1"]


@pytest.mark.parametrize(("age", "outcome"), [("24:00:00", "entered"), ("24:00:01", "too_old")])
def test_an_event_may_be_a_day_old_unless_max_age_says_otherwise(make_home, age, outcome):
    hours, minutes, seconds = map(int, age.split(":"))
    stage = started(make_home, order())
    ready(stage, at=stage.now - timedelta(hours=hours, minutes=minutes, seconds=seconds)).turn()
    assert stage.outcomes() == {outcome: 1}


def test_max_age_is_the_entrys_own(make_home):
    stage = started(make_home, order(", max_age: 10m"))
    ready(stage, at=stage.now - timedelta(minutes=10))
    ready(stage, "c2", at=stage.now - timedelta(minutes=11)).turn()
    assert stage.outcomes() == {"entered": 1, "too_old": 1}
    assert stage.entered() == ["c1"]


def test_the_active_period_is_of_the_events_and_its_end_includes_the_day(make_home):
    # Days of Paris: 1 December begins at 23:00 UTC.
    text = order(", active: {from: 2026-12-01, to: 2026-12-02}, max_age: 30d")
    stage = started(make_home, text, now="2026-12-04T12:00:00+00:00", contacts=5)
    moments = ("2026-11-30T22:59:59Z", "2026-11-30T23:00:00Z", "2026-12-02T22:59:59Z", "2026-12-02T23:00:00Z")
    for number, moment in enumerate(moments):
        ready(stage, f"c{number}", at=moment)
    stage.turn()
    assert stage.entered() == ["c1", "c2"]
    assert stage.outcomes() == {"entered": 2, "not_active": 2}


def test_an_active_period_may_end_at_a_time(make_home):
    stage = started(make_home, order(', active: {to: "2026-12-01 12:30"}, max_age: 30d'))  # 11:30 UTC
    ready(stage, "c0", at="2026-12-01T11:30:00Z")
    ready(stage, "c1", at="2026-12-01T11:30:01Z").turn()
    assert stage.entered() == ["c0"]


# --- keys


def test_two_orders_of_one_person_go_side_by_side(make_home):
    stage = started(make_home, KEYED)
    ready(stage, number="A1", event_id="e1")
    ready(stage, number="A2", event_id="e2")
    ready(stage, number="A1", event_id="e3", at=stage.now + timedelta(seconds=1)).turn()
    assert stage.rows("SELECT contact_id, key, key_name, occurrence FROM participant ORDER BY key") == [
        ("c1", "A1", "order_number", "e1"),
        ("c1", "A2", "order_number", "e2"),
    ]
    assert stage.outcomes() == {"entered": 2, "already_in": 1}
    assert stage.states() == {"planned": 2}


def test_without_a_key_a_person_is_in_once_at_a_time(make_home):
    stage = started(make_home, order())
    ready(stage, number="A1")
    ready(stage, number="A2").turn()
    ready(stage, number="A3").turn()
    assert stage.outcomes() == {"entered": 1, "already_in": 2}


def test_a_number_and_a_text_are_the_same_key(make_home):
    stage = started(make_home, KEYED)
    ready(stage, number=17).turn()
    ready(stage, number="17").turn()
    assert stage.outcomes() == {"entered": 1, "already_in": 1}


def test_an_event_without_its_key_is_refused(make_home):
    stage = started(make_home, KEYED)
    stage.happens("order_status_changed", "c1", status="Ready for pickup").turn()
    assert stage.outcomes() == {"refused": 1}
    assert details(stage) == {"the event has no `order_number`, which is the key"}


def test_events_of_one_batch_come_in_by_when_they_occurred(make_home):
    stage = started(make_home, order())
    ready(stage, number="late", event_id="e1", at=stage.now)
    ready(stage, number="early", event_id="e2", at=stage.now - timedelta(minutes=1)).turn()
    assert stage.value("SELECT occurrence FROM participant") == "e2"


def test_a_person_comes_in_again_as_often_as_events_say_unless_a_rule_is_written(make_home):
    stage = started(make_home, order().replace("    on_read: {within: 2d, read: end, not_read: end}\n", ""))
    for _ in range(3):
        ready(stage).turn()
        stage.send()
        stage.later(minutes=1).turn()
    assert stage.outcomes() == {"entered": 3}


def test_a_written_rule_binds_triggers(make_home):
    stage = started(make_home, KEYED.replace("steps:", "settings: {re_entry: {times: 2, per: 7d}}\nsteps:"))
    for number in ("A1", "A2", "A3"):
        ready(stage, number=number)
    stage.turn()
    assert stage.outcomes() == {"entered": 2, "re_entry": 1}
    ready(stage.later(days=7), number="A4").turn()
    assert stage.outcomes() == {"entered": 3, "re_entry": 1}


# --- people named in the event


INVITED = ORDER % "event: team_invited, contacts: {event: member_ids}"


def test_the_people_named_in_the_event_come_in_instead_of_its_actor(make_home):
    stage = started(make_home, INVITED, contacts=5)
    stage.happens("team_invited", "c0", member_ids=["c1", "c3", "c1"], team="red", event_id="e1").turn()
    assert stage.entered() == ["c1", "c3"]
    assert {row[0] for row in stage.rows("SELECT occurrence FROM participant")} == {"e1"}
    assert json.loads(stage.value("SELECT attributes FROM participant"))["team"] == "red"


def test_one_id_will_do_and_the_actor_comes_in_where_it_is_named(make_home):
    stage = started(make_home, INVITED)
    stage.happens("team_invited", "c0", member_ids="c1")
    stage.happens("team_invited", "c0", member_ids=["c0"]).turn()
    assert sorted(stage.entered()) == ["c0", "c1"]


@pytest.mark.parametrize("named", [{}, {"member_ids": []}, {"member_ids": None}, {"member_ids": {"a": 1}}])
def test_an_event_that_names_nobody_is_refused(make_home, named):
    stage = started(make_home, INVITED)
    stage.happens("team_invited", "c0", **named).turn()
    assert stage.outcomes() == {"refused": 1}
    assert details(stage) == {"the event names nobody in `member_ids`"}


# --- ids that nobody has yet


def test_an_unknown_contact_is_waited_for(make_home):
    stage = started(make_home, order())
    ready(stage, "c9", event_id="e1").turn()
    assert (stage.outcomes(), stage.value("SELECT contact_id FROM waiting_entry")) == ({}, "c9")
    occurred = stage.us
    stage.later(hours=24).contacts([person(9)]).turn()
    assert stage.rows("SELECT contact_id, occurrence, since FROM participant") == [("c9", "e1", occurred)]
    assert stage.rows("SELECT * FROM waiting_entry") == []
    assert stage.states() == {"planned": 1}


def test_who_does_not_come_within_a_day_is_refused(make_home):
    stage = started(make_home, order())
    ready(stage, "c9").turn()
    stage.later(hours=23, minutes=59).turn()
    assert stage.outcomes() == {}
    stage.later(minutes=1).turn()
    assert stage.outcomes() == {"unknown_contact": 1}
    stage.contacts([person(9)]).turn()
    assert stage.outcomes() == {"unknown_contact": 1}


def test_a_phone_waits_for_whoever_has_it(make_home):
    stage = started(make_home, order())
    ready(stage, "whatsapp:+33600000009").turn()
    assert stage.entered() == []
    stage.later(hours=1).contacts([person(9)]).turn()
    assert stage.entered() == ["c9"]


def test_those_who_waited_come_in_in_the_order_of_their_events(make_home):
    stage = started(make_home, order())
    ready(stage, "c9", event_id="e2", at=stage.now)
    ready(stage, "c9", event_id="e1", at=stage.now - timedelta(hours=1)).turn()
    stage.later(hours=1).contacts([person(9)]).turn()
    assert stage.value("SELECT occurrence FROM participant") == "e1"
    assert stage.outcomes() == {"entered": 1, "already_in": 1}


# --- stopped, drafts, edits


def stop(stage, name="order"):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = ? WHERE name = ?", (stage.us, name))


def resume(stage):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = NULL, resumed_at = ?", (stage.us,))


def test_what_happens_while_a_campaign_is_stopped_enters_at_resume_within_max_age(make_home):
    stage = started(make_home, order())
    stop(stage)
    ready(stage, "c1").turn()
    ready(stage.later(hours=20), "c2").turn()
    assert stage.outcomes() == {}
    resume(stage.later(hours=5))
    stage.turn()
    assert stage.outcomes() == {"entered": 1, "too_old": 1}
    assert stage.entered() == ["c2"]


def test_a_campaign_with_a_hole_catches_up_once_it_is_mended(make_home):
    stage = started(make_home, order())
    stage.campaign(order().replace("template: order", "template: nothing"))
    ready(stage).turn()
    assert stage.outcomes() == {}
    stage.campaign(order()).later(hours=1).turn()
    assert stage.entered() == ["c1"]


def test_a_file_that_is_gone_for_a_moment_loses_no_event(make_home):
    stage = started(make_home, order())
    file = stage.path / "campaigns/order.yaml"
    text = file.read_text()
    file.unlink()
    ready(stage.reload(), event_id="e1").turn()
    assert stage.outcomes() == {}
    file.write_text(text)
    stage.reload().turn()
    assert stage.outcomes() == {"entered": 1}


def test_what_happens_while_a_campaign_is_a_draft_starts_nothing(make_home):
    stage = started(make_home, order())
    stage.campaign(order().replace("sender: main", "sender: main\ndraft: true"))
    ready(stage, "c1").turn()
    stage.campaign(order()).later(hours=1).turn()
    ready(stage, "c2").turn()
    assert stage.entered() == ["c2"]


def test_who_waits_comes_into_no_stopped_campaign_and_is_let_in_at_resume(make_home):
    stage = started(make_home, order())
    ready(stage, "c9").turn()
    stop(stage)
    stage.later(hours=1).contacts([person(9)]).turn()
    assert stage.outcomes() == {}
    resume(stage.later(hours=1))
    stage.turn()
    assert stage.entered() == ["c9"]


def test_a_trigger_taken_out_and_put_back_later_makes_up_for_nothing(make_home):
    stage = started(make_home, order())
    stage.campaign(OFFER.replace("name: offer", "name: order")).turn()
    ready(stage).turn()
    stage.campaign(order()).turn()
    assert stage.outcomes() == {}


# --- several entries


TWO = KEYED.replace(
    "steps:", "  - trigger: {event: appointment, key: appointment_id}\n  - audience: {segment: everyone}\nsteps:"
)


def test_several_triggers_of_one_campaign_come_in_by_time(make_home):
    text = (ORDER % STATUS).replace("steps:", "  - trigger: {event: appointment}\nsteps:")
    stage = started(make_home, text)
    ready(stage, event_id="e1", at=stage.now)
    stage.happens("appointment", "c1", event_id="e2", at=stage.now - timedelta(minutes=1)).turn()
    assert stage.value("SELECT occurrence FROM participant") == "e2"
    assert stage.outcomes() == {"entered": 1, "already_in": 1}


def test_one_event_that_two_triggers_take_starts_one_journey(make_home):
    text = (ORDER % STATUS).replace("steps:", "  - trigger: {event: order_status_changed}\nsteps:")
    stage = started(make_home, text)
    ready(stage).turn()
    assert stage.outcomes() == {"entered": 1, "already_in": 1}


def test_a_triggers_passage_uses_up_the_audiences_once(make_home):
    stage = started(make_home, TWO)
    ready(stage, "c1").turn()
    stage.run("order")
    assert stage.outcomes() == {"entered": 3, "re_entry": 1}
    ready(stage, "c2", number="B").turn()
    assert stage.outcomes() == {"entered": 4, "re_entry": 1}


def test_an_event_goes_into_every_campaign_that_it_starts(make_home):
    other = order().replace("name: order", "name: another")
    stage = make_home(campaigns=[order(), other])
    stage.turn()
    ready(stage).turn()
    assert stage.rows("SELECT campaign FROM participant ORDER BY 1") == [("another",), ("order",)]


def test_more_people_than_one_transaction_holds_come_in_all(make_home, monkeypatch):
    in_parts(monkeypatch, 7)
    stage = started(make_home, order(), contacts=20)
    for number in range(20):
        ready(stage, f"c{number}", at=stage.now - timedelta(seconds=number))
    stage.turn()
    assert stage.entered() == [f"c{number}" for number in reversed(range(20))]
    assert stage.rows("SELECT position FROM event_cursor WHERE name = 'trigger:order:0'") == [(0,)]


def test_transactional_messages_go_before_bulk(make_home):
    stage = started(make_home, order(), contacts=3)
    stage.campaign(OFFER)
    stage.run()
    ready(stage, "c2").turn()
    stage.send(want=1)
    assert stage.rows("SELECT campaign FROM message WHERE state = 'accepted'") == [("order",)]


def test_a_long_history_that_a_file_brings_is_refused_batch_by_batch(make_home, monkeypatch):
    monkeypatch.setattr("pipelines.triggers.TOGETHER", 2)
    stage = started(make_home, order(), contacts=9)
    for number in range(7):
        ready(stage, f"c{number}", at=stage.now - timedelta(days=9 if number < 6 else 0), file=f"{number}.ndjson")
    stage.turn()
    assert stage.outcomes() == {"too_old": 6, "entered": 1}
    assert not stage.turn().anything
    assert stage.value("SELECT count(*) FROM event_cursor WHERE batch = 7") >= 1


def test_what_somebody_did_before_their_contact_came_is_theirs_when_they_enter(make_home):
    stage = started(make_home, order(exit_on=[{"event": "cancel"}]))
    ready(stage, "whatsapp:+33600000009").turn()
    stage.later(hours=1).happens("cancel", "whatsapp:+33600000009").turn()
    stage.later(hours=1).contacts([{"contact_id": "known", "phone": "+33600000009"}]).turn()
    assert stage.entered() == ["known"]
    assert stage.reasons() == {"exit_on": 1}
    assert stage.states() == {}
    assert {row["contact_id"] for row in stage.lake("events")} == {"known"}


def test_whoever_was_dealt_with_before_a_crash_is_not_again_however_little_is_looked_at_together(
    make_home, monkeypatch
):
    stage = started(make_home, order(re_entry="always"), contacts=6)
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1")
    for number in range(5):
        ready(stage, f"c{number}").turn()
    with stage.home.ledger.write() as tx:  # a pass looked at all of it, and was killed after the third
        tx.exec_driver_sql("UPDATE event_cursor SET position = 3 WHERE name = 'trigger:order:0'")
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = NULL")
    monkeypatch.setattr("pipelines.triggers.TOGETHER", 2)
    stage.turn()
    assert stage.entered() == ["c3", "c4"]
    assert stage.rows("SELECT position FROM event_cursor WHERE name = 'trigger:order:0'") == [(0,)]


def test_events_that_come_after_a_crash_are_all_new(make_home):
    stage = started(make_home, order())
    ready(stage, "c0")
    with stage.home.ledger.write() as tx:  # more had matched then: a condition may ask for the time
        tx.exec_driver_sql("UPDATE event_cursor SET position = 2 WHERE name = 'trigger:order:0'")
    stage.turn()
    ready(stage, "c1").turn()
    assert stage.entered() == ["c1"]
