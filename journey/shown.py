"""A message as the person sees it: a template with the parameters of a request body in their places.

What belongs here: `show`, for the preview and the inbox. How bodies are made is `render`.
"""

import json
from dataclasses import dataclass
from typing import Any

from journey.template import PLACEHOLDER, Template


@dataclass(frozen=True, slots=True)
class ShownButton:
    """`type` as in the template (URL, QUICK_REPLY, PHONE_NUMBER, ...); `url` filled, for URL buttons."""

    type: str
    text: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """`header` is the filled text, or the address of the media; `header_kind` text, image, video, document or None."""

    header_kind: str | None
    header: str | None
    filename: str | None
    body: str
    footer: str | None
    buttons: tuple[ShownButton, ...]


def show(template: Template, body: str) -> ShownMessage:
    """Reads a request body (with or without callback data) that was made from this template.

    A placeholder for which the body has nothing stays as it is written in the template. Raises ValueError where the
    body is no JSON or no template message.
    """
    message = json.loads(body)
    if not isinstance(message, dict) or not isinstance(message.get("template"), dict):
        raise ValueError("the body is no template message")
    header: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    suffixes: dict[int, list[dict[str, Any]]] = {}
    for component in message["template"].get("components", []):
        parameters = component.get("parameters", [])
        match component.get("type", "").lower():
            case "header":
                header = parameters
            case "body":
                texts = parameters
            case "button":
                suffixes[int(component["index"])] = parameters
    media = header[0].get(header[0]["type"]) if header and header[0]["type"] != "text" else None
    kind = template.header.format.lower() if template.header is not None else None
    shown_header = media.get("link") if isinstance(media, dict) else None
    if media is None and template.header is not None and template.header.text is not None:
        shown_header = _filled(template.header.text, template.header.placeholders, header)
    buttons = []
    for button in template.buttons:
        parameters = suffixes.get(button.index, [])
        url = _filled(button.url, button.placeholders, parameters) if button.url is not None else None
        buttons.append(ShownButton(button.type, button.text, url))
    return ShownMessage(
        header_kind=kind,
        header=shown_header,
        filename=media.get("filename") if isinstance(media, dict) else None,
        body=_filled(template.body, template.body_placeholders, texts),
        footer=template.footer,
        buttons=tuple(buttons),
    )


def _filled(text: str, names: tuple[str, ...], parameters: list[dict[str, Any]]) -> str:
    in_order = sorted(names, key=lambda name: (int(name), name) if name.isdecimal() else (10**9, ""))
    values = {name: str(one["text"]) for name, one in zip(in_order, parameters, strict=False)}
    values |= {str(one["parameter_name"]): str(one["text"]) for one in parameters if "parameter_name" in one}
    return PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group(0)), text)
