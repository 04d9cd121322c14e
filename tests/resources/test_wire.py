"""The wire against real servers of a few lines: answers of every shape, tunnels, names with several addresses."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from resources.wire import Answer, Broken, NeverLeft, Wire

REQUEST = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


class Server:
    """Answers each request with the next of `pieces`, written piece by piece; None hangs up. `heard`: the requests."""

    def __init__(self, *answers: tuple[bytes | None, ...], context: ssl.SSLContext | None = None) -> None:
        self.answers, self.heard, self.context, self.connections = list(answers), list[bytes](), context, 0

    async def __aenter__(self) -> "Server":
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.heard.append(await reader.readuntil(b"{}"))
                for piece in self.answers.pop(0):
                    if piece is None:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.005)
        except (asyncio.IncompleteReadError, ConnectionError, IndexError):
            pass
        finally:
            writer.close()

    def wire(self, **more: object) -> Wire:
        settings: dict[str, object] = {"connections": 4, "idle": 3.0, "patience": 1.0, **more}
        scheme = "https" if self.context else "http"
        return Wire(str(settings.pop("url", f"{scheme}://127.0.0.1:{self.port}")), **settings)  # type: ignore[arg-type]


def ok(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"Content-Length: %d" % len(body), b"", body])


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ((ok(b"all"),), Answer(200, b"all")),
        (tuple(bytes([byte]) for byte in ok(b"by bytes")), Answer(200, b"by bytes")),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", ok(b"then")), Answer(200, b"then")),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"at once"),), Answer(200, b"at once")),
        (
            (b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nin\r\n", b"5\r\n part\r\n0\r\n\r\n"),
            Answer(400, b"in part"),
        ),
        ((b"HTTP/1.1 200 OK\r\n\r\nuntil the", b" end", None), Answer(200, b"until the end")),
        ((b"HTTP/1.0 503 Later\r\nContent-Length: 0\r\n\r\n", None), Answer(503, b"")),
        ((b"HTTP/1.1 204 None\r\n\r\n",), Answer(204, b"")),
    ],
)
def test_an_answer_is_read_whole_whatever_its_shape(pieces: tuple[bytes | None, ...], answer: Answer) -> None:
    async def test() -> None:
        async with Server(pieces, (ok(b"next"),)) as server:
            wire = server.wire()
            assert await wire.exchange(REQUEST) == answer
            assert await wire.exchange(REQUEST) == Answer(200, b"next")
            assert server.heard == [REQUEST, REQUEST]
            await wire.aclose()

    run(test)


@pytest.mark.parametrize(
    "pieces",
    [
        (None,),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"SSH-2.0-OpenSSH\r\n",),
        (ok(b"x" * 300_000),),
    ],
)
def test_half_an_answer_or_none_is_broken_and_the_request_went_out_once(pieces: tuple[bytes | None, ...]) -> None:
    async def test() -> None:
        async with Server(pieces) as server:
            left: list[None] = []
            wire = server.wire()
            with pytest.raises(Broken):
                await wire.exchange(REQUEST, lambda: left.append(None))
            assert (len(left), server.heard) == (1, [REQUEST])
            await wire.aclose()

    run(test)


def test_an_answer_that_nobody_asked_for_is_never_taken_for_the_next_ones() -> None:
    async def test() -> None:
        twice = ok(b"first") + ok(b"second")[:-3]
        async with Server((twice, b"ond"), (ok(b"third"),)) as server:
            wire = server.wire()
            assert (await wire.exchange(REQUEST)).body == b"first"
            assert (await wire.exchange(REQUEST)).body == b"third"
            assert server.connections == 2
            await wire.aclose()

    run(test)


def test_a_connection_serves_again_until_it_was_idle_for_too_long() -> None:
    async def test() -> None:
        async with Server(*[(ok(b"x"),)] * 3) as server:
            wire = server.wire(idle=0.2)
            await wire.exchange(REQUEST)
            await wire.exchange(REQUEST)
            assert server.connections == 1
            await asyncio.sleep(0.25)
            await wire.exchange(REQUEST)
            assert server.connections == 2
            await wire.aclose()

    run(test)


def test_closing_ends_what_is_under_way_and_lets_nothing_more_leave() -> None:
    async def test() -> None:
        async with Server((b"HTTP/1.1 200 OK\r\n",), ()) as server:
            wire = server.wire()
            going = asyncio.ensure_future(wire.exchange(REQUEST))
            while not server.heard:
                await asyncio.sleep(0.01)
            await wire.aclose()
            with pytest.raises(Broken):
                await going
            with pytest.raises(NeverLeft):
                await wire.exchange(REQUEST)
            assert len(server.heard) == 1

    run(test)


# -- tunnels and names -------------------------------------------------------------------------------------------------


class Proxy:
    """An HTTP proxy that tunnels, or says no."""

    def __init__(self, says: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.says, self.asked = says, list[bytes]()

    async def __aenter__(self) -> "Proxy":
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://us%40er:pass@127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.says)
        if b" 200 " not in self.says:
            writer.close()
            return
        port = int(self.asked[-1].split()[1].rpartition(b":")[2])
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass(reader, there[1]), _pass(there[0], writer), return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-addext", "subjectAltName=DNS:localhost"], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_proxy_is_asked_for_a_tunnel_and_tls_is_spoken_through_it(certificate: Path) -> None:
    async def test() -> None:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        ours = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        async with Server((ok(b"a"),), (ok(b"b"),), context=theirs) as server, Proxy() as proxy:
            wire = server.wire(url=f"https://localhost:{server.port}", context=ours, proxy=proxy.url)
            assert [(await wire.exchange(REQUEST)).body for _ in range(2)] == [b"a", b"b"]
            assert len(proxy.asked) == server.connections == 1
            assert proxy.asked[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % server.port)
            assert b"\r\nProxy-Authorization: Basic dXNAZXI6cGFzcw==\r\n" in proxy.asked[0]
            await wire.aclose()

    run(test)


def test_where_the_proxy_says_no_nothing_left() -> None:
    async def test() -> None:
        async with Server() as server, Proxy(b"HTTP/1.1 407 Who are you?\r\n\r\n") as proxy:
            with pytest.raises(NeverLeft, match="407"):
                await server.wire(proxy=proxy.url).exchange(REQUEST)
            assert server.connections == 0

    run(test)


def test_a_certificate_of_somebody_else_ends_it_before_anything_left(certificate: Path) -> None:
    async def test() -> None:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        ours = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        async with Server((ok(b"a"),), context=theirs) as server:
            with pytest.raises(NeverLeft, match="certificate"):  # it is for localhost
                await server.wire(context=ours).exchange(REQUEST)
            assert server.heard == []

    run(test)


def test_of_several_addresses_the_one_that_answers_is_found_and_kept() -> None:
    async def test() -> None:
        asked: list[str] = []

        async def found(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            asked.append(host)
            return [(0, 1, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]  # the first: nobody

        async with Server(*[(ok(b"x"), None)] * 3) as server:
            wire = server.wire(url=f"http://cloud.example:{server.port}")
            wire._lookup = found  # type: ignore[assignment]
            for _ in range(3):
                assert (await wire.exchange(REQUEST)).status == 200
                await asyncio.sleep(0.02)
            assert (asked, server.connections) == (["cloud.example"], 3)
            await wire.aclose()

    run(test)


def test_the_answer_is_json_as_meta_sends_it() -> None:
    async def test() -> None:
        body = json.dumps({"messages": [{"id": "wamid.é"}]}).encode()
        async with Server((ok(body, b"x-fb-trace-id: A", b"Connection: close"), None), (ok(b"x"),)) as server:
            wire = server.wire()
            assert json.loads((await wire.exchange(REQUEST)).body)["messages"][0]["id"] == "wamid.é"
            await wire.exchange(REQUEST)
            assert server.connections == 2
            await wire.aclose()

    run(test)
