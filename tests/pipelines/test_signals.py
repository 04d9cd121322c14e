"""Events that come in: they end passages, reach goals, meet waits and count clicks; each once, whatever happens."""

import pytest

from pipelines.signals import met_on_arrival, write_met
from tests.stage import NOON, OFFER, TEMPLATES, template

GOALS = (
    OFFER
    + """
settings:
  goals:
    - {event: purchase, where: {amount: {at_least: 20}}, within: 3d}
    - {event: purchase, within: 3d}
  exit_on:
    - {event: order_cancelled}
    - {event: complaint, where: {grave: true}}
"""
)
ENDS = GOALS.replace("within: 3d}\n    - ", "within: 3d, ends_journey: true}\n    - ", 1)
WAIT = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
steps:
  bought:
    wait_for:
      within: 2d
      branches:
        - {event: purchase, where: {amount: {at_least: 20}}, next: hello}
        - {event: visit, next: hello}
      else: end
  hello:
    message: {template: hello, language: fr}
"""


def goals(stage):
    return stage.rows("SELECT contact_id, goal, arm, value FROM goal ORDER BY 1, 2")


def reasons(stage):
    return dict(stage.rows("SELECT contact_id, reason FROM participant ORDER BY 1"))


def met(stage):
    people = "met m JOIN participant p ON p.id = participant_id"
    return stage.rows(f"SELECT contact_id, m.step, branch, event_id FROM {people} ORDER BY 1, 3")


def keyed(stage, **keys):
    """Passages as a trigger with `key: order` would have made them."""
    with stage.home.ledger.write() as tx:
        for contact, key in keys.items():
            tx.exec_driver_sql(
                "UPDATE participant SET key_name = 'order', key = ? WHERE contact_id = ?", (key, contact)
            )


# -- exit_on -----------------------------------------------------------------------------------------------------------


def test_an_exit_event_ends_the_passage_and_what_was_planned_never_goes_out(make_home):
    stage = make_home(campaigns=[GOALS])
    stage.run()
    stage.later(minutes=5).happens("order_cancelled", "c1").happens("complaint", "c2", grave=False).turn()
    assert reasons(stage) == {"c0": None, "c1": "exit_on", "c2": None}
    assert stage.states() == {"cancelled": 1, "planned": 2}
    assert goals(stage) == []
    assert stage.value("SELECT left_at FROM participant WHERE contact_id = 'c1'") == stage.us
    assert len(stage.send()) == 2


def test_an_exit_event_from_before_the_passage_ends_nothing(make_home):
    stage = make_home(campaigns=[GOALS])
    stage.run()
    stage.later(minutes=5).happens("order_cancelled", "c1", at="2026-12-01T11:59:59Z").turn()
    assert reasons(stage)["c1"] is None
    stage.happens("order_cancelled", "c1", at=NOON).turn()
    assert reasons(stage)["c1"] == "exit_on"


def test_who_enters_after_the_exit_event_came_in_leaves_at_once_where_it_happened_since(make_home):
    """A trigger's passage counts from its event: the order was cancelled before the pass that lets it in."""
    stage = make_home(campaigns=[GOALS], contacts=2)
    stage.turn()
    stage.later(minutes=5).happens("order_cancelled", "c0", at=NOON).happens("order_cancelled", "c1", at=NOON).turn()
    stage.run()
    assert reasons(stage) == {"c0": None, "c1": None}, "an audience's passage counts from entering"
    with stage.home.ledger.write() as tx:  # as a trigger lets in: since its event, at noon
        tx.exec_driver_sql("UPDATE participant SET since = since - 300000000")
        tx.exec_driver_sql("DELETE FROM event_cursor WHERE name = 'entered'")
        event = stage.lake("events")[1]["event_id"]
        tx.exec_driver_sql("UPDATE participant SET entry = 'trigger', occurrence = ? WHERE contact_id = 'c1'", (event,))
    stage.turn()
    assert reasons(stage) == {"c0": "exit_on", "c1": None}, "but never by the event that brought it in"


def test_a_passage_with_a_key_ends_by_an_event_with_the_same_key_only(make_home):
    stage = make_home(campaigns=[GOALS], contacts=5)
    stage.run()
    keyed(stage, c0="A1", c1="A1", c2="17", c3="true")
    stage.happens("order_cancelled", "c0", order="A1").happens("order_cancelled", "c1", order="A2")
    stage.happens("order_cancelled", "c2", order=17).happens("order_cancelled", "c3").happens("order_cancelled", "c4")
    stage.turn()
    assert reasons(stage) == {"c0": "exit_on", "c1": None, "c2": "exit_on", "c3": None, "c4": "exit_on"}


