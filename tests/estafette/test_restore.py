"""A ledger restored from before, while the sandbox and the webhook log know more: nobody gets a second copy."""

import json
import shutil
import threading
from datetime import timedelta

import pytest

from estafette.cli import main
from pipelines.sending import Sending
from pipelines.turn import turn
from resources.home import Clock, Home
from sandbox import Config
from sandbox.population import Mix
from sandbox.testing import running
from tests.pipelines.sending_home import NOW, copies, plan_all, wait_for, write_home

JOURNEY = """
    on_read: {within: 1h, read: thanks, not_read: again}
  thanks:
    message: {template: welcome, language: fr, variables: {first_name: {user: first_name}}}
    next: pause
  again:
    message: {template: autumn_last_call, language: fr}
    next: pause
  pause:
    delay: {for: 30m}
    next: last
  last:
    message: {template: survey_vip, language: fr, variables: {first_name: {user: first_name}}}
"""
PEOPLE = 60


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def box(path):
    (path / "landing/webhooks").mkdir(parents=True)
    log = path / "landing/webhooks/log.ndjson"
    config = Config(now=NOW.isoformat(), mode="auto", mix=Mix(), seed=7, rate=0, webhook_log=log)
    with running(config) as made:
        write_home(path, made.url, people=PEOPLE, pace=80)
        file = path / "campaigns/offer_main.yaml"
        file.write_text(file.read_text() + JOURNEY.lstrip("\n"))
        yield made


def command(path, *arguments, now):
    assert main([*arguments, "--home", str(path), "--now", now.isoformat()]) == 0


def said(capsys):
    return json.loads(capsys.readouterr().out)


def work(path, now, rounds=3):
    """Some passes with sending, at one time."""
    home = Home(path, Clock(now))
    try:
        home.reload()
        lease = home.ledger.take("pass", "test")
        for _ in range(rounds):
            turn(home, lease, final=True)
            with Sending(home, threading.Event()) as lanes:
                # A lane gives its lease back a second late: the next one waits for it.
                wait_for(lambda lanes=lanes: lanes.start() or not lanes.elsewhere)
                wait_for(lambda lanes=lanes: not lanes.busy())
        home.ledger.release(lease)
        with home.ledger.read() as tx:
            return dict(tx.exec_driver_sql("SELECT state, count(*) FROM message GROUP BY state").all())
    finally:
        home.close()


def half_sent(path, box, backup):
    """A campaign in the middle of its first message, and a backup of it while its lane is at work."""
    plan_all(path)
    home = Home(path, Clock(NOW))
    home.reload()
    with Sending(home, threading.Event()) as lanes:
        lanes.start()
        wait_for(lambda: len(box.accepted(bodies=False)) >= PEOPLE // 4)
        command(path, "backup", str(backup), now=NOW)
        wait_for(lambda: not lanes.busy())
    home.close()
    assert len(box.accepted(bodies=False)) == PEOPLE


def live_on(path, box):
    """Time passes: people read, the journey goes on, messages go out."""
    now = NOW
    for _ in range(3):
        now += timedelta(minutes=61)
        box.turn(by=61 * 60)
        work(path, now, 2)
    return now


@pytest.mark.parametrize("landing", ["kept", "lost"])
def test_nobody_gets_a_second_copy_after_a_restore(path, box, tmp_path, capsys, landing):
    half_sent(path, box, tmp_path / "backup")
    now = live_on(path, box)
    sent = len(box.accepted(bodies=False))
    assert sent > 1.5 * PEOPLE
    if landing == "lost":
        shutil.rmtree(path / "landing")
    capsys.readouterr()
    command(path, "restore", str(tmp_path / "backup"), "--json", now=now)
    told = said(capsys)
    assert told["landing_lost"] is (landing == "lost")
    assert told["epoch"] == 2
    assert told["in_doubt"] > 0 if landing == "lost" else told["in_doubt"] >= 0
    work(path, now)
    assert len(box.accepted(bodies=False)) == sent, "sends are held"
    command(path, "resume", "--all", now=now)
    for hour in (1, 6, 30):
        box.turn((now + timedelta(hours=hour)).isoformat())
        states = work(path, now + timedelta(hours=hour), 2)
    assert copies(box) == 1
    assert not states.get("planned")
