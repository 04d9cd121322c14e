"""What comes over the wire, byte by byte: the gateway's heads, bodies, forms, cookies and queries; the answers of Meta
and of the servers of media; and files that are opened before they are read.

Nothing of it is a fault: an answer of ours is no 500, an answer of theirs is an error with a sentence, or is taken.
"""

import asyncio
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import SecretStr

from gateway.app import create_app
from journey.contact_rows import ContactRules, read_contacts
from journey.csv_rows import UnreadableCsv, csv_rows
from journey.problems import CloudApiError, UsageError
from journey.template import Template, parse_template
from resources.access import add_token
from resources.cloud_api import CloudApi
from resources.contact_intake import UnreadableFile, readable
from resources.coupon_intake import codes_of
from resources.landing import FileStat
from resources.landing_import import tell
from resources.landing_tables import table_rows
from resources.media_fetch import Allowance, Trouble, look
from tests.fuzz import seeds
from tests.fuzz.mutating import spoilt
from tests.gateway.doors import CAMPAIGN
from tests.gateway.wire import Line, serving

ZONE = ZoneInfo("Europe/Paris")
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def feed(examples: Sequence[bytes], use: Callable[[bytes], None], times: int) -> None:
    for one in examples:
        use(one)

    @settings(max_examples=times, derandomize=times < 1_000, database=None, deadline=None, suppress_health_check=QUIET)
    @given(spoilt(examples))
    def fed(data: bytes) -> None:
        use(data)

    fed()


TIMES = [
    pytest.param(60, id="some"),
    pytest.param(4_000, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(3_600)]),
]

# -- the gateway -------------------------------------------------------------------------------------------------------


def said(method: str, path: str, body: bytes = b"", *heads: str) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: gateway", "Connection: close", *heads]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


START = b'{"payload": {"users": ["u1"], "attribute_values": {"offer": "x", "survey_id": 7}}}'
EVENTS = b'[{"event": "purchase", "contact_id": "c0", "occurred_at": "2026-11-30T10:00:00Z", "properties": {"a": [1]}}]'
FORM = b"csrf=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&name=olga&password=x&to=%2Finbox"
COOKIES = "Cookie: estafette_before=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; estafette_session=x; language=fr"
HTML = "Accept: text/html"


def requests(token: str) -> list[bytes]:
    auth = f"Authorization: Api {token}"
    return [
        said("GET", "/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token=v&hub.challenge=1158201444"),
        said("POST", "/webhooks/whatsapp", b"{}", "X-Hub-Signature-256: sha256=00"),
        said("POST", "/api/journey/survey/start/external", START, auth, "Idempotency-Key: k1", "Content-Type: text/x"),
        said("POST", "/api/events", EVENTS, auth),
        said("GET", "/api/requests/6b1f6f0e-3a0e-5a6a-9d5e-3c2f6c1b7a10?after=1&limit=2", b"", auth),
        said("POST", "/login", FORM, COOKIES, HTML, "Content-Type: application/x-www-form-urlencoded"),
        said("GET", "/login?to=/inbox%3Fq%3Dx", b"", COOKIES, HTML, "Accept-Language: fr-FR;q=0.9, en"),
        said("GET", "/inbox?q=x&show=open&campaign=a&after=1.2.3", b"", COOKIES, HTML),
        said("GET", "/r/abc", b"", "User-Agent: WhatsApp/2", "Purpose: prefetch"),
        said("GET", "/static/estafette.css", b"", 'If-None-Match: "a"', "Range: bytes=0-9", "If-Modified-Since: x"),
        said("GET", "/metrics", b"", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=[::1]"),
    ]


@pytest.fixture
def wire(make_home: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Line, list[bytes]]]:
    monkeypatch.setattr("gateway.access.WRONG_BURST", 1e9)
    stage = make_home(campaigns=[CAMPAIGN])
    stage.turn()
    with stage.home.ledger.write() as tx:
        token = add_token(tx, "fuzz", 0)
    app = create_app(stage.path, app_secret=SecretStr("s"), verify_token=SecretStr("v"))
    with serving(app) as line:
        yield line, requests(token)


