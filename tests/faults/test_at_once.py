"""More at once than anybody meant: passes, commands, lanes, runs that Dagster would do again, two daemons."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

import dagster as dg
import httpx
import pytest
from dagster._core.events import RunFailureReason
from dagster._core.execution.retries import auto_reexecution_should_retry_run

from journey.clock import to_us
from journey.problems import EstafetteError
from pipelines import lane as lane_module
from pipelines.dead_runs import end_dead_runs
from pipelines.definitions import build_defs
from pipelines.run import prepare, run_pass
from resources.access import add_token
from resources.definitions import HomeResource
from sandbox import Config
from sandbox.testing import Box, running
from tests.faults.killing import FORKS, answers, free_port, gateway, lanes_only
from tests.pipelines.sending_home import (
    NOW,
    ROOT,
    copies,
    fence,
    open_home,
    pass_process,
    plan_all,
    process,
    sql,
    states,
    wait_for,
    write_home,
)


@pytest.fixture
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


def command(home: Path, out: Path, *arguments: str) -> None:
    """A command as somebody types it; what it said goes to a file."""
    from typer.testing import CliRunner

    from estafette.cli import app

    done = CliRunner().invoke(app, ["--home", str(home), "--now", NOW.isoformat(), "--json", *arguments])
    out.write_text(json.dumps({"code": done.exit_code, "said": done.stdout, "error": str(done.exception or "")}))


def at_once(home: Path, tmp: Path, *commands: tuple[str, ...]) -> list[dict[str, object]]:
    """Commands typed at the same moment, each in a process of its own; what each said."""
    files = [tmp / f"said_{number}.json" for number in range(len(commands))]
    started = [
        FORKS.Process(target=command, args=(home, file, *one)) for file, one in zip(files, commands, strict=True)
    ]
    for one in started:
        one.start()
    for one in started:
        one.join(180)
    return [json.loads(file.read_text()) for file in files]


def test_two_operators_run_a_campaign_at_once_while_two_ticks_and_a_dispatch_are_at_work(
    tmp_path: Path, box: Box
) -> None:
    home = write_home(tmp_path / "home", box.url, people=120, pace=60)
    plan_all(home)
    with _process(lanes_only, home, ("main",)):  # a dispatch has begun with what is planned
        said = at_once(home, tmp_path, ("run", "offer_main"), ("tick",), ("run", "offer_main"), ("tick",))
    assert [one["code"] for one in said] == [0, 0, 0, 0], said
    assert states(home) == {"accepted": 120}
    assert copies(box) == 1
    assert sql(home, "SELECT count(*) FROM participant") == [(120,)]
    for one in (said[0], said[2]):
        assert json.loads(str(one["said"]))["audience"] == 120, "each was told of the run of their own"


def test_two_operators_who_both_run_a_campaign_first_let_everybody_in_once(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=60, pace=200)
    plan_all(home)
    sql(home, "DELETE FROM message")
    sql(home, "DELETE FROM participant")
    said = at_once(home, tmp_path, ("run", "offer_main"), ("run", "offer_main"))
    assert [one["code"] for one in said] == [0, 0], said
    found = [json.loads(str(one["said"])) for one in said]
    assert sorted(one["entered"] for one in found) == [0, 60]
    assert copies(box) == 1
    assert states(home) == {"accepted": 60}


RETRIES = """
telemetry: {enabled: false}
run_retries: {enabled: true, max_retries: 3, retry_on_asset_or_op_failure: true}
"""


def test_a_run_that_failed_is_not_done_again_by_dagster_although_the_user_wants_retries(
    tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "GIVE_UP", 0.3)
    home = write_home(tmp_path / "home", box.url, people=3)
    (home / "dagster.yaml").write_text(RETRIES)
    plan_all(home)
    (home / ".env").write_text("WHATSAPP_API_URL=http://127.0.0.1:9\nWHATSAPP_TOKEN=x\n")
    with pytest.raises(EstafetteError):
        run_pass(home, NOW)
    with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
        assert instance.run_retries_enabled
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert not auto_reexecution_should_retry_run(instance, run, RunFailureReason.STEP_FAILURE)
        assert not auto_reexecution_should_retry_run(instance, run, RunFailureReason.RUN_EXCEPTION)


def test_a_run_whose_worker_was_killed_is_not_done_again_by_dagster_and_by_hand_it_writes_to_nobody_twice(
    tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = write_home(tmp_path / "home", box.url, people=120, pace=60)
    monkeypatch.setenv("ESTAFETTE_HOME", str(home))
    (home / "dagster.yaml").write_text(RETRIES)
    plan_all(home)
    with pass_process(home) as victim:
        wait_for(lambda: len(box.messages(bodies=False)) > 20)
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
    fence(home)
    lost = int(str(sql(home, "SELECT count(*) FROM message WHERE state = 'attempted'")[0][0]))
    opened = open_home(home)
    with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
        assert len(end_dead_runs(opened.ledger, instance, patience=0)) == 1
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert not any(auto_reexecution_should_retry_run(instance, run, reason) for reason in RunFailureReason)
        again = dg.execute_job(  # somebody presses "re-execute from failure": it begins with the op that was killed
            dg.reconstructable(the_pass),
            instance,
            run_config={"resources": {"passing": {"config": {"path": str(home), "now": NOW.isoformat()}}}},
            reexecution_options=dg.ReexecutionOptions.from_failure(run.run_id, instance),
        )
        assert again.success
        done = {event.step_key for event in again.all_events if event.is_step_success}
        assert "send_op" in done and "plan_op" not in done
    opened.close()
    assert copies(box) == 1
    assert set(states(home)) <= {"accepted", "unknown"}
    assert states(home).get("unknown", 0) <= lost
    assert sum(states(home).values()) == 120


def the_pass() -> dg.JobDefinition:
    """The job as Dagster loads it."""
    return build_defs().resolve_job_def("one_pass")


# -- everything made again -----------------------------------------------------------------------------------------


def test_there_is_nothing_to_backfill_and_whoever_makes_all_of_it_again_while_live_sends_nothing(
    tmp_path: Path, box: Box
) -> None:
    home = write_home(tmp_path / "home", box.url, people=120, pace=60)
    plan_all(home)
    defs = build_defs(home=HomeResource(path=str(home), now=NOW.isoformat()))
    assert all(job.partitions_def is None for job in defs.resolve_all_job_defs())
    graph = defs.resolve_asset_graph()
    assert not any(graph.get(key).is_partitioned for key in graph.get_all_asset_keys())
    made = [one for one in defs.assets or () if isinstance(one, dg.AssetsDefinition) and one.is_executable]
    entered = sql(home, "SELECT count(*) FROM participant")
    with _process(lanes_only, home, ("main",)), _process(run_pass, home, NOW), _process(run_pass, home, NOW):
        wait_for(lambda: len(box.messages(bodies=False)) > 10)
        with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
            for _ in range(2):
                resources = {"home": HomeResource(path=str(home), now=NOW.isoformat())}
                assert dg.materialize(made, instance=instance, resources=resources).success
    assert copies(box) == 1
    assert states(home) == {"accepted": 120}
    assert sql(home, "SELECT count(*) FROM participant") == entered


EITHER = """
name: offer_main
sender: main
entries:
  - audience: {segment: everyone}
  - api: {}
