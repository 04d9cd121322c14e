"""A good send for any template of the book: for tests that need one, and for `rules` to be checked against itself."""

from __future__ import annotations

from typing import Any

from sandbox.templates import Template

_MEDIA = {
    "IMAGE": {"type": "image", "image": {"link": "https://cdn.example.com/banner.jpg"}},
    "VIDEO": {"type": "video", "video": {"link": "https://cdn.example.com/film.mp4"}},
    "DOCUMENT": {"type": "document", "document": {"link": "https://cdn.example.com/a.pdf", "filename": "a.pdf"}},
    "LOCATION": {
        "type": "location",
        "location": {
            "latitude": "48.85",
            "longitude": "2.35",
            "name": "Boutique",
            "address": "1 rue de la Paix, Paris",
        },
    },
}


def text_body(to: str, text: str = "Bonjour !", **more: Any) -> dict[str, Any]:
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to,
        "type": "text",
        "text": {"body": text},
        **more,
    }


def template_body(template: Template, to: str, values: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A body that Meta would take, with `values` for some placeholders and a sample for the others."""
    given = values or {}
    components: list[dict[str, Any]] = []
    if template.header in _MEDIA:
        components.append({"type": "header", "parameters": [_MEDIA[template.header]]})
    elif template.header_names:
        components.append({"type": "header", "parameters": _texts(template.header_names, template.named, given)})
    if template.body_names:
        components.append({"type": "body", "parameters": _texts(template.body_names, template.named, given)})
    for index, button in enumerate(template.buttons):
        if button.placeholder or button.kind == "OTP":
            parameter, kind = {"type": "text", "text": given.get("url", "abc123")}, "url"
        elif button.kind == "COPY_CODE":
            parameter, kind = {"type": "coupon_code", "coupon_code": "AUTOMNE25"}, "copy_code"
        else:
            continue
        components.append({"type": "button", "sub_type": kind, "index": str(index), "parameters": [parameter]})
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to,
        "type": "template",
        "template": {"name": template.name, "language": {"code": template.language}, "components": components},
        **more,
    }


def _texts(names: tuple[str, ...], named: bool, values: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"type": "text", **({"parameter_name": name} if named else {}), "text": values.get(name, f"valeur {name}")}
        for name in names
    ]
