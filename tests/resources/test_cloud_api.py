"""Reading from Meta: pages, patience, and errors that say what to do."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from journey.problems import CloudApiError
from resources.cloud_api import TRIES, CloudApi

TOKEN = "EAAGm0PX4ZCpsBAKr7secret"
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class Meta:
    """A local server that answers GETs by a function of path and query, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], str | None]] = []
        self.answer: Callable[[str, dict[str, str]], Answer] = lambda path, query: (404, {})
        meta = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                meta.asked.append((parts.path, query, self.headers["Authorization"]))
                status, body, *more = meta.answer(parts.path, query)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in (more[0] if more else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def meta() -> Iterator[Meta]:
    meta = Meta()
    thread = threading.Thread(target=meta.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield meta
    meta.server.shutdown()
    thread.join()
    meta.server.server_close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def api(meta: Meta, waits: list[float]) -> Iterator[CloudApi]:
    with CloudApi(meta.url, "v25.0", SecretStr(TOKEN), sleep=waits.append) as api:
        yield api


def fault(code: int, details: str = "", **more: object) -> dict[str, Any]:
    return {"error": {"message": f"(#{code}) {details}", "type": "OAuthException", "code": code, **more}}


def pages(*sizes: int, next_host: str = "http://elsewhere.invalid") -> Callable[[str, dict[str, str]], Answer]:
    """Template pages as Meta gives them: `cursors.after` on every page, `next` on all but the last."""

    def answer(path: str, query: dict[str, str]) -> Answer:
        number = int(query.get("after", "c0")[1:])
        rows = [{"id": f"{number}{row}", "name": f"t{number}_{row}", "language": "fr"} for row in range(sizes[number])]
        paging: dict[str, Any] = {"cursors": {"before": f"c{number}", "after": f"c{number + 1}"}}
        if number + 1 < len(sizes):
            paging["next"] = f"{next_host}/v25.0/waba/message_templates?access_token={TOKEN}&after=c{number + 1}"
        return 200, {"data": rows, "paging": paging}

    return answer


def test_templates_of_all_pages_are_read_in_order(meta: Meta, api: CloudApi) -> None:
    meta.answer = pages(3, 2, 1)
    assert [row["name"] for row in api.templates("waba")] == ["t0_0", "t0_1", "t0_2", "t1_0", "t1_1", "t2_0"]
    assert [path for path, _, _ in meta.asked] == ["/v25.0/waba/message_templates"] * 3
    assert [query.get("after") for _, query, _ in meta.asked] == [None, "c1", "c2"]


def test_the_last_page_ends_the_list_though_it_has_a_cursor(meta: Meta, api: CloudApi) -> None:
    meta.answer = pages(0)
    assert list(api.templates("waba")) == [] and len(meta.asked) == 1


def test_a_template_comes_with_all_that_check_and_rendering_need(meta: Meta, api: CloudApi) -> None:
    meta.answer = pages(1)
    next(api.templates("waba"))
    fields = set(meta.asked[0][1]["fields"].split(","))
    assert {"name", "language", "status", "category", "components", "parameter_format", "quality_score"} <= fields


def test_the_token_goes_to_the_given_address_only(meta: Meta, api: CloudApi) -> None:
    """`next` names another host here, with the token in it: following it would be a gift."""
    meta.answer = pages(1, 1)
    assert len(list(api.templates("waba"))) == 2
    assert {authorization for _, _, authorization in meta.asked} == {f"Bearer {TOKEN}"}


def test_pages_that_lead_in_a_circle_are_an_error(meta: Meta, api: CloudApi) -> None:
    meta.answer = lambda path, query: (200, {"data": [], "paging": {"cursors": {"after": "same"}, "next": "x"}})
    with pytest.raises(CloudApiError, match="no new cursor"):
        list(api.templates("waba"))


def test_a_list_without_data_is_not_an_empty_list(meta: Meta, api: CloudApi) -> None:
    meta.answer = lambda path, query: (200, {"rows": []})
    with pytest.raises(CloudApiError, match="no `data`"):
        list(api.templates("waba"))


def test_a_phone_number_tells_quality_throughput_and_limit(meta: Meta, api: CloudApi) -> None:
    meta.answer = lambda path, query: (
        200,
        {
            "id": "2200",
            "display_phone_number": "+33 1 87 65 43 21",
            "verified_name": "Chaussures",
            "quality_rating": "GREEN",
            "throughput": {"level": "HIGH"},
            "whatsapp_business_manager_messaging_limit": "TIER_100K",
            "new_in_2029": [1],
        },
    )
    number = api.phone_number("2200")
    assert (number.id, number.quality, number.throughput) == ("2200", "GREEN", "HIGH")
    assert (number.messaging_limit, number.verified_name) == ("TIER_100K", "Chaussures")
    assert number.name_status is None
    assert meta.asked[0][0] == "/v25.0/2200"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {}),
        (429, b"slow down"),
        (400, fault(80007, "Rate limit issues")),
        (400, fault(4, "Application request limit")),
        (500, fault(2, "Service temporarily unavailable")),
        (503, b"<html>"),
    ],
)
def test_a_busy_meta_is_asked_again_after_a_while(
    meta: Meta, api: CloudApi, waits: list[float], status: int, body: Any
) -> None:
    answers: list[Answer] = [(status, body), (status, body), (200, {"id": "2200"})]
    meta.answer = lambda path, query: answers.pop(0)
    assert api.phone_number("2200").id == "2200"
    assert waits == [1.0, 2.0]


