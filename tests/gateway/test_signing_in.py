"""Who gets in to the pages, who does not, and what a browser is told on the way."""

import asyncio
import re
import threading
from collections.abc import Callable

import httpx
import pytest
import uvicorn

from gateway.app import address, config, create_app, listen
from gateway.look import own_path
from gateway.words import accepted
from gateway.words_codes_fr import CODES as CODES_FR
from gateway.words_en import TEXTS as ENGLISH
from gateway.words_fr import ENDS, SKIPS
from gateway.words_fr import TEXTS as FRENCH
from journey.codes import CODES
from journey.words import LeaveReason, SkipReason
from resources import users
from resources.sessions import MOST_BY_ADDRESS, MOST_BY_NAME
from tests.gateway.pages import PASSWORD, Browser, browsing, make_user, templates
from tests.stage import Stage

Make = Callable[..., Stage]


def play(stage: Stage, scene: Callable[[Browser], object], **more: str) -> None:
    async def run() -> None:
        async with browsing(stage, **more) as browser:
            await scene(browser)  # type: ignore[misc]

    asyncio.run(run())


def test_where_nobody_exists_the_log_in_says_which_command_makes_a_user(make_home: Make) -> None:
    async def scene(browser: Browser) -> None:
        page = await browser.get("/login")
        assert page.status_code == 200 and "estafette users add NAME --role operator" in page.text
        assert "<form" not in page.text

    play(make_home(), scene)


