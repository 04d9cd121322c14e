"""The API: journeys start, events come in, and everybody hears what became of a request."""

import asyncio
import gzip
import json

import httpx
import pytest
import sqlalchemy as sa

import gateway.access
from gateway import api
from gateway.log import LandingLog, LogError
from resources.access import add_token, revoke_token
from tests.gateway.doors import CAMPAIGN, PATH, VALUES

EVENT = {"event": "purchase", "contact_id": "c0", "occurred_at": "2026-12-01T11:00:00Z"}


def named(name):
    """The campaign by another name."""
    return CAMPAIGN.replace("name: survey", f"name: {name}")


def error(answer, status):
    """The sentence of an error."""
    assert answer.status_code == status, answer.text
    (name, sentence), *rest = answer.json().items()
    assert name == "error" and not rest and sentence.endswith((".", "?")), answer.text
    return sentence


# -- who gets in -------------------------------------------------------------------------------------------------------


def test_without_a_token_nobody_gets_in_and_nothing_is_kept(doors):
    for auth in (
        None,
        "Api",
        "Api ",
        "Basic abc",
        "Api est_wrong",
        "Bearer est_é",
        "est_" + "x" * 40,
        "Api " + "x" * 600,
    ):
        for method, path in (("POST", PATH), ("POST", "/api/events"), ("GET", "/api/requests/r1")):
            answer = doors.ask(method, path, auth=auth and auth.encode(), json={})
            error(answer, 401)
            assert "Bearer" in answer.headers["www-authenticate"]
    assert doors.lines("requests") == doors.lines("events") == []


def test_api_and_bearer_are_one(doors):
    body = {"payload": {"users": ["c0"], "attribute_values": VALUES}}
    for auth in (f"Api {doors.token}", f"Bearer {doors.token}", f"bearer  {doors.token}"):
        assert doors.post(PATH, body, auth=auth).status_code == 200


def test_a_revoked_token_is_refused_within_a_second(doors, monkeypatch):
    assert doors.start(users=["c0"]).status_code == 200
    with doors.stage.home.ledger.write() as tx:
        revoke_token(tx, "shop", doors.stage.us)
    monkeypatch.setattr(gateway.access, "KNOWN_FOR", 0.0)
    assert "revoked" in error(doors.start(users=["c0"]), 401)


def test_too_many_requests_are_told_when_to_come_again(doors):
    doors.app.state.access._rate, doors.app.state.access._burst = 0.1, 2
    answers = [doors.start(users=["c0"]) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 11


def test_wrong_tokens_are_limited_by_address_and_shut_out_no_right_one(doors, monkeypatch):
    monkeypatch.setattr(gateway.access, "WRONG_BURST", 3)
    monkeypatch.setattr(gateway.access, "ANEW", 0.0)
    wrong = [doors.post("/api/events", EVENT, auth=f"Api est_{n}", address="203.0.113.7") for n in range(5)]
    assert [one.status_code for one in wrong] == [401, 401, 401, 429, 429]
    assert "wrong tokens" in error(wrong[3], 429) and 1 <= int(wrong[3].headers["retry-after"]) <= 31
    assert doors.post("/api/events", EVENT, auth="Api est_x", address="203.0.113.8").status_code == 401
    assert doors.post("/api/events", EVENT, address="203.0.113.7").status_code == 200
    monkeypatch.setattr("resources.ledger.Ledger.read", lambda self: 1 / 0)  # nor does it ask the ledger any more
    assert doors.post("/api/events", EVENT, auth="Api est_y", address="203.0.113.7").status_code == 429


def test_wrong_tokens_of_half_an_ipv6_address_are_those_of_one_and_few_are_remembered(doors, monkeypatch):
    monkeypatch.setattr(gateway.access, "WRONG_BURST", 2)
    monkeypatch.setattr(gateway.access, "ADDRESSES", 5)
    for place, status in enumerate((401, 401, 429)):
        address = f"2001:db8:0:1::{place}"
        assert doors.post("/api/events", EVENT, auth="Api est_x", address=address).status_code == status
    for place in range(20):
        doors.post("/api/events", EVENT, auth="Api est_x", address=f"203.0.113.{place}")
    assert len(doors.app.state.access._wrong) == 5


def test_tokens_are_compared_in_constant_time_and_all_of_them(doors, monkeypatch):
    import hmac

    with doors.stage.home.ledger.write() as tx:
        add_token(tx, "another", doors.stage.us)
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append(one) or real(one, other))
    doors.post("/api/events", EVENT)
    assert len(compared) == 2  # also after the one that was found


