"""Events that come in: they end passages, reach goals, meet waits and count clicks; each once, whatever happens."""

import itertools
import random
import shutil
from datetime import UTC, datetime

import pytest

from pipelines.signals import look_at_events, met_on_arrival, write_met
from pipelines.take_in import take_in
from resources.ledger import Ledger
from tests.pipelines.test_turn import Crash, crash_at
from tests.stage import NOON, OFFER, SETTINGS, TEMPLATES, Stage, template, write_home

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


# -- with triggers, whole ----------------------------------------------------------------------------------------------

TAPPED = template(
    "tapped",
    category="UTILITY",
    buttons=[
        {
            "type": "URL",
            "text": "Voir",
            "url": "https://go.example.com/r/{{1}}",
            "example": ["https://go.example.com/r/1"],
        }
    ],
)
LINKED = SETTINGS + 'links: {base_url: "https://go.example.com"}\n'
ORDERS = """
name: offer
sender: main
entries:
  - trigger: {event: order_ready, key: order}
settings:
  goals: [{event: order_ready, within: 1d}, {event: picked_up, within: 7d, ends_journey: true}]
  exit_on: [{event: order_cancelled}]
steps:
  ready:
    message: {template: tapped, language: fr, buttons: {Voir: {link: "https://shop.example.com/o"}}}
    next: picked
  picked:
    wait_for:
      within: 2d
      branches: [{event: rated, next: end}, {click: ready, next: end}, {reply_to: ready, is: [Oui], next: end}]
      else: late
  late:
    message: {template: order, language: fr}
"""


def passages(stage):
    return stage.rows("SELECT contact_id, key, step, state, reason FROM participant ORDER BY 1, 2")


def test_an_order_that_was_cancelled_before_the_pass_that_lets_it_in_sends_nothing(make_home):
    stage = make_home(campaigns=[ORDERS], contacts=2, templates=[*TEMPLATES, TAPPED], settings=LINKED)
    stage.turn()
    moment = stage.now
    stage.later(minutes=5)
    for key in ("A", "B"):
        stage.happens("order_ready", "c0", at=moment, order=key)
    stage.happens("order_ready", "c1", at=moment, order="C")
    stage.happens("order_cancelled", "c0", at=moment.replace(minute=1), order="A")
    stage.happens("order_cancelled", "c1", at="2026-12-01T11:59:59Z", order="C").turn()
    assert passages(stage) == [
        ("c0", "A", "ready", "ended", "exit_on"),
        ("c0", "B", "ready", "waiting", None),
        ("c1", "C", "ready", "waiting", None),
    ]
    assert stage.states() == {"planned": 2}


def test_the_event_that_brings_a_passage_in_is_no_goal_of_it_but_another_of_its_kind_is(make_home):
    stage = make_home(campaigns=[ORDERS], contacts=1, templates=[*TEMPLATES, TAPPED], settings=LINKED)
    stage.turn()
    stage.happens("order_ready", "c0", order="A").turn()
    assert goals(stage) == []
    stage.later(hours=1).happens("order_ready", "c0", order="A").turn()
    stage.later(hours=1).happens("picked_up", "c0", order="A").turn()
    assert [row[1] for row in goals(stage)] == ["order_ready", "picked_up"]
    assert stage.reasons() == {"goal": 1}


def acts():
    """What happens, one act after the other: all that signals do, for several people."""

    def orders(stage):
        for contact, key in (("c0", "A"), ("c0", "B"), ("c1", "C"), ("c2", "D"), ("c3", "E"), ("c4", "F")):
            stage.happens("order_ready", contact, order=key, event_id=f"o{key}", file="a.ndjson")
        stage.happens("order_cancelled", "c0", order="B", event_id="x", file="a.ndjson")

    def events(stage):
        code = stage.value("SELECT code FROM link JOIN message m ON m.id = message_id WHERE contact_id = 'c2'")
        stage.happens("picked_up", "c0", order="A", value=3, event_id="e1", file="b.ndjson")
        stage.happens("rated", "c1", order="C", event_id="e2", file="b.ndjson")
        stage.happens("link_clicked", "c2", code=code, event_id="e3", file="b.ndjson")
        stage.happens("order_cancelled", "c3", order="E", event_id="e4", file="b.ndjson")

    def words(stage):
        log = "c.ndjson"
        stage.webhook(said("33600000004", "Oui", 1), said("33600000003", "Start", 2), said("33600000003", "Stop", 3),
                      said("33600000002", "Merci", 4), file=log)  # fmt: skip

    def said(phone, text, number):
        moment = str(int(NOON.timestamp()) + 7200 + number)
        message = {"from": phone, "id": f"wamid.i{number}", "timestamp": moment, "type": "text", "text": {"body": text}}
        return {"contacts": [{"wa_id": phone}], "messages": [message]}

    return [
        (0, orders),
        (0, lambda stage: stage.send()),
        (60, None),
        (3600, events),
        (7300, words),
        (2 * 86_400 + 70, None),
    ]


