"""The request body of a message as Meta wants it, once, with marks where something differs from person to person.

What belongs here: the shape of bodies, of templates and of free text. What stands in the place of a mark is `slots`.
"""

import json
import re
from typing import Any

from journey.braces import cut
from journey.message_spec import CountedLink, MessageSpec, TextSpec
from journey.slots import link_places

PHONE, PREVIEW = "to", "preview"  # marks beside those of the slots: the phone, and whether a link in a text is shown

_CUT = re.compile(r"\\u0000(\w+)\\u0000")


def skeleton(spec: MessageSpec | TextSpec) -> list[str]:
    """The body in pieces: constant, mark, constant, mark, …, constant. Constants are JSON as it stands."""
    whole = _text(spec) if isinstance(spec, TextSpec) else _template(spec)
    written = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    boolean = json.dumps(_mark(PREVIEW))
    return _CUT.split(written.replace(boolean, boolean.strip('"')))


def link_skeleton(index: int, link: CountedLink) -> list[str]:
    """The address to which a counted link leads, in pieces: constant, mark, constant, …"""
    marks = {name: mark for mark, name in link_places(index, link).items()}
    return [marks[piece] if place % 2 else piece for place, piece in enumerate(cut(link.url))]


def _mark(name: str) -> str:
    return f"\0{name}\0"


def _envelope(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": _mark(PHONE),
        "type": kind,
        kind: content,
    }


def _text(spec: TextSpec) -> dict[str, Any]:
    marks = {name: f"text{place}" for place, name in enumerate(spec.variables)}
    pieces = cut(spec.text)
    text = "".join(_mark(marks[piece]) if place % 2 else piece for place, piece in enumerate(pieces))
    return _envelope("text", {"preview_url": _mark(PREVIEW), "body": text})


def _template(spec: MessageSpec) -> dict[str, Any]:
    def text(mark: str, name: str | None = None) -> dict[str, Any]:
        named = {"parameter_name": name} if name is not None and template.parameter_format == "NAMED" else {}
        return {"type": "text", **named, "text": _mark(mark)}

    template = spec.template
    components: list[dict[str, Any]] = []
    if spec.location is not None:
        places = {name: _mark(name) for name in ("latitude", "longitude", "name", "address")}
        components.append({"type": "header", "parameters": [{"type": "location", "location": places}]})
    elif spec.header is not None and spec.header_kind == "text":
        names = template.header.placeholders if template.header is not None else ()
        components.append({"type": "header", "parameters": [text("header", next(iter(names), None))]})
    elif spec.header is not None and spec.header_kind is not None:
        media = {"link": _mark("header")} | ({"filename": _mark("filename")} if spec.filename is not None else {})
        parameter = {"type": spec.header_kind, spec.header_kind: media}
        components.append({"type": "header", "parameters": [parameter]})
    if spec.body:
        parameters = [text(f"body{place}", name) for place, name in enumerate(spec.body_order())]
        components.append({"type": "body", "parameters": parameters})
    for index in spec.buttons:
        if template.buttons[index].type == "COPY_CODE":
            kind, parameter = "COPY_CODE", {"type": "coupon_code", "coupon_code": _mark(f"button{index}")}
        else:
            kind, parameter = "url", text(f"button{index}")
        components.append({"type": "button", "sub_type": kind, "index": str(index), "parameters": [parameter]})
    content: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    return _envelope("template", content | ({"components": components} if components else {}))
