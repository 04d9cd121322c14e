"""The lock holder: which process is in the middle of writing to the ledger, while others wait for it.

What belongs here: finding it, and saying what to do about it. SQLite lets one process write at a time, for as long as
it takes: one that was stopped, or stands in a debugger, between BEGIN and COMMIT keeps everybody else waiting for ever.
Nothing can take the lock from it but its end, so it must at least have a name.

Linux lists the locks of files in /proc/locks; elsewhere nobody is named. Looking opens none of the ledger's files.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WRITE_LOCK = 120
"""The byte of the file `-shm` that SQLite locks for whoever writes (WAL_WRITE_LOCK, "WAL-mode file format")."""

PROC = Path("/proc")
STOPPED = frozenset("Tt")  # by a signal, by a debugger
LONGEST_COMMAND = 120


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A process in the middle of writing. `command` is empty where it is not ours to see; `stopped`: it does nothing
    until somebody lets it go on."""

    pid: int
    command: str
    stopped: bool


def lock_holder(ledger: Path, proc: Path = PROC) -> LockHolder | None:
    """Who is in the middle of writing to a ledger's file at this moment, but this process; None where nobody is, or
    where it can't be seen."""
    try:
        shared = ledger.with_name(f"{ledger.name}-shm").stat()
        listed = (proc / "locks").read_text(encoding="utf-8")
    except OSError:
        return None
    for pid, device in _write_locks(listed, shared.st_ino):
        if pid not in (0, os.getpid()) and (device == shared.st_dev or _has_open(proc, pid, shared)):
            return LockHolder(pid, _command(proc, pid), _state(proc, pid) in STOPPED)
    return None


def blocked_by(holder: LockHolder | None, seconds: float) -> tuple[str, str]:
    """(what is wrong, what to do) where nobody else could write for so many seconds."""
    if holder is None:
        return (
            f"the ledger could not be written for {seconds:.0f} seconds: somebody else is in the middle of it",
            "Look for a process of Estafette's that is stopped or hangs and end it: nothing is lost; then try again",
        )
    who = f"process {holder.pid}" + (f" ({holder.command})" if holder.command else "")
    if holder.stopped:
        return (
            f"{who} is stopped in the middle of writing to the ledger, and nobody else can write",
            f"Let it go on (kill -CONT {holder.pid}) or end it (kill -KILL {holder.pid}): nothing is lost,"
            " the next pass does what it did not",
        )
    return (
        f"{who} has been writing to the ledger for {seconds:.0f} seconds, and nobody else can",
        f"Where it hangs, end it (kill -KILL {holder.pid}): nothing is lost, the next pass does what it did not",
    )


def _write_locks(listed: str, inode: int) -> Iterator[tuple[int, int]]:
    """(process, device) of each write lock on the byte, of files with this inode. A line is
    `1: POSIX  ADVISORY  WRITE 828 fe:00:5392594 120 120`; whoever waits has `->` behind the number."""
    for line in listed.splitlines():
        with contextlib.suppress(ValueError):
            _, kind, _, access, pid, file, first, last = line.split()
            major, minor, number = file.split(":")
            if (kind, access, int(number)) != ("POSIX", "WRITE", inode):
                continue
            if int(first) <= WRITE_LOCK and (last == "EOF" or int(last) >= WRITE_LOCK):
                yield int(pid), os.makedev(int(major, 16), int(minor, 16))


def _has_open(proc: Path, pid: int, shared: os.stat_result) -> bool:
    """Whether a process has this very file open: some file systems (btrfs) have a device of their own for `stat`."""
    with contextlib.suppress(OSError):
        for one in (proc / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(one.stat(), shared):
                    return True
    return False


def _command(proc: Path, pid: int) -> str:
    with contextlib.suppress(OSError):
        words = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        text = " ".join(" ".join(words).split())
        return text if len(text) <= LONGEST_COMMAND else f"{text[: LONGEST_COMMAND - 1]}…"
    return ""


def _state(proc: Path, pid: int) -> str:
    """`R`, `S`, `T`…; empty where it can't be seen. The name before it is in brackets, and may hold anything."""
    with contextlib.suppress(OSError):
        return (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    return ""
