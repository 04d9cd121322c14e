"""A sender's pace is changed while its lanes are at work: what goes out keeps to it, whoever sends."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from journey import pacing
from journey.pacing import Leave, Pacer
from pipelines.sending import lane_jobs, open_lane
from sandbox import Config
from sandbox.limits import SECOND, busiest_second
from sandbox.testing import Box, running
from tests.pipelines.sending_home import open_home, plan_all, sending, states, wait_for, write_home


@pytest.fixture
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """When each message was written to the wire, in nanoseconds, whoever sent it."""
    found: list[int] = []
    real = Pacer.left

    def told(pacer: Pacer, now: float) -> Leave:
        found.append(int(now * SECOND))
        return real(pacer, now)

    monkeypatch.setattr(Pacer, "left", told)
    return found


def set_pace(home: Path, old: int, new: int) -> None:
    settings = home / "estafette.yaml"
    settings.write_text(settings.read_text().replace(f"messages_per_second: {old}", f"messages_per_second: {new}"))
    opened = open_home(home)
    opened.reload()  # as the next pass does
    opened.close()


@pytest.mark.parametrize(("old", "new"), [(60, 100), (100, 60)])
def test_lanes_of_another_cut_never_send_beside_one_another(
    tmp_path: Path, box: Box, left: list[int], monkeypatch: pytest.MonkeyPatch, old: int, new: int
) -> None:
    monkeypatch.setattr(pacing, "A_LANE", 60.0)
    home = write_home(tmp_path / "home", box.url, people=400, pace=old)
    plan_all(home)
    with sending(home, threading.Event()) as before:
        wait_for(lambda: box.summary()["requests"] > old)
        set_pace(home, old, new)
        with sending(home, threading.Event()) as after:
            while sum(states(home).get(one, 0) for one in ("planned", "attempted")):
                after.start()
                time.sleep(0.1)
            assert len(after.reports) == -(-new // 60), "the others never came to it"
    assert states(home) == {"accepted": 400}
    assert len({row["to"] for row in box.accepted()}) == len(box.accepted()) == 400
    assert busiest_second(left) <= max(old, new)
    assert {report.ended for report in before.reports} == {"its pace was changed, other lanes go on"}


def test_while_a_lane_of_another_cut_has_its_lease_no_other_of_the_sender_begins(tmp_path: Path, box: Box) -> None:
    home = open_home(write_home(tmp_path / "home", box.url, people=1, senders=("main", "second")))
    home.reload()
    before = home.ledger.take("send:main:1/2", "a lane of before")
    assert before is not None
    [mine], [other] = lane_jobs(home, "main"), lane_jobs(home, "second")
    assert open_lane(home, mine, threading.Event()) is None
    assert open_lane(home, other, threading.Event()) is not None
    home.ledger.release(before)
    assert open_lane(home, mine, threading.Event()) is not None
    home.close()


def test_a_lane_at_work_takes_up_the_new_pace(tmp_path: Path, box: Box, left: list[int]) -> None:
    home = write_home(tmp_path / "home", box.url, people=300, pace=100)
    plan_all(home)
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: len(left) > 100)
        set_pace(home, 100, 10)
        time.sleep(1.5)  # its next turn is 100 ms away, and the window of the old pace a second long
        before = len(left)
        wait_for(lambda: len(left) > before + 15)
        assert busiest_second(left[before:]) <= 10
        set_pace(home, 10, 200)
        wait_for(lambda: not lanes.busy())
        assert len(lanes.reports) == 1
    assert states(home) == {"accepted": 300}
