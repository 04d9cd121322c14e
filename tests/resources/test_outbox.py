"""The outbox: which messages may go out now, in which order, and what becomes of each."""

from dataclasses import replace

import pytest

from journey.codes import Action
from journey.outcome import Outcome
from journey.problems import LeaseLost
from resources import claim as claim_module
from resources.claim import backlog
from resources.outbox import Outbox, Settled, lane_name, recover
from tests.lived_in import TRIGGERED
from tests.stage import NOON, OFFER, accepted, person, refused, unknown

SECOND = OFFER.replace("name: offer", "name: second")
US = 1_000_000


def planned(make_home, people=3, **files):
    stage = make_home(contacts=people, **files)
    stage.run()
    return stage


def outbox_of(stage, share=0, shares=1):
    name = lane_name("main", share, shares)
    lease = stage.home.ledger.take(name, "test")
    assert lease is not None
    return Outbox(stage.home.ledger, lease, "main", share, shares, 80.0)


def claim(stage, outbox, want=100):
    return [one.id for one in outbox.turn([], want, stage.us, int(stage.wall * US)).claimed]


def settle(stage, outbox, *settled):
    return outbox.turn([Settled(i, outcome) for i, outcome in settled], 0, stage.us, int(stage.wall * US))


def change(stage, statement, *params):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql(statement, params)


# -- order and share ---------------------------------------------------------------------------------------------------


def test_transactional_goes_before_bulk_and_the_oldest_first(make_home):
    stage = planned(make_home, 4)
    change(stage, "UPDATE message SET priority = 0 WHERE id = 3")
    change(stage, "UPDATE message SET due_at = due_at - 1 WHERE id = 4")
    outbox = outbox_of(stage)
    assert claim(stage, outbox, 1) == [3]
    assert claim(stage, outbox) == [4, 1, 2]


def test_the_order_holds_across_campaigns(make_home):
    stage = planned(make_home, 2, campaigns=[OFFER, SECOND])
    stage.later(minutes=1).run("second")
    change(stage, "UPDATE message SET due_at = due_at - 120000000 WHERE id = 4")
    outbox = outbox_of(stage)
    assert claim(stage, outbox, 2) == [4, 1]
    assert claim(stage, outbox, 9) == [2, 3]


def test_what_is_not_due_yet_is_not_claimed(make_home):
    stage = planned(make_home, 2)
    change(stage, "UPDATE message SET due_at = due_at + 1 WHERE id = 1")
    assert claim(stage, outbox_of(stage)) == [2]


def test_each_message_belongs_to_one_share_however_many_there_are(make_home):
    stage = planned(make_home, 20)
    taken = [claim(stage, outbox_of(stage, share, 3)) for share in range(3)]
    assert sorted(one for share in taken for one in share) == list(range(1, 21))
    assert all(taken)


def test_a_message_is_stamped_before_it_is_handed_out(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    claim(stage, outbox)
    assert stage.rows("SELECT state, attempted_at, attempted_wall, lane FROM message") == [
        ("attempted", stage.us, int(stage.wall * US), "send:main:0/1#1")
    ]
    assert claim(stage, outbox) == []


def test_a_lane_whose_lease_has_passed_on_claims_and_settles_nothing(make_home):
    stage = planned(make_home, 2)
    old = outbox_of(stage)
    (first, _) = claim(stage, old)
    stage.wall += 31
    assert stage.home.ledger.take(lane_name("main", 0, 1), "other") is not None
    with pytest.raises(LeaseLost):
        settle(stage, old, (first, Outcome(Action.accepted, wamid="w")))
    assert stage.states() == {"attempted": 2}


# -- who and what may not be sent --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "scope", "reason"),
    [
        ("contact:c1", "all", "opted_out"),
        ("phone:+33600000001", "all", "opted_out"),
        ("contact:c1", "marketing", "opted_out"),
        ("phone:+33600000001", "marketing", "opted_out"),
        ("contact:c1", "file", "not_opted_in"),
        ("phone:+33600000001", "file", "not_opted_in"),
    ],
)
def test_consent_is_looked_at_again_when_a_message_is_claimed(make_home, subject, scope, reason):
    stage = planned(make_home)
    change(stage, "INSERT INTO suppression VALUES (?, ?, 'x', 1)", subject, scope)
    assert claim(stage, outbox_of(stage)) == [1, 3]
    assert stage.rows("SELECT contact_id, reason FROM skip") == [("c1", reason)]
    assert stage.states() == {"attempted": 2, "skipped": 1}


