"""HTTP/1.1 to one address: a request out, the whole answer back, and certainty about what left, and when.

What belongs here: connections, and one exchange on one of them. What is asked, and what an answer means, is `posting`.

An exchange writes its request whole, at one moment, on a connection that stands. So whoever sends knows when it left,
which pacing needs, and whether it left at all, which sending once needs; libraries tell neither. It is cheap besides:
CPU a message with TLS was 500 µs by aiohttp under httpx, and is a third of that. (Stock httpx falls to 46 requests a
second at 250 connections: its pool is quadratic.) Nothing is repeated or redirected here. Parsing is llhttp's.
"""

import asyncio
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast
from urllib.parse import unquote, urlsplit

import httptools

Made = TypeVar("Made", bound=asyncio.Protocol)

RESOLVED = 30.0
"""Seconds for which the addresses of a name are kept."""

LONGEST_ANSWER = 256 * 1024  # bytes; Meta's are some hundred


class NeverLeft(Exception):
    """There was no connection to write on: no byte of the request was written."""


class Broken(Exception):
    """The request was written, and no whole answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's HTTP status and body."""

    status: int
    body: bytes


def _nothing() -> None:
    return


class Exchange(Protocol):
    """What `posting` needs of a wire; tests may stand in."""

    async def exchange(self, request: bytes, written: Callable[[], object] = _nothing) -> Answer: ...

    async def aclose(self) -> None: ...


class Wire:
    """Connections to the host of `url`; belongs to one running loop. Not more than `connections` at once, each dropped
    after `idle` seconds without use; `patience`: seconds for a connection to stand. `proxy`: the address of an HTTP
    proxy that is asked for a tunnel."""

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        idle: float,
        patience: float,
        context: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._host, self._tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._idle_seconds, self._patience = idle, patience
        self._context, self._proxy = context, proxy
        self._places = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._resolving = asyncio.Lock()
        self._addresses: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._lookup = asyncio.get_running_loop().getaddrinfo
        self._swept = 0.0
        self._closed = False

    async def exchange(self, request: bytes, written: Callable[[], object] = _nothing) -> Answer:
        """Write `request` (head and body), call `written` at that moment, and give the answer.

        NeverLeft: no connection; `written` was not called. Broken: it was, and no whole answer came. A cancelled
        exchange closes its connection; it left if `written` was called.
        """
        async with self._places:
            connection = self._take() or await self._connect()
            if self._closed:
                connection.close()
                raise NeverLeft("closed")
            asked = connection.ask(request)
            written()
            try:
                return await asked
            finally:
                self._give_back(connection)

    async def aclose(self) -> None:
        """Close every connection; an exchange that is under way ends Broken."""
        self._closed = True
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)

    def _take(self) -> "_Connection | None":
        """The connection that was used last; those that were idle for long are closed."""
        now = time.monotonic()
        if now - self._swept > self._idle_seconds / 4:
            self._swept = now
            for connection in self._idle:  # the oldest first
                if now - connection.idle_since > self._idle_seconds:
                    connection.close()
            self._idle = [one for one in self._idle if one.usable]
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since <= self._idle_seconds:
                return connection
            connection.close()
        return None

    def _give_back(self, connection: "_Connection") -> None:
        if connection.usable:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    # -- connecting ----------------------------------------------------------------------------------------------------

    async def _connect(self) -> "_Connection":
        try:
            async with asyncio.timeout(self._patience):
                return await (self._tunnel(self._proxy) if self._proxy else self._direct())
        except TimeoutError:
            raise NeverLeft(f"no connection to {self._host} within {self._patience:g} s") from None
        except Exception as error:  # refused, DNS, TLS, the proxy: nothing was written, whatever it is
            raise NeverLeft(f"{type(error).__name__}: {error}".removesuffix(": ")) from error

    def _made(self) -> "_Connection":
        return _Connection(self._open)

    async def _direct(self) -> "_Connection":
        name = self._host if self._tls else None
        return await self._reach(self._host, self._port, self._made, self._context if self._tls else None, name)

    async def _tunnel(self, proxy: str) -> "_Connection":
        parts = urlsplit(proxy)
        if parts.scheme != "http" or not parts.hostname:
            raise OSError(f"a proxy of the kind {parts.scheme}:// is not supported, only http://")
        words = f"CONNECT {self._host}:{self._port} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            words += f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}\r\n"
        asked = await self._reach(parts.hostname, parts.port or 80, _Tunnel, None, None)
        try:
            transport = await asked.through(f"{words}\r\n".encode())
            connection = self._made()
            if self._tls:
                assert self._context is not None
                loop = asyncio.get_running_loop()
                secured = await loop.start_tls(transport, connection, self._context, server_hostname=self._host)
                assert secured is not None
                transport = secured
            else:
                transport.set_protocol(connection)
            connection.connection_made(transport)
            return connection
        except BaseException:
            asked.transport.abort()
            raise

    async def _reach(
        self, host: str, port: int, made: Callable[[], Made], context: ssl.SSLContext | None, name: str | None
    ) -> Made:
        """A connection to the first address of a name that takes one; it is the first to be tried from then on."""
        loop = asyncio.get_running_loop()
        addresses = await self._resolved(host, port)
        for place, address in enumerate(addresses):
            try:
                async with asyncio.timeout(self._patience / len(addresses)):
                    _, protocol = await loop.create_connection(made, address, port, ssl=context, server_hostname=name)
            except (OSError, TimeoutError):
                if place == len(addresses) - 1:
                    self._addresses.pop((host, port), None)
                    raise
            else:
                if place:
                    addresses.insert(0, addresses.pop(place))
                return protocol
        raise OSError(f"{host} has no address")

    async def _resolved(self, host: str, port: int) -> list[str]:
        async with self._resolving:
            at, found = self._addresses.get((host, port), (0.0, []))
            if not found or time.monotonic() - at > RESOLVED:
                infos = await self._lookup(host, port, type=socket.SOCK_STREAM)
                found = list(dict.fromkeys(str(info[4][0]) for info in infos))
                self._addresses[host, port] = (time.monotonic(), found)
            return found


