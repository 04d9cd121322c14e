"""What Meta refuses in the body of `POST /messages`: envelope, free text, mark-as-read. Templates: `components`.

Pure: a decoded body (and the template it names) in, a `Refusal` or None out. Rates, windows and people are elsewhere.
Sources: Meta's message and error references of 2026; where Meta prints no code for a case, the nearest one is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox import people
from sandbox.components import check_components, only
from sandbox.errors import Refusal
from sandbox.templates import Template

Find = Callable[[str, str], Template | None]

ENVELOPE = frozenset({
    "messaging_product", "recipient_type", "to", "recipient", "type", "template", "text", "context",
    "biz_opaque_callback_data",
})  # fmt: skip
USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
TEXT_LIMIT = 4096
CALLBACK_LIMIT = 512


def is_read_mark(body: Mapping[str, Any]) -> bool:
    """Whether the body marks a message as read instead of sending one."""
    return "status" in body


def check_read_mark(body: Mapping[str, Any]) -> Refusal | None:
    """`{"messaging_product", "status": "read", "message_id"}`, with `typing_indicator` or without."""
    if refused := only(body, {"messaging_product", "status", "message_id", "typing_indicator"}, "") or _product(body):
        return refused
    if body["status"] != "read":
        return Refusal(131009, "The parameter status must be read.")
    if not isinstance(body.get("message_id"), str) or not body["message_id"]:
        return Refusal(131008, "The parameter message_id is required.")
    if "typing_indicator" in body and body["typing_indicator"] != {"type": "text"}:
        return Refusal(131009, "The parameter typing_indicator must have the type text.")
    return None


def check(body: Mapping[str, Any], find: Find, version: int) -> Refusal | None:
    """What is wrong with a send, or None.

    `find` gives the template of a name and language; `version` is the major Graph version of the address.
    """
    if refused := _envelope(body):
        return refused
    return _text(body) if body["type"] == "text" else _template(body, find, version)


def _product(body: Mapping[str, Any]) -> Refusal | None:
    if "messaging_product" not in body:
        return Refusal(100, "The parameter messaging_product is required.")
    if body["messaging_product"] != "whatsapp":
        return Refusal(100, "Param messaging_product must be one of {WHATSAPP}.")
    return None


def _envelope(body: Mapping[str, Any]) -> Refusal | None:
    if refused := _product(body) or only(body, ENVELOPE, ""):
        return refused
    if body.get("recipient_type", "individual") != "individual":
        return Refusal(100, "Param recipient_type must be individual: this sandbox knows no groups.")
    if "to" in body or "recipient" not in body:
        if "to" not in body:
            return Refusal(131008, "The parameter to is required.")
        if wrong := people.problem(body["to"]):
            return Refusal(131009, wrong)
    elif not isinstance(body["recipient"], str) or not USER_ID.fullmatch(body["recipient"]):
        return Refusal(131009, "The parameter recipient is not a business-scoped user ID.")
    if not isinstance(body.get("type"), str):
        return Refusal(131008, "The parameter type is required.")
    if body["type"] not in ("template", "text"):
        return Refusal(131051, f"Message type {body['type']!r} is not supported: this sandbox takes template and text.")
    for other in ("template", "text"):
        if other in body and body["type"] != other:
            return Refusal(100, f"Param {other} does not belong to a message of type {body['type']}.")
    data = body.get("biz_opaque_callback_data", "")
    if not isinstance(data, str):
        return Refusal(100, "Param biz_opaque_callback_data must be a string.")
    if len(data) > CALLBACK_LIMIT:
        return Refusal(100, f"Param biz_opaque_callback_data must be at most {CALLBACK_LIMIT} characters long.")
    context = body.get("context")
    if context is not None:
        if not isinstance(context, dict) or not isinstance(context.get("message_id"), str) or not context["message_id"]:
            return Refusal(100, "Param context must hold a message_id.")
        return only(context, {"message_id"}, "context")
    return None


def _text(body: Mapping[str, Any]) -> Refusal | None:
    text = body.get("text")
    if not isinstance(text, dict):
        return Refusal(131008, "The parameter text is required.")
    if refused := only(text, {"body", "preview_url"}, "text"):
        return refused
    if not isinstance(text.get("body"), str) or not text["body"].strip():
        return Refusal(131008, "The parameter text['body'] is required.")
    if len(text["body"]) > TEXT_LIMIT:
        return Refusal(100, f"Param text['body'] must be at most {TEXT_LIMIT} characters long.")
    if not isinstance(text.get("preview_url", False), bool):
        return Refusal(100, "Param text['preview_url'] must be true or false.")
    return None


def _template(body: Mapping[str, Any], find: Find, version: int) -> Refusal | None:
    sent = body.get("template")
    if not isinstance(sent, dict):
        return Refusal(131008, "The parameter template is required.")
    if refused := only(sent, {"name", "language", "components"}, "template"):
        return refused
    if not isinstance(sent.get("name"), str) or not sent["name"]:
        return Refusal(131008, "The parameter template['name'] is required.")
    language = sent.get("language")
    if not isinstance(language, dict) or not isinstance(language.get("code"), str):
        return Refusal(131008, "The parameter template['language']['code'] is required.")
    if refused := only(language, {"code", "policy"}, "template['language']"):
        return refused
    if language.get("policy", "deterministic") != "deterministic":
        return Refusal(100, "Param template['language']['policy'] must be deterministic.")
    template = find(sent["name"], language["code"])
    if template is None:
        return Refusal(132001, f"template name ({sent['name']}) does not exist in {language['code']}")
    if template.status == "PAUSED":
        return Refusal(132015, f"Template {template.name} is paused because of its quality.")
    if template.status == "DISABLED":
        return Refusal(132016, f"Template {template.name} is disabled for good because of its quality.")
    if template.status != "APPROVED":
        where = f"{template.status} in {template.language}, not approved"
        return Refusal(132001, f"template name ({template.name}) is {where}")
    components = sent.get("components", [])
    if not isinstance(components, list):
        return Refusal(100, "Param template['components'] must be an array.")
    return check_components(components, template, version)
