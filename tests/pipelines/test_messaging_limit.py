"""Meta's limit of different people in 24 hours: never exceeded, spread over days, what is transactional first."""

import random
from datetime import timedelta

import pytest

from gateway.metrics import exposition, families
from journey.outcome import Outcome
from pipelines import messaging_limit as limits
from pipelines.sensors import look
from resources import reached as reached_module
from resources import spending
from resources.ledger import US
from resources.outbox import Outbox, Settled, lane_name
from resources.vitals import vitals
from tests.resources.test_numbers import answers
from tests.stage import NOON, OFFER, SETTINGS, accepted, person, refused, unknown

WAITS = OFFER.replace("language: fr}", "language: fr, expires: 10d}")
ORDER = """
name: order
sender: main
entries:
  - trigger: {event: order_ready}
steps:
  ready:
    message: {template: order, language: fr}
"""
TEXT = OFFER.replace("name: offer", "name: chat").replace("{template: hello, language: fr}", '{text: "Bonjour !"}')
DAY = timedelta(hours=24, minutes=1)


def limited(make_home, people, limit, **more):
    """A home whose number may write to `limit` people, and everybody's message planned."""
    stage = make_home(contacts=people, campaigns=more.pop("campaigns", [WAITS]), **more)
    stage.turn()
    answers(stage, messaging_limit=limit)
    stage.run()
    return stage


def reached(stage):
    """How many different people have messages that count, of the last 24 hours."""
    since = stage.us - 24 * 3600 * US
    return stage.value("SELECT count(DISTINCT phone) FROM message WHERE attempted_at > ? AND state <> 'failed'", since)


def counter(stage):
    return stage.value("SELECT people FROM portfolio WHERE counted_at IS NOT NULL")


def lane(stage, share=0, shares=1, sender="main"):
    lease = stage.home.ledger.take(lane_name(sender, share, shares), "test")
    assert lease is not None
    return Outbox(stage.home.ledger, lease, sender, share, shares, 80.0)


def test_no_more_people_than_meta_allows_get_messages_in_24_hours_and_the_rest_on_the_days_after(make_home):
    stage = limited(make_home, 25, "10")
    sent = []
    for _ in range(3):
        sent.append(len(stage.send()))
        stage.turn()
        assert reached(stage) == counter(stage) == sent[-1]
        stage.later(hours=23).turn()
        assert stage.send() == []
        stage.at(stage.now - timedelta(hours=23) + DAY).turn()
    assert sent == [10, 10, 5]
    assert stage.skips() == {}
    assert stage.value("SELECT max(n) FROM (SELECT count(*) AS n FROM message GROUP BY phone)") == 1


def test_places_become_free_one_by_one_as_the_window_rolls(make_home):
    stage = limited(make_home, 12, "4")
    assert len(stage.send(want=1)) == 1
    stage.later(hours=6)
    assert len(stage.send()) == 3
    stage.turn()
    assert stage.states() == {"accepted": 4, "held": 8}
    stage.at(NOON + DAY).turn()
    assert len(stage.send()) == 1
    stage.later(hours=6).turn()
    assert len(stage.send()) == 3


def test_what_the_limit_held_until_it_expired_is_skipped_for_it(make_home):
    stage = limited(make_home, 5, "3", campaigns=[OFFER])
    stage.send()
    stage.turn()
    assert stage.rows("SELECT DISTINCT held_why FROM message WHERE state = 'held'") == [("messaging_limit",)]
    stage.later(hours=24, seconds=1).turn()
    assert stage.skips() == {"messaging_limit": 2}


def test_places_that_became_free_after_it_expired_are_no_other_reason(make_home):
    stage = limited(make_home, 5, "3", campaigns=[OFFER])
    stage.send()
    stage.turn()
    stage.later(days=3).turn()
    assert stage.skips() == {"messaging_limit": 2}


def test_lanes_beside_each_other_do_not_exceed_it_together(make_home):
    stage = limited(make_home, 60, "7")
    lanes = [lane(stage, share, 3) for share in range(3)]
    claimed = []
    for _ in range(4):
        for one in lanes:
            turn = one.turn([Settled(c.id, accepted(c)) for c in claimed[-1:]], 2, stage.us, int(stage.wall * US))
            claimed += turn.claimed
    assert len(claimed) == 7
    assert counter(stage) == 7