settings: {re_entry: once}
steps:
  offer:
    message: {template: autumn_reminder, language: fr, variables: {first_name: {user: first_name}}}
"""


def test_operators_at_the_command_line_and_systems_at_the_api_let_everybody_in_once(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=60, pace=200)
    plan_all(home)
    sql(home, "DELETE FROM message")
    sql(home, "DELETE FROM participant")
    (home / "campaigns/offer_main.yaml").write_text(EITHER)
    opened = open_home(home)
    with opened.ledger.write() as tx:
        token = add_token(tx, "shop", to_us(NOW))
    opened.close()
    port = free_port()
    door = FORKS.Process(target=gateway, args=(home, port))
    door.start()
    try:
        wait_for(lambda: answers(port))
        said_by_api: list[int] = []

        def ask(body: dict[str, object]) -> None:
            address = f"http://127.0.0.1:{port}/api/journey/offer_main/start/external"
            headers = {"Authorization": f"Api {token}"}
            with httpx.Client(trust_env=False, timeout=60) as http:
                said_by_api.append(http.post(address, headers=headers, json={"payload": body}).status_code)

        asking = [threading.Thread(target=ask, args=({"segment": "everyone"},)) for _ in range(2)]
        for one in asking:
            one.start()
        said = at_once(home, tmp_path, ("run", "offer_main"), ("tick",), ("run", "offer_main"))
        for one in asking:
            one.join()
        assert [one["code"] for one in said] == [0, 0, 0], said
        assert said_by_api == [200, 200]
    finally:
        door.kill()
        door.join()
    run_pass(home, NOW)
    assert sql(home, "SELECT count(*) FROM request WHERE done_at IS NOT NULL") == [(2,)]
    assert copies(box) == 1
    assert states(home) == {"accepted": 60}
    assert sql(home, "SELECT count(*), count(DISTINCT contact_id) FROM participant") == [(60, 60)]


def test_dagsters_storage_is_there_before_any_daemon_is_started(tmp_path: Path) -> None:
    """Two that make it at once leave it with two versions, and no daemon ever starts again."""
    home = write_home(tmp_path / "home", "http://127.0.0.1:9", people=0)
    for _ in range(2):
        folder = prepare(home)
        with contextlib.closing(sqlite3.connect(folder / "schedules/schedules.db")) as storage:
            assert len(storage.execute("SELECT version_num FROM alembic_version").fetchall()) == 1


# -- the daemon --------------------------------------------------------------------------------------------------------


@contextmanager
def _process(target: object, *arguments: object) -> Iterator[BaseProcess]:
    one = FORKS.Process(target=target, args=arguments)  # type: ignore[arg-type]
    one.start()
    try:
        yield one
    finally:
        one.join(60)
        if one.is_alive():
            one.kill()
            one.join()


class Daemons:
    """Dagster's daemon as a user starts it, once or twice, with all that it starts."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DAGSTER_HOME": str(prepare(home)),
            "ESTAFETTE_HOME": str(home),
        }
        self.children: list[subprocess.Popen[bytes]] = []
        self.groups: set[int] = set()

    def start(self) -> None:
        arguments = [sys.executable, "-m", "dagster._daemon", "run", "-m", "pipelines.definitions"]
        log = (Path(self.environment["DAGSTER_HOME"]) / "daemon.log").open("ab")
        self.children.append(
            subprocess.Popen(arguments, cwd=ROOT, env=self.environment, start_new_session=True, stdout=log, stderr=log)
        )
        self.groups.add(self.children[-1].pid)

    def kill(self) -> None:
        """The daemons, their code servers and every run of them, at one stroke."""
        for group in self.groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self.groups.clear()
        self.kill_alone()

    def kill_alone(self) -> None:
        """The daemons themselves: what they have started goes on."""
        for child in self.children:
            child.kill()
            child.wait()
        self.children.clear()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_two_daemons_by_mistake_that_are_killed_and_started_again_send_nobody_a_second_message(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(process("-m", "sandbox", "--port", "0", "--rate", "0", "--mode", "silent"))
        assert server.stdout is not None
        box = Box(server.stdout.readline().split()[1], Config())
        stack.callback(box.http.close)
        home = write_home(tmp_path / "home", box.url, people=1_500, pace=40)
        now = datetime.now(UTC)
        plan_all(home, now)
        daemons = Daemons(home)
        stack.callback(daemons.kill)

        def sent() -> int:
            return int(box.summary()["accepted"])

        for alone in (False, True, False):
            before = sent()
            daemons.start()
            daemons.start()
            wait_for(lambda before=before: sent() > before + 50, 400)
            if alone:
                daemons.kill_alone()
                daemons.start()
                time.sleep(5)
            daemons.kill()
            lost = sql(home, "SELECT count(*) FROM message WHERE state = 'attempted'")
            assert int(str(lost[0][0])) <= 40 * 1.2
            time.sleep(1)
        daemons.start()
        before = sent()
        wait_for(lambda: sent() > before + 20, 400)
        with dg.DagsterInstance.from_config(str(prepare(home))) as instance:  # somebody presses "terminate"
            at_work = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
            wait_for(lambda: instance.get_runs(at_work), 400)
            assert instance.run_coordinator.cancel_run(instance.get_runs(at_work)[0].run_id)
        wait_for(lambda: set(states(home)) <= {"accepted", "unknown"}, 300)
        daemons.kill()
        sent_to = Counter(row["to"] for row in box.accepted(bodies=False))
        assert set(sent_to.values()) == {1}
        unknown = {phone for (phone,) in sql(home, "SELECT phone FROM message WHERE state = 'unknown'")}
        assert set(sent_to) | unknown == {f"+336{n:08d}" for n in range(1_500)}
        opened = open_home(home)
        assert opened.ledger.leases() is not None
        opened.close()