# What is in force of each contact and their phone, and what is said for marketing and for others.
SEVERAL = {
    "c0": (("contact", "file"), ("phone", "all"), "opted_out", "opted_out"),
    "c1": (("contact", "all"), ("phone", "file"), "opted_out", "opted_out"),
    "c2": (("contact", "file"), ("phone", "marketing"), "opted_out", "not_opted_in"),
    "c3": (("contact", "marketing"), ("phone", "file"), "opted_out", "not_opted_in"),
    "c4": (("contact", "file"), ("phone", "unreachable"), "not_opted_in", "not_opted_in"),
    "c5": (("contact", "marketing"), ("phone", "unreachable"), "opted_out", "invalid_phone"),
}


@pytest.mark.parametrize("when", ["planned", "claimed"])
@pytest.mark.parametrize("category", ["MARKETING", "UTILITY"])
def test_of_several_reasons_the_same_is_said_when_a_message_is_planned_and_when_it_is_claimed(
    make_home, when, category
):
    campaign = OFFER if category == "MARKETING" else OFFER.replace("template: hello", "template: order")
    stage = make_home(contacts=len(SEVERAL), campaigns=[campaign])
    if when == "claimed":
        stage.run()
    for number, (contact, (*both, _, _)) in enumerate(SEVERAL.items()):
        for of, scope in both:
            if scope == "unreachable":
                change(stage, "INSERT INTO unreachable VALUES (?, 131026, 1)", f"+336{number:08d}")
            else:
                subject = f"contact:{contact}" if of == "contact" else f"phone:+336{number:08d}"
                change(stage, "INSERT INTO suppression VALUES (?, ?, 'x', 1)", subject, scope)
    if when == "planned":
        stage.run()
    assert claim(stage, outbox_of(stage)) == []
    said = dict(stage.rows("SELECT contact_id, reason FROM skip"))
    assert said == {contact: row[2 if category == "MARKETING" else 3] for contact, row in SEVERAL.items()}


def test_who_refuses_marketing_still_gets_what_is_none(make_home):
    stage = planned(make_home, campaigns=[OFFER.replace("template: hello", "template: order")])
    change(stage, "INSERT INTO suppression VALUES ('contact:c1', 'marketing', 'x', 1)")
    assert claim(stage, outbox_of(stage)) == [1, 2, 3]


def test_a_phone_that_meta_cannot_reach_is_skipped(make_home):
    stage = planned(make_home)
    change(stage, "INSERT INTO unreachable VALUES ('+33600000001', 131026, 1)")
    assert claim(stage, outbox_of(stage)) == [1, 3]
    assert stage.skips() == {"invalid_phone": 1}


def test_a_stopped_campaign_sends_nothing_and_the_others_go_on(make_home):
    stage = planned(make_home, 2, campaigns=[OFFER, SECOND])
    stage.run("second")
    change(stage, "UPDATE campaign SET stopped_at = 1 WHERE name = 'offer'")
    wall = int(stage.wall * US)
    assert backlog(stage.home.ledger, stage.us, wall) == {"main": 2}
    assert claim(stage, outbox_of(stage)) == [3, 4]
    change(stage, "UPDATE campaign SET stopped_at = NULL")
    assert backlog(stage.home.ledger, stage.us, wall) == {"main": 2}


