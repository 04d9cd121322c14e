"""After a restore: what went out is known by its statuses, what may have gone out waits for a word."""

import shutil

import pytest

from journey.codes import Action
from journey.outcome import Outcome
from journey.problems import LedgerError
from pipelines.audiences import add_occurrence
from pipelines.publish import publish
from resources.backup import make_backup, open_backup
from resources.hold import let_go
from resources.mark import FILE
from resources.restore import put_back
from tests.resources.test_numbers import answers
from tests.stage import OFFER, Stage, person

TWO_STEPS = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
steps:
  hello:
    message: {template: hello, language: fr}
    on_read: {within: 2d, read: reminder, not_read: last_call}
  reminder:
    message: {template: reminder, language: fr}
  last_call:
    message: {template: last_call, language: fr}
"""
TRIGGERED = """
name: order
sender: main
entries:
  - trigger: {event: ordered}
steps:
  hello:
    message: {template: order, language: fr}
    next: pause
  pause:
    delay: {for: 1h}
    next: later
  later:
    message: {template: reminder, language: fr}
"""


def back(stage, tmp_path):
    """A backup of this moment."""
    return make_backup(stage.home, tmp_path / "backup").path


def restore(stage, folder):
    """The backup put back, and caught up, as the command does."""
    now = stage.now
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 0")
    put_back(stage.home, open_backup(folder))
    again = Stage(stage.path, now)
    again.turn()
    return again


def resume(stage, send=False):
    stage.turn()
    done = let_go(stage.home.ledger, stage.lease, stage.us, send=send)
    stage.turn()
    return done


@pytest.fixture
def close():
    """Stages that a test opens beside the first one."""
    made = []
    yield made
    for stage in made:
        stage.home.close()


def test_nothing_is_sent_until_somebody_lets_it_go(make_home, tmp_path, close):
    stage = make_home()
    folder = back(stage, tmp_path)
    close.append(again := restore(stage, folder))
    again.run()
    assert again.send() == []
    again.later(days=3).turn()
    assert again.states() == {"planned": 3}, "nor does it expire meanwhile"
    assert resume(again).in_doubt == 0
    assert len(again.send()) == 3


def test_a_status_of_the_epoch_before_settles_what_the_backup_had_planned(make_home, tmp_path, close):
    stage = make_home()
    stage.run()
    folder = back(stage, tmp_path)
    before = stage.home.prefix()
    stage.send()
    stage.later(minutes=5).status(1, "delivered").status(2, "sent")
    close.append(again := restore(stage, folder))
    assert again.states() == {"delivered": 1, "held": 1, "sent": 1}
    assert again.home.prefix() != before
    assert resume(again).in_doubt == 1
    assert again.send() == []
    assert again.states() == {"delivered": 1, "sent": 1, "unknown": 1}


def test_what_may_have_gone_out_goes_out_where_somebody_says_so(make_home, tmp_path, close):
    stage = make_home()
    stage.run()
    folder = back(stage, tmp_path)
    stage.send()
    close.append(again := restore(stage.later(days=2), folder))
    assert again.states() == {"held": 3}
    assert resume(again, send=True).in_doubt == 3
    assert len(again.send()) == 3, "the time in which nothing could go out does not count"


def test_who_came_in_after_the_backup_is_known_by_the_status_of_their_message(make_home, tmp_path, close):
    stage = make_home(campaigns=(TRIGGERED,))
    stage.turn()
    folder = back(stage, tmp_path)
    stage.later(minutes=1).happens("ordered", "c0").happens("ordered", "c1").turn()
    assert len(stage.send()) == 2
    stage.status(1, "read")
    close.append(again := restore(stage.later(minutes=1), folder))
    assert again.states() == {"held": 1, "read": 1}
    resume(again)
    assert again.send() == []
    assert len(again.entered()) == 2


def test_a_status_that_comes_late_settles_what_has_another_id_now(make_home, tmp_path, close):
    stage = make_home(campaigns=(TRIGGERED,))
    stage.turn()
    folder = back(stage, tmp_path)
    stage.happens("ordered", "c0").turn()
    stage.happens("ordered", "c1").turn()
    assert len(stage.send()) == 2
    late = stage.status_of(1, "delivered")
    uid = stage.value("SELECT uid FROM message WHERE id = 1")
    close.append(again := restore(stage.later(minutes=1), folder))
    with again.home.ledger.write() as tx:  # had they come in in another order
        tx.exec_driver_sql("UPDATE message SET id = 7 WHERE id = 1")
    again.webhook(late).turn()
    assert again.rows("SELECT id, state FROM message WHERE uid = ?", uid) == [(7, "delivered")]


def test_whoever_is_taken_to_have_got_a_message_goes_on_and_is_not_sent_what_the_lost_time_may_have_brought(
    make_home, tmp_path, close
):
    stage = make_home(campaigns=(TRIGGERED,))
    stage.happens("ordered", "c0").turn()
    folder = back(stage, tmp_path)
    stage.send()
    stage.turn()
    stage.later(minutes=61).turn()
    assert len(stage.send()) == 1, "the second message went out in the lost time"
    close.append(again := restore(stage.later(minutes=10), folder))
    resume(again)
    again.later(hours=2).turn()
    assert again.rows("SELECT step, state FROM message ORDER BY id") == [("hello", "unknown"), ("later", "unknown")]
    assert again.send() == []


def test_what_could_not_be_reached_in_the_lost_time_goes_out(make_home, tmp_path, close):
    stage = make_home(campaigns=(TRIGGERED,))
    stage.happens("ordered", "c0").turn()
    folder = back(stage, tmp_path)
    stage.send()
    close.append(again := restore(stage.later(minutes=20), folder))
    resume(again)
    again.later(hours=2).turn()
    assert len(again.send()) == 1
    assert again.rows("SELECT step, state FROM message ORDER BY id") == [("hello", "unknown"), ("later", "accepted")]


def test_a_campaign_that_sends_unknown_messages_again_does_not_send_these(make_home, tmp_path, close):
    stage = make_home(campaigns=(OFFER + "settings: {when_unknown: {after: 1h, then: resend}}\n",))
    stage.run()
    folder = back(stage, tmp_path)
    stage.send()
    close.append(again := restore(stage.later(minutes=5), folder))
    resume(again)
    again.later(days=2).turn()
    assert again.send() == []
    assert again.states() == {"unknown": 3}
    assert again.reasons() == {"end": 3}, "their journey goes on"


def test_with_the_landing_zone_lost_too_nobody_gets_what_may_have_been_sent(make_home, tmp_path, close):
    stage = make_home(campaigns=(TWO_STEPS,))
    stage.run()
    stage.send()
    stage.status(1, "delivered").turn()
    folder = back(stage, tmp_path)
    stage.later(minutes=10).status(1, "read").turn()
    assert len(stage.send()) == 1
    (stage.path / "landing/webhooks/log.ndjson").unlink()
    now = stage.now
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 0")
    assert put_back(stage.home, open_backup(folder)).landing_lost
    close.append(again := Stage(stage.path, now))
    again.turn()
    resume(again)
    again.status(1, "read", file="later.ndjson").turn()
    assert again.send() == [], "they may have read it, and got the next one, before"
    again.later(days=3).turn()
    assert len(again.send()) == 2, "what takes two days could not have gone out in ten minutes"


def test_a_landing_zone_that_was_lost_before_any_webhook_came_is_known_as_lost(make_home, tmp_path, close):
    stage = make_home(campaigns=(TWO_STEPS,))
    stage.run()
    folder = back(stage, tmp_path)
    stage.send()
    stage.later(minutes=10).status(1, "read").turn()
    assert len(stage.send()) == 1
    shutil.rmtree(stage.path / "landing")
    now = stage.now
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 0")
    assert put_back(stage.home, open_backup(folder)).landing_lost
    close.append(again := Stage(stage.path, now))
    again.turn()
    resume(again)
    (stage.path / "landing/webhooks").mkdir(exist_ok=True)
    again.status(1, "read", file="later.ndjson").turn()
    assert again.send() == []


def test_an_event_that_comes_again_after_a_restore_messages_nobody_twice(make_home, tmp_path, close):
    stage = make_home(campaigns=(TRIGGERED,))
    stage.turn()
    folder = back(stage, tmp_path)
    stage.later(minutes=1).happens("ordered", "c0").turn()
    assert len(stage.send()) == 1
    log = stage.path / "landing/events/log.ndjson"
    kept = log.read_text()
    log.unlink()  # lost with the ledger
    close.append(again := restore(stage.later(minutes=1), folder))
    resume(again)
    log.write_text(kept)
    again.later(minutes=5).turn()
    assert again.send() == []
    assert again.states() == {"unknown": 1}


LONG = OFFER.replace("language: fr}", "language: fr, expires: 10d}")


def people(stage):
    """How many count for the limit, as a lane sees it; None while nobody has counted."""
    return stage.value("SELECT CASE WHEN counted_at IS NOT NULL THEN people END FROM portfolio")


def limited(make_home, **more):
    """A home whose number may write to six people in 24 hours."""
    stage = make_home(contacts=10, **more)
    stage.turn()
    answers(stage, messaging_limit="6")
    stage.turn()
    return stage


def test_whom_the_lost_time_wrote_to_counts_for_metas_limit(make_home, tmp_path, close):
    stage = limited(make_home, campaigns=(LONG,))
    stage.run()
    folder = back(stage, tmp_path)
    assert len(stage.send(want=4)) == 4
    stage.later(minutes=5).status(1, "delivered").status(2, "sent")
    close.append(again := restore(stage, folder))
    assert people(again) == 2, "those two went out past this ledger"
    assert resume(again).in_doubt == 8
    assert people(again) == 10, "all that may have gone out counts"
    again.contacts([person(number) for number in (20, 21)]).later(hours=1)
    again.campaign(LONG.replace("name: offer", "name: second")).run("second")
    assert len(again.send()) == 10, "who counts already may be written to"
    assert again.rows("SELECT contact_id, held_why FROM message WHERE state <> 'accepted' AND id > 10") == [
        ("c20", "messaging_limit"), ("c21", "messaging_limit")
    ]  # fmt: skip


def test_a_message_that_this_ledger_does_not_know_counts_as_a_person_of_its_own(make_home, tmp_path, close):
    stage = limited(make_home, campaigns=(TRIGGERED,))
    folder = back(stage, tmp_path)
    for number in range(4):
        stage.happens("ordered", f"c{number}", n=number)
    stage.later(minutes=1).turn()
    assert len(stage.send()) == 4
    for number in range(1, 5):
        stage.status(number, "sent")
    (stage.path / "landing/events/log.ndjson").unlink()  # nor does it learn of them any more
    close.append(again := restore(stage.later(minutes=1), folder))
    resume(again)
    assert people(again) == 4
    for number in range(4, 10):
        again.happens("ordered", f"c{number}", n=number, file="later.ndjson")
    again.later(minutes=1).turn()
    assert len(again.send()) == 2


def test_a_status_that_comes_after_the_sends_were_let_go_takes_its_place_before_anything_goes(
    make_home, tmp_path, close
):
    stage = limited(make_home, campaigns=(TRIGGERED,))
    folder = back(stage, tmp_path)
    stage.happens("ordered", "c0").turn()
    stage.send()
    late = stage.status_of(1, "sent")
    (stage.path / "landing/events/log.ndjson").unlink()
    close.append(again := restore(stage.later(minutes=1), folder))
    resume(again)
    assert people(again) == 0
    again.webhook(late).turn()
    assert people(again) == 1


def put_back_by_hand(stage, copy):
    """The ledger's file as it was, as somebody copies it who knows no `restore`."""
    now, ledger = stage.now, stage.home.ledger_path()
    stage.home.close()
    for side in ("-wal", "-shm"):
        ledger.with_name(ledger.name + side).unlink(missing_ok=True)
    copy.replace(ledger)
    again = Stage(stage.path, now)
    again.turn()
    return again


