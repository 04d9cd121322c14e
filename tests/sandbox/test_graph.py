"""Meta's reading doors."""

from __future__ import annotations

import pytest

from sandbox import Config
from sandbox.testing import Box, SandboxError, running

WABA = "102290129340398"
LISTING = f"/v25.0/{WABA}/message_templates"


def test_pages_follow_next_and_the_last_has_a_cursor_but_no_next(box: Box) -> None:
    seen, address, pages = [], LISTING, 0
    while True:
        page = (
            box.get(address).json()
            if pages == 0
            else box.http.get(address, headers={"authorization": f"Bearer {box.token}"}).json()
        )
        pages += 1
        seen += [(row["name"], row["language"]) for row in page["data"]]
        assert page["paging"]["cursors"]["after"]
        if "next" not in page["paging"]:
            break
        address = page["paging"]["next"]
        assert address.startswith(box.url + LISTING)
    assert pages == 2
    assert len(seen) == len(set(seen)) == len(box.templates()) >= 30


def test_limit_after_and_filters(box: Box) -> None:
    first = box.get(LISTING, limit=3).json()
    second = box.get(LISTING, limit=3, after=first["paging"]["cursors"]["after"]).json()
    assert len(first["data"]) == len(second["data"]) == 3
    assert first["data"][-1] != second["data"][0]
    assert {row["language"] for row in box.get(LISTING, name="order_ready").json()["data"]} == {"fr", "en"}
    assert [row["name"] for row in box.get(LISTING, status="paused").json()["data"]] == ["summer_sale"]
    assert (
        box.get(LISTING, status="REJECTED", fields="rejected_reason").json()["data"][0]["rejected_reason"]
        == "PROMOTIONAL"
    )
    narrowed = box.get(LISTING, status="approved", limit=5, fields="name").json()
    assert all(set(row) == {"name", "id"} for row in narrowed["data"])
    assert "fields=name" in narrowed["paging"]["next"]
    assert "status=approved" in narrowed["paging"]["next"]
    assert box.get(LISTING, name="nope").json() == {"data": []}


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"after": "xxxx"}, {"fields": "name,colour"}])
def test_a_bad_query_is_refused(box: Box, query: dict[str, str]) -> None:
    answer = box.get(LISTING, **query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 100)


def test_a_template_looks_like_metas(box: Box) -> None:
    (row,) = box.get(LISTING, name="autumn_offer").json()["data"]
    assert (row["language"], row["status"], row["category"], row["parameter_format"]) == (
        "fr",
        "APPROVED",
        "MARKETING",
        "NAMED",
    )
    header, body, footer, buttons = row["components"]
    assert (header["type"], header["format"]) == ("HEADER", "IMAGE")
    assert header["example"]["header_handle"]
    names = [pair["param_name"] for pair in body["example"]["body_text_named_params"]]
    assert names == ["first_name", "product_name", "discount"]
    assert footer["type"] == "FOOTER"
    assert [(button["type"], button["text"]) for button in buttons["buttons"]] == [
        ("URL", "Acheter maintenant"),
        ("QUICK_REPLY", "Oui, ça m’intéresse"),
        ("QUICK_REPLY", "Non, merci"),
        ("QUICK_REPLY", "En savoir plus"),
    ]
    assert buttons["buttons"][0]["url"] == "https://shop.example.com/p/{{1}}"
    assert box.get(f"/v25.0/{row['id']}").json()["name"] == "autumn_offer"


def test_ids_of_templates_are_their_own(box: Box) -> None:
    rows = box.templates()
    assert len({row["id"] for row in rows}) == len(rows)


def test_templates_can_be_added_and_replaced(box: Box) -> None:
    row = {"name": "tiny", "language": "de", "components": [{"type": "BODY", "text": "Hallo {{name}}, gut so."}]}
    (put,) = box.put_templates(row)
    assert (put["status"], put["category"], put["parameter_format"]) == ("APPROVED", "UTILITY", "NAMED")
    assert box.send("tiny", "+33612345678", "de")
    (again,) = box.put_templates({**row, "components": [{"type": "BODY", "text": "Hallo."}]})
    assert again["parameter_format"] == "POSITIONAL"
    assert len(box.get(LISTING, name="tiny").json()["data"]) == 1
    for wrong in ({"name": "x"}, {**row, "name": "Not Good"}, {**row, "status": "FINE"}):
        with pytest.raises(SandboxError):
            box.put_templates(wrong)


def test_a_phone_number_says_what_is_asked(box: Box) -> None:
    path = "/v25.0/106540352242922"
    assert box.get(path).json() == {
        "verified_name": "Boutique Sandbox",
        "display_phone_number": "+15550783881",
        "quality_rating": "GREEN",
        "id": "106540352242922",
    }
    assert box.get(path, fields="throughput").json() == {"throughput": {"level": "HIGH"}, "id": "106540352242922"}
    assert box.get(path, fields="shoe_size").json()["error"]["code"] == 100
    assert box.get(f"/v25.0/{WABA}", fields="currency").json() == {"currency": "EUR", "id": WABA}
    assert box.get(f"/v25.0/{WABA}/phone_numbers").json()["data"][0]["id"] == "106540352242922"


def test_reading_needs_token_version_and_a_known_id() -> None:
    with running(Config(senders={"111": "222", "112": "222"})) as box:
        assert box.http.get("/v25.0/222/message_templates").status_code == 401
        assert box.get("/latest/222/message_templates").json()["error"]["code"] == 2500
        assert box.get("/v25.0/222/message_templates").status_code == 200
        assert [row["id"] for row in box.get("/v25.0/222/phone_numbers").json()["data"]] == ["111", "112"]
        for path in ("/v25.0/333/message_templates", "/v25.0/333"):
            error = box.get(path).json()["error"]
            assert (error["code"], error["error_subcode"]) == (100, 33)
        assert box.post(box.body("welcome", "+33612345678"), number="333").json()["error"]["error_subcode"] == 33
        assert box.post(box.body("welcome", "+33612345678"), number="111").status_code == 200
        assert box.get("/v25.0/111/nothing").json()["error"]["code"] == 2500
