"""Message templates: one definition read into what a send must bring, and the book of all of them with its pages."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")
STATUSES = (
    "APPROVED", "ARCHIVED", "DELETED", "DISABLED", "FLAGGED", "IN_APPEAL", "LIMIT_EXCEEDED", "LOCKED", "PAUSED",
    "PENDING", "PENDING_DELETION", "REJECTED",
)  # fmt: skip
DEFAULT_FIELDS = ("name", "parameter_format", "components", "language", "status", "category")
FIELDS = frozenset(DEFAULT_FIELDS) | {
    "id", "sub_category", "previous_category", "correct_category", "quality_score", "rejected_reason",
    "last_updated_time", "message_send_ttl_seconds", "cta_url_link_tracking_opted_out", "library_template_name",
    "degrees_of_freedom_spec",
}  # fmt: skip
_PLAYED = {"HEADER", "BODY", "FOOTER", "BUTTONS"}


class TemplateError(ValueError):
    """A definition that is not one."""


@dataclass(frozen=True, slots=True)
class Button:
    kind: str  # QUICK_REPLY, URL, PHONE_NUMBER, COPY_CODE, OTP, …
    text: str
    placeholder: bool = False  # of a URL


@dataclass(frozen=True, slots=True)
class Template:
    """One (name, language). `definition` is what the listing shows; the rest is read from it."""

    name: str
    language: str
    category: str
    status: str
    id: str
    named: bool
    header: str | None  # TEXT, IMAGE, VIDEO, DOCUMENT, LOCATION, …
    header_text: str
    header_names: tuple[str, ...]
    body_text: str
    body_names: tuple[str, ...]  # in order of first appearance
    buttons: tuple[Button, ...]
    unplayed: str | None  # a component kind that this sandbox lists but cannot send
    definition: Mapping[str, Any]

    @property
    def quick_replies(self) -> list[tuple[int, str]]:
        """Position and label of each quick reply."""
        return [(index, button.text) for index, button in enumerate(self.buttons) if button.kind == "QUICK_REPLY"]


def names_in(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(PLACEHOLDER.findall(text)))


def read(definition: Mapping[str, Any]) -> Template:
    """A template from an object as the listing returns it; status, category and id may be missing. TemplateError."""
    try:
        name, language, components = definition["name"], definition["language"], definition["components"]
        kinds = {str(part["type"]).upper(): part for part in components}
    except (KeyError, TypeError) as error:
        raise TemplateError(f"a template needs name, language and components, each with a type ({error!r})") from None
    if not re.fullmatch(r"[a-z0-9_]{1,512}", str(name)):
        raise TemplateError(f"the template name {name!r} has other characters than a-z, 0-9 and _")
    header, body = kinds.get("HEADER"), kinds.get("BODY", {})
    body_text, header_text = str(body.get("text", "")), str((header or {}).get("text", ""))
    category = str(definition.get("category", "UTILITY")).upper()
    buttons = tuple(_button(button) for button in kinds.get("BUTTONS", {}).get("buttons", ()))
    body_names = names_in(body_text)
    if category == "AUTHENTICATION" and not body_text:
        body_names = ("1",)
    found = (*body_names, *names_in(header_text))
    named = any(not one.isdigit() for one in found)
    identifier = str(definition.get("id") or zlib.crc32(f"{name}/{language}".encode()) + 1_000_000_000_000_000)
    status = str(definition.get("status", "APPROVED")).upper()
    if status not in STATUSES:
        raise TemplateError(f"{status} is no status of a template: {', '.join(STATUSES)}")
    shown = {
        "name": name,
        "parameter_format": "NAMED" if named else "POSITIONAL",
        "components": components,
        "language": language,
        "status": status,
        "category": category,
        **{key: value for key, value in definition.items() if key in FIELDS - set(DEFAULT_FIELDS)},
        "id": identifier,
    }
    return Template(
        name=name,
        language=language,
        category=category,
        status=status,
        id=identifier,
        named=named,
        header=str(header.get("format", "TEXT")).upper() if header else None,
        header_text=header_text,
        header_names=names_in(header_text),
        body_text=body_text,
        body_names=body_names,
        buttons=buttons,
        unplayed=next((kind for kind in kinds if kind not in _PLAYED), None),
        definition=shown,
    )


def _button(button: Mapping[str, Any]) -> Button:
    kind = str(button.get("type", "")).upper()
    placeholder = kind == "URL" and bool(PLACEHOLDER.search(str(button.get("url", ""))))
    return Button(kind, str(button.get("text", "")), placeholder)


class Book:
    """All templates, in the order in which the listing pages through them."""

    def __init__(self, definitions: Iterable[Mapping[str, Any]]) -> None:
        self._rows: dict[tuple[str, str], Template] = {}
        for definition in definitions:
            self.put(definition)

    def put(self, definition: Mapping[str, Any]) -> Template:
        """Adds a template or replaces the one of the same name and language."""
        template = read(definition)
        self._rows[template.name, template.language] = template
        return template

    def find(self, name: str, language: str) -> Template | None:
        return self._rows.get((name, language))

    def by_id(self, identifier: str) -> Template | None:
        return next((template for template in self._rows.values() if template.id == identifier), None)

    def set_status(self, name: str, language: str, status: str) -> Template:
        """KeyError when there is no such template, TemplateError when there is no such status."""
        return self.put({**self._rows[name, language].definition, "status": status})

    def rows(self, **wanted: str) -> list[Template]:
        """Those whose `name`, `language`, `status`, `category` are as wanted (the latter two in any case)."""
        return [
            template
            for template in self._rows.values()
            if all(str(getattr(template, key)).upper() == value.upper() for key, value in wanted.items())
        ]


def project(template: Template, fields: list[str] | None) -> dict[str, Any]:
    """What the listing shows of a template: with `fields`, those and the id, and nothing else."""
    if fields is None:
        return dict(template.definition)
    return {key: template.definition[key] for key in (*fields, "id") if key in template.definition}


def cursor(position: int) -> str:
    """An opaque cursor that stands before `position`."""
    return base64.urlsafe_b64encode(f"at:{position}".encode()).decode().rstrip("=") + "ZD"


def position(text: str) -> int | None:
    """The position of a cursor, None when it is not one of ours."""
    try:
        raw = text.removesuffix("ZD")
        label, _, number = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)).decode().partition(":")
        return int(number) if label == "at" else None
    except ValueError:
        return None
