"""A Cloud API that only takes messages and says when each came: cheap enough to stand beside a sender on two cores.

What belongs here: the server (`python -m benchmarks.cloud`, a process of its own) and `Cloud`, which starts one and
asks it. It speaks TLS with a certificate of its own making, stamps each request with the monotonic clock when its last
byte is there, and answers after a fixed latency. It checks nothing; the strict one is `sandbox`. It runs at a raised
priority where it may: its stamps are to tell when a request came, not when it found the time to look.

What is asked of it goes over the same door: `GET /_count`, `/_stamps`, `/_statuses`.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks.harness import ROOT
from benchmarks.statuses_back import Back
from sandbox.limits import SECOND, busiest_second

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
NUMBER = re.compile(rb"POST /[^/]+/([0-9]+)/messages ")
CALLBACK = re.compile(rb'"biz_opaque_callback_data":"([^"]+)"')
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
ACCEPTED = (
    b'{"messaging_product":"whatsapp","contacts":[{"input":"","wa_id":"33600000000"}],'
    b'"messages":[{"id":"wamid.%d","message_status":"accepted"}]}'
)


@dataclass(frozen=True, slots=True)
class Stamps:
    """When messages came (monotonic nanoseconds, in order), by number; `copies`: the most of one callback id;
    `statuses`: what was posted back."""

    numbers: dict[str, list[int]]
    copies: int
    statuses: dict[str, float]

    @property
    def all(self) -> list[int]:
        return sorted(stamp for stamps in self.numbers.values() for stamp in stamps)


class Cloud:
    """A running server, as others see it."""

    def __init__(self, url: str, certificate: Path, process: "subprocess.Popen[str]") -> None:
        self.url, self.certificate, self.process = url, certificate, process
        self._context = ssl.create_default_context(cafile=str(certificate))
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )

    def count(self) -> int:
        """How many messages have come."""
        return int(self._get("count"))

    def statuses(self) -> dict[str, float]:
        """What was posted back: made, deliveries, refused, waiting."""
        return dict(json.loads(self._get("statuses")))

    def stamps(self) -> Stamps:
        whole: dict[str, Any] = json.loads(self._get("stamps"))
        return Stamps(whole["numbers"], whole["copies"], whole["statuses"])

    def _get(self, what: str) -> bytes:
        with self._open.open(f"{self.url}/_{what}", timeout=60) as answer:
            return cast(bytes, answer.read())


@contextlib.contextmanager
def running(folder: Path, *, latency: float = 0.2, statuses: str | None = None) -> Iterator[Cloud]:
    """A server on a free port, with a certificate in `folder`. `latency`: seconds to each answer; `statuses`: the
    address of a gateway that gets sent, delivered and read of each message."""
    certificate, key = certificate_in(folder)
    command = [sys.executable, "-m", "benchmarks.cloud", str(certificate), str(key), "--latency", str(latency)]
    command += ["--statuses", statuses] if statuses else []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Cloud(f"https://127.0.0.1:{port}", certificate, process)
    finally:
        process.terminate()
        process.communicate()


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, made by openssl; clients trust it through SSL_CERT_FILE."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if not certificate.exists():
        command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-keyout", str(key), "-out", str(certificate), "-days", "30", "-subj", "/CN=127.0.0.1"]
        subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return certificate, key


def most_in_a_second(stamps: list[int]) -> int:
    return busiest_second(stamps)


def mean_rate(stamps: list[int], seconds: float) -> float:
    """Messages a second over the `seconds` after the first."""
    end = stamps[0] + int(seconds * SECOND)
    return sum(stamp < end for stamp in stamps) / seconds


# -- the server --------------------------------------------------------------------------------------------------------


class Taken:
    """What has come."""

    def __init__(self, back: Back | None) -> None:
        self.stamps: dict[bytes, array[int]] = {}
        self.callbacks: list[bytes] = []
        self.back = back

    def take(self, request: bytes, at: int) -> bool:
        """Count a message; False where it is none."""
        number = NUMBER.match(request)
        if number is None:
            return False
        self.stamps.setdefault(number[1], array("q")).append(at)
        found = CALLBACK.search(request)
        self.callbacks.append(found[1] if found is not None else b"%d" % len(self.callbacks))
        if self.back is not None:
            self.back.accepted(number[1].decode(), f"wamid.{len(self.callbacks)}", self.callbacks[-1].decode())
        return True

    def asked(self, request: bytes) -> bytes:
        if b"/_count" in request[:40]:
            return str(len(self.callbacks)).encode()
        statuses = self.back.told() if self.back is not None else {}
        if b"/_statuses" in request[:40]:
            return json.dumps(statuses).encode()
        numbers = {number.decode(): list(stamps) for number, stamps in self.stamps.items()}
        copies = max(Counter(self.callbacks).values(), default=0)
        return json.dumps({"numbers": numbers, "copies": copies, "statuses": statuses}).encode()


class Door(asyncio.Protocol):
    """One connection: requests follow each other, each answered after the latency."""

    def __init__(self, taken: Taken, latency: float) -> None:
        self.taken, self.latency = taken, latency
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        at = time.monotonic_ns()
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length is not None else 0)
            if len(self._buffer) < whole:
                return
            request, self._buffer = self._buffer[:whole], self._buffer[whole:]
            if not self.taken.take(request, at):
                body = self.taken.asked(request)
                self.transport.write(ANSWER % (len(body), body))
                continue
            body = ACCEPTED % len(self.taken.callbacks)
            self._loop.call_later(self.latency, self.transport.write, ANSWER % (len(body), body))


async def serve(certificate: str, key: str, latency: float, statuses: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    back = Back(statuses) if statuses else None
    taken, posting = Taken(back), asyncio.create_task(back.run()) if back is not None else None
    server = await asyncio.get_running_loop().create_server(
        lambda: Door(taken, latency), "127.0.0.1", 0, ssl=context, backlog=2048
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.gather(server.serve_forever(), *([posting] if posting is not None else []))


def main() -> None:
    made = argparse.ArgumentParser(prog="python -m benchmarks.cloud")
    made.add_argument("certificate")
    made.add_argument("key")
    made.add_argument("--latency", type=float, default=0.2)
    made.add_argument("--statuses")
    given = made.parse_args()
    with contextlib.suppress(OSError):  # both: Linux weighs sessions first, then processes within one
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        Path("/proc/self/autogroup").write_text("-10")
    gc.freeze()
    gc.disable()
    uvloop.run(serve(given.certificate, given.key, given.latency, given.statuses))


if __name__ == "__main__":
    main()
