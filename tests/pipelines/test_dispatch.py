"""The job `dispatch`: lanes over processes, and a run of it as Dagster launches it."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.dispatch import spread
from pipelines.lane import LaneJob
from pipelines.run import prepare, run_pass
from sandbox import Config
from sandbox.testing import Box, running
from tests.pipelines.sending_home import NOW, plan_all, process, states, wait_for, write_home


@pytest.fixture
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


def _job(sender: str, pace: float, share: int = 0, shares: int = 1) -> LaneJob:
    return LaneJob(sender, "1", pace, share, shares)


def test_senders_at_the_usual_pace_share_one_process() -> None:
    jobs = [_job(f"s{n}", 80) for n in range(8)]
    assert [len(group) for group in spread(jobs, cores=4)] == [8]


def test_two_fast_senders_get_processes_of_their_own() -> None:
    jobs = [_job(sender, 1000) for sender in ("one", "other")]
    assert [[job.sender for job in group] for group in spread(jobs, cores=4)] == [["one"], ["other"]]


def test_there_are_never_more_processes_than_cores_and_every_lane_has_one() -> None:
    jobs = [_job(f"s{n}", 1000, share, 2) for n in range(5) for share in range(2)]
    groups = spread(jobs, cores=2)
    assert sorted(len(group) for group in groups) == [5, 5]
    assert sorted((job.sender, job.share) for group in groups for job in group) == sorted(
        (job.sender, job.share) for job in jobs
    )


def test_nothing_to_send_needs_no_process() -> None:
    assert spread([], cores=2) == []


def _execute() -> tuple[str, ...]:
    return ("-m", "dagster", "job", "execute", "-m", "pipelines.definitions", "-j", "dispatch")


def _environment(home: Path) -> dict[str, str]:
    return {"DAGSTER_HOME": str(prepare(home)), "ESTAFETTE_HOME": str(home), "ESTAFETTE_NOW": NOW.isoformat()}


def test_a_terminated_dispatch_stops_at_once_and_its_successor_sends_the_rest(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=250, pace=50, senders=("main", "second"))
    plan_all(home)
    with process(*_execute(), **_environment(home)) as run:
        wait_for(lambda: len(box.messages(bodies=False)) >= 100 or run.poll() is not None, 90)
        at = time.time()
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=90)
    assert run.returncode != 0
    posted = box.messages(bodies=False)
    assert 100 <= len(posted) < 500
    assert max(row["epoch"] for row in posted) < at + 5
    assert states(home) == {"accepted": len(posted), "planned": 500 - len(posted)}
    with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
        assert [run.status for run in instance.get_runs()] != [dg.DagsterRunStatus.SUCCESS]
    run_pass(home, NOW)
    assert states(home) == {"accepted": 500}
    assert _copies(box) == 1


@pytest.mark.slow
def test_a_dispatch_sends_everything_for_every_sender(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=500, pace=400, senders=("main", "second", "third"))
    plan_all(home)
    with process(*_execute(), **_environment(home)) as run:
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    assert states(home) == {"accepted": 1500}
    assert _copies(box) == 1


def _copies(box: Box) -> int:
    """The most copies of one person's message from one sender."""
    return max(Counter((row["phone_number_id"], row["to"]) for row in box.accepted()).values())
