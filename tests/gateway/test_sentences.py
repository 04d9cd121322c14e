"""Sentences that others write in English are shown in French where their form is known, and as English where not."""

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.words import Words
from gateway.words_sentences_fr import french
from resources.conversations import stamps
from tests.gateway.pages import Browser
from tests.gateway.test_campaigns import plain, play
from tests.gateway.test_inbox import look, talked
from tests.stage import Stage, person, refused, template

Make = Callable[..., Stage]
FRENCH = Words("fr", ZoneInfo("Europe/Paris"))

GREETED = """
name: greeted
sender: main
entries:
  - audience: {segment: everyone}
steps:
  hello:
    message: {template: named, language: fr, variables: {first_name: {user: first_name}}}
"""


def test_a_thread_in_french_has_no_english_in_it(make_home: Make) -> None:
    people = [person(1, first_name="Ana"), person(2, first_name=""), person(3, first_name="Iris", opted_in=False)]
    named = template("named", body="Bonjour {{first_name}}, voici.")
    stage = make_home(campaigns=[GREETED], contacts=people, templates=[named])
    stage.run("greeted")
    stage.send(refused(131049))
    stage.turn()
    pages: list[str] = []

    async def scene(browser: Browser) -> None:
        pages.extend([(await browser.get(f"/inbox/{contact}")).text for contact in ("c1", "c2", "c3")])

    play(stage, scene, **{"Accept-Language": "fr"})
    assert "Retenu par Meta (131049). Meta limite le marketing" in plain(pages[0])
    assert "la variable first_name (propriété first_name du contact) : vide, et sans repli" in plain(pages[1])
    for page in pages:
        assert 'lang="en"' not in page[page.index("<main") :]


@pytest.mark.parametrize(
    "sentence",
    [
        "opted out of everything",
        "opted out of marketing after the message was planned",
        "Meta said 131026 of this phone",
        "phone 0612 is not E.164 with +",
        "held until it expired",
        "last wrote to main at 2026-12-01 10:00 UTC, 24 hours ago or more",
        "2 of at most 2 in 7d (the cap of estafette.yaml)",
        "one of the 2.5% whom no marketing is sent (holdout in estafette.yaml)",
        "every free code of the pool autumn has expired",
        "https://x.example/a.jpg: its type is text/html; WhatsApp takes JPEG or PNG as an image",
        "https://x.example/a.jpg: x.example is in a private network, where Meta can't fetch it",
        "held until it expired: https://x.example/a.jpg: x.example does not answer",
        "variable a (user property a) is empty and has no fallback; the code of button 0 is empty and has no fallback",
        "the body would have 1100 characters; at most 1024 are allowed",
        "The ledger is busy. Try again in a few seconds.",
        "estafette.yaml can't be used; `estafette check` says why. Try again in a few seconds.",
    ],
)
def test_sentences_are_known_by_their_form(sentence: str) -> None:
    said, language = FRENCH.sentence(sentence)
    assert language == "fr"
    assert not {"the", "of", "is", "and", "has", "takes", "not"} & set(said.replace("’", " ").split()), said


def test_a_sentence_that_is_not_known_stays_english_and_says_so() -> None:
    assert FRENCH.sentence("Somebody pulled the plug") == ("Somebody pulled the plug", "en")
    assert french("x is empty; and more") is None


def test_a_page_that_can_not_be_made_says_why_in_french(make_home: Make) -> None:
    stage = make_home()
    stage.turn()
    (stage.path / "estafette.yaml").write_text("region: Nowhere\n")
    assert "estafette.yaml est inutilisable" in look(stage, "/", **{"Accept-Language": "fr"})


def test_times_in_a_list_are_as_short_as_they_can_be() -> None:
    now = datetime.fromisoformat("2026-12-01T23:30:00+00:00")  # half past midnight of the second, in Paris
    shown = [FRENCH.short_time(now - timedelta(**ago), now) for ago in ({"minutes": 29}, {"hours": 2}, {"days": 400})]
    assert shown == ["00:01", "1 déc.", "28 oct. 2025"]


def test_the_mark_of_the_list_changes_with_what_became_of_a_message(make_home: Make) -> None:
    stage = talked(make_home).later(minutes=1)

    def mark() -> str:
        with stage.home.ledger.read() as tx:
            return stamps(tx, [])[0]

    before = mark()
    stage.turn()
    assert mark() == before
    stage.status(1, "delivered").turn()
    delivered = mark()
    assert delivered != before and delivered.partition(".")[0] == before.partition(".")[0]
    stage.status(1, "read").turn()
    assert mark() != delivered


def test_no_line_begins_with_a_french_colon() -> None:
    said = FRENCH("stopped_since", time="hier", why="a : b")
    assert "hier\u00a0:" in said and said.endswith("a : b")  # what people wrote stays as they wrote it
    assert FRENCH("not_allowed", needed="x", role="y").startswith("Il faut le rôle «\u00a0x\u00a0»")
