"""What Meta refuses in the components of a template send: header, body and buttons against the template's definition.

Pure. Where in the body a mistake sits is said the way Meta says it: `template['components'][0]['parameters'][1]`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from sandbox.errors import Refusal
from sandbox.templates import PLACEHOLDER, Button, Template

BODY_LIMIT, HEADER_LIMIT, URL_LIMIT, COUPON_LIMIT, PAYLOAD_LIMIT = 1024, 60, 2000, 20, 256
MEDIA = {"IMAGE": "image", "VIDEO": "video", "DOCUMENT": "document"}
SUB_TYPES = {"url": ("URL", "OTP"), "quick_reply": ("QUICK_REPLY",), "copy_code": ("COPY_CODE",)}
_FORBIDDEN = re.compile(r"[\n\r\t]| {5,}")
_AT = "template['components']"


class _Refused(Exception):
    def __init__(self, code: int, details: str) -> None:
        self.refusal = Refusal(code, details)


def only(part: Mapping[str, Any], allowed: Collection[str], where: str) -> Refusal | None:
    """Refuses the first key that Meta doesn't know."""
    for key in part:
        if key not in allowed:
            return Refusal(100, f'Unexpected key "{key}"' + (f' on param "{where}".' if where else "."))
    return None


def check_components(components: list[Any], template: Template, version: int) -> Refusal | None:
    """What is wrong with the components of a send of `template`, or None."""
    try:
        if template.unplayed:
            raise _Refused(131009, f"This sandbox lists templates with {template.unplayed}, but cannot send them.")
        _check(components, template, 132018 if version >= 23 else 100)
    except _Refused as stopped:
        return stopped.refusal
    return None


def _check(components: list[Any], template: Template, parameter_code: int) -> None:
    header: tuple[str, list[Any]] | None = None
    body: tuple[str, list[Any]] | None = None
    buttons: dict[int, tuple[str, str, list[Any]]] = {}
    for number, part in enumerate(components):
        where = f"{_AT}[{number}]"
        if not isinstance(part, dict):
            raise _Refused(100, f"Param {where} must be a JSON object.")
        kind = str(part.get("type", "")).lower()
        _only(part, ("type", "sub_type", "index", "parameters") if kind == "button" else ("type", "parameters"), where)
        parameters = part.get("parameters", [])
        if not isinstance(parameters, list) or not all(isinstance(one, dict) for one in parameters):
            raise _Refused(100, f"Param {where}['parameters'] must be an array of objects.")
        if kind == "button":
            index, sub_type = _position(part, where)
            if index in buttons:
                raise _Refused(parameter_code, f"buttons: Button at index {index} is given twice.")
            buttons[index] = (where, sub_type, parameters)
        elif kind == "header" and header is None:
            header = (where, parameters)
        elif kind == "body" and body is None:
            body = (where, parameters)
        elif kind in ("header", "body"):
            raise _Refused(parameter_code, f"{kind}: given twice.")
        else:
            raise _Refused(100, f"Param {where}['type'] must be one of {{HEADER, BODY, BUTTON}}.")
    _header(header, template, parameter_code)
    values = _texts(body, template.body_names, template.named, "body", parameter_code)
    if len(_hydrate(template.body_text, values)) > BODY_LIMIT:
        raise _Refused(132005, f"body: the text with its parameters is longer than {BODY_LIMIT} characters.")
    _buttons(buttons, template, parameter_code)


def _only(part: Mapping[str, Any], allowed: Collection[str], where: str) -> None:
    if refused := only(part, allowed, where):
        raise _Refused(refused.code, refused.details)


def _position(part: Mapping[str, Any], where: str) -> tuple[int, str]:
    index, sub_type = part.get("index"), str(part.get("sub_type", "")).lower()
    if isinstance(index, bool) or not re.fullmatch(r"[0-9]", str(index)):
        raise _Refused(131008, f"The parameter {where}['index'] is required: 0 to 9.")
    if sub_type not in SUB_TYPES:
        raise _Refused(100, f"Param {where}['sub_type'] must be one of {{URL, QUICK_REPLY, COPY_CODE}}.")
    return int(str(index)), sub_type


