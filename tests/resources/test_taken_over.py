"""Processes that died, and what is told: others went on, nobody did, or all ended in good order."""

from resources.failures import failures
from resources.ledger import LONGEST_LEASE, US
from resources.outbox import Outbox, recover
from tests.stage import accepted

HEALED = ("pass_taken_over", "sender_taken_over", "work_dropped")
LANE = "send:main:0/1"


def told(stage):
    found = failures(stage.home, stage.home.project, stage.now)
    return {str(one.kind): one.values for one in found if one.kind in HEALED}


def planned(make_home, people=3):
    stage = make_home(contacts=people)
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 0")
    return stage


def claims(stage, holder="here:1:a", want=10):
    """A lane with messages on the wire."""
    lease = stage.home.ledger.take(LANE, holder)
    turn = Outbox(stage.home.ledger, lease, "main", 0, 1, 80.0).turn([], want, stage.us, int(stage.wall * US))
    return lease, [one.id for one in turn.claimed]


def recovers(stage):
    return recover(stage.home.ledger, int(stage.wall * US), stage.us)


def test_a_lease_that_was_given_back_is_taken_without_a_word(make_home):
    stage = planned(make_home)
    for name in ("pass", LANE):
        for after in (0.0, 1.0):  # a lane's lasts a moment longer than it
            stage.home.ledger.release(stage.home.ledger.take(name, "here:1:a"), after=after)
            stage.wall += 40
    assert stage.home.ledger.take("pass", "here:2:b") and stage.home.ledger.take(LANE, "here:2:b")
    assert told(stage) == {}


def test_a_pass_that_others_took_over_is_told_for_a_day_with_the_process(make_home):
    stage = planned(make_home)
    for number in range(3):
        assert stage.home.ledger.take("pass", f"here:471{number}:a")
        stage.wall += 40
    [found] = [one for one in failures(stage.home, None, stage.now) if one.kind == "pass_taken_over"]
    assert (found.values["number"], found.count, found.detail) == (2, 2, "(process 4711 on here)")
    stage.wall += 86_400
    assert "pass_taken_over" not in told(stage)


def test_what_a_killed_lane_had_on_the_wire_is_told_with_what_became_of_it(make_home):
    stage = planned(make_home)
    _, ids = claims(stage)
    stage.wall += 40
    assert recovers(stage) == len(ids) == 3
    assert told(stage)["sender_taken_over"] | {"since": None} == {"since": None, "number": 1, "messages": 3, "known": 0}
    stage.lease = stage.home.ledger.take("pass", "test", seconds=LONGEST_LEASE)
    stage.status(ids[0], "delivered").turn()
    assert told(stage)["sender_taken_over"]["known"] == 1
    claims(stage, "here:2:b")
    assert told(stage)["sender_taken_over"]["number"] == 1, "taken over and recovered: it is one process"


def test_a_process_with_whose_work_nobody_goes_on_is_told_until_somebody_does(make_home):
    stage = planned(make_home)
    _, ids = claims(stage)
    assert told(stage) == {}
    stage.wall += 31
    assert told(stage) == {}, "a pass has half a minute to take over"
    stage.wall += 31
    assert told(stage)["work_dropped"]["number"] == len(ids)
    assert recovers(stage) == len(ids)
    assert "work_dropped" not in told(stage)
    assert stage.home.ledger.take("pass", "here:3:c")
    stage.wall += 61
    assert told(stage)["work_dropped"]["number"] == 0
    assert stage.home.ledger.take("pass", "here:4:d")
    assert "work_dropped" not in told(stage)


def test_a_lane_that_ended_with_everything_settled_dropped_nothing(make_home):
    stage = planned(make_home)
    stage.send(accepted)
    stage.wall += 120
    assert told(stage) == {}


def test_what_is_kept_of_processes_that_die_again_and_again_does_not_grow(make_home):
    stage = planned(make_home)
    for number in range(70):
        assert stage.home.ledger.take("pass", f"here:{number}:a")
        stage.wall += 31
    assert told(stage)["pass_taken_over"]["number"] == 50
