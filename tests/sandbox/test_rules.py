"""What Meta refuses, each with its code, beside a body that it takes. Over HTTP where the answer's shape matters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from sandbox import rules
from sandbox.examples import template_body, text_body
from sandbox.library import TEMPLATES
from sandbox.templates import Book
from sandbox.testing import Box

TO = "+33612345678"
BOOK = Book(TEMPLATES)
Body = dict[str, Any]
Change = Callable[[Body], object]


def good(name: str, language: str = "fr") -> Body:
    template = BOOK.find(name, language)
    assert template is not None
    return copy.deepcopy(template_body(template, TO))


def code(body: Body, version: int = 25) -> int | None:
    refused = rules.check(body, BOOK.find, version)
    return refused.code if refused else None


TEXT: Body = {"type": "text", "text": "x"}
PAYLOAD: Body = {"type": "payload", "payload": "NO"}
IMAGE: Body = {"type": "image", "image": {"id": "1"}}
VIDEO: Body = {"type": "video", "video": {"id": "1"}}


def add(body: Body, component: Body) -> None:
    body["template"]["components"].append(component)


def part(body: Body, kind: str, number: int = 0) -> Body:
    found: list[Body] = [one for one in body["template"]["components"] if one["type"] == kind]
    return found[number]


def parameter(body: Body, kind: str, number: int = 0) -> Body:
    first: Body = part(body, kind)["parameters"][number]
    return first


def without(body: Body, kind: str) -> None:
    body["template"]["components"] = [one for one in body["template"]["components"] if one["type"] != kind]


APPROVED = [row for row in TEMPLATES if row.get("status", "APPROVED") == "APPROVED"]


@pytest.mark.parametrize("row", APPROVED, ids=lambda row: f"{row['name']}-{row['language']}")
def test_every_approved_template_of_the_library_can_be_sent(row: Body) -> None:
    assert code(good(row["name"], row["language"])) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda b: b.pop("messaging_product"), 100),
        (lambda b: b.update(messaging_product="sms"), 100),
        (lambda b: b.update(recipient_type="group"), 100),
        (lambda b: b.update(idempotency_key="x"), 100),
        (lambda b: b.pop("to"), 131008),
        (lambda b: b.update(to="33612345678"), 131009),
        (lambda b: b.update(to="+33 6 12 34 56 78"), 131009),
        (lambda b: b.update(to="+336123"), 131009),
        (lambda b: b.update(to="+3361234567٨"), 131009),
        (lambda b: b.update(to="+99912345678"), 131009),
        (lambda b: b.update(to=33612345678), 131009),
        (lambda b: b.pop("type"), 131008),
        (lambda b: b.update(type="image"), 131051),
        (lambda b: b.update(text={"body": "x"}), 100),
        (lambda b: b.update(biz_opaque_callback_data="x" * 513), 100),
        (lambda b: b.update(biz_opaque_callback_data=7), 100),
        (lambda b: b.update(context={}), 100),
        (lambda b: b.update(context={"message_id": "wamid.x", "from": "1"}), 100),
        (lambda b: b.pop("template"), 131008),
        (lambda b: b["template"].pop("name"), 131008),
        (lambda b: b["template"].pop("language"), 131008),
        (lambda b: b["template"].update(language="fr"), 131008),
        (lambda b: b["template"].update(namespace="x"), 100),
        (lambda b: b["template"]["language"].update(code="fr_FR"), 132001),
        (lambda b: b["template"]["language"].update(policy="fallback"), 100),
        (lambda b: b["template"].update(name="nope"), 132001),
        (lambda b: b["template"].update(components={}), 100),
        (lambda b: b["template"]["components"].append({"type": "footer"}), 100),
        (lambda b: b["template"]["components"].append("body"), 100),
    ],
)
def test_envelope(change: Change, expected: int) -> None:
    body = good("welcome")
    assert code(body) is None
    change(body)
    assert code(body) == expected


def test_what_the_envelope_may_carry() -> None:
    body = good("welcome")
    body.pop("recipient_type")
    body["biz_opaque_callback_data"] = "x" * 512
    body["context"] = {"message_id": "wamid.x"}
    body["template"]["language"]["policy"] = "deterministic"
    assert code(body) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("summer_sale", 132015), ("old_promo", 132016), ("lottery", 132001), ("winter_preview", 132001)],
)
def test_only_an_approved_template_goes_out(name: str, expected: int) -> None:
    assert code(good(name)) == expected


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("order_ready", lambda b: part(b, "body")["parameters"].pop(), 132000),
        ("order_ready", lambda b: part(b, "body")["parameters"].append({"type": "text", "text": "x"}), 132000),
        ("order_ready", lambda b: without(b, "body"), 132000),
        ("autumn_last_call", lambda b: add(b, {"type": "body", "parameters": [{"type": "text", "text": "x"}]}), 132000),
        ("order_ready", lambda b: parameter(b, "body").update(parameter_name="first_name"), 132012),
        ("order_ready", lambda b: parameter(b, "body").update(type="currency"), 132012),
        ("order_ready", lambda b: parameter(b, "body").update(text=""), 131008),
        ("order_ready", lambda b: parameter(b, "body").update(text=" "), 131008),
        ("order_ready", lambda b: parameter(b, "body").update(text=None), 131008),
        ("order_ready", lambda b: parameter(b, "body").update(text="a\nb"), 132018),
        ("order_ready", lambda b: parameter(b, "body").update(text="a\tb"), 132018),
        ("order_ready", lambda b: parameter(b, "body").update(text="a     b"), 132018),
        ("order_ready", lambda b: parameter(b, "body").update(text="a    b"), None),
        ("order_ready", lambda b: parameter(b, "body").update(bold=True), 100),
        ("order_ready", lambda b: b["template"]["components"].append(part(b, "body")), 132018),
        ("order_ready", lambda b: parameter(b, "body").update(text="x" * 1024), 132005),
        ("autumn_offer", lambda b: parameter(b, "body").pop("parameter_name"), 100),
        ("autumn_offer", lambda b: parameter(b, "body").update(parameter_name="prenom"), 132012),
        ("autumn_offer", lambda b: parameter(b, "body").update(parameter_name="discount"), 132012),
        ("autumn_offer", lambda b: part(b, "body")["parameters"].reverse(), None),
        ("autumn_offer", lambda b: without(b, "header"), 132012),
        ("autumn_offer", lambda b: part(b, "header").update(parameters=[]), 132012),
        ("autumn_offer", lambda b: part(b, "header").update(parameters=[{"type": "text", "text": "x"}]), 132012),
        ("autumn_offer", lambda b: part(b, "header").update(parameters=[VIDEO]), 132012),
        ("autumn_offer", lambda b: part(b, "header")["parameters"].append(parameter(b, "header")), 132000),
        ("autumn_offer", lambda b: parameter(b, "header").update(image={"id": "1234"}), None),
        ("autumn_offer", lambda b: parameter(b, "header").update(image={}), 100),
        ("autumn_offer", lambda b: parameter(b, "header")["image"].update(id="1"), 100),
        ("autumn_offer", lambda b: parameter(b, "header")["image"].update(caption="x"), 100),
        ("autumn_offer", lambda b: parameter(b, "header")["image"].update(link="cdn.example.com/x.jpg"), 100),
        ("autumn_offer", lambda b: parameter(b, "header")["image"].update(link="file:///etc/passwd"), 100),
        ("autumn_offer", lambda b: parameter(b, "header")["image"].update(link="https://cdn.example.com/a b.jpg"), 100),
        ("autumn_offer", lambda b: parameter(b, "header")["image"].update(link="http://cdn.example.com/a.jpg"), None),
        ("invoice", lambda b: parameter(b, "header")["document"].pop("filename"), None),
        ("invoice", lambda b: parameter(b, "header")["document"].update(filename=1), 100),
        ("store_location", lambda b: parameter(b, "header")["location"].pop("latitude"), 131009),
        ("store_location", lambda b: parameter(b, "header")["location"].update(longitude=181), 131009),
        ("store_location", lambda b: parameter(b, "header")["location"].update(name=""), 131008),
        ("store_location", lambda b: without(b, "header"), 132012),
        ("event_invite", lambda b: without(b, "header"), 132000),
        ("event_invite", lambda b: parameter(b, "header").update(text="x" * 60), 132005),
        ("event_invite", lambda b: part(b, "header").update(parameters=[IMAGE]), 132012),
        ("survey_vip", lambda b: add(b, {"type": "header", "parameters": [TEXT]}), 132000),
        ("order_ready", lambda b: without(b, "button"), 131008),
        ("order_ready", lambda b: part(b, "button").update(index="1"), 132018),
        ("order_ready", lambda b: part(b, "button").update(index="x"), 131008),
        ("order_ready", lambda b: part(b, "button").pop("index"), 131008),
        ("order_ready", lambda b: part(b, "button").update(index=0), None),
        ("order_ready", lambda b: part(b, "button").update(sub_type="URL"), None),
        ("order_ready", lambda b: part(b, "button").update(sub_type="quick_reply"), 132018),
        ("order_ready", lambda b: part(b, "button").update(sub_type="link"), 100),
        ("order_ready", lambda b: part(b, "button").update(parameters=[]), 131008),
        ("order_ready", lambda b: part(b, "button")["parameters"].append({"type": "text", "text": "x"}), 132000),
        ("order_ready", lambda b: parameter(b, "button").update(text=""), 131008),
        ("order_ready", lambda b: parameter(b, "button").update(text="a\nb"), 132018),
        ("order_ready", lambda b: part(b, "button").update(parameters=[{"type": "payload", "payload": "x"}]), 132012),
        ("order_ready", lambda b: b["template"]["components"].append(part(b, "button")), 132018),
        ("product_info", lambda b: add(b, _button("url", 0, TEXT)), 132018),
        ("appointment_reminder", lambda b: add(b, _button("quick_reply", 1, PAYLOAD)), None),
        ("appointment_reminder", lambda b: add(b, _button("quick_reply", 2, PAYLOAD)), 132018),
        ("appointment_reminder", lambda b: add(b, _button("quick_reply", 1, {**PAYLOAD, "payload": ""})), 131008),
        ("appointment_reminder", lambda b: add(b, _button("quick_reply", 1, TEXT)), 132012),
        ("voucher_gift", lambda b: without(b, "button"), 131008),
        ("voucher_gift", lambda b: parameter(b, "button").update(coupon_code="X" * 21), 132018),
        ("voucher_gift", lambda b: parameter(b, "button").update(coupon_code="X" * 20), None),
        ("voucher_gift", lambda b: parameter(b, "button").update(coupon_code=""), 131008),
        ("voucher_gift", lambda b: part(b, "button").update(sub_type="COPY_CODE"), None),
        ("login_code", lambda b: without(b, "button"), 131008),
    ],
)  # fmt: skip
def test_components(name: str, change: Change, expected: int | None) -> None:
    body = good(name)
    change(body)
    assert code(body) == expected


def _button(kind: str, index: int, value: Body) -> Body:
    return {"type": "button", "sub_type": kind, "index": str(index), "parameters": [value]}


def test_parameter_errors_had_the_general_code_before_v23() -> None:
    body = good("order_ready")
    parameter(body, "body")["text"] = "a\nb"
    assert (code(body, 22), code(body, 23)) == (100, 132018)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"body": "Bonjour\n\nà tous"}, None),
        ({"body": "x" * 4096, "preview_url": True}, None),
        ({"body": "x" * 4097}, 100),
        ({"body": ""}, 131008),
        ({"body": "  "}, 131008),
        ({}, 131008),
        ("Bonjour", 131008),
        ({"body": "x", "preview_url": "yes"}, 100),
        ({"body": "x", "format": "bold"}, 100),
    ],
)
def test_free_text(text: Any, expected: int | None) -> None:
    assert code({**text_body(TO), "text": text}) == expected


def test_a_refusal_has_the_shape_and_the_status_of_meta(box: Box) -> None:
    body = box.body("order_ready", TO)
    body["template"]["components"][0]["parameters"].pop()
    answer = box.post(body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "error_data", "fbtrace_id"}
    assert (error["type"], error["code"]) == ("OAuthException", 132000)
    assert error["message"].startswith("(#132000) ")
    assert error["error_data"] == {
        "messaging_product": "whatsapp",
        "details": "body: number of localizable_params (1) does not match the expected number of params (2)",
    }
    assert (
        box.post({**box.body("welcome", TO), "template": {"name": "x", "language": {"code": "fr"}}}).status_code == 404
    )


def test_an_accepted_template_has_the_shape_of_meta(box: Box) -> None:
    answer = box.post(box.body("welcome", TO))
    assert answer.status_code == 200
    body = answer.json()
    assert body["messaging_product"] == "whatsapp"
    assert body["contacts"][0]["input"] == TO
    assert body["contacts"][0]["wa_id"] == "33612345678"
    assert body["messages"][0]["id"].startswith("wamid.")
    assert body["messages"][0]["message_status"] == "accepted"


def test_the_wa_id_of_brazil_and_mexico_differs_from_the_number(box: Box) -> None:
    assert box.post(box.body("welcome", "+5551987654321")).json()["contacts"][0]["wa_id"] == "555187654321"
    assert box.post(box.body("welcome", "+525512345678")).json()["contacts"][0]["wa_id"] == "5215512345678"


def test_every_wamid_is_new(box: Box) -> None:
    assert len({box.send("welcome", TO) for _ in range(50)}) == 50


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", "Basic sandbox-token"])
def test_a_wrong_token_is_401(box: Box, token: str) -> None:
    body = box.body("welcome", TO)
    answer = box.http.post("/v25.0/106540352242922/messages", json=body, headers={"authorization": token})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 190
    assert box.messages() == []


@pytest.mark.parametrize("version", ["25.0", "v25", "vX.0", "latest"])
def test_the_version_must_be_one(box: Box, version: str) -> None:
    answer = box.post(box.body("welcome", TO), version=version)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 2500)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_is_refused_and_kept(box: Box, raw: bytes) -> None:
    assert box.post(raw).json()["error"]["code"] == 100
    assert [row["accepted"] for row in box.messages()] == [False]


def test_free_text_needs_an_open_window(box: Box) -> None:
    def text() -> int | None:
        answer = box.post(text_body(TO))
        return None if answer.status_code == 200 else answer.json()["error"]["code"]

    box.send("welcome", TO)
    assert text() == 131047
    box.act(TO, "reply", text="Bonjour", at="+0s")
    assert text() is None
    box.turn(by="24h")
    assert text() is None
    box.turn(by="1s")
    assert text() == 131047


def test_a_message_can_be_marked_as_read_only_if_it_was_received(box: Box) -> None:
    wamid = box.act(TO, "reply", text="Bonjour")["wamid"]
    mark = {"messaging_product": "whatsapp", "status": "read", "message_id": wamid}
    assert box.post(mark).json() == {"success": True}
    assert box.post({**mark, "typing_indicator": {"type": "text"}}).json() == {"success": True}
    assert box.post({**mark, "message_id": "wamid.unknown"}).json()["error"]["code"] == 131009
    assert box.post({**mark, "status": "delivered"}).json()["error"]["code"] == 131009
    assert box.post({**mark, "to": TO}).json()["error"]["code"] == 100
    assert box.summary()["marked_read"] == 2


def test_who_hides_the_number_is_answered_by_user_id(box: Box) -> None:
    box.act(TO, "reply", text="Bonjour", hide_phone=True)
    message = box.webhooks()[-1]["body"]["entry"][0]["changes"][0]["value"]["messages"][0]
    assert "from" not in message
    body = {**text_body(TO), "recipient": message["from_user_id"]}
    body.pop("to")
    answer = box.post(body)
    assert answer.json()["contacts"] == [{"input": message["from_user_id"], "user_id": message["from_user_id"]}]
    assert box.messages()[-1]["to"] == TO
    assert box.post({**body, "recipient": "FR.1"}).json()["error"]["code"] == 131009


def test_the_sender_cannot_write_to_itself(box: Box) -> None:
    assert box.post(box.body("welcome", "+15550783881")).json()["error"]["code"] == 131021


def test_marketing_to_the_united_states_fails_and_to_canada_does_not(box: Box) -> None:
    for to in ("+14155552671", "+14165552671", "+17875552671"):
        box.send("autumn_reminder", to)
        box.send("welcome", to)
    failed = {(row["to"], row.get("code")) for row in box.statuses() if row["status"] == "failed"}
    assert failed == {("+14155552671", 131049)}


def test_who_stopped_marketing_gets_131050_for_marketing_alone(box: Box) -> None:
    box.send("autumn_reminder", TO)
    box.act(TO, "preference_stop")
    stopped, utility = box.send("autumn_reminder", TO), box.send("welcome", TO)
    by_wamid = {row["wamid"]: row for row in box.statuses()}
    assert (by_wamid[stopped]["status"], by_wamid[stopped]["code"]) == ("failed", 131050)
    assert by_wamid[utility]["status"] == "sent"
    box.act(TO, "preference_resume")
    again = box.send("autumn_reminder", TO)
    assert {row["wamid"]: row["status"] for row in box.statuses()}[again] == "sent"
