"""A web server on this machine that answers as a test says, and remembers what it was asked."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Page:
    """One answer. `length`: what Content-Length says (-1: nothing, and the body ends with the connection)."""

    content_type: str | None = "image/jpeg"
    body: bytes = b"\xff\xd8\xff"
    status: int = 200
    length: int | None = None
    head: int | None = None  # another status for HEAD
    location: str | None = None
    wait: float = 0.0
    ranges: bool = False


@dataclass
class MediaServer:
    """`pages` by path; what is not there is a 404. `asked` are (method, path, Host)."""

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    written: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _handler(found: Callable[[], MediaServer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            server = found()
            server.asked.append((self.command, self.path, self.headers["Host"]))
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                self._send(server, server.pages.get(self.path, Page("text/html", b"no", 404)))
            finally:
                server.at_once -= 1

        def _send(self, server: MediaServer, page: Page) -> None:
            time.sleep(page.wait)
            head = self.command == "HEAD"
            part = page.ranges and not head and "Range" in self.headers
            self.send_response(page.head if head and page.head else 206 if part else page.status)
            if page.content_type is not None:
                self.send_header("Content-Type", page.content_type)
            if page.location is not None:
                self.send_header("Location", page.location)
            whole = len(page.body) if page.length is None else page.length
            if part:
                self.send_header("Content-Range", f"bytes 0-0/{whole}")
                self.send_header("Content-Length", "1")
            elif whole >= 0:
                self.send_header("Content-Length", str(whole))
            self.end_headers()
            with suppress(OSError):
                if not head:
                    for start in range(0, len(page.body), 65_536):
                        self.wfile.write(page.body[start : start + 65_536])
                        server.written += 65_536

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def media_server() -> Iterator[MediaServer]:
    """A server for the block, on a free port of 127.0.0.1."""
    made: list[MediaServer] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: made[0]))
    server.daemon_threads = True
    made.append(MediaServer(server.server_address[1]))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made[0]
    finally:
        server.shutdown()
        server.server_close()
