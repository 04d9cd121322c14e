"""Who moves when, along which branch: reads and deadlines, failures, skips, unknown messages, changed files."""

import pytest

from journey.campaign import Campaign
from journey.cohort import decide
from pipelines import advance
from resources.outbox import Outbox, Settled
from tests.stage import OFFER, accepted, person, refused, unknown

READ = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
steps:
  hello:
    message: {template: hello, language: fr}
    on_read: {within: 2d, read: last_call, not_read: reminder}
  reminder:
    message: {template: reminder, language: fr}
  last_call:
    message: {template: last_call, language: fr}
"""
LOST = READ.replace("not_read: reminder", "not_read: reminder, undelivered: end")
NEXT = OFFER + "    next: reminder\n  reminder:\n    message: {template: reminder, language: fr}\n"


def started(make_home, text=READ, people=1, outcome=accepted, **files):
    stage = make_home(campaigns=[text], contacts=people, **files)
    stage.run()
    stage.send(outcome)
    stage.turn()
    return stage


def standing(stage):
    return dict(stage.rows("SELECT contact_id, step FROM participant WHERE left_at IS NULL"))


def test_a_reader_moves_as_soon_as_it_is_known(make_home):
    stage = started(make_home)
    stage.later(hours=1).status(1, "read").turn()
    assert standing(stage) == {"c0": "last_call"}


def test_the_others_move_at_the_deadline_and_not_before(make_home):
    stage = started(make_home)
    stage.later(days=2, microseconds=-1).turn()
    assert standing(stage) == {"c0": "hello"}
    stage.later(microseconds=1).turn()
    assert standing(stage) == {"c0": "reminder"}


def test_a_read_exactly_at_the_deadline_counts(make_home):
    stage = started(make_home)
    stage.later(days=2)
    moment = stage.now
    stage.later(hours=3).status(1, "read", at=moment).turn()
    assert standing(stage) == {"c0": "last_call"}


def test_a_read_after_the_deadline_does_not_count_even_if_nobody_has_moved_yet(make_home):
    stage = started(make_home)
    stage.later(days=2, seconds=1).status(1, "read").turn()
    assert standing(stage) == {"c0": "reminder"}
    assert stage.states() == {"planned": 1, "read": 1}


def test_a_late_read_is_recorded_and_moves_no_one(make_home):
    stage = started(make_home)
    stage.later(days=2).turn()
    stage.later(hours=1).status(1, "read").turn()
    assert standing(stage) == {"c0": "reminder"}
    assert stage.value("SELECT state FROM message WHERE id = 1") == "read"
    assert [row["status"] for row in stage.lake("message_events")] == ["read"]
    assert stage.moves() == [("c0", "hello", "not_read", "reminder")]


def test_full_wait_keeps_readers_until_the_deadline(make_home):
    stage = started(make_home, READ.replace("within: 2d", "within: 2d, full_wait: true"))
    stage.later(hours=1).status(1, "read").turn()
    assert standing(stage) == {"c0": "hello"}
    stage.later(days=2).turn()
    assert standing(stage) == {"c0": "last_call"}


def test_within_runs_from_the_moment_meta_accepted_the_message(make_home):
    stage = make_home(campaigns=[READ], contacts=1)
    stage.run()
    stage.later(hours=5).send()
    stage.turn()
    stage.later(days=2, hours=-1).turn()
    assert standing(stage) == {"c0": "hello"}
    stage.later(hours=1).turn()
    assert standing(stage) == {"c0": "reminder"}


def test_who_never_got_it_takes_the_undelivered_branch_at_the_deadline(make_home):
    stage = started(make_home, LOST, people=2)
    stage.later(hours=1).status(1, "delivered").turn()
    stage.later(days=2).turn()
    assert stage.moves() == [("c0", "hello", "not_read", "reminder"), ("c1", "hello", "undelivered", "end")]


def test_a_delivery_after_the_deadline_is_no_delivery(make_home):
    stage = started(make_home, LOST)
    stage.later(days=2, hours=1).status(1, "delivered").turn()
    assert stage.moves() == [("c0", "hello", "undelivered", "end")]


def test_undelivered_goes_where_not_read_goes_unless_it_is_written(make_home):
    stage = started(make_home)
    stage.later(days=2).turn()
    assert stage.moves() == [("c0", "hello", "not_read", "reminder")]


def test_a_refusal_takes_on_failure_at_once(make_home):
    text = READ.replace("    on_read", "    on_failure: reminder\n    on_read")
    stage = started(make_home, text, outcome=refused(130472))
    assert stage.moves() == [("c0", "hello", "on_failure", "reminder")]


def test_a_refusal_without_on_failure_ends_the_passage_as_failed(make_home):
    stage = started(make_home, outcome=refused(131026))
    assert stage.reasons() == {"failed": 1}


def test_a_failed_status_takes_on_failure_and_one_that_comes_after_the_move_changes_the_message_alone(make_home):
    stage = started(make_home, NEXT)
    assert standing(stage) == {"c0": "reminder"}
    stage.status(1, "failed", code=131026).turn()
    assert standing(stage) == {"c0": "reminder"}
    assert stage.value("SELECT state FROM message WHERE id = 1") == "failed"
    stage = started(make_home, folder="other")
    stage.status(1, "failed", code=131000).turn()
    assert stage.reasons() == {"failed": 1}


def test_a_delivered_that_comes_with_a_failed_wins(make_home):
    stage = started(make_home)
    stage.status(1, "failed", code=131000).status(1, "delivered").turn()
    assert standing(stage) == {"c0": "hello"}
    assert stage.rows("SELECT state, error_code FROM message") == [("delivered", None)]


def test_on_skip_goes_by_reason_and_else(make_home):
    text = OFFER.replace("template: hello", "template: named").replace(
        "language: fr}", "language: fr, variables: {first_name: {user: first_name}}}"
    )
    text += """    on_skip: {missing_variable: reminder, else: last_call}
  reminder:
    message: {template: reminder, language: fr}
  last_call:
    message: {template: last_call, language: fr}
