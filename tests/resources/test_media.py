"""Looking at media: what Meta could fetch, what it could not and why, and that looking itself harms nobody."""

import threading
import time

import pytest

from resources import media, media_fetch
from resources.media import NOT_IN_TIME, MediaChecks
from resources.media_fetch import Trouble, is_private
from tests.media_server import MediaServer, Page, media_server

MB = 1024 * 1024


@pytest.fixture
def server():
    with media_server() as made:
        yield made


def why(server: MediaServer, path: str, kind: str = "image", **more) -> str | None:
    found = MediaChecks(**more).troubles(kind, [server.url + path], allow_private=True)
    return found[server.url + path].why if found else None


@pytest.mark.parametrize(
    ("kind", "content_type", "length", "words"),
    [
        ("image", "image/jpeg", 5 * MB, None),
        ("image", "IMAGE/PNG; charset=binary", 1, None),
        ("image", "image/jpeg", 5 * MB + 1, "it has 5.0 MB; WhatsApp takes at most 5 MB as an image"),
        ("image", "image/gif", 1, "its type is image/gif; WhatsApp takes JPEG or PNG as an image"),
        ("image", "text/html", 1, "its type is text/html"),
        ("image", None, 1, "its server says no type"),
        ("video", "video/mp4", 16 * MB, None),
        ("video", "video/mp4", 16 * MB + 1, "at most 16 MB as a video"),
        ("video", "image/jpeg", 1, "takes MP4 or 3GP as a video"),
        ("document", "application/pdf", 100 * MB, None),
        ("document", "application/pdf", 100 * MB + 1, "at most 100 MB as a document"),
        ("document", "application/zip", 1, "its type is application/zip"),
    ],
)  # fmt: skip
def test_type_and_size_are_what_whatsapp_takes(server, kind, content_type, length, words):
    server.pages["/a"] = Page(content_type, length=length)
    found = why(server, "/a", kind)
    assert found is None if words is None else words in found


def test_a_good_answer_to_head_is_enough(server):
    server.pages["/a"] = Page()
    assert why(server, "/a") is None
    assert [method for method, *_ in server.asked] == ["HEAD"]


@pytest.mark.parametrize(
    "page",
    [
        Page(head=405),
        Page(head=403, ranges=True),
        Page(length=-1),
        Page(length=-1, ranges=True),
    ],
)  # fmt: skip
def test_a_server_that_refuses_head_or_says_no_size_there_is_asked_for_the_file(server, page):
    server.pages["/a"] = page
    assert why(server, "/a") is None
    assert [method for method, *_ in server.asked] == ["HEAD", "GET"]


def test_a_file_of_unknown_size_is_read_up_to_the_limit_and_no_further(server):
    server.pages["/a"] = Page(body=bytes(100 * MB), length=-1)
    assert "at most 5 MB" in (why(server, "/a") or "")
    assert server.written < 30 * MB  # what it wrote beyond 5 MB lies in the buffers of the two sockets


def test_what_is_read_in_a_pass_is_bounded(server, monkeypatch):
    monkeypatch.setattr(media, "READ_AT_MOST", MB)
    for number in range(5):
        server.pages[f"/{number}"] = Page("video/mp4", bytes(15 * MB), length=-1)
    urls = [f"{server.url}/{number}" for number in range(5)]
    assert MediaChecks().troubles("video", urls, allow_private=True) == {}
    assert server.written < 30 * MB


@pytest.mark.parametrize(("page", "words"), [
    (None, "answers HTTP 404"), (Page(status=500), "answers HTTP 500"), (Page(body=b""), "it is empty"),
])  # fmt: skip
def test_what_is_not_there_is_told(server, page, words):
    if page:
        server.pages["/a"] = page
    assert words in (why(server, "/a") or "")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/a", "there is no connection to 127.0.0.1"),
        ("http://no-such-server.invalid/a", "nobody knows a server no-such-server.invalid"),
        ("ftp://example.com/a", "no http(s) address"),
        ("http://", "no"),
        ("http://a b/", "no"),
    ],
)  # fmt: skip
def test_where_nobody_is_is_told(url, words):
    found = MediaChecks().troubles("image", [url], allow_private=True)
    assert words in found[url].why


