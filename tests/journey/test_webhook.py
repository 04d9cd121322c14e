"""Webhook lines into frames: what is understood, what is set aside, and that nothing vanishes."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journey import webhook_shapes as shapes
from journey.webhook import Parsed, parse

SENDER = "220011223344"
AT = datetime(2026, 10, 13, 8, 15, 30, tzinfo=UTC)
SECONDS = str(int(AT.timestamp()))


def delivery(*changes: object, **more: object) -> dict[str, Any]:
    return {"object": "whatsapp_business_account", "entry": [{"id": "waba-7", "changes": list(changes), **more}]}


def messages(**value: object) -> dict[str, Any]:
    metadata = {"display_phone_number": "33187654321", "phone_number_id": SENDER}
    return {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}


def inbound(message: dict[str, Any], **contact: object) -> dict[str, Any]:
    who = contact or {"profile": {"name": "Inès"}, "wa_id": "33611223344"}
    return messages(contacts=[who], messages=[{"id": "wamid.IN", "timestamp": SECONDS, **message}])


def status(word: str = "delivered", **more: object) -> dict[str, Any]:
    return {"id": "wamid.OUT", "status": word, "timestamp": SECONDS, "recipient_id": "33611223344", **more}


def line(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def read(*bodies: object) -> Parsed:
    """Each body as a line; bytes as they are."""
    return parse(
        [(number, body if isinstance(body, bytes) else line(body)) for number, body in enumerate(bodies, start=1)]
    )


def counts(parsed: Parsed) -> dict[str, int]:
    frames = {name: getattr(parsed, name) for name in Parsed.__slots__}
    return {name: frame.height for name, frame in frames.items() if frame.height}


def only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1
    return frame.row(0, named=True)


def test_a_status_brings_the_callback_and_the_price() -> None:
    priced = status(
        biz_opaque_callback_data="i1:2:m3",
        conversation={"id": "c1", "origin": {"type": "marketing"}},
        pricing={"billable": True, "pricing_model": "PMP", "category": "marketing", "type": "regular"},
    )
    row = only(read(delivery(messages(statuses=[priced]))).statuses)
    assert row["wamid"] == "wamid.OUT" and row["status"] == "delivered" and row["status_at"] == AT
    assert row["callback"] == "i1:2:m3" and row["phone_number_id"] == SENDER and row["waba_id"] == "waba-7"
    assert (row["pricing_category"], row["pricing_type"]) == ("marketing", "regular")
    assert row["line"] == 1 and row["received_at"] is None and row["error_code"] is None


def test_a_failed_status_brings_its_code_and_the_details() -> None:
    fault = {"code": 131049, "title": "Not delivered", "message": "Not delivered", "error_data": {"details": "why"}}
    row = only(read(delivery(messages(statuses=[status("failed", errors=[fault])]))).statuses)
    assert (row["error_code"], row["error_title"], row["error_details"]) == (131049, "Not delivered", "why")


def test_a_code_may_be_text_and_the_details_may_be_missing() -> None:
    row = only(
        read(delivery(messages(statuses=[status("failed", errors=[{"code": "131026", "title": "T"}])]))).statuses
    )
    assert (row["error_code"], row["error_title"], row["error_details"]) == (131026, "T", None)


def test_a_status_that_nobody_knows_is_kept() -> None:
    assert only(read(delivery(messages(statuses=[status("played")]))).statuses)["status"] == "played"


@pytest.mark.parametrize("whom", [{"recipient_id": None, "recipient_user_id": "FR.9081"}, {"recipient_id": 336}])
def test_whom_a_status_went_to_is_known_already_however_it_is_written(whom: dict[str, Any]) -> None:
    assert only(read(delivery(messages(statuses=[status(**whom)]))).statuses)["wamid"] == "wamid.OUT"


def test_the_envelope_of_the_gateway_says_when_a_body_came() -> None:
    text = json.dumps(delivery(messages(statuses=[status()])), indent=2)
    for written, expected in [
        ("2026-10-13T08:16:00.250Z", datetime(2026, 10, 13, 8, 16, 0, 250_000, tzinfo=UTC)),
        ("2026-10-13T10:16:00+02:00", datetime(2026, 10, 13, 8, 16, tzinfo=UTC)),
        ("2026-10-13T08:16:00", datetime(2026, 10, 13, 8, 16, tzinfo=UTC)),
        (1791879360, datetime.fromtimestamp(1791879360, UTC)),
        ("one day", None),
        (None, None),
    ]:
        row = only(read({"received_at": written, "body": text}).statuses)
        assert (row["status_at"], row["received_at"]) == (AT, expected)


def test_an_envelope_may_hold_the_body_as_an_object() -> None:
    parsed = read({"received_at": "2026-10-13T08:16:00Z", "body": delivery(messages(statuses=[status()]))})
    assert only(parsed.statuses)["received_at"] == datetime(2026, 10, 13, 8, 16, tzinfo=UTC)


def test_every_entry_change_message_and_status_is_read_in_order() -> None:
    body = delivery(
        messages(statuses=[status("sent"), status("read")]),
        messages(contacts=[{"wa_id": "33611223344"}], messages=[{"id": "wamid.1", "timestamp": SECONDS, "type": "text",
                 "from": "33611223344", "text": {"body": "oui"}}], statuses=[status("delivered")]),
    )  # fmt: skip
    body["entry"].append(delivery(messages(statuses=[status("failed")]))["entry"][0] | {"id": "waba-8"})
    parsed = read(body, delivery(messages(statuses=[status("sent")])))
    assert parsed.statuses["status"].to_list() == ["sent", "read", "delivered", "failed", "sent"]
    assert parsed.statuses["waba_id"].to_list() == ["waba-7", "waba-7", "waba-7", "waba-8", "waba-7"]
    assert parsed.statuses["line"].to_list() == [1, 1, 1, 1, 2]
    assert parsed.inbound["text"].to_list() == ["oui"]


@pytest.mark.parametrize(
    ("message", "kind", "payload", "text", "context"),
    [
        ({"type": "text", "text": {"body": "Bonjour\nà vous"}}, "text", None, "Bonjour\nà vous", None),
        (
            {"type": "button", "button": {"payload": "P1", "text": "Oui"}, "context": {"from": "1", "id": "wamid.OUT"}},
            "button", "P1", "Oui", "wamid.OUT",
        ),
        ({"type": "button", "button": {"text": "Oui"}}, "button", None, "Oui", None),
        (
            {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "b", "title": "B"}}},
            "button", "b", "B", None,
        ),
        (
            {"type": "interactive", "context": {"id": "wamid.Q"},
             "interactive": {"type": "list_reply", "list_reply": {"id": "r", "title": "R", "description": "d"}}},
            "list", "r", "R", "wamid.Q",
        ),
        (
            {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply":
             {"name": "flow", "body": "Sent", "response_json": "{\"a\":1}"}}},
            "other", "{\"a\":1}", "Sent", None,
        ),
        ({"type": "interactive", "interactive": {"type": "call_permission_reply"}}, "other", None, None, None),
        ({"type": "reaction", "reaction": {"message_id": "wamid.O", "emoji": "🎉"}}, "reaction", None, "🎉", "wamid.O"),
        ({"type": "reaction", "reaction": {"message_id": "wamid.O", "emoji": ""}}, "reaction", None, None, "wamid.O"),
        ({"type": "reaction", "reaction": {"message_id": "wamid.O"}}, "reaction", None, None, "wamid.O"),
        ({"type": "audio", "audio": {"id": "m1", "voice": True}}, "media", None, None, None),
        ({"type": "location", "location": {"latitude": 1.5, "longitude": 2}}, "other", None, None, None),
        ({"type": "unsupported", "errors": [{"code": 131051, "title": "T"}]}, "other", None, None, None),
        ({"type": "something_of_2029", "something_of_2029": {"deep": [1]}}, "other", None, None, None),
        ({}, "other", None, None, None),
    ],
)  # fmt: skip
def test_a_message_is_read_by_its_kind(
    message: dict[str, Any], kind: str, payload: str | None, text: str | None, context: str | None
) -> None:
    row = only(read(delivery(inbound({"from": "33611223344", **message}))).inbound)
    assert (row["kind"], row["payload"], row["text"], row["context_wamid"]) == (kind, payload, text, context)
    assert (row["wa_id"], row["phone"], row["profile_name"]) == ("33611223344", "+33611223344", "Inès")
    assert row["replied_at"] == AT and row["type"] == message.get("type")


def test_media_brings_its_id_its_type_and_its_caption() -> None:
    document = {
        "id": "m9",
        "mime_type": "application/pdf",
        "filename": "devis.pdf",
        "caption": "le devis",
        "sha256": "x",
    }
    row = only(read(delivery(inbound({"from": "33611223344", "type": "document", "document": document}))).inbound)
    assert (row["kind"], row["type"], row["text"]) == ("media", "document", "le devis")
    assert (row["media_id"], row["mime_type"], row["filename"]) == ("m9", "application/pdf", "devis.pdf")


@pytest.mark.parametrize("timestamp", [SECONDS, int(SECONDS), float(SECONDS)])
def test_a_timestamp_is_text_or_a_number(timestamp: object) -> None:
    message = {"from": "33611223344", "type": "text", "text": {"body": "x"}, "timestamp": timestamp}
    assert only(read(delivery(inbound(message))).inbound)["replied_at"] == AT


def test_a_person_without_a_phone_is_known_by_their_user_id() -> None:
    row = only(read(delivery(inbound({"type": "text", "text": {"body": "x"}}, user_id="FR.9081"))).inbound)
    assert (row["wa_id"], row["phone"], row["user_id"]) == (None, None, "FR.9081")
    row = only(read(delivery(messages(messages=[{"id": "w", "timestamp": SECONDS, "from_user_id": "FR.1"}]))).inbound)
    assert (row["wa_id"], row["user_id"], row["profile_name"]) == (None, "FR.1", None)


def test_each_message_is_matched_with_its_own_contact() -> None:
    people = [
        {"wa_id": "33600000002", "user_id": "FR.2", "profile": {"name": "B"}},
        {"wa_id": "33600000001", "user_id": "FR.1", "profile": {"name": "A"}},
    ]
    sent = [
        {"id": "w1", "timestamp": SECONDS, "type": "text", "from": "33600000001"},
        {"id": "w2", "timestamp": SECONDS, "type": "text", "from_user_id": "FR.2"},
        {"id": "w3", "timestamp": SECONDS, "type": "text", "from": "33600000003"},
    ]
    found = read(delivery(messages(contacts=people, messages=sent))).inbound
    assert found["profile_name"].to_list() == ["A", "B", None]
    assert found["user_id"].to_list() == ["FR.1", "FR.2", None]
    assert found["wa_id"].to_list() == ["33600000001", "33600000002", "33600000003"]


def test_a_message_from_nobody_is_set_aside() -> None:
    parsed = read(delivery(messages(messages=[{"id": "w", "timestamp": SECONDS, "type": "text"}])))
    assert counts(parsed) == {"bad": 1} and "nobody" in only(parsed.bad)["reason"]


def test_a_changed_number_is_an_identity_and_no_reply() -> None:
    system = {"type": "user_changed_number", "body": "B moved", "wa_id": "33699887766", "user_id": "FR.2"}
    parsed = read(delivery(messages(messages=[{"id": "w", "timestamp": SECONDS, "from": "33611223344", "type": "system",
                                               "system": system}])))  # fmt: skip
    row = only(parsed.identities)
    assert counts(parsed) == {"identities": 1}
    assert (row["kind"], row["wa_id"], row["phone"]) == ("user_changed_number", "33611223344", "+33611223344")
    assert (row["new_wa_id"], row["new_phone"], row["new_user_id"]) == ("33699887766", "+33699887766", "FR.2")


def test_a_changed_user_id_is_an_identity() -> None:
    update = {"wa_id": "33611223344", "user_id": {"previous": "FR.1", "current": "FR.2"}, "timestamp": int(SECONDS)}
    row = only(read(delivery({"field": "user_id_update", "value": {"user_id_update": [update]}})).identities)
    assert (row["user_id"], row["new_user_id"], row["wa_id"], row["changed_at"]) == ("FR.1", "FR.2", "33611223344", AT)


def test_a_persons_preference_is_read() -> None:
    stop = {"wa_id": "33611223344", "category": "marketing_messages", "value": "stop", "detail": "d",
            "timestamp": int(SECONDS)}  # fmt: skip
    resume = {"user_id": "FR.2", "category": "marketing_messages", "value": "resume", "timestamp": SECONDS}
    value = {"metadata": {"phone_number_id": SENDER}, "user_preferences": [stop, resume, {"value": "stop"}]}
    parsed = read(delivery({"field": "user_preferences", "value": value}))
    assert parsed.preferences.select("phone", "user_id", "value", "changed_at", "phone_number_id").rows() == [
        ("+33611223344", None, "stop", AT, SENDER),
        (None, "FR.2", "resume", AT, SENDER),
    ]
    assert only(parsed.bad)["reason"].startswith("preference:")


def test_template_events_of_all_kinds_share_a_frame() -> None:
    named = {"message_template_id": 905, "message_template_name": "offre", "message_template_language": "fr-FR"}
    changes = [
        {"field": "message_template_status_update", "value": {**named, "event": "PAUSED", "reason": None,
         "other_info": {"title": "FIRST_PAUSE", "description": "d"}}},
        {"field": "message_template_status_update", "value": {**named, "previous_quality_score": "GREEN",
         "new_quality_score": "RED"}},
        {"field": "template_category_update", "value": {**named, "previous_category": "UTILITY",
         "new_category": "MARKETING"}},
        {"field": "message_template_components_update", "value": {**named, "message_template_element": "x"}},
    ]  # fmt: skip
    found = read(delivery(*changes, time=int(SECONDS))).templates
    assert found["kind"].to_list() == ["status", "quality", "category", "components"]
    assert set(found["name"]) == {"offre"} and set(found["language"]) == {"fr_FR"}
    assert set(found["template_id"]) == {"905"} and set(found["changed_at"]) == {AT}
    assert found["event"].to_list() == ["PAUSED", None, None, None]
    assert found["quality"].to_list() == [None, "RED", None, None]
    assert found["category"].to_list() == [None, None, "MARKETING", None]
    assert "FIRST_PAUSE" in found["detail"][0]


def test_news_of_the_number_and_the_account_are_kept_whole() -> None:
    quality = {"display_phone_number": "33187654321", "event": "THROUGHPUT_UPGRADE", "current_limit": "TIER_100K"}
    capability = {"max_daily_conversations_per_business": 2000}
    found = read(
        delivery({"field": "phone_number_quality_update", "value": quality}),
        delivery({"field": "business_capability_update", "value": capability}, time=SECONDS),
    ).numbers
    assert found["messaging_limit"].to_list() == ["TIER_100K", "2000"]
    assert found["event"].to_list() == ["THROUGHPUT_UPGRADE", None]
    assert json.loads(found["detail"][0]) == quality


def test_errors_outside_a_message_are_read() -> None:
    row = only(read(delivery(messages(errors=[{"code": 130429, "title": "Rate", "message": "m"}]))).errors)
    assert (row["error_code"], row["error_title"], row["phone_number_id"]) == (130429, "Rate", SENDER)


def test_fields_that_nothing_reads_are_counted() -> None:
    parsed = read(
        delivery({"field": "smb_app_state_sync", "value": {}}, {"field": "calls", "value": {"calls": [1]}}),
        delivery({"field": "calls", "value": {}}, messages()),
    )
    assert dict(parsed.other.rows()) == {"smb_app_state_sync": 1, "calls": 2, "messages": 1}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"hello", "not JSON"),
        (line(delivery(messages(statuses=[status()])))[:-9], "not JSON"),
        (line(delivery(messages(statuses=[status()]))) + b"\t}", "not JSON: Extra data"),
        (b'{"object":"page","entry":[]}', '`object` is "page"'),
        (b"{}", "`object` is null"),
        (b'{"object":"whatsapp_business_account","entry":{}}', "`entry` is not a list"),
        (b'{"object":"whatsapp_business_account"}', "`entry` is not a list"),
        (b"[]", "not a JSON object"),
        (b"42", "not a JSON object"),
        (b'{"received_at":"2026-10-13T08:16:00Z","body":"no"}', "not JSON"),
        (b'{"received_at":"2026-10-13T08:16:00Z","body":7}', "not a JSON object"),
        (b"\xff{}", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"object":"\\ud83d","entry":[]}', "`object` is"),
    ],
)
def test_a_line_that_cannot_be_read_is_set_aside_with_its_text(raw: bytes, reason: str) -> None:
    parsed = read(raw, delivery(messages(statuses=[status()])))
    bad = only(parsed.bad)
    assert reason in bad["reason"] and bad["line"] == 1
    assert bad["raw"] == raw.decode(errors="replace")
    assert parsed.statuses["line"].to_list() == [2]


def test_blank_lines_and_a_byte_order_mark_are_no_errors() -> None:
    parsed = read(b"", b"  \r\n", b"\xef\xbb\xbf" + line(delivery(messages(statuses=[status()]))))
    assert counts(parsed) == {"statuses": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "sent", "timestamp": SECONDS},
        {"id": "w", "status": "sent", "timestamp": "yesterday"},
        {"id": "w", "status": "sent", "timestamp": "1791879360000"},
        {"id": "w", "status": "sent", "timestamp": -1},
        {"id": "", "status": "sent", "timestamp": SECONDS},
        {"id": 5, "status": "sent", "timestamp": SECONDS},
        {"id": "w", "status": "sent", "timestamp": SECONDS, "recipient_id": "\ud83d"},
        "not an object",
        None,
    ],
)
def test_one_bad_status_does_not_cost_its_neighbours(wrong: object) -> None:
    body = delivery(messages(statuses=[status("sent"), wrong, status("read")]))
    parsed = read(json.dumps(body).encode())
    assert parsed.statuses["status"].to_list() == ["sent", "read"]
    bad = only(parsed.bad)
    assert bad["reason"].startswith("status: ")
    held = json.loads(bad["raw"])["entry"][0]["changes"][0]["value"]
    assert held["statuses"] == [wrong] and held["metadata"]["phone_number_id"] == SENDER


def test_a_lone_surrogate_is_never_changed_silently() -> None:
    good = {"id": "w1", "timestamp": SECONDS, "from": "33611223344", "type": "text", "text": {"body": "ok"}}
    wrong = good | {"id": "w2", "text": {"body": "cut \ud83d"}}
    parsed = read(json.dumps(delivery(messages(messages=[good, wrong]))).encode())
    assert parsed.inbound["text"].to_list() == ["ok"]
    assert "surrogate" in only(parsed.bad)["reason"] and "\\ud83d" in only(parsed.bad)["raw"]


def test_what_was_set_aside_can_be_read_again() -> None:
    """A quarantined item is a delivery of its own: once its fault is mended it says what it said."""
    body = json.dumps(delivery(messages(statuses=[status("sent"), status("read", timestamp="soon")])))
    bad = only(read({"received_at": "2026-10-13T08:16:00Z", "body": body}).bad)
    assert counts(read(bad["raw"].encode())) == {"bad": 1}
    row = only(read(bad["raw"].replace("soon", SECONDS).encode()).statuses)
    assert (row["status"], row["status_at"]) == ("read", AT)
    assert row["received_at"] == datetime(2026, 10, 13, 8, 16, tzinfo=UTC) and row["phone_number_id"] == SENDER


@pytest.mark.parametrize(
    "odd", ["x", None, {}, {"field": "messages"}, {"field": "messages", "value": 3}, {"field": "", "value": {}},
            {"value": {"statuses": []}}, {"field": "messages", "value": {"statuses": {"id": "w"}}}],
)  # fmt: skip
def test_a_change_of_an_odd_shape_is_set_aside_and_the_next_is_read(odd: object) -> None:
    parsed = read(delivery(odd, messages(statuses=[status()])))
    assert counts(parsed) == {"statuses": 1, "bad": 1}
    assert json.loads(only(parsed.bad)["raw"])["entry"][0]["changes"] == [odd]


def test_no_depth_of_nesting_is_too_much() -> None:
    for depth in [10, 300, *range(900, 1010), 3_000, 100_000]:
        deep = b'{"id":"w","status":"sent","timestamp":1,"new":' + b"[" * depth + b"]" * depth + b"}"
        for content in (deep, b"[" * depth + b"]" * depth):
            text = line(delivery(messages(statuses=["HERE"]))).replace(b'"HERE"', content)
            parsed = read(text)
            assert parsed.statuses.height + parsed.bad.height == 1


def test_an_entry_of_an_odd_shape_is_set_aside() -> None:
    body = delivery(messages(statuses=[status()]))
    body["entry"] += ["x", {"id": "w", "changes": 4}]
    parsed = read(body)
    assert counts(parsed) == {"statuses": 1, "bad": 2}


def test_no_lines_give_empty_frames_of_the_same_columns() -> None:
    parsed = parse([])
    for name in Parsed.__slots__:
        frame = getattr(parsed, name)
        assert frame.is_empty() and dict(frame.schema) == getattr(shapes, name.upper())
    full = read(delivery(messages(statuses=[status()]), inbound({"from": "33611223344"})))
    assert dict(full.statuses.schema) == shapes.STATUSES and dict(full.inbound.schema) == shapes.INBOUND


def test_the_typed_decode_and_the_walk_agree() -> None:
    """A neighbour that only the walk can read sends a whole line through it: nothing else may change."""
    people = [{"wa_id": "33611223344", "profile": {"name": "Inès"}, "user_id": "FR.1"}]
    said = [
        {"id": "w1", "timestamp": SECONDS, "from": "33611223344", "type": "button", "button": {"text": "Oui"}},
        {"id": "w2", "timestamp": SECONDS, "type": "image", "image": {"id": "m"}},
    ]
    fault = {"code": 131026, "title": "T", "error_data": {"details": "d"}}
    body = delivery(
        messages(contacts=people, messages=said, statuses=[status("failed", errors=[fault])], errors=[fault])
    )
    quick = read(body)
    body["entry"][0]["changes"].append({"field": "calls", "value": {}})
    walked = read(body)
    for name in ("statuses", "inbound", "identities", "errors"):
        assert getattr(quick, name).equals(getattr(walked, name))
    assert quick.inbound.height == 2 and walked.other.height == 1


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
words = ["id", "status", "timestamp", "type", "from", "from_user_id", "text", "button", "reaction", "errors", "system",
         "context", "recipient_id", "pricing", "value", "wa_id", "user_id", "name"]  # fmt: skip
things = (
    st.dictionaries(st.sampled_from(words), values | st.just(SECONDS) | st.just({"body": "x"}), max_size=7) | values
)
fields = st.sampled_from(
    ["messages", "user_preferences", "user_id_update", "message_template_status_update", "account_update", "calls"]
)
lists = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(things, max_size=3) | values
        for name in ("statuses", "messages", "errors", "contacts", "metadata", "user_preferences", "user_id_update")
    },
)
bodies = st.fixed_dictionaries(
    {
        "object": st.just("whatsapp_business_account"),
        "entry": st.lists(
            st.fixed_dictionaries(
                {"changes": st.lists(st.fixed_dictionaries({"field": fields, "value": lists}) | values, max_size=3)},
                optional={"id": values, "time": values},
            )
            | values,
            max_size=3,
        ),
    }
)


@settings(max_examples=150)
@given(bodies, st.booleans())
def test_whatever_a_body_holds_every_item_is_a_row_a_count_or_set_aside(body: dict[str, Any], wrapped: bool) -> None:
    expected = 0
    for entry in body["entry"]:
        changes = entry.get("changes", []) if isinstance(entry, dict) else None
        if not isinstance(changes, list):
            expected += 1
            continue
        for change in changes:
            value = change.get("value") if isinstance(change, dict) else None
            name = change.get("field") if isinstance(change, dict) else None
            if not isinstance(value, dict) or not isinstance(name, str) or not name:
                expected += 1
                continue
            held = {"messages": ("statuses", "messages", "errors")}.get(name, (name,))
            inside = [value[key] for key in held if value.get(key) is not None]
            expected += sum(len(items) if isinstance(items, list) else 1 for items in inside) or 1
    text = json.dumps(body)
    parsed = read((json.dumps({"received_at": "x", "body": text}) if wrapped else text).encode())
    total = counts(parsed)
    total["other"] = int(parsed.other["items"].sum())
    assert sum(total.values()) == expected


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_whatever_the_bytes_every_line_is_set_aside_or_blank(raw: list[bytes]) -> None:
    parsed = read(*raw)
    blank = sum(not one.strip().removeprefix(b"\xef\xbb\xbf") for one in raw)
    assert parsed.bad.height == len(raw) - blank
