"""Webhooks: their shape, their signature, how they arrive and how they don't."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import Config
from sandbox.population import PERFECT
from sandbox.testing import Box, SandboxError, running

TO = "+33612345678"
NOON = "2026-12-01T12:00:00Z"
UNIX_NOON = "1796126400"


def value(webhook: dict[str, Any], change: int = 0) -> dict[str, Any]:
    body = webhook["body"]
    assert body["object"] == "whatsapp_business_account"
    assert body["entry"][0]["id"] == "102290129340398"
    assert body["entry"][0]["changes"][change]["field"] == "messages"
    found: dict[str, Any] = body["entry"][0]["changes"][change]["value"]
    assert found["messaging_product"] == "whatsapp"
    assert found["metadata"] == {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"}
    return found


def last(box: Box) -> dict[str, Any]:
    return value(box.webhooks()[-1], -1)


def test_a_status_looks_like_metas(box: Box) -> None:
    seen = len(box.webhooks())
    wamid = box.send("autumn_reminder", TO, biz_opaque_callback_data="e1:42")
    box.drain()
    box.act(TO, "delivered")
    box.act(TO, "read")
    statuses = [status for hook in box.webhooks()[seen:] for status in value(hook)["statuses"]]
    common = {"id": wamid, "timestamp": UNIX_NOON, "recipient_id": "33612345678", "biz_opaque_callback_data": "e1:42"}
    pricing = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "marketing"}
    for status in statuses:
        assert status.pop("recipient_user_id").startswith("FR.")
    assert statuses == [
        {**common, "status": "sent", "pricing": pricing},
        {**common, "status": "delivered", "pricing": pricing},
        {**common, "status": "read"},
    ]


def test_a_read_without_delivered_carries_the_price(box: Box) -> None:
    box.send("welcome", TO)
    box.act(TO, "read")
    assert last(box)["statuses"][-1]["pricing"]["category"] == "utility"


def test_a_failure_carries_its_error(box: Box) -> None:
    box.send("welcome", TO)
    box.act(TO, "failed", code=131026, details="not on WhatsApp")
    status = last(box)["statuses"][-1]
    assert "pricing" not in status
    (error,) = status["errors"]
    assert error.pop("href").startswith("https://developers.facebook.com/")
    assert error == {
        "code": 131026,
        "title": "Message undeliverable",
        "message": "Message undeliverable",
        "error_data": {"details": "not on WhatsApp"},
    }


def test_a_button_looks_like_metas(box: Box) -> None:
    body = box.body("appointment_reminder", TO)
    payload = {"type": "payload", "payload": "CANCEL"}
    button = {"type": "button", "sub_type": "quick_reply", "index": "1", "parameters": [payload]}
    body["template"]["components"].append(button)
    wamid = box.post(body).json()["messages"][0]["id"]
    box.act(TO, "button", text="Annuler")
    found = last(box)
    (contact,), (message,) = found["contacts"], found["messages"]
    assert set(contact) == {"profile", "wa_id", "user_id"}
    assert contact["wa_id"] == "33612345678"
    assert contact["profile"]["name"]
    assert message.pop("id").startswith("wamid.")
    assert message.pop("from_user_id") == contact["user_id"]
    assert message == {
        "context": {"from": "15550783881", "id": wamid},
        "from": "33612345678",
        "timestamp": UNIX_NOON,
        "type": "button",
        "button": {"payload": "CANCEL", "text": "Annuler"},
    }
    box.act(TO, "button", text="Je confirme", quote=False)
    (message,) = last(box)["messages"]
    assert "context" not in message
    assert message["button"] == {"payload": "Je confirme", "text": "Je confirme"}


def test_texts_reactions_and_preferences_look_like_metas(box: Box) -> None:
    wamid = box.send("autumn_reminder", TO)
    box.act(TO, "reply", text="Où êtes-vous ?")
    (message,) = last(box)["messages"]
    assert (message["type"], message["text"]) == ("text", {"body": "Où êtes-vous ?"})
    box.act(TO, "reaction", text="👍")
    (message,) = last(box)["messages"]
    assert message["reaction"] == {"message_id": wamid, "emoji": "👍"}
    box.act(TO, "reaction")
    assert last(box)["messages"][0]["reaction"] == {"message_id": wamid}
    box.act(TO, "preference_stop")
    (change,) = box.webhooks()[-1]["body"]["entry"][0]["changes"]
    assert change["field"] == "user_preferences"
    (preference,) = change["value"]["user_preferences"]
    assert preference.pop("user_id").startswith("FR.")
    assert preference == {
        "wa_id": "33612345678",
        "detail": "User requested to stop marketing messages",
        "category": "marketing_messages",
        "value": "stop",
        "timestamp": int(UNIX_NOON),
    }


def test_a_changed_template_is_told(box: Box) -> None:
    box.template_status("order_ready", "en", "PAUSED")
    box.drain()
    (entry,) = box.webhooks()[-1]["body"]["entry"]
    assert entry["time"] == int(UNIX_NOON)
    (change,) = entry["changes"]
    assert change["field"] == "message_template_status_update"
    assert change["value"]["event"] == "PAUSED"
    assert change["value"]["message_template_name"] == "order_ready"
    assert change["value"]["message_template_language"] == "en"
    assert isinstance(change["value"]["message_template_id"], int)
    assert box.post(box.body("order_ready", TO, "en")).json()["error"]["code"] == 132015
    box.template_status("order_ready", "en", "APPROVED")
    assert box.post(box.body("order_ready", TO, "en")).status_code == 200
    with pytest.raises(SandboxError, match="no template"):
        box.template_status("order_ready", "de", "PAUSED")
    with pytest.raises(SandboxError, match="no status"):
        box.template_status("order_ready", "en", "TIRED")


def test_the_signature_is_over_the_raw_bytes_which_are_ascii(inbox: Any) -> None:
    with running(Config(now=NOON, mode="manual", callback=inbox.url, app_secret="s3cret")) as box:
        box.send("welcome", TO)
        box.act(TO, "reply", text="Ça marche ! https://example.com/é")
    for raw, headers in inbox.got:
        expected = hmac.new(b"s3cret", raw, hashlib.sha256).hexdigest()
        assert headers["x-hub-signature-256"] == f"sha256={expected}"
        assert headers["content-type"] == "application/json"
        assert raw.isascii()
        assert b"\n" not in raw
    raw = inbox.got[-1][0]
    assert b"\\u00c7a marche" in raw
    assert b"https:\\/\\/example.com" in raw
    assert json.loads(raw)["entry"][0]["changes"][-1]["value"]["messages"][0]["text"]["body"].startswith("Ça")


def test_the_handshake_is_metas(inbox: Any) -> None:
    with running(Config(callback=inbox.url)) as box:
        assert box.handshake("good") == {"verified": True, "status": 200}
        assert box.handshake("bad") == {"verified": False, "status": 403}


def test_a_webhook_comes_again_until_it_is_answered_with_200(inbox: Any) -> None:
    inbox.answers = [500, 404, 204]
    with running(Config(now=NOON, mode="manual", callback=inbox.url, retry_first_ms=5)) as box:
        box.send("welcome", TO)
        done = box.drain()
        assert (done["attempts"], done["delivered"], done["undelivered"]) == (4, 1, 0)
        assert box.webhooks()[0]["answers"] == ["500", "404", "204", "200"]
    assert len({raw for raw, _ in inbox.got}) == 1


def test_what_is_never_taken_is_kept(inbox: Any) -> None:
    inbox.answers = [500] * 100
    with running(Config(now=NOON, mode="manual", callback=inbox.url, retries=2, retry_first_ms=1)) as box:
        box.send("welcome", TO)
        assert box.drain()["undelivered"] == 1
        (kept,) = box.webhooks(undelivered=True)
        assert (kept["state"], kept["attempts"]) == ("undelivered", 3)
    with running(Config(now=NOON, mode="manual", callback="http://127.0.0.1:1/", retries=1, retry_first_ms=1)) as box:
        box.send("welcome", TO)
        assert box.drain()["undelivered"] == 1
        assert box.webhooks(undelivered=True)[0]["answers"] == ["ConnectError", "ConnectError"]


def test_updates_are_batched_up_to_the_limit(inbox: Any) -> None:
    with running(Config(now=NOON, rate=0, mode="manual", callback=inbox.url, batch=10, batch_wait_ms=200)) as box:
        box.webhook_faults(hold=True)
        sent = [box.send("welcome", f"+336{number:08d}") for number in range(25)]
        assert box.drain()["waiting"] == 25
        assert inbox.got == []
        box.webhook_faults(hold=False)
        box.drain()
    sizes = [len(json.loads(raw)["entry"][0]["changes"][0]["value"]["statuses"]) for raw, _ in inbox.got]
    assert sizes == [10, 10, 5]
    assert _ids(inbox) == sent


def test_updates_may_come_twice_shuffled_late_or_never(inbox: Any) -> None:
    with running(Config(now=NOON, rate=0, mix=PERFECT, callback=inbox.url, batch=5)) as box:
        box.webhook_faults(hold=True, duplicates=1, shuffle=True, delay_ms=20)
        sent = [box.send("welcome", f"+336{number:08d}") for number in range(20)]
        box.webhook_faults(hold=False)
        box.drain()
        ids = _ids(inbox)
        assert sorted(ids) == sorted(sent * 6)
        assert ids != [wamid for wamid in sent for _ in range(6)]
        box.webhook_faults(drop=1, duplicates=0)
        box.send("welcome", TO)
        assert box.drain()["dropped"] == 3
        assert len(_ids(inbox)) == 120


def test_statuses_may_arrive_before_the_answer_to_the_send(inbox: Any) -> None:
    with running(Config(now=NOON, mode="manual", callback=inbox.url)) as box:
        box.webhook_faults(early=1)
        wamid = box.send("welcome", TO)
        assert _ids(inbox) == [wamid]


def test_a_log_gets_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "landing" / "webhooks.ndjson"
    with running(Config(now=NOON, mix=PERFECT, webhook_log=log, batch=2)) as box:
        box.send("welcome", TO)
        assert box.drain()["delivered"] == 2
        lines = log.read_bytes().splitlines(keepends=True)
        assert [hook["raw"].encode() + b"\n" for hook in box.webhooks()] == lines
    found = [status["status"] for line in lines for status in _statuses(line)]
    assert found == ["sent", "delivered", "read"]


def test_the_callback_can_be_set_later(inbox: Any) -> None:
    with running(Config(now=NOON, mode="manual")) as box:
        box.webhook_faults(callback=inbox.url)
        box.send("welcome", TO)
        box.drain()
    assert len(inbox.got) == 1


def _statuses(raw: bytes) -> list[dict[str, Any]]:
    changes = [change for entry in json.loads(raw)["entry"] for change in entry["changes"]]
    return [status for change in changes for status in change["value"].get("statuses", [])]


def _ids(inbox: Any) -> list[str]:
    return [status["id"] for raw, _ in inbox.got for status in _statuses(raw)]
