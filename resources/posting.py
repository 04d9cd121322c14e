"""Meta's Cloud API, the sending half: the one POST that sends a message.

What belongs here: one request as Meta wants it, and the certainty about what of it left. Connections are `wire`; when a
message goes out, at which pace and what follows from the answer is the dispatcher's room. There are no retries here:
the API has no idempotency key, and a repeated POST is a second message.
"""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from pydantic import SecretStr

from journey.outcome import Failure, Outcome, decide
from resources.cloud_api import CONNECT_TIMEOUT, base_of, checked_token, is_loopback
from resources.wire import Exchange, NeverLeft, Wire

POST_TIMEOUT = 15.0  # seconds for one POST from start to end; a lease must outlast it before a POST begins
CONNECTIONS = 512  # of one Sender; whoever posts keeps fewer than this in flight
# Idle connections are dropped before a server drops them (uvicorn: 5 s): a POST on a dying one ends unknown.
IDLE = 3.0


class Sender:
    """Posts messages: the hot path. Belongs to one running asyncio loop; close it there. `wire` stands in for the
    network in tests. uvloop, which halves the CPU, is for the caller to install."""

    def __init__(
        self,
        base_url: str,
        version: str,
        token: SecretStr,
        *,
        wire: Exchange | None = None,
        connections: int = CONNECTIONS,
        timeout: float = POST_TIMEOUT,
    ) -> None:
        self._base, self._host = base_of(base_url, version)
        self._token, self._connections, self._timeout = checked_token(token), connections, timeout
        self._heads: dict[str, bytes] = {}
        self._closed = False
        self._wire = wire or self._wired()

    def __repr__(self) -> str:
        return f"Sender({self._base!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self._closed = True
        await self._wire.aclose()

    async def post(self, phone_number_id: str, body: bytes | str, left: Callable[[], object] = lambda: None) -> Outcome:
        """Posts one message body (JSON) once; `left` is called at the moment at which it is written. Raises nothing
        but CancelledError, after which the message is unknown.

        `not_sent` only where it is certain that no byte of the request was written.
        """
        if self._closed:
            return decide(None, None, Failure.not_written)
        content = body.encode() if isinstance(body, str) else body
        written = False

        def now() -> None:
            nonlocal written
            written = True
            left()

        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._wire.exchange(self._head(phone_number_id) % len(content) + content, now)
        except Exception as error:
            never = isinstance(error, NeverLeft) or (isinstance(error, TimeoutError) and not written)
            failure = Failure.not_written if never else Failure.broken
            return dataclasses.replace(decide(None, None, failure), details=self._clean(self._told(error)))
        outcome = decide(answer.status, answer.body)
        if outcome.details and self._token in outcome.details:
            outcome = dataclasses.replace(outcome, details=self._clean(outcome.details))
        return outcome

    def _told(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        return str(error) or type(error).__name__

    def _head(self, phone_number_id: str) -> bytes:
        """The request up to its body, with a place for the length."""
        head = self._heads.get(phone_number_id)
        if head is None:
            path = httpx.URL(f"{self._base}/{phone_number_id}/messages").raw_path.replace(b"%", b"%%")
            lines = [
                b"POST %s HTTP/1.1" % path,
                b"Host: %s" % self._host.encode("idna"),
                b"Authorization: Bearer %s" % self._token.encode().replace(b"%", b"%%"),
                b"Content-Type: application/json",
                b"Accept: application/json",
                b"Accept-Encoding: identity",
                b"User-Agent: estafette",
                b"Content-Length: %d",
            ]
            head = self._heads[phone_number_id] = b"\r\n".join(lines) + b"\r\n\r\n"
        return head

    def _wired(self) -> Wire:
        connect = min(CONNECT_TIMEOUT, self._timeout / 2)  # so that the whole never ends while connecting
        return Wire(
            self._base,
            connections=self._connections,
            idle=IDLE,
            patience=connect,
            context=httpx.create_ssl_context() if self._base.startswith("https:") else None,
            proxy=_proxy(self._base, self._host),
        )

    def _clean(self, text: str) -> str:
        return text.replace(self._token, "…")[:1_000]


def _proxy(base: str, host: str) -> str | None:
    """The proxy that the environment names for an address, as the synchronous client finds it by itself."""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    return proxies.get(urlsplit(base).scheme) or proxies.get("all")
