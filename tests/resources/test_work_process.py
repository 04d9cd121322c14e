"""A process that works for another: what it hands back, what ends it, and that nothing of it is left."""

import os
import threading
import time
from pathlib import Path

import pytest

from journey.problems import SegmentError
from resources import work_process
from resources.work_process import Ended, WorkProcess

LIMITS = {"seconds": 30.0, "growth": 4 << 30}


@pytest.fixture
def process():
    made = WorkProcess()
    yield made
    made.end()


def refuse(what: str) -> None:
    raise SegmentError(what, where="segments/it.sql:2", mend="Mend it")


def grow(size: int) -> int:
    held = bytearray(size)
    for place in range(0, size, 4096):
        held[place] = 1
    time.sleep(60)
    return len(held)


def outlive(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)


def die() -> None:
    os.kill(os.getpid(), 9)


def hold(size: int) -> int:
    work_process.held = b"1" * size  # type: ignore[attr-defined]
    return os.getpid()


def lack() -> None:
    raise MemoryError


def ask_and_be_killed(file: str) -> None:
    """As a pass that is killed in the middle of a segment; the process that runs this is the pass."""
    inner = WorkProcess()
    threading.Thread(target=lambda: inner.ask(outlive, file, **LIMITS), daemon=True).start()
    while not Path(file).exists():
        time.sleep(0.02)
    os._exit(9)


def is_there(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_one_process_does_one_thing_after_the_other(process):
    first = process.ask(os.getpid, **LIMITS)
    assert first not in (os.getpid(), 0)
    assert process.ask(os.getpid, **LIMITS) == first


def test_an_error_comes_back_as_it_was_and_the_process_goes_on(process):
    before = process.ask(os.getpid, **LIMITS)
    with pytest.raises(SegmentError) as found:
        process.ask(refuse, "wrong", **LIMITS)
    assert (str(found.value), found.value.where) == ("segments/it.sql:2: wrong. Mend it", "segments/it.sql:2")
    assert process.ask(os.getpid, **LIMITS) == before


def test_what_takes_too_long_is_ended_and_the_next_work_finds_another(process):
    before = process.ask(os.getpid, **LIMITS)
    with pytest.raises(Ended, match=r"longer than 0.2 s"):
        process.ask(time.sleep, 60, seconds=0.2, growth=4 << 30)
    assert not is_there(before)
    assert process.ask(os.getpid, **LIMITS) != before


def test_what_grows_too_much_is_ended(process):
    with pytest.raises(Ended, match=r"more than 0.2 GB"):
        process.ask(grow, 400 << 20, seconds=30.0, growth=200 << 20)


def test_a_process_that_dies_of_its_work_takes_nobody_along(process):
    with pytest.raises(Ended, match=r"has ended \(signal 9\)"):
        process.ask(die, **LIMITS)
    assert process.ask(int, "7", **LIMITS) == 7


def test_memory_that_it_lacks_is_not_lacking_to_whoever_asks(process):
    with pytest.raises(Ended, match=r"has ended \(exit 1\)"):
        process.ask(lack, **LIMITS)


def test_where_somebody_interrupts_no_answer_is_taken_for_another(process, monkeypatch):
    first = process.ask(os.getpid, **LIMITS)
    with monkeypatch.context() as patch:
        patch.setattr(process, "_wait", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            process.ask(int, "2", **LIMITS)
    assert process.ask(int, "3", **LIMITS) == 3
    assert not is_there(first)


def test_it_ends_with_whoever_asked(process, tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(Ended, match=r"exit 9"):
        process.ask(ask_and_be_killed, str(file), **LIMITS)
    pid, deadline = int(file.read_text()), time.monotonic() + 20
    while is_there(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_there(pid)


def test_it_has_no_secrets_of_the_environment(process, monkeypatch):
    monkeypatch.setenv("WHATSAPP_TOKEN", "secret")
    monkeypatch.setenv("ESTAFETTE_LEDGER_URL", "secret")
    assert [process.ask(os.getenv, one, **LIMITS) for one in ("WHATSAPP_TOKEN", "ESTAFETTE_LEDGER_URL")] == [None, None]
    assert process.ask(os.getenv, "PATH", **LIMITS) == os.environ["PATH"]


def test_where_memory_runs_short_the_system_ends_it_first(process):
    assert process.ask(Path.read_text, Path("/proc/self/oom_score_adj"), **LIMITS) == "1000\n"


def test_one_that_holds_much_memory_is_not_kept(process, monkeypatch):
    first = process.ask(os.getpid, **LIMITS)
    assert process.ask(hold, 600 << 20, **LIMITS) == first
    assert process.ask(os.getpid, **LIMITS) != first
