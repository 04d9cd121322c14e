"""Who gets in: tokens for the API.

What belongs here: whether a request may pass, and how often. Tokens are made and revoked by `estafette tokens`.

Tokens are kept in memory for a second, so that a request costs no look at the ledger; one that was revoked is refused
within that time. Limits are kept in memory too: they begin anew with the gateway. Wrong tokens are limited by address,
right ones by their name, so that nobody who guesses shuts out a system that shares the address.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from fastapi import Request

from gateway.answers import Refused
from gateway.log import Clock
from gateway.store import Store
from journey.clock import to_us
from resources.sessions import network_of

if TYPE_CHECKING:
    from resources.access import Token
    from resources.home import Home

KNOWN_FOR = 1.0  # seconds
ANEW = 0.25  # seconds; a token that is not known may have been made just now
NOTED = 60.0  # seconds between two notes of when a token was used
RATE, BURST = 50.0, 100.0  # requests a second of one token, and how many may come at once
WRONG_RATE, WRONG_BURST = 1 / 30, 30.0  # wrong tokens of one address: so many at once, then one every 30 s
ADDRESSES = 10_000  # whose wrong tokens are counted; who came first is forgotten first
LONGEST = 500  # characters of an Authorization header
PASSED_ON = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded", "via")
"""What proxies add to a request."""


@dataclass(slots=True)
class _Bucket:
    """What a token may still ask for, or an address with wrong ones."""

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
        self._wrong: OrderedDict[str, _Bucket] = OrderedDict()
        self._looking = asyncio.Lock()
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def token(self, request: Request) -> str:
        """The name of the token that a request brings (`Authorization: Api TOKEN`, or `Bearer`). Refused: there is none
        (401), it is unknown or revoked (401), it asks too often, or too many wrong ones came from its address (429)."""
        from resources.access import find_token

        offered = _offered(request)
        found = find_token(await self._tokens(KNOWN_FOR), offered)
        if found is None:
            self._limit_wrong(request)
            found = find_token(await self._tokens(ANEW), offered)
        if found is None:
            raise Refused(401, "This token is unknown, or was revoked.", unread=True)
        bucket = self._buckets.setdefault(found.name, _Bucket(self._burst))
        wait = bucket.take(self._rate, self._burst)
        if wait:
            raise _too_many(f"a token may make {self._rate:g} a second", wait)
        self._note(found.name)
        return found.name

    def _limit_wrong(self, request: Request) -> None:
        """Refused (429): too many tokens that nobody knows came from this address. The ledger is not asked then."""
        address = network_of(request.client.host if request.client else "")
        bucket = self._wrong.setdefault(address, _Bucket(WRONG_BURST))
        if len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)
        wait = bucket.take(WRONG_RATE, WRONG_BURST)
        if wait:
            raise _too_many("too many wrong tokens came from this address", wait)

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


def offers_token(request: Request) -> bool:
    """Whether a request brings a token at all, right or wrong."""
    return "authorization" in request.headers


def is_near(request: Request) -> bool:
    """Whether somebody on this machine asks, and no proxy on it for somebody else: all that a proxy passes on comes
    from here too."""
    if any(name in request.headers for name in PASSED_ON):
        return False
    try:
        found = ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    return found.is_loopback


def _too_many(why: str, wait: float) -> Refused:
    seconds = int(wait) + 1
    return Refused(429, f"Too many requests: {why}. Try again in {seconds} s.", unread=True, retry_after=seconds)


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
