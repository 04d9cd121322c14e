"""A lane against a real Cloud API on this machine: pace, stop, and everything that can go wrong on the wire."""

import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from journey.problems import CloudApiError, LedgerError
from pipelines import lane as lane_module
from pipelines.run import run_pass
from pipelines.sending import lane_jobs, open_lane
from resources import outbox
from resources.ledger import Ledger
from sandbox import Config
from sandbox.limits import busiest_second
from sandbox.testing import Box, running
from tests.pipelines.sending_home import (
    NOW,
    copies,
    open_home,
    plan_all,
    process,
    send,
    sending,
    sql,
    states,
    stop_between_transactions,
    wait_for,
    write_home,
)

BOX = Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")
FIRST = "+33600000000"


@pytest.fixture
def box() -> Iterator[Box]:
    with running(BOX) as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, box: Box) -> Path:
    """Thirty planned messages at a quick pace."""
    path = write_home(tmp_path / "home", box.url, people=30, pace=200)
    assert plan_all(path) == 30
    return path


def test_every_planned_message_goes_out_once(home: Path, box: Box) -> None:
    [report] = send(home)
    assert (report.posted, report.accepted, report.ended) == (30, 30, "nothing left to send")
    assert states(home) == {"accepted": 30}
    assert len(box.accepted()) == 30
    assert copies(box) == 1


def test_every_callback_id_is_one_message_of_this_installation(home: Path, box: Box) -> None:
    send(home)
    installation = sql(home, "SELECT value FROM meta WHERE name = 'installation'")[0][0]
    expected = {f"estafette:{installation}:1:{i}:{uid}" for i, uid in sql(home, "SELECT id, uid FROM message")}
    assert {row["body"]["biz_opaque_callback_data"] for row in box.accepted()} == expected


@pytest.mark.parametrize("pace", [25, 90])
def test_no_sliding_second_holds_more_than_the_pace_even_where_one_lane_follows_another(
    tmp_path: Path, pace: int
) -> None:
    with process("-m", "sandbox", "--port", "0", "--rate", "0", "--mode", "silent", "--latency-ms", "20") as box:
        assert box.stdout is not None
        url = re.search(r"http\S+", box.stdout.readline())
        assert url is not None
        home = write_home(tmp_path / "home", url[0], people=pace * 2, pace=pace)
        plan_all(home)
        for posted in (pace // 2, pace):  # stopped twice on the way
            stop = threading.Event()
            with sending(home, stop) as lanes:
                wait_for(lambda posted=posted, lanes=lanes: not lanes.reports or lanes.reports[0].posted >= posted // 2)
        while states(home).get("planned"):
            send(home)
        rows = httpx.get(f"{url[0]}/_sandbox/messages", params={"all": "true", "bodies": "false"}, timeout=60).json()
    assert len(rows["data"]) == 2 * pace
    # The receiver's own jitter on a busy machine apart, which no sender can take back.
    assert busiest_second([row["mono_ns"] for row in rows["data"]]) <= pace * 1.05 + 1


def test_a_lane_that_has_ended_keeps_the_next_one_waiting_until_its_last_second_is_over(home: Path, box: Box) -> None:
    send(home)
    last = max(row["epoch"] for row in box.messages(bodies=False))
    [(until,)] = sql(home, "SELECT until FROM lease WHERE name LIKE 'send:main:%'")
    assert int(str(until)) / 1e6 > last + 0.5, "two lanes, each with a window of its own, would be at twice the pace"


def test_a_stop_leaves_nothing_unknown_and_nothing_stamped_and_a_later_lane_sends_the_rest(
    tmp_path: Path, box: Box
) -> None:
    home = write_home(tmp_path / "home", box.url, people=120, pace=100)
    plan_all(home)
    box.limits(latency_ms=100)
    stop = threading.Event()
    with sending(home, stop) as lanes:
        wait_for(lambda: lanes.reports[0].posted >= 20)
        stop.set()
        lanes.join()
        [report] = lanes.reports
    assert report.ended == "stopped"
    after = states(home)
    assert set(after) == {"accepted", "planned"}
    assert after["accepted"] == report.posted == len(box.accepted())
    wait_for(lambda: not _leases(home))
    send(home)
    assert states(home) == {"accepted": 120}
    assert copies(box) == 1


def test_what_a_stopped_campaign_has_planned_stays_planned(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=200, pace=100)
    plan_all(home)
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: lanes.reports[0].posted >= 20)
        sql(home, "UPDATE campaign SET stopped_at = 1")
        wait_for(lambda: not lanes.busy())
        assert lanes.reports[0].ended == "nothing left to send"
    sent = states(home)["accepted"]
    assert states(home) == {"accepted": sent, "planned": 200 - sent}
    assert sent < 100


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        ("timeout_after_accept", 30),
        ("reset_after", 30),
        ("5xx_after_accept", 30),
        ("html_after_accept", 30),
        ("reset_before", 26),
        ("5xx", 26),
        ("html", 26),
    ],
)
def test_an_answer_that_says_nothing_leaves_a_message_unknown_and_is_not_sent_again(
    home: Path, box: Box, kind: str, accepted: int
) -> None:
    box.faults({"kind": kind, "next": 4, "ms": 200})
    [report] = send(home)
    assert report.unknown == 4
    assert states(home) == {"accepted": 26, "unknown": 4}
    assert len(box.accepted()) == accepted
    assert copies(box) == 1


