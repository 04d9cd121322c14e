"""Counted links: a tap is counted and leads to the stored address, whatever the request brings."""

import threading

import pytest
import sqlalchemy as sa

from gateway.links import location
from gateway.log import LogError
from tests.gateway.doors import VALUES, doors_of
from tests.stage import SETTINGS, TEMPLATES, template

SHOP = "https://shop.example.com/o?a=1&b=%C3%A9;c"
BUTTON = {
    "type": "URL",
    "text": "Voir",
    "url": "https://go.example.com/r/{{1}}",
    "example": ["https://go.example.com/r/1"],
}
CAMPAIGN = f"""
name: survey
sender: main
entries:
  - api: {{attributes: [offer, survey_id]}}
steps:
  hello:
    message: {{template: tapped, language: fr, buttons: {{Voir: {{link: "{SHOP}"}}}}}}
    next: tap
  tap:
    wait_for: {{within: 2d, branches: [{{click: hello, next: thanks}}], else: end}}
  thanks:
    message: {{template: order, language: fr}}
"""
TAPPED = template("tapped", category="UTILITY", buttons=[BUTTON])
PEOPLE = ["Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
          "Mozilla/5.0 (Linux; Android 14; CUBOT NOTE 20) AppleWebKit/537.36 Chrome/120.0", ""]  # fmt: skip
ROBOTS = ["WhatsApp/2.23.20.0 A", "WhatsApp/2.2336.9 N", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit)",
          "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "TelegramBot (like TwitterBot)",
          "meta-externalagent/1.1", "Slackbot-LinkExpanding 1.0"]  # fmt: skip


@pytest.fixture
def doors(make_home):
    """A message with a counted link to each of two people, sent; `doors.code` is that of `c0`."""
    settings = SETTINGS + 'links: {base_url: "https://go.example.com"}\n'
    stage = make_home(campaigns=[CAMPAIGN], templates=[*TEMPLATES, TAPPED], settings=settings, contacts=2)
    stage.turn()
    stage.asks("survey", users=["c0", "c1"], attribute_values=VALUES).turn()
    stage.send()
    stage.turn()
    with doors_of(stage) as made:
        made.code = stage.value("SELECT code FROM link JOIN message m ON m.id = message_id WHERE contact_id = 'c0'")
        yield made


def follow(doors, code, **more):
    return doors.ask(more.pop("method", "GET"), f"/r/{code}", auth=None, **more)


def clicks(doors):
    return [line for line in doors.lines("events") if line["event"] == "link_clicked"]


def test_a_tap_is_counted_leads_on_and_moves_its_person(doors):
    for _ in range(2):
        answer = follow(doors, doors.code, headers={"User-Agent": PEOPLE[0]})
        assert (answer.status_code, answer.headers["location"]) == (302, SHOP)
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
    first, second = clicks(doors)
    assert (first["contact_id"], first["properties"]) == ("c0", {"code": doors.code})
    assert first["event_id"] != second["event_id"]
    doors.stage.turn()
    assert doors.stage.rows("SELECT contact_id, button FROM click") == [("c0", "Voir")] * 2
    assert [move for move in doors.stage.moves() if move[1] == "tap"] == [("c0", "tap", "1", "thanks")]


@pytest.mark.parametrize("agent", PEOPLE)
def test_people_count(doors, agent):
    follow(doors, doors.code, headers={"User-Agent": agent})
    assert len(clicks(doors)) == 1


@pytest.mark.parametrize("agent", ROBOTS)
def test_robots_that_show_previews_are_led_on_and_not_counted(doors, agent):
    assert follow(doors, doors.code, headers={"User-Agent": agent}).headers["location"] == SHOP
    assert clicks(doors) == []


def test_what_only_looks_ahead_is_not_counted(doors):
    assert follow(doors, doors.code, method="HEAD").headers["location"] == SHOP
    for name, value in (("Purpose", "prefetch"), ("Sec-Purpose", "prefetch;prerender")):
        assert follow(doors, doors.code, headers={name: value}).status_code == 302
    assert clicks(doors) == []


def test_nothing_of_the_request_decides_where_it_leads(doors):
    answer = follow(
        doors, f"{doors.code}?url=https://evil.example&next=//evil.example", headers={"Host": "evil.example"}
    )
    assert answer.headers["location"] == SHOP


def test_unknown_codes_are_a_page_with_one_sentence(doors):
    for code in ("nobody", f"{doors.code}/x", "x" * 65, "a.b", "é", doors.code.swapcase() + "x"):
        answer = follow(doors, code)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "This link leads nowhere." in answer.text
    assert follow(doors, "%0d%0aSet-Cookie:x").status_code == 404
    assert clicks(doors) == []


def test_a_link_leads_on_while_somebody_writes_to_the_ledger(doors):
    holding, over = threading.Event(), threading.Event()

    def hold():
        with doors.stage.home.ledger.write():
            holding.set()
            over.wait(20)

    writer = threading.Thread(target=hold)
    writer.start()
    holding.wait(10)
    try:
        assert follow(doors, doors.code).status_code == 302
    finally:
        over.set()
        writer.join()
    assert len(clicks(doors)) == 1


def test_where_the_ledger_cannot_be_read_a_known_link_leads_on_and_another_says_so(doors, monkeypatch):
    follow(doors, doors.code)

    def fails(self):
        raise sa.exc.OperationalError("SELECT", {}, Exception("unable to open database file"))

    monkeypatch.setattr("resources.ledger.Ledger.read", fails)
    assert follow(doors, doors.code).status_code == 302
    answer = follow(doors, "another")
    assert answer.status_code == 503 and answer.headers["retry-after"] and "try again" in answer.text
    assert follow(doors, "a.b").status_code == 404  # what is no code is looked for nowhere


def test_a_full_disk_loses_the_count_and_not_the_person(doors, monkeypatch):
    async def full(self, line):
        raise LogError("No space left on device")

    monkeypatch.setattr("gateway.log.LandingLog.append", full)
    assert follow(doors, doors.code).headers["location"] == SHOP


def test_addresses_are_kept_as_they_are_and_only_those_of_the_web_lead_on():
    assert location(SHOP) == SHOP
    assert location("https://exämple.com:8443/é?x=ü") == "https://xn--exmple-cua.com:8443/%C3%A9?x=%C3%BC"
    assert location("https://x.example/a b\r\nSet-Cookie: y") == "https://x.example/a%20b%0D%0ASet-Cookie:%20y"
    for bad in ("javascript:alert(1)", "data:text/html,x", "//evil.example", "https://u:p@x.example/", "https://", ""):
        assert location(bad) is None
