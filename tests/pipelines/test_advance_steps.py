"""Steps that send nothing, and answers: who stands where after which turn, with files, events and answers for real."""

import pytest

from resources.home import Clock
from tests.stage import OFFER, SETTINGS, TEMPLATES, person, template

HEAD = "name: offer\nsender: main\nentries:\n  - audience: {segment: everyone}\n"
MESSAGES = ("hello", "reminder", "last_call")


def campaign(steps):
    """A campaign of these steps, and of the messages that they lead to."""
    named = [name for name in MESSAGES if f" {name}" in steps.replace(f"template: {name}", "")]
    messages = "".join(f"  {name}:\n    message: {{template: {name}, language: fr}}\n" for name in named)
    return f"{HEAD}steps:\n{steps}{messages}"


def entered(make_home, text, people=1, **files):
    stage = make_home(campaigns=[text], contacts=people, **files)
    stage.run()
    return stage


def standing(stage):
    return dict(stage.rows("SELECT contact_id, step FROM participant WHERE left_at IS NULL ORDER BY 1"))


# -- delays ------------------------------------------------------------------------------------------------------------


def test_a_delay_waits_so_long_from_the_arrival(make_home):
    stage = entered(make_home, campaign("  pause: {delay: {for: 3d}, next: hello}\n"))
    assert stage.rows("SELECT state, wake_at FROM participant") == [("waiting", stage.us + 3 * 86_400_000_000)]
    stage.later(days=3, microseconds=-1).turn()
    assert standing(stage) == {"c0": "pause"}
    stage.later(microseconds=1).turn()
    assert stage.moves() == [("c0", "pause", "next", "hello")]
    assert stage.states() == {"planned": 1}


def test_until_a_time_of_day_is_the_next_one_on_the_contacts_clock_else_the_settings(make_home):
    text = campaign('  pause: {delay: {until: "18:00"}, next: hello}\n')
    people = [person(0, timezone="America/New_York"), person(1, timezone="Mars/Base"), person(2)]
    stage = entered(make_home, text, people)
    stage.later(hours=5).turn()  # 17:00 UTC is 18:00 in Paris and noon in New York
    assert standing(stage) == {"c0": "pause", "c1": "hello", "c2": "hello"}
    stage.later(hours=6).turn()
    assert standing(stage) == {"c0": "hello", "c1": "hello", "c2": "hello"}


def test_until_is_strictly_later(make_home):
    stage = entered(make_home, campaign('  pause: {delay: {until: "13:00"}, next: hello}\n'))  # 12:00 UTC, Paris
    stage.later(hours=23, minutes=59).turn()
    assert standing(stage) == {"c0": "pause"}
    stage.later(minutes=1).turn()
    assert standing(stage) == {"c0": "hello"}


@pytest.mark.parametrize("shift", ["", ", shift: 1h"])
def test_a_loop_round_a_date_ends_at_the_very_moment_of_the_date_too(make_home, shift):
    hour = 13 if not shift else 12
    text = (
        f"{HEAD}steps:\n  hello: {{message: {{template: hello, language: fr}}, next: pause}}\n"
        f'  pause: {{delay: {{until: "2026-12-02 {hour}:00"{shift}}}, next: hello}}\n'
    )
    stage = entered(make_home, text)
    assert len(stage.send()) == 1
    stage.turn()
    stage.at("2026-12-02T12:00:00+00:00").turn()
    sent = []
    while claimed := stage.send():
        sent += claimed
        assert len(sent) < 5, "the same message again and again"
        stage.turn()
    assert len(sent) == 1
    assert stage.reasons() == {"date_past": 1}