def test_senders_of_one_portfolio_share_it_and_another_portfolio_has_its_own(make_home):
    settings = SETTINGS.replace(
        "consent:",
        '  second: {phone_number_id: "2", waba_id: "102290129340398"}\n'
        '  third: {phone_number_id: "3", waba_id: "9", portfolio: shop}\n'
        "consent:",
    )
    texts = [
        WAITS.replace("name: offer", f"name: {name}").replace("sender: main", f"sender: {name}")
        for name in ("second", "third")
    ]
    stage = make_home(contacts=8, settings=settings, campaigns=[WAITS, *texts])
    stage.turn()
    for name in ("main", "second", "third"):
        answers(stage, name, messaging_limit="5")
    for name in ("offer", "second", "third"):
        stage.run(name)
    wall = int(stage.wall * US)
    assert len(lane(stage).turn([], 3, stage.us, wall).claimed) == 3
    again = lane(stage, sender="second").turn([], 50, stage.us, wall).claimed
    phones = stage.value("SELECT count(DISTINCT phone) FROM message WHERE state = 'attempted' AND sender <> 'third'")
    assert phones == 5
    assert len(again) == 5, "three people have a place already, whoever writes to them"
    assert len(lane(stage, sender="third").turn([], 50, stage.us, wall).claimed) == 5


def test_what_is_transactional_goes_first_when_places_become_free(make_home):
    stage = limited(make_home, 6, "3", campaigns=[WAITS, ORDER.replace("language: fr}", "language: fr, expires: 10d}")])
    stage.send()
    stage.turn()
    stage.happens("order_ready", "c5").turn()
    stage.send()
    stage.turn()
    assert stage.states() == {"accepted": 3, "held": 4}
    stage.at(NOON + DAY).turn()
    first = stage.send(want=1)
    assert stage.value("SELECT campaign FROM message WHERE id = ?", first[0].id) == "order"


def test_who_has_written_within_a_day_needs_no_place(make_home):
    stage = limited(make_home, 6, "2")
    stage.says("+33600000005", "Bonjour").turn()
    claimed = [stage.value("SELECT contact_id FROM message WHERE id = ?", one.id) for one in stage.send()]
    assert sorted(claimed) == ["c0", "c1", "c5"]
    assert counter(stage) == 2
    stage.turn()
    stage.later(minutes=5).says("+33600000004", "Bonjour").turn()
    assert [stage.value("SELECT contact_id FROM message WHERE id = ?", one.id) for one in stage.send()] == ["c4"]


def test_free_text_needs_no_place(make_home):
    stage = limited(make_home, 3, "1", campaigns=[WAITS, TEXT])
    stage.send()
    stage.says("+33600000002", "Bonjour").turn()
    stage.send()
    stage.run("chat")
    assert len(stage.send()) == 1


def test_a_second_message_of_the_day_needs_no_second_place(make_home):
    stage = limited(make_home, 3, "3", campaigns=[WAITS, WAITS.replace("name: offer", "name: second")])
    assert len(stage.send()) == 3
    stage.later(hours=1).run("second")
    assert len(stage.send()) == 3
    assert counter(stage) == 3
    stage.at(NOON + DAY).turn()
    assert counter(stage) == 3, "they count until a day after the last of them"


@pytest.mark.parametrize("outcome", [refused(131026), refused(131000), lambda _: None])
def test_what_certainly_did_not_go_out_gives_its_place_back(make_home, outcome):
    stage = limited(make_home, 10, "4")
    stage.send(outcome)
    assert counter(stage) == 0
    assert stage.value("SELECT count(*) FROM reached") == 0


def test_what_may_have_gone_out_keeps_its_place(make_home):
    stage = limited(make_home, 10, "4")
    stage.send(unknown)
    stage.turn()
    assert counter(stage) == 4
    assert stage.send() == []


def test_a_place_that_somebody_had_before_is_not_given_back_by_a_later_refusal(make_home):
    stage = limited(make_home, 3, "3", campaigns=[WAITS, WAITS.replace("name: offer", "name: second")])
    stage.send()
    stage.later(hours=1).run("second")
    stage.send(refused(131026))
    assert counter(stage) == 3
    stage.at(NOON + DAY).turn()
    assert counter(stage) == 0


