"""Whoever speaks HTTP badly, slowly, or without an end, is answered or cut off, and holds nothing up."""

import contextlib
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

import gateway.connections
from gateway.connections import LONGEST_HEAD, most_connections, take_files
from tests.gateway.wire import Line, heard, serving

WEBHOOK = b"POST /webhooks/whatsapp HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=00\r\n"


@pytest.fixture
def line(app: Any) -> Iterator[Line]:
    with serving(app) as made:
        yield made


@pytest.fixture
def app(tmp_path: Path) -> Any:
    from pydantic import SecretStr

    from gateway.app import create_app

    return create_app(tmp_path, app_secret=SecretStr("s"), verify_token=SecretStr("v"))


# -- what one request ends and the next begins with -------------------------------------------------------------------

SMUGGLED = {
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nG",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "a length that is a list": b"Content-Length: 5, 5\r\n\r\nabcde",
    "a length with a sign": b"Content-Length: +5\r\n\r\nabcde",
    "a length beyond all": b"Content-Length: 99999999999999999999999\r\n\r\n",
    "chunks, and then something": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"X: a\r\n b\r\nContent-Length: 1\r\n\r\na",
    "a bare line feed": b"X: a\nContent-Length: 1\r\n\r\na",
    "a bare carriage return": b"X: a\rY: b\r\nContent-Length: 1\r\n\r\na",
    "a NUL": b"X: a\0b\r\nContent-Length: 1\r\n\r\na",
    "a negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
    "a chunk beyond all": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("what", SMUGGLED)
def test_what_two_readers_could_read_in_two_ways_is_one_request_or_none(line: Line, what: str) -> None:
    answer = line.say(WEBHOOK, SMUGGLED[what], b"ET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1, answer


PATHS = {
    b"/now%ffhere": 404,
    b"/now%00here": 404,
    b"/now\xffhere": 400,
    b"/r/%2e%2e%2f%2e%2e%2festafette.yaml": 404,
    b"/r/..%5c..": 404,
    b"/static/%2e%2e%2fapp.py": 404,
    b"/static/../app.py": 404,
    b"/api/requests/..%2fx": 404,
    b"//evil.example/%2e%2e": 404,
    b"/r/" + b"a" * 50_000: 404,
    b"/" + b"%0d%0aSet-Cookie:%20x=1": 404,
    b"*": 404,
    b"http://evil.example/nowhere": 404,
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30].decode("latin-1"))
def test_no_path_leads_anywhere_else(line: Line, path: bytes) -> None:
    answer = line.say(b"GET " + path + b" HTTP/1.1\r\nHost: [\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % PATHS[path]), answer
    assert b"set-cookie" not in answer.lower().partition(b"\r\n\r\n")[0] and len(answer) < 2_000


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "DELETE", "CONNECT"])
def test_methods_that_a_door_does_not_take_are_told_which_it_does(line: Line, method: str) -> None:
    answer = line.say(f"{method} /api/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405 ") and b"\r\nallow: POST\r\n" in answer