def test_a_date_of_the_contact_with_a_shift(make_home):
    text = campaign("  pause: {delay: {until: {user: visit_on}, shift: -24h}, next: hello}\n")
    people = [
        person(0, visit_on="2026-12-04 09:00"),
        person(1, visit_on="2026-12-02 10:00"),  # tomorrow: a day before is over, the date is ahead
        person(2, visit_on="2026-11-30 10:00"),
        person(3, visit_on=""),
    ]
    stage = entered(make_home, text, people)
    assert standing(stage) == {"c0": "pause", "c1": "hello"}
    assert dict(stage.rows("SELECT contact_id, reason FROM participant WHERE left_at IS NOT NULL")) == {
        "c2": "date_past",
        "c3": "no_date",
    }
    stage.at("2026-12-03T08:00:00+00:00").turn()  # 09:00 in Paris
    assert standing(stage)["c0"] == "hello"


APPOINTMENT = """
name: appointment
sender: main
entries:
  - trigger: {event: appointment_booked, key: appointment_id}
steps:
  day_before:
    delay: {until: {event: appointment.at}, shift: -24h}
    next: remind
  remind:
    message: {template: order, language: fr}
    on_reply: {within: 12h, answers: {"Je confirme": end, Annuler: cancelled}}
  cancelled: {update: {add_tags: [appointment_cancelled]}}
"""


def test_an_appointment_is_reminded_the_day_before_in_the_contacts_zone(make_home):
    people = [person(0, timezone="America/New_York"), person(1)]
    stage = make_home(campaigns=[APPOINTMENT], contacts=people)
    stage.turn()
    for contact, key, at in (
        ("c0", 1, "2026-12-04 09:00"),
        ("c0", 2, "2026-12-05T09:00:00+01:00"),
        ("c1", 3, "2026-12-04 09:00"),
        ("c1", 4, "soon"),
    ):
        stage.happens("appointment_booked", contact, appointment_id=key, appointment={"at": at})
    stage.turn()
    wakes = dict(stage.rows("SELECT key, wake_at FROM participant"))
    day = 86_400_000_000
    noon = stage.us  # 1 December, 12:00 UTC
    assert wakes == {"1": noon + 2 * day + day // 12, "2": noon + 3 * day - day // 6, "3": noon + 2 * day - day // 6,
                     "4": None}  # fmt: skip
    assert stage.reasons() == {None: 3, "no_date": 1}
    stage.later(days=2).turn()
    stage.send()
    stage.turn()
    stage.later(minutes=5).says("+33600000001", "annuler").turn()
    assert stage.rows("SELECT key, reason FROM participant WHERE contact_id = 'c1' AND key = '3'") == [("3", "end")]
    assert stage.home.contacts.frame(["tags"], ["c1"]).rows() == [(["appointment_cancelled"],)]


# -- wait_for ----------------------------------------------------------------------------------------------------------

BOUGHT = campaign(
    "  offer:\n    message: {template: order, language: fr}\n    next: bought\n"
    "  bought:\n    wait_for:\n      within: 2d\n      branches:\n"
    "        - {event: purchase, where: {amount: {at_least: 20}}, next: hello}\n"
    "        - {reply_to: offer, is: [Oui, Yes], next: reminder}\n"
    "        - {read: offer, next: last_call}\n"
    "      else: end\n"
)


def waiting(make_home, people=1):
    stage = entered(make_home, BOUGHT, people)
    stage.send()
    stage.turn()
    return stage


def test_the_earliest_in_time_of_what_is_waited_for_wins(make_home):
    stage = waiting(make_home, 2)
    assert standing(stage) == {"c0": "bought", "c1": "bought"}
    stage.later(hours=3)
    stage.status(1, "read", at=stage.now).status(2, "read", at=stage.now.replace(hour=13))
    stage.happens("purchase", "c0", at=stage.now.replace(hour=14), amount=30)
    stage.happens("purchase", "c1", at=stage.now.replace(hour=14), amount=30).turn()
    assert ("c0", "bought", "1", "hello") in stage.moves()
    assert ("c1", "bought", "3", "last_call") in stage.moves()


def test_a_read_from_before_the_arrival_counts_and_an_event_does_not(make_home):
    text = BOUGHT.replace("next: bought\n", "next: pause\n  pause: {delay: {for: 1h}, next: bought}\n", 1)
    stage = entered(make_home, text, 2)
    stage.send()
    stage.turn()
    stage.later(minutes=5).status(1, "read").happens("purchase", "c1", amount=30).turn()
    stage.later(hours=1).turn()
    assert standing(stage) == {"c0": "last_call", "c1": "bought"}