def test_patience_ends(meta: Meta, api: CloudApi, waits: list[float]) -> None:
    meta.answer = lambda path, query: (400, fault(80007, "Rate limit issues"))
    with pytest.raises(CloudApiError, match="80007") as caught:
        api.phone_number("2200")
    assert len(meta.asked) == TRIES and waits == [1.0, 2.0, 4.0, 8.0]
    assert "hour" in caught.value.mend


def test_retry_after_is_heeded_up_to_a_minute(meta: Meta, api: CloudApi, waits: list[float]) -> None:
    answers: list[Answer] = [
        (429, {}, {"Retry-After": "7"}),
        (429, {}, {"Retry-After": "86400"}),
        (429, {}, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        (200, {"id": "2200"}),
    ]
    meta.answer = lambda path, query: answers.pop(0)
    api.phone_number("2200")
    assert waits == [7.0, 60.0, 4.0]


@pytest.mark.parametrize(
    ("status", "body", "message", "mend"),
    [
        (401, fault(190, "Session has expired"), "190", "WHATSAPP_TOKEN"),
        (401, fault(0, "AuthException"), "code 0", "WHATSAPP_TOKEN"),
        (403, fault(200, "Permissions error"), "200", "permission"),
        (400, fault(100, "Object does not exist", error_subcode=33), "100", "estafette.yaml"),
        (404, b"<html>nginx</html>", "not Meta's Cloud API", "WHATSAPP_API_URL"),
        (200, b"<html>It works!</html>", "not Meta's Cloud API", "WHATSAPP_API_URL"),
        (200, b"[]", "not Meta's Cloud API", "WHATSAPP_API_URL"),
        (301, b"", "not Meta's Cloud API", "WHATSAPP_API_URL"),
    ],
)
def test_a_refusal_says_what_to_do_and_is_not_repeated(
    meta: Meta, api: CloudApi, waits: list[float], status: int, body: Any, message: str, mend: str
) -> None:
    meta.answer = lambda path, query: (status, body)
    with pytest.raises(CloudApiError, match=message) as caught:
        api.phone_number("2200")
    assert mend in caught.value.mend and len(meta.asked) == 1 and waits == []


def test_a_refused_connection_points_to_the_sandbox(meta: Meta, waits: list[float]) -> None:
    api = CloudApi("http://127.0.0.1:9", "v25.0", SecretStr(TOKEN), sleep=waits.append)
    with api, pytest.raises(CloudApiError, match=r"no connection to 127\.0\.0\.1:9") as caught:
        api.phone_number("2200")
    assert "estafette sandbox" in caught.value.mend and waits == []


def test_a_certificate_that_is_not_trusted_says_so() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed")

    transport = httpx.MockTransport(handler)
    api = CloudApi("https://graph.example", "v25.0", SecretStr(TOKEN), transport=transport)
    with api, pytest.raises(CloudApiError, match="certificate of graph") as caught:
        api.phone_number("2200")
    assert "SSL_CERT_FILE" in caught.value.mend


def test_silence_is_tried_again_and_then_told(waits: list[float]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    transport = httpx.MockTransport(handler)
    api = CloudApi("https://graph.example", "v25.0", SecretStr(TOKEN), transport=transport, sleep=waits.append)
    with api, pytest.raises(CloudApiError, match="does not answer"):
        api.phone_number("2200")
    assert len(waits) == TRIES - 1


class Endless(httpx.SyncByteStream):
    """A body without an end; counts what was taken of it."""

    def __init__(self, chunk: bytes) -> None:
        self.chunk, self.taken = chunk, 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.taken += len(self.chunk)
            if self.taken > 100 * 1024 * 1024:
                raise AssertionError("whoever reads this reads all of it")
            yield self.chunk


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_answer_without_an_end_is_read_up_to_a_limit_and_once(status: int, waits: list[float]) -> None:
    body = Endless(b" " * 65_536)
    transport = httpx.MockTransport(lambda request: httpx.Response(status, stream=body))
    api = CloudApi("http://meta.test", "v25.0", SecretStr(TOKEN), transport=transport, sleep=waits.append)
    with api, pytest.raises(CloudApiError, match=r"meta.test is not Meta's Cloud API: it answers more than 10 MB"):
        api.phone_number("1")
    assert body.taken < 12 * 1024 * 1024
    assert waits == []


def test_an_answer_that_drips_is_not_waited_for(waits: list[float]) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Endless(b" ")))
    more: dict[str, Any] = {"tries": 2, "timeout": 0.01, "transport": transport, "sleep": waits.append}
    api = CloudApi("http://meta.test", "v25.0", SecretStr(TOKEN), **more)
    with api, pytest.raises(CloudApiError, match=r"meta.test does not answer"):
        api.phone_number("1")
    assert waits == [1.0]