def test_a_campaign_that_is_not_live_sends_nothing(make_home):
    stage = planned(make_home)
    stage.campaign(OFFER.replace("hello, language", "nonsense, language")).turn()
    outbox = outbox_of(stage)
    assert claim(stage, outbox) == []
    assert backlog(stage.home.ledger, stage.us, int(stage.wall * US)) == {"main": 0}
    stage.campaign(OFFER).turn()
    assert claim(stage, outbox) == [1, 2, 3]


def test_messages_of_a_template_on_hold_wait(make_home):
    stage = planned(make_home)
    change(stage, "INSERT INTO template_hold VALUES ('hello', 'fr', 'PAUSED', 132015, 1)")
    outbox = outbox_of(stage)
    assert claim(stage, outbox) == []
    assert backlog(stage.home.ledger, stage.us, int(stage.wall * US)) == {"main": 0}
    change(stage, "DELETE FROM template_hold")
    assert claim(stage, outbox) == [1, 2, 3]


def test_what_was_held_too_long_is_skipped_when_its_turn_comes(make_home):
    stage = planned(make_home, 2)
    change(stage, "UPDATE message SET held_why = 'media_unreachable' WHERE id = 2")
    outbox = outbox_of(stage)
    stage.later(hours=24, microseconds=1)
    assert claim(stage, outbox) == []
    assert stage.skips() == {"media_unreachable": 1, "too_late": 1}


