"""Who gets in: tokens for the API.

What belongs here: whether a request may pass. Tokens are made and revoked by `estafette tokens`.

Tokens are kept in memory for a second, so that a request costs no look at the ledger; one that was revoked is refused
within that time.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request

from gateway.answers import Refused
from gateway.log import Clock
from gateway.store import Store
from journey.clock import to_us

if TYPE_CHECKING:
    from resources.access import Token
    from resources.home import Home

KNOWN_FOR = 1.0  # seconds
ANEW = 0.25  # seconds; a token that is not known may have been made just now
NOTED = 60.0  # seconds between two notes of when a token was used
RATE, BURST = 50.0, 100.0  # requests a second of one token, and how many may come at once
LONGEST = 500  # characters of an Authorization header


@dataclass(slots=True)
class _Bucket:
    """What a token may still ask for."""

    left: float = BURST
    at: float = field(default_factory=time.monotonic)

    def take(self, rate: float, burst: float) -> float:
        """Take one; gives the seconds to wait where there is none (0: taken)."""
        now = time.monotonic()
        self.left, self.at = min(burst, self.left + (now - self.at) * rate), now
        if self.left < 1:
            return (1 - self.left) / rate
        self.left -= 1
        return 0.0


class Access:
    """Who may pass. `rate` and `burst` are for each token."""

    def __init__(self, store: Store, clock: Clock, rate: float = RATE, burst: float = BURST) -> None:
        self._store, self._clock, self._rate, self._burst = store, clock, rate, burst
        self._known: list[Token] = []
        self._known_at = float("-inf")
        self._buckets: dict[str, _Bucket] = {}
        self._looking = asyncio.Lock()
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def token(self, request: Request) -> str:
        """The name of the token that a request brings (`Authorization: Api TOKEN`, or `Bearer`). Refused: there is none
        (401), it is unknown or revoked (401), it asks too often (429)."""
        from resources.access import find_token

        offered = _offered(request)
        found = find_token(await self._tokens(KNOWN_FOR), offered) or find_token(await self._tokens(ANEW), offered)
        if found is None:
            raise Refused(401, "This token is unknown, or was revoked.", unread=True)
        bucket = self._buckets.setdefault(found.name, _Bucket(self._burst))
        wait = bucket.take(self._rate, self._burst)
        if wait:
            seconds = int(wait) + 1
            sentence = f"Too many requests: a token may make {self._rate:g} a second. Try again in {seconds} s."
            raise Refused(429, sentence, unread=True, retry_after=seconds)
        self._note(found.name)
        return found.name

    async def _tokens(self, age: float) -> "list[Token]":
        async with self._looking:
            began = time.monotonic()
            if began - self._known_at > age:
                self._known = await self._store.glance(_listed)
                self._known_at = began
            return self._known

    def _note(self, name: str) -> None:
        """Have it written down that a token is used, now and then, without waiting for it."""
        now = time.monotonic()
        if now - self._noted.get(name, float("-inf")) < NOTED:
            return
        self._noted[name] = now
        task = asyncio.get_running_loop().create_task(self._write_note(name, to_us(self._clock())))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _write_note(self, name: str, now: int) -> None:
        def change(home: "Home") -> None:
            from resources.access import note_use

            with home.ledger.write() as tx:
                note_use(tx, name, now)

        with contextlib.suppress(Refused):
            await self._store.write(change)


async def api_token(request: Request) -> str:
    """The name of the token of a request to the API; a dependency of FastAPI. Refused as `Access.token`."""
    access: Access = request.app.state.access
    return await access.token(request)


def _offered(request: Request) -> str:
    header = request.headers.get("authorization", "")
    scheme, _, token = header.strip().partition(" ")
    if not header:
        raise Refused(401, "A token is wanted: send the header `Authorization: Api TOKEN`.", unread=True)
    if scheme.lower() not in ("api", "bearer") or not token.strip() or len(header) > LONGEST:
        raise Refused(401, "The header Authorization is not `Api TOKEN` (or `Bearer TOKEN`).", unread=True)
    return token.strip()


def _listed(home: "Home") -> "list[Token]":
    from resources.access import list_tokens

    with home.ledger.read() as tx:
        return list_tokens(tx)
