"""Gateways: one that lives, one that was killed, one that took its place; and daemons, of which one is enough."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

from typer.testing import CliRunner

from estafette.cli import app
from resources import present as room
from resources.failures import failures
from resources.present import DAEMONS, GATEWAYS, asks, at_work, daemons, ended, present
from resources.vitals import note_pass

HOST = socket.gethostname()
ADDRESS = "http://127.0.0.1:8000"
LIVES = """
import sys, time
from pathlib import Path
from resources.present import at_work
with at_work(Path(sys.argv[1]), sys.argv[2]):
    print("there", flush=True)
    time.sleep(600)
"""


def begins(data, address=ADDRESS):
    process = subprocess.Popen([sys.executable, "-c", LIVES, str(data), address], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "there\n"
    return process


def dies(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def told(stage):
    return [str(one.kind) for one in failures(stage.home, None, datetime.now(UTC)) if one.kind.startswith("gateway")]


def test_one_that_ended_in_good_order_leaves_nothing(tmp_path):
    with at_work(tmp_path, ADDRESS):
        assert [(one.address, one.alive) for one in present(tmp_path / GATEWAYS)] == [(ADDRESS, True)]
    assert present(tmp_path / GATEWAYS) == []


def test_one_that_was_killed_is_told_until_another_takes_its_place_and_then_for_a_day(make_home):
    stage = make_home(templates=())
    stage.wall = time.time()
    data = stage.path / "data"
    first = begins(data)
    assert told(stage) == []
    dies(first)
    assert told(stage) == ["gateway_down"]
    second = begins(data)
    assert told(stage) == ["gateway_back"]
    stage.wall += 86_500
    assert told(stage) == []
    dies(second)
    assert told(stage) == ["gateway_down"], "both are gone, at one address"


def test_one_of_two_that_was_killed_is_told_although_the_other_lives(tmp_path):
    other = begins(tmp_path, "http://127.0.0.1:9000")
    dies(begins(tmp_path))
    [(gone, heir)] = ended(tmp_path, time.time())
    assert (gone.address, heir) == (ADDRESS, None)
    dies(other)


def test_where_nothing_can_be_written_it_works_all_the_same(tmp_path):
    (tmp_path / GATEWAYS).write_text("in the way")
    with at_work(tmp_path, ADDRESS):
        assert present(tmp_path / GATEWAYS) == []


def test_what_is_no_sign_of_a_gateway_is_passed_over(tmp_path):
    (tmp_path / GATEWAYS).mkdir()
    for name, text in (("a", ""), ("b", "[]"), ("c", '{"address": 1}'), ("d", "\x00")):
        (tmp_path / GATEWAYS / f"{name}.json").write_text(text)
    assert present(tmp_path / GATEWAYS) == []


def test_files_of_gateways_that_died_again_and_again_do_not_pile_up(tmp_path):
    folder = tmp_path / GATEWAYS
    folder.mkdir()
    for number in range(30):
        file = folder / f"old-{number}.json"
        file.write_text('{"address": "http://127.0.0.1:8000", "began": 1}')
        os.utime(file, (time.time() - number, time.time() - number))
    os.utime(folder / "old-0.json", (1, 1))
    with at_work(tmp_path, ADDRESS):
        kept = {file.stem for file in folder.glob("old-*")}
    assert kept == {f"old-{number}" for number in range(1, room.MOST_KEPT + 1)}
    os.utime(folder / "old-5.json", (1, 1))
    with at_work(tmp_path, ADDRESS):
        assert {file.stem for file in folder.glob("old-*")} == kept - {"old-5"}


def test_two_daemons_that_both_ask_are_told_after_a_minute(tmp_path, make_home):
    stage = make_home(templates=())
    data = stage.path / "data"

    def told():
        return [one.detail for one in failures(stage.home, None, datetime.now(UTC)) if one.kind == "several_daemons"]

    asks(data)
    asks(data)
    [mine] = present(data / DAEMONS)
    stage.wall = time.time() + 5
    code = f"import time; from pathlib import Path; from resources.present import asks; asks(Path({str(data)!r}))"
    other = subprocess.Popen([sys.executable, "-c", f"{code}; print('there', flush=True); time.sleep(600)"],
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert other.stdout.readline() == "there\n"
    assert len(present(data / DAEMONS)) == 2 and told() == [], "one may be making room for the other"
    stage.wall += 70
    assert told() == [], "neither has asked of late"
    for one in present(data / DAEMONS):
        os.utime(one.file, (stage.wall, stage.wall))
    [detail] = told()
    assert detail == f"({', '.join(sorted(f'{HOST}:{number}' for number in (os.getpid(), os.getppid())))})"
    assert mine.alive
    dies(other)
    assert daemons(data, stage.wall) == []


ASKS = """
import sys, time
from pathlib import Path
from resources.present import asks
asks(Path(sys.argv[1]))
print("there", flush=True)
time.sleep(600)
"""


def test_a_daemon_that_was_killed_while_idle_is_told_after_two_minutes_unless_others_make_passes(make_home):
    def gone():
        return [one.values for one in failures(stage.home, None, stage.now) if one.kind == "daemon_gone"]

    def passed(ago):
        with stage.home.ledger.write() as tx:
            note_pass(tx, stage.wall - ago)

    stage = make_home(templates=())
    stage.turn()
    stage.wall = began = time.time()
    stage.home.ledger.release(stage.lease)
    passed(60)
    assert gone() == [], "where cron makes passes there never was a daemon"
    daemon = subprocess.Popen([sys.executable, "-c", ASKS, str(stage.path / "data")], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout.readline() == "there\n"
    stage.wall += 3_600
    assert gone() == [], "it lives: a laptop that slept wakes with a daemon that has not looked for long"
    stage.wall = began
    dies(daemon)
    stage.wall += 60
    assert gone() == [], "one that is started anew takes its time"
    stage.wall += 70
    [values] = gone()
    assert abs(values["since"].timestamp() - began) < 30
    lease = stage.home.ledger.take("pass", "here:1:a")
    assert gone() == [], "a run may outlive its daemon"
    stage.home.ledger.release(lease)
    stage.wall += 900
    assert gone() != []
    passed(0)
    assert gone() == [], "somebody else makes passes now"


def test_doctor_tells_of_a_daemon_that_is_gone(make_home):
    stage = make_home(templates=())
    stage.turn()
    daemon = subprocess.Popen([sys.executable, "-c", ASKS, str(stage.path / "data")], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout.readline() == "there\n"
    dies(daemon)
    [one] = present(stage.path / "data" / DAEMONS)
    os.utime(one.file, (time.time() - 300,) * 2)
    stage.home.ledger.release(stage.lease)
    asked = CliRunner().invoke(app, ["--home", str(stage.path), "--json", "doctor"])
    [line] = [line for line in json.loads(asked.stdout)["lines"] if line["what"] == "passes"]
    assert line["level"] == "FAIL" and line["found"].startswith("Nobody asks for passes since")
