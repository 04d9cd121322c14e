"""What the parsers are made for: one of everything that comes in, as whoever sends it writes it."""

import json
from pathlib import Path
from typing import Any

from tests.stage import delivery, status_value
from tests.stage import template as template_of

ROOT = Path(__file__).parent.parent.parent
SECONDS = "1780000000"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _inbound(**message: Any) -> bytes:
    who = {"profile": {"name": "Inès"}, "wa_id": "33600000001", "user_id": "FR.13491208655302741918"}
    one = {"from": "33600000001", "id": "wamid.IN", "timestamp": SECONDS, **message}
    return _json(delivery({"contacts": [who], "messages": [one]}))


def _statuses() -> list[bytes]:
    from tests.stage import NOON

    price = {"billable": True, "pricing_model": "PMP", "category": "marketing", "type": "regular"}
    return [
        _json(delivery(status_value("wamid.1", "delivered", NOON, callback="e1.1:1:12345", pricing=price))),
        _json(delivery(status_value("wamid.2", "failed", NOON, code=131049))),
        _json(
            {"received_at": "2026-12-01T12:00:00Z", "body": _json(delivery(status_value("w", "read", NOON))).decode()}
        ),
    ]


WEBHOOKS = [
    *_statuses(),
    _inbound(type="text", text={"body": "Bonjour"}, context={"id": "wamid.1", "from": "1"}),
    _inbound(type="button", button={"text": "Oui", "payload": "oui"}),
    _inbound(type="interactive", interactive={"type": "button_reply", "button_reply": {"id": "a", "title": "Oui"}}),
    _inbound(type="reaction", reaction={"message_id": "wamid.1", "emoji": "👍"}),
    _inbound(type="image", image={"id": "1", "mime_type": "image/png", "caption": "voilà"}),
    _json(delivery({"user_preferences": [{"wa_id": "33600000001", "category": "marketing_messages", "value": "stop",
                                          "detail": "User requested", "timestamp": 1780000000}]}, "user_preferences")),
    _json(delivery({"event": "PAUSED", "message_template_name": "hello", "message_template_language": "fr"},
                   "message_template_status_update")),
    _json(delivery({"display_phone_number": "1", "event": "FLAGGED", "current_limit": "TIER_1K"},
                   "phone_number_quality_update")),
]  # fmt: skip
CONTACTS = [
    b"contact_id,phone,first_name,tags,locale,timezone,opted_in,opted_in_at,updated_at,amount\n"
    b'u1,06 12 34 56 78,"\xc3\x89lodie, ""E""",vip|new,fr_FR,Europe/Paris,true,2026-01-01,2026-01-02T03:04:05Z,12.5\n'
    b"u2,+33612345679,Karim,,fr,,no,,,\n",
    b"\xef\xbb\xbfuser id;phone number;ville\r\n7;0612345678;Brest\r\n8;;Lyon\r\n",
    b'u\tphone\n"a\nb"\t+33612345678\n',
]
CONTACTS_JSON = [
    _json({"contact_id": "u1", "phone": "+33612345678", "tags": ["vip"], "age": 41, "order": {"number": "A-7"}})
    + b"\n"
    + _json({"user_id": "u2", "phone": None, "opted_in": False})
    + b"\n"
]
EVENTS = [
    _json({"event": "purchase", "contact_id": "u1", "occurred_at": "2026-11-30T10:00:00+01:00",
           "properties": {"amount": 20.5, "items": [{"sku": "a"}]}}) + b"\n"
    + _json({"event": "order_ready", "phone": "06 12 34 56 78", "occurred_at": "2026-11-30", "event_id": "e2"}) + b"\n"
]  # fmt: skip
EVENTS_CSV = [b"event,contact_id,occurred_at,amount\npurchase,u1,2026-11-30 10:00,20.5\npurchase,u2,,\n"]
COUPONS = [b"vouchers,expires_at\nA1,2026-12-31\nA2,\nA1,2026-12-31\n", b"code\nX\n"]
REQUESTS = [
    _json({"campaign": "offer", "request_uuid": "r1", "users": ["u1", 7], "attribute_values": {"offer": "x"}}) + b"\n",
    _json({"campaign": "offer", "request_uuid": "r2", "phones": ["06 12 34 56 78"]}) + b"\n"
    + _json({"request_uuid": "a1", "inbox": {"contact_id": "u1", "sender": "main", "author": "anna", "text": "Oui"}})
    + b"\n",
]  # fmt: skip
CAMPAIGNS = [path.read_bytes() for path in sorted((ROOT / "campaigns").glob("*.yaml"))]
SEGMENTS = [path.read_bytes() for path in sorted((ROOT / "segments").glob("*.yaml"))]
SQL = [path.read_bytes() for path in sorted((ROOT / "segments").glob("*.sql"))]
SETTINGS = [(ROOT / "estafette.yaml").read_bytes()]
RATES = [path.read_bytes() for path in sorted((ROOT / "rates").glob("*.csv"))]
TEMPLATES = [path.read_bytes() for path in sorted((ROOT / "templates").glob("*.json"))[:12]] + [
    _json(template_of("hello"))
]
ANSWERS = [
    _json({"messaging_product": "whatsapp", "contacts": [{"input": "+33612345678", "wa_id": "33612345678"}],
           "messages": [{"id": "wamid.X", "message_status": "accepted"}]}),
    _json({"error": {"message": "(#131026) Message undeliverable", "type": "OAuthException", "code": 131026,
                     "error_data": {"messaging_product": "whatsapp", "details": "Message Undeliverable."}}}),
    b"<html><title>502</title></html>",
]  # fmt: skip
NESTED = [b'{"entry": ' + b"[" * depth + b'"+33612345678"' + b"]" * depth + b"}" for depth in (100, 300, 600, 20_000)]
