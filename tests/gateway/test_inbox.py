"""The inbox: every conversation in its order, shown as both sides saw it; nothing that somebody wrote is believed."""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from gateway import inbox_events
from gateway.app import GRACE, Server, address, config, create_app, listen
from gateway.inbox_events import LIST, Watch, _is_news
from gateway.signing_in import SESSION
from gateway.store import Store
from gateway.thread_view import _web
from resources import conversations as conversations_module
from resources.conversations import Asked, conversations
from resources.sessions import begin_session
from resources.thread import thread
from tests.gateway.pages import Browser, make_user
from tests.gateway.test_campaigns import plain, play
from tests.stage import Stage, accepted, person, refused, template

Make = Callable[..., Stage]

SURVEY = """
name: survey
sender: main
entries:
  - audience: {segment: everyone}
steps:
  ask:
    message: {template: ask, language: fr, variables: {first_name: {user: first_name, fallback: vous}}}
    on_reply: {within: 1d, answers: {Oui: thanks}, other: end, silence: end}
  thanks:
    message: {template: hello, language: fr}
"""
ASK = template(
    "ask",
    body="Bonjour {{first_name}}, content ?",
    header={"type": "HEADER", "format": "TEXT", "text": "Une question"},
    buttons=[{"type": "QUICK_REPLY", "text": "Oui"}, {"type": "QUICK_REPLY", "text": "Non"}],
)
ASK["components"].insert(2, {"type": "FOOTER", "text": "STOP pour arrêter"})
PEOPLE = [
    person(1, first_name="Élodie", last_name="Durand"),
    person(2, first_name="Karim", last_name="Benali"),
    person(3, first_name="<script>alert(1)</script>", last_name="Noir"),
]
PHONES = {number: f"+33600{number:06d}" for number in range(10)}


def talked(make_home: Make, **more: Any) -> Stage:
    """Three people were asked; nobody has said anything."""
    stage = make_home(campaigns=[SURVEY], contacts=PEOPLE, templates=[ASK, template("hello")], **more)
    stage.run("survey")
    stage.send()
    return stage


def order(page: str) -> list[str]:
    return re.findall(r'href="/inbox/([^"#?]+)#newest"', page)


def look(stage: Stage, path: str, role: str = "viewer", **headers: str) -> str:
    """What a page holds for somebody who is logged in."""
    found: list[str] = []

    async def scene(browser: Browser) -> None:
        found.append((await browser.get(path)).text)

    play(stage, scene, role, **headers)
    return found[0]


def test_an_inbox_without_conversations_says_how_one_begins(make_home: Make) -> None:
    stage = make_home()
    stage.turn()
    assert "A conversation begins when" in look(stage, "/inbox")


def test_nobody_reads_without_a_log_in(make_home: Make) -> None:
    stage = talked(make_home)

    async def scene(browser: Browser) -> None:
        browser.http.cookies.clear()
        for path in ("/inbox", "/inbox/c1?before=1.0.1", "/inbox/events"):
            page = await browser.get(path)
            assert page.status_code == 303 and page.headers["location"].startswith("/login?to=/inbox"), path

    play(stage, scene)


def test_conversations_are_ordered_by_the_last_word_of_either_side(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=5)
    stage.says(PHONES[1], "Bonjour").turn()
    stage.later(minutes=5).says(PHONES[3], "Oui").turn()

    async def scene(browser: Browser) -> None:
        assert order((await browser.get("/inbox")).text) == ["c3", "c1", "c2"]
        stage.later(minutes=5)
        stage.contacts([person(4, first_name="Neuf")]).run("survey")
        stage.send()  # the thanks of c3, and the question to c4
        page = (await browser.get("/inbox")).text
        assert set(order(page)[:2]) == {"c3", "c4"} and order(page)[2:] == ["c1", "c2"]
        assert "Bonjour Neuf, content ?" in plain(page)

    play(stage, scene)