"""
    people = [person(0, first_name="Ana", opted_in="true"), person(1, first_name="", opted_in="true")]
    people.append(person(2, first_name="Zoé", opted_in="false"))
    stage = started(make_home, text, people)
    assert stage.skips() == {"missing_variable": 1, "not_opted_in": 2}  # c2 is not opted in for last_call either
    assert ("c1", "hello", "on_skip", "reminder") in stage.moves()
    assert ("c2", "hello", "on_skip", "last_call") in stage.moves()


def test_a_skip_without_on_skip_ends_the_passage_as_skipped(make_home):
    stage = started(make_home, OFFER, [person(0, opted_in="false")])
    assert stage.reasons() == {"skipped": 1}


# -- unknown -----------------------------------------------------------------------------------------------------------

UNKNOWN = "settings: {when_unknown: {after: 24h, then: %s}}\nsteps:"


def test_an_unknown_message_is_taken_for_sent_after_a_day(make_home):
    stage = started(make_home, NEXT, outcome=unknown)
    assert standing(stage) == {"c0": "hello"}
    stage.later(hours=23, minutes=59).turn()
    assert standing(stage) == {"c0": "hello"}
    stage.later(minutes=1).turn()
    assert standing(stage) == {"c0": "reminder"}
    assert stage.value("SELECT state FROM message WHERE id = 1") == "unknown"


def test_an_unknown_message_that_was_looked_at_within_its_minute_is_looked_at_again(make_home):
    """A turn in the first minute (wall) must not leave its person without a time to wake at."""
    stage = started(make_home, NEXT, outcome=unknown)
    assert stage.value("SELECT wake_at FROM participant") == stage.us + 86_400 * 1_000_000


@pytest.mark.parametrize("then", ["assume_sent", "fail", "resend"])
def test_an_unknown_message_stays_so_for_a_minute_on_the_wall_however_the_clock_is_turned(make_home, then):
    stage = started(make_home, NEXT.replace("steps:", UNKNOWN % then), outcome=unknown)
    wall = stage.wall
    stage.later(days=3)
    stage.wall = wall + 59
    stage.turn()
    assert standing(stage) == {"c0": "hello"}
    assert stage.states() == {"unknown": 1}
    stage.wall = wall + 61
    stage.turn()
    assert (standing(stage), stage.states()) != ({"c0": "hello"}, {"unknown": 1})


def test_a_status_settles_an_unknown_message(make_home):
    stage = started(make_home, NEXT, outcome=unknown)
    stage.later(minutes=5).status(1, "sent").turn()
    assert standing(stage) == {"c0": "reminder"}
    assert stage.rows("SELECT state, wamid, error_title FROM message WHERE id = 1") == [("sent", "wamid.1", None)]


def test_fail_takes_an_unknown_message_for_failed(make_home):
    stage = started(make_home, NEXT.replace("steps:", UNKNOWN % "fail"), outcome=unknown)
    stage.later(hours=24).turn()
    assert stage.reasons() == {"failed": 1}


def test_resend_sends_a_copy_with_an_id_of_its_own_and_only_one(make_home):
    stage = started(make_home, NEXT.replace("steps:", UNKNOWN % "resend"), outcome=unknown)
    stage.later(hours=24).turn()
    stage.turn()
    assert stage.states() == {"planned": 1, "unknown": 1}
    (first, second) = stage.rows("SELECT uid, copy FROM message ORDER BY id")
    assert first[0] != second[0]
    assert (first[1], second[1]) == (1, 2)
    stage.send()
    stage.turn()
    assert standing(stage) == {"c0": "reminder"}


def test_a_copy_that_waits_is_taken_back_when_the_first_turns_out_to_have_arrived(make_home):
    stage = started(make_home, NEXT.replace("steps:", UNKNOWN % "resend"), outcome=unknown)
    stage.later(hours=24).turn()
    assert stage.states() == {"planned": 1, "unknown": 1}
    stage.later(minutes=1).status(1, "delivered").turn()
    assert stage.rows("SELECT id, state FROM message WHERE step = 'hello'") == [(1, "delivered"), (2, "cancelled")]
    assert standing(stage) == {"c0": "reminder"}
    assert [one.id for one in stage.send()] == [3]


def test_the_wait_for_a_read_runs_from_the_attempt_where_it_stayed_unknown(make_home):
    stage = started(make_home, outcome=unknown)
    stage.later(hours=24).turn()
    assert standing(stage) == {"c0": "hello"}
    stage.later(hours=24).turn()
    assert standing(stage) == {"c0": "reminder"}


# -- files that change -------------------------------------------------------------------------------------------------


def test_a_new_version_takes_effect_at_the_next_move(make_home):
    stage = started(make_home)
    first = stage.home.project.campaigns["offer"].version
    stage.campaign(READ.replace("read: last_call, not_read: reminder", "read: reminder, not_read: last_call"))
    second = stage.home.project.campaigns["offer"].version
    stage.turn()
    assert stage.value("SELECT version FROM participant") == first
    stage.later(days=2).turn()
    assert stage.rows("SELECT step, version FROM participant") == [("last_call", second)]
    assert stage.rows("SELECT version FROM message ORDER BY id") == [(first,), (second,)]


def test_whoever_stands_on_a_removed_step_ends_at_once(make_home):
    stage = started(make_home)
    stage.campaign(OFFER.replace("hello:", "other:"))
    stage.turn()
    assert stage.reasons() == {"step_removed": 1}


def test_people_inside_a_campaign_that_is_no_longer_live_stay_where_they_are(make_home):
    stage = started(make_home)
    stage.campaign(READ.replace("sender: main", "sender: main\ndraft: true")).later(days=3).turn()
    assert standing(stage) == {"c0": "hello"}
    stage.campaign(READ).turn()
    assert standing(stage) == {"c0": "reminder"}


def test_waits_go_on_while_a_campaign_is_stopped(make_home):
    stage = started(make_home)
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1, stopped_why = 'by hand'")
    stage.later(days=2).turn()
    assert standing(stage) == {"c0": "reminder"}
    assert stage.send() == []


def test_a_second_visit_of_a_step_is_a_new_visit_with_its_own_message(make_home):
    loop = READ.replace("reminder, language: fr}\n", "reminder, language: fr}\n    next: hello\n")
    stage = started(make_home, loop)
    stage.later(days=2).turn()
    stage.send()
    stage.turn()
    assert stage.rows("SELECT step, visit FROM participant") == [("hello", 2)]
    stage.send()
    assert stage.rows("SELECT step, visit FROM message ORDER BY id") == [("hello", 1), ("reminder", 1), ("hello", 2)]
    assert len(set(stage.rows("SELECT uid FROM message"))) == 3


def test_a_step_that_only_a_changed_file_leads_back_to_is_a_new_visit_too(make_home):
    stage = started(make_home, NEXT)
    stage.send()
    back = OFFER.replace("hello:", "reminder:").replace("template: hello", "template: reminder")
    back += "    next: hello\n  hello:\n    message: {template: hello, language: fr}\n"
    stage.campaign(back).turn()
    assert stage.rows("SELECT step, visit FROM participant") == [("hello", 2)]
    assert stage.states() == {"accepted": 2, "planned": 1}


# -- beside lanes at work ----------------------------------------------------------------------------------------------


def test_who_is_woken_by_a_lane_while_waits_are_written_stays_awake(make_home, monkeypatch):
    """A read of the first message wakes its person while the second is in flight; the answer comes meanwhile."""
    stage = started(make_home, NEXT)
    lease = stage.home.ledger.take("send:main:0/1", "lane")
    outbox = Outbox(stage.home.ledger, lease, "main", 0, 1, 80.0)
    (one,) = outbox.turn([], 10, stage.us, int(stage.wall * 1e6)).claimed
    stage.status(1, "read")

    def meanwhile(campaign: Campaign, step, people, now):
        found = decide(campaign, step, people, now)
        outbox.turn([Settled(one.id, accepted(one))], 0, stage.us, int(stage.wall * 1e6))
        return found

    monkeypatch.setattr(advance, "decide", meanwhile)
    stage.turn()
    monkeypatch.undo()
    stage.turn()
    assert stage.reasons() == {"end": 1}