def test_a_ledger_that_somebody_copied_back_by_hand_holds_all_sends_too(make_home, tmp_path, close):
    stage = make_home()
    stage.run()
    publish(stage.home, stage.lease)
    stage.home.ledger.copy(tmp_path / "copy.sqlite")
    before = stage.home.prefix()
    stage.send()
    stage.later(minutes=5).status(1, "delivered").turn()
    publish(stage.home, stage.lease)
    close.append(again := put_back_by_hand(stage, tmp_path / "copy.sqlite"))
    assert again.send() == []
    assert again.home.prefix() != before
    assert again.states() == {"delivered": 1, "held": 2}
    assert resume(again).in_doubt == 2
    assert again.send() == []
    again.home.close()
    close.append(third := Stage(again.path, again.now))
    assert third.value("SELECT count(*) FROM meta WHERE name = 'hold'") == 0, "it is said once"


def test_a_copy_that_is_older_by_one_turn_of_a_lane_holds_all_sends(make_home, tmp_path, close):
    stage = make_home()
    stage.run()
    stage.home.ledger.copy(tmp_path / "copy.sqlite")
    stage.send(want=1)
    close.append(again := put_back_by_hand(stage, tmp_path / "copy.sqlite"))
    assert again.send() == []
    assert again.states() == {"held": 3}


