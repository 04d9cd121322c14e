"""Answering in the inbox: what may be written is offered, what is taken is on disk, a form sent twice is one answer."""

import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway.pages import Browser
from tests.gateway.test_campaigns import plain, play
from tests.gateway.test_inbox import ASK, PEOPLE, PHONES, SURVEY
from tests.stage import SETTINGS, Stage, person, template

Make = Callable[..., Stage]
NOTE = template("note", category="UTILITY", body="Bonjour {{first_name}}, commande {{order}}.")
TWO_SENDERS = SETTINGS.replace("consent:", '  shop: {phone_number_id: "106540352242923", waba_id: "1"}\nconsent:')
PICTURE = template(
    "picture",
    header={"type": "HEADER", "format": "DOCUMENT"},
    buttons=[{"type": "URL", "text": "Voir", "url": "https://shop.example.com/{{1}}"}],
)


def written(make_home: Make, **more: Any) -> Stage:
    """Three people were asked, and `c1` wrote."""
    stage = make_home(campaigns=[SURVEY], contacts=PEOPLE, templates=[ASK, template("hello"), NOTE, PICTURE], **more)
    stage.run("survey")
    stage.send()
    stage.later(minutes=5).says(PHONES[1], "Vous livrez ?").turn()
    return stage


def acted(stage: Stage, scene: Callable[[Browser], Any], role: str = "agent", **headers: str) -> None:
    play(stage, scene, role, **headers)


async def answer(browser: Browser, contact: str, query: str = "", **fields: str) -> httpx.Response:
    """Send the form of the answer box, with what is hidden in it."""
    page = (await browser.get(f"/inbox/{contact}{query}")).text
    form = page[page.index('<form method="post" action="/inbox/') :]
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[: form.index("</form>")]))
    return await browser.http.post(f"/inbox/{contact}", data={**hidden, **fields})


def test_an_answer_is_taken_goes_out_and_says_who_wrote_it(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        taken = await answer(browser, "c1", text="Oui, {demain} !\r\nBonne journée")
        assert taken.status_code == 303
        there = taken.headers["location"]
        assert re.fullmatch(r"/inbox/c1\?sent=[-0-9a-f]{36}#newest", there)
        assert "Taken. It goes out with the next pass" in (await browser.get(there)).text
        stage.turn()
        stage.send()
        page = plain((await browser.get(there)).text)
        assert "Taken." not in page
        assert re.search(r"Oui, \{demain\} ! Bonne journée olga · \d+:\d+ · ✓ sent", page)

    acted(stage, scene)
    assert stage.rows("SELECT author, contact_id, state FROM message WHERE campaign = ''") == [
        ("olga", "c1", "accepted")
    ]


def test_a_form_that_is_sent_twice_is_one_answer(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        page = (await browser.get("/inbox/c1")).text
        hidden = dict(
            re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page[page.index("data-send") :])
        )
        for _ in range(2):
            assert (await browser.http.post("/inbox/c1", data={**hidden, "text": "Oui"})).status_code == 303

    acted(stage, scene)
    stage.turn()
    assert stage.value("SELECT count(*) FROM message WHERE campaign = ''") == 1


def test_a_nul_in_what_was_written_is_left_out_and_the_rest_goes(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        assert (await answer(browser, "c1", text="Oui\0 !")).status_code == 303
        page = (await browser.get("/inbox/c1")).text
        nobody = {"csrf": csrf(page), "uuid": str(uuid.uuid4()), "sender": "main"}
        template = {"template": "note/fr", "variable.first_name": "A", "variable.order": "7"}
        assert (await browser.http.post("/inbox/c1%00", data={**nobody, **template})).status_code == 404

    acted(stage, scene)
    stage.turn()
    assert stage.value("SELECT count(*) FROM message WHERE campaign = ''") == 1
    assert stage.value("SELECT count(*) FROM quarantine") == 0


def test_what_cannot_be_sent_is_said_and_what_was_written_is_kept(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        for nothing in ("  \r\n ", "\u200b", " \u200e\u2060\ufeff\u00ad "):
            blank = await answer(browser, "c1", text=nothing)
            assert blank.status_code == 400 and "Write something first." in blank.text
        long = await answer(browser, "c1", text="é" * 4_097)
        assert long.status_code == 400 and "at most 4,096 characters" in long.text and "é" * 4_097 in long.text
        page = (await browser.get("/inbox/c1")).text
        hidden = dict(
            re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page[page.index("data-send") :])
        )
        stage.later(hours=25)
        browser.http.cookies.clear()
        await browser.log_in()
        late = await answer(browser, "c2", "?template=note/fr", **{"variable.order": "7", "variable.first_name": ""})
        assert late.status_code == 400 and "Fill in “first_name”." in late.text and 'value="7"' in late.text
        unseen = {"variable.order": "\u200b", "variable.first_name": "Anna"}
        none = await answer(browser, "c2", "?template=note/fr", **unseen)
        assert none.status_code == 400 and "Fill in “order”." in none.text
        fields = {"variable.order": "7" * 2_001, "variable.first_name": "Anna"}
        cut = await answer(browser, "c2", "?template=note/fr", **fields)
        assert cut.status_code == 400 and "7" * 2_001 in cut.text
        assert "“order” takes at most 2,000 characters, and this has 2,001." in cut.text
        over = await browser.http.post("/inbox/c1", data={**hidden, "text": "Oui", "csrf": csrf(late.text)})
        assert over.status_code == 400 and "The 24 hours after their last message are over" in over.text

    acted(stage, scene)
    assert not list((stage.path / "landing/requests").glob("*.ndjson"))


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]*)"', page)
    assert found
    return found[1]