def test_a_page_holds_forty_and_the_next_goes_on_where_it_ended(make_home: Make) -> None:
    stage = make_home(contacts=95)
    stage.run()
    stage.send()  # all at one moment: only the ids tell them apart
    stage.later(minutes=1).says(PHONES[7], "Moi").turn()

    async def scene(browser: Browser) -> None:
        found: list[str] = []
        path: str | None = "/inbox"
        while path is not None:
            page = (await browser.get(path)).text
            found += order(page)
            older = re.search(r'href="(/inbox\?after=[^"]+)"', page)
            path = older[1] if older else None
        assert len(found) == 95 == len(set(found)) and found[0] == "c7"

    play(stage, scene)


def test_filters_find_open_windows_those_who_wait_and_a_campaigns_people(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=5)
    stage.says(PHONES[1], "Bonjour").says(PHONES[2], "Oui").turn()
    stage.later(minutes=1)
    stage.send()  # Karim is thanked, so he does not wait

    async def scene(browser: Browser) -> None:
        assert order((await browser.get("/inbox?show=open")).text) == ["c2", "c1"]
        assert order((await browser.get("/inbox?show=waiting")).text) == ["c1"]
        assert set(order((await browser.get("/inbox?campaign=survey")).text)) == {"c1", "c2", "c3"}
        assert order((await browser.get("/inbox?campaign=survey&show=waiting")).text) == ["c1"]
        none = (await browser.get("/inbox?campaign=other")).text
        assert order(none) == [] and "Show every conversation" in none
        stage.later(hours=24)
        assert order((await browser.get("/inbox?show=open")).text) == []

    play(stage, scene)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("elodie", ["c1"]), ("DURAND", ["c1"]), ("élodie durand", ["c1"]), ("06 00 00 00 02", ["c2"]),
        ("+33 6 00 00 00 02", ["c2"]), ("c3", ["c3"]), ("facture", ["c2"]), ("nobody", []), ("%", []),
    ],
)  # fmt: skip
def test_a_search_finds_names_phones_ids_and_what_they_wrote(make_home: Make, words: str, found: list[str]) -> None:
    stage = talked(make_home).later(minutes=1)
    stage.says(PHONES[2], "Où est ma Facturé ?").turn()

    async def scene(browser: Browser) -> None:
        page = await browser.get("/inbox", params={"q": words})
        assert order(page.text) == found
        if not found:
            assert "Try fewer letters" in page.text

    play(stage, scene)


def test_a_thread_shows_the_message_as_it_was_seen_and_the_button_that_was_pressed(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=5)
    (id,) = [row[0] for row in stage.rows("SELECT id FROM message WHERE contact_id = 'c1'")]
    stage.status(id, "delivered").status(id, "read")
    press(stage, PHONES[1], "Oui", f"wamid.{id}")
    react(stage, PHONES[1], "👍", f"wamid.{id}")
    stage.turn()
    page = look(stage, "/inbox/c1")
    said = plain(page)
    for part in ("Une question", "Bonjour Élodie, content ?", "STOP pour arrêter", "Oui pressed", "👍", "read ·"):
        assert part in said, part
    assert "Non pressed" not in said
    assert re.search(r'<a href="/campaigns/survey">survey</a> · ask', page)
    assert "window open: 24 h 0 min" in said and "opted in" in said and "Your role lets you read" in said
    assert "goes out" in said  # the thanks that wait


def test_what_went_wrong_is_explained_and_what_was_not_sent_stands_between(make_home: Make) -> None:
    stage = make_home(campaigns=[SURVEY], contacts=PEOPLE, templates=[ASK, template("hello")])
    stage.run("survey")
    stage.send(lambda one: refused(131026)(one) if one.id == 1 else accepted(one))
    failed = stage.value("SELECT contact_id FROM message WHERE id = 1")
    other = "c2" if failed == "c1" else "c1"
    stage.later(minutes=1).says(PHONES[int(other[1])], "STOP").turn()

    async def scene(browser: Browser) -> None:
        page = plain((await browser.get(f"/inbox/{failed}")).text)
        assert "(131026)" in page and "The phone has no WhatsApp" in page
        stopped = plain((await browser.get(f"/inbox/{other}")).text)
        assert "opted out of everything" in stopped and "wrote a stop word" in stopped

    play(stage, scene)