# -- goals -------------------------------------------------------------------------------------------------------------


def test_goals_count_once_each_with_their_value_also_after_leaving_and_for_the_control_group(make_home):
    stage = make_home(campaigns=[GOALS])
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE participant SET state = 'control', left_at = entered_at WHERE contact_id = 'c2'")
    stage.later(hours=1).happens("purchase", "c0", amount=19.5).happens("purchase", "c1", amount="30", value=7)
    stage.later(hours=1).happens("purchase", "c0", amount=50).happens("purchase", "c2").turn()
    assert goals(stage) == [
        ("c0", "purchase", "treated", 50.0),
        ("c0", "purchase 2", "treated", 19.5),
        ("c1", "purchase", "treated", 7.0),
        ("c1", "purchase 2", "treated", 7.0),
        ("c2", "purchase 2", "control", None),
    ]
    stage.send()
    stage.turn()
    assert reasons(stage) == {"c0": "end", "c1": "end", "c2": None}
    assert len(goals(stage)) == 5


def test_a_goal_counts_until_its_time_is_over_and_not_a_second_longer(make_home):
    stage = make_home(campaigns=[GOALS])
    stage.run()
    stage.later(days=9).happens("purchase", "c0", at="2026-12-04T12:00:00Z")
    stage.happens("purchase", "c1", at="2026-12-04T12:00:01Z").happens("purchase", "c2", at="2026-12-01T11:59:59Z")
    stage.turn()
    assert [row[:2] for row in goals(stage)] == [("c0", "purchase 2")]


def test_the_earliest_event_is_the_goal_however_late_it_comes(make_home):
    stage = make_home(campaigns=[GOALS], contacts=1)
    stage.run()
    stage.later(hours=3).happens("purchase", "c0", amount=1, event_id="late").turn()
    stage.happens("purchase", "c0", amount=2, at=NOON, event_id="early").turn()
    stage.happens("purchase", "c0", amount=3, event_id="later still").turn()
    assert stage.rows("SELECT event_id, value, count(*) FROM goal") == [("early", 2.0, 1)]


def test_a_goal_may_end_the_journey(make_home):
    stage = make_home(campaigns=[ENDS])
    stage.run()
    stage.happens("purchase", "c0", amount=20).happens("purchase", "c1", amount=19).turn()
    assert reasons(stage) == {"c0": "goal", "c1": None, "c2": None}
    assert stage.states() == {"cancelled": 1, "planned": 2}


def test_of_an_exit_and_a_goal_the_earlier_says_why_and_both_are_known(make_home):
    stage = make_home(campaigns=[ENDS], contacts=2)
    stage.run()
    stage.later(hours=1)
    for contact, first, second in (("c0", "10", "20"), ("c1", "20", "10")):
        stage.happens("purchase", contact, amount=20, at=f"2026-12-01T12:{first}:00Z")
        stage.happens("order_cancelled", contact, at=f"2026-12-01T12:{second}:00Z")
    stage.turn()
    assert reasons(stage) == {"c0": "goal", "c1": "exit_on"}
    assert [row[:2] for row in goals(stage)] == [
        ("c0", "purchase"), ("c0", "purchase 2"), ("c1", "purchase"), ("c1", "purchase 2"),
    ]  # fmt: skip


def test_a_draft_still_counts_goals_and_a_campaign_with_a_hole_catches_up(make_home):
    stage = make_home(campaigns=[GOALS], contacts=2)
    stage.run()
    stage.campaign(GOALS + "draft: true\n").happens("purchase", "c0").turn()
    assert len(goals(stage)) == 1
    stage.campaign(GOALS.replace("segment: everyone", "segment: nobody")).happens("purchase", "c1").turn()
    assert len(goals(stage)) == 1
    stage.campaign(GOALS).turn()
    assert len(goals(stage)) == 2


# -- wait_for ----------------------------------------------------------------------------------------------------------


