"""Many people at once are dealt with in portions: the first are sent to at once, and nobody else waits for the rest."""

import pytest

from pipelines import plan as planning
from pipelines import turn as turns
from pipelines.portion import Portion
from tests.stage import OFFER

TRIGGER = """
name: pickup
sender: main
entries:
  - trigger: {event: ready}
steps:
  hello:
    message: {template: order, language: fr}
"""
SPLIT = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
steps:
  wait:
    delay: {for: 1d}
    next: which
  which:
    split: {branches: [{user: {country: FR}, next: hello}], else: end}
  hello:
    message: {template: hello, language: fr}
"""
WAIT = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
settings: {re_entry: always}
steps:
  wait:
    delay: {for: 1d}
"""


@pytest.fixture
def by_twos(monkeypatch):
    monkeypatch.setattr(turns, "Portion", lambda: Portion(2))


def test_the_first_of_a_large_audience_are_sent_to_while_others_have_not_come_in(make_home, by_twos):
    stage = make_home(contacts=5)
    made = stage.run()
    assert (made.entered.entered, made.planned, made.more) == (2, 2, True)
    assert len(stage.send()) == 2
    made = stage.turn()
    assert (made.entered.entered, made.planned, made.more) == (2, 2, True)
    made = stage.turn()
    assert (made.entered.entered, made.planned, made.more) == (1, 1, False)
    assert not stage.turn().anything
    assert len(stage.entered()) == len(set(stage.entered())) == 5
    assert stage.value("SELECT done_at IS NOT NULL FROM occurrence") == 1


def test_the_page_that_is_read_ahead_is_within_the_portion_too(make_home, monkeypatch):
    stage = make_home(contacts=5)
    with monkeypatch.context() as patch:
        patch.setattr(turns, "plan", lambda *_: 0)
        stage.run()
    monkeypatch.setattr(planning, "TOGETHER", 1)
    portions = [Portion(2), Portion(2), Portion(2), Portion(2)]
    assert [planning.plan(stage.home, stage.lease, stage.now, one) for one in portions] == [2, 2, 1, 0]
    assert [bool(one.left) for one in portions] == [True, True, False, False]


def test_who_enters_later_is_not_let_in_with_a_portion_that_has_room(make_home):
    when = "{segment: everyone, when: {at: '2026-12-01 13:00', timezone: contact}}"
    rows = [
        {"contact_id": f"c{n}", "phone": f"06{n:08}", "country": "FR", "timezone": zone}
        for n, zone in enumerate(["Europe/Paris", "Europe/Paris", "Europe/London", "America/New_York"])
    ]
    stage = make_home(campaigns=[OFFER.replace("{segment: everyone}", when)], contacts=rows)
    assert stage.turn().entered.entered == 2
    stage.later(minutes=59)
    assert not stage.turn().entered.anything
    assert stage.later(minutes=1).turn().entered.entered == 1
    assert stage.later(hours=5).turn().entered.entered == 1


def test_an_event_that_comes_meanwhile_does_not_wait_for_a_large_audience(make_home, by_twos):
    stage = make_home(campaigns=[OFFER, TRIGGER], contacts=7)
    assert stage.run().more
    stage.happens("ready", "c6")
    assert stage.turn().more
    assert stage.rows("SELECT contact_id FROM message WHERE campaign = 'pickup'") == [("c6",)]
    assert stage.value("SELECT count(*) FROM participant WHERE campaign = 'offer'") == 4


def test_people_who_are_due_at_once_move_on_in_portions(make_home, monkeypatch):
    stage = make_home(campaigns=[SPLIT], contacts=5)
    stage.run()
    monkeypatch.setattr(turns, "Portion", lambda: Portion(2))
    monkeypatch.setattr("pipelines.advance.PAGE", 2)
    stage.later(days=1)
    while stage.turn().more:
        assert stage.value("SELECT count(*) FROM message") < 5
    assert stage.states() == {"planned": 5}
    assert stage.moves() == sorted(
        (f"c{n}", *move) for n in range(5) for move in [("wait", "next", "which"), ("which", "1", "hello")]
    )


def test_whoever_is_due_to_leave_leaves_before_they_are_asked_in_again(make_home, by_twos, monkeypatch):
    monkeypatch.setattr("pipelines.advance.PAGE", 2)
    stage = make_home(campaigns=[WAIT], contacts=5)
    made = stage.run()
    while made.more:
        made = stage.turn()
    stage.later(days=1)
    made = stage.run()
    while made.more:
        made = stage.turn()
    assert stage.outcomes() == {"entered": 10}


def test_a_request_for_many_is_dealt_with_in_portions(make_home, by_twos):
    campaign = OFFER.replace("- audience: {segment: everyone}", "- api: {}")
    stage = make_home(campaigns=[campaign], contacts=5)
    stage.turn()
    made = stage.asks("offer", users=[f"c{n}" for n in range(5)]).turn()
    assert (made.entered.entered, made.more) == (2, True)
    while made.more:
        made = stage.turn()
    assert stage.entered() == [f"c{n}" for n in range(5)]
    assert stage.value("SELECT position FROM request") == 5