# -- redirects and addresses -------------------------------------------------------------------------------------------


def test_redirects_are_followed_a_few_times(server):
    server.pages |= {
        "/0": Page(status=302, location="/1"),
        "/1": Page(status=307, location=f"{server.url}/2"),
        "/2": Page(),
    }
    assert why(server, "/0") is None
    server.pages["/round"] = Page(status=301, location="/round")
    assert why(server, "/round") == "it is redirected more than 5 times"


def test_a_private_address_is_refused_wherever_the_way_leads_there(server):
    public = {"cdn.test": ["93.184.216.34"], "inside.test": ["10.0.0.8"], "both.test": ["93.184.216.34", "::1"]}

    async def resolve(host, port):
        return public.get(host, [host])

    checks = MediaChecks(resolve=resolve)
    urls = [
        "http://127.0.0.1/a",
        "http://inside.test/a",
        "http://[::1]/a",
        "https://both.test/a",
        "http://169.254.169.254/",
    ]
    found = checks.troubles("image", urls, allow_private=False)
    assert set(found) == set(urls)
    assert all(one.private and "private network" in one.why for one in found.values())
    assert server.asked == []


def test_a_redirect_into_the_private_network_is_refused(server):
    """The first hop's name is taken for a public one; the second is this machine, as it says."""
    server.pages["/a"] = Page(status=302, location=f"{server.url}/secret")

    async def resolve(host, port):
        return ["127.0.0.1"]

    checks = MediaChecks(resolve=resolve)
    real = media_fetch.is_private
    seen = []

    def first_is_public(address):
        seen.append(address)
        return len(seen) > 1 and real(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media_fetch, "is_private", first_is_public)
        url = f"http://cdn.test:{server.port}/a"
        assert checks.troubles("image", [url], allow_private=False)[url].private
    assert [path for _, path, _ in server.asked] == ["/a"]


def test_the_connection_goes_to_the_address_that_was_looked_at(server):
    """A name that resolves to something else a moment later gains nothing: it is resolved once."""
    server.pages["/a"] = Page()
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])

    async def resolve(host, port):
        return next(answers)

    url = f"http://cdn.test:{server.port}/a"
    assert MediaChecks(resolve=resolve).troubles("image", [url], allow_private=True) == {}
    assert server.asked == [("HEAD", "/a", f"cdn.test:{server.port}")]


@pytest.mark.parametrize(("address", "private"), [
    ("8.8.8.8", False), ("2606:4700::1111", False), ("::ffff:8.8.8.8", False),
    ("10.1.2.3", True), ("172.16.0.1", True), ("192.168.1.1", True), ("127.0.0.1", True), ("0.0.0.0", True),
    ("169.254.169.254", True), ("100.64.0.1", True), ("224.0.0.1", True), ("255.255.255.255", True), ("::1", True),
    ("::", True), ("fe80::1%eth0", True), ("fd00::1", True), ("::ffff:127.0.0.1", True), ("2002:7f00:1::", True),
    ("64:ff9b::10.0.0.1", True), ("64:ff9b::8.8.8.8", False), ("ff02::1", True),
    ("fec0::1", True), ("192.0.0.8", True), ("192.88.99.1", True), ("100.100.100.200", True), ("198.18.0.1", True),
    ("::ffff:0:127.0.0.1", True), ("::127.0.0.1", True), ("fd00:ec2::254", True), ("64:ff9b:1::7f00:1", True),
])  # fmt: skip
def test_what_a_private_address_is(address, private):
    assert is_private(address) is private


# -- many, in time -----------------------------------------------------------------------------------------------------


