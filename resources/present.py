"""Present: which gateways and daemons of a home are at work, and which gateways ended without a word.

What belongs here: the file that such a process holds locked as long as it lives, and reading what became of it. The
lock goes with the process, however that ends; the file stays behind unless the end was in good order. It is told by
`status`, `doctor` and whatever other gateway the home has: a page can't say that nobody shows it.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

GATEWAYS, DAEMONS = "gateways", "daemons"  # under data/
MADE = ".new"  # the name's end until the file is whole
SEEN_SECONDS = 10.0  # between two signs that a gateway lives
KEPT, MOST_KEPT = 7 * 86_400, 20  # seconds for which files of those that ended are kept, and how many, for the next one
TWO_SECONDS = 60.0  # for which two daemons ask beside each other before it is told: one may be making room
GONE_SECONDS = 120.0  # for which no daemon asks before it is told: one that is started anew takes twenty
HEALED = 86_400  # seconds for which it is told that one ended and another took its place


@dataclass(frozen=True, slots=True)
class Present:
    """One process: where it listens, or who it is; when it began and was last seen (seconds since 1970), and whether it
    lives."""

    file: Path
    address: str
    began: float
    seen: float
    alive: bool


@contextmanager
def at_work(data: Path, address: str) -> Iterator[None]:
    """Within the block a gateway shows that it lives. Where that can't be written down, it works all the same."""
    over = threading.Event()
    file, held = _hold(data / GATEWAYS, address)
    if file is None or held is None:
        yield
        return
    with held:
        threading.Thread(name="seen", target=_show, args=(file, over), daemon=True).start()
        try:
            yield
        finally:
            over.set()
            with contextlib.suppress(OSError):
                file.unlink()


def asks(data: Path) -> None:
    """A daemon's code server asks for passes: it shows that it lives from the first time on, for as long as it does.
    The daemon is its parent, and has another one each minute."""
    file, _ = _held(data / DAEMONS, f"{socket.gethostname()}:{os.getppid()}")
    if file is not None:
        with contextlib.suppress(OSError):
            os.utime(file)


def present(folder: Path) -> list[Present]:
    """Those that live, and those that ended without a word, by address."""
    found = [one for file in folder.glob("*.json") if (one := _read(file)) is not None]
    return sorted(found, key=lambda one: (one.address, one.began))


def daemons(data: Path, wall: float) -> list[str]:
    """The daemons (host:process) that ask for passes now, where there are several of them for a while."""
    known = present(data / DAEMONS)
    now = sorted({one.address for one in known if one.alive and wall - one.seen < 2 * SEEN_SECONDS})
    began = {name: min(one.began for one in known if one.address == name) for name in now}
    return now if len(now) > 1 and all(wall - at > TWO_SECONDS for at in began.values()) else []


def asked(data: Path, wall: float) -> float | None:
    """When a daemon last asked for passes, where none does any more; None: one does, or none ever did."""
    known = present(data / DAEMONS)
    if not known or any(one.alive for one in known):
        return None
    last = max(one.seen for one in known)
    return last if wall - last > GONE_SECONDS else None


def ended(data: Path, wall: float) -> list[tuple[Present, Present | None]]:
    """The gateways that ended without a word, each with the one that took its place: at the same address, or begun
    since. Where one did, it is told for a day."""
    known = present(data / GATEWAYS)
    living = [one for one in known if one.alive]
    found = []
    for one in known:
        if one.alive:
            continue
        heir = next((new for new in living if new.address == one.address or new.began >= one.seen), None)
        if heir is None or abs(wall - heir.began) < HEALED:
            found.append((one, heir))
    return found


def _hold(folder: Path, address: str) -> tuple[Path | None, IO[str] | None]:
    """A new file in the folder, locked and whole from the moment on at which it is there; nothing where there can be
    none."""
    file = folder / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}.json"
    made = file.with_suffix(MADE)
    held: IO[str] | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        held = made.open("x+")
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(json.dumps({"address": address, "began": time.time()}))
        held.flush()
        made.rename(file)
    except OSError:
        if held is not None:
            with contextlib.suppress(OSError):
                held.close()
        return None, None
    return file, held


_held = lru_cache(None)(_hold)  # until the process ends


def _read(file: Path) -> Present | None:
    """A process by its file; None where it is gone or half written."""
    try:
        with file.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
                alive = False
            except BlockingIOError:
                alive = True
            known = json.loads(held.read())
            return Present(file, str(known["address"]), float(known["began"]), os.fstat(held.fileno()).st_mtime, alive)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sweep(folder: Path) -> None:
    """Forget those that ended long ago, or too many."""
    over = [one for file in folder.glob("*.json") if (one := _read(file)) is not None and not one.alive]
    for made in folder.glob(f"*{MADE}"):  # of one that ended while it made it
        with contextlib.suppress(OSError):  # whole by now
            if time.time() - made.stat().st_mtime > TWO_SECONDS:
                made.unlink()
    for place, one in enumerate(sorted(over, key=lambda one: -one.seen)):
        if place >= MOST_KEPT or time.time() - one.seen > KEPT:
            one.file.unlink(missing_ok=True)


def _show(file: Path, over: threading.Event) -> None:
    while not over.wait(SEEN_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(file)