def test_all_of_data_copied_back_is_known_by_the_mark_in_the_landing_zone(make_home, tmp_path, close):
    stage = make_home()
    stage.run()
    publish(stage.home, stage.lease)
    stage.home.ledger.copy(tmp_path / "copy.sqlite")
    (tmp_path / FILE).write_bytes((stage.home.paths.data / FILE).read_bytes())
    stage.send()
    (tmp_path / FILE).replace(stage.home.paths.data / FILE)
    close.append(again := put_back_by_hand(stage, tmp_path / "copy.sqlite"))
    assert again.send() == []
    assert again.states() == {"held": 3}


@pytest.mark.parametrize("planned", [True, False], ids=["planned by then", "planned later"])
def test_where_every_mark_was_put_back_too_a_status_tells_and_holds_all_sends(make_home, tmp_path, close, planned):
    """As a snapshot of the machine does it."""
    stage = make_home()
    stage.run() if planned else stage.turn()
    stage.home.ledger.copy(tmp_path / "copy.sqlite")
    before = stage.home.prefix()
    if not planned:
        stage.run()
    stage.send()
    for number in (1, 2):
        stage.status(number, "delivered")
    for file in stage.home.mark.files:
        file.unlink()
    with pytest.raises(LedgerError, match="an older copy of itself"):
        put_back_by_hand(stage, tmp_path / "copy.sqlite")
    close.append(again := Stage(stage.path, stage.now))
    if not planned:  # the next pass comes to it
        add_occurrence(again.home, again.home.project.campaigns["offer"], again.now)
    again.turn()
    assert again.home.prefix() != before
    assert again.states() == {"delivered": 2, "held": 1}
    assert again.send() == []
    assert resume(again).in_doubt == 1
    assert again.send() == []


