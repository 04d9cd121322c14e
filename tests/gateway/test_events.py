"""Events over HTTP: the good are kept, the bad are named, and a list that is sent again changes nothing."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import api
from tests.stage import NOON

EVENTS = "/api/events"
GOOD = {"event": "purchase", "contact_id": "c0", "occurred_at": "2026-12-01T11:00:00Z", "properties": {"amount": 9.5}}


def kept(doors):
    """Every event that the next turn takes in, by id."""
    doors.stage.turn()
    return {row["event_id"]: row for row in doors.stage.lake("events")}


def test_one_event_is_kept_and_taken_in(doors):
    answer = doors.post(EVENTS, GOOD)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "refused": []})
    (row,) = kept(doors).values()
    assert (row["event"], row["contact_id"], json.loads(row["properties"])) == ("purchase", "c0", {"amount": 9.5})


def test_bad_ones_are_named_by_their_place_and_the_others_taken(doors):
    bad = {
        1: ({"event": "purchase", "contact_id": "c0"}, "there is no occurred_at"),
        3: ("purchase", "it is no JSON object"),
        4: ({**GOOD, "occurred_at": "yesterday"}, "“yesterday”: occurred_at is no time"),
        5: ({**GOOD, "contact_id": None, "phone": "12"}, "“12”: phone is no phone number"),
        6: ({**GOOD, "properties": [1]}, "properties is no JSON object"),
        8: ({**GOOD, "event": "a\0b"}, "it holds a NUL character"),
    }
    listed = [bad[place][0] if place in bad else {**GOOD, "n": place} for place in range(10)]
    answer = doors.post(EVENTS, listed)
    assert answer.status_code == 200 and answer.json()["accepted"] == 4
    refused = {one["index"]: one["reason"] for one in answer.json()["refused"]}
    assert set(refused) == set(bad)
    for place, (_, reason) in bad.items():
        assert refused[place].startswith(reason)
    assert sorted(json.loads(row["properties"])["n"] for row in kept(doors).values()) == [0, 2, 7, 9]
    assert doors.stage.value("SELECT count(*) FROM quarantine") == 0


def test_where_nothing_can_be_taken_it_is_an_error(doors):
    for body in ({"event": "x"}, [1, 2], "x", None, 7):
        answer = doors.post(EVENTS, content=json.dumps(body).encode())
        assert answer.status_code == 400 and answer.json()["accepted"] == 0 and answer.json()["error"]
    for content in (b"", b"{", b"[1,", b"\xff", b'{"event": "a\nb"}', b"[" * 100_000):
        assert doors.post(EVENTS, content=content).status_code == 400, content[:20]
    assert doors.post(EVENTS, []).json() == {"accepted": 0, "refused": []}
    assert doors.lines("events") == []


def test_a_list_that_is_sent_again_changes_nothing(doors):
    blank, mine, local = {"event_id": " "}, {"Event Id": "mine"}, {"occurred_at": "2026-12-01 12:00"}
    listed = [GOOD, GOOD, *({**GOOD, **one} for one in (blank, mine, local))]
    for _ in range(3):
        assert doors.post(EVENTS, listed).json()["accepted"] == 5
        found = kept(doors)
    # Two identical ones of a list are two events; a blank id is none, and the same written otherwise is the same.
    assert len(found) == 3 and "mine" in found


def test_an_event_is_the_same_in_a_file_and_over_http(doors):
    doors.stage.happens("purchase", "c0", at="2026-12-01T11:00:00Z", amount=9.5)
    assert len(kept(doors)) == 1
    doors.post(EVENTS, GOOD)
    assert len(kept(doors)) == 1


def test_thousands_come_at_once_and_too_many_do_not(doors, monkeypatch):
    listed = [{**GOOD, "n": place} for place in range(3_000)]
    bad = {17, 1_234, 2_999}
    some = [{**one, "occurred_at": "never"} if one["n"] in bad else one for one in listed]
    answer = doors.post(EVENTS, some).json()
    assert answer["accepted"] == 2_997 and {one["index"] for one in answer["refused"]} == bad
    assert [line["n"] for line in doors.lines("events")] == [one["n"] for one in listed if one["n"] not in bad]
    monkeypatch.setattr(api, "MOST_EVENTS", 2_999)
    answer = doors.post(EVENTS, listed)
    assert answer.status_code == 413 and "2999" in answer.json()["error"]


def test_an_event_of_a_phone_and_keys_that_are_spelt_otherwise(doors):
    body = {"Event": "visit", "Phone Number": "06 00 00 00 01", "Occurred At": NOON.isoformat(), "page": {"a": 2**70}}
    assert doors.post(EVENTS, body).json()["accepted"] == 1
    (row,) = kept(doors).values()
    assert row["contact_id"] == "c1" and json.loads(row["properties"]) == {"page": {"a": 2**70}}


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
times = st.sampled_from(["2026-12-01T11:00:00Z", "2026-12-01 11:00", "2026-13-01", " 2026-12-01 ", "", "1"])
items = values | st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["a", " ", "x" * 201]) | values,
        "contact_id": st.sampled_from(["c0", "whatsapp:+33600000001", "whatsapp:x", " "]) | values,
        "User ID": st.sampled_from(["c1"]),
        "phone": st.sampled_from(["0600000001", "+33600000002", "1"]) | values,
        "occurred_at": times | values,
        "event_id": st.sampled_from(["e1", "", " e2 "]) | values,
        "event-id": st.just("e3"),
        "properties": st.dictionaries(st.text(max_size=5), values, max_size=2) | values,
        "more": values,
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(listed=st.lists(items, max_size=6))
@pytest.mark.filterwarnings("ignore")
def test_what_is_accepted_is_what_a_pass_takes_in(doors, listed):
    """The door and the intake agree on every item: nothing accepted is set aside, and nothing is lost."""
    doors.app.state.access._rate = doors.app.state.access._burst = 1e9
    before = len(doors.lines("events"))
    answer = doors.post(EVENTS, content=json.dumps(listed).encode())
    assert answer.status_code in (200, 400), answer.text
    if "accepted" not in answer.json():  # a number that JSON does not have spoils the whole body
        assert "not JSON" in answer.json()["error"]
        return
    lines = doors.lines("events")[before:]
    assert len(lines) == answer.json()["accepted"] == len(listed) - len(answer.json()["refused"])
    found = kept(doors)
    assert doors.stage.value("SELECT count(*) FROM quarantine") == 0
    ids = {next(str(value) for name, value in line.items() if is_id(name)).strip() for line in lines}
    assert ids <= set(found)


def is_id(name):
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split()) == "event id"
