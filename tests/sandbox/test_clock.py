"""The clock that can be turned, and what happens on it."""

from __future__ import annotations

import time

import pytest

from sandbox import Config
from sandbox.clock import TimeError, iso, parse_duration, parse_time
from sandbox.testing import Box, SandboxError, running

TO = "+33612345678"


def test_times_and_durations_are_read_as_written() -> None:
    assert (
        parse_time("2026-12-01T10:00:00Z") == parse_time("2026-12-01T11:00:00+01:00") == parse_time("2026-12-01T10:00")
    )
    assert iso(parse_time("2026-12-01T10:00:00Z")) == "2026-12-01T10:00:00Z"
    assert [parse_duration(text) for text in ("90s", "30m", "24h", "2d", "1w")] == [90, 1800, 86400, 172800, 604800]
    for bad in ("soon", "2", "2 fortnights"):
        with pytest.raises(TimeError):
            parse_duration(bad)
    with pytest.raises(TimeError):
        parse_time("tomorrow")


def test_a_given_time_stands_still(box: Box) -> None:
    before = box.clock()["now"]
    time.sleep(0.02)
    assert box.clock()["now"] == before
    assert not box.clock()["ticking"]


def test_it_ticks_without_a_given_time_and_when_told_to() -> None:
    with running() as box:
        assert box.clock()["ticking"]
        assert abs(parse_time(box.clock()["now"]) - time.time()) < 5
        assert box.turn(by="1d", ticking=True)["ticking"]
        first = box.clock()["now"]
        time.sleep(0.02)
        assert box.clock()["now"] > first
        assert box.turn(ticking=True)["ticking"]
        with pytest.raises(SandboxError, match="does not go back"):
            box.turn(by=-60, ticking=True)
        assert box.clock()["ticking"]
        assert not box.turn(by="1h")["ticking"]


def test_it_goes_on_but_never_back(box: Box) -> None:
    now = parse_time(box.clock()["now"])
    assert parse_time(box.turn(by="2d")["now"]) == now + 172800
    with pytest.raises(SandboxError, match="does not go back"):
        box.turn(iso(now))
    with pytest.raises(SandboxError, match="does not go back"):
        box.turn(by=-1)


def test_what_is_due_happens_in_order_at_its_own_time(box: Box) -> None:
    wamid = box.send("appointment_reminder", TO)
    start = parse_time(box.clock()["now"])
    box.act(TO, "button", text="Je confirme", at="+3h")
    box.act(TO, "delivered", at="+1h")
    box.act(TO, "read", at="+2h")
    assert [row["status"] for row in box.statuses()] == ["sent"]
    assert box.clock()["next_due"] == iso(start + 3600)
    done = box.turn(by="1d")
    assert (done["fired"], done["scheduled"]) == (3, 0)
    assert [(row["status"], row["at"]) for row in box.statuses()] == [
        ("sent", iso(start)),
        ("delivered", iso(start + 3600)),
        ("read", iso(start + 7200)),
    ]
    last = box.webhooks()[-1]["body"]["entry"][0]["changes"][-1]["value"]["messages"][0]
    assert last["timestamp"] == str(int(start + 10800))
    assert last["context"]["id"] == wamid


def test_what_takes_no_time_happens_although_the_clock_stands() -> None:
    with running(Config(now="2026-12-01T10:00:00Z")) as box:
        box.population("perfect")
        box.send("welcome", TO)
        box.drain()
        assert [row["status"] for row in box.statuses()] == ["sent", "delivered", "read"]


def test_a_ticking_clock_lets_things_happen_by_themselves() -> None:
    at_once = {"at_once": 0, "median": 1, "spread": 0}
    with running(Config()) as box:
        box.population("perfect")
        box.population({"delivered_after": at_once})
        box.send("welcome", TO)
        assert [row["status"] for row in box.statuses()] == ["sent"]
        end = time.monotonic() + 10
        while len(box.statuses()) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        assert [row["status"] for row in box.statuses()] == ["sent", "delivered", "read"]


def test_people_act_as_scripted(box: Box) -> None:
    wamid = box.send("autumn_offer", TO)
    label = "Oui, ça m’intéresse"
    assert box.act(TO, "button", text=label)["quoted"] == wamid
    assert box.act(TO, "button", index=2)["quoted"] == wamid
    assert box.act(TO, "reply", text="Merci")["quoted"] is None
    assert box.act(TO, "reply", text="Merci", wamid=wamid)["quoted"] == wamid
    for do in ("stop", "reaction", "image"):
        assert box.act(TO, do, text="x")["wamid"].startswith("wamid.")
    assert box.act(TO, "failed", code=131053)["status"] == "failed"
    assert box.summary()["inbound"] == {"button": 2, "text": 3, "reaction": 1, "image": 1}
    assert box.statuses(TO)[-1]["code"] == 131053


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ({"do": "read"}, "nothing to be read"),
        ({"do": "button", "text": "Oui"}, "nothing to be button"),
        ({"do": "read", "wamid": "wamid.x"}, "no message was accepted"),
        ({"do": "read", "template": "welcome"}, "no message with the template"),
        ({"do": "dance"}, "Invalid enum value"),
        ({"do": "reply", "at": "later"}, "is not a time"),
        ({"do": "reply", "mood": "good"}, "unknown field"),
    ],
)
def test_an_act_that_cannot_be_played_is_an_error(box: Box, act: dict[str, str], message: str) -> None:
    with pytest.raises(SandboxError, match=message):
        box.act("+33699999999", **act)


def test_a_button_that_the_template_lacks_is_an_error(box: Box) -> None:
    box.send("appointment_reminder", TO)
    with pytest.raises(SandboxError, match="Je confirme, Annuler"):
        box.act(TO, "button", text="Peut-être")
