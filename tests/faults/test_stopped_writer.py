"""A process that is stopped in the middle of writing to the ledger keeps everybody else from it, and is named."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from estafette import doctor, status
from estafette.cli import app
from journey.problems import LedgerError
from resources.ledger import Ledger
from resources.lock_holder import lock_holder
from tests.faults.killing import FORKS
from tests.pipelines.sending_home import open_home, sql, stands_still, wait_for, write_home

linux = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system lists no locks of files")


def write_and_wait(home: Path, began: Path) -> None:
    opened = open_home(home)
    with opened.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE meta SET value = '99' WHERE name = 'epoch'")
        began.touch()
        time.sleep(120)


@contextmanager
def writing(home: Path, *, stopped: bool) -> Iterator[BaseProcess]:
    """A process in the middle of a write, which goes no further."""
    began = home / "began"
    one = FORKS.Process(target=write_and_wait, args=(home, began))
    one.start()
    try:
        wait_for(began.exists)
        if stopped:
            os.kill(one.pid or 0, signal.SIGSTOP)
            wait_for(lambda: stands_still(one.pid or 0))
        yield one
    finally:
        one.kill()
        one.join()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = write_home(tmp_path / "home", "http://127.0.0.1:9", people=2)
    open_home(path).reload()
    return path


@linux
def test_whoever_can_not_write_is_told_which_process_is_stopped_in_the_middle_of_it(home: Path) -> None:
    opened = open_home(home)
    opened.ledger.patience = 0.3
    with writing(home, stopped=True) as other:
        with pytest.raises(LedgerError) as met, opened.ledger.write():
            pass
        assert met.value.message.startswith(f"process {other.pid} (")
        assert Path(sys.executable).name in met.value.message, "its command"
        assert "is stopped in the middle of writing to the ledger" in met.value.message
        assert f"kill -KILL {other.pid}" in met.value.mend
        assert "nothing is lost" in met.value.mend
        other.kill()
        other.join()
        with opened.ledger.write():
            pass
    opened.close()
    assert sql(home, "SELECT value FROM meta WHERE name = 'epoch'") == [("1",)], "what it had not finished is undone"


@linux
def test_one_that_hangs_without_being_stopped_is_named_too(home: Path) -> None:
    opened = open_home(home)
    assert opened.ledger.blocked(0.2) is None
    with writing(home, stopped=False) as other:
        found = opened.ledger.blocked(0.2)
        assert found is not None
        assert f"process {other.pid} " in found.message
        assert "has been writing" in found.message
    assert opened.ledger.blocked(0.2) is None
    opened.close()


@linux
def test_commands_say_who_keeps_the_ledger_and_how_to_end_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "BLOCKED_SECONDS", 0.2)
    monkeypatch.setattr(doctor, "BLOCKED_SECONDS", 0.2)
    monkeypatch.setattr("resources.ledger.BUSY_MS", 300)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["--home", str(home), *arguments])
        return done.output or str(done.exception)  # `main` prints it, as everything that we foresaw

    assert json.loads(run("--json", "status"))["blocked"] is None
    with writing(home, stopped=True) as other:
        assert json.loads(run("--json", "status"))["blocked"]["message"].startswith(f"process {other.pid} (")
        shown = " ".join(run("status").split())
        assert f"Blocked: process {other.pid}" in shown
        assert f"kill -CONT {other.pid}" in shown
        lines = json.loads(run("--json", "doctor"))["lines"]
        found = [one for one in lines if one["what"] == "ledger"]
        assert [one["level"] for one in found] == ["FAIL"]
        assert f"process {other.pid} (" in found[0]["found"]
        assert f"kill -KILL {other.pid}" in found[0]["mend"]
        assert f"process {other.pid} (" in run("stop", "offer_main")


def test_a_lease_is_kept_through_a_while_in_which_nobody_can_write(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from estafette.lease import passing

    monkeypatch.setattr("resources.alive.LEASE_SECONDS", 0.3)
    opened = open_home(home)
    opened.ledger.patience = 0.1
    with passing(opened.ledger, "a test", print) as lease:
        sql(home, "UPDATE lease SET until = until - 25000000 WHERE name = 'pass'")
        with writing(home, stopped=False):
            time.sleep(0.5)
        before = sql(home, "SELECT until FROM lease WHERE name = 'pass'")
        wait_for(lambda: sql(home, "SELECT until FROM lease WHERE name = 'pass'") != before)
        with opened.ledger.write(lease):
            pass
    opened.close()


# -- looking -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path: Path) -> tuple[Path, Path, str]:
    """A /proc of our own, a ledger, and its file as /proc/locks writes it."""
    ledger = tmp_path / "ledger.sqlite"
    Ledger.open(ledger).close()
    shared = ledger.with_name("ledger.sqlite-shm")
    shared.touch()
    (tmp_path / "proc/41").mkdir(parents=True)
    (tmp_path / "proc/41/cmdline").write_bytes(b"python\0-m\0estafette\0tick\0")
    (tmp_path / "proc/41/stat").write_text("41 (a ) name) T 1 2 3")
    found = shared.stat()
    return tmp_path / "proc", ledger, f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("1: POSIX  ADVISORY  WRITE 41 {file} 120 120", True),
        ("1: POSIX  ADVISORY  WRITE 41 {file} 120 127", True),
        ("1: POSIX  ADVISORY  WRITE 41 {file} 0 EOF", True),
        ("1: POSIX  ADVISORY  READ 41 {file} 120 120", False),
        ("1: POSIX  ADVISORY  WRITE 41 {file} 121 121", False),
        ("1: -> POSIX  ADVISORY  WRITE 41 {file} 120 120", False),
        ("1: POSIX  ADVISORY  WRITE 41 ff:ff:{inode} 120 120", False),
        ("1: POSIX  ADVISORY  WRITE 0 {file} 120 120", False),
        ("1: OFDLCK ADVISORY  WRITE -1 {file} 120 120", False),
        ("of another kind altogether", False),
        ("", False),
    ],
)
def test_the_lock_of_whoever_writes_is_told_from_all_others(
    proc: tuple[Path, Path, str], line: str, known: bool
) -> None:
    folder, ledger, file = proc
    (folder / "locks").write_text(
        "1: FLOCK  ADVISORY  WRITE 7 00:1a:1 0 EOF\n" + line.format(file=file, inode=file.split(":")[2])
    )
    found = lock_holder(ledger, folder)
    assert (found is not None) == known
    if found is not None:
        assert (found.pid, found.command, found.stopped) == (41, "python -m estafette tick", True)


def test_where_nothing_can_be_seen_nobody_is_named(proc: tuple[Path, Path, str], tmp_path: Path) -> None:
    folder, ledger, file = proc
    assert lock_holder(ledger, folder) is None
    assert lock_holder(tmp_path / "no.sqlite", folder) is None
    (folder / "locks").write_text(f"1: POSIX  ADVISORY  WRITE 42 {file} 120 120")
    found = lock_holder(ledger, folder)
    assert found is not None and (found.pid, found.command, found.stopped) == (42, "", False)
