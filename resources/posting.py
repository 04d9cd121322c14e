"""Meta's Cloud API, the sending half: the one POST that sends a message.

What belongs here: one request on the wire, and the certainty about what of it left. When a message goes out, at which
pace and what follows from the answer is the dispatcher's room. There are no retries here: the API has no idempotency
key, and a repeated POST is a second message.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from contextvars import ContextVar
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from pydantic import SecretStr

from journey.outcome import Action, Failure, Outcome, decide
from resources.cloud_api import CONNECT_TIMEOUT, base_of, checked_token, is_loopback, retry_after

POST_TIMEOUT = 15.0  # seconds for one POST from start to end; a lease must outlast it before a POST begins
CONNECTIONS = 512  # of one Sender; whoever posts keeps fewer than this in flight
# Idle connections are dropped before a server drops them (uvicorn: 5 s): a POST on a dying one ends unknown.
IDLE = 3.0
LONGEST_ANSWER = 256 * 1024

_left: ContextVar[Callable[[], object] | None] = ContextVar("left", default=None)
"""Who wants to know when the request of this task is written: it may first wait for a connection, for a while."""


class Sender:
    """Posts messages: the hot path. Belongs to one running asyncio loop; close it there.

    Stock httpx falls to 46 requests a second with 250 connections (its pool is quadratic). So httpx's request goes
    straight to a transport on aiohttp, which holds 1,000 a second; `httpx.MockTransport` serves in tests. uvloop, which
    halves the CPU, is for the caller to install.
    """

    def __init__(
        self,
        base_url: str,
        version: str,
        token: SecretStr,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        connections: int = CONNECTIONS,
        timeout: float = POST_TIMEOUT,
    ) -> None:
        self._base, self._host = base_of(base_url, version)
        self._token, self._connections, self._timeout = checked_token(token), connections, timeout
        self._headers = [
            ("Host", urlsplit(self._base).netloc),
            ("Authorization", f"Bearer {self._token}"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "estafette"),
        ]
        connect = min(CONNECT_TIMEOUT, timeout / 2)  # so that the whole never ends while connecting
        self._extensions = {"timeout": {"connect": connect, "pool": connect, "read": timeout, "write": timeout}}
        self._urls: dict[str, httpx.URL] = {}
        self._closed = False
        self._transport = transport or self._aiohttp()

    def __repr__(self) -> str:
        return f"Sender({self._base!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self._closed = True
        await self._transport.aclose()

    async def post(self, phone_number_id: str, body: bytes | str, left: Callable[[], object] | None = None) -> Outcome:
        """Posts one message body (JSON) once. Raises nothing but CancelledError, after which the message is unknown.

        `left` is called at the moment at which the request is written to its connection, for who keeps a pace; a
        transport that stands in for ours does not call it.

        `not_sent` only where it is certain that no byte of the request was written; see `_never_left`.
        """
        if self._closed:
            return decide(None, None, Failure.not_written)
        request = httpx.Request(
            "POST", self._url(phone_number_id), headers=self._headers, content=body, extensions=self._extensions
        )
        _left.set(left)  # the caller's task is this message's
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._transport.handle_async_request(request)
                answer = await _answer(response)
        except Exception as error:
            failure = Failure.not_written if _never_left(error) else Failure.broken
            return dataclasses.replace(decide(None, None, failure), details=self._clean(self._told(error)))
        outcome = decide(response.status_code, answer)
        if outcome.action in (Action.slow_down, Action.retry_soon):
            outcome = dataclasses.replace(outcome, wait=retry_after(response) or None)
        if outcome.details and self._token in outcome.details:
            outcome = dataclasses.replace(outcome, details=self._clean(outcome.details))
        return outcome

    def _told(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        told = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error  # see `_never_left`
        return f"{type(told).__name__}: {told}".removesuffix(": ")

    def _url(self, phone_number_id: str) -> httpx.URL:
        url = self._urls.get(phone_number_id)
        if url is None:  # parsing an address costs as much as the rest of the request
            url = self._urls[phone_number_id] = httpx.URL(f"{self._base}/{phone_number_id}/messages")
        return url

    def _aiohttp(self) -> httpx.AsyncBaseTransport:
        context = httpx.create_ssl_context()

        def session() -> aiohttp.ClientSession:  # made at the first request: it needs the running loop
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=IDLE, ssl=context)
            jar = aiohttp.DummyCookieJar()
            return aiohttp.ClientSession(connector=connector, cookie_jar=jar, trace_configs=[_traced()])

        return AiohttpTransport(verify=context, client=session, proxy=_proxy(self._base, self._host))

    def _clean(self, text: str) -> str:
        return text.replace(self._token, "…")[:1_000]


def _traced() -> aiohttp.TraceConfig:
    """Tells `left` of each request, in the step in which aiohttp writes head and body together."""

    async def written(*_: object) -> None:
        left = _left.get()
        if left is not None:
            left()

    config = aiohttp.TraceConfig()
    config.on_request_chunk_sent.append(written)
    return config


def _never_left(error: Exception) -> bool:
    """Whether an error says for certain that no byte of the request was written.

    httpx_aiohttp names every error of a connection `ConnectTimeout`, also a server that hung up after reading the whole
    request. Going by the httpx name would send twice, so the error underneath decides where there is one.
    """
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientError | TimeoutError):
        return isinstance(
            cause,
            aiohttp.ClientConnectorError  # refused, DNS, TLS, the proxy's door
            | aiohttp.ConnectionTimeoutError
            | aiohttp.ClientHttpProxyError
            | aiohttp.InvalidURL,
        )
    never = httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError | httpx.UnsupportedProtocol
    return isinstance(error, never | aiohttp.ClientHttpProxyError)


async def _answer(response: httpx.Response) -> bytes | None:
    """The body of an answer; None where it is longer than any of Meta's."""
    chunks, length = [], 0
    try:
        async for chunk in response.aiter_bytes():
            chunks.append(chunk)
            length += len(chunk)
            if length > LONGEST_ANSWER:
                return None
        return b"".join(chunks)
    finally:
        with contextlib.suppress(Exception):  # what was read counts, however the connection ends
            await response.aclose()


def _proxy(base: str, host: str) -> httpx.Proxy | None:
    """The proxy that the environment names for an address, as the synchronous client finds it by itself."""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    found = proxies.get(urlsplit(base).scheme) or proxies.get("all")
    return httpx.Proxy(found) if found else None
