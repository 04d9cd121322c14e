"""Sensors: a pass is asked for when something is due, and only then."""

import threading

import dagster as dg
import pytest

from pipelines.schedules import every_minute
from pipelines.sensors import Due, look, something_due, wants_pass
from resources.definitions import HomeResource
from tests.stage import OFFER, Stage, person, refused


def test_a_quiet_home_wants_nothing(make_home):
    stage = make_home()
    stage.run()
    stage.send()
    stage.turn()
    assert not look(stage.home).anything
    assert str(look(stage.home)) == "nothing"


def test_a_new_file_is_seen(make_home):
    stage = make_home()
    stage.turn()
    stage.contacts([person(9)])
    assert look(stage.home) == Due(files=1)
    stage.turn()
    assert not look(stage.home).anything


def test_requests_and_codes_are_seen_too(make_home):
    stage = make_home()
    stage.turn()
    stage.asks("offer", users=["c0"])
    (stage.path / "landing/coupons").mkdir()
    (stage.path / "landing/coupons/autumn.csv").write_text("vouchers\nA1\n")
    assert look(stage.home) == Due(files=2)
    stage.turn()
    assert not look(stage.home).anything


def test_an_entry_that_waits_for_its_contact_is_seen_when_its_day_is_over(make_home):
    stage = make_home(campaigns=[OFFER.replace("audience: {segment: everyone}", "trigger: {event: bought}")])
    stage.happens("bought", "nobody").turn()
    assert not look(stage.home).anything
    assert look(stage.later(days=1).home) == Due(occurrences=1)
    stage.turn()
    assert not look(stage.home).anything


def test_people_are_seen_when_their_time_has_come(make_home):
    wait = OFFER + "    on_read: {within: 2d, read: end, not_read: end}\n"
    stage = make_home(campaigns=[wait])
    stage.run()
    stage.send()
    stage.turn()
    assert not look(stage.home).anything
    assert look(stage.later(days=2).home).people == 1


def test_messages_that_may_go_out_are_seen_unless_a_lane_is_at_them(make_home):
    stage = make_home()
    stage.run()
    assert look(stage.home).messages == 3
    stage.home.ledger.take("send:main:0/1", "lane")
    assert look(stage.home).messages == 0


@pytest.mark.parametrize("statement", [
    "UPDATE campaign SET stopped_at = 1",
    "UPDATE campaign SET live = 0",
    "UPDATE sender SET stopped_at = 1, stopped_why = 'x'",
    "INSERT INTO template_hold VALUES ('hello', 'fr', 'PAUSED', 0, 1)",
])  # fmt: skip
def test_what_may_not_go_out_asks_for_no_pass(make_home, statement):
    stage = make_home()
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql(statement)
    assert not look(stage.home).anything


def test_a_message_held_for_its_media_does_not_keep_passes_coming(make_home):
    stage = make_home()
    stage.run()
    stage.send(refused(131052))
    stage.turn()
    assert not look(stage.home).anything


def test_people_in_a_campaign_that_is_not_live_ask_for_no_pass(make_home):
    stage = make_home()
    stage.run()
    stage.send()
    stage.campaign(OFFER.replace("sender: main", "sender: main\ndraft: true")).turn()
    assert not look(stage.home).anything


def test_contacts_who_enter_later_are_seen_at_their_time(make_home):
    text = OFFER.replace("everyone}", 'everyone, when: {at: "2026-12-02 10:00", timezone: contact}}')
    people = [person(0, timezone="Asia/Tokyo"), person(1, timezone="Europe/Paris")]
    stage = make_home(campaigns=[text], contacts=people)
    stage.turn()
    stage.at("2026-12-02T01:00:00+00:00").turn()
    stage.send()
    stage.turn()
    assert not look(stage.home).anything
    assert look(stage.at("2026-12-02T09:00:00+00:00").home) == Due(occurrences=1)


def test_an_occurrence_whose_segment_fails_does_not_keep_passes_coming(make_home):
    stage = make_home(segments={"everyone.sql": "select contact_id from contacts where error('no')"})
    stage.run()
    assert not look(stage.home).anything


def test_why_no_pass_is_asked_for():
    due = Due(people=1)
    assert wants_pass(due, lease_held=False, waiting_runs=0) is None
    assert wants_pass(due, lease_held=False, waiting_runs=1) == "a pass is on its way"
    assert wants_pass(due, lease_held=True, waiting_runs=0) == "a pass is at work, and takes this along"
    assert wants_pass(Due(), lease_held=False, waiting_runs=0) == "nothing is due"


def ask(stage: Stage, instance: dg.DagsterInstance):
    home = HomeResource(path=str(stage.path), now=stage.now.isoformat())
    with dg.build_sensor_context(instance=instance, resources={"home": home}) as context:
        return something_due(context)


def test_what_comes_while_the_sensor_looks_is_seen_at_once(make_home):
    # Dagster begins an evaluation every five seconds: a trigger used to wait for half of that, and for all of it.
    stage = make_home()
    stage.turn()
    stage.home.ledger.release(stage.lease)
    drop = threading.Timer(0.6, lambda: stage.contacts([person(9)]))
    with dg.DagsterInstance.ephemeral() as instance:
        drop.start()
        (request,) = ask(stage, instance).run_requests
        assert request.tags["estafette/why"] == "1 file"
    drop.join()


def test_the_sensor_asks_for_a_pass_says_why_and_asks_not_twice(make_home, monkeypatch):
    monkeypatch.setattr("pipelines.sensors.WATCH", 0.0)
    stage = make_home()
    stage.home.ledger.release(stage.lease)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,) = ask(stage, instance).run_requests
        assert request.tags["estafette/why"] == "1 file"
        job = dg.GraphDefinition(name="one_pass").to_job()
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
        assert ask(stage, instance).skip_message == "a pass is on its way"


def test_the_sensor_asks_for_nothing_while_a_pass_is_at_work(make_home):
    stage = make_home()
    with dg.DagsterInstance.ephemeral() as instance:
        assert ask(stage, instance).skip_message == "a pass is at work, and takes this along"


def test_the_schedule_asks_for_a_pass_a_minute_unless_one_is_at_work(make_home, tmp_path):
    stage = make_home()
    home = HomeResource(path=str(stage.path), now=stage.now.isoformat())
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        context = dg.build_schedule_context(instance, resources={"home": home})
        assert every_minute(context).skip_message == "a pass is at work, and takes this along"
        stage.home.ledger.release(stage.lease)
        assert isinstance(every_minute(context), dg.RunRequest)
