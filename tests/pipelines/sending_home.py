"""A home with people to write to and their messages planned, for the tests of sending."""

import contextlib
import multiprocessing
import multiprocessing.context
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.audiences import add_occurrence
from pipelines.lane import LaneReport
from pipelines.run import run_pass
from pipelines.sending import Sending
from pipelines.turn import turn
from resources.home import Clock, Home
from resources.template_cache import pull
from sandbox.testing import Box

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.fromisoformat("2026-12-01T10:00:00+00:00")
NUMBERS = {"main": "106540352242922", "second": "206540352242922", "third": "306540352242922"}


def write_home(
    path: Path, url: str, *, people: int = 20, pace: int = 80, senders: tuple[str, ...] = ("main",), more: str = ""
) -> Path:
    """The files of a home: a campaign `offer_SENDER` a sender, everyone in each. `more`: lines of each campaign."""
    for folder in ("campaigns", "segments", "templates", "landing/contacts", "landing/events", "landing/webhooks"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    rows = [
        f"  {name}: {{phone_number_id: '{NUMBERS[name]}', waba_id: '102290129340398', messages_per_second: {pace}}}"
        for name in senders
    ]
    (path / "estafette.yaml").write_text(
        "\n".join(["region: FR", "timezone: Europe/Paris", "senders:", *rows, "consent: {default: opted_in}", ""])
    )
    (path / ".env").write_text(f"WHATSAPP_API_URL={url}\nWHATSAPP_TOKEN=sandbox-token\n")
    (path / "segments/everyone.yaml").write_text("all:\n  - {user: {country: FR}}\n")
    for name in senders:
        (path / f"campaigns/offer_{name}.yaml").write_text(
            f"name: offer_{name}\n"
            f"sender: {name}\n"
            "entries:\n"
            "  - audience: {segment: everyone}\n"
            f"{more}"
            "steps:\n"
            "  offer:\n"
            "    message: {template: autumn_reminder, language: fr, variables: {first_name: {user: first_name}}}\n"
        )
    write_people(path, people)
    return path


def write_people(path: Path, people: int, first: int = 0, file: str = "people.csv") -> None:
    """A contact file, put in place whole."""
    rows = [f"c{n},06{n:08d},Jean {n},FR" for n in range(first, first + people)]
    hidden = path / f".{file}"
    hidden.write_text("\n".join(["contact_id,phone,first_name,country", *rows, ""]))
    hidden.replace(path / "landing/contacts" / file)


def open_home(path: Path, now: datetime = NOW) -> Home:
    return Home(path, Clock(now))


def plan_all(path: Path, now: datetime = NOW) -> int:
    """Take in, enter and plan, so that every message waits to be sent. Gives how many messages."""
    home = open_home(path, now)
    try:
        if not any((path / "templates").iterdir()):
            pull(home)
        lease = home.ledger.take("pass", "test")
        assert lease is not None
        home.reload()
        turn(home, lease, final=True)
        for campaign in home.project.live_campaigns().values():
            add_occurrence(home, campaign, now)
        turn(home, lease, final=True)
        home.ledger.release(lease)
    finally:
        home.close()
    return sum(states(path).values())


def states(path: Path) -> dict[str, int]:
    """How many messages are in each state."""
    home = open_home(path)
    try:
        rows = home.ledger.frame(
            "SELECT state, count(*) FROM message GROUP BY state", {"state": pl.String, "n": pl.Int64}
        )
    finally:
        home.close()
    return dict(rows.iter_rows())


def sql(path: Path, statement: str, *params: object) -> list[tuple[object, ...]]:
    """Run one statement on the home's ledger."""
    home = open_home(path)
    try:
        with home.ledger.write() as tx:
            result = tx.exec_driver_sql(statement, params)
            return [tuple(row) for row in result.all()] if result.returns_rows else []
    finally:
        home.close()


def fence(path: Path) -> None:
    """What time does after a crash: every lease runs out."""
    sql(path, "UPDATE lease SET until = 0")


def stop_between_transactions(pid: int, path: Path) -> float:
    """Stop a process, but in none of its transactions: within one it would keep everybody from the ledger's file. One
    that has ended by itself is left alone. Gives when it was stopped: it may run on between two tries."""
    try:
        for _ in range(500):
            os.kill(pid, signal.SIGSTOP)
            at = time.time()
            wait_for(lambda: stands_still(pid))
            connection = sqlite3.connect(path / "data/ledger.sqlite", timeout=0.3)
            with contextlib.closing(connection), contextlib.suppress(sqlite3.OperationalError):
                connection.execute("BEGIN IMMEDIATE")
                return at
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.013)
    except ProcessLookupError:
        return time.time()
    raise AssertionError("it is always within a transaction")


def stands_still(pid: int) -> bool:
    """Whether each thread of a process is stopped: a signal is answered when a thread is on its way back to itself, and
    on a busy machine that takes its time."""
    try:
        states = [one.read_text().rpartition(")")[2].split()[0] for one in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # a thread has just ended
        return False
    if not states and Path("/proc/self").exists():
        return True  # it is gone
    time.sleep(0 if states else 0.3)
    return set(states) <= set("TXZ")


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def send(path: Path, stop: threading.Event | None = None) -> list[LaneReport]:
    """Run lanes on what is planned until they end."""
    home = open_home(path)
    try:
        home.reload()
        with Sending(home, stop or threading.Event()) as sending:
            sending.start()
            wait_for(lambda: not sending.busy())
        return sending.reports
    finally:
        home.close()


@contextmanager
def sending(path: Path, stop: threading.Event) -> Iterator[Sending]:
    """Lanes at work within the block; at its end they are stopped."""
    home = open_home(path)
    try:
        home.reload()
        with Sending(home, stop) as lanes:
            lanes.start()
            yield lanes
    finally:
        home.close()


def copies(box: Box) -> int:
    """The most copies that the sandbox accepted for one person and template."""
    return int(box.summary()["max_copies"]["per_person_and_template"])


@contextmanager
def process(*arguments: str, **more: str) -> Iterator["subprocess.Popen[str]"]:
    """A Python process of this environment; killed at the end if it still runs."""
    running = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pipelines.run"])  # a pass in a process of its own, without the seconds of importing


@contextmanager
def pass_process(path: Path) -> Iterator["multiprocessing.context.ForkServerProcess"]:
    """`run_pass` in a process of its own; killed at the end if it still runs."""
    running = _FORKS.Process(target=run_pass, args=(path, NOW))
    running.start()
    try:
        yield running
    finally:
        running.kill()
        running.join()