@pytest.mark.parametrize("times", TIMES)
def test_no_request_is_a_fault_of_ours(
    wire: tuple[Line, list[bytes]], times: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.connections.HEAD_TIMEOUT", 0.2)
    monkeypatch.setattr("gateway.webhooks.BODY_TIMEOUT", 0.2)
    monkeypatch.setattr("gateway.answers.read_body.__defaults__", (0.2,))
    line, examples = wire

    def ask(data: bytes) -> None:
        status = line.status(data)
        assert status in (0, 503) or 200 <= status < 500, (status, data)
        assert not [one for one in caplog.records if one.levelno >= logging.ERROR], caplog.text

    feed(examples, ask, times)


# -- what others answer ------------------------------------------------------------------------------------------------

GRAPH = [
    b'{"data": [{"name": "hello", "language": "fr", "status": "APPROVED", "category": "UTILITY", "components": '
    b'[{"type": "BODY", "text": "Bonjour"}]}], "paging": {"cursors": {"before": "a", "after": "b"}}}',
    b'{"id": "1", "quality_rating": "GREEN", "throughput": {"level": "STANDARD"}, "status": "CONNECTED"}',
    *seeds.ANSWERS,
    b"[" * 100_000,
]


@pytest.mark.parametrize("times", TIMES)
def test_whatever_meta_answers_to_a_look_is_taken_or_a_sentence(times: int) -> None:
    def answered(data: bytes) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            return httpx.Response((200, 400, 500, 302)[len(data) % 4], content=data)

        api = CloudApi(
            "http://127.0.0.1:1", "v25.0", SecretStr("SECRET"), tries=2,
            transport=httpx.MockTransport(answer), sleep=lambda seconds: None,
        )  # fmt: skip
        with api:
            for ask in (lambda: list(api.templates("1")), lambda: api.phone_number("1")):
                try:
                    found = ask()
                except CloudApiError as error:
                    assert "SECRET" not in str(error)
                    continue
                for one in found if isinstance(found, list) else []:
                    try:
                        assert isinstance(parse_template(one), Template)
                    except ValueError as error:
                        assert str(error)

    feed(GRAPH, answered, times)


MEDIA = [
    b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\n",
    b"HTTP/1.1 206 Partial\r\nContent-Type: image/jpeg; q=1\r\nContent-Range: bytes 0-0/5000\r\n\r\nx",
    b"HTTP/1.1 302 Found\r\nLocation: https://other.example/a.png\r\n\r\n",
    b"HTTP/1.1 301 Gone\r\nLocation: //169.254.169.254/latest\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("times", TIMES)
def test_whatever_a_server_of_media_answers_is_taken_or_said(times: int) -> None:
    async def met(data: bytes) -> None:
        asked: list[str] = []

        async def resolved(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"] if host == "media.example" else ["169.254.169.254"]

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(data)
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, httpx.AsyncClient(timeout=1, trust_env=False) as client:
            trouble = await look(
                client, "image", f"http://media.example:{port}/a.png",
                allow_private=True, allowance=Allowance(1_000), resolve=resolved,
            )  # fmt: skip
        assert trouble is None or isinstance(trouble, Trouble)

    feed(MEDIA, lambda data: asyncio.run(met(data)), min(times, 1_000))


# -- files that are opened ---------------------------------------------------------------------------------------------


def parquet(**more: Any) -> bytes:
    people = {
        "contact_id": [f"u{number}" for number in range(50)],
        "phone": ["+33612345678"] * 50,
        "tags": [["vip", "new"]] * 50,
        "order": [{"number": "A-7", "amount": 1.5}] * 50,
        "last_seen": [None, "2026-01-01"] * 25,
    }
    file = io.BytesIO()
    pl.DataFrame(people).write_parquet(file, **more)
    return file.getvalue()


PARQUET = [
    parquet(),
    parquet(compression="snappy", row_group_size=7),
    parquet(compression="uncompressed", statistics="full"),
]


@pytest.mark.parametrize("times", TIMES)
def test_a_spoilt_parquet_file_is_read_or_can_not_be(tmp_path: Path, times: int) -> None:
    path = tmp_path / "people.parquet"

    def opened(data: bytes) -> None:
        path.write_bytes(data)
        stat = FileStat("contacts", path.name, path, 1, len(data), 1)
        try:
            tell(path)
        except UsageError as error:
            assert str(error)
        try:
            for rows in readable(table_rows(stat, 1_000)):
                read_contacts(rows, ContactRules("FR", ZONE))
        except UnreadableFile as error:
            assert str(error)

    feed(PARQUET, opened, times)


@pytest.mark.parametrize("times", TIMES)
def test_spoilt_coupons_are_codes_or_said(times: int) -> None:
    def read(data: bytes) -> None:
        try:
            for rows in csv_rows(io.BytesIO(data)):
                good, bad = codes_of(rows, ZONE)
                for frame in (good, bad):
                    frame.write_parquet(io.BytesIO())
                assert good.height + bad.height >= rows.height
        except UnreadableCsv as error:
            assert str(error)

    feed(seeds.COUPONS, read, times)