def test_a_page_asks_for_a_log_in_and_then_shows_what_was_asked_for(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        page = await browser.get("/campaigns/offer?done=stopped")
        assert (page.status_code, page.headers["location"]) == (303, "/login?to=/campaigns/offer%3Fdone%3Dstopped")
        page = await browser.submit(page.headers["location"], "/login", name="olga", password=PASSWORD)
        assert (page.status_code, page.headers["location"]) == (303, "/campaigns/offer?done=stopped")
        cookie = page.headers.get_list("set-cookie")[0]
        assert cookie.startswith("estafette_session=") and "HttpOnly" in cookie and "SameSite=lax" in cookie
        assert "Secure" not in cookie
        assert (await browser.get("/campaigns/offer")).status_code == 200
        assert (await browser.get("/login?to=/campaigns/offer")).headers["location"] == "/campaigns/offer"

    play(stage, scene)


def test_a_name_with_slashes_in_an_address_leads_back_to_itself(make_home: Make) -> None:
    """A contact's id is what a file says. Written out, `../..` would be folded into another address by a browser."""
    stage = make_home()
    make_user(stage)
    asked = "/inbox/..%2F..%2Fa%3Fb"

    async def scene(browser: Browser) -> None:
        page = await browser.get(asked)
        assert page.headers["location"] == "/login?to=/inbox/..%252F..%252Fa%253Fb"
        page = await browser.submit(page.headers["location"], "/login", name="olga", password=PASSWORD)
        assert page.headers["location"] == asked
        page = await browser.get(asked)
        (link,) = re.findall(r'href="(/language/fr[^"]*)"', page.text)
        assert (await browser.get(link)).headers["location"] == asked

    play(stage, scene)


def test_the_cookie_is_for_https_only_where_the_browser_came_by_https(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        page = await browser.log_in()
        assert all("Secure" in one for one in page.headers.get_list("set-cookie") if "session" in one)

    play(stage, scene, base="https://pages.test")


def test_every_cookie_is_kept_from_scripts_from_other_sites_and_from_http(make_home: Make) -> None:
    async def scene(browser: Browser) -> None:
        for path, name in (("/login", "estafette_before"), ("/language/fr", "estafette_language")):
            (cookie,) = (await browser.get(path)).headers.get_list("set-cookie")
            assert cookie.startswith(f"{name}=")
            assert {"HttpOnly", "SameSite=lax", "Secure"} <= set(cookie.split("; ")), cookie

    play(make_home(), scene, base="https://pages.test")


def test_nobody_says_by_a_header_that_they_came_by_https(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        browser.http.headers["X-Forwarded-Proto"] = "https"
        assert "Secure" not in (await browser.log_in()).headers.get_list("set-cookie")[0]

    play(stage, scene)


def test_wrong_names_and_wrong_passwords_get_the_same_answer(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        wrong = await browser.log_in(password="not the password")
        unknown = await browser.log_in(name="nobody", password="not the password")
        assert (wrong.status_code, unknown.status_code) == (401, 401)
        assert "The name or the password is not right." in wrong.text
        assert wrong.text.replace("olga", "") == unknown.text.replace("nobody", "")
        assert (await browser.get("/")).status_code == 303

    play(stage, scene)


def test_a_name_that_nobody_has_takes_the_work_that_any_name_takes(
    make_home: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_home()
    make_user(stage)
    users.nobody()
    work: list[tuple[int, ...]] = []
    real = users._scrypt

    def counted(password: str, salt: bytes, *cost: int) -> bytes:
        work.append(cost)
        return real(password, salt, *cost)

    monkeypatch.setattr(users, "_scrypt", counted)

    async def scene(browser: Browser) -> None:
        await browser.log_in(password="not the password")
        known = list(work)
        await browser.log_in(name="nobody", password="not the password")
        assert len(known) == 1 and work == known * 2

    play(stage, scene)


def test_each_log_in_has_an_id_of_its_own_and_the_one_before_is_over(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        browser.http.cookies.set("estafette_session", "given-by-somebody-else")
        page = await browser.log_in()
        first = page.cookies["estafette_session"]
        assert first != "given-by-somebody-else"
        (kept,) = stage.rows("SELECT hash FROM session")
        assert first not in kept
        again = {"csrf": "once-more", "name": "olga", "password": PASSWORD}
        cookies = {"Cookie": f"estafette_session={first}; estafette_before=once-more"}
        second = await browser.http.post("/login", data=again, headers=cookies)
        assert second.cookies["estafette_session"] != first
        assert stage.value("SELECT count(*) FROM session") == 1

    play(stage, scene)


def test_too_many_failures_close_the_door_for_that_name_and_time_opens_it(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        for _ in range(MOST_BY_NAME):
            assert (await browser.log_in(password="wrong wrong wrong")).status_code == 401
        closed = await browser.log_in()
        assert closed.status_code == 429 and int(closed.headers["retry-after"]) > 0
        assert "Too many attempts" in closed.text
        stage.later(minutes=16)
        assert (await browser.log_in()).status_code == 303

    play(stage, scene)


def test_many_names_from_one_address_are_stopped_too(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.signing_in.is_password", lambda kept, password: False)
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        for number in range(MOST_BY_ADDRESS):
            assert (await browser.log_in(name=f"n{number}")).status_code == 401
        assert (await browser.log_in(name="another")).status_code == 429

    play(stage, scene)

    async def elsewhere(browser: Browser) -> None:
        assert (await browser.log_in(name="another")).status_code == 401

    play(stage, elsewhere, address="2001:db8::1")


def test_a_form_without_its_token_changes_nothing(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        page = await browser.http.post("/login", data={"name": "olga", "password": PASSWORD, "csrf": ""})
        assert page.status_code == 403 and "text/html" in page.headers["content-type"]
        await browser.log_in()
        for path in ("/logout", "/campaigns/offer/stop"):
            assert (await browser.http.post(path, data={"csrf": "guessed"})).status_code == 403
            assert (await browser.http.post(path, json={})).status_code == 400
        assert (await browser.get("/")).status_code == 200

    play(stage, scene)


def test_logging_out_ends_the_session_for_everyone_who_has_its_id(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        made = (await browser.log_in()).cookies["estafette_session"]
        page = await browser.submit("/", "/logout", form="/logout")
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        browser.http.cookies.set("estafette_session", made)
        assert (await browser.get("/")).status_code == 303

    play(stage, scene)


def test_sessions_end_unused_and_stay_while_they_are_used(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        await browser.log_in()
        for _ in range(4):
            stage.later(hours=8)
            assert (await browser.get("/")).status_code == 200
        stage.later(hours=13)
        assert (await browser.get("/")).status_code == 303

    play(stage, scene)


def test_a_page_that_renews_itself_keeps_nobody_logged_in(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        await browser.log_in()
        for _ in range(2):
            stage.later(hours=5)
            assert (await browser.get("/", headers={"X-Estafette-Live": "1"})).status_code == 200
            stream = {"Accept": "text/event-stream"}  # news for a page that is left open; of nobody here
            assert (await browser.get(f"/inbox/events?contact={'x' * 2_000}", headers=stream)).status_code == 400
        stage.later(hours=3)
        assert (await browser.get("/", headers={"X-Estafette-Live": "1"})).status_code == 303

    play(stage, scene)


def test_a_removed_user_is_out_at_once(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        await browser.log_in()
        with stage.home.ledger.write() as tx:
            tx.exec_driver_sql("UPDATE user SET disabled_at = 1")
        assert (await browser.get("/")).status_code == 303

    play(stage, scene)


def test_a_log_in_leads_to_our_own_pages_only() -> None:
    for target in (
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "javascript:1",
        "",
        "/a\r\nb",
        "/" + "x" * 3_000,
    ):
        assert own_path(target) == "/", target
    assert own_path("/campaigns/a?b=c") == "/campaigns/a?b=c"


def test_pages_allow_nothing_inline_and_nothing_from_elsewhere(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        page = await browser.get("/login")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and page.headers["x-frame-options"] == "DENY"
        assert page.headers["cache-control"] == "no-store"
        (css,) = re.findall(r'href="(/static/estafette[^"]+)"', page.text)
        kept = await browser.get(css)
        assert "immutable" in kept.headers["cache-control"] and kept.headers["content-type"].startswith("text/css")
        again = await browser.get("/static/estafette.css", headers={"If-None-Match": kept.headers["etag"]})
        assert again.status_code == 304
        assert (await browser.get("/static/..%2Flook.py")).status_code == 404

    play(stage, scene)
    for text in templates():
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://|\|\s*safe", text), text


def test_the_language_is_the_browsers_until_another_is_chosen(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)

    async def scene(browser: Browser) -> None:
        assert "Se connecter" in (await browser.get("/login")).text
        chosen = await browser.get("/language/en?to=/login")
        assert (chosen.status_code, chosen.headers["location"]) == (303, "/login")
        page = await browser.get("/login")
        assert '<html lang="en">' in page.text and "Log in" in page.text
        assert (await browser.get("/language/xx?to=//evil.test")).headers["location"] == "/"

    play(stage, scene, **{"Accept-Language": "fr-CA,fr;q=0.8,en;q=0.5"})


def test_accept_language_is_read_with_its_weights() -> None:
    assert [accepted(one) for one in ("", "de, fr;q=0.3", "fr;q=0.2, en-GB;q=0.9", "*", "fr;q=x")] == [
        "en", "fr", "en", "en", "en",
    ]  # fmt: skip


def test_both_languages_say_the_same_things() -> None:
    blanks = re.compile(r"\{(\w+)\}")
    assert list(ENGLISH) == list(FRENCH)
    for key, text in ENGLISH.items():
        assert set(blanks.findall(text)) == set(blanks.findall(FRENCH[key])), key
    assert set(SKIPS) == set(SkipReason) and set(ENDS) == set(LeaveReason) and set(CODES_FR) == set(CODES)


def test_every_text_that_a_template_wants_is_there() -> None:
    wanted = {key for text in templates() for key in re.findall(r"""\bt\(["'](\w+)["'](?!\s*~)""", text)}
    assert wanted <= set(ENGLISH)


def test_an_unknown_address_is_a_page_for_browsers_and_json_for_programs(make_home: Make) -> None:
    async def scene(browser: Browser) -> None:
        page = await browser.get("/nowhere", headers={"Accept": "text/html"})
        assert page.status_code == 404 and "<h1>" in page.text
        assert (await browser.get("/nowhere")).json() == {"error": "There is nothing at /nowhere."}

    play(make_home(), scene)


def test_a_proxy_is_believed_only_where_it_is_trusted(make_home: Make) -> None:
    stage = make_home()
    make_user(stage)
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.9"}
    for proxies, believed in (((), False), (("127.0.0.0/8",), True), (("10.0.0.1",), False)):
        app = create_app(stage.path, app_secret=None, verify_token=None, clock=lambda: stage.now)
        with listen("127.0.0.1", 0) as listening:
            server = uvicorn.Server(config(app, proxies))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                with httpx.Client(base_url=address(listening), trust_env=False, timeout=60) as http:
                    page = http.get("/login", headers=said)
                    csrf = re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]
                    cookie = {"Cookie": f"estafette_before={csrf}"}
                    form = {"csrf": csrf, "name": "olga", "password": "not the password"}
                    assert http.post("/login", data=form, headers={**said, **cookie}).status_code == 401
            finally:
                server.should_exit = True
                thread.join()
        assert ("Secure" in page.headers["set-cookie"]) is believed
        assert ("strict-transport-security" in page.headers) is believed
        (seen,) = stage.rows("SELECT address FROM login_attempt ORDER BY id DESC LIMIT 1")
        assert seen == ("198.51.100.9" if believed else "127.0.0.1",)
