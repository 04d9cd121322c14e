"""CPU and memory of processes as the system counts them (`/proc`, Linux).

What belongs here: a process with all that it starts is a session of its own (`start_new_session=True`); this looks at
all processes of a session, also those whose parents never wait for them.
"""

import contextlib
import os
import threading
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Session:
    """Watches a session (`alone`: only the process of that id): `cpu()` seconds so far, `peak` bytes of memory
    (proportional, so that what processes share counts once). A process that ends between two looks keeps what it had
    at the last."""

    def __init__(self, leader: int, every: float = 0.5, *, alone: bool = False) -> None:
        self.leader, self.every, self.alone = leader, every, alone
        self.peak = 0
        self._cpu: dict[int, float] = {}
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def cpu(self) -> float:
        """CPU seconds of the session until now."""
        self._look()
        return sum(self._cpu.values())

    def by_process(self) -> dict[int, float]:
        """CPU seconds by process."""
        self._look()
        return dict(self._cpu)

    def memory(self) -> int:
        return sum(proportional(pid) for pid in self._members())

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self._look()
            self.peak = max(self.peak, self.memory())

    def _look(self) -> None:
        with self._lock:
            self._cpu |= self._members()

    def _members(self) -> dict[int, float]:
        return members(self.leader, alone=self.alone)


def members(leader: int, *, alone: bool = False) -> dict[int, float]:
    """CPU seconds of each process of a session that lives; `alone`: of that process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if (int(folder.name) if alone else int(fields[3])) == leader:
                found[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def threads(leader: int) -> dict[str, tuple[float, float]]:
    """Seconds that each thread of a session has run, and has been ready to run without a core."""
    found = {}
    for pid in members(leader):
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                ran, waited, _ = file.read_text().split()
                found[str(file)] = (int(ran) / 1e9, int(waited) / 1e9)
    return found


def proportional(pid: int) -> int:
    """The memory of a process in bytes, what it shares divided among those who share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
