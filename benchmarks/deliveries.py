"""Meta's side of the webhooks: deliveries of statuses, signed, and a client that posts them as fast as they are taken.

What belongs here: bodies, and connections that post one after the other. It is no part of what is measured, so it is
thin: raw HTTP/1.1 on connections that stay.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

SECRET = "benchmark-secret"
PATH = "/webhooks/whatsapp"


@dataclass(frozen=True, slots=True)
class Status:
    """One status of one message; `at` in seconds since 1970."""

    wamid: str
    status: str
    at: int
    callback: str


def delivery(statuses: Sequence[Status], number: str) -> bytes:
    """The body of a delivery, as Meta writes one."""
    rows = [
        {
            "id": one.wamid,
            "status": one.status,
            "timestamp": str(one.at),
            "recipient_id": "33600000000",
            "biz_opaque_callback_data": one.callback,
            "conversation": {"id": "c0ffee", "origin": {"type": "marketing"}},
            "pricing": {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "marketing"},
        }
        for one in statuses
    ]
    metadata = {"display_phone_number": "15550783881", "phone_number_id": number}
    value = {"messaging_product": "whatsapp", "metadata": metadata, "statuses": rows}
    entry = {"id": "102290129340398", "changes": [{"value": value, "field": "messages"}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}, separators=(",", ":")).encode()


def signed(body: bytes) -> bytes:
    """The whole request."""
    signature = hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Posted:
    """What became of the requests: how many were answered with 200, how many otherwise, and how long each took."""

    taken: int = 0
    refused: int = 0
    seconds: list[float] = field(default_factory=list)


class Poster:
    """Posts what is in `waiting` on `connections` connections; what is refused, or not answered, is posted again."""

    def __init__(self, url: str, connections: int) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._connections = parts.hostname or "", parts.port or 80, connections
        self.waiting: deque[bytes] = deque()
        self.posted = Posted()
        self._free: list[_Connection] = []
        self._all: list[_Connection] = []
        self._wanted = asyncio.Event()

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
            self._free.append(connection)
            self._all.append(connection)

    def add(self, request: bytes) -> None:
        self.waiting.append(request)
        self.go()

    def go(self) -> None:
        while self.waiting and self._free:
            self._free.pop().post(self.waiting.popleft())

    @property
    def done(self) -> bool:
        return not self.waiting and len(self._free) == len(self._all)

    def free(self, connection: "_Connection") -> None:
        self._free.append(connection)
        self.go()


class _Connection(asyncio.Protocol):
    """One request at a time; answers are short and come whole."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster
        self._request = b""

    def post(self, request: bytes) -> None:
        self._request, self._began = request, time.perf_counter()
        self._transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        posted = self._poster.posted
        posted.seconds.append(time.perf_counter() - self._began)
        if data.startswith(b"HTTP/1.1 200"):
            posted.taken += 1
        else:
            posted.refused += 1
            self._poster.waiting.append(self._request)
        self._poster.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._request:
            self._poster.waiting.append(self._request)
