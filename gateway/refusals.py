"""What the gateway refuses, counted: for `/metrics`, and, where it is webhooks, written down for all who look.

What belongs here: counters in memory, from the start of the gateway on, and notes in the ledger: that deliveries are
refused (a wrong secret would otherwise show only in what does not come), and that requests are.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.store import Store

if TYPE_CHECKING:
    from resources.home import Home

NOTED = 60.0  # seconds between two notes: anybody may send what is refused, as often as they like
GATHERED = 15.0  # seconds for which refused requests are counted before they are written down
STRAYS = frozenset({404, 405})  # whoever looks for doors that are not there is nobody's trouble


class Refusals:
    """`webhooks`: deliveries by why they were refused; `answers`: answers of all doors by status, from 400 on."""

    def __init__(self, store: Store) -> None:
        self._store, self._noted_at = store, float("-inf")
        self._notes: set[asyncio.Task[None]] = set()
        self.webhooks: Counter[str] = Counter({"unsigned": 0, "signature": 0, "no_secret": 0, "not_kept": 0})
        self.answers: Counter[int] = Counter()
        self._gathered: Counter[int] = Counter()
        self._writing = False

    def answer(self, status: int) -> None:
        """A request is refused. Written down with those of the next seconds, behind the answer."""
        self.answers[status] += 1
        if status in STRAYS:
            return
        self._gathered[status] += 1
        if not self._writing and (self._store.path / "estafette.yaml").is_file():
            self._writing = True
            self._behind(self._note_answers())

    def webhook(self, kind: str, sentence: str) -> None:
        """A delivery is refused. Noted in the ledger now and then, behind the answer."""
        self.webhooks[kind] += 1
        if time.monotonic() - self._noted_at >= NOTED and (self._store.path / "estafette.yaml").is_file():
            self._noted_at = time.monotonic()
            self._behind(self._note(sentence, kind))

    def _behind(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _note_answers(self) -> None:
        await asyncio.sleep(GATHERED)
        counts, self._gathered, self._writing = self._gathered, Counter(), False

        def write(home: "Home") -> None:
            from resources.failures import note_requests

            with home.ledger.write() as tx:
                note_requests(tx, counts, home.wall())

        with contextlib.suppress(Exception):  # the numbers still tell
            await self._store.write(write)

    async def _note(self, sentence: str, kind: str) -> None:
        def write(home: "Home") -> None:
            from resources.failures import note_refused

            with home.ledger.write() as tx:
                note_refused(tx, home.wall(), sentence, kind)

        with contextlib.suppress(Exception):  # the numbers still tell
            await self._store.write(write)


class CountRefusals:
    """Counts answers that are refusals."""

    def __init__(self, app: ASGIApp, refusals: Refusals) -> None:
        self._app, self._refusals = app, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self._refusals.answer(message["status"])
            await send(message)

        await self._app(scope, receive, counting if scope["type"] == "http" else send)