class _Connection(asyncio.Protocol):
    """One connection: a request is answered before the next is written."""

    def __init__(self, register: "set[_Connection]") -> None:
        self.idle_since = 0.0
        self.usable = False
        self._register = register
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._asked: asyncio.Future[Answer] | None = None
        self._body: list[bytes] = []
        self._length = 0
        self._until_close = self._in_body = False

    def ask(self, request: bytes) -> "asyncio.Future[Answer]":
        """Write a request. The future gives its answer, or Broken."""
        self.usable = False
        self._asked = self._loop.create_future()
        self._begin()
        self._transport.write(request)
        return self._asked

    def close(self) -> None:
        self.usable = False
        self._transport.abort()  # nothing waits to be written

    # asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._register.add(self)

    def data_received(self, data: bytes) -> None:
        if self._asked is None or self._asked.done():  # nobody asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("the server changed the protocol")
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._fail(str(cause) if isinstance(cause, Broken) else f"an answer that is no HTTP ({error})")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._register.discard(self)
        if self._asked is not None and not self._asked.done():
            if error is None and self._in_body and self._until_close:
                self._answer()
            else:
                told = f"{type(error).__name__}: {error}" if error is not None else "the server hung up"
                self._asked.set_exception(Broken(told.removesuffix(": ")))

    # httptools'

    def on_message_begin(self) -> None:
        if self._asked is None or self._asked.done():
            raise Broken("an answer to nothing")  # the connection is given up: the next answer would be another's

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._until_close = False

    def on_headers_complete(self) -> None:
        self._in_body = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        self._length += len(body)
        if self._length > LONGEST_ANSWER:
            raise Broken(f"an answer of more than {LONGEST_ANSWER} bytes")
        self._body.append(body)

    def on_message_complete(self) -> None:
        if not self._in_body:  # 100 and the like: the answer is still to come
            self._begin()
            return
        keeps = self._parser.should_keep_alive() and not self._transport.is_closing()
        self._answer()
        self.usable = keeps

    def _begin(self) -> None:
        self._body, self._length, self._until_close, self._in_body = [], 0, True, False

    def _answer(self) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(Answer(self._parser.get_status_code(), b"".join(self._body)))

    def _fail(self, why: str) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(Broken(why))
        self.close()


class _Tunnel(asyncio.Protocol):
    """The first words with a proxy."""

    def __init__(self) -> None:
        self._heard = b""
        self._open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def through(self, words: bytes) -> asyncio.Transport:
        """Ask for the tunnel; gives the connection once it stands. OSError: the proxy said no."""
        self.transport.write(words)
        await self._open
        return self.transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if b"\r\n\r\n" in self._heard and not self._open.done():
            line = self._heard.split(b"\r\n", 1)[0].decode("latin-1")
            if line.split(" ")[1:2] == ["200"]:
                self._open.set_result(None)
            else:
                self._open.set_exception(OSError(f"the proxy said {line[:80]!r}"))
        elif len(self._heard) > LONGEST_ANSWER:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._open.done():
            self._open.set_exception(error or OSError("the proxy hung up"))
        with suppress(asyncio.InvalidStateError, OSError):  # nobody may be waiting any more
            self._open.exception()
