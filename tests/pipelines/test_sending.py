"""Lanes beside one another: whose they are, when they start, and what is said of them."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from journey import pacing
from journey.failures import Failure
from journey.problems import UsageError
from pipelines import sending as module
from pipelines.lane import LaneReport
from pipelines.sending import Progress, Sending, lane_jobs, open_lane, recover_lost, waiting
from resources.failures import failures
from resources.home import Home
from resources.sender_trouble import NEWS, note_unreached
from sandbox import Config
from sandbox.testing import Box, running
from tests.pipelines.sending_home import open_home, plan_all, send, sending, sql, states, wait_for, write_home


@pytest.fixture
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, box: Box) -> Path:
    path = write_home(tmp_path / "home", box.url, people=20, pace=200, senders=("main", "second"))
    assert plan_all(path) == 40
    return path


def test_each_sender_has_a_lane_of_its_own(home: Path, box: Box) -> None:
    reports = send(home)
    assert {report.sender: report.accepted for report in reports} == {"main": 20, "second": 20}
    assert states(home) == {"accepted": 40}


def test_a_stopped_sender_keeps_no_other_from_sending(home: Path) -> None:
    sql(home, "UPDATE sender SET stopped_at = 1, stopped_why = 'payment' WHERE name = 'main'")
    [report] = send(home)
    assert report.sender == "second"
    assert states(home) == {"accepted": 20, "planned": 20}


def test_a_share_that_another_process_sends_is_left_to_it(home: Path) -> None:
    opened = open_home(home)
    lease = opened.ledger.take("send:main:0/1", "someone else")
    assert lease is not None
    with sending(home, threading.Event()) as lanes:
        assert lanes.elsewhere == {"main"}
        wait_for(lambda: not lanes.busy())
        assert lanes.start() == 0
        opened.ledger.release(lease)
        assert lanes.start() == 1
        assert lanes.elsewhere == set()
        wait_for(lambda: not lanes.busy())
    opened.close()
    assert states(home) == {"accepted": 40}


def fifteen_seconds_of_backlog(tmp_path: Path, box: Box) -> Home:
    path = write_home(tmp_path / "home", box.url, people=30, pace=2)
    plan_all(path)
    opened = open_home(path)
    opened.reload()
    return opened


def test_a_big_backlog_is_left_to_the_dispatch(tmp_path: Path, box: Box) -> None:
    opened = fifteen_seconds_of_backlog(tmp_path, box)
    with Sending(opened, threading.Event()) as lanes:
        assert lanes.start(most=10.0) == 0
        assert lanes.start(most=20.0) == 1
    opened.close()


def test_a_big_backlog_for_which_no_dispatch_comes_is_sent_by_the_pass(
    tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon that should start one was killed, and its pass lives on, with people and statuses for an hour."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    opened = fifteen_seconds_of_backlog(tmp_path, box)
    with Sending(opened, threading.Event()) as lanes:
        assert lanes.start(most=10.0) == 0
        dispatch = opened.ledger.take("send:main:0/1", "a dispatch")
        assert dispatch is not None
        assert lanes.start(most=10.0) == 0, "it has come"
        opened.ledger.release(dispatch)
        assert [lanes.start(most=10.0) for _ in range(2)] == [0, 1], "and ended too early"
    opened.close()


def test_a_sender_faster_than_a_lane_has_several_that_share_its_pace(
    tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "A_LANE", 700.0)
    path = write_home(tmp_path / "home", box.url, people=40, pace=1000)
    plan_all(path)
    opened = open_home(path)
    jobs = lane_jobs(opened, "main")
    opened.close()
    assert [(job.share, job.shares, job.pace) for job in jobs] == [(0, 2, 1000.0), (1, 2, 1000.0)]
    reports = send(path)
    assert sum(report.accepted for report in reports) == 40
    assert {row["to"] for row in box.accepted()} == {f"+336{n:08d}" for n in range(40)}
    assert len(box.accepted()) == 40


def test_what_a_dead_lane_had_stamped_becomes_unknown_once_its_lease_is_over(home: Path) -> None:
    opened = open_home(home)
    opened.reload()
    lane = open_lane(opened, lane_jobs(opened, "main")[0], threading.Event())
    assert lane is not None
    lane.outbox.turn([], 7, 1_796_119_200_000_000, int(opened.wall() * 1_000_000))
    assert recover_lost(opened) == 0, "its lease is in force"
    assert states(home) == {"planned": 33, "attempted": 7}
    sql(home, "UPDATE lease SET until = 0")
    assert recover_lost(opened) == 7
    opened.close()
    assert states(home) == {"planned": 33, "unknown": 7}


def test_what_must_wait_for_another_try_is_not_waiting_now(home: Path) -> None:
    sql(home, "UPDATE message SET not_before = ? WHERE sender = 'main'", (int(time.time()) + 300) * 1_000_000)
    opened = open_home(home)
    assert waiting(opened) == {"second": 20}
    opened.close()


def test_an_error_of_a_lane_is_raised_where_it_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHATSAPP_TOKEN", raising=False)
    text = (home / ".env").read_text().replace("WHATSAPP_TOKEN=sandbox-token", "")
    (home / ".env").write_text(text)
    with pytest.raises(UsageError, match="there is no token"):
        send(home)
    assert states(home) == {"planned": 40}
    opened = open_home(home)
    assert opened.ledger.leases() == [], "they are given back"
    opened.close()


def test_a_lane_that_lingers_sends_what_is_planned_meanwhile(home: Path) -> None:
    sql(home, "UPDATE message SET due_at = due_at + 1000000000000 WHERE id > 10")
    opened = open_home(home)
    opened.reload()
    stop = threading.Event()
    with Sending(opened, stop, linger=60) as lanes:
        lanes.start()
        wait_for(lambda: states(home).get("accepted") == 10 and not lanes.working())
        assert lanes.busy()
        sql(home, "UPDATE message SET due_at = 0 WHERE id <= 20")
        wait_for(lambda: states(home).get("accepted") == 20)
        assert len(lanes.reports) == 1
    opened.close()


def test_progress_says_a_thing_once(home: Path) -> None:
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: not lanes.busy())
        progress = Progress(lanes, every=3600)
        assert progress.lines() == []
        assert len(progress.lines(final=True)) == 2
        assert progress.lines(final=True) == []


def test_where_meta_cannot_be_reached_is_told_until_it_answers_again(
    home: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.lane.GIVE_UP", 0.3)
    monkeypatch.setenv("WHATSAPP_API_URL", "http://127.0.0.1:9")
    assert told(home) == set()
    send(home)
    assert told(home) == {"main", "second"}
    opened = open_home(home)
    [found] = [one for one in failures(opened, None, opened.clock()) if one.about == "main"]
    assert "127.0.0.1" in found.detail and found.known.grave
    monkeypatch.setenv("WHATSAPP_API_URL", box.url)
    wait_for(lambda: sum(waiting(opened).values()) == 40)  # a second after each try
    opened.close()
    send(home)
    assert states(home) == {"accepted": 40} and told(home) == set()


def test_that_meta_cannot_be_reached_is_old_news_where_nobody_tries_any_more(home: Path) -> None:
    opened = open_home(home)
    wall = int(time.time() * 1_000_000)
    with opened.ledger.write() as tx:
        note_unreached(tx, "main", wall - NEWS // 2, "no route")
        note_unreached(tx, "second", wall - NEWS - 1, "no route")
    opened.close()
    assert told(home) == {"main"}


def told(path: Path) -> set[str]:
    """The senders of whom it is told that Meta can't be reached."""
    opened = open_home(path)
    try:
        return {one.about for one in failures(opened, None, opened.clock()) if one.kind == Failure.sender_unreached}
    finally:
        opened.close()


def test_a_report_reads_as_a_sentence() -> None:
    report = LaneReport("main", posted=9, accepted=7, refused=2, ended="stopped", codes={131000: 2})
    assert str(report) == "main: 9 posted, 7 accepted, 2 refused (codes 131000 × 2); ended: stopped"
