"""From the door to the pass: what the webhook log holds is taken in, however it is cut into files or cut off."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.log import LandingLog
from gateway.webhooks import is_signed, log_line
from tests.stage import delivery

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stage(make_home):
    """Three messages, sent."""
    made = make_home()
    made.run()
    made.send()
    return made


def write(stage, status, *, largest=10**9, tail=b""):
    """A gateway's life: a delivery for each message, in files of this size, and what a crash left at the end."""
    bodies = [json.dumps(delivery(stage.status_of(number, status), "messages")).encode() for number in (1, 2, 3)]

    async def live():
        log = LandingLog(stage.path / "landing" / "webhooks", lambda: stage.now, largest=largest)
        for body in bodies:
            await log.append(log_line(stage.now, body))
        await log.close()

    asyncio.run(live())
    files = sorted((stage.path / "landing" / "webhooks").iterdir())
    if tail:
        with files[-1].open("ab") as torn:
            torn.write(tail)
    return files


def test_a_log_in_several_files_is_taken_in_whole(stage):
    assert len(write(stage, "delivered", largest=1)) == 3
    stage.turn()
    assert stage.states() == {"delivered": 3}


def test_a_log_that_goes_on_in_another_file_is_followed(stage):
    write(stage, "delivered")
    stage.turn()
    assert len(write(stage, "read")) == 2
    stage.turn()
    assert stage.states() == {"read": 3}
    assert stage.value("SELECT count(*) FROM quarantine") == 0


@pytest.mark.parametrize("tail", [b'{"received_at":"2026-12-01T12:00:00.000000Z","body":"{', b"{", b"\x00" * 4_096])
def test_what_a_kill_left_of_a_line_harms_nothing_before_or_after_it(stage, tail):
    write(stage, "delivered", tail=tail)
    stage.turn()
    assert stage.states() == {"delivered": 3}
    write(stage, "read")  # the gateway that comes next
    for _ in range(2):
        stage.turn()
    assert stage.states() == {"read": 3}


FILLING = """
import asyncio, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from gateway.log import LandingLog, LogError
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

async def live():
    log, refused = LandingLog(Path(sys.argv[1]), lambda: datetime.now(UTC)), []
    await log.append(b'{"n":0}')
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
    for number in range(1, 4):
        try:
            await log.append(b'{"n":%d,"x":"%s"}' % (number, b"x" * (2_000 if number < 3 else 1)))
        except LogError as error:
            refused.append(number)
    await log.close()
    print(refused)

asyncio.run(live())
"""


def test_a_disk_that_takes_no_more_refuses_what_does_not_fit_and_keeps_what_did(tmp_path):
    """A real limit of the kernel: a write is cut short, and the next one fails."""
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[1, 2]"
    kept = [json.loads(line) for file in sorted(tmp_path.iterdir()) for line in file.read_bytes().splitlines()]
    assert [one["n"] for one in kept] == [0, 3]


def test_a_signature_is_compared_in_constant_time(monkeypatch):
    import hmac

    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append((one, other)) or real(one, other))
    assert not is_signed(b"secret", b"body", "sha256=00")
    assert len(compared) == 1


def test_a_form_that_is_too_long_stays_out_by_its_length_and_by_what_comes(doors):
    async def parts():
        for _ in range(10):
            yield b"a" * 10_000

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for content in (b"a=" + b"a" * 70_000, parts()):
        assert doors.ask("POST", "/login", auth=None, content=content, headers=form).status_code == 413