def test_an_event_that_came_in_with_the_arrival_is_found(make_home):
    stage = waiting(make_home)
    assert standing(stage) == {"c0": "bought"}
    text = BOUGHT.replace("next: bought\n", "next: pause\n  pause: {delay: {for: 1h}, next: bought}\n", 1)
    stage = entered(make_home, text, folder="other")
    stage.send()
    stage.turn()
    stage.later(hours=1).happens("purchase", "c0", amount=30).turn()
    assert standing(stage) == {"c0": "hello"}


def test_else_is_for_those_for_whom_nothing_came(make_home):
    stage = waiting(make_home)
    stage.later(days=2).turn()
    assert stage.moves()[-1] == ("c0", "offer", "next", "bought")
    assert ("c0", "bought", "else", "end") in stage.moves()
    assert stage.reasons() == {"end": 1}


# -- split -------------------------------------------------------------------------------------------------------------

SPLIT = campaign(
    "  by_value:\n    split:\n      branches:\n"
    "        - {segment: loyal, next: hello}\n"
    "        - {user: {total_spent: {at_least: 100}}, next: reminder}\n"
    "      else: last_call\n"
)
SEGMENTS = {
    "everyone.yaml": "all:\n  - {user: {country: FR}}\n",
    "loyal.sql": "select contact_id from contacts where total_spent > 500\n",
}


def test_the_first_branch_that_matches_wins(make_home):
    people = [person(0, total_spent=600), person(1, total_spent=150), person(2, total_spent=10), person(3)]
    stage = entered(make_home, SPLIT, people, segments=SEGMENTS)
    assert standing(stage) == {"c0": "hello", "c1": "reminder", "c2": "last_call", "c3": "last_call"}
    assert {branch for _, _, branch, _ in stage.moves()} == {"1", "2", "else"}


def test_people_at_a_split_whose_segment_fails_stay_and_are_looked_at_again(make_home):
    people = [person(0, total_spent=600)]
    broken = SEGMENTS | {"loyal.sql": "select contact_id from contacts where error('not today') is not null\n"}
    stage = entered(make_home, SPLIT, people, segments=broken)
    assert standing(stage) == {"c0": "by_value"}
    (said,) = stage.home.said()
    assert "by_value" in said
    assert "not today" in said
    stage.turn()
    assert stage.home.said() == [], "once is enough"
    (stage.path / "segments/loyal.sql").write_text(SEGMENTS["loyal.sql"])
    stage.reload().turn()
    assert standing(stage) == {"c0": "hello"}


def test_where_time_goes_on_a_failing_segment_is_asked_again_in_a_minute(make_home, monkeypatch):
    """Else it would keep passes coming, one after the other."""
    broken = SEGMENTS | {"loyal.sql": "select contact_id from contacts where error('not today') is not null\n"}
    stage = make_home(campaigns=[SPLIT], contacts=[person(0, total_spent=600)], segments=broken)
    monkeypatch.setattr(Clock, "turned", False)
    stage.run()
    assert stage.rows("SELECT step, wake_at FROM participant") == [("by_value", stage.us + 60_000_000)]
    (stage.path / "segments/loyal.sql").write_text(SEGMENTS["loyal.sql"])
    stage.reload().later(minutes=1).turn()
    assert standing(stage) == {"c0": "hello"}


def test_a_split_asks_what_brought_the_contact_in(make_home):
    text = campaign(
        "  by_offer: {split: {branches: [{event: {offer: {at_least: 50}}, next: hello}], else: reminder}}\n"
    )
    stage = make_home(campaigns=[text], contacts=2, segments={
        "everyone.sql": "select contact_id, case contact_id when 'c0' then 60 else 40 end as offer from contacts\n"
    })  # fmt: skip
    stage.run()
    assert standing(stage) == {"c0": "hello", "c1": "reminder"}


# -- experiment, update ------------------------------------------------------------------------------------------------


