"""Folding: statuses in any order and any number of times give the same message as their one ordered sequence."""

import itertools
from datetime import timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from journey.codes import Action
from journey.outcome import Outcome
from resources.ledger import Ledger
from resources.outbox import Outbox, Settled, settle
from resources.statuses import FOLDED, fold, tell
from tests.stage import accepted, status_value

US = 1_000_000
ATTEMPT, NOW = 1_000 * US, 9_000 * US
STEPS = ["sent", "delivered", "read", "failed", "answer"]
COLUMNS = "state, sent_at, delivered_at, read_at, failed_at, accepted_at, error_code, error_title, wamid, held_why"


def told(message_id, wamid, status, at, code=None):
    row = (message_id, wamid, status, at, code, "Undeliverable" if code else None)
    return pl.DataFrame([row], schema=FOLDED, orient="row")


def message(ledger, state="attempted"):
    with ledger.write() as tx:
        tx.exec_driver_sql("DELETE FROM message")
        tx.exec_driver_sql(
            "INSERT INTO message (id, uid, participant_id, campaign, version, step, visit, contact_id, phone, sender,"
            " share, kind, priority, state, due_at, expires_at, planned_at, attempted_at, attempted_wall, error_code)"
            " VALUES (1, 1, 1, 'c', 'v', 's', 1, 'c1', '+331', 'main', 1, 'template', 1, ?, 1, 1, 1, ?, ?, 131000)",
            (state, ATTEMPT, ATTEMPT),
        )


def happen(ledger, events):
    """Each event in a transaction of its own; the answer comes `at` its own time."""
    for status, at in events:
        with ledger.write() as tx:
            if status == "answer":
                settle(tx, "main", [Settled(1, Outcome(Action.accepted, wamid="w"))], at, at)
            else:
                code = 131026 if status == "failed" else None
                fold(tx, tell(told(1, "w", status, at, code), NOW), NOW)


def state_of(ledger):
    with ledger.read() as tx:
        return tuple(tx.exec_driver_sql(f"SELECT {COLUMNS} FROM message").one())


times = st.integers(900, 9_500).map(lambda seconds: seconds * US)


@st.composite
def histories(draw):
    """Distinct events with a time each, and the same events in any order, some of them twice or thrice."""
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, unique=True))
    events = [(step, draw(times)) for step in STEPS if step in steps]
    return events, draw(st.permutations(events + draw(st.lists(st.sampled_from(events), max_size=4))))


@given(histories(), st.sampled_from(["attempted", "unknown"]))
def test_any_order_and_any_duplicates_give_the_state_of_the_ordered_unique_sequence(history, state):
    events, shuffled = history
    ledger = Ledger.open(":memory:")
    try:
        message(ledger, state)
        happen(ledger, events)
        expected = state_of(ledger)
        message(ledger, state)
        happen(ledger, shuffled)
        assert state_of(ledger) == expected
    finally:
        ledger.close()


def test_every_order_of_every_set_of_statuses_ends_in_the_furthest(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    furthest = ["read", "delivered", "failed", "sent"]
    for size in (1, 2, 3):
        for some in itertools.permutations(["sent", "delivered", "read", "failed"], size):
            message(ledger)
            happen(ledger, [(one, ATTEMPT + US) for one in some])
            state, *_ = state_of(ledger)
            assert state == next(one for one in furthest if one in some), some
    ledger.close()


def test_the_time_of_a_status_is_metas_but_never_before_the_attempt_nor_after_it_was_taken_in(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send(accepted)
    moment = stage.now
    stage.later(hours=1)
    stage.status(1, "sent", at=moment - timedelta(hours=3)).status(1, "delivered", at=moment + timedelta(minutes=7))
    stage.status(1, "read", at=moment + timedelta(days=9)).turn()
    start = int(moment.timestamp() * US)
    assert stage.rows("SELECT sent_at, delivered_at, read_at FROM message") == [
        (start, start + 7 * 60 * US, start + 3600 * US)
    ]
    assert [row["status_at"] for row in stage.lake("message_events")] == [
        moment - timedelta(hours=3), moment + timedelta(minutes=7), moment + timedelta(days=9)
    ]  # fmt: skip


def test_a_status_that_waited_for_its_message_is_bounded_by_when_it_came(make_home):
    stage = make_home(contacts=1)
    stage.run()
    lease = stage.home.ledger.take("send:main:0/1", "lane", seconds=86_400)
    outbox = Outbox(stage.home.ledger, lease, "main", 0, 1, 80.0)
    (one,) = outbox.turn([], 1, stage.us, int(stage.wall * US)).claimed
    came = stage.later(minutes=1).us
    stage.webhook(status_value("wamid.1", "read", stage.now + timedelta(days=9))).turn()
    stage.later(hours=2)
    outbox.turn([Settled(one.id, accepted(one))], 0, stage.us, int(stage.wall * US))
    assert stage.rows("SELECT state, read_at FROM message") == [("read", came)]


def test_131026_in_a_status_is_remembered_for_the_phone(make_home):
    stage = make_home(contacts=2)
    stage.run()
    stage.send()
    stage.status(2, "failed", code=131026).turn()
    assert stage.rows("SELECT phone, code FROM unreachable") == [("+33600000001", 131026)]


def test_only_those_whom_a_status_may_move_are_woken(make_home):
    stage = make_home(contacts=2, campaigns=[READ])
    stage.run()
    stage.send()
    stage.turn()
    asleep = "SELECT contact_id FROM participant WHERE wake_at > ?"
    assert len(stage.rows(asleep, stage.us)) == 2
    with stage.home.ledger.write() as tx:
        fold(tx, tell(told(1, "wamid.1", "delivered", stage.us), stage.us), stage.us)
        fold(tx, tell(told(2, "wamid.2", "read", stage.us), stage.us), stage.us)
    assert stage.rows(asleep, stage.us) == [("c0",)]


READ = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
steps:
  hello:
    message: {template: hello, language: fr}
    on_read: {within: 2d, read: end, not_read: end}
"""