def test_a_status_of_a_message_that_was_tried_is_no_sign_of_an_older_ledger(make_home):
    stage = make_home()
    stage.run()
    stage.send(lambda _: Outcome(Action.retry_soon, code=131000, title="Something went wrong"))
    assert stage.states() == {"planned": 3}
    stage.status(1, "delivered").turn()
    assert stage.states() == {"delivered": 1, "planned": 2}
    stage.wall += 60
    assert len(stage.send()) == 2


def test_a_ledger_that_was_copied_back_as_it_is_holds_nothing(make_home, tmp_path, close):
    stage = make_home()
    stage.run()
    publish(stage.home, stage.lease)
    stage.home.ledger.copy(tmp_path / "copy.sqlite")
    close.append(again := put_back_by_hand(stage, tmp_path / "copy.sqlite"))
    assert len(again.send()) == 3


def test_whoever_acted_before_a_restore_can_write_no_more(make_home, tmp_path, close):
    stage = make_home()
    old = stage.lease
    folder = back(stage, tmp_path)
    close.append(again := restore(stage, folder))
    assert again.lease.token > old.token + 1000


def test_files_that_were_read_are_not_read_again_when_they_come_from_the_backup(make_home, tmp_path, close):
    stage = make_home()
    log = stage.path / "landing/contacts/log.ndjson"
    for number in (0, 1):  # it grew, so that nobody knows a hash of all of it
        with log.open("a") as lines:
            lines.write(f'{{"contact_id":"c{number}","phone":"060000000{number}","country":"FR"}}\n')
        stage.turn()
    stage.contacts([{"contact_id": "c0", "country": "DE"}], "newer.csv").turn()
    folder = back(stage, tmp_path)
    for path in (stage.path / "landing/contacts").iterdir():
        path.unlink()
    close.append(again := restore(stage, folder))
    assert again.home.landing.pending(again.wall) == []
    assert again.home.contacts.frame(["country"], ["c0"]).item() == "DE"