def test_a_list_of_templates_without_an_end_is_not_followed(
    meta: Meta, api: CloudApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.cloud_api.MOST_PAGES", 5)

    def answer(path: str, query: dict[str, str]) -> Answer:
        after = str(int(query.get("after", "0")) + 1)
        return 200, {"data": [], "paging": {"next": "there", "cursors": {"after": after}}}

    meta.answer = answer
    with pytest.raises(CloudApiError, match="goes on after 5 pages"):
        list(api.templates("1"))


@pytest.mark.parametrize(
    "url", ["", "graph.facebook.com", "ftp://x", "https://", "https://user:pw@x", "https://x/?a=1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(CloudApiError, match="address"):
        CloudApi(url, "v25.0", SecretStr(TOKEN))


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nend", "clé"])
def test_a_token_that_no_header_takes_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(CloudApiError, match="token") as caught:
        CloudApi("https://graph.example", "v25.0", SecretStr(token))
    assert not token.strip() or token not in str(caught.value)


def test_a_token_copied_with_its_line_end_works(meta: Meta) -> None:
    meta.answer = lambda path, query: (200, {"id": "2200"})
    with CloudApi(meta.url + "/", "v25.0", SecretStr(TOKEN + "\n")) as api:
        api.phone_number("2200")
    assert meta.asked[0][::2] == ("/v25.0/2200", f"Bearer {TOKEN}")


def test_the_token_shows_nowhere(meta: Meta, api: CloudApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    meta.answer = lambda path, query: (401, fault(190, f"Malformed access token {TOKEN}"))
    with pytest.raises(CloudApiError) as caught:
        api.phone_number("2200")
    shown = caplog.text + repr(api) + str(caught.value) + repr(caught.value) + repr(caught.value.__context__)
    assert TOKEN not in shown and "Malformed access token" in shown
