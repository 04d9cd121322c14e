"""What Dagster is told, and the decisions of sensors."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from pipelines.run import prepare
from pipelines.schedules import every_minute
from pipelines.sensors import PASS_CONFIG, Due, look, much_to_send, something_due, wants_dispatch, wants_pass
from resources.definitions import HomeResource
from sandbox import Config
from sandbox.testing import Box, running
from tests.pipelines.sending_home import NOW, ROOT, fence, open_home, plan_all, sql, write_home, write_people


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, box: Box) -> Path:
    return write_home(tmp_path / "home", box.url, people=5, pace=1)


def _resource(home: Path) -> HomeResource:
    return HomeResource(path=str(home), now=NOW.isoformat())


def test_the_definitions_of_a_home_load_with_an_asset_for_each_segment(home: Path) -> None:
    defs = build_defs(home=_resource(home))
    dg.Definitions.validate_loadable(defs)
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {"contacts", "events", "templates", "deliveries", "analyst_db", "segments/everyone"} <= keys
    assert {job.name for job in defs.resolve_all_job_defs()} >= {"one_pass", "dispatch"}


def test_the_sensors_ask_for_runs_whose_config_fits_the_job(home: Path) -> None:
    job = build_defs(home=_resource(home)).resolve_job_def("one_pass")
    assert dg.validate_run_config(job, PASS_CONFIG)


def test_dagster_finds_the_workspace_good(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "DAGSTER_HOME": str(prepare(home)), "ESTAFETTE_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("due", "held", "runs", "why_not"),
    [
        (Due(files=1), False, 0, None),
        (Due(messages=3), False, 0, None),
        (Due(), False, 0, "nothing is due"),
        (Due(files=1), True, 0, "a pass is at work, and takes this along"),
        (Due(files=1), False, 1, "a pass is on its way"),
    ],
)
def test_a_pass_is_asked_for_when_something_is_due_and_none_is_there(
    due: Due, held: bool, runs: int, why_not: str | None
) -> None:
    assert wants_pass(due, lease_held=held, waiting_runs=runs) == why_not


BIG = {"main": 1000}


@pytest.mark.parametrize(
    ("waiting", "held", "runs", "ending", "wanted"),
    [
        (BIG, [], 0, 0, True),
        ({"main": 700}, [], 0, 0, False),
        ({}, [], 0, 0, False),
        (BIG, ["send:main:0/1"], 0, 0, False),
        (BIG, ["send:main_2:0/1", "pass"], 0, 0, True),
        (BIG, [], 1, 0, False),
        (BIG, ["send:main:0/1"], 1, 1, True),
        (BIG, ["send:main:0/1"], 2, 1, False),
    ],
)
def test_a_dispatch_is_asked_for_when_a_free_sender_has_much_to_send_or_the_last_one_ends_soon(
    waiting: dict[str, int], held: list[str], runs: int, ending: int, wanted: bool
) -> None:
    assert (wants_dispatch(waiting, {"main": 80.0}, held, runs, ending) is None) is wanted


def test_due_reads_as_a_list_of_what_there_is() -> None:
    assert str(Due(files=2, people=1)) == "2 files, 1 person"
    assert str(Due()) == "nothing"


def test_a_file_in_the_landing_zone_and_planned_messages_are_seen(home: Path) -> None:
    opened = open_home(home)
    assert look(opened).files == 1
    opened.close()
    plan_all(home)
    opened = open_home(home)
    assert look(opened).messages == 5
    assert opened.ledger.take("send:main:0/1", "a lane") is not None
    assert look(opened).messages == 0, "somebody sends them"
    opened.close()


def test_the_sensors_and_the_schedule_ask_for_runs_by_themselves(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.sensors.WATCH", 0.0)
    resource = _resource(home)
    with dg.instance_for_test() as instance:
        result = something_due(dg.build_sensor_context(instance=instance), home=resource)
        assert isinstance(result, dg.SensorResult)
        assert result.run_requests is not None
        assert result.run_requests[0].run_config == PASS_CONFIG
        plan_all(home)
        sql(home, "UPDATE sender SET ceiling = 0.1")
        asked = much_to_send(dg.build_sensor_context(instance=instance), home=resource)
        assert isinstance(asked, dg.SensorResult)
        assert isinstance(every_minute(dg.build_schedule_context(instance=instance), home=resource), dg.RunRequest)
        opened = open_home(home)
        assert opened.ledger.take("pass", "a pass") is not None
        opened.close()
        write_people(home, 3, 100, "more.csv")
        quiet = something_due(dg.build_sensor_context(instance=instance), home=resource)
        assert isinstance(quiet, dg.SkipReason)
        assert isinstance(every_minute(dg.build_schedule_context(instance=instance), home=resource), dg.SkipReason)
        fence(home)
        assert isinstance(something_due(dg.build_sensor_context(instance=instance), home=resource), dg.SensorResult)
