"""A whole installation at work, killed at one stroke, and a backup put back: nobody gets a second copy."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from sandbox import Config
from sandbox.testing import Box
from tests.faults.killing import MIX, free_port
from tests.faults.test_at_once import Daemons
from tests.pipelines.sending_home import ROOT, plan_all, process, sql, states, wait_for, write_home

PEOPLE = int(os.environ.get("ESTAFETTE_RESTORE_PEOPLE", "20000"))
PACE = max(20, PEOPLE // 100)


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as somebody types it."""
    return subprocess.run(
        [sys.executable, "-m", "estafette", "--home", str(home), "--json", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


class Gateway:
    """`estafette serve`, as a user starts it."""

    def __init__(self, home: Path, port: int) -> None:
        self.arguments = [sys.executable, "-m", "estafette", "--home", str(home), "serve", "--port", str(port)]
        self.url = f"http://127.0.0.1:{port}/healthz"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.child = subprocess.Popen(
            self.arguments, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._answers, 120)

    def kill(self) -> None:
        if self.child is not None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
            self.child = None

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url, trust_env=False, timeout=5).status_code in (200, 503)
        except httpx.HTTPError:
            return False


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_backup_of_an_installation_at_work_put_back_after_everything_was_killed_sends_nobody_a_second_copy(
    tmp_path: Path,
) -> None:
    port = free_port()
    with ExitStack() as stack:
        server = stack.enter_context(
            process(
                "-m", "sandbox", "--port", "0", "--rate", "0", "--mix", json.dumps(MIX), "--batch", "20",
                "--callback", f"http://127.0.0.1:{port}/webhooks/whatsapp",
            )
        )  # fmt: skip
        assert server.stdout is not None
        box = Box(server.stdout.readline().split()[1], Config())
        stack.callback(box.http.close)
        home = write_home(tmp_path / "home", box.url, people=PEOPLE, pace=PACE)
        with (home / ".env").open("a") as env:
            env.write("WHATSAPP_APP_SECRET=sandbox-secret\n")
        assert plan_all(home, datetime.now(UTC)) == PEOPLE
        gateway = Gateway(home, port)
        stack.callback(gateway.kill)

        def sent() -> int:
            return int(box.summary()["accepted"])

        def start() -> Daemons:
            gateway.start()
            made = Daemons(home)
            stack.callback(made.kill)
            made.start()
            return made

        daemons = start()
        wait_for(lambda: sent() > PEOPLE // 4, 900)
        backup = tmp_path / "yesterday"
        made = command(home, "backup", str(backup))
        assert made.returncode == 0, made.stderr
        at_backup = sent()
        assert at_backup < PEOPLE, "it was made while sends went on"
        wait_for(lambda: sent() > at_backup + PEOPLE // 4, 900)
        daemons.kill()
        gateway.kill()
        time.sleep(2)  # what the dead had on the wire arrives
        before = sent()
        assert before < PEOPLE
        refused = command(home, "restore", str(backup))
        while refused.returncode != 0 and "at work" in refused.stderr:  # leases of the dead end in half a minute
            time.sleep(2)
            refused = command(home, "restore", str(backup))
        assert refused.returncode == 0, refused.stderr
        assert json.loads(refused.stdout)["epoch"] == 2
        start()
        box.drain(300)
        time.sleep(20)
        assert sent() == before, "sends are held"
        resumed = command(home, "resume", "--all")
        assert resumed.returncode == 0, resumed.stderr
        wait_for(lambda: set(states(home)) <= {"accepted", "sent", "delivered", "unknown"}, 900)
        box.drain(300)
        copies = Counter(row["to"] for row in box.accepted(bodies=False))
        assert set(copies.values()) == {1}
        unknown = {phone for (phone,) in sql(home, "SELECT phone FROM message WHERE state = 'unknown'")}
        assert set(copies) | unknown == {f"+336{n:08d}" for n in range(PEOPLE)}
        print(f"{before} sent before, {sent()} in the end, {len(unknown)} taken as sent, {states(home)}")
