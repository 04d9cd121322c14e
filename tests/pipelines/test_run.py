"""A pass run by hand: quiet, plain in its errors, kind to its process, and safe to kill."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from journey.problems import EstafetteError, LedgerError, ProjectError, UsageError
from pipelines import lane as lane_module
from pipelines.run import prepare, run_pass
from sandbox import Config
from sandbox.testing import Box, running
from tests.pipelines.sending_home import (
    NOW,
    ROOT,
    copies,
    fence,
    open_home,
    pass_process,
    plan_all,
    sql,
    states,
    wait_for,
    write_home,
)

PACE = 100
RUN = """
import sys
from datetime import datetime
from pathlib import Path
from pipelines.run import run_pass
print(run_pass(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])))
"""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    log = tmp_path / "home/landing/webhooks/log.ndjson"
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent", webhook_log=log)) as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, box: Box) -> Path:
    """Three hundred planned messages: three seconds of sending."""
    path = write_home(tmp_path / "home", box.url, people=300, pace=PACE)
    assert plan_all(path) == 300
    return path


def _small(tmp_path: Path, url: str) -> Path:
    path = write_home(tmp_path / "home", url, people=5)
    plan_all(path)
    return path


def test_a_pass_sends_what_is_planned_and_its_run_is_kept(tmp_path: Path, box: Box) -> None:
    home = _small(tmp_path, box.url)
    run_id = run_pass(home, NOW)
    assert states(home) == {"accepted": 5}
    assert _status(home, run_id) is dg.DagsterRunStatus.SUCCESS


def test_passes_follow_one_another_in_one_process_and_on_other_threads(tmp_path: Path, box: Box) -> None:
    home = _small(tmp_path, box.url)
    runs = [run_pass(home, NOW), run_pass(home, NOW)]
    thread = threading.Thread(target=lambda: runs.append(run_pass(home, NOW)))
    thread.start()
    thread.join()
    assert len(set(runs)) == 3
    assert len(box.accepted()) == 5


def test_a_pass_changes_neither_the_environment_nor_the_signal_handlers(tmp_path: Path, box: Box) -> None:
    home = _small(tmp_path, box.url)
    environment, handlers = dict(os.environ), [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    run_pass(home, NOW)
    assert dict(os.environ) == environment
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_pass_prints_nothing_of_its_own(tmp_path: Path, box: Box) -> None:
    home = _small(tmp_path, box.url)
    done = subprocess.run([sys.executable, "-c", RUN, str(home), NOW.isoformat()], cwd=ROOT, capture_output=True)
    assert done.stderr.decode() == ""
    assert len(done.stdout.decode().split()) == 1  # the id that the script prints


def test_broken_settings_are_said_plainly(tmp_path: Path, box: Box, capfd: pytest.CaptureFixture[str]) -> None:
    home = _small(tmp_path, box.url)
    (home / "estafette.yaml").write_text("region: XX\n")
    with pytest.raises(ProjectError, match="XX"):
        run_pass(home, NOW)
    assert capfd.readouterr() == ("", "")


def test_a_missing_token_is_said_plainly_and_everything_stays_planned(
    tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = _small(tmp_path, box.url)
    monkeypatch.delenv("WHATSAPP_TOKEN", raising=False)
    (home / ".env").write_text(f"WHATSAPP_API_URL={box.url}\n")
    with pytest.raises(UsageError, match="there is no token"):
        run_pass(home, NOW)
    assert states(home) == {"planned": 5}


def test_a_cloud_api_out_of_reach_is_said_plainly_and_the_run_fails(
    tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "GIVE_UP", 0.5)
    home = _small(tmp_path, box.url)
    (home / ".env").write_text("WHATSAPP_API_URL=http://127.0.0.1:9\nWHATSAPP_TOKEN=x\n")
    with pytest.raises(EstafetteError, match=r"http://127.0.0.1:9: nothing was sent for main: .* can't be reached"):
        run_pass(home, NOW)
    assert states(home) == {"planned": 5}
    assert (home / "data/analytics.duckdb").exists(), "it is published all the same"


def test_a_pass_waits_for_another_one_and_then_runs_itself(tmp_path: Path, box: Box) -> None:
    home = _small(tmp_path, box.url)
    opened = open_home(home)
    lease = opened.ledger.take("pass", "the daemon", note="run 1")
    assert lease is not None
    with pytest.raises(LedgerError, match=r"another pass is at work \(the daemon, run 1\)"):
        run_pass(home, NOW, wait=0)
    assert states(home) == {"planned": 5}
    runs: list[str] = []
    waiting = threading.Thread(target=lambda: runs.append(run_pass(home, NOW)))
    waiting.start()
    time.sleep(0.5)
    opened.ledger.release(lease)
    opened.close()
    waiting.join(60)
    assert len(runs) == 1
    assert states(home) == {"accepted": 5}


def test_a_pass_waits_while_another_process_sends_and_then_sends_the_rest(tmp_path: Path, box: Box) -> None:
    home = _small(tmp_path, box.url)
    opened = open_home(home)
    lease = opened.ledger.take("send:main:0/1", "a dispatch")
    assert lease is not None
    runs: list[str] = []
    waiting = threading.Thread(target=lambda: runs.append(run_pass(home, NOW)))
    waiting.start()
    time.sleep(1.0)
    assert states(home) == {"planned": 5}
    opened.ledger.release(lease)
    opened.close()
    waiting.join(60)
    assert len(runs) == 1
    assert states(home) == {"accepted": 5}


def test_two_passes_at_once_harm_nothing(home: Path, box: Box) -> None:
    with pass_process(home) as one, pass_process(home) as two:
        one.join(90)
        two.join(90)
    assert [one.exitcode, two.exitcode] == [0, 0]
    assert states(home) == {"accepted": 300}
    assert copies(box) == 1


def test_a_pass_ends_although_a_message_must_wait_for_later(tmp_path: Path, box: Box) -> None:
    home = _small(tmp_path, box.url)
    sql(home, "UPDATE message SET not_before = ? WHERE id = 1", (int(time.time()) + 300) * 1_000_000)
    run_pass(home, NOW)
    assert states(home) == {"accepted": 4, "planned": 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_sending_at_once_and_leaves_nothing_unknown(
    home: Path, box: Box, number: signal.Signals
) -> None:
    box.limits(latency_ms=50)
    with pass_process(home) as running_pass:
        wait_for(lambda: len(box.messages(bodies=False)) >= 30)
        at = time.time()
        os.kill(running_pass.pid or 0, number)
        running_pass.join(60)
    assert running_pass.exitcode == 1  # KeyboardInterrupt, as Python ends on it
    posted = box.messages(bodies=False)
    assert max(row["epoch"] for row in posted) < at + 2
    assert states(home) == {"accepted": len(posted), "planned": 300 - len(posted)}
    assert 0 < len(posted) < 300
    with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
        [run] = instance.get_runs()
        assert run.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
    run_pass(home, NOW)
    assert states(home) == {"accepted": 300}
    assert copies(box) == 1


def test_a_signal_ends_the_wait_for_another_pass(tmp_path: Path, box: Box) -> None:
    home = _small(tmp_path, box.url)
    opened = open_home(home)
    assert opened.ledger.take("pass", "the daemon", seconds=600) is not None
    opened.close()
    with pass_process(home) as waiting:
        wait_for(lambda: (home / "data/dagster/history/runs").is_dir() and _started(home))
        time.sleep(0.5)
        os.kill(waiting.pid or 0, signal.SIGINT)
        waiting.join(30)
    assert waiting.exitcode == 1
    assert states(home) == {"planned": 5}


def _kill_and_go_on(home: Path, box: Box, kills: int, seed: int) -> None:
    """Kill passes at random moments; what holds afterwards is what the README promises."""
    chance = random.Random(seed)
    latency = 0.05
    box.limits(latency_ms=latency * 1000)
    lost = 0
    for _ in range(kills):
        before = len(box.messages(bodies=False))
        with pass_process(home) as victim:
            wait_for(lambda before=before: len(box.messages(bodies=False)) > before or not victim.is_alive(), 300)
            time.sleep(chance.uniform(0, 0.4))
            at = time.time()
        fence(home)
        [(attempted, oldest)] = sql(
            home, "SELECT count(*), COALESCE(min(attempted_wall), 0) FROM message WHERE state = 'attempted'"
        )
        took = max(latency, at - int(str(oldest)) / 1e6) if oldest else latency  # longer on a busy machine
        attempted = int(str(attempted))
        assert attempted <= PACE * (took + 0.2) + 10
        lost += attempted
    time.sleep(0.3)  # what the dead had on the wire arrives
    run_pass(home, NOW)
    assert copies(box) == 1
    after = states(home)
    assert set(after) <= {"accepted", "unknown"}
    assert after.get("unknown", 0) <= lost
    arrived = {row["to"] for row in box.accepted(bodies=False)}
    unknown = {phone for (phone,) in sql(home, "SELECT phone FROM message WHERE state = 'unknown'")}
    assert len(arrived | unknown) == sum(after.values())


def test_killed_passes_send_nobody_a_second_message_and_statuses_settle_what_is_unknown(home: Path, box: Box) -> None:
    _kill_and_go_on(home, box, kills=6, seed=7)
    box.population(mode="manual")
    lines = []
    for row in box.accepted():
        callback = row["body"]["biz_opaque_callback_data"]
        for number, status in enumerate(("sent", "delivered")):
            lines.append(_webhook(row["to"], row["wamid"], status, 1796119200 + number, callback))
    (home / "landing/webhooks/late.ndjson").write_text("\n".join(lines) + "\n")
    run_pass(home, NOW)
    never = sum(states(home).values()) - len(box.accepted())  # killed before a byte left
    assert states(home) == {"delivered": len(box.accepted())} | ({"unknown": never} if never else {})
    ended = sql(home, "SELECT count(*) FROM participant WHERE left_at IS NOT NULL")[0][0]
    assert ended == len(box.accepted()), "the journey went on for everyone whose message is known to have left"
    assert copies(box) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
def test_many_killed_passes_send_nobody_a_second_message(tmp_path: Path, box: Box, seed: int) -> None:
    home = write_home(tmp_path / "home", box.url, people=2_000, pace=PACE)
    plan_all(home)
    _kill_and_go_on(home, box, kills=20, seed=seed)


def _webhook(phone: str, wamid: str, status: str, at: int, callback: str) -> str:
    one = {"id": wamid, "status": status, "timestamp": str(at), "recipient_id": phone.lstrip("+")}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"},
        "statuses": [{**one, "biz_opaque_callback_data": callback}],
    }
    entry = {"id": "102290129340398", "changes": [{"value": value, "field": "messages"}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]})


def _status(home: Path, run_id: str) -> dg.DagsterRunStatus:
    with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        return run.status


def _started(home: Path) -> bool:
    with dg.DagsterInstance.from_config(str(prepare(home))) as instance:
        return instance.get_runs_count() > 0