def test_events_meet_the_branches_of_who_waits_for_them_the_earliest_of_each(make_home):
    stage = make_home(campaigns=[WAIT], contacts=4)
    stage.run()
    stage.later(hours=2).happens("visit", "c0", event_id="v2").happens("visit", "c0", at=NOON, event_id="v1")
    stage.happens("purchase", "c0", amount=20, event_id="p").happens("purchase", "c1", amount=5)
    stage.happens("visit", "c2", at="2026-12-01T11:59:59Z").turn()
    assert met(stage) == [("c0", "bought", 1, "p"), ("c0", "bought", 2, "v1")]


def test_an_event_counts_until_the_deadline_however_late_it_comes_in(make_home):
    stage = make_home(campaigns=[WAIT], contacts=2)
    stage.run()
    with stage.home.ledger.write() as tx:  # nobody looks at the deadline before the events have come
        tx.exec_driver_sql("UPDATE participant SET wake_at = NULL")
    stage.later(days=3).happens("visit", "c0", at="2026-12-03T12:00:00Z").happens(
        "visit", "c1", at="2026-12-03T12:00:01Z"
    )
    stage.turn()
    assert [row[0] for row in met(stage)] == ["c0"]


def test_what_happened_in_the_pass_that_brings_people_to_a_wait_meets_them_too(make_home):
    stage = make_home(campaigns=[WAIT], contacts=2)
    stage.turn()
    stage.happens("visit", "c0", event_id="v")
    stage.run()
    assert met(stage) == [("c0", "bought", 2, "v")]


def test_who_arrives_at_a_wait_is_met_by_what_came_in_with_the_pass(make_home):
    stage = make_home(campaigns=[WAIT], contacts=2)
    stage.run()
    stage.later(hours=1).happens("visit", "c0", event_id="v").happens("visit", "c1", at=NOON).turn()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("DELETE FROM met")
    arrivals = stage.home.ledger.frame(
        "SELECT id, contact_id, 'bought', 2 FROM participant",
        {"participant_id": int, "contact_id": str, "to_step": str, "visit": int},
    )
    rows = met_on_arrival(stage.home, stage.home.project.campaigns["offer"], arrivals, stage.now)
    with stage.home.ledger.write() as tx:
        write_met(tx, rows)
        write_met(tx, rows)
    assert stage.rows("SELECT participant_id, step, visit, branch, event_id FROM met") == [(1, "bought", 2, 2, "v")]


# -- clicks ------------------------------------------------------------------------------------------------------------


def test_a_click_on_a_counted_link_is_a_row_of_its_message_once(make_home):
    stage = make_home(contacts=2)
    stage.run()
    stage.send()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("INSERT INTO link (code, message_id, button, url) VALUES ('aB3', 2, 'Acheter', 'https://x')")
    stage.later(minutes=5)
    for _ in range(2):
        stage.happens("link_clicked", "c1", code="aB3", event_id="k1").happens("link_clicked", "c1", code="ab3").turn()
    stage.happens("link_clicked", "whatsapp:+33600000001", code="aB3", event_id="k2").turn()
    assert stage.rows(
        "SELECT event_id, message_id, participant_id, step, contact_id, button, clicked_at FROM click"
    ) == [
        ("k1", 2, 2, "hello", "c1", "Acheter", stage.us),
        ("k2", 2, 2, "hello", "c1", "Acheter", stage.us),
    ]


# -- cost and crashes --------------------------------------------------------------------------------------------------


def test_a_turn_without_new_events_reads_no_event_and_writes_nothing(make_home, monkeypatch):
    stage = make_home(campaigns=[GOALS])
    stage.run()
    stage.happens("visit", "c0").turn()
    before = stage.rows("SELECT * FROM event_cursor ORDER BY name")

    def no(*_: object) -> None:
        raise AssertionError("an event was read")

    monkeypatch.setattr(stage.home.events, "_read", no)
    stage.turn()
    assert stage.rows("SELECT * FROM event_cursor ORDER BY name") == before


@pytest.mark.parametrize("size", [1, 2])
def test_many_people_are_looked_up_in_parts(make_home, monkeypatch, size):
    monkeypatch.setattr("pipelines.signals.PEOPLE_AT_ONCE", size)
    stage = make_home(campaigns=[ENDS], contacts=7, templates=[*TEMPLATES, template("more")])
    stage.run()
    for number in range(6):
        stage.happens("purchase", f"c{number}", amount=20 if number % 2 else 10)
    stage.turn()
    assert stage.counts("goal", "goal") == {"purchase": 3, "purchase 2": 6}
    assert stage.reasons() == {"goal": 3, None: 4}