def test_many_addresses_are_looked_at_side_by_side_and_not_all_at_once(server):
    urls = [f"{server.url}/{number}" for number in range(100)]
    server.pages |= {f"/{number}": Page(wait=0.02) for number in range(100)}
    assert MediaChecks().troubles("image", urls, allow_private=True) == {}
    assert 2 < server.most_at_once <= media.PARALLEL


def test_what_there_is_no_time_for_is_told_and_looked_at_by_the_next_pass(server):
    server.pages |= {"/slow": Page(wait=3), "/good": Page()}
    urls = [f"{server.url}/good", f"{server.url}/slow"]
    checks = MediaChecks(seconds=0.7)
    began = time.monotonic()
    assert checks.troubles("image", urls, allow_private=True) == {urls[1]: NOT_IN_TIME}
    assert checks.troubles("image", [*urls, "http://127.0.0.1:1/"], allow_private=True) == {
        urls[1]: NOT_IN_TIME, "http://127.0.0.1:1/": NOT_IN_TIME
    }  # fmt: skip
    assert time.monotonic() - began < 2.5
    server.pages["/slow"] = Page()
    checks.begin()
    assert checks.troubles("image", urls, allow_private=True) == {}


def test_looking_ends_when_its_time_is_over(server):
    server.pages["/slow"] = Page(wait=3)
    assert MediaChecks(seconds=0.2).troubles("image", [f"{server.url}/slow"], allow_private=True)
    for thread in [one for one in threading.enumerate() if one.name == "media"]:
        thread.join(2)
        assert not thread.is_alive()


def test_a_name_server_that_hangs_holds_up_no_pass():
    over, waited = threading.Event(), []

    async def resolve(host, port):
        waited.append(over.wait(20))
        return ["127.0.0.1"]

    url = "http://cdn.test/a"
    assert MediaChecks(resolve=resolve, seconds=0.2).troubles("image", [url], allow_private=True) == {url: NOT_IN_TIME}
    assert waited == []
    over.set()


def test_a_server_that_takes_the_question_and_says_nothing_does_not_answer(server, monkeypatch):
    monkeypatch.setattr(media, "READ", 0.2)
    server.pages["/a"] = Page(wait=2)
    assert why(server, "/a") == "127.0.0.1 does not answer"


def test_only_so_many_addresses_are_remembered(server, monkeypatch):
    monkeypatch.setattr(media, "REMEMBERED", 10)
    checks = MediaChecks()
    for some in range(5):
        urls = [f"{server.url}/{some}-{number}" for number in range(4)]
        assert set(checks.troubles("image", urls, allow_private=True)) == set(urls)
    assert len(checks._known) <= 10


def test_a_server_that_is_silent_is_not_asked_again_and_again(server, monkeypatch):
    monkeypatch.setattr(media, "PARALLEL", 1)
    monkeypatch.setattr(media, "EACH", 0.1)
    server.pages |= {f"/{number}": Page(wait=0.5) for number in range(20)}
    urls = [f"{server.url}/{number}" for number in range(20)]
    found = MediaChecks().troubles("image", urls, allow_private=True)
    assert set(found) == set(urls)
    assert len(server.asked) == media.GIVE_UP


def test_each_address_is_looked_at_once_in_a_while(server):
    server.pages["/good"] = Page()
    wall = [1_000_000.0]
    checks = MediaChecks(lambda: wall[0])
    urls = [f"{server.url}/good", f"{server.url}/bad"]

    def asked() -> list[str]:
        server.asked.clear()
        found = checks.troubles("image", [*urls, *urls], allow_private=True)
        assert found == {urls[1]: Trouble("its server answers HTTP 404")}
        return sorted({path for _, path, _ in server.asked})

    assert asked() == ["/bad", "/good"]
    assert asked() == []
    wall[0] += media.BAD_FOR
    assert asked() == ["/bad"]
    wall[0] += media.GOOD_FOR
    assert asked() == ["/bad", "/good"]
    server.pages["/bad"] = Page()
    wall[0] += media.BAD_FOR
    assert checks.troubles("image", urls, allow_private=True) == {}