def test_an_experiment_is_a_branch_by_the_arms_name(make_home):
    text = campaign("  test: {experiment: {a: {weight: 50, next: hello}, b: {weight: 50, next: reminder}}}\n")
    stage = entered(make_home, text, 40)
    moves = stage.moves()
    assert {(branch, to) for _, _, branch, to in moves} == {("a", "hello"), ("b", "reminder")}
    assert len(moves) == 40


def test_an_update_sets_properties_and_tags_and_a_later_file_wins(make_home):
    text = campaign(
        "  mark:\n    update: {set: {status: warm, visits: 3}, add_tags: [autumn], remove_tags: [cold]}\n"
        "    next: hello\n"
    )
    people = [person(0, status="cold", visits="1", tags="cold|vip"), person(1, status="x", visits="2", tags="")]
    stage = entered(make_home, text, people)
    found = stage.home.contacts.frame(["contact_id", "status", "visits", "tags", "file_tags"]).sort("contact_id")
    assert found.rows() == [
        ("c0", "warm", 3, ["autumn", "vip"], ["vip"]),
        ("c1", "warm", 3, ["autumn"], []),
    ]
    stage.contacts([{"contact_id": "c0", "status": "lost", "tags": "cold"}]).turn()
    found = stage.home.contacts.frame(["status", "tags"], ["c0"])
    assert found.rows() == [("lost", ["autumn", "cold"])]


def test_an_update_gives_a_property_that_nobody_had_the_type_of_its_value(make_home):
    text = campaign("  mark: {update: {set: {score: 7, since: 2026-12-01}}, next: hello}\n")
    stage = entered(make_home, text)
    assert stage.home.contacts.types()["score"] == "bigint"
    assert stage.home.contacts.types()["since"] == "date"


# -- loops -------------------------------------------------------------------------------------------------------------


def test_each_round_of_a_loop_is_a_visit_of_its_own_also_where_nothing_is_sent(make_home):
    text = HEAD + "steps:\n  pause: {delay: {for: 1d}, next: hello}\n"
    text += "  hello:\n    message: {template: hello, language: fr}\n    next: pause\n"
    stage = entered(make_home, text)
    for _ in range(2):
        stage.later(days=1).turn()
        stage.send()
        stage.turn()
    visits = [(row["to_step"], row["visit"]) for row in stage.lake("participant_steps")]
    assert visits == [("hello", 1), ("pause", 2), ("hello", 2), ("pause", 3)]
    assert stage.rows("SELECT step, visit FROM message ORDER BY id") == [("hello", 1), ("hello", 2)]


def test_a_wait_in_a_loop_is_met_anew_in_each_round(make_home):
    text = HEAD + (
        "steps:\n  bought: {wait_for: {within: 5d, branches: [{event: purchase, next: hello}], else: end}}\n"
        "  hello:\n    message: {template: hello, language: fr}\n    next: bought\n"
    )
    stage = entered(make_home, text)
    stage.later(hours=1).happens("purchase", "c0").turn()
    stage.send()
    stage.turn()
    assert stage.rows("SELECT step, visit FROM participant") == [("bought", 2)]
    stage.later(hours=1).happens("purchase", "c0").turn()
    assert stage.rows("SELECT step, visit FROM participant") == [("hello", 2)]


# -- not_after ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["read: hello", "reply_to: hello"])
def test_what_somebody_did_with_a_message_leads_round_no_loop_in_which_the_next_one_is_skipped(make_home, what):
    stage = entered(
        make_home,
        f"{HEAD}settings: {{frequency_cap: {{messages: 1, per: 7d}}}}\nsteps:\n"
        "  hello: {message: {template: hello, language: fr}, next: waits, on_skip: waits}\n"
        f"  waits: {{wait_for: {{within: 3d, branches: [{{{what}, next: hello}}], else: end}}}}\n",
    )
    stage.send()
    stage.turn()
    stage.later(hours=1).status(1, "read").says("+33600000000", "Oui").turn()
    assert stage.skips() == {"frequency_capped": 1}
    assert standing(stage) == {"c0": "waits"}