def test_nobody_is_spoken_to_in_another_protocol(line: Line) -> None:
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    for offer in (b"Upgrade: websocket\r\n" + key, b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"):
        assert line.status(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + offer + b"\r\n") == 200


# -- without an end ----------------------------------------------------------------------------------------------------


def test_a_head_without_an_end_is_cut_off(line: Line) -> None:
    more = b"a" * LONGEST_HEAD
    for head in (b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX: "):
        assert line.status(head, *[more] * 64) in (400, 0)  # what is cut off may not be heard
    assert line.status(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 30_000 + b"\r\n\r\n") == 200


@pytest.mark.parametrize("head", [b"X: " + b"a" * LONGEST_HEAD, b"X: y\r\n" * (LONGEST_HEAD // 5)], ids=["one", "many"])
def test_a_head_that_comes_at_once_is_no_longer_than_others(line: Line, head: bytes) -> None:
    assert line.status(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n") in (400, 0)
    assert line.status(GET) == 200


@pytest.mark.parametrize(
    "endless", [b"1;" + b"x" * 4_000_000, b"1\r\na\r\n0\r\n" + b"X: y\r\n" * 700_000], ids=["chunk", "trailers"]
)
def test_what_belongs_to_a_body_and_is_none_of_it_has_an_end_too(line: Line, endless: bytes) -> None:
    answer = line.say(WEBHOOK, b"Transfer-Encoding: chunked\r\n\r\n", endless)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert line.status(WEBHOOK, b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n") == 401


# -- slowly ------------------------------------------------------------------------------------------------------------


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_head_that_drips_is_not_waited_for_however_many_drip(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = [line.open() for _ in range(30)]
    for connection in answered:
        connection.sendall(GET)
        assert heard(connection).startswith(b"HTTP/1.1 200")
    monkeypatch.setattr(gateway.connections, "HEAD_TIMEOUT", 0.5)
    slow = [line.open() for _ in range(60)]
    for connection, said in zip([*answered, *slow], [b"\r\n"] * 30 + [b"GET /healthz HT", b""] * 30, strict=True):
        with contextlib.suppress(ConnectionError):  # cut off already
            connection.sendall(said)
    assert line.status(GET) == 200
    for connection in (*answered, *slow):
        assert heard(connection)[:12] in (b"", b"HTTP/1.1 400")
        connection.close()


def test_a_connection_that_is_kept_is_not_a_slow_one(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with line.open() as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert heard(connection).startswith(b"HTTP/1.1 200")
            monkeypatch.setattr(gateway.connections, "HEAD_TIMEOUT", 0.2)
            time.sleep(0.4)


def test_a_slow_answer_is_no_slow_head(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr(gateway.connections, "HEAD_TIMEOUT", 0.5)

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(1.2)
        return "there"

    with serving(app) as line:
        assert b"there" in line.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_body_that_says_that_it_is_too_long_is_not_waited_for(line: Line) -> None:
    assert line.status(WEBHOOK, b"Content-Length: 9000000\r\n\r\n") == 413


@pytest.mark.parametrize("length", [b"Content-Length: 100\r\n\r\na", b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"])
def test_a_body_that_drips_is_408(line: Line, monkeypatch: pytest.MonkeyPatch, length: bytes) -> None:
    monkeypatch.setattr("gateway.webhooks.BODY_TIMEOUT", 0.3)
    answer = line.say(WEBHOOK, length)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"connection: close" in answer.lower()


def test_more_connections_than_there_may_be_are_503(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.most_connections", lambda: 20)
    with serving(app) as line:
        idle = [line.open() for _ in range(20)]
        assert line.status(GET) == 503
        for connection in idle:
            connection.close()
        for _ in range(200):
            if line.status(GET) == 200:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("nobody gets in again")


def test_connections_leave_files_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1_024, 524_288)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: limits.append(wanted))
    assert most_connections() == 824
    take_files()
    assert limits[-1] == (16_384, 524_288) and most_connections() == 4_000


# -- what is answered and not read -------------------------------------------------------------------------------------

LONG = 8_000_000  # bytes; more than systems hold for a connection


@pytest.fixture
def long_line(app: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    from fastapi.responses import PlainTextResponse

    monkeypatch.setattr(gateway.connections, "READ_TIMEOUT", 0.3)

    @app.get("/long")
    async def long() -> PlainTextResponse:
        return PlainTextResponse("x" * LONG)

    with serving(app) as made:
        yield made


def asked(line: Line, request: bytes) -> socket.socket:
    """A connection on which a long answer comes, with as little room at this end as there may be."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(20)
    connection.connect(line.where)
    connection.sendall(request)
    return connection


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["kept", "to be closed"])
def test_an_answer_that_nobody_reads_is_not_kept(long_line: Line, more: bytes) -> None:
    silent = asked(long_line, b"GET /long HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
    watching = select.poll()
    watching.register(silent, 0)
    assert watching.poll(10_000), "the connection is still there"
    assert long_line.status(GET) == 200
    silent.close()


def test_who_reads_slowly_gets_all(long_line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.connections, "LEAST_READ", 1_000)
    with asked(long_line, b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as slow:
        found, began = 0, time.monotonic()
        while part := slow.recv(1_000_000 if time.monotonic() - began > 1.5 else 20_000):
            found += len(part)
            if time.monotonic() - began < 1.5:
                time.sleep(0.02)
    assert found > LONG


def test_who_asks_many_things_and_goes_is_no_error_of_ours(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Requests that wait behind one that is being answered: it ends too when the connection does."""
    import asyncio

    ended: list[bool] = []

    @app.get("/while")
    async def working(request: Request) -> str:
        for _ in range(400):
            if await request.is_disconnected():
                break
            await asyncio.sleep(0.02)
        ended.append(await request.is_disconnected())
        return "there"

    with serving(app) as line:
        connection = line.open()
        connection.sendall(b"GET /while HTTP/1.1\r\nHost: x\r\n\r\n" + GET * 20)
        time.sleep(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        for _ in range(400):
            if ended:
                break
            time.sleep(0.02)
        assert line.status(GET) == 200
    assert ended == [True]
    assert "Traceback" not in caplog.text


# -- where it comes from -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "headers", "seen"),
    [
        ((), b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n", b"127.0.0.1 http"),
        (("10.0.0.0/8",), b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n", b"127.0.0.1 http"),
        (("127.0.0.1",), b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n", b"203.0.113.7 https"),
        (("127.0.0.1",), b"X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n", b"203.0.113.7 http"),
        (("127.0.0.1",), b"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n", b"203.0.113.7 http"),
    ],
)  # fmt: skip
def test_only_a_trusted_proxy_says_whence_a_request_came(
    app: Any, proxies: tuple[str, ...], headers: bytes, seen: bytes
) -> None:
    from fastapi import Request
    from fastapi.responses import PlainTextResponse

    @app.get("/whence")
    async def whence(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.client.host if request.client else None} {request.url.scheme}")

    with serving(app, *proxies) as line:
        answer = line.say(b"GET /whence HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        assert answer.endswith(seen)
        assert (b"strict-transport-security" in answer.lower()) == seen.endswith(b"https")
