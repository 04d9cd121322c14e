"""Steps that send nothing, and answers: who stands where after which turn, with files, events and answers for real."""

from tests.stage import OFFER, person

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
