"""Connections: how many there may be, and what one may send before there is a request for a door.

What belongs here: limits that no door can set, because it is not asked yet. uvicorn gives a request's head any time and
any length; here both are bounded, so that whoever opens connections and drips into them, or never ends a header, holds
neither. The limits of bodies are `gateway.answers`.
"""

import asyncio
import contextlib
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT = 30.0  # seconds from a connection, or from the first byte of a request, until the head is there
LONGEST_HEAD = 64 * 1024  # bytes of request line and headers, and of whatever in a body is none of it
OVERHEAD = 8  # bytes that a byte of a body may cost besides: a chunk of one byte costs five
MOST_CONNECTIONS = 4_000  # beyond it requests are answered 503
MOST_FILES = 16_384
SPARE_FILES = 200  # open files that are no connection: logs, the ledger, the lake


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which ends where a head is late or too long."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0  # requests that began on this connection
        self._open = False  # one has begun, and is not at its end
        self._body = self._beside = 0  # bytes of it: of its body, and of all else

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        began, was_open = self._began, self._open
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_open and began == self._began:
            self._beside += len(data)
            if self._beside > LONGEST_HEAD + OVERHEAD * self._body:
                self._end("The head of the request is too long.")
                return
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        else:
            self._stop_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._began, self._open = self._began + 1, True
        self._body = self._beside = 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._body += len(body)
        self._beside -= len(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._open = False

    def _unsupported_upgrade_warning(self) -> None:
        """Nobody here speaks anything but HTTP/1.1; that somebody offers it is no news for the log."""

    def _expect_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT, self._is_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self._end("The head of the request did not come in time.")

    def _end(self, sentence: str) -> None:
        """Ends the connection, with a sentence where nothing was answered yet."""
        if self._open and (self.cycle is None or self.cycle.response_complete or not self.cycle.response_started):
            self.send_400_response(sentence)
        else:
            self.transport.close()


def most_connections() -> int:
    """How many connections there may be, by how many files this process may have open."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(50, min(MOST_CONNECTIONS, files - SPARE_FILES))


def take_files() -> None:
    """Have this process open as many files as it is allowed to, within reason: 256 or 1,024 are usual at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
