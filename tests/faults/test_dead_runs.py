"""Runs whose process was killed: Dagster thinks that they are at work, and they must keep no place from others."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.dead_runs import end_dead_runs
from pipelines.run import prepare, run_pass
from resources.alive import alive, alive_runs
from sandbox import Config
from sandbox.testing import Box, running
from tests.pipelines.sending_home import (
    NOW,
    fence,
    open_home,
    pass_process,
    plan_all,
    sql,
    states,
    wait_for,
    write_home,
)


@pytest.fixture
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


def statuses(home: Path) -> list[dg.DagsterRunStatus]:
    with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
        return [run.status for run in instance.get_runs()]


def ended(home: Path) -> int:
    opened = open_home(home)
    try:
        with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
            return len(end_dead_runs(opened.ledger, instance, patience=0))
    finally:
        opened.close()


def test_a_run_that_was_killed_is_ended_and_one_that_lives_is_not(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=100, pace=20)
    plan_all(home)
    with pass_process(home) as victim:
        wait_for(lambda: len(box.messages(bodies=False)) > 3)
        assert ended(home) == 0, "it lives"
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
    assert statuses(home) == [dg.DagsterRunStatus.STARTED]
    assert ended(home) == 0, "its sign of life lasts for half a minute"
    fence(home)
    assert ended(home) == 1
    assert statuses(home) == [dg.DagsterRunStatus.FAILURE]
    assert sql(home, "SELECT count(*) FROM lease WHERE name LIKE 'run:%'") == [(0,)]


def test_a_run_that_waits_for_another_pass_shows_that_it_lives_and_one_that_is_over_leaves_nothing(
    tmp_path: Path, box: Box
) -> None:
    home = write_home(tmp_path / "home", box.url, people=2)
    plan_all(home)
    opened = open_home(home)
    lease = opened.ledger.take("pass", "another")
    assert lease is not None
    waiting = threading.Thread(target=lambda: run_pass(home, NOW))
    waiting.start()
    wait_for(lambda: alive_runs(opened.ledger))
    assert ended(home) == 0
    assert [one.name for one in opened.ledger.leases()] == ["pass"], "signs of life are for nobody to see"
    opened.ledger.release(lease)
    waiting.join(60)
    assert alive_runs(opened.ledger) == set()
    assert states(home) == {"accepted": 2}
    opened.close()
    assert sql(home, "SELECT count(*) FROM lease WHERE name LIKE 'run:%'") == [(0,)]


def test_each_process_of_a_dispatch_is_a_sign_of_life_of_its_run(make_home) -> None:
    ledger = make_home().home.ledger
    with alive(ledger, "r1", "lanes_0"):
        with alive(ledger, "r1", "lanes_1"):
            assert alive_runs(ledger) == {"r1"}
        assert alive_runs(ledger) == {"r1"}
    assert alive_runs(ledger) == set()