def test_skips_say_their_reason_in_the_readers_language(make_home: Make) -> None:
    people = [person(1, first_name="Ann", opted_in="false"), person(2, first_name="Bo", opted_in="true")]
    stage = make_home(campaigns=[SURVEY], contacts=people, templates=[ASK, template("hello")])
    stage.run("survey")
    assert stage.skips()
    page = look(stage, "/inbox/c1", **{"Accept-Language": "fr"})
    assert ("Non envoyé" in page and "not_opted_in" in page) or "opted_out" in page


def test_older_messages_are_behind_a_link_and_nothing_is_lost_between(make_home: Make) -> None:
    stage = talked(make_home)
    for number in range(120):
        stage.says(PHONES[1], f"line {number}.", at=stage.now + timedelta(seconds=number // 3))
    stage.later(minutes=5).turn()

    async def scene(browser: Browser) -> None:
        lines: list[str] = []
        path: str | None = "/inbox/c1"
        while path is not None:
            page = (await browser.get(path)).text
            lines = re.findall(r"line \d+\.", page) + lines
            older = re.search(r'href="(/inbox/c1\?before=[^"]+)"', page)
            path = older[1] if older else None
        assert lines == [f"line {number}." for number in range(120)]
        assert "Bonjour Élodie" in page

    play(stage, scene)


def test_what_is_new_is_marked_for_each_user_until_they_read_it(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=1)

    async def scene(browser: Browser) -> None:
        stage.says(PHONES[1], "Bonjour").says(PHONES[1], "Vous êtes là ?")
        stage.later(minutes=1).turn()
        assert "unread: 2" in plain((await browser.get("/inbox")).text)
        await browser.get("/inbox/c1")
        assert "unread:" not in plain((await browser.get("/inbox")).text)
        stage.later(minutes=1).says(PHONES[1], "Allô").turn()
        assert "unread: 1" in plain((await browser.get("/inbox")).text)

    play(stage, scene)
    assert stage.rows('SELECT "user", contact_id FROM user_seen') == [("olga", "c1")]


def test_a_script_in_a_name_or_a_message_is_text(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=1)
    evil = "<img src=x onerror=alert(2)> javascript:alert(3)"
    stage.says(PHONES[3], evil).turn()

    async def scene(browser: Browser) -> None:
        for path in ("/inbox", "/inbox/c3", "/inbox?q=<script>alert(4)"):
            page = await browser.get(path)
            assert "<script>alert" not in page.text and "<img src=x" not in page.text, path
            assert all("src=" in one for one in re.findall(r"<script[^>]*>", page.text))
            assert "script-src 'self'" in page.headers["content-security-policy"]
        assert plain(page.text) and "&lt;script&gt;alert(1)" in (await browser.get("/inbox/c3")).text
        assert "onerror=alert(2)&gt;" in (await browser.get("/inbox/c3")).text

    play(stage, scene)


def test_only_an_address_of_the_web_becomes_a_link_of_a_thread() -> None:
    for good in ("https://shop.example/a", "HTTP://shop.example/"):
        assert _web(good) == good
    for bad in ("javascript:alert(1)", "data:text/html,x", "//shop.example/", " https://shop.example/", "", None):
        assert _web(bad) is None


def test_letters_that_reverse_text_reach_no_further_than_what_somebody_wrote(make_home: Make) -> None:
    name, said = "\u202eeilE", "\u202ernuojnoB"
    people = [person(1, contact_id="c1", first_name=name)]
    stage = make_home(campaigns=[SURVEY], contacts=people, templates=[ASK, template("hello")])
    stage.run("survey")
    stage.send()
    stage.later(minutes=1).says(PHONES[1], said).turn()

    async def scene(browser: Browser) -> None:
        for path in ("/inbox", "/inbox/c1"):
            page = (await browser.get(path)).text
            assert name in page or said in page, path
            for text in (name, said):
                alone = re.findall(rf'<bdi>{text}|<(?:p|textarea|input)\b[^>]* dir="auto"[^>]*>[^<]*{text}', page)
                in_head = len(re.findall(rf"<title>[^<]*{text}", page))
                assert len(alone) + in_head == page.count(text), (path, text)

    play(stage, scene)


def test_an_id_may_hold_anything_and_an_unknown_one_is_a_page(make_home: Make) -> None:
    people = [person(1, contact_id="a/b c?#%é", first_name="Odd"), person(2, contact_id="events", first_name="Even")]
    stage = make_home(campaigns=[SURVEY], contacts=people, templates=[ASK, template("hello")])
    stage.run("survey")
    stage.send()

    async def scene(browser: Browser) -> None:
        names = []
        for link in order((await browser.get("/inbox")).text):
            page = await browser.get(f"/inbox/{link}")
            names += re.findall(r"<h1><bdi>(\w+)</bdi></h1>", page.text)
        assert sorted(names) == ["Even", "Odd"]
        gone = await browser.get("/inbox/nobody")
        assert gone.status_code == 404 and "no contact with this id" in gone.text
        for odd in ("%00", "c1%00", "%ff", "%ed%a0%80", "x" * 1_001):
            assert (await browser.get(f"/inbox/{odd}")).status_code == 404, odd
        for odd in ("%00", "c1%00", "x" * 1_001):
            heard = await browser.get(f"/inbox/events?contact={odd}", headers={"Accept": "text/event-stream"})
            assert heard.status_code == 400, odd

    play(stage, scene)


def test_no_page_of_the_inbox_reads_all_messages(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=1)
    stage.says(PHONES[1], "Oui").turn()
    asked = [
        Asked("olga"), Asked("olga", campaign="survey"), Asked("olga", open=True), Asked("olga", waiting=True),
        Asked("olga", contacts=["c1", "c2"]), Asked("olga", before=(stage.us, 0, 2)),
    ]  # fmt: skip
    plans: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.lstrip().startswith("SELECT"):
            own = connection.connection.cursor()
            explained = own.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(f"{row[3]} in {statement}" for row in explained)

    sa.event.listen(stage.home.ledger.engine, "before_cursor_execute", note)
    with stage.home.ledger.read() as tx:
        for one in asked:
            assert conversations(tx, one, stage.us).rows
        assert thread(tx, "c1", PHONES[1]).entries
        conversations_module.stamps(tx, ["c1"])
        conversations_module.unread(tx, "olga", "c1")
    scanned = {match[1] for one in plans if (match := re.match(r"SCAN (\w+)", one))}
    assert scanned <= {"p", "c", "campaign", "json_each", "CONSTANT"} and "SEARCH" in " ".join(plans)
    narrow = [one for one in plans if re.match(r"SEARCH (o|m|message) .*message_attempts", one)]
    assert all("campaign = :" in one or "campaign = ?" in one or "c.name" in one for one in narrow)
    assert not [one for one in plans if re.match(r"SEARCH o USING INDEX (message_attempts|reply_recent)", one)]


def test_a_page_that_finds_little_stops_and_says_where_to_go_on(
    make_home: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_home(contacts=30)
    stage.run()
    stage.send()
    for number in range(30):
        stage.says(PHONES[1] if number < 29 else PHONES[2], "x", at=stage.now - timedelta(seconds=number))
    stage.later(minutes=1).turn()
    monkeypatch.setattr(conversations_module, "LOOKED", 10)
    monkeypatch.setattr(conversations_module, "CHUNK", 10)
    with stage.home.ledger.read() as tx:
        first = conversations(tx, Asked("olga", open=True), stage.us)
        assert [row.contact_id for row in first.rows] == ["c1"] and first.after is not None
        found: list[str] = []
        after: tuple[int, int, int] | None = first.after
        while after is not None:
            page = conversations(tx, Asked("olga", open=True, before=after), stage.us)
            found += [row.contact_id for row in page.rows]
            after = page.after
    assert found == ["c2"]


def test_pages_hear_of_what_is_new_by_one_look_for_all(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=1)

    async def run() -> None:
        store = Store(stage.path, lambda: stage.now)
        watch = Watch(store, every=0.02)
        try:
            keys = [LIST, LIST, "c1", "c2", "c1"]
            streams = [watch.stream(key) for key in keys]
            joined = [watch.joined(key) for key in keys]
            for one in joined:
                one.__enter__()
            assert all([await anext(one) == "retry: 3000\n\n" for one in streams])
            first = [await asyncio.wait_for(anext(one), 10) for one in streams]
            assert all(text.startswith("event: mark\ndata: ") for text in first)
            assert first[2] == first[4] == f"event: mark\ndata: {await watch.mark('c1')}\n\n"
            await asyncio.to_thread(lambda: stage.says(PHONES[1], "Oui").turn())
            looks = watch.looks
            for place in (0, 1, 2, 4):
                assert await asyncio.wait_for(anext(streams[place]), 10) != first[place]
            assert watch.looks - looks < 10
            quiet = asyncio.ensure_future(anext(streams[3]))
            await asyncio.sleep(0.2)
            assert not quiet.done()  # nothing happened with c2
            watch.end()
            with pytest.raises(StopAsyncIteration):
                await asyncio.wait_for(quiet, 10)
            for one in joined:
                one.__exit__(None, None, None)
        finally:
            store.close()

    asyncio.run(run())


def test_a_look_that_fails_is_made_again(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = talked(make_home)
    real, asked = inbox_events._stamps, []

    def stamps(home: Any, contacts: list[str]) -> Any:
        asked.append(contacts)
        if len(asked) < 3:
            raise ValueError("who would have thought")
        return real(home, contacts)

    monkeypatch.setattr(inbox_events, "_stamps", stamps)

    async def run() -> None:
        store = Store(stage.path, lambda: stage.now)
        watch = Watch(store, every=0.02)
        try:
            with watch.joined("c1"):
                stream = watch.stream("c1")
                assert await anext(stream) == "retry: 3000\n\n"
                assert (await asyncio.wait_for(anext(stream), 10)).startswith("event: mark")
                watch.end()
        finally:
            store.close()

    asyncio.run(run())
    assert len(asked) >= 3


def test_a_list_is_told_of_replies_at_once_and_of_sending_now_and_then() -> None:
    assert _is_news(LIST, "5.100", "4.100") and _is_news("c1", "b", "a") and _is_news(LIST, "4.100", None)
    assert not _is_news(LIST, "4.200", "4.100")


def test_the_server_streams_marks_and_does_not_wait_for_listeners_at_its_end(make_home: Make) -> None:
    stage = talked(make_home)
    make_user(stage, role="viewer")
    with stage.home.ledger.write() as tx:
        session = begin_session(tx, "olga", stage.us)
    app = create_app(stage.path, app_secret=None, verify_token=None, clock=lambda: stage.now)
    with listen("127.0.0.1", 0) as listening:
        server = Server(config(app), app.state.watch)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        headers = {"Accept": "text/event-stream", "Cookie": f"{SESSION}={session}"}
        with httpx.stream("GET", f"{address(listening)}/inbox/events", headers=headers, timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            assert "event: mark" in (next(line for line in answer.iter_lines() if line.startswith("event")))
            began = time.monotonic()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive() and time.monotonic() - began < GRACE / 2


def test_who_opted_out_is_not_said_to_be_free_to_write_to(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=1)
    stage.says(PHONES[1], "STOP").turn()
    said = plain(look(stage, "/inbox/c1"))
    assert "nothing can be sent until they opt in again" in said and "Free text could be sent" not in said


def press(stage: Stage, phone: str, text: str, quotes: str) -> None:
    _inbound(stage, phone, {"type": "button", "button": {"text": text, "payload": text}, "context": {"id": quotes}})


def react(stage: Stage, phone: str, emoji: str, of: str) -> None:
    _inbound(stage, phone, {"type": "reaction", "reaction": {"emoji": emoji, "message_id": of}})


def _inbound(stage: Stage, phone: str, message: dict[str, Any]) -> None:
    number = phone.lstrip("+")
    base = {"from": number, "id": f"wamid.{message['type']}", "timestamp": str(int(stage.now.timestamp()))}
    stage.webhook({"contacts": [{"profile": {"name": "X"}, "wa_id": number}], "messages": [{**base, **message}]})