def test_outside_the_window_a_template_is_chosen_filled_and_sent(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        page = (await browser.get("/inbox/c2")).text
        assert "<textarea" not in page and "so WhatsApp takes only a template" in page
        assert re.findall(r'<option value="([^"]*)"', page) == ["", "ask/fr", "hello/fr", "note/fr", "picture/fr"]
        page = (await browser.get("/inbox/c2?template=note/fr")).text
        assert 'name="variable.first_name" type="text" value="Karim"' in page  # known of them already
        assert "Bonjour {{first_name}}, commande {{order}}." in page
        fields = {"variable.first_name": "Karim", "variable.order": "A-7"}
        assert (await answer(browser, "c2", "?template=note/fr", **fields)).status_code == 303
        fields = {"header.document": "https://example.com/a.pdf", "header.filename": "", "button.0": "x y"}
        assert (await answer(browser, "c2", "?template=picture/fr", **fields)).status_code == 303
        stage.turn()
        stage.send()
        page = plain((await browser.get("/inbox/c2")).text)
        assert "Bonjour Karim, commande A-7." in page

    acted(stage, scene)
    assert stage.counts("message", "template")["note"] == 1 and stage.counts("message", "template")["picture"] == 1
    assert not stage.skips()


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (lambda stage: stage.says(PHONES[1], "STOP"), "They opted out of everything"),
        (lambda stage: stage.contacts([person(2, opted_in="false")]), "They have not opted in"),
    ],
)
def test_the_box_says_why_nothing_goes(make_home: Make, done: Callable[[Stage], Stage], said: str) -> None:
    stage = written(make_home)
    done(stage).turn()
    contact = "c1" if "everything" in said else "c2"

    async def scene(browser: Browser) -> None:
        page = (await browser.get(f"/inbox/{contact}")).text
        assert said in page and "<select" not in page and "<textarea" not in page

    acted(stage, scene)


def test_no_marketing_is_offered_to_who_refused_it(make_home: Make) -> None:
    stage = written(make_home)
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("INSERT INTO suppression VALUES ('contact:c2', 'marketing', 'meta_preference', 5)")

    async def scene(browser: Browser) -> None:
        page = (await browser.get("/inbox/c2")).text
        assert re.findall(r'<option value="([^"]*)"', page) == ["", "note/fr"]

    acted(stage, scene)


def test_a_viewer_reads_and_cannot_answer(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        page = (await browser.get("/inbox/c1")).text
        assert "Your role lets you read" in page and "<textarea" not in page
        refused = await browser.http.post("/inbox/c1", data={"csrf": csrf(page), "text": "Oui"})
        assert refused.status_code == 403

    acted(stage, scene, "viewer")


def test_a_form_without_its_token_is_refused(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        assert (await answer(browser, "c1", text="Oui", csrf="other")).status_code == 403

    acted(stage, scene)
    assert not list((stage.path / "landing/requests").glob("*.ndjson"))


def test_an_answer_goes_from_the_number_they_wrote_to(make_home: Make) -> None:
    stage = written(make_home, settings=TWO_SENDERS)

    async def scene(browser: Browser) -> None:
        page = (await browser.get("/inbox/c1")).text
        assert '<input type="hidden" name="sender" value="main">' in page  # they wrote to no other
        assert (await answer(browser, "c1", sender="shop", text="Oui")).status_code == 400
        assert (await answer(browser, "c1", sender="gone", text="Oui")).status_code == 400
        page = (await browser.get("/inbox/c1?template=hello/fr")).text
        assert re.findall(r'<option value="(main|shop)"', page) == ["main", "shop"]

    acted(stage, scene)


def test_what_was_refused_stands_in_the_thread_with_who_wrote_it(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        await answer(browser, "c1", text="Oui")
        stage.says(PHONES[1], "STOP").turn()
        page = plain((await browser.get("/inbox/c1")).text)
        assert "Not sent:" in page and "an answer by olga" in page

    acted(stage, scene)


def test_whoever_answers_is_told_when_no_pass_runs(make_home: Make) -> None:
    from resources.vitals import note_pass

    stage = written(make_home)
    with stage.home.ledger.write() as tx:
        note_pass(tx, time.time() - 1_830)

    async def scene(browser: Browser) -> None:
        taken = await answer(browser, "c1", text="Oui")
        assert re.search("No pass has run for 30 minutes", (await browser.get(taken.headers["location"])).text)

    acted(stage, scene)


def test_the_box_speaks_french(make_home: Make) -> None:
    stage = written(make_home)

    async def scene(browser: Browser) -> None:
        page = (await browser.get("/inbox/c1")).text
        assert "Votre message" in page and "Envoyer" in page

    acted(stage, scene, "agent", **{"Accept-Language": "fr"})
