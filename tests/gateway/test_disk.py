"""A gateway whose disk is full or read-only: Meta brings it again, and whoever looks after the home is told."""

import asyncio
import logging
import os
import resource
import shutil
import signal
import subprocess
import time

import pytest
from pydantic import SecretStr

from estafette.cli import main
from gateway.app import create_app
from gateway.webhooks import PATH
from resources.failures import failures
from tests.gateway.doors import Doors
from tests.gateway.test_health import metrics
from tests.gateway.test_webhooks import SECRET, signed

BODY = b'{"object":"whatsapp_business_account","entry":[]}' + b" " * 200_000


@pytest.fixture
def doors(make_home):
    """A gateway that takes deliveries."""
    stage = make_home()
    stage.turn()
    (stage.path / ".env").write_text(f"WHATSAPP_TOKEN=any\nWHATSAPP_APP_SECRET={SECRET}\n")
    app = create_app(stage.path, app_secret=SecretStr(SECRET), verify_token=None, clock=lambda: stage.now)
    with asyncio.Runner() as runner:
        life = app.router.lifespan_context(app)
        runner.run(life.__aenter__())
        yield Doors(stage, app, runner, "none")
        runner.run(life.__aexit__(None, None, None))


@pytest.fixture
def mounted():
    """A small disk of one's own in the place of a folder, with what is in it; to be called with the folder. Only root
    may make one, and not everywhere."""
    made = []

    def mount(folder, *options):
        if made != [folder]:
            kept = folder.with_name("kept")
            shutil.copytree(folder, kept)
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
            if done.returncode:
                pytest.skip("nothing can be mounted here")
            made.append(folder)
            shutil.copytree(kept, folder, dirs_exist_ok=True)
        for option in options:
            subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True, capture_output=True)

    yield mount
    for folder in made:
        subprocess.run(["umount", "-l", folder], check=True)


def deliver(doors):
    answer = doors.post(PATH, content=BODY, auth=None, headers=signed(BODY))
    return answer.status_code


def wrong(doors):
    return {what for (name, what), number in metrics(doors).items() if name == "estafette_wrong" and number}


def told(stage):
    return {str(one.kind): one for one in failures(stage.home, stage.home.project, stage.now)}


def test_a_full_disk_is_seen_at_healthz_in_metrics_in_the_log_and_in_status(doors, mounted, caplog):
    stage = doors.stage
    stage.wall = time.time()  # as the gateway has it
    assert "disk_full" not in told(stage) or os.statvfs(stage.path).f_bavail < 1 << 17, "it would prove nothing"
    mounted(stage.path / "landing")
    assert deliver(doors) == 200
    (stage.path / "landing/fill").write_bytes(b"0" * (700 << 10))
    codes = [deliver(doors) for _ in range(6)]
    assert set(codes) == {503}
    with pytest.raises(OSError, match="No space left"):
        (stage.path / "landing/more").write_bytes(b"0" * (1 << 20))
    answer = doors.get("/healthz", auth=None)
    assert (answer.status_code, answer.json()["disk"]) == (503, "No space left on device")
    [line] = [one.getMessage() for one in caplog.records if one.name == "gateway.log"]
    assert line.startswith("landing/webhooks: what comes in can't be kept (No space left on device): 1 refused")
    assert metrics(doors)["estafette_refused_webhooks_total", "not_kept"] == 6
    assert metrics(doors)["estafette_disk_free_bytes", None] == 0
    for _ in range(200):
        doors.run(lambda: asyncio.sleep(0.02))
        if "not_kept" in told(stage):
            break
    found = told(stage)
    assert found["disk_full"].values == {"free": "0.0 GB"}  # of the landing zone; the others are on another disk
    assert found["not_kept"].detail == "No space left on device." and "webhooks_refused" not in found
    assert {"disk_full", "not_kept"} <= wrong(doors)
    for name in ("fill", "more"):
        (stage.path / "landing" / name).unlink()
    assert deliver(doors) == 200 and doors.get("/healthz", auth=None).status_code == 200
    assert [one.getMessage() for one in caplog.records if one.name == "gateway.log"][1:] == [
        "landing/webhooks: what comes in is kept again"
    ]


def test_a_home_on_a_read_only_disk_is_told_as_such_also_where_its_ledger_cannot_be_opened(
    doors, mounted, caplog, capsys
):
    stage, store = doors.stage, doors.app.state.store
    stage.home.close()
    stage.home.__dict__.pop("ledger", None)
    doors.run(lambda: asyncio.to_thread(lambda: store._home and store._home.close()))
    store._home = None
    for name in ("ledger.sqlite-wal", "ledger.sqlite-shm"):
        (stage.path / "data" / name).unlink(missing_ok=True)
    mounted(stage.path, "ro")
    assert [deliver(doors) for _ in range(3)] == [503] * 3
    answer = doors.get("/healthz", auth=None)
    assert (answer.status_code, answer.json()["disk"]) == (503, "Read-only file system")
    assert "the disk or the folder is read-only" in answer.json()["ledger"]
    found = metrics(doors)
    assert found["estafette_up", None] == 0 and found["estafette_wrong", "disk_closed"] == 1
    assert found["estafette_refused_webhooks_total", "not_kept"] == 3 and ("estafette_wrong", "no_pass") not in found
    assert len([one for one in caplog.records if one.name == "gateway.log"]) == 1
    for command in ("status", "tick"):
        assert main([command, "--home", str(stage.path)]) == 1
        said = capsys.readouterr().err
        assert "the disk or the folder is read-only" in said and "Mend the permissions or the mount" in said


@pytest.fixture
def nothing_grows():
    """No file may grow, for the length of a block: a limit of the kernel, which needs no rights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size if size is not None else before[0], before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_takes_nothing_is_one_line_a_minute_and_none_for_each_request(
    doors, nothing_grows, caplog, monkeypatch
):
    def lines():
        found = [one.getMessage() for one in caplog.records if one.name == "gateway.log"]
        caplog.clear()
        return found

    def refuses(number):
        nothing_grows(0)
        codes = [deliver(doors) for _ in range(number)]
        health = doors.get("/healthz", auth=None)
        nothing_grows(None)
        assert codes == [503] * number and (health.status_code, health.json()["status"]) == (503, "unwell")

    caplog.set_level(logging.WARNING)
    refuses(5)
    assert [line.partition(": what")[2].split(" (")[0] for line in lines()] == [" comes in can't be kept"]
    assert deliver(doors) == 200 and lines() == ["landing/webhooks: what comes in is kept again"]
    refuses(2)
    assert deliver(doors) == 200 and lines() == [], "now it takes one, now it does not: that was told just now"
    monkeypatch.setattr("gateway.log.TOLD", 0.0)
    refuses(1)
    [line] = lines()
    assert ": 7 refused" in line, "with those that nobody was told of"


def test_a_folder_that_takes_nothing_makes_the_gateway_unwell_whichever_it_is(doors):
    folder = doors.stage.path / "landing/requests"
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("a file in its place")
    assert doors.get("/healthz", auth=None).status_code == 503
