"""Who is taken out from outside: the passage ends, what was planned does not go out, what went out stays."""

import pytest

from journey.codes import Action
from journey.outcome import Outcome
from journey.words import LeaveReason
from resources.leaving import leave
from resources.ledger import US
from resources.outbox import Outbox, Settled


def take_out(stage, reason=LeaveReason.exit_on):
    with stage.home.ledger.write(stage.lease) as tx:
        ids = [row.id for row in tx.exec_driver_sql("SELECT id FROM participant ORDER BY contact_id").all()]
        return len(leave(tx, ids, reason, stage.us))


@pytest.mark.parametrize(
    ("reason", "state"), [(LeaveReason.exit_on, "ended"), (LeaveReason.dropped_by_hand, "dropped")]
)
def test_who_leaves_gets_nothing_of_what_was_planned(make_home, reason, state):
    stage = make_home()
    stage.run()
    assert take_out(stage, reason) == 3
    assert stage.states() == {"cancelled": 3}
    assert stage.send() == []
    assert stage.rows("SELECT DISTINCT state, reason, left_at, wake_at, step FROM participant") == [
        (state, reason.value, stage.us, None, "hello")
    ]
    assert stage.skips() == {}


def test_leaving_twice_is_leaving_once(make_home):
    stage = make_home()
    stage.run()
    take_out(stage)
    stage.later(hours=1)
    assert take_out(stage, LeaveReason.goal) == 0
    assert stage.reasons() == {"exit_on": 3}


def test_what_has_gone_out_stays_and_its_statuses_still_count(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send()
    take_out(stage)
    stage.status(1, "read").turn()
    assert stage.states() == {"read": 1}
    assert stage.reasons() == {"exit_on": 1}


@pytest.mark.parametrize("outcome", [None, Outcome(Action.retry_soon, code=131000, title="Something went wrong")])
def test_what_was_on_its_way_and_comes_back_unsent_goes_out_no_more(make_home, outcome):
    stage = make_home(contacts=1)
    stage.run()
    lane = stage.home.ledger.take("send:main:0/1", "test")
    outbox = Outbox(stage.home.ledger, lane, "main", 0, 1, 80.0)
    (claimed,) = outbox.turn([], 10, stage.us, int(stage.wall * US)).claimed
    take_out(stage)
    assert stage.states() == {"attempted": 1}
    outbox.turn([Settled(claimed.id, outcome)], 0, stage.us, int(stage.wall * US))
    assert stage.states() == {"cancelled": 1}


def test_a_code_that_was_claimed_for_a_message_that_never_left_is_free_again(make_home):
    stage = make_home(contacts=2)
    stage.run()
    with stage.home.ledger.write() as tx:
        for number in (1, 2):
            tx.exec_driver_sql(
                "INSERT INTO coupon (id, pool, code, state, message_id, contact_id, claimed_at, tag)"
                " VALUES (?, 'autumn', ?, 'claimed', ?, 'c0', 1, 'autumn_coupon')",
                (number, f"A{number}", number),
            )
            tx.exec_driver_sql("UPDATE message SET coupon_id = ? WHERE id = ?", (number, number))
    stage.send(want=1)
    take_out(stage)
    assert stage.rows("SELECT id, state, message_id, contact_id, tag FROM coupon ORDER BY id") == [
        (1, "sent", 1, "c0", "autumn_coupon"),
        (2, "free", None, None, None),
    ]
