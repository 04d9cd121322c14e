"""What operators see: whether it works, and numbers."""

import re

import pytest
import sqlalchemy as sa

from pipelines.publish import publish
from tests.gateway.doors import VALUES
from tests.stage import unknown

SAMPLE = re.compile(r'^(estafette_[a-z_]+)(?:\{([a-z]+)="((?:[^"\\]|\\.)*)"\})? (-?[0-9.e+-]+)$')


def metrics(doors):
    """Every sample by (name, label's value)."""
    doors.app.state.health._text_for = 0.0
    answer = doors.get("/metrics", auth=None)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found, described = {}, set()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            described.add(line.split()[2])
        elif not line.startswith("#"):
            name, _, value, number = SAMPLE.match(line).groups()
            assert name in described and (name, value) not in found
            found[name, value] = float(number)
    return found


def test_healthz_says_disk_ledger_and_the_age_of_the_last_pass(doors):
    answer = doors.get("/healthz", auth=None)
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "disk": "writable", "ledger": "reachable", "last_pass_seconds": None}
    with doors.stage.home.ledger.write() as tx:
        from resources.vitals import note_pass

        note_pass(tx, doors.app.state.store.home().wall() - 42)
    doors.app.state.health._ledger_at = float("-inf")
    assert 42 <= doors.get("/healthz", auth=None).json()["last_pass_seconds"] < 100


FAR = {"address": "203.0.113.7", "auth": None}
BEHIND = {"headers": {"X-Forwarded-For": "203.0.113.7"}, "auth": None}  # a proxy on this machine


@pytest.mark.parametrize("whence", [FAR, BEHIND])
def test_strangers_hear_one_word_and_no_number(doors, whence):
    answer = doors.get("/healthz", **whence)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert doors.ask("HEAD", "/healthz", **whence).status_code == 200
    answer = doors.get("/metrics", **whence)
    assert answer.status_code == 401 and "estafette_" not in answer.text
    for path in ("/healthz", "/metrics"):
        assert doors.get(path, **{**whence, "auth": "Bearer est_wrong"}).status_code == 401
    token = {**whence, "auth": f"Bearer {doors.token}"}
    assert "disk" in doors.get("/healthz", **token).json()
    assert "estafette_up 1" in doors.get("/metrics", **token).text


def test_what_is_wrong_with_the_ledger_is_not_for_strangers(doors, monkeypatch):
    monkeypatch.setattr("gateway.health._try_disk", failing)
    answer = doors.get("/healthz", **FAR)
    assert (answer.status_code, answer.json()) == (503, {"status": "unwell"})
    assert doors.get("/healthz", auth=None).json()["disk"] == "No space left on device"


def failing(directory):
    raise OSError(28, "No space left on device")


def test_counts_over_everything_come_from_what_is_published(doors, monkeypatch):
    """The ledger would read every message for them; ten million stand in it."""
    doors.start(users=["c0", "c1", "c2"])
    doors.stage.turn()
    doors.stage.send(want=2)
    publish(doors.stage.home, doors.stage.lease)
    doors.stage.send(want=1)
    asked = []
    sa.event.listen(doors.app.state.store.home().ledger.engine, "before_cursor_execute", _noting(asked))
    found = metrics(doors)
    assert found["estafette_messages", "accepted"] == 2 and found["estafette_messages", "planned"] == 1
    assert found["estafette_participants", "waiting"] == 3
    assert found["estafette_queue_messages", "main"] == 0  # this is of the moment
    for statement in (one for one in asked if "FROM message" in one):
        plan = doors.stage.rows(f"EXPLAIN QUERY PLAN {statement}".replace("?", "1"))
        assert not [row for row in plan if re.match(r"SCAN (?!\(subquery)(?!.*INDEX)", row[3])], statement
    assert any("FROM message" in one for one in asked) and not any("FROM participant" in one for one in asked)


def _noting(asked):
    return lambda connection, cursor, statement, *more: asked.append(statement)


def test_healthz_is_503_where_the_ledger_cannot_be_read(doors, monkeypatch):
    doors.get("/healthz", auth=None)

    def fails(self):
        raise sa.exc.DatabaseError("SELECT", {}, Exception("database disk image is malformed"))

    monkeypatch.setattr("resources.ledger.Ledger.read", fails)
    doors.app.state.health._ledger_at = float("-inf")
    answer = doors.get("/healthz", auth=None)
    assert (answer.status_code, answer.json()["status"]) == (503, "unwell")
    assert "The ledger is damaged. Stop everything" in answer.json()["ledger"]
    assert doors.get("/metrics", auth=None).text.splitlines()[2] == "estafette_up 0"


def test_metrics_count_what_there_is(doors):
    stage = doors.stage
    doors.start(users=["c0", "c1", "c2", "nobody"])
    before = metrics(doors)
    assert before["estafette_landing_unread_bytes", "requests"] > 0
    stage.turn()
    stage.webhook({"statuses": []})
    line = '{"received_at":"2026-12-01T11:58:30.000000Z","body":"{}"}\n'
    (stage.path / "landing/webhooks/gateway.ndjson").write_text(line)
    during = metrics(doors)
    assert during["estafette_landing_lag_seconds", "webhooks"] == 90
    assert during["estafette_passes_total", None] == 1
    assert during["estafette_messages", "planned"] == 3
    assert during["estafette_queue_messages", "main"] == 3
    assert during["estafette_waiting_entries", None] == 1
    assert during["estafette_landing_unread_bytes", "webhooks"] > 0
    assert during["estafette_landing_unread_bytes", "requests"] == 0
    assert during["estafette_pace", "main"] == during["estafette_pace_configured", "main"] == 80
    stage.send(unknown, want=1)
    stage.later(minutes=5)
    after = metrics(doors)
    assert after["estafette_messages", "unknown"] == 1
    assert after["estafette_queue_age_seconds", "main"] == 300


def test_failures_are_counted_by_code_and_a_stopped_campaign_ages_no_queue(doors):
    from tests.stage import refused

    doors.start(users=["c0", "c1"], attribute_values=VALUES)
    doors.stage.turn()
    doors.stage.send(refused(131026), want=1)
    with doors.stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1")
    doors.stage.later(minutes=5)
    found = metrics(doors)
    assert found["estafette_failed_messages", "131026"] == 1
    assert found["estafette_queue_messages", "main"] == 0
    assert found["estafette_stopped_campaigns", None] == 1


def test_whoever_scrapes_often_counts_nothing(doors, monkeypatch):
    first = doors.get("/metrics", auth=None).text
    monkeypatch.setattr("resources.vitals.vitals", lambda *_: 1 / 0)
    assert doors.get("/metrics", auth=None).text == first


def test_every_answer_bears_the_headers_of_security(doors):
    for path in [
        "/healthz",
        "/metrics",
        "/nowhere",
        "/api/events",
        "/openapi.json",
        "/docs/api",
        "/docs/api.css",
        "/r/x",
    ]:
        headers = doors.get(path, auth=None).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy


def test_a_fault_is_a_sentence_with_the_headers_too(doors, monkeypatch):
    monkeypatch.setattr("gateway.health._try_disk", lambda _: 1 / 0)
    answer = doors.get("/healthz", auth=None)
    assert answer.status_code == 500 and answer.json()["error"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["content-security-policy"]