def test_not_after_does_not_bound_what_is_reached_through_a_wait(make_home):
    when = 'when: {at: "2026-12-01 13:00", not_after: "2026-12-01 14:00"}'
    text = OFFER.replace("segment: everyone}", f"segment: everyone, {when}}}")
    first = "  pause: {delay: {for: 1d}, next: hello}\n  hello:"
    stage = make_home(campaigns=[text.replace("  hello:", first)], contacts=1)
    stage.turn()
    stage.turn()
    assert standing(stage) == {"c0": "pause"}
    stage.later(days=1).turn()
    assert stage.states() == {"planned": 1}


# -- files that change -------------------------------------------------------------------------------------------------


def test_a_step_that_becomes_another_kind_decides_as_what_it_is_now(make_home):
    stage = entered(make_home, campaign("  first: {delay: {for: 5d}, next: hello}\n"), 2)
    stage.campaign(campaign("  first:\n    message: {template: order, language: fr}\n    next: hello\n")).turn()
    assert stage.rows("SELECT step FROM message") == [("first",), ("first",)]
    stage.send()
    stage.campaign(
        campaign("  first: {wait_for: {within: 1d, branches: [{event: visit, next: hello}], else: reminder}}\n")
    ).turn()
    assert set(standing(stage).values()) == {"first"}
    stage.later(days=1).turn()
    assert set(standing(stage).values()) == {"reminder"}


# -- taps --------------------------------------------------------------------------------------------------------------

BUTTONS = [{"type": "URL", "text": "Acheter", "url": "https://example.com/r/{{1}}"}]


@pytest.mark.parametrize("button", ["", ", button: Acheter", ", button: 0"])
def test_a_tap_on_a_counted_link_moves(make_home, button):
    text = campaign(
        "  offer:\n    message: {template: shop, language: fr, buttons: {0: {link: https://shop.example.com/}}}\n"
        "    next: tapped\n"
        f"  tapped: {{wait_for: {{within: 2d, branches: [{{click: offer{button}, next: hello}}], else: end}}}}\n"
    )
    settings = SETTINGS + "links: {base_url: https://example.com}\n"
    stage = make_home(
        campaigns=[text], contacts=2, settings=settings, templates=[*TEMPLATES, template("shop", buttons=BUTTONS)]
    )
    stage.run()
    stage.send()
    stage.turn()
    assert standing(stage) == {"c0": "tapped", "c1": "tapped"}
    code = stage.value("SELECT code FROM link JOIN message m ON m.id = message_id WHERE m.contact_id = 'c1'")
    stage.later(hours=1).happens("link_clicked", "c1", code=code).turn()
    assert standing(stage) == {"c0": "tapped", "c1": "hello"}


def test_a_tap_on_another_button_moves_no_one(make_home):
    text = campaign(
        "  offer:\n    message: {template: shop, language: fr, buttons:"
        " {0: {link: https://shop.example.com/}, 1: {link: https://shop.example.com/help}}}\n    next: tapped\n"
        "  tapped: {wait_for: {within: 2d, branches: [{click: offer, button: 1, next: hello}], else: end}}\n"
    )
    settings = SETTINGS + "links: {base_url: https://example.com}\n"
    two = [*BUTTONS, {"type": "URL", "text": "Aide", "url": "https://example.com/r/{{1}}"}]
    stage = make_home(
        campaigns=[text], contacts=1, settings=settings, templates=[*TEMPLATES, template("shop", buttons=two)]
    )
    stage.run()
    stage.send()
    stage.turn()
    codes = dict(stage.rows("SELECT button, code FROM link"))
    stage.later(hours=1).happens("link_clicked", "c0", code=codes["Acheter"]).turn()
    assert standing(stage) == {"c0": "tapped"}
    stage.later(hours=1).happens("link_clicked", "c0", code=codes["Aide"]).turn()
    assert standing(stage) == {"c0": "hello"}


# -- full wait, and more of wait_for -----------------------------------------------------------------------------------