def _text(parameter: Mapping[str, Any], where: str, code: int, *, name: bool = False) -> str:
    """The text of one text parameter."""
    _only(parameter, ("type", "text", "parameter_name") if name else ("type", "text"), where)
    text = parameter.get("text")
    if not isinstance(text, str) or not text.strip():
        raise _Refused(131008, f"{where}: Parameter of type text is missing text value")
    if _FORBIDDEN.search(text):
        raise _Refused(code, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces")
    return text


def _texts(
    given: tuple[str, list[Any]] | None, names: tuple[str, ...], named: bool, part: str, code: int
) -> dict[str, str]:
    """The value of each placeholder of a header or body."""
    where, parameters = given or (_AT, [])
    if len(parameters) != len(names):
        raise _Refused(
            132000,
            f"{part}: number of localizable_params ({len(parameters)}) does not match the expected number of params "
            f"({len(names)})",
        )
    values: dict[str, str] = {}
    for number, parameter in enumerate(parameters):
        at = f"{where}['parameters'][{number}]"
        if parameter.get("type") != "text":
            raise _Refused(132012, f"{part}: Format mismatch, expected TEXT, received {_kind(parameter)}")
        name = parameter.get("parameter_name")
        if named and (not isinstance(name, str) or not name):
            raise _Refused(100, f"{at}: Parameter name is missing or empty")
        if not named and name is not None:
            raise _Refused(132012, f"{part}: the template has positional parameters, {at} has a parameter_name")
        key = str(name) if named else str(number + 1)
        if key not in names or key in values:
            raise _Refused(132012, f"{part}: parameter_name {key!r} is not expected here; expected {', '.join(names)}")
        values[key] = _text(parameter, at, code, name=named)
    return values


def _kind(parameter: Mapping[str, Any]) -> str:
    return str(parameter.get("type", "UNKNOWN")).upper()


def _hydrate(text: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: values.get(found[1], ""), text)


def _header(given: tuple[str, list[Any]] | None, template: Template, code: int) -> None:
    kind = template.header
    if kind in (None, "TEXT"):
        if given and given[1] and str(given[1][0].get("type")) in (*MEDIA.values(), "location"):
            raise _Refused(132012, f"header: Format mismatch, expected {kind or 'NONE'}, received {_kind(given[1][0])}")
        values = _texts(given, template.header_names, template.named, "header", code)
        if len(_hydrate(template.header_text, values)) > HEADER_LIMIT:
            raise _Refused(132005, f"header: the text with its parameter is longer than {HEADER_LIMIT} characters.")
        return
    if not given or not given[1]:
        raise _Refused(132012, f"header: Format mismatch, expected {kind}, received UNKNOWN")
    where, parameters = given
    if len(parameters) != 1:
        raise _Refused(132000, f"header: number of params ({len(parameters)}) does not match the expected number (1)")
    parameter, at = parameters[0], f"{where}['parameters'][0]"
    if _kind(parameter) != kind:
        raise _Refused(132012, f"header: Format mismatch, expected {kind}, received {_kind(parameter)}")
    word = str(parameter["type"])
    _only(parameter, ("type", word), at)
    content = parameter.get(word)
    if not isinstance(content, dict):
        raise _Refused(131008, f"The parameter {at}['{word}'] is required.")
    if kind == "LOCATION":
        _location(content, f"{at}['location']")
    else:
        _media(content, word, f"{at}['{word}']")


def _media(content: Mapping[str, Any], word: str, where: str) -> None:
    _only(content, ("id", "link", "filename") if word == "document" else ("id", "link"), where)
    if ("id" in content) == ("link" in content):
        raise _Refused(100, f"Param {where} must hold exactly one of id and link.")
    if "id" in content:
        if not str(content["id"]).isdigit():
            raise _Refused(100, f"Param {where}['id'] is not a valid whatsapp business account media attachment ID")
        return
    link = content["link"]
    if not isinstance(link, str) or len(link) > URL_LIMIT or not _is_url(link):
        raise _Refused(100, f"Param {where}['link'] is not a valid URI.")
    if not isinstance(content.get("filename", ""), str):
        raise _Refused(100, f"Param {where}['filename'] must be a string.")


def _is_url(link: str) -> bool:
    try:
        parts = urlsplit(link)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", link)
    except ValueError:
        return False


def _location(content: Mapping[str, Any], where: str) -> None:
    _only(content, ("latitude", "longitude", "name", "address"), where)
    for key, most in (("latitude", 90), ("longitude", 180)):
        try:
            good = not isinstance(content[key], bool) and abs(float(content[key])) <= most
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise _Refused(131009, f"Param {where}['{key}'] must be a number between -{most} and {most}.")
    for key in ("name", "address"):
        if not isinstance(content.get(key), str) or not content[key].strip():
            raise _Refused(131008, f"The parameter {where}['{key}'] is required.")


def _buttons(given: Mapping[int, tuple[str, str, list[Any]]], template: Template, code: int) -> None:
    for index, (where, sub_type, parameters) in given.items():
        if index >= len(template.buttons):
            raise _Refused(code, f"buttons: the template has no button at index {index}.")
        button = template.buttons[index]
        if button.kind not in SUB_TYPES[sub_type]:
            raise _Refused(code, f"buttons: Button at index {index} is of type {button.kind}, not {sub_type.upper()}.")
        _button(button, index, f"{where}['parameters'][0]", parameters, code)
    for index, button in enumerate(template.buttons):
        if index not in given and (button.placeholder or button.kind in ("COPY_CODE", "OTP")):
            raise _Refused(131008, f"buttons: Button at index {index} of type {button.kind} requires a parameter")


def _button(button: Button, index: int, where: str, parameters: list[Any], code: int) -> None:
    wanted = {"QUICK_REPLY": "payload", "COPY_CODE": "coupon_code"}.get(button.kind, "text")
    if button.kind == "URL" and not button.placeholder:
        raise _Refused(code, f"buttons: Button at index {index} of type URL does not take a parameter")
    if not parameters:
        raise _Refused(131008, f"buttons: Button at index {index} of type {button.kind} requires a parameter")
    if len(parameters) != 1:
        raise _Refused(132000, f"buttons: Button at index {index} takes one parameter, not {len(parameters)}")
    parameter = parameters[0]
    if parameter.get("type") != wanted:
        raise _Refused(132012, f"buttons: Format mismatch, expected {wanted.upper()}, received {_kind(parameter)}")
    if wanted == "text":
        if len(_text(parameter, where, code)) > URL_LIMIT:
            raise _Refused(132005, f"buttons: Button at index {index}: the URL is longer than {URL_LIMIT} characters.")
        return
    _only(parameter, ("type", wanted), where)
    value = parameter.get(wanted)
    if not isinstance(value, str) or not value.strip():
        raise _Refused(131008, f"The parameter {where}['{wanted}'] is required.")
    limit = COUPON_LIMIT if wanted == "coupon_code" else PAYLOAD_LIMIT
    if len(value) > limit:
        raise _Refused(code, f"Param {where}['{wanted}'] must be at most {limit} characters long.")
