"""Rates per number and pair, and the messaging limit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox import Config
from sandbox.limits import SECOND, PairLimit, RateWindow, TierLimit, busiest_second
from sandbox.testing import Box, running

TO = "+33612345678"


def test_no_sliding_second_holds_more_than_the_rate() -> None:
    window, let_through = RateWindow(), []
    for tick in range(400):
        at = tick * SECOND // 100
        if window.take(5, at):
            let_through.append(at)
    assert busiest_second(let_through) == 5
    assert len(let_through) == 20
    assert all(RateWindow().take(0, 0) for _ in range(100))


def test_a_pair_may_borrow_and_pays_back() -> None:
    pair, key = PairLimit(), ("a", "b")
    assert [pair.take(key, 6, 3, 0) for _ in range(4)] == [True, True, True, False]
    assert pair.take(("a", "c"), 6, 3, 0)
    assert not pair.take(key, 6, 3, 5 * SECOND)
    assert pair.take(key, 6, 3, 6 * SECOND)
    assert not pair.take(key, 6, 3, 6 * SECOND)


def test_the_tier_counts_people_in_a_rolling_day() -> None:
    tier = TierLimit()
    assert [tier.take("w", phone, 2, 0) for phone in "aba"] == [True] * 3
    assert not tier.take("w", "c", 2, 100)
    assert tier.take("other", "c", 2, 100)
    assert tier.take("w", "c", 2, 86_400)


def test_over_the_rate_is_130429_per_number() -> None:
    with running(Config(rate=10, mode="silent")) as box:
        body = box.body("welcome", TO)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: box.post(body), range(30)))
        codes = [answer.json().get("error", {}).get("code") for answer in answers]
        assert 130429 in codes
        assert all(answer.status_code == 400 for answer in answers if answer.status_code != 200)
        assert box.post(body, number="2").status_code == 200
        summary = box.summary()
        assert summary["max_in_a_second"]["106540352242922"]["accepted"] == 10
        assert summary["accepted"] == codes.count(None) + 1
        assert summary["refused"] == {"130429": codes.count(130429)}


def test_pair_rate_and_tier_are_off_until_asked_for(box: Box) -> None:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, pair_burst=2, mode="manual")) as box:
        assert [_code(box, TO) for _ in range(5)] == [None] * 5
        box.limits(pair_rate=True, tier=2)
        assert [_code(box, TO) for _ in range(3)] == [None, None, 131056]
        assert _code(box, "+33612345670") is None
        assert _code(box, "+33612345671") == 131048
        box.act("+33612345671", "reply", text="Bonjour")
        assert _code(box, "+33612345671") is None
        box.turn(by="25h")
        assert _code(box, "+33612345672") is None
        assert box.limits(tier=None)["tier"] is None


@pytest.mark.parametrize(("tier", "shown"), [(None, "TIER_UNLIMITED"), (250, "TIER_250"), (2000, "TIER_2K")])
def test_the_phone_number_says_its_limit(tier: int | None, shown: str) -> None:
    with running(Config(tier=tier)) as box:
        row = box.get("/v25.0/106540352242922", fields="whatsapp_business_manager_messaging_limit").json()
        assert row == {"id": "106540352242922", "whatsapp_business_manager_messaging_limit": shown}


def test_a_changed_limit_and_quality_are_told_by_webhooks() -> None:
    with running(Config(now="2026-12-01T10:00:00Z", mode="manual")) as box:
        box.limits(tier=2000, quality="RED")
        box.limits(tier=2000, quality="GREEN")
        box.drain()
        bodies = [one["body"] for one in box.webhooks()]
        told = [change for body in bodies for entry in body["entry"] for change in entry["changes"]]
        assert [(one["field"], one["value"].get("event")) for one in told] == [
            ("business_capability_update", None),
            ("phone_number_quality_update", "FLAGGED"),
            ("phone_number_quality_update", "UNFLAGGED"),
        ]
        assert told[0]["value"] == {"max_daily_conversations_per_business": "TIER_2K"}
        assert box.get("/v25.0/106540352242922", fields="quality_rating").json()["quality_rating"] == "GREEN"


def _code(box: Box, to: str) -> int | None:
    code: int | None = box.post(box.body("welcome", to)).json().get("error", {}).get("code")
    return code
