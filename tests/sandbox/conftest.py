"""A running sandbox per module, and a callback that notes what it gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sandbox import Config
from sandbox.testing import Box, running

NOON = "2026-12-01T12:00:00Z"


class Inbox:
    """A webhook endpoint. `answers` are the next status codes; after them always 200."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.answers: list[int] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = dict(part.split("=", 1) for part in self.path.partition("?")[2].split("&"))
                good = query.get("hub.verify_token") == "good" and query.get("hub.mode") == "subscribe"
                self._reply(200 if good else 403, query["hub.challenge"].encode() if good else b"no")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = inbox.answers.pop(0) if inbox.answers else 200
                inbox.got.append((body, {name.lower(): value for name, value in self.headers.items()}))
                self._reply(status, b"")

            def _reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhooks/whatsapp"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_box() -> Iterator[Box]:
    with running(Config(now=NOON, mode="manual", rate=0)) as box:
        yield box


@pytest.fixture
def box(shared_box: Box) -> Iterator[Box]:
    """A sandbox at noon that stands still, where nobody acts by themselves."""
    shared_box.reset()
    shared_box.clear_faults()
    yield shared_box