def test_a_message_that_a_lane_has_stamped_meanwhile_is_no_skip(make_home):
    from journey.words import SkipReason
    from resources.skipping import skip

    stage = planned(make_home, 2)
    claim(stage, outbox_of(stage), 1)
    with stage.home.ledger.write() as tx:
        skip(tx, [(i, SkipReason.too_late, "held until it expired") for i in (1, 2)], stage.us)
    assert stage.rows("SELECT message_id FROM skip") == [(2,)]
    assert stage.states() == {"attempted": 1, "skipped": 1}


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_what_was_not_posted_is_handed_back_as_if_never_claimed(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    settle(stage, outbox, *((i, None) for i in claim(stage, outbox)))
    assert stage.rows("SELECT state, attempted_at, lane, tries FROM message") == [("planned", None, None, 0)]
    assert claim(stage, outbox) == [1]


def test_no_byte_written_is_no_attempt_and_is_tried_again_a_second_later(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    claim(stage, outbox)
    settle(stage, outbox, (1, Outcome(Action.not_sent)))
    assert claim(stage, outbox) == []
    stage.wall += 1
    assert claim(stage, outbox) == [1]


def test_a_fault_of_metas_is_tried_again_after_2_10_and_40_seconds_and_then_fails_with_its_code(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    for wait in (2, 10, 40):
        claim(stage, outbox)
        settle(stage, outbox, (1, refused(131016)(None)))
        stage.wall += wait - 0.001
        assert claim(stage, outbox) == []
        stage.wall += 0.001
    assert claim(stage, outbox) == [1]
    settle(stage, outbox, (1, refused(131016)(None)))
    assert stage.rows("SELECT state, error_code FROM message") == [("failed", 131016)]


def test_being_told_to_slow_down_uses_up_no_try(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    for _ in range(5):
        claim(stage, outbox)
        settle(stage, outbox, (1, refused(130429)(None)))
        stage.wall += 1
    claim(stage, outbox)
    settle(stage, outbox, (1, refused(131016)(None)))
    assert stage.states() == {"planned": 1}


@pytest.mark.parametrize(
    ("code", "asked", "waits"), [(130429, 30, 30), (131000, 30, 30), (131000, 1, 2), (4, 1e9, 300)]
)
def test_what_an_answer_asks_to_wait_for_is_waited_for_within_reason(make_home, code, asked, waits):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    claim(stage, outbox)
    settle(stage, outbox, (1, replace(refused(code)(None), wait=float(asked))))
    assert stage.value("SELECT not_before FROM message") - int(stage.wall * US) == waits * US


def test_a_message_that_went_in_the_end_shows_no_error(make_home):
    stage = planned(make_home, 1)
    stage.send(refused(131000))
    stage.wall += 3
    stage.send()
    assert stage.rows("SELECT state, error_code, error_title FROM message") == [("accepted", None, None)]


def test_the_waits_for_one_person_are_never_shorter_than_metas_six_seconds_and_grow(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    waits = []
    for _ in range(6):
        claim(stage, outbox)
        settle(stage, outbox, (1, refused(131056)(None)))
        waits.append((stage.value("SELECT not_before FROM message") - int(stage.wall * US)) // US)
        stage.wall += waits[-1]
    assert waits == [6, 6, 16, 64, 256, 256]


def test_meta_unable_to_say_leaves_a_message_unknown_and_never_sends_it_again(make_home):
    stage = planned(make_home, 1)
    stage.send(unknown)
    stage.wall += 3600
    assert stage.send() == []
    assert stage.states() == {"unknown": 1}


def test_130429_halves_the_pace_once_for_what_was_sent_before_and_it_recovers(make_home):
    stage = planned(make_home, 4)
    outbox = outbox_of(stage)
    first = claim(stage, outbox, 2)
    stage.wall += 0.05
    assert settle(stage, outbox, (first[0], refused(130429)(None))).pace == 40
    assert settle(stage, outbox, (first[1], refused(130429)(None))).pace == 40
    stage.wall += 1
    (third, *_) = claim(stage, outbox, 1)
    assert settle(stage, outbox, (third, refused(130429)(None))).pace == 20
    stage.wall += 5
    assert outbox.turn([], 0, stage.us, int(stage.wall * US)).pace == 24
    stage.wall += 1000
    assert outbox.turn([], 0, stage.us, int(stage.wall * US)).pace == 80


def test_a_lane_has_its_part_of_the_pace(make_home):
    stage = planned(make_home, 1)
    assert outbox_of(stage, 1, 4).turn([], 0, stage.us, int(stage.wall * US)).pace == 20


def test_131042_stops_the_sender_and_hands_the_message_back(make_home):
    stage = planned(make_home, 2)
    outbox = outbox_of(stage)
    (first,) = claim(stage, outbox, 1)
    turn = outbox.turn([Settled(first, refused(131042)(None))], 5, stage.us, int(stage.wall * US))
    assert turn.claimed == ()
    assert "131042" in turn.stopped
    assert stage.states() == {"planned": 2}
    assert backlog(stage.home.ledger, stage.us, int(stage.wall * US)) == {}


def test_a_spam_limit_stops_the_campaign_alone(make_home):
    stage = planned(make_home, 1, campaigns=[OFFER, SECOND])
    stage.run("second")
    outbox = outbox_of(stage)
    (first,) = claim(stage, outbox, 1)
    settle(stage, outbox, (first, refused(131048)(None)))
    assert stage.home.stopped_campaigns().keys() == {"offer"}
    assert claim(stage, outbox) == [2]


def test_a_paused_template_holds_its_messages_and_a_disabled_one_fails(make_home):
    stage = planned(make_home, 2)
    outbox = outbox_of(stage)
    claim(stage, outbox, 1)
    settle(stage, outbox, (1, refused(132015)(None)))
    assert stage.rows("SELECT state, held_why FROM message WHERE id = 1") == [("held", "template_not_approved")]
    assert claim(stage, outbox) == []
    assert stage.rows("SELECT status FROM template_hold") == [("PAUSED",)]
    other = planned(make_home, 1, folder="other")
    other.send(refused(132016))
    assert (other.states(), other.rows("SELECT status FROM template_hold")) == ({"failed": 1}, [("DISABLED",)])


@pytest.mark.parametrize("code", [132001, 132015])
def test_a_code_about_templates_that_answers_a_text_holds_no_template(make_home, code):
    text = OFFER.replace("{template: hello, language: fr}", '{text: "Bonjour !"}')
    stage = make_home(contacts=1, campaigns=[text])
    stage.turn()
    stage.says("+33600000000", "Bonjour").turn()
    stage.run()
    assert len(stage.send(refused(code))) == 1
    assert stage.rows("SELECT name FROM template_hold") == []


def test_unreachable_media_is_tried_again_each_minute_until_the_message_expires(make_home):
    stage = planned(make_home, 1)
    stage.send(refused(131052))
    assert stage.rows("SELECT state, held_why FROM message") == [("held", "media_unreachable")]
    stage.turn()
    assert stage.send() == []
    stage.later(minutes=1).turn()
    assert len(stage.send(refused(131052))) == 1
    stage.later(hours=24).turn()
    assert stage.skips() == {"media_unreachable": 1}
    assert stage.reasons() == {"skipped": 1}


def test_131026_is_remembered_by_phone_and_131050_ends_marketing(make_home):
    stage = planned(make_home, 2)
    stage.send(lambda one: refused(131026 if one.id == 1 else 131050)(one))
    assert stage.rows("SELECT phone FROM unreachable") == [("+33600000000",)]
    assert stage.rows("SELECT subject, scope FROM suppression ORDER BY 1") == [
        ("contact:c1", "marketing"),
        ("phone:+33600000001", "marketing"),
    ]
    stage.turn()
    assert stage.home.contacts.find(ids=["c1"])["opt_out_scope"].to_list() == ["marketing"]
    assert stage.rows("SELECT contact_id, scope, cause FROM consent_history") == [("c1", "marketing", "meta_131050")]
    stage.turn()
    assert stage.value("SELECT count(*) FROM consent_history") == 1


def test_131050_makes_no_full_opt_out_weaker(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    claim(stage, outbox)
    change(stage, "INSERT INTO suppression VALUES ('contact:c0', 'all', 'stop_word', 1)")
    settle(stage, outbox, (1, refused(131050)(None)))
    assert stage.value("SELECT scope FROM suppression WHERE subject = 'contact:c0'") == "all"


def test_a_status_that_came_before_the_answer_is_not_undone_by_it(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    claim(stage, outbox)
    stage.status(1, "failed", code=131026).turn()
    settle(stage, outbox, (1, accepted_as("wamid.1")))
    assert stage.rows("SELECT state, error_code, wamid FROM message") == [("failed", 131026, "wamid.1")]


def accepted_as(wamid):
    return Outcome(Action.accepted, wamid=wamid)


# -- crashes -----------------------------------------------------------------------------------------------------------


def test_what_a_dead_lane_had_stamped_becomes_unknown(make_home):
    stage = planned(make_home, 2)
    claim(stage, outbox_of(stage), 1)
    wall = int(stage.wall * US)
    assert recover(stage.home.ledger, wall, stage.us) == 0
    assert recover(stage.home.ledger, wall + 31 * US, stage.us) == 1
    assert stage.states() == {"planned": 1, "unknown": 1}
    assert stage.value("SELECT count(*) FROM participant WHERE wake_at IS NOT NULL") == 1


def test_the_stamps_of_a_lane_at_work_are_left_alone(make_home):
    stage = planned(make_home, 2)
    claim(stage, outbox_of(stage), 1)
    stage.wall += 31
    second = outbox_of(stage)  # the same lease under its next token
    claim(stage, second, 1)
    assert recover(stage.home.ledger, int(stage.wall * US), stage.us) == 1
    assert stage.rows("SELECT id, state FROM message ORDER BY id") == [(1, "unknown"), (2, "attempted")]


def test_an_answer_that_comes_after_recovery_still_counts(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    claim(stage, outbox)
    recover(stage.home.ledger, int(stage.wall * US) + 31 * US, stage.us)
    settle(stage, outbox, (1, accepted_as("wamid.1")))
    assert stage.rows("SELECT state, error_title FROM message") == [("accepted", None)]


def test_a_uid_is_the_same_on_every_ledger_and_another_for_every_message(make_home):
    first, second = planned(make_home, 3, folder="a"), planned(make_home, [person(2), person(1), person(0)], folder="b")
    uids = [dict(stage.rows("SELECT contact_id, uid FROM message")) for stage in (first, second)]
    assert uids[0] == uids[1]
    assert len(set(uids[0].values())) == 3


def test_the_clock_of_an_acceptance_is_the_campaigns(make_home):
    stage = planned(make_home, 1)
    stage.wall += 500
    stage.send(accepted)
    assert stage.value("SELECT accepted_at FROM message") == int(NOON.timestamp() * US)


# -- silent hours, caps and waits that came after planning -------------------------------------------------------------


def test_who_was_triggered_goes_before_the_many_who_were_there_first(make_home):
    stage = planned(make_home, 5, campaigns=[OFFER, TRIGGERED])
    stage.later(minutes=5).happens("ordered", "c3").turn()
    outbox = outbox_of(stage)
    (first,) = claim(stage, outbox, 1)
    assert stage.rows("SELECT campaign, contact_id, priority FROM message WHERE id = ?", first) == [("order", "c3", 0)]


def test_nothing_is_claimed_from_the_moment_on_at_which_silence_begins(make_home):
    stage = planned(make_home, 2)
    change(stage, "UPDATE message SET quiet_at = ? WHERE id = 1", stage.us)
    change(stage, "UPDATE message SET quiet_at = ? WHERE id = 2", stage.us + 1)
    now, wall = stage.us, int(stage.wall * US)
    assert backlog(stage.home.ledger, now, wall) == {"main": 1}
    assert claim(stage, outbox_of(stage)) == [2]


def test_131049_since_the_message_was_planned_skips_other_marketing_for_a_day(make_home):
    order = SECOND.replace("template: hello", "template: order").replace("name: second", "name: order")
    stage = planned(make_home, 1, campaigns=[OFFER, SECOND, order])
    stage.run("second")
    stage.run("order")
    stage.send(refused(131049), want=1)
    assert [stage.value("SELECT campaign FROM message WHERE id = ?", one.id) for one in stage.send()] == ["order"]
    assert stage.rows("SELECT campaign, reason FROM skip") == [("second", "meta_marketing_cap")]


def test_131049_of_more_than_a_day_ago_keeps_nothing_back(make_home):
    stage = planned(make_home, 1, campaigns=[OFFER, SECOND])
    stage.send(refused(131049))
    change(stage, "UPDATE message SET failed_at = failed_at - 86400000000")
    stage.run("second")
    assert len(stage.send()) == 1


def test_waits_for_one_person_use_up_no_try_of_faults(make_home):
    stage = planned(make_home, 1)
    outbox = outbox_of(stage)
    for _ in range(4):
        stage.wall += 300
        assert claim(stage, outbox) == [1]
        settle(stage, outbox, (1, refused(131056)(None)))
    for wait in (2, 10, 40):
        stage.wall += 300
        assert claim(stage, outbox) == [1]
        settle(stage, outbox, (1, refused(131000)(None)))
        assert stage.value("SELECT not_before FROM message") == int((stage.wall + wait) * US)
    assert stage.states() == {"planned": 1}


def test_the_claim_walks_the_queue_in_its_order_and_looks_up_what_else_it_asks(make_home):
    stage = planned(make_home, 1)
    with stage.home.ledger.read() as tx:
        params = (0, "main", "offer", 99, stage.us, 0, 0, stage.us, 1, 0, 100)
        plan = [str(row[-1]) for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {claim_module._CANDIDATES}", params)]
    assert plan[0] == "SEARCH m USING INDEX message_queue (sender=? AND campaign=? AND priority<?)"
    assert not [line for line in plan if "SCAN" in line or "TEMP B-TREE" in line], plan
    assert any("message_capped (contact_id=? AND failed_at>?)" in line for line in plan), plan