def test_slow_answers_lose_nothing(home: Path, box: Box) -> None:
    box.faults({"kind": "delay", "ms": 400, "probability": 0.5})
    send(home)
    assert states(home) == {"accepted": 30}


def test_a_fault_of_metas_is_tried_again_and_shows_no_error_when_the_message_went_in_the_end(
    home: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RETRY_SECONDS", (0.1, 0.2))
    box.faults({"kind": "error", "code": 131000, "to": FIRST, "next": 2})
    send(home)
    assert states(home) == {"accepted": 30}
    assert sql(home, "SELECT count(*) FROM message WHERE error_code IS NOT NULL") == [(0,)]
    assert len(box.messages(to=FIRST)) == 3


def test_a_fault_of_metas_that_stays_fails_the_message_with_its_code(
    home: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RETRY_SECONDS", (0.1, 0.2))
    box.faults({"kind": "error", "code": 131000, "to": FIRST})
    send(home)
    assert states(home) == {"accepted": 29, "failed": 1}
    assert sql(home, "SELECT phone, error_code FROM message WHERE state = 'failed'") == [(FIRST, 131000)]
    assert len(box.messages(to=FIRST)) == 3


def test_too_many_to_one_person_waits_for_that_person_only(
    home: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PAIR_SECONDS", (1.0,))
    box.faults({"kind": "error", "code": 131056, "to": FIRST, "next": 1})
    send(home)
    assert states(home) == {"accepted": 30}
    assert [row["to"] for row in box.accepted()][-1] == FIRST


def test_a_storm_of_130429_lowers_the_pace_and_loses_nothing(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=150, pace=200)
    plan_all(home)
    box.faults({"kind": "storm_130429", "seconds": 1.5})
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: sql(home, "SELECT pace < ceiling FROM sender")[0][0])
        wait_for(lambda: lanes.reports[0].accepted > 0)
        sql(home, "UPDATE sender SET slowed_at = slowed_at - 600000000")  # ten minutes later
        wait_for(lambda: not lanes.busy())
        report = lanes.reports[0]
    assert report.codes[130429] > 0
    assert states(home) == {"accepted": 150}
    assert sql(home, "SELECT count(*) FROM message WHERE error_code IS NOT NULL") == [(0,)]


def test_a_meta_that_takes_nothing_for_a_minute_is_left_alone_for_a_while(
    home: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "SLOWED", 1.0)
    box.faults({"kind": "error", "code": 130429})
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: not lanes.busy())
        assert lanes.start() == 0, "it rests before it tries again"
        lanes.raise_unreached()
        [report] = lanes.reports
    assert "130429" in report.ended
    assert states(home) == {"planned": 30}


def test_a_refused_token_stops_the_sender_until_somebody_acts(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=100, pace=100)
    plan_all(home)
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: lanes.reports[0].accepted >= 10)
        box.faults({"kind": "error", "code": 190})
        wait_for(lambda: not lanes.busy())
        [report] = lanes.reports
        assert lanes.start() == 0
    assert report.stopped is not None
    assert report.stopped.startswith("190 ")
    assert set(states(home)) == {"accepted", "planned"}
    box.clear_faults()
    wait_for(lambda: not _leases(home))
    assert send(home) == []
    sql(home, "UPDATE sender SET stopped_at = NULL, stopped_code = NULL, stopped_why = NULL")
    send(home)
    assert states(home) == {"accepted": 100}
    assert copies(box) == 1


def test_a_paused_template_holds_what_is_left(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=100, pace=100)
    plan_all(home)
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: lanes.reports[0].accepted >= 10)
        box.faults({"kind": "error", "code": 132015})
        wait_for(lambda: not lanes.busy())
    after = states(home)
    assert set(after) == {"accepted", "planned", "held"}
    assert sum(after.values()) == 100
    box.clear_faults()
    wait_for(lambda: not _leases(home))
    sql(home, "DELETE FROM template_hold")
    run_pass(home, NOW)
    assert states(home) == {"accepted": 100}


