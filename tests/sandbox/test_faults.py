"""Sends that go wrong on purpose, and what the sandbox knows about them."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from sandbox import Config
from sandbox.faults import Fault, Faults
from sandbox.testing import Box, SandboxError, running

TO = "+33612345678"


def test_what_is_refused_by_fault_was_not_accepted(box: Box) -> None:
    body = box.body("welcome", TO)
    box.faults(
        {"kind": "5xx", "next": 1, "status": 500},
        {"kind": "html", "next": 1},
        {"kind": "error", "code": 131016, "next": 1},
    )
    empty, page, error = (box.post(body) for _ in range(3))
    assert (empty.status_code, empty.content) == (500, b"")
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert (error.status_code, error.json()["error"]["code"]) == (500, 131016)
    assert box.post(body).status_code == 200
    assert [(row["fault"], row["accepted"]) for row in box.messages()] == [
        ("5xx", False),
        ("html", False),
        ("error", False),
        (None, True),
    ]


@pytest.mark.parametrize("kind", ["5xx_after_accept", "html_after_accept"])
def test_a_broken_answer_may_hide_an_accepted_message(box: Box, kind: str) -> None:
    box.faults({"kind": kind, "next": 1})
    assert box.post(box.body("welcome", TO)).status_code == 503
    box.drain()
    (row,) = box.messages()
    assert row["accepted"]
    assert row["statuses"][0]["status"] == "sent"


@pytest.mark.parametrize(("kind", "accepted"), [("reset_before", False), ("reset_after", True)])
def test_a_reset_closes_the_connection_without_an_answer(box: Box, kind: str, accepted: bool) -> None:
    box.faults({"kind": kind, "next": 1})
    body = box.body("welcome", TO)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        box.post(body)
    assert [row["accepted"] for row in box.messages()] == [accepted]
    assert box.post(body).status_code == 200


def test_an_answer_may_never_come(box: Box) -> None:
    box.faults({"kind": "timeout_after_accept", "next": 1})
    body, headers = box.body("welcome", TO), {"authorization": f"Bearer {box.token}"}
    with pytest.raises(httpx.ReadTimeout):
        box.http.post("/v25.0/1/messages", json=body, headers=headers, timeout=0.2)
    assert [row["accepted"] for row in box.messages()] == [True]
    box.faults({"kind": "timeout_after_accept", "next": 1, "ms": 50})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        box.post(body)


def test_a_hanging_answer_does_not_hold_up_the_end() -> None:
    with running(Config()) as box:
        box.faults({"kind": "timeout_after_accept"})
        with pytest.raises(httpx.ReadTimeout):
            box.http.post(
                "/v25.0/1/messages",
                json=box.body("welcome", TO),
                headers={"authorization": f"Bearer {box.token}"},
                timeout=0.1,
            )
        began = time.monotonic()
    assert time.monotonic() - began < 5


def test_storms_delays_and_recipients(box: Box) -> None:
    box.faults({"kind": "storm_130429", "seconds": 0.3, "to": TO}, {"kind": "delay", "ms": 30, "next": 1})
    other = "+33612345679"
    assert box.post(box.body("welcome", TO)).json()["error"]["code"] == 130429
    assert box.post(box.body("welcome", other)).status_code == 200
    assert box.messages()[-1]["fault"] == "delay"
    time.sleep(0.35)
    assert box.post(box.body("welcome", TO)).status_code == 200
    assert box.summary()["fault_hits"]["delay"] >= 1
    assert len(box.faults()) == 2
    box.clear_faults()
    assert box.faults() == []


@pytest.mark.parametrize(
    "wrong", [{"kind": "fire"}, {"kind": "5xx", "probability": 3}, {"kind": "5xx", "often": True}, {}]
)
def test_a_rule_that_is_none_is_refused(box: Box, wrong: dict[str, Any]) -> None:
    with pytest.raises(SandboxError):
        box.faults(wrong)


def test_draws_depend_on_seed_and_recipient_not_on_order() -> None:
    people = [f"+336{number:08d}" for number in range(500)]

    def hit(seed: int, order: list[str]) -> set[str]:
        faults = Faults((Fault(kind="5xx", probability=0.1),), seed)
        return {phone for phone in order if faults.pick(phone)}

    assert hit(1, people) == hit(1, people[::-1])
    assert hit(1, people) != hit(2, people)
    assert 25 < len(hit(1, people)) < 85


def test_latency_is_before_the_answer() -> None:
    with running(Config(latency_ms=60)) as box:
        began = time.monotonic()
        box.send("welcome", TO)
        assert time.monotonic() - began >= 0.06
