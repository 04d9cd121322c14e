"""Deliveries come in signed, are on disk before they are answered, and survive whatever ends the gateway."""

import asyncio
import errno
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

import gateway.log
from gateway.app import address, config, create_app, listen, ticking
from gateway.log import LandingLog
from gateway.webhooks import LARGEST_BODY, PATH, log_line
from journey.problems import EstafetteError
from journey.webhook import parse

SECRET = "9c41f0e2d7b84a"
VERIFY = "jeton-à-vérifier"
NOW = datetime(2026, 10, 13, 8, 15, 30, 250_000, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def delivery(wamid: str, text: str = "ok") -> bytes:
    status = {"id": wamid, "status": "read", "timestamp": "1791879330", "recipient_id": "33611223344", "note": text}
    change = {"field": "messages", "value": {"messaging_product": "whatsapp", "statuses": [status]}}
    body = {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}
    return json.dumps(body, indent=1).encode()


class Gateway:
    """A gateway behind a real server, in a thread."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.http = home, httpx.Client(base_url=url, trust_env=False, timeout=20)

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.http.post(PATH, content=body, headers=signed(body) if headers is None else headers)

    def files(self) -> list[Path]:
        return sorted((self.home / "landing" / "webhooks").glob("[!.]*"))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for file in self.files() for line in file.read_bytes().splitlines()]

    def bodies(self) -> list[str]:
        return [line["body"] for line in self.lines()]


@contextmanager
def running(home: Path, **more: Any) -> Iterator[Gateway]:
    secrets = {"app_secret": SecretStr(SECRET), "verify_token": SecretStr(VERIFY), **more}
    app = create_app(home, **secrets)
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Gateway(home, address(listening))
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, clock=lambda: NOW) as door:
        yield door


def test_a_signed_delivery_is_kept_as_it_came(door: Gateway) -> None:
    body = delivery("wamid.1", "deux\nlignes, “é” \\u00e9 😀")
    answer = door.post(body)
    assert (answer.status_code, answer.content) == (200, b"")
    assert door.lines() == [{"received_at": "2026-10-13T08:15:30.250000Z", "body": body.decode()}]


def test_what_is_kept_is_what_the_parser_reads(door: Gateway) -> None:
    door.post(delivery("wamid.1"))
    door.post(delivery("wamid.2"))
    numbered = list(enumerate(door.files()[0].read_bytes().splitlines(), start=1))
    assert parse(numbered).statuses.select("wamid", "received_at").rows() == [("wamid.1", NOW), ("wamid.2", NOW)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        {"X-Hub-Signature-256": signed(delivery("w"))["X-Hub-Signature-256"].removeprefix("sha256=")},
        {"X-Hub-Signature-256": signed(delivery("w"))["X-Hub-Signature-256"][:-1]},
        {"X-Hub-Signature-256": "sha256=é"},
        {"X-Hub-Signature": signed(delivery("w"))["X-Hub-Signature-256"]},
        signed(delivery("w"), "another secret"),
        signed(delivery("another body")),
    ],
)
def test_what_is_not_signed_by_meta_leaves_no_trace(door: Gateway, headers: dict[str, str]) -> None:
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    answer = door.http.post(PATH, content=delivery("w"), headers=raw)
    assert answer.status_code == 401 and answer.json()["error"]
    assert door.files() == []


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("  ")])
def test_without_an_app_secret_nothing_comes_in(tmp_path: Path, secret: SecretStr | None) -> None:
    with running(tmp_path, app_secret=secret) as door:
        for headers in ({}, signed(b"{}", ""), signed(b"{}", "  "), signed(b"{}")):
            answer = door.post(b"{}", headers)
            assert answer.status_code == 503 and "WHATSAPP_APP_SECRET" in answer.json()["error"]
        assert door.files() == []


def test_signed_nonsense_is_kept_too(door: Gateway) -> None:
    """A signature says that it is Meta's; what it means is for the parser, and its quarantine."""
    bodies = [b"", b"not json", b'{"cut":', b"\xff\xfe\x00", b'"\\ud83d"', b"\r\n\n"]
    for body in bodies:
        assert door.post(body).status_code == 200
    kept = [body.encode(errors="surrogateescape") for body in door.bodies()]
    assert kept == bodies
    lines = door.files()[0].read_bytes().splitlines()
    assert parse(list(enumerate(lines))).bad.height == len(bodies)


def test_a_body_of_three_megabytes_comes_in_and_a_longer_one_does_not(door: Gateway) -> None:
    assert LARGEST_BODY >= 3 * 1024 * 1024  # what Meta may send
    assert door.post(b"x" * LARGEST_BODY).status_code == 200
    assert door.post(b"x" * (LARGEST_BODY + 1)).status_code == 413
    assert [len(body) for body in door.bodies()] == [LARGEST_BODY]


def test_a_long_body_in_chunks_is_cut_off_before_it_ends(door: Gateway) -> None:
    """Chunks have no length in front: 64 MB would otherwise be read whole to be refused."""
    sent = 0
    with socket.create_connection((door.http.base_url.host, door.http.base_url.port or 80)) as connection:
        connection.settimeout(20)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=00\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            while sent < 64 * 2**20:
                connection.sendall(chunk)
                sent += 0x10000
        except ConnectionError:
            pass
    assert LARGEST_BODY <= sent < 64 * 2**20 and door.files() == []


def test_chunks_make_a_body(door: Gateway) -> None:
    body = delivery("wamid.1")
    parts = iter([body[:10], body[10:]])
    assert door.http.post(PATH, content=parts, headers=signed(body)).status_code == 200
    assert door.bodies() == [body.decode()]


def test_an_answer_waits_for_the_disk(door: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    monkeypatch.setattr(gateway.log, "_sync", lambda fd: synced.wait(20))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(door.post, delivery("wamid.1"))
        while not (door.files() and door.files()[0].stat().st_size):
            time.sleep(0.005)
        time.sleep(0.05)
        assert not answer.done()
        synced.set()
        assert answer.result().status_code == 200


def test_requests_that_come_together_share_a_sync(door: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    go = threading.Event()

    def sync(fd: int) -> None:
        syncs.append(fd)
        go.wait(20)

    monkeypatch.setattr(gateway.log, "_sync", sync)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(door.post, delivery("wamid.0"))
        while not syncs:
            time.sleep(0.005)
        others = [pool.submit(door.post, delivery(f"wamid.{number}")) for number in range(1, 20)]
        time.sleep(0.3)  # they wait for the first sync meanwhile
        go.set()
        assert {one.result().status_code for one in (first, *others)} == {200}
    assert len(door.lines()) == 20 and len(syncs) < 10


def failing(number: int) -> Callable[[int], None]:
    def sync(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    return sync


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_is_an_answer_of_503_and_nothing_half_stays(
    door: Gateway, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    assert door.post(delivery("wamid.1")).status_code == 200
    with monkeypatch.context() as broken:
        broken.setattr(gateway.log, "_sync", failing(number))
        answer = door.post(delivery("wamid.2"))
        assert answer.status_code == 503 and os.strerror(number) in answer.json()["error"]
        assert door.post(delivery("wamid.3")).status_code == 503
    assert door.post(delivery("wamid.4")).status_code == 200
    assert door.bodies() == [delivery("wamid.1").decode(), delivery("wamid.4").decode()]
    assert len(door.files()) == 2  # a file is not used again after a failure, and empty ones go


def test_a_write_that_the_disk_takes_by_half_leaves_no_half_line(
    door: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, writes = os.write, []

    def half(fd: int, data: Any) -> int:
        writes.append(len(data))
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data[: len(data) // 2])

    assert door.post(delivery("wamid.1")).status_code == 200
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", half)
        assert door.post(delivery("wamid.2")).status_code == 503
    assert len(writes) == 2 and door.bodies() == [delivery("wamid.1").decode()]


def test_a_landing_folder_that_cannot_be_is_503_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "landing").write_text("a file in the way")
    with running(tmp_path) as door:
        assert door.post(delivery("wamid.1")).status_code == 503
        assert door.http.get("/healthz").status_code == 503
        (tmp_path / "landing").unlink()
        assert door.post(delivery("wamid.1")).status_code == 200
        assert door.http.get("/healthz").json()["status"] == "ok"


def test_a_file_that_was_moved_away_or_deleted_is_followed_by_another(door: Gateway) -> None:
    door.post(delivery("wamid.1"))
    first = door.files()[0]
    first.rename(door.home / "kept.ndjson")
    door.post(delivery("wamid.2"))
    door.files()[0].unlink()
    door.post(delivery("wamid.3"))
    assert door.bodies() == [delivery("wamid.3").decode()]
    assert len((door.home / "kept.ndjson").read_bytes().splitlines()) == 1


def test_a_file_deleted_while_it_is_written_costs_no_line(door: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[Path] = []

    def sync(fd: int) -> None:
        if not gone:
            gone.extend(door.files())
            gone[0].unlink()

    monkeypatch.setattr(gateway.log, "_sync", sync)
    assert door.post(delivery("wamid.1")).status_code == 200
    assert gone and door.bodies() == [delivery("wamid.1").decode()]


def test_files_are_followed_by_others_by_size_and_age_and_never_share_a_name(tmp_path: Path) -> None:
    async def write(**limits: Any) -> None:
        log = LandingLog(tmp_path, lambda: NOW, **limits)
        for number in range(4):
            await log.append(b'{"n":%d}' % number)
        await log.close()

    asyncio.run(write(largest=16))
    assert [len(file.read_bytes().splitlines()) for file in tmp_path.iterdir()] == [2, 2]
    asyncio.run(write(oldest=0.0))
    assert len(list(tmp_path.iterdir())) == 6
    assert all(
        file.name.startswith("20261013T081530.250000Z-") and file.suffix == ".ndjson" for file in tmp_path.iterdir()
    )


def test_a_gateway_that_starts_again_begins_another_file(tmp_path: Path) -> None:
    """Half a line, left by a crash, must not become the beginning of the next one."""
    with running(tmp_path, clock=lambda: NOW) as door:
        door.post(delivery("wamid.1"))
        with door.files()[0].open("ab") as torn:
            torn.write(b'{"received_at":"2026-')
    with running(tmp_path, clock=lambda: NOW) as door:
        door.post(delivery("wamid.2"))
        assert len(door.files()) == 2
        whole = [line for file in door.files() for line in file.read_bytes().split(b"\n")[:-1]]
    assert len(parse(list(enumerate(whole))).statuses) == 2


def test_the_handshake_gives_the_bare_challenge_back(door: Gateway) -> None:
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": VERIFY}
    answer = door.http.get(PATH, params=asked)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"hub.mode": "subscribe", "hub.challenge": "1"},
        {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": "wrong"},
        {"hub.mode": "unsubscribe", "hub.challenge": "1", "hub.verify_token": VERIFY},
    ],
)
def test_a_handshake_with_another_token_is_refused(door: Gateway, asked: dict[str, str]) -> None:
    answer = door.http.get(PATH, params=asked)
    assert answer.status_code == 403 and answer.json()["error"]


def test_without_a_verify_token_no_handshake_succeeds(tmp_path: Path) -> None:
    with running(tmp_path, verify_token=SecretStr("")) as door:
        asked = {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": ""}
        answer = door.http.get(PATH, params=asked)
        assert answer.status_code == 403 and "WHATSAPP_VERIFY_TOKEN" in answer.json()["error"]


def test_errors_are_sentences_and_never_422(door: Gateway) -> None:
    for answer, status in [
        (door.http.get("/nowhere"), 404),
        (door.http.put(PATH), 405),
        (door.http.get("/docs"), 404),
        (door.http.get("/redoc"), 404),
    ]:
        assert answer.status_code == status and answer.json()["error"].endswith(".")
    assert "GET" in door.http.put(PATH).headers["allow"]


def test_a_door_with_parameters_answers_400_with_a_sentence(tmp_path: Path) -> None:
    app = create_app(tmp_path, app_secret=None, verify_token=None)

    @app.get("/counted")
    async def counted(number: int) -> int:
        return number

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("of no concern to strangers")

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            return await http.get(path)

    answer = asyncio.run(ask("/counted?number=many"))
    assert answer.status_code == 400 and "number" in answer.json()["error"]
    answer = asyncio.run(ask("/broken"))
    assert answer.status_code == 500 and "strangers" not in answer.text and answer.json()["error"]


def test_the_clock_starts_where_it_is_turned_to_and_ticks() -> None:
    clock = ticking(datetime(2031, 1, 1, tzinfo=UTC))
    first = clock()
    time.sleep(0.02)
    assert first.year == 2031 and 0.02 <= (clock() - first).total_seconds() < 20
    assert abs((ticking(None)() - datetime.now(UTC)).total_seconds()) < 20


def test_an_address_in_use_is_an_error_that_says_so() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(EstafetteError, match="can't listen") as caught:
        listen("127.0.0.1", taken.getsockname()[1])
    assert "--port" in caught.value.mend


def test_a_line_of_the_log_is_one_line_whatever_the_body_holds() -> None:
    for body in (b"a\nb\r\nc", "\u2028\u2029\x85\x0b\x0c\x1c".encode(), b"\x00\x1f\xff"):
        line = log_line(NOW, body)
        assert b"\n" not in line and b"\r" not in line
        assert json.loads(line)["body"].encode(errors="surrogateescape") == body


@contextmanager
def subprocess_gateway(home: Path, *now: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`serve` in a process of its own, as the command line runs it."""
    program = (
        "import sys\nfrom datetime import datetime\nfrom pathlib import Path\nfrom pydantic import SecretStr\n"
        "from gateway.app import serve\n"
        "home, secret, *now = sys.argv[1:]\n"
        "serve(Path(home), port=0, now=datetime.fromisoformat(now[0]) if now else None, app_secret=SecretStr(secret),"
        " verify_token=None, ready=lambda url: print(url, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(home), SECRET, *now], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def test_what_was_answered_200_survives_kill_9(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def send(worker: int, url: str) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as http:
            for number in range(100_000):
                body = delivery(f"wamid.{worker}.{number}", "x" * 2_000)
                try:
                    answer = http.post(PATH, content=body, headers=signed(body))
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(f"wamid.{worker}.{number}")
                if stop.is_set():
                    return

    with subprocess_gateway(tmp_path) as (process, url), ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(send, worker, url) for worker in range(8)]
        while len(acknowledged) < 300:
            time.sleep(0.005)
        process.kill()
        process.wait()
        stop.set()
        for worker in workers:
            worker.result()
    lines = [
        line for file in (tmp_path / "landing" / "webhooks").iterdir() for line in file.read_bytes().split(b"\n")[:-1]
    ]
    kept = set(parse(list(enumerate(lines))).statuses["wamid"])
    assert len(acknowledged) >= 300 and set(acknowledged) <= kept


def test_a_gateway_told_to_end_ends_in_good_order(tmp_path: Path) -> None:
    with subprocess_gateway(tmp_path, "2031-05-01T10:00:00+00:00") as (process, url):
        body = delivery("wamid.1")
        assert httpx.post(url + PATH, content=body, headers=signed(body), trust_env=False).status_code == 200
        process.terminate()
        assert process.wait(20) in (0, -15)
    (file,) = (tmp_path / "landing" / "webhooks").iterdir()
    assert json.loads(file.read_text())["received_at"].startswith("2031-05-01T10:0")


def test_the_gateway_starts_without_dagster_and_the_engines() -> None:
    heavy = "('dagster', 'polars', 'duckdb', 'pyarrow')"
    program = f"import sys, gateway.app; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
