"""One POST on the wire: what is certain about it afterwards, whatever the server and the network do."""

import asyncio
import json
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from journey.outcome import Action, Outcome
from resources.posting import Sender

TOKEN = "EAAGm0PX4ZCpsBAKr7secret"
BODY = '{"messaging_product":"whatsapp","to":"+33611223344","type":"template","note":"é"}'
ACCEPTED = {"contacts": [{"wa_id": "33611223344"}], "messages": [{"id": "wamid.1", "message_status": "accepted"}]}

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Behaviour = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def http(status: int, body: Any, headers: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n{headers}\r\n".encode() + data


class Server:
    """A server of a few lines that does to each request what the test says. `requests`: each one, whole."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour, self.requests, self.connections = behaviour, list[bytes](), 0

    async def __aenter__(self) -> "Server":
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")
                )
                request = head + await reader.readexactly(length)
                self.requests.append(request)
                await self.behaviour(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def sender(self, **more: Any) -> Sender:
        return Sender(f"http://127.0.0.1:{self.port}", "v25.0", SecretStr(TOKEN), **more)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def answering(data: bytes) -> Behaviour:
    async def behaviour(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return behaviour


async def hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(request: bytes, writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def half_an_answer(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(http(200, ACCEPTED)[:-12])
    writer.close()


async def silence(request: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def a_byte_now_and_then(request: bytes, writer: asyncio.StreamWriter) -> None:
    for byte in http(200, ACCEPTED):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


def test_a_message_is_posted_as_it_is_with_token_and_kind() -> None:
    async def test() -> None:
        async with Server(answering(http(200, ACCEPTED))) as server, server.sender() as sender:
            outcome = await sender.post("2200", BODY)
            assert outcome.action is Action.accepted and outcome.wamid == "wamid.1"
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
            assert head.startswith(b"POST /v25.0/2200/messages HTTP/1.1\r\n")
            assert b"authorization: bearer " + TOKEN.lower().encode() in head.lower() and TOKEN.encode() in head
            assert b"content-type: application/json" in head.lower()
            assert body == BODY.encode()

    run(test)


@pytest.mark.parametrize(
    "behaviour",
    [
        hang_up,
        reset,
        half_an_answer,
        silence,
        a_byte_now_and_then,
        answering(http(500, b"")),
        answering(http(502, b"<html>Bad gateway</html>")),
        answering(http(200, b"<html>")),
        answering(http(200, b"x" * 2_000_000)),
        answering(b"HTTP/1.1 nonsense\r\n\r\n"),
        answering(b"\x16\x03\x01garbage\r\n\r\n"),
    ],
    ids=lambda behaviour: getattr(behaviour, "__name__", "?"),
)
def test_once_it_was_written_a_message_without_an_answer_is_unknown_and_goes_out_once(behaviour: Behaviour) -> None:
    async def test() -> None:
        async with Server(behaviour) as server, server.sender(timeout=0.4) as sender:
            outcome = await sender.post("2200", BODY)
            assert outcome.action is Action.unknown
            assert outcome.wamid is None
            assert outcome.details and "ConnectTimeout" not in outcome.details
            assert len(server.requests) == 1

    run(test)


def test_on_a_connection_in_use_a_hang_up_is_unknown_too() -> None:
    """The second POST reuses the connection of the first; nothing may send it again by itself."""

    async def first_well_then_hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            writer.write(http(200, ACCEPTED))
        else:
            writer.close()

    server = Server(first_well_then_hang_up)

    async def test() -> None:
        async with server, server.sender() as sender:
            assert (await sender.post("2200", BODY)).action is Action.accepted
            assert (await sender.post("2200", BODY)).action is Action.unknown
            assert (len(server.requests), server.connections) == (2, 1)

    run(test)


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    async def answer_and_close(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, ACCEPTED))
        writer.close()

    async def test() -> None:
        async with Server(answer_and_close) as server, server.sender() as sender:
            for _ in range(3):
                assert (await sender.post("2200", BODY)).action is Action.accepted
                await asyncio.sleep(0.02)
            assert (len(server.requests), server.connections) == (3, 3)

    run(test)


def test_a_refused_connection_was_not_sent() -> None:
    async def test() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            async with Sender(f"http://127.0.0.1:{port}", "v25.0", SecretStr(TOKEN)) as sender:
                outcome = await sender.post("2200", BODY)
                assert outcome.action is Action.not_sent and outcome.details

    run(test)


def test_a_name_that_does_not_resolve_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def test() -> None:
        async with Sender("http://nowhere.invalid", "v25.0", SecretStr(TOKEN)) as sender:
            assert (await sender.post("2200", BODY)).action is Action.not_sent

    run(test)


def test_a_handshake_that_fails_was_not_sent() -> None:
    """A plain HTTP server where TLS is spoken: it hangs up in the handshake, before any byte of the request."""

    async def not_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(not_tls, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, Sender(f"https://127.0.0.1:{port}", "v25.0", SecretStr(TOKEN)) as sender:
            assert (await sender.post("2200", BODY)).action is Action.not_sent

    run(test)


def test_a_handshake_that_never_ends_was_not_sent() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async def test() -> None:
        server = await asyncio.start_server(never, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Sender(f"https://127.0.0.1:{port}", "v25.0", SecretStr(TOKEN), timeout=0.4) as sender:
            assert (await sender.post("2200", BODY)).action is Action.not_sent
        server.close()

    run(test)


def test_a_message_that_waits_in_vain_for_a_free_connection_was_not_sent() -> None:
    async def test() -> None:
        async with Server(silence) as server, server.sender(connections=1, timeout=0.4) as sender:
            outcomes = await asyncio.gather(*(sender.post("2200", BODY) for _ in range(3)))
            actions = sorted(outcome.action for outcome in outcomes)
            assert actions == [Action.not_sent, Action.not_sent, Action.unknown]
            assert len(server.requests) == 1

    run(test)


def test_the_moment_of_leaving_is_that_of_the_writing_not_of_the_asking() -> None:
    """Two that share one connection: the second leaves once the first is answered."""
    times: dict[str, float] = {}
    answered = 0.0

    async def after_a_while(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        await asyncio.sleep(0.1)
        answered = answered or time.monotonic()
        writer.write(http(200, ACCEPTED))

    async def post(sender: Sender, name: str) -> None:
        await sender.post("2200", BODY, lambda: times.setdefault(name, time.monotonic()))

    async def test() -> None:
        async with Server(after_a_while) as server, server.sender(connections=1) as sender:
            await asyncio.gather(post(sender, "first"), post(sender, "second"))

    run(test)
    assert times["first"] < answered <= times["second"]


def test_what_never_left_tells_no_moment_of_leaving() -> None:
    left: list[None] = []

    async def test() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            async with Sender(url, "v25.0", SecretStr(TOKEN)) as sender:
                assert (await sender.post("2200", BODY, lambda: left.append(None))).action is Action.not_sent

    run(test)
    assert left == []


def test_a_closed_sender_sends_nothing() -> None:
    async def test() -> None:
        async with Server(answering(http(200, ACCEPTED))) as server:
            sender = server.sender()
            await sender.aclose()
            assert (await sender.post("2200", BODY)).action is Action.not_sent
            assert server.requests == []

    run(test)


def test_a_refusal_is_read_by_its_code() -> None:
    async def test() -> None:
        limit = {"error": {"code": 130429, "message": "m", "error_data": {"details": "d"}}}
        async with Server(answering(http(400, limit))) as server, server.sender() as sender:
            outcome = await sender.post("2200", BODY)
            assert (outcome.action, outcome.code, outcome.details) == (Action.slow_down, 130429, "d")

    run(test)


@pytest.mark.parametrize(
    ("said", "wait"), [("30", 30.0), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("\xb2", None), ("-1", None)]
)
def test_an_answer_may_ask_to_wait(said: str, wait: float | None) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers=[(b"Retry-After", said.encode("latin-1"))])

    async def test() -> None:
        transport = httpx.MockTransport(handler)
        async with Sender("https://graph.example", "v25.0", SecretStr(TOKEN), transport=transport) as sender:
            outcome = await sender.post("2200", BODY)
        assert (outcome.action, outcome.wait) == (Action.slow_down, wait)

    run(test)


def test_a_redirect_is_not_followed() -> None:
    async def test() -> None:
        moved = http(307, b"", "Location: /elsewhere\r\n")
        async with Server(answering(moved)) as server, server.sender() as sender:
            assert (await sender.post("2200", BODY)).action is Action.not_sent
            assert len(server.requests) == 1

    run(test)


def test_many_posts_run_side_by_side() -> None:
    async def slowly(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(http(200, ACCEPTED))

    async def test() -> None:
        async with Server(slowly) as server, server.sender(connections=50) as sender:
            outcomes = await asyncio.gather(*(sender.post("2200", BODY) for _ in range(200)))
            assert {outcome.action for outcome in outcomes} == {Action.accepted}
            assert len(server.requests) == 200 and server.connections <= 50

    run(test)


def test_a_cancelled_post_is_cancelled() -> None:
    async def test() -> None:
        async with Server(silence) as server, server.sender() as sender:
            task = asyncio.create_task(sender.post("2200", BODY))
            while not server.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(test)


def test_the_token_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def test() -> None:
        refused = {"error": {"code": 190, "message": f"Malformed access token {TOKEN}"}}
        async with Server(answering(http(401, refused))) as server, server.sender() as sender:
            outcome = await sender.post("2200", BODY)
            assert outcome.action is Action.stop_sender and "Malformed access token" in str(outcome)
            assert TOKEN not in str(outcome) + repr(sender) + caplog.text

    run(test)


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (httpx.ConnectError("refused"), Action.not_sent),
        (httpx.ConnectTimeout("slow"), Action.not_sent),
        (httpx.PoolTimeout("full"), Action.not_sent),
        (httpx.ReadTimeout("slow"), Action.unknown),
        (httpx.WriteError("broken"), Action.unknown),
        (httpx.RemoteProtocolError("hung up"), Action.unknown),
        (OSError("what"), Action.unknown),
        (RuntimeError("never seen"), Action.unknown),
    ],
)
def test_another_transport_may_stand_in(error: Exception, action: Action) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    async def test() -> None:
        transport = httpx.MockTransport(handler)
        async with Sender("https://graph.example", "v25.0", SecretStr(TOKEN), transport=transport) as sender:
            assert (await sender.post("2200", BODY)).action is action

    run(test)


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadError, httpx.ProxyError])
def test_an_error_of_the_wire_shows_no_token(error: type[httpx.TransportError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error(f"the proxy did not like {request.headers['authorization']}")

    async def test() -> None:
        transport = httpx.MockTransport(handler)
        async with Sender("https://graph.example", "v25.0", SecretStr(TOKEN), transport=transport) as sender:
            outcome = await sender.post("2200", BODY)
        assert TOKEN not in str(outcome) and "the proxy did not like Bearer …" in (outcome.details or "")

    run(test)


def test_a_stand_in_sees_the_request_that_meta_would_see() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ACCEPTED)

    async def test() -> None:
        transport = httpx.MockTransport(handler)
        async with Sender("https://graph.example/", "v25.0", SecretStr(TOKEN), transport=transport) as sender:
            outcome: Outcome = await sender.post("2200", BODY.encode())
        assert outcome.action is Action.accepted and outcome.wa_id == "33611223344"
        assert str(seen[0].url) == "https://graph.example/v25.0/2200/messages"
        assert (seen[0].method, seen[0].content) == ("POST", BODY.encode())

    run(test)