def test_a_cloud_api_out_of_reach_ends_the_lane_with_a_clear_line_and_everything_stays_planned(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "GIVE_UP", 1.0)
    (home / ".env").write_text(f"WHATSAPP_API_URL=http://127.0.0.1:{_free_port()}\nWHATSAPP_TOKEN=x\n")
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: not lanes.busy())
        [report] = lanes.reports
        assert (report.reached, report.posted, report.unknown) == (False, 0, 0)
        assert lanes.start() == 0, "it rests before it tries again"
        with pytest.raises(CloudApiError, match=r"nothing was sent for main: the Cloud API can't be reached \("):
            lanes.raise_unreached()
    assert states(home) == {"planned": 30}


def test_a_cloud_api_that_comes_back_soon_is_met_again(home: Path) -> None:
    port = _free_port()
    (home / ".env").write_text(f"WHATSAPP_API_URL=http://127.0.0.1:{port}\nWHATSAPP_TOKEN=sandbox-token\n")
    with sending(home, threading.Event()) as lanes:
        time.sleep(1.0)
        with running(Config(now=BOX.now, rate=0, mode="silent", port=port)) as late:
            wait_for(lambda: not lanes.busy())
            assert lanes.reports[0].reached
            assert copies(late) == 1
    assert states(home) == {"accepted": 30}


def test_a_lane_posts_nothing_once_its_lease_is_someone_elses(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "slow", box.url, people=30, pace=1)  # slow enough to be met in the middle
    plan_all(home)
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: lanes.reports[0].posted >= 1)
        sql(home, "UPDATE lease SET token = token + 1, holder = 'someone else'")
        lanes.join()
        [report] = lanes.reports
    assert report.ended == "another process sends for this sender now"
    assert report.posted < 30


SLEEPER = """
import sys, threading, time
from pathlib import Path
from pipelines.sending import Sending
from resources.home import Clock, Home
from tests.pipelines.sending_home import NOW
path, jump = Path(sys.argv[1]), Path(sys.argv[2])
home = Home(path, Clock(NOW), wall=lambda: time.time() + float(jump.read_text()))
home.reload()
with Sending(home, threading.Event()) as sending:
    sending.start()
    sending.join()
print(sending.reports[0].ended)
"""


def test_a_lane_that_slept_past_its_lease_posts_nothing_more(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=200, pace=50)
    plan_all(home)
    jump = tmp_path / "jump"
    jump.write_text("0")
    with process("-c", SLEEPER, str(home), str(jump)) as sleeper:
        wait_for(lambda: len(box.messages(bodies=False)) >= 20)
        stop_between_transactions(sleeper.pid, home)
        jump.write_text("40")  # seconds that the machine slept, for every clock on the wall
        time.sleep(0.5)  # what was on the wire arrives
        before = len(box.messages(bodies=False))
        opened = open_home(home)
        opened.ledger.wall = lambda: time.time() + 40
        opened.wall = opened.ledger.wall
        opened.reload()
        lane = open_lane(opened, lane_jobs(opened, "main")[0], threading.Event())
        assert lane is not None, "its lease has run out"
        sleeper.send_signal(signal.SIGCONT)
        told, errors = sleeper.communicate(timeout=60)
        assert told.strip() in (
            "its lease ran out while the process slept",
            "another process sends for this sender now",
        ), errors
        assert len(box.messages(bodies=False)) == before
        lane.run()
        opened.close()
    assert set(states(home)) == {"accepted", "unknown"}
    assert copies(box) == 1
    assert states(home)["unknown"] <= 20


def test_texts_that_are_gone_end_the_lane_and_leave_everything_planned(home: Path) -> None:
    shutil.rmtree(home / "data/lake/bodies")
    with pytest.raises(LedgerError, match="the texts of planned messages can't be read"):
        send(home)
    assert states(home) == {"planned": 30}


def test_a_lane_goes_on_after_the_ledger_was_busy(home: Path, box: Box) -> None:
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: lanes.reports[0].posted >= 5)
        other = Ledger.open(home / "data/ledger.sqlite")
        with other.write():
            time.sleep(1.0)
        other.close()
        wait_for(lambda: not lanes.busy())
    assert states(home) == {"accepted": 30}
    assert copies(box) == 1


def _leases(home: Path) -> list[str]:
    opened = open_home(home)
    try:
        return [lease.name for lease in opened.ledger.leases()]
    finally:
        opened.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