def test_use_of_a_token_is_written_down(doors):
    doors.start(users=["c0"])
    doors.run(lambda: _all(doors.app.state.access._notes))
    assert doors.stage.value("SELECT last_used_at FROM token") == doors.stage.us


async def _all(tasks):
    for task in [*tasks]:
        await task


# -- starting ----------------------------------------------------------------------------------------------------------


def test_a_request_is_on_disk_before_it_is_answered_and_lets_people_in(doors):
    answer = doors.start(users=["c2", "c0"])
    uuid = answer.json()["request_uuid"]
    assert doors.lines("requests") == [
        {"request_uuid": uuid, "campaign": "survey", "users": ["c2", "c0"], "attribute_values": VALUES}
    ]
    doors.stage.turn()
    assert doors.stage.entered() == ["c2", "c0"]
    assert doors.stage.states() == {"planned": 2}


def test_phones_and_segments_start_it_too(doors):
    assert doors.start(phones=["+33600000001", "0699999999"]).status_code == 200
    assert doors.start(segment="everyone").status_code == 200
    doors.stage.turn()
    assert set(doors.stage.entered()) == {"c0", "c1", "c2", "whatsapp:+33699999999"}


WRONG = {
    "not JSON": (b"{", "not JSON"),
    "a list": (b"[1]", "no JSON object"),
    "a NUL": (b'{"payload": {"users": ["a\\u0000b"]}}', "NUL"),
    "half a surrogate": (b'{"payload": {"users": ["\\ud800"]}}', "not JSON"),
    "nothing": ({}, "no `payload`"),
    "another key": ({"payload": {"users": ["c0"]}, "pay": 1}, "Did you mean `payload`?"),
    "no object": ({"payload": 7}, "`payload` is no JSON object"),
    "a misspelt key": ({"payload": {"user": ["c0"]}}, "Did you mean `users`?"),
    "nobody": ({"payload": {"attribute_values": VALUES}}, "exactly one of"),
    "two": ({"payload": {"users": ["c0"], "segment": "everyone"}}, "`users` and `segment`"),
    "no list": ({"payload": {"users": "c0"}}, "`users` is no list"),
    "an empty list": ({"payload": {"phones": []}}, "names nobody"),
    "something else": ({"payload": {"users": ["c0", None]}}, "at place 1"),
    "a truth": ({"payload": {"users": [True]}}, "at place 0"),
    "a blank": ({"payload": {"users": [" "]}}, "at place 0"),
    "a long one": ({"payload": {"users": ["x" * 201]}}, "1 to 200 characters"),
    "no segment": ({"payload": {"segment": ["everyone"]}}, "`segment` is the name"),
    "an unknown segment": ({"payload": {"segment": "nobody", "attribute_values": VALUES}}, "no segment `nobody`"),
    "no attributes": ({"payload": {"users": ["c0"]}}, "missing `offer`, `survey_id`"),
    "a missing one": ({"payload": {"users": ["c0"], "attribute_values": {"offer": 1}}}, "missing `survey_id`"),
    "one too many": ({"payload": {"users": ["c0"], "attribute_values": {**VALUES, "z": 1}}}, "`z` not declared"),
    "attributes as a list": ({"payload": {"users": ["c0"], "attribute_values": []}}, "no JSON object"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_body_is_a_sentence_and_nothing_is_kept(doors, what):
    body, said = WRONG[what]
    answer = doors.post(PATH, content=body) if isinstance(body, bytes) else doors.post(PATH, body)
    assert said in error(answer, 400)
    assert doors.lines("requests") == []


def test_a_campaign_that_is_not_there_or_takes_nobody(doors):
    stage = doors.stage
    stage.campaign(named("a_draft").replace("sender: main", "sender: main\ndraft: true"))
    stage.campaign(named("a_hole").replace("template: order", "template: nowhere"))
    stage.campaign(named("no_api").replace("api: {attributes: [offer, survey_id]}", "audience: {segment: everyone}"))
    doors.app.state.store._looked_at = float("-inf")
    for name, status, said in (
        ("nowhere", 404, "no campaign `nowhere`"),
        ("%2e%2e%2fsurvey", 404, ""),
        ("a_draft", 409, "is a draft"),
        ("a_hole", 409, "has a hole"),
        ("no_api", 400, "no API entry"),
    ):
        assert said in error(doors.start(path=PATH.replace("survey", name), users=["c0"]), status)


def test_a_stopped_campaign_is_409_until_it_is_resumed(doors):
    change = "UPDATE campaign SET stopped_at = ? WHERE name = 'survey'"
    for value, status in ((1, 409), (None, 200)):
        with doors.stage.home.ledger.write() as tx:
            tx.exec_driver_sql(change, (value,))
        assert doors.start(users=["c0"]).status_code == status


def test_a_long_body_stays_out(doors):
    error(doors.post(PATH, content=b"x" * (api.LARGEST_START + 1)), 413)
    error(doors.post("/api/events", content=_parts()), 413)


def test_a_compressed_body_stays_out_whatever_it_would_become(doors):
    bomb = gzip.compress(b"0" * 50_000_000)
    for path in (PATH, "/api/events"):
        for name in ("gzip", "GZIP, identity", "br"):
            answer = doors.post(path, content=bomb, headers={"Content-Encoding": name})
            assert "Content-Encoding" in error(answer, 415)
        assert doors.post(path, content=bomb).status_code == 400
    headers = {"Content-Encoding": "identity"}
    assert doors.post("/api/events", EVENT, headers=headers).status_code == 200


def test_bodies_that_come_at_once_fill_no_more_than_some_memory(doors, monkeypatch):
    doors.app.state.bodies.most = 100_000
    answer = doors.post("/api/events", content=b" " * 200_000)
    assert "Too much is coming in" in error(answer, 503) and answer.headers["retry-after"]
    assert doors.app.state.bodies.held == 0
    held, append = [], LandingLog.append

    async def noting(self, line):
        held.append(doors.app.state.bodies.held)
        await append(self, line)

    monkeypatch.setattr("gateway.log.LandingLog.append", noting)
    body = json.dumps(EVENT).encode() + b" " * 50_000
    for path in ("/api/events", "/nowhere"):
        doors.post(path, content=body)
    assert held == [len(body)] and doors.app.state.bodies.held == 0  # until it is answered


def test_what_is_nested_deep_and_accepted_is_not_too_deep_for_a_pass(doors):
    """A pass stands deeper in the stack than a door, and how deep JSON may be depends on what is left of it."""
    statuses = set()
    for depth in range(500, 1_000, 25):
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        start = b'{"payload": {"users": ["c0"], "attribute_values": {"offer": %b, "survey_id": 7}}}' % nested
        event = b'{"event": "e", "contact_id": "c0", "occurred_at": "2026-12-01T11:00:00Z", "p": %b}' % nested
        statuses |= {doors.post(PATH, content=start).status_code, doors.post("/api/events", content=event).status_code}

    def deeper(frames):
        return doors.stage.turn() if frames == 0 else deeper(frames - 1)

    deeper(100)
    assert statuses == {200, 400} and doors.stage.value("SELECT count(*) FROM quarantine") == 0


NUMBERS = [b"1" + b"0" * 400, b"1180591620717411303424", b"-1180591620717411303424", b"1e-320", b"1.5e308"]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_any_size_come_in_as_they_are(doors, number):
    body = b'{"payload": {"users": ["c0"], "attribute_values": {"offer": %b, "survey_id": 7}}}' % number
    assert doors.post(PATH, content=body, headers={"Idempotency-Key": "1"}).status_code == 200
    assert doors.lines("requests")[0]["attribute_values"]["offer"] == json.loads(number)
    doors.stage.turn()
    assert doors.stage.outcomes() == {"entered": 1}


def test_of_a_key_that_stands_twice_the_last_counts_here_and_in_a_pass(doors):
    body = b'{"payload": {"users": ["c0"], "users": ["c1"], "attribute_values": {"offer": 1, "survey_id": 7}}}'
    assert doors.post(PATH, content=body).status_code == 200
    event = b'{"event": "x", "event": "y", "contact_id": "c0", "occurred_at": "2026-12-01T11:00:00Z"}'
    assert doors.post("/api/events", content=event).status_code == 200
    doors.stage.turn()
    assert doors.stage.entered() == ["c1"]
    assert [row["event"] for row in doors.stage.lake("events")] == ["y"]


def test_a_body_that_does_not_come_is_408(doors, monkeypatch):
    monkeypatch.setattr("gateway.answers.read_body.__defaults__", (0.05,))
    assert "in time" in error(doors.post(PATH, content=_slowly()), 408)


async def _slowly():
    yield b"{"
    await asyncio.sleep(5)


async def _parts():
    for _ in range(11):
        yield b"x" * 1_000_000


def test_a_changed_campaign_file_is_followed(doors):
    assert doors.start(users=["c0"]).status_code == 200
    doors.stage.campaign(CAMPAIGN.replace("[offer, survey_id]", "[offer]"))
    doors.app.state.store._looked_at = float("-inf")
    assert doors.start(users=["c0"]).status_code == 400
    assert doors.start(users=["c0"], attribute_values={"offer": "x"}).status_code == 200


# -- again -------------------------------------------------------------------------------------------------------------


def test_a_repeat_with_a_key_is_the_same_request_also_after_a_restart(doors, gateway_of):
    first = doors.start("order-1", users=["c0"]).json()
    assert doors.start("order-1", users=["c0"]).json() == first
    doors.stage.turn()
    assert doors.start("order-1", users=["c0"]).json() == first
    doors.stage.turn()
    assert doors.stage.outcomes() == {"entered": 1}
    with doors.stage.home.ledger.write() as tx:
        revoke_token(tx, "shop", doors.stage.us)
    with gateway_of(doors.stage) as again:
        assert again.start("order-1", users=["c0"]).json() == first


def test_a_request_that_could_not_be_kept_is_503_and_its_repeat_is_kept(doors, monkeypatch):
    async def full(self, line):
        raise LogError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("gateway.log.LandingLog.append", full)
        assert "No space left" in error(doors.start("order-1", users=["c0"]), 503)
        assert "No space left" in error(doors.post("/api/events", EVENT), 503)
    assert doors.start("order-1", users=["c0"]).status_code == 200
    doors.stage.turn()
    assert doors.stage.entered() == ["c0"]


def test_repeats_at_one_moment_are_one_request(doors):
    async def all_at_once():
        headers = {"Authorization": f"Api {doors.token}", "Idempotency-Key": "order-1"}
        transport = httpx.ASGITransport(doors.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as http:
            body = {"payload": {"users": ["c0"], "attribute_values": VALUES}}
            return await asyncio.gather(*(http.post(PATH, json=body) for _ in range(8)))

    answers = doors.run(all_at_once)
    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["request_uuid"] for one in answers}) == 1
    doors.stage.turn()
    assert doors.stage.outcomes() == {"entered": 1}


def test_keys_of_another_name_campaign_or_none_are_other_requests(doors):
    doors.stage.campaign(named("other"))
    found = {
        doors.start("1", users=["c0"]).json()["request_uuid"],
        doors.start("2", users=["c0"]).json()["request_uuid"],
        doors.start("1", path=PATH.replace("survey", "other"), users=["c0"]).json()["request_uuid"],
        doors.start(users=["c0"]).json()["request_uuid"],
        doors.start(users=["c0"]).json()["request_uuid"],
    }
    assert len(found) == 5


def test_one_key_for_two_things_is_409(doors):
    doors.start("order-1", users=["c0"])
    assert "another request" in error(doors.start("order-1", users=["c1"]), 409)
    assert len(doors.lines("requests")) == 1
    for key in ("x" * 256, " "):
        error(doors.start(key, users=["c0"]), 400)


def test_old_keys_go_and_are_no_less_those_of_their_requests(doors):
    stage = doors.stage
    first = doors.start("order-1", users=["c0"], attribute_values={"offer": "x", "survey_id": 7}).json()
    unread = doors.start("order-2", users=["c1"]).json()
    stage.later(days=8)
    doors.start("order-3", users=["c2"])
    keys = "SELECT request_uuid FROM idempotency"
    assert {row[0] for row in stage.rows(keys)} >= {first["request_uuid"], unread["request_uuid"]}  # no pass: all stay
    stage.turn()
    doors.start("order-4", users=["c2"])
    assert len(stage.rows(keys)) == 2  # those of this week
    assert doors.start("order-1", users=["c0"], attribute_values={"survey_id": 7, "offer": "x"}).json() == first
    assert "another request" in error(doors.start("order-1", users=["c1"]), 409)
    assert "another request" in error(
        doors.start("order-1", users=["c0"], attribute_values={**VALUES, "offer": 1}), 409
    )
    stage.turn()
    assert stage.entered() == ["c0", "c1", "c2"]


def test_what_was_accepted_once_stays_so_when_the_campaign_is_stopped(doors):
    first = doors.start("order-1", users=["c0"]).json()
    with doors.stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1")
    assert doors.start("order-1", users=["c0"]).json() == first
    assert doors.start("order-2", users=["c0"]).status_code == 409


# -- what became of it -------------------------------------------------------------------------------------------------


def outcomes(doors, uuid, query=""):
    answer = doors.get(f"/api/requests/{uuid}{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_request_says_what_became_of_each_person(doors):
    uuid = doors.start(users=["c0", "c1", "nobody"]).json()["request_uuid"]
    before = outcomes(doors, uuid)
    assert (before["state"], before["counts"], before["campaign"]) == ("pending", {"pending": 3}, "survey")
    assert [one["contact_id"] for one in before["outcomes"]] == ["c0", "c1", "nobody"]
    doors.stage.turn()
    during = outcomes(doors, uuid)
    assert (during["state"], during["counts"]) == ("working", {"entered": 2, "waiting": 1})
    assert {one["contact_id"]: one["outcome"] for one in during["outcomes"]} == {
        "c0": "entered", "c1": "entered", "nobody": "waiting",
    }  # fmt: skip
    doors.stage.later(hours=25).turn()
    after = outcomes(doors, uuid)
    assert (after["state"], after["counts"]) == ("done", {"entered": 2, "unknown_contact": 1})
    assert all(one["met_at"] for one in after["outcomes"])


def test_a_huge_request_comes_in_pages(doors):
    uuid = doors.start(users=["c0", "c1", "c2", "n1", "n2"]).json()["request_uuid"]
    for _ in range(2):
        seen, after = [], 0
        while after is not None:
            page = outcomes(doors, uuid, f"?limit=2&after={after}")
            assert len(page["outcomes"]) <= 2
            seen += [one["contact_id"] for one in page["outcomes"]]
            after = page["next"]
        assert sorted(seen) == ["c0", "c1", "c2", "n1", "n2"]
        doors.stage.turn()
    for query in ("?limit=0", "?limit=x", "?after=-1", "?limit=10001", "?limit=²"):
        error(doors.get(f"/api/requests/{uuid}{query}"), 400)


def test_a_request_of_a_file_and_one_that_was_refused_are_found_too(doors):
    doors.stage.asks("nowhere", "r1", users=["c0"]).asks("survey", "r2", segment="none", attribute_values=VALUES).turn()
    refused = outcomes(doors, "r1")
    assert refused["counts"] == {"refused": 1} and "no campaign `nowhere`" in refused["outcomes"][0]["detail"]
    assert outcomes(doors, "r2")["outcomes"][0]["contact_id"] is None
    for unknown in ("r3", "x" * 500, "%00", "é"):
        error(doors.get(f"/api/requests/{unknown}"), 404)


# -- the ledger --------------------------------------------------------------------------------------------------------


def test_a_ledger_that_fails_is_503_and_says_when_to_come_again(doors, monkeypatch):
    def fails(self):
        raise sa.exc.OperationalError("SELECT", {}, Exception("database is locked"))

    doors.start(users=["c0"])
    monkeypatch.setattr("resources.ledger.Ledger.read", fails)
    answer = doors.start(users=["c0"])
    assert "database is locked" in error(answer, 503) and answer.headers["retry-after"]