def test_people_who_no_longer_count_and_get_another_message_count_once(make_home):
    stage = limited(make_home, 4, "5k", campaigns=[WAITS, WAITS.replace("name: offer", "name: second")])
    stage.send()
    stage.at(NOON + DAY)
    stage.home.reload()
    with stage.home.ledger.write() as tx:  # a lane that goes on for days without a pass between
        tx.exec_driver_sql("UPDATE message SET state = 'planned', attempted_at = NULL, wamid = NULL")
    assert len(stage.send()) == 4
    assert counter(stage) == stage.value("SELECT count(*) FROM reached") == 4


# -- where the limit comes from ----------------------------------------------------------------------------------------


def test_a_limit_that_is_not_known_is_none(make_home):
    stage = make_home(contacts=9)
    stage.run()
    assert len(stage.send()) == 9
    assert stage.value("SELECT count(*) FROM reached") == 0


@pytest.mark.parametrize(("stated", "said", "sent"), [("3", "TIER_250", 3), ("unlimited", "5", 9)])
def test_the_settings_word_comes_before_metas(make_home, stated, said, sent):
    settings = SETTINGS.replace("messages_per_second: 80", f"messages_per_second: 80, messaging_limit: {stated}")
    stage = make_home(contacts=9, settings=settings)
    answers(stage, messaging_limit=said)
    stage.run()
    assert len(stage.send()) == sent


def test_a_limit_that_comes_up_counts_who_was_written_to_before(make_home):
    stage = make_home(contacts=6, campaigns=[WAITS])
    stage.run()
    assert len(stage.send(want=3)) == 3
    answers(stage, messaging_limit="4")
    assert stage.send() == [], "nobody knows yet how many there were"
    with stage.home.ledger.read() as tx:
        assert limits.place_is_free(tx, stage.us), "a pass is asked for, to count them"
    stage.turn()
    assert counter(stage) == 3
    assert len(stage.send()) == 1


def test_a_limit_that_is_raised_lets_more_go_and_one_that_ends_all(make_home):
    stage = limited(make_home, 20, "2")
    stage.send()
    stage.turn()
    answers(stage, messaging_limit="5")
    stage.turn()
    assert len(stage.send()) == 3
    stage.turn()
    answers(stage, messaging_limit="TIER_UNLIMITED")
    stage.turn()
    assert len(stage.send()) == 15


def test_a_limit_that_is_lowered_holds_at_once(make_home):
    stage = limited(make_home, 20, "10")
    stage.send(want=6)
    answers(stage, messaging_limit="4")
    assert stage.send() == []
    stage.at(NOON + DAY).turn()
    assert len(stage.send()) == 4


# -- a long queue ------------------------------------------------------------------------------------------------------


def test_a_stopped_campaign_stands_in_nobodys_way(make_home):
    stage = limited(make_home, 8, "2", campaigns=[WAITS, WAITS.replace("name: offer", "name: second")])
    stage.send()
    stage.turn()
    stage.run("second")
    stage.turn()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1, stopped_why = 'x' WHERE name = 'offer'")
    stage.at(NOON + DAY).turn()
    sent = [stage.value("SELECT campaign FROM message WHERE id = ?", one.id) for one in stage.send()]
    assert sent == ["second", "second"]


def test_a_pass_takes_a_long_queue_out_of_the_way_of_lanes(make_home):
    stage = limited(make_home, 30, "3")
    stage.send(want=3)
    assert stage.states() == {"accepted": 3, "planned": 27}
    stage.turn()
    assert stage.states() == {"accepted": 3, "held": 27}


def test_a_pass_is_asked_for_when_a_place_is_free_and_not_before(make_home):
    stage = limited(make_home, 5, "2")
    stage.send()
    stage.turn()
    assert look(stage.home).messages == 0
    stage.at(NOON + DAY)
    assert look(stage.home).messages == 1
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1, stopped_why = 'x'")
    assert look(stage.home).messages == 0, "a pass would let nothing go"


