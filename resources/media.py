"""Whether Meta could fetch the media of messages: many addresses, a few at a time, and not for longer than a while.

What belongs here: `MediaChecks`, which remembers what it has seen. A single look is `media_fetch`; what becomes of a
message whose media is in trouble is `pipelines.media`.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

import httpx

from journey.media import MEGABYTE
from resources.media_fetch import CONNECT, READ, Allowance, Resolve, Trouble, look, resolve

PARALLEL = 24
EACH, ALL = 8.0, 15.0  # seconds for one address; and for all of them in a pass
READ_AT_MOST = 64 * MEGABYTE  # in a pass, of files whose servers don't say their size
GOOD_FOR, BAD_FOR = 600.0, 60.0  # seconds of wall; Meta itself keeps a file for ten minutes
GIVE_UP = 3  # silences in a row, after which a server is not asked again in the same call
REMEMBERED = 100_000

NOT_IN_TIME = Trouble("there was no time to look at it yet")


class MediaChecks:
    """Looks at addresses, each once in ten minutes while it is good and once a minute while it is not.

    `wall` is real time in seconds. Of one home, for one thread at a time.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, *, resolve: Resolve = resolve, seconds: float = ALL
    ) -> None:
        self._wall, self._resolve, self._seconds = wall, resolve, seconds
        self._known: dict[tuple[str, str, bool], tuple[float, Trouble | None]] = {}
        self._left = seconds
        self._allowance = Allowance(READ_AT_MOST)

    def begin(self) -> None:
        """A new pass: the time and the bytes that looking may take begin again."""
        self._left, self._allowance = self._seconds, Allowance(READ_AT_MOST)

    def troubles(self, kind: str, urls: Iterable[str], *, allow_private: bool) -> dict[str, Trouble]:
        """Of these addresses of `kind` (image, video, document), those that Meta could not fetch, and why.

        What there was no time for is among them, as NOT_IN_TIME, and is looked at by the next call.
        """
        now = self._wall()
        found: dict[str, Trouble] = {}
        unknown: list[str] = []
        for url in dict.fromkeys(urls):
            seen = self._known.get((kind, url, allow_private))
            if seen is None or not 0 <= now - seen[0] < (GOOD_FOR if seen[1] is None else BAD_FOR):
                unknown.append(url)
            elif seen[1] is not None:
                found[url] = seen[1]
        if unknown:
            if len(self._known) + len(unknown) > REMEMBERED:
                self._known.clear()
            looked = self._look(kind, unknown, allow_private)
            self._known |= {(kind, url, allow_private): (now, trouble) for url, trouble in looked.items()}
            found |= {url: trouble for url in unknown if (trouble := looked.get(url, NOT_IN_TIME)) is not None}
        return found

    def _look(self, kind: str, urls: list[str], allow_private: bool) -> dict[str, Trouble | None]:
        """As many as there is time for. The loop has a thread of its own, because who asks may have one already; a name
        server that hangs holds up that thread only."""
        looked: dict[str, Trouble | None] = {}
        began, seconds = time.monotonic(), self._left
        if seconds <= 0:
            return looked
        looking = _Looking(kind, urls, allow_private, self._resolve, self._allowance, looked)
        thread = threading.Thread(target=lambda: asyncio.run(looking.all(seconds)), name="media", daemon=True)
        thread.start()
        thread.join(seconds + 0.5)
        self._left -= time.monotonic() - began
        return dict(looked)


class _Looking:
    """One call's looks, PARALLEL at a time, with their results in `looked`."""

    def __init__(
        self,
        kind: str,
        urls: list[str],
        allow_private: bool,
        resolve: Resolve,
        allowance: Allowance,
        looked: dict[str, Trouble | None],
    ) -> None:
        self.kind, self.allow_private, self.looked = kind, allow_private, looked
        self.resolve, self.allowance = resolve, allowance
        self.todo = iter(urls)
        self.silent: Counter[str] = Counter()

    async def all(self, seconds: float) -> None:
        timeout = httpx.Timeout(READ, connect=CONNECT)
        limits = httpx.Limits(max_connections=PARALLEL, max_keepalive_connections=0)
        context = httpx.create_ssl_context()
        async with httpx.AsyncClient(timeout=timeout, limits=limits, verify=context, trust_env=False) as client:
            workers = [asyncio.create_task(self._work(client)) for _ in range(PARALLEL)]
            _, late = await asyncio.wait(workers, timeout=seconds)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, client: httpx.AsyncClient) -> None:
        for url in self.todo:
            self.looked[url] = await self._one(client, url)

    async def _one(self, client: httpx.AsyncClient, url: str) -> Trouble | None:
        host = url.partition("://")[2].partition("/")[0]
        if self.silent[host] >= GIVE_UP:
            return Trouble(f"{host} does not answer", silent=True)
        try:
            async with asyncio.timeout(EACH):
                trouble = await look(
                    client,
                    self.kind,
                    url,
                    allow_private=self.allow_private,
                    allowance=self.allowance,
                    resolve=self.resolve,
                )
        except TimeoutError:
            trouble = Trouble(f"it did not come within {EACH:.0f} seconds", silent=True)
        self.silent[host] = self.silent[host] + 1 if trouble is not None and trouble.silent else 0
        return trouble
