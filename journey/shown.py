"""A message as the person sees it: the parameters of a request body in their places, or a free text.

What belongs here: `show`, for the preview and the inbox. How bodies are made is `render`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from journey.template import PLACEHOLDER, Template


@dataclass(frozen=True, slots=True)
class ShownButton:
    """`type` as in the template (URL, QUICK_REPLY, PHONE_NUMBER, COPY_CODE, ...); `url` filled, for URL buttons, and
    `leads_to` where a counted link behind it leads; `code` what is copied."""

    type: str
    text: str
    url: str | None = None
    leads_to: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """`header` is the filled text, the address of the media, or the location in lines (name, address, coordinates);
    `header_kind` text, image, video, document, location or None."""

    header_kind: str | None
    header: str | None
    filename: str | None
    body: str
    footer: str | None
    buttons: tuple[ShownButton, ...]


def show(template: Template | None, body: str, links: Mapping[int, str] | None = None) -> ShownMessage:
    """Reads a request body (with or without callback data) that was made from this template (None: a free text).

    `links` are the addresses to which counted links lead, by the button's position. A placeholder for which the body
    has nothing stays as it is written in the template. Raises ValueError where the body is no JSON (as while there are
    marks in it), or no such message.
    """
    message = json.loads(body)
    if template is None:
        return ShownMessage(None, None, None, _said(message), None, ())
    if not isinstance(message, dict) or not isinstance(message.get("template"), dict):
        raise ValueError("the body is no template message")
    header: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    of_buttons: dict[int, list[dict[str, Any]]] = {}
    for component in message["template"].get("components", []):
        parameters = component.get("parameters", [])
        match component.get("type", "").lower():
            case "header":
                header = parameters
            case "body":
                texts = parameters
            case "button":
                of_buttons[int(component["index"])] = parameters
    media = header[0].get(header[0]["type"]) if header and header[0]["type"] != "text" else None
    kind = template.header.format.lower() if template.header is not None else None
    shown_header = _place_or_address(media) if isinstance(media, dict) else None
    if media is None and template.header is not None and template.header.text is not None:
        shown_header = _filled(template.header.text, template.header.placeholders, header)
    buttons = []
    for button in template.buttons:
        parameters = of_buttons.get(button.index, [])
        url = _filled(button.url, button.placeholders, parameters) if button.url is not None else None
        code = next((one.get("coupon_code") for one in parameters), None)
        buttons.append(ShownButton(button.type, button.text, url, (links or {}).get(button.index), code))
    return ShownMessage(
        header_kind=kind,
        header=shown_header,
        filename=media.get("filename") if isinstance(media, dict) else None,
        body=_filled(template.body, template.body_placeholders, texts),
        footer=template.footer,
        buttons=tuple(buttons),
    )


def _said(message: object) -> str:
    text = message.get("text") if isinstance(message, dict) else None
    if not isinstance(text, dict) or not isinstance(text.get("body"), str):
        raise ValueError("the body is no text message")
    return str(text["body"])


def _place_or_address(media: Mapping[str, Any]) -> str | None:
    if "latitude" not in media:
        return media.get("link")
    return "\n".join([media["name"], media["address"], f"{media['latitude']}, {media['longitude']}"])


def _filled(text: str, names: tuple[str, ...], parameters: list[dict[str, Any]]) -> str:
    in_order = sorted(names, key=lambda name: (int(name), name) if name.isdecimal() else (10**9, ""))
    values = {name: str(one["text"]) for name, one in zip(in_order, parameters, strict=False)}
    values |= {str(one["parameter_name"]): str(one["text"]) for one in parameters if "parameter_name" in one}
    return PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group(0)), text)
