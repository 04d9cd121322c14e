"""Gateways: which of a home's are at work, and which ended without a word.

What belongs here: the file that a gateway holds locked as long as it lives, and reading what became of it. The lock
goes with the process, however that ends; the file stays behind unless the end was in good order. It is told by
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
from pathlib import Path

FOLDER = "gateways"  # under data/
SEEN_SECONDS = 10.0  # between two signs that a gateway lives
KEPT, MOST_KEPT = 7 * 86_400, 20  # seconds for which files of those that ended are kept, and how many, for the next one
HEALED = 86_400  # seconds for which it is told that one ended and another took its place


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway: where it listens, when it began and was last seen (seconds since 1970), and whether it lives."""

    file: Path
    address: str
    began: float
    seen: float
    alive: bool


@contextmanager
def at_work(data: Path, address: str) -> Iterator[None]:
    """Within the block a gateway shows that it lives. Where that can't be written down, it works all the same."""
    over = threading.Event()
    file = data / FOLDER / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}.json"
    with contextlib.ExitStack() as stack:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _sweep(file.parent)
            held = stack.enter_context(file.open("x+"))
            fcntl.flock(held, fcntl.LOCK_EX)  # whoever reads it at this moment does so for a moment
            held.write(json.dumps({"address": address, "began": time.time()}))
            held.flush()
        except OSError:
            yield
            return
        threading.Thread(name="seen", target=_show, args=(file, over), daemon=True).start()
        try:
            yield
        finally:
            over.set()
            with contextlib.suppress(OSError):
                file.unlink()


def gateways(data: Path) -> list[Gateway]:
    """Those that live, and those that ended without a word, by address."""
    found = [one for file in (data / FOLDER).glob("*.json") if (one := _read(file)) is not None]
    return sorted(found, key=lambda one: (one.address, one.began))


def ended(data: Path, wall: float) -> list[tuple[Gateway, Gateway | None]]:
    """Those that ended without a word, each with the one that took its place: at the same address, or begun since.
    Where one did, it is told for a day."""
    known = gateways(data)
    living = [one for one in known if one.alive]
    found = []
    for one in known:
        if one.alive:
            continue
        heir = next((new for new in living if new.address == one.address or new.began >= one.seen), None)
        if heir is None or abs(wall - heir.began) < HEALED:
            found.append((one, heir))
    return found


def _read(file: Path) -> Gateway | None:
    """A gateway by its file; None where it is gone or half written."""
    try:
        with file.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
                alive = False
            except BlockingIOError:
                alive = True
            known = json.loads(held.read())
            return Gateway(file, str(known["address"]), float(known["began"]), os.fstat(held.fileno()).st_mtime, alive)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sweep(folder: Path) -> None:
    """Forget those that ended long ago, or too many."""
    over = [one for file in folder.glob("*.json") if (one := _read(file)) is not None and not one.alive]
    for place, one in enumerate(sorted(over, key=lambda one: -one.seen)):
        if place >= MOST_KEPT or time.time() - one.seen > KEPT:
            one.file.unlink(missing_ok=True)


def _show(file: Path, over: threading.Event) -> None:
    while not over.wait(SEEN_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(file)
