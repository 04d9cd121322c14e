"""The bodies of webhooks: statuses, inbound messages, preferences, template events, and Meta's envelope. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sandbox import errors, people
from sandbox.state import Sent
from sandbox.templates import Template

Item = dict[str, Any]


class Update(NamedTuple):
    """One thing to tell the business; several make one webhook."""

    waba_id: str
    field: str  # messages, user_preferences, message_template_status_update
    kind: str  # the list in `value` that it goes to: statuses, messages, user_preferences; "" when it is the value
    phone_number_id: str
    item: Item
    contact: Item | None = None
    at: int = 0


def sign(secret: str, body: bytes) -> str:
    """The value of `X-Hub-Signature-256`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def encode(updates: Sequence[Update], display_phone_number: str) -> bytes:
    """One webhook body, one line. As Meta does, other characters than ASCII and slashes are escaped."""
    entries: list[Item] = []
    for update in updates:
        entry = entries[-1] if entries else None
        if entry is None or entry["id"] != update.waba_id or not update.kind:
            entry = {"id": update.waba_id, "changes": []}
            if not update.kind:
                entry["time"] = update.at
            entries.append(entry)
        _into(entry["changes"], update, display_phone_number)
    text = json.dumps({"object": "whatsapp_business_account", "entry": entries}, separators=(",", ":"))
    return text.replace("/", "\\/").encode()


def _into(changes: list[Item], update: Update, display_phone_number: str) -> None:
    if not update.kind:
        changes.append({"value": update.item, "field": update.field})
        return
    value: Item | None = changes[-1]["value"] if changes and changes[-1]["field"] == update.field else None
    same = value is not None and value.get("metadata", {}).get("phone_number_id") == update.phone_number_id
    if value is None or not same or update.kind not in value:
        metadata = {"display_phone_number": display_phone_number, "phone_number_id": update.phone_number_id}
        value = {"messaging_product": "whatsapp", "metadata": metadata}
        if update.contact:
            value["contacts"] = []
        value[update.kind] = []
        changes.append({"value": value, "field": update.field})
    if update.contact and update.contact not in value["contacts"]:
        value["contacts"].append(update.contact)
    value[update.kind].append(update.item)


def status_item(sent: Sent, status: str, at: float, user_ids: bool, code: int = 0, details: str | None = None) -> Item:
    """A status of one of our messages. Pricing comes with sent, and with one of delivered and read."""
    item: Item = {
        "id": sent.wamid,
        "status": status,
        "timestamp": str(int(at)),
        "recipient_id": people.wa_id(sent.to),
    }
    if user_ids:
        item["recipient_user_id"] = people.user_id(sent.to)
    if sent.callback:
        item["biz_opaque_callback_data"] = sent.callback
    if status in ("sent", "delivered") or (status == "read" and not sent.has("delivered")):
        service = sent.kind == "text"
        item["pricing"] = {
            "billable": not service,
            "pricing_model": "PMP",
            "type": "free_customer_service" if service else "regular",
            "category": "service" if service else sent.category.lower(),
        }
    if status == "failed":
        item["errors"] = [errors.status_error(code, details)]
    return item


def contact(phone: str, user_ids: bool, hide_phone: bool = False) -> Item:
    """`contacts[]` of an inbound message. People with a username may hide their number: no `wa_id` then."""
    item: Item = {"profile": {"name": people.profile_name(phone)}}
    if hide_phone:
        item["profile"]["username"] = people.profile_name(phone).lower().replace(" ", ".")
    else:
        item["wa_id"] = people.wa_id(phone)
    if user_ids or hide_phone:
        item["user_id"] = people.user_id(phone)
    return item


def inbound_item(
    wamid: str,
    phone: str,
    at: float,
    content: Item,
    *,
    quoted: str | None,
    business: str,
    user_ids: bool,
    hide_phone: bool = False,
) -> Item:
    """`messages[]` of something a person wrote, tapped or sent. `content` has the type and what belongs to it."""
    item: Item = {}
    if quoted:
        item["context"] = {"from": business, "id": quoted}
    if not hide_phone:
        item["from"] = people.wa_id(phone)
    if user_ids or hide_phone:
        item["from_user_id"] = people.user_id(phone)
    return {**item, "id": wamid, "timestamp": str(int(at)), **content}


def text_content(body: str) -> Item:
    return {"type": "text", "text": {"body": body}}


def button_content(label: str, payload: str) -> Item:
    return {"type": "button", "button": {"payload": payload, "text": label}}


def reaction_content(wamid: str, emoji: str) -> Item:
    return {"type": "reaction", "reaction": {"message_id": wamid, **({"emoji": emoji} if emoji else {})}}


def image_content(identifier: str, caption: str) -> Item:
    sha = hashlib.sha256(identifier.encode()).hexdigest()
    image = {"mime_type": "image/jpeg", "sha256": sha, "id": identifier, **({"caption": caption} if caption else {})}
    return {"type": "image", "image": image}


def preference_item(phone: str, stop: bool, at: float, user_ids: bool) -> Item:
    """`user_preferences[]`. Its timestamp is a number, unlike all others."""
    value = "stop" if stop else "resume"
    return {
        "wa_id": people.wa_id(phone),
        **({"user_id": people.user_id(phone)} if user_ids else {}),
        "detail": f"User requested to {value} marketing messages",
        "category": "marketing_messages",
        "value": value,
        "timestamp": int(at),
    }


def tier_name(people: int | None) -> str:
    """`TIER_2K` of 2,000; Meta has few of them, tests want small ones."""
    if people is None:
        return "TIER_UNLIMITED"
    return f"TIER_{people // 1000}K" if people and people % 1000 == 0 else f"TIER_{people}"


def template_value(template: Template) -> Item:
    """The value of `message_template_status_update`. Its language has a hyphen and its id is a number."""
    value: Item = {
        "event": template.status,
        "message_template_id": int(template.id) if template.id.isdigit() else 0,
        "message_template_name": template.name,
        "message_template_language": template.language.replace("_", "-"),
        "reason": template.definition.get("rejected_reason", "NONE"),
        "message_template_category": template.category,
    }
    if template.status == "PAUSED":
        value["other_info"] = {"title": "FIRST_PAUSE", "description": "Paused for 3 hours because of its quality."}
    return value
