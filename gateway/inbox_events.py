"""News for open pages of the inbox: server-sent events that say that something changed, never what.

What belongs here: one look at the ledger a second for all who listen, and the streams. What a mark is made of is
`resources.conversations.stamps`. A page has the mark of the moment it was made; one that gets another loads itself
again, and so nothing is missed between the page and its stream.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.answers import Refused
from gateway.store import Store, busy

if TYPE_CHECKING:
    from resources.home import Home

LOG = logging.getLogger(__name__)
EVERY = 1.0  # seconds between two looks
QUIET = 15.0  # seconds after which a stream says that it is still there
SENDING = 5.0  # seconds between two marks of the list that say only what became of messages; replies are told at once
LENGTH = 600.0  # seconds of a stream; the browser then asks again, and shows again who it is
MOST = 300  # streams
LIST = ""  # what whoever has the list open listens to; else a contact's id


class Watch:
    """Looks for changes while somebody listens."""

    def __init__(self, store: Store, every: float = EVERY) -> None:
        self._store, self._every = store, every
        self._listening: Counter[str] = Counter()
        self._marks: dict[str, str] = {}
        self._round = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._ended = False
        self.looks = 0

    async def mark(self, key: str) -> str:
        """The mark of the list or of a contact, now."""
        return (await self._look([key]))[key]

    def answer(self, key: str) -> StreamingResponse:
        """A stream of marks. Refused (503): too many listen."""
        if self._listening.total() >= MOST:
            raise busy("Too many pages listen.")
        return _Stream(self, key)

    def end(self) -> None:
        """Ends all streams, so that the server does not wait for them."""
        self._ended = True
        self._round.set()

    @contextlib.contextmanager
    def joined(self, key: str) -> Iterator[None]:
        """Have changes of `key` looked for."""
        self._listening[key] += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._run())
        try:
            yield
        finally:
            self._listening[key] -= 1
            if not self._listening[key]:
                del self._listening[key]
                self._marks.pop(key, None)

    async def stream(self, key: str) -> AsyncIterator[str]:
        """The text of a stream: each new mark, and the first."""
        loop = asyncio.get_running_loop()
        began = spoke = loop.time()
        said: str | None = None
        yield "retry: 3000\n\n"
        while not self._ended and loop.time() - began < LENGTH:
            mark = self._marks.get(key)
            if mark is not None and mark != said and (loop.time() - spoke >= SENDING or _is_news(key, mark, said)):
                said, spoke = mark, loop.time()
                yield f"event: mark\ndata: {mark}\n\n"
            elif loop.time() - spoke >= QUIET:
                spoke = loop.time()
                yield ": here\n\n"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._round.wait(), QUIET)

    async def _run(self) -> None:
        while self._listening and not self._ended:
            try:
                self._marks = await self._look(list(self._listening))
                self.looks += 1
            except Refused:  # the ledger is busy: the next look will say
                pass
            except Exception:  # nobody's page stands still for what somebody else listens to
                LOG.exception("looking for news of the inbox failed; the next look comes in a second")
            done, self._round = self._round, asyncio.Event()
            done.set()
            await asyncio.sleep(self._every)

    async def _look(self, keys: list[str]) -> dict[str, str]:
        contacts = [key for key in keys if key != LIST]
        of_list, of_contacts = await self._store.glance(lambda home: _stamps(home, contacts))
        return {key: of_list if key == LIST else of_contacts[key] for key in keys}


class _Stream(StreamingResponse):
    """A stream that is looked for exactly as long as it is open."""

    def __init__(self, watch: Watch, key: str) -> None:
        super().__init__(watch.stream(key), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._watch, self._key = watch, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._watch.joined(self._key):
            await super().__call__(scope, receive, send)


def _is_news(key: str, mark: str, said: str | None) -> bool:
    """Whether a mark that changed is to be told at once."""
    return said is None or key != LIST or mark.partition(".")[0] != said.partition(".")[0]


def _stamps(home: "Home", contacts: list[str]) -> tuple[str, dict[str, str]]:
    from resources.conversations import stamps

    with home.ledger.read() as tx:
        return stamps(tx, contacts)