def test_silent_hours_keep_what_the_limit_held(make_home):
    text = WAITS.replace("steps:", 'settings: {silent_hours: {from: "22:00", to: "08:00", timezone: UTC}}\nsteps:')
    stage = limited(make_home, 3, "2", campaigns=[text])
    stage.at(NOON + timedelta(hours=9, minutes=30))
    assert len(stage.send()) == 2
    stage.turn()
    stage.at(NOON + timedelta(hours=34)).turn()  # 22:00 of the next day; a place was free from 21:31 on
    assert stage.send() == []
    stage.at(NOON + timedelta(hours=44)).turn()
    assert len(stage.send()) == 1


def test_a_crash_while_people_are_counted_anew_begins_it_again(make_home, monkeypatch):
    stage = make_home(contacts=6, campaigns=[WAITS])
    stage.run()
    stage.send(want=3)
    answers(stage, messaging_limit="4")

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(limits, "count_anew", crash)
        with pytest.raises(KeyboardInterrupt):
            stage.turn()
    assert stage.send() == []
    stage.turn()
    assert counter(stage) == 3


def test_who_is_counted_is_exact_however_answers_come(make_home):
    """A year in small: messages to the same people from two campaigns, refused, unknown, handed back; the counter is
    what the rows are, and never above the limit."""
    draw = random.Random(7)
    texts = [
        WAITS.replace("name: offer", f"name: n{n}").replace("steps:", "settings: {re_entry: always}\nsteps:")
        for n in range(2)
    ]
    stage = make_home(contacts=[person(n) for n in range(30)], campaigns=texts)
    stage.turn()
    answers(stage, messaging_limit="9")
    outcomes = [accepted, accepted, unknown, refused(131026), refused(130429), lambda _: None]
    for step in range(25):
        if step % 8 == 0:
            stage.run(f"n{step // 8 % 2}")
        stage.wall += 60

        def outcome(claimed) -> Outcome | None:
            return draw.choice(outcomes)(claimed)

        stage.send(outcome, want=draw.randrange(1, 6))
        stage.later(hours=draw.choice([0, 1, 5])).turn()
        assert counter(stage) == stage.value("SELECT count(*) FROM reached")
        assert counter(stage) <= 9
        assert reached(stage) <= 9


def test_no_statement_of_a_turn_or_a_pass_walks_the_messages(make_home):
    """Each by an index; what it reads is what it deals with, or who wrote just now."""
    stage = make_home(contacts=1)
    asked = [
        (limits._WAITING, ("main", "offer", 99, 10), "message_limited (sender=? AND campaign=? AND priority<?)"),
        (limits._QUEUED, ("main", "offer", 99, 10), "message_queue (sender=? AND campaign=? AND priority<?)"),
        (limits._QUEUE, ("main", "offer", "main", 1, 1), "message_queue (sender=? AND campaign=?)"),
        (limits._WROTE, (1,), "reply_recent (replied_at>?)"),
        (reached_module._KNOWN, ("main", "[]"), "portfolio=? AND phone=?"),
        (reached_module._OPEN, ("[]", "main", 1), "ix_reply_contact_id (contact_id=?)"),
        (reached_module._FORGET, ("main", 1, 10), "reached_over (portfolio=? AND last_at<?)"),
        (reached_module._OF_LATE, (1, "main", 1), "message_attempts (campaign=? AND attempted_at>?)"),
        (spending._ON_THE_WAY, ("offer", "EUR", 0), "message_in_flight (state=?)"),
    ]
    for query, params, index in asked:
        plan = [str(row[-1]) for row in stage.rows(f"EXPLAIN QUERY PLAN {query}", *params)]
        assert any(index in line for line in plan), (query, plan)
        assert not [line for line in plan if line.startswith(("SCAN m ", "SCAN message", "SCAN reply"))], plan


def test_who_watches_over_it_sees_the_limit_and_what_waits_for_a_place(make_home):
    stage = limited(make_home, 7, "3")
    stage.send()
    stage.turn()
    answers(stage, messaging_limit="3", quality="RED")
    text = exposition(families(vitals(stage.home, stage.now), 1))
    for line in (
        'estafette_messaging_limit{portfolio="main"} 3',
        'estafette_people_reached{portfolio="main"} 3',
        'estafette_messages_over_limit{portfolio="main"} 4',
        'estafette_sender_resting{sender="main"} 1',
    ):
        assert line in text.splitlines()
