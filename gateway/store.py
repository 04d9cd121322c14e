"""The gateway's way to what a project home keeps: its ledger, its lake, its files.

What belongs here: opening them when they are first needed, and asking them in threads, so that no door waits for a
disk or a lock on the server's own loop. What is asked stands with each door.

Polars and the project's readers are imported here, inside functions: the gateway listens before they are loaded.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway.answers import Refused
from gateway.log import Clock

if TYPE_CHECKING:
    from journey.problems import EstafetteError
    from resources.home import Home
    from resources.project import Project

T = TypeVar("T")

WAIT = 10.0  # seconds for an answer; a reader waits for no writer, a writer for a bulk transaction of a pass
LOOK = 1.0  # seconds between two looks at the project's files
AGAIN = 600.0  # seconds after which they are read again although none has changed: a time in them may be over
FOLDERS = ("campaigns", "segments", "templates", "rates")
QUICK, READERS, WRITERS, COUNTERS = 2, 6, 2, 2  # threads; whoever follows a link stands behind nobody's report
COUNTING = 30.0  # seconds that the counting for a page may take


class Store:
    """A home, open for the gateway. `clock` gives the present in UTC."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock = path, clock
        self._quick = ThreadPoolExecutor(QUICK, "gateway-quick")
        self._readers = ThreadPoolExecutor(READERS, "gateway-read")
        self._writers = ThreadPoolExecutor(WRITERS, "gateway-write")
        self._counters = ThreadPoolExecutor(COUNTERS, "gateway-count")
        self._opening = threading.Lock()
        self._home: Home | None = None
        self._file: tuple[int, int] | None = None
        self._reading = threading.Lock()
        self._project: Project | None = None
        self._state: object = None
        self._read_at = self._looked_at = float("-inf")

    async def glance(self, look: "Callable[[Home], T]", wait: float = WAIT) -> T:
        """`read`, for one row by its key."""
        return await self._ask(self._quick, look, wait)

    async def read(self, look: "Callable[[Home], T]", wait: float = WAIT) -> T:
        """What `look` finds, asked in a thread. Refused (503): the ledger can't be read, or not in time."""
        return await self._ask(self._readers, look, wait)

    async def write(self, change: "Callable[[Home], T]", wait: float = WAIT) -> T:
        """What `change` gives, in a thread; it opens its own transaction. Refused (503) as for `read`: then it is not
        known whether the change was made, so it must be one that can be made again."""
        return await self._ask(self._writers, change, wait)

    async def count(self, look: "Callable[[Home], T]", wait: float = COUNTING) -> T:
        """As `read`, for what may take seconds: a page that counts stands in the way of other such pages only."""
        return await self._ask(self._counters, look, wait)

    async def _ask(self, threads: ThreadPoolExecutor, ask: "Callable[[Home], T]", wait: float) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(wait):
                return await loop.run_in_executor(threads, self._asked, ask)
        except TimeoutError:
            raise busy("The ledger is busy.") from None

    def _asked(self, ask: "Callable[[Home], T]") -> T:
        import sqlalchemy as sa

        from journey.problems import EstafetteError
        from resources.disk_trouble import disk_trouble

        try:
            return ask(self.home())
        except EstafetteError as error:
            raise (Refused(503, sentence(error), retry_after=60) if error.mend else busy(sentence(error))) from error
        except (sa.exc.DBAPIError, OSError) as error:
            trouble = disk_trouble(error)
            if trouble is not None:
                raise Refused(503, sentence(trouble), retry_after=60) from error
            if isinstance(error, OSError):
                raise
            raise busy(f"The ledger can't be used now ({error.orig}).") from error

    def home(self) -> "Home":
        """The home, its ledger open; in a thread. Where its file was replaced (a restore), it is opened again."""
        from resources.home import Home

        with self._opening:
            known = self._home
            if known is not None and known.secrets.ledger_url is None and self._file != _identity(known.paths.ledger):
                known.close()
                known = self._home = None
            if known is None:
                if not (self.path / "estafette.yaml").is_file():
                    raise busy(f"There is no estafette.yaml in {self.path}.")
                known = Home(self.path)
                _ = known.ledger
                self._home, self._file = known, _identity(known.paths.ledger)
            return known

    def project(self, home: "Home") -> "Project":
        """The project's files as they are, read again when one of them, or what is known of contacts, has changed; in a
        thread. Refused (503): `estafette.yaml` can't be used."""
        from resources.project import Project

        with self._reading:
            now = time.monotonic()
            if self._project is None or now - self._looked_at >= LOOK:
                types, loaded = home.contacts.types(), home.contacts.loaded()
                state = (_files(self.path), sorted(types.items()), loaded)
                if self._project is None or state != self._state or now - self._read_at >= AGAIN:
                    self._project = Project.load(self.path, properties=types, contacts_loaded=loaded, now=self.clock())
                    self._state, self._read_at = state, now
                self._looked_at = time.monotonic()
            project = self._project
        if project.settings_or_none is None:
            raise busy("estafette.yaml can't be used; `estafette check` says why.")
        return project

    def warm(self) -> None:
        """Loads what the first request would wait for; in a thread, once the gateway listens."""
        with contextlib.suppress(Exception):  # whoever asks will be told
            import journey.event_rows
            import journey.request_rows  # noqa: F401
            from resources.home import Home

            if (self.path / "estafette.yaml").is_file() and Home(self.path).has_ledger():
                self.project(self.home())

    def close(self) -> None:
        """At the end of the gateway."""
        self._quick.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)
        self._counters.shutdown(cancel_futures=True)
        self._writers.shutdown()
        if self._home is not None:
            self._home.close()


def sentence(error: "EstafetteError") -> str:
    """An error as sentences: what is wrong, and what to do."""
    what = f"{error.message[:1].upper()}{error.message[1:]}."
    return f"{what} {error.mend.rstrip('.')}." if error.mend else what


def busy(sentence: str) -> Refused:
    """503: come again."""
    return Refused(503, f"{sentence} Try again in a few seconds.", retry_after=5)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _files(home: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file that a project is read from."""
    found: list[tuple[str, int, int]] = []
    for path in (home / "estafette.yaml", *(one for name in FOLDERS for one in _listed(home / name))):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
