"""The job `one_pass` as a live run: it goes on looking, takes along what comes, and says what it did."""

import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.audiences import add_occurrence
from pipelines.jobs import one_pass
from resources.definitions import PassResource
from sandbox import Config
from sandbox.testing import Box, running
from tests.pipelines.sending_home import NOW, open_home, plan_all, states, wait_for, write_home, write_people


@pytest.fixture
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


def _run(home: Path, **config: float) -> dg.ExecuteInProcessResult:
    passing = PassResource(path=str(home), now=NOW.isoformat(), **config)
    with dg.instance_for_test() as instance:
        result = one_pass.execute_in_process(instance=instance, resources={"passing": passing})
        result.__dict__["told"] = [
            record.message for record in instance.all_logs(result.run_id) if record.dagster_event is None
        ]
        return result


def test_the_log_of_a_run_says_what_each_op_did(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=5)
    plan_all(home)
    write_people(home, 2, 100, "more.csv")
    result = _run(home)
    told = "\n".join(result.__dict__["told"])
    assert "contacts/more.csv: 2 rows, 0 quarantined" in told
    assert "0 entered, 0 refused" in told
    assert "main: 5 posted, 5 accepted; ended: nothing left to send" in told
    assert not any(value in told for value in ("Jean", "c100", "+336", "06000")), "counts, and nobody"
    materialized = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert materialized == {"contacts", "deliveries", "analyst_db"}


def test_the_log_of_a_run_says_why_a_segment_failed_without_the_values(tmp_path: Path, box: Box) -> None:
    """Dagster keeps its log, and `estafette forget` does not reach there."""
    home = write_home(tmp_path / "home", box.url, people=5)
    plan_all(home)
    (home / "segments/everyone.yaml").unlink()
    (home / "segments/everyone.sql").write_text("select contact_id from contacts where first_name::integer > 1\n")
    opened = open_home(home)
    add_occurrence(opened, opened.project.campaigns["offer_main"], NOW)
    opened.close()
    told = "\n".join(_run(home).__dict__["told"])
    assert "segment everyone: segments/everyone.sql" in told and "…" in told
    assert "Jean" not in told


def test_a_live_pass_takes_along_what_comes_and_ends_when_nothing_more_does(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=5)
    plan_all(home)
    results: list[dg.ExecuteInProcessResult] = []
    live = threading.Thread(target=lambda: results.append(_run(home, linger=4.0, backlog=10.0)))
    live.start()
    wait_for(lambda: states(home) == {"accepted": 5})
    write_people(home, 3, 100, "more.csv")
    opened = open_home(home)
    wait_for(lambda: opened.contacts.count() == 8)
    add_occurrence(opened, opened.project.campaigns["offer_main"], NOW.replace(hour=9, minute=59))
    opened.close()
    wait_for(lambda: len(box.accepted()) == 8)
    live.join(60)
    assert results[0].success


def test_a_live_pass_stays_while_another_process_sends(tmp_path: Path, box: Box) -> None:
    """A trigger in the middle of a bulk send finds it, and does not wait for a run to start."""
    home = write_home(tmp_path / "home", box.url, people=0)
    opened = open_home(home)
    lane = opened.ledger.take("send:main:0/1", "a dispatch", seconds=600)
    assert lane is not None
    results: list[dg.ExecuteInProcessResult] = []
    live = threading.Thread(target=lambda: results.append(_run(home, linger=0.5, backlog=10.0)))
    live.start()
    wait_for(lambda: any(lease.name == "pass" for lease in opened.ledger.leases()))
    live.join(4.0)
    assert live.is_alive()
    opened.ledger.release(lane)
    opened.close()
    live.join(60)
    assert results and results[0].success


def test_a_live_pass_goes_on_with_the_last_good_files_while_somebody_edits(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=60, pace=20)
    plan_all(home)
    good = (home / "estafette.yaml").read_text()
    results: list[dg.ExecuteInProcessResult] = []
    live = threading.Thread(target=lambda: results.append(_run(home, linger=2.0)))
    live.start()
    wait_for(lambda: len(box.accepted()) >= 1)
    (home / "estafette.yaml").write_text("region: ")
    wait_for(lambda: len(box.accepted()) == 60)
    (home / "estafette.yaml").write_text(good)
    live.join(60)
    assert results[0].success
    assert any("the last good ones are" in line for line in results[0].__dict__["told"])


def test_a_stopped_sender_is_an_error_line_of_the_run(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=5)
    plan_all(home)
    box.faults({"kind": "error", "code": 190})
    told = _run(home).__dict__["told"]
    assert any(line.startswith("the sender is stopped: 190 ") for line in told)
    assert states(home) == {"planned": 5}
