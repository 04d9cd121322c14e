"""A process that works for this one, and can be ended where it takes too much.

What belongs here: starting it, handing it work, its limits, and the loop in it. What it works at is for whoever asks.

It starts with the first work and serves until whoever asked is gone, or until it was ended: it keeps nothing between
two pieces of work. Its memory and its faults are its own: where the system runs short, it goes first.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LOOK = 0.1  # seconds between two looks at its memory
KEPT = 512 << 20
"""Bytes that it may hold when it has nothing to do; beyond that it ends, and the next work starts another."""

KEPT_FROM = ("WHATSAPP_", "ESTAFETTE_")
"""What begins so in the environment may be a secret, and is nothing to it."""

_ROOT = Path(__file__).resolve().parent.parent
_CODE = "import sys; sys.path[:] = {path!r}; from resources.work_process import serve; serve({fd}, {parent})"


class Ended(Exception):
    """The process was ended, or ended by itself, before it had an answer; says why."""


class TookLonger(Ended):
    """It was given so much time and no more."""


class WorkProcess:
    """One such process, for one piece of work at a time."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._of = 0
        atexit.register(self.end)

    def ask(self, work: Callable[..., Any], *arguments: Any, seconds: float, growth: int) -> Any:
        """What `work` returns, or raises; a function of a module, whose arguments and answer can be pickled.

        Ended: it took longer than `seconds` or made the process grow by more than `growth` bytes, and is no more.
        """
        with self._asking:
            return self._ask((work, arguments), seconds, growth)

    def _ask(self, asked: tuple[Callable[..., Any], tuple[Any, ...]], seconds: float, growth: int) -> Any:
        line, child = self._started()
        try:
            try:
                line.send(asked)
            except OSError:  # it has ended meanwhile
                self.end()
                line, child = self._started()
                line.send(asked)
            self._wait(line, child, seconds, growth)
            good, goes_on, answer = line.recv()
        except (EOFError, OSError):
            code = child.wait()
            self.end()
            raise Ended(f"the process that works at it has ended ({_told(code)})") from None
        except BaseException:  # also where somebody interrupts: what it answers later is no answer to another question
            self.end()
            raise
        if not goes_on:
            self.end()
        if not good:
            raise answer
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        child, line, mine = self._child, self._line, self._of == os.getpid()
        self._child = self._line = None
        if line is not None:
            line.close()
        if child is not None and mine:
            child.kill()
            child.wait()

    def _started(self) -> tuple[Connection, "subprocess.Popen[bytes]"]:
        child, line = self._child, self._line
        if child is not None and line is not None and self._of == os.getpid() and child.poll() is None:
            return line, child
        self.end()
        mine, other = Pipe()
        path = [str(_ROOT), *sys.path]
        code = _CODE.format(path=path, fd=other.fileno(), parent=os.getpid())
        with other:
            self._child = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if os.environ.get("ESTAFETTE_DEBUG") else subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env={name: value for name, value in os.environ.items() if not name.startswith(KEPT_FROM)},
            )
        self._line, self._of = mine, os.getpid()
        return mine, self._child

    def _wait(self, line: Connection, child: "subprocess.Popen[bytes]", seconds: float, growth: int) -> None:
        deadline, before = time.monotonic() + seconds, resident(child.pid)
        while not line.poll(max(0.0, min(LOOK, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                self.end()
                raise TookLonger(f"it took longer than {seconds:g} s")
            if resident(child.pid) - before > growth:
                self.end()
                raise Ended(f"it needs more than {growth / (1 << 30):.2g} GB of memory")


def resident(pid: int | str) -> int:
    """Bytes of memory that a process holds; 0 where the system does not say (then time alone limits)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def serve(fd: int, parent: int) -> None:
    """In the process: work, until there is nobody to work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks is interrupted too, and ends it
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with Connection(fd) as line, contextlib.suppress(EOFError, OSError):
        while True:
            work, arguments = line.recv()
            try:
                good, answer = True, work(*arguments)
            except MemoryError:
                raise  # its own, and not that of whoever asked
            except Exception as error:
                good, answer = False, error
            line.send((good, resident("self") <= KEPT, answer))


def _end_with(parent: int) -> None:
    """Work that is long does not outlive whoever asked for it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _told(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"signal {-code}"
