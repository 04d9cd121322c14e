"""Connections: how many there may be, and what one may send before there is a request for a door.

What belongs here: limits that no door can set, because it is not asked yet, or has answered. uvicorn gives a request's
head any time and any length, and an answer any time to be taken; here they are bounded, so that whoever opens
connections and drips into them, never ends a header, or asks and does not read, holds nothing. The limits of bodies are
`gateway.answers`.
"""

import array
import asyncio
import contextlib
import fcntl
import resource
import socket
import struct
import termios
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_TIMEOUT = 30.0  # seconds from a connection, or from the first byte of a request, until the head is there
LONGEST_HEAD = 64 * 1024  # bytes of request line and headers, and of whatever in a body is none of it
OVERHEAD = 8  # bytes that a byte of a body may cost besides: a chunk of one byte costs five
READ_TIMEOUT = 20.0  # seconds in which somebody who is answered must have taken `LEAST_READ` of it, or all
LEAST_READ = 16 * 1024  # bytes; what the system holds for a connection comes on top
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
        self._head = 0  # bytes of its address and headers
        self._answering: RequestResponseCycle | None = None  # requests that came behind it wait
        self._reading: asyncio.TimerHandle | None = None
        self._untaken = 0  # bytes of answers that were not taken when last looked
        self._taken = False  # nearly all was taken since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._reading is not None:
            self._reading.cancel()
        self._is_gone()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_reading()

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
        self._body = self._beside = self._head = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count_head(len(name) + len(value) + 4)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._body += len(body)
        self._beside -= len(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._open = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _count_head(self, more: int) -> None:
        """A head that came whole is as long as one that drips. ValueError, which the parser makes a 400 of."""
        self._head += more
        if self._head > LONGEST_HEAD:
            raise ValueError("the head of the request is too long")

    def _is_gone(self) -> None:
        """Tell whoever answers that nobody is there. uvicorn tells it to the request that came last, which may wait
        behind the one that is answered; that one would write to a connection which is closed."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

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

    def _expect_reading(self) -> None:
        """Look from now on whether what is answered is taken. A connection that is closed ends only then."""
        if self._reading is None and self.transport.get_write_buffer_size():
            self._untaken, self._taken = self._waits(), False
            self._reading = self.loop.call_later(READ_TIMEOUT, self._look_at_reading)

    def _look_at_reading(self) -> None:
        self._reading = None
        if self.transport.get_write_buffer_size() and not self._taken and self._waits() > self._untaken - LEAST_READ:
            with contextlib.suppress(OSError):  # the system is not to keep its part either
                self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._is_gone()
            self.transport.abort()
            return
        self._expect_reading()

    def _waits(self) -> int:
        """Bytes that were answered and not taken yet, with those that the system holds, where it says how many: it
        takes more of them only when a third of its room is free, which is a megabyte."""
        held = array.array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._socket().fileno(), termios.TIOCOUTQ, held)
        return self.transport.get_write_buffer_size() + held[0]

    def _socket(self) -> socket.socket:
        found: socket.socket = self.transport.get_extra_info("socket")
        return found

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
