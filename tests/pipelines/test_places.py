"""Entries that stand elsewhere in their file: what is known of each goes along."""

from pipelines.places import went
from tests.stage import OFFER, person

TRIGGER = "  - trigger: {event: buy}\n"
SIGNED = "  - trigger: {event: signed}\n"
AUDIENCE = "  - audience: {segment: everyone}\n"
MORNING = "  - audience: {segment: everyone, when: {at: '2026-12-01 13:30', timezone: Europe/Paris}}\n"
LATER = "  - audience: {segment: later, when: {at: '2026-12-01 13:30', timezone: Europe/Paris}}\n"
LOCAL = "  - audience: {segment: everyone, when: {at: '2026-12-01 14:00', timezone: contact, if_past: now}}\n"
SEGMENTS = {"everyone.yaml": "all:\n  - {user: {country: FR}}\n", "later.yaml": "all:\n  - {user: {country: XX}}\n"}


def file(*entries):
    head, _, steps = OFFER.replace(AUDIENCE, "").partition("steps:")
    return f"{head}{''.join(entries)}settings: {{re_entry: always}}\nsteps:{steps}"


def stopped(stage, at):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = ?", (at,))


def sent(stage):
    """Everything that may goes out, and whoever has got it leaves."""
    stage.send()
    stage.turn()
    return stage.entered()


def test_each_entry_goes_to_where_it_stands_now():
    assert went({0: "a", 1: "b"}, {0: "x", 1: "a", 2: "b"}) == {0: 1, 1: 2}
    assert went({0: "a", 1: "b"}, {0: "b", 1: "a"}) == {0: 1, 1: 0}
    assert went({0: "a", 1: "b"}, {0: "b"}) == {1: 0}
    assert went({0: "a", 1: "a"}, {1: "a", 2: "a"}) == {0: 2}
    assert went({0: "a"}, {0: "edited"}) == {}


def test_events_of_while_it_was_stopped_enter_also_when_the_trigger_has_moved_down(make_home):
    stage = make_home(campaigns=[file(TRIGGER)])
    stage.turn()
    stopped(stage, stage.us)
    stage.happens("buy", "c1").turn()
    stage.campaign(file(SIGNED, TRIGGER)).turn()
    stopped(stage, None)
    stage.turn()
    assert stage.entered() == ["c1"]


def test_a_trigger_that_moves_up_does_not_take_over_what_the_one_before_it_has_not_looked_at(make_home):
    stage = make_home(campaigns=[file(SIGNED)])
    stage.turn()
    stopped(stage, stage.us)
    stage.happens("buy", "c1").turn()  # before anything was said of it
    stage.campaign(file(SIGNED, TRIGGER)).turn()
    stage.campaign(file(TRIGGER)).turn()
    stopped(stage, None)
    stage.turn()
    assert stage.entered() == []


def test_an_audience_of_this_morning_does_not_come_in_again_when_an_entry_is_put_in_front(make_home):
    stage = make_home(campaigns=[file(MORNING)], segments=SEGMENTS)
    stage.turn()
    stage.later(minutes=30).turn()
    assert sent(stage) == ["c0", "c1", "c2"]
    stage.later(minutes=10).campaign(file(TRIGGER, MORNING)).turn()
    assert stage.entered() == ["c0", "c1", "c2"]
    assert stage.rows("SELECT entry FROM occurrence") == [(1,)]


def test_who_is_still_to_enter_at_their_time_does_so_once_wherever_the_entry_stands(make_home):
    people = [person(0), person(1, timezone="America/New_York")]
    stage = make_home(campaigns=[file(LOCAL)], contacts=people)
    stage.turn()
    stage.later(hours=1).turn()  # 14:00 in Paris
    assert sent(stage) == ["c0"]
    stage.later(minutes=10).campaign(file(TRIGGER, LOCAL)).turn()
    assert sent(stage) == ["c0"]
    stage.later(hours=5, minutes=50).turn()  # 14:00 in New York
    assert stage.entered() == ["c0", "c1"]
    assert stage.outcomes() == {"entered": 2}


def test_an_entry_that_takes_the_place_of_one_that_is_no_more_keeps_its_own_occurrence(make_home):
    stage = make_home(campaigns=[file(LATER, MORNING)], segments=SEGMENTS)
    stage.turn()
    stage.later(minutes=30).turn()
    assert sent(stage) == ["c0", "c1", "c2"]
    stage.later(minutes=1).campaign(file(MORNING)).turn()
    assert stage.entered() == ["c0", "c1", "c2"]
    stage.later(minutes=1).campaign(file(TRIGGER, MORNING, LATER)).turn()
    assert stage.entered() == ["c0", "c1", "c2"]


def test_two_entries_that_change_places_change_nothing_else(make_home):
    stage = make_home(campaigns=[file(MORNING, LATER)], segments=SEGMENTS)
    stage.turn()
    stage.later(minutes=30).turn()
    assert sent(stage) == ["c0", "c1", "c2"]
    stage.later(minutes=1).campaign(file(LATER, MORNING)).turn()
    assert stage.entered() == ["c0", "c1", "c2"]
    assert len(stage.rows("SELECT 1 FROM occurrence")) == 2