FULL = """
  waits:
    wait_for:
      within: 3d
      full_wait: true
      branches: [{}]
      else: last_call
"""
BUY, SIGN = "{event: buy, next: hello}", "{event: sign, next: reminder}"


@pytest.mark.parametrize(
    ("branches", "goes"),
    [
        (f"{SIGN}, {BUY}", ("2", "hello")),
        (f"{SIGN}, {{event: buy, where: {{size: 2}}, next: hello}}", ("else", "last_call")),
        (f"{{event: see, next: last_call}}, {SIGN}, {BUY}", ("3", "hello")),
    ],
)
def test_what_was_met_leads_where_the_newest_file_says_however_its_branches_stand(make_home, branches, goes):
    def text(listed):
        return campaign(FULL.format(listed)[1:])

    stage = entered(make_home, text(f"{BUY}, {SIGN}"))
    stage.later(hours=1).happens("buy", "c0", size=1).turn()
    stage.later(hours=1).campaign(text(branches)).turn()
    stage.later(days=3).turn()
    assert stage.moves() == [("c0", "waits", *goes)]


def test_full_wait_keeps_everyone_until_the_deadline(make_home):
    stage = entered(make_home, BOUGHT.replace("within: 2d", "within: 2d\n      full_wait: true"))
    stage.send()
    stage.turn()
    stage.later(hours=1).happens("purchase", "c0", amount=30).turn()
    assert standing(stage) == {"c0": "bought"}
    stage.later(days=2).turn()
    assert standing(stage) == {"c0": "hello"}


def test_an_event_after_the_deadline_is_too_late_even_if_nobody_has_moved_yet(make_home):
    stage = waiting(make_home)
    stage.later(days=2, seconds=1).happens("purchase", "c0", amount=30).turn()
    assert ("c0", "bought", "else", "end") in stage.moves()


def test_a_contact_that_is_gone_just_moves_on_from_an_update_and_meets_no_condition(make_home):
    text = campaign(
        "  pause: {delay: {for: 1d}, next: mark}\n  mark: {update: {add_tags: [x]}, next: who}\n"
        "  who: {split: {branches: [{user: {country: {exists: true}}, next: hello}], else: reminder}}\n"
    )
    stage = entered(make_home, text, 2)
    gone = stage.home.contacts.frame(ids=["c0"]).with_columns(gone=True)
    with stage.home.ledger.write() as tx:
        stage.home.lake.register(tx, stage.home.contacts.put(gone, stage.home.contacts.types()))
    stage.later(days=1).turn()
    assert dict(stage.rows("SELECT contact_id, step FROM participant")) == {"c0": "reminder", "c1": "hello"}
    assert stage.home.contacts.frame(["contact_id", "tags"]).rows() == [("c1", ["x"])]


def test_segments_see_what_an_update_did_before_them_in_the_same_pass(make_home):
    text = campaign(
        "  mark: {update: {set: {status: warm}}, next: who}\n"
        "  who: {split: {branches: [{segment: warm, next: hello}], else: reminder}}\n"
    )
    segments = {"everyone.yaml": "all:\n  - {user: {country: FR}}\n", "warm.yaml": "all:\n  - {user: {status: warm}}\n"}
    stage = entered(make_home, text, [person(0, status="cold")], segments=segments)
    assert standing(stage) == {"c0": "hello"}


def test_a_segment_is_evaluated_once_for_all_who_ask(make_home, monkeypatch):
    text = campaign(
        "  one: {split: {branches: [{segment: loyal, next: two}], else: two}}\n"
        "  two: {split: {branches: [{segment: loyal, next: hello}], else: end}}\n"
    )
    stage = make_home(campaigns=[text], contacts=[person(0, total_spent=600)], segments=SEGMENTS)
    asked = []
    segment = stage.home.segment

    def counted(name, now):
        asked.append(name)
        return segment(name, now)

    monkeypatch.setattr(stage.home, "segment", counted)
    stage.run()
    assert standing(stage) == {"c0": "hello"}
    assert asked.count("loyal") == 1