def facts(stage):
    """What is true at the end, without the numbers that a crash may change."""
    who = "participant p ON p.id = participant_id ORDER BY 1, 2, 3"
    return {
        "participants": stage.rows("SELECT contact_id, key, step, reason, left_at FROM participant ORDER BY 1, 2"),
        "messages": stage.rows("SELECT contact_id, step, visit, state FROM message ORDER BY participant_id, step"),
        "goals": stage.rows(f"SELECT p.contact_id, p.key, goal, event_id, value, reached_at FROM goal JOIN {who}"),
        "met": stage.rows(f"SELECT p.contact_id, p.key, branch, event_id, met_at FROM met JOIN {who}"),
        "clicks": stage.rows(f"SELECT p.contact_id, p.key, event_id, clicked_at FROM click JOIN {who}"),
        "replies": stage.rows("SELECT wamid, text, step, late FROM reply ORDER BY 1"),
        "skips": stage.rows("SELECT contact_id, step, reason FROM skip ORDER BY 1, 2"),
        "consent": stage.rows("SELECT contact_id, change, scope, cause FROM consent_history ORDER BY 1, id"),
        "moves": stage.moves(),
        "entries": sorted((row["contact_id"], row["occurrence"], row["outcome"]) for row in stage.lake("entries")),
    }


def played(path, moment, act):
    stage = Stage(path, NOON).at(NOON).later(seconds=moment)
    try:
        if act is not None:
            act(stage)
        stage.turn()
        return facts(stage)
    finally:
        stage.home.close()


def test_a_crash_between_any_two_transactions_changes_nothing_in_the_end(tmp_path):
    home = write_home(
        tmp_path / "plain", campaigns=[ORDERS], contacts=5, templates=[*TEMPLATES, TAPPED], settings=LINKED
    )
    before = Stage(home, NOON.replace(hour=11))
    before.turn()
    before.home.close()
    cut = 0
    for number, (moment, act) in enumerate(acts()):
        start = tmp_path / f"start{number}"
        shutil.copytree(home, start)
        expected = played(home, moment, act)
        if number == 1:  # what is cut while sending is another matter
            continue
        for nth in itertools.count(1):
            again = tmp_path / "again"
            shutil.copytree(start, again)
            stage = Stage(again, NOON).at(NOON).later(seconds=moment)
            if act is not None:
                act(stage)
            ended = False
            with crash_at(Ledger, "write", nth):
                try:
                    stage.turn()
                    ended = True
                except Crash:
                    cut += 1
            stage.turn()
            assert facts(stage) == expected, (number, nth)
            stage.home.close()
            shutil.rmtree(again)
            if ended:
                break
    assert cut > 40
    assert [row[3] for row in expected["participants"]] == ["goal", "exit_on", "end", "end", "exit_on", "end"]
    assert [row[:3] for row in expected["clicks"]] == [("c2", "D", "e3")]


# -- any order ---------------------------------------------------------------------------------------------------------


def reference(people, events):
    """What is so at the end, by the rules read one event and one passage after the other. People: (contact, key, since,
    entered, arrived); events: (id, name, contact, time, key, amount)."""
    found = {"goals": set(), "met": set()}
    for contact, key, entered in people:
        mine = [one for one in events if one[2] == contact and (key is None or one[4] == key)]
        for goal, least in (("purchase", 20), ("purchase 2", 0)):
            good = [
                one
                for one in mine
                if one[1] == "purchase" and one[5] >= least and entered <= one[3] <= entered + 3 * 86_400
            ]
            if good:
                first = min(good, key=lambda one: (one[3], one[0]))
                found["goals"].add((contact, goal, first[0], float(first[5])))
        for branch, name, least in ((1, "purchase", 20), (2, "visit", 0)):
            good = [
                one for one in mine if one[1] == name and one[5] >= least and entered <= one[3] <= entered + 2 * 86_400
            ]
            if good:
                first = min(good, key=lambda one: (one[3], one[0]))
                found["met"].add((contact, branch, first[0]))
    return found


def test_events_in_any_order_number_and_parts_end_as_the_rules_say(tmp_path):
    both = WAIT.replace("steps:", GOALS[GOALS.index("settings:") : GOALS.index("  exit_on:")] + "steps:")
    plain = write_home(tmp_path / "plain", campaigns=[both], contacts=6)
    stage = Stage(plain, NOON)
    stage.run()
    keyed(stage, c0="A", c1="B")
    with stage.home.ledger.write() as tx:  # nobody moves
        tx.exec_driver_sql("UPDATE participant SET wake_at = NULL")
    stage.home.close()
    start = int(NOON.timestamp())
    people = [("c0", "A", start), ("c1", "B", start), *((f"c{number}", None, start) for number in range(2, 6))]
    for seed in range(8):
        chance = random.Random(seed)
        events = [
            (
                f"e{number}",
                chance.choice(["purchase", "purchase", "visit", "other"]),
                f"c{chance.randrange(6)}",
                start + chance.randrange(-3600, 4 * 86_400, 1800),
                chance.choice(["A", "B", None]),
                chance.choice([0, 19, 20, 50]),
            )
            for number in range(40)
        ]
        copy = tmp_path / str(seed)
        shutil.copytree(plain, copy)
        stage = Stage(copy, NOON).at(NOON).later(days=5)
        told = events + chance.choices(events, k=15)
        chance.shuffle(told)
        parts = chance.randrange(1, 5)
        for part in range(parts):
            for event_id, name, contact, moment, key, amount in told[part::parts]:
                when = datetime.fromtimestamp(moment, UTC)
                carried = {"amount": amount} | ({"order": key} if key else {})
                stage.happens(name, contact, at=when, event_id=event_id, file=f"{part}.ndjson", **carried)
            take_in(stage.home, stage.lease, stage.now, final=True)
            look_at_events(stage.home, stage.lease, stage.now)
        expected = reference(people, events)
        assert set(stage.rows("SELECT contact_id, goal, event_id, value FROM goal")) == expected["goals"], seed
        assert {(who, branch, event) for who, _, branch, event in met(stage)} == expected["met"], seed
        stage.home.close()
        shutil.rmtree(copy)
