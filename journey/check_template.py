"""Checks of a message against the template that it is made from, in one language.

What belongs here: placeholders, headers, buttons, coupons and lengths. The limits are Meta's (message templates,
"Components"): body 1,024 characters, header text 60, URL 2,000.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from journey.campaign import Campaign
from journey.check_values import Place
from journey.findings import CheckContext, Findings
from journey.message_spec import VOUCHER_NAME
from journey.source import Key
from journey.spelling import nearest, suggest
from journey.steps import Link, TemplateMessage
from journey.template import PLACEHOLDER, Template, TemplateButton
from journey.variables import Variable

BODY_LENGTH = 1024
HEADER_LENGTH = 60
URL_LENGTH = 2000
CODE_PATH = "/r/"  # where the gateway answers counted links

_MEDIA = ("image", "video", "document")
_ADDRESS = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)


def check_template(
    message: TemplateMessage,
    template: Template,
    path: Place,
    campaign: Campaign,
    context: CheckContext,
    findings: Findings,
) -> None:
    """Adds the findings about one message and one template."""
    title = f"`{template.name}` ({template.language})"
    if template.unsupported:
        what = f"the template {title} has {', '.join(template.unsupported)}, which a campaign cannot fill"
        findings.hole((*path, "template"), what, "Choose another template.")
        return
    filled = {**campaign.variables, **message.variables}
    _body(message, template, filled, title, path, findings)
    _header(message, template, title, path, findings)
    _buttons(message, template, title, path, context, findings)
    if message.coupons is not None and not _takes_code(message, template):
        what = f"the template {title} has no {{{{{VOUCHER_NAME}}}}} and no button that copies a code"
        findings.hole((*path, "coupons"), what, "Remove `coupons`, or choose another template.")


def button_of(key: Key, template: Template) -> TemplateButton | None:
    """The button of that label (text) or position from 0 (int)."""
    return next((one for one in template.buttons if key == (one.index if isinstance(key, int) else one.text)), None)


def _takes_code(message: TemplateMessage, template: Template) -> bool:
    places = [*template.body_placeholders, *(template.header.placeholders if template.header is not None else ())]
    links = [one.url for one in message.buttons.values() if isinstance(one, Link)]
    return (
        VOUCHER_NAME in places
        or any(_by_coupons(button) for button in template.buttons)
        or any(f"{{{VOUCHER_NAME}}}" in url for url in links)
    )


def _by_coupons(button: TemplateButton) -> bool:
    return button.type == "COPY_CODE" or button.placeholders == (VOUCHER_NAME,)


# -- body and header -------------------------------------------------------------------------------------------------


def _body(
    message: TemplateMessage,
    template: Template,
    filled: Mapping[str, Variable],
    title: str,
    path: Place,
    findings: Findings,
) -> None:
    by_coupons = {VOUCHER_NAME} if message.coupons is not None else set()
    for placeholder in template.body_placeholders:
        if placeholder in filled or placeholder in by_coupons:
            continue
        what = f"nothing fills the placeholder {{{{{placeholder}}}}} of the template {title}"
        spelled = f'"{placeholder}"' if placeholder.isdecimal() else placeholder
        mend = f"Add it under the message's `variables`, e.g. {spelled}: {{user: first_name, fallback: …}}."
        if placeholder == VOUCHER_NAME:
            mend = "Add the message's `coupons`, e.g. coupons: {pool: autumn}."
        findings.hole((*path, "variables"), what, mend)
    for name in message.variables:
        if name in template.body_placeholders or name in by_coupons:
            continue
        missing = [one for one in template.body_placeholders if one not in filled]
        mend = suggest(name, missing or template.body_placeholders, none="It has none at all: remove this variable.")
        findings.hole((*path, "variables", name), f"the template {title} has no placeholder {{{{{name}}}}}", mend)
    length = _least_length(template.body, filled)
    if length > BODY_LENGTH:
        what = f"with its constants the body of {title} has at least {length:,} characters; Meta takes {BODY_LENGTH:,}"
        findings.hole((*path, "variables"), what, "Shorten the constants.")


def _header(message: TemplateMessage, template: Template, title: str, path: Place, findings: Findings) -> None:
    header, wanted = message.header, template.header
    path = (*path, "header")
    form = wanted.format.lower() if wanted is not None else None
    fillable = wanted is not None and (form in (*_MEDIA, "location") or bool(wanted.placeholders))
    if wanted is not None and wanted.placeholders == (VOUCHER_NAME,) and message.coupons is not None:
        if header is not None:
            what = f"the header of the template {title} is filled twice, here and by `coupons`"
            findings.hole(path, what, "Remove `header`.")
        return
    if header is None:
        if wanted is None or not fillable:
            return
        if form == "location":
            mend = "Add header: {location: {latitude: 48.8566, longitude: 2.3522, name: …, address: …}}."
            findings.hole(path, f"the template {title} has a header with a place, and the message gives none", mend)
        elif form in _MEDIA:
            what = f"the template {title} has a header with {_a(form)}, and the message gives none"
            findings.hole(path, what, f'Add header: {{{form}: "https://…"}} with its public address.')
        else:
            what = f"nothing fills the placeholder in the header of the template {title}"
            findings.hole(path, what, "Add header: {text: …}, with a constant or a variable.")
        return
    value = header.value
    if not fillable:
        what = f"the header of the template {title} has nothing to fill" if wanted else f"{title} has no header"
        findings.hole(path, what, "Remove `header`.")
    elif header.kind != form:
        what = f"the template {title} has a header with {_a(form)}, not with {_a(header.kind)}"
        findings.hole((*path, header.kind), what, f"Write header: {{{form}: …}}.")
    elif header.kind == "text" and wanted is not None and wanted.text is not None and value is not None:
        length = _least_length(wanted.text, dict.fromkeys(wanted.placeholders, value))
        if length > HEADER_LENGTH:
            what = f"with its constant the header of {title} has {length} characters; Meta takes {HEADER_LENGTH}"
            findings.hole((*path, "text"), what, "Shorten the constant.")
    if header.kind in _MEDIA and value is not None and value.source == "text" and not _ADDRESS.fullmatch(value.name):
        place = findings.source.path((*path, header.kind, "url"))
        findings.hole(place, f"“{value.name}” is no public address", "Write the whole of it, starting with https://.")


def _a(kind: str | None) -> str:
    return {"image": "an image", "text": "text", "location": "a place"}.get(kind or "", f"a {kind}")


# -- buttons ---------------------------------------------------------------------------------------------------------


def _buttons(
    message: TemplateMessage, template: Template, title: str, path: Place, context: CheckContext, findings: Findings
) -> None:
    path = (*path, "buttons")
    coupons = message.coupons is not None
    filled: dict[int, Key | None] = {one.index: None for one in template.buttons if coupons and _by_coupons(one)}
    for key, given in message.buttons.items():
        button = button_of(key, template)
        place: Place = (*path, key)
        if button is None:
            shown = f"“{key}”" if isinstance(key, str) else f"at position {key}"
            what = f"the template {title} has no button {shown}"
            findings.hole(place, what, _labels(key, [one.text for one in template.buttons]))
        elif not button.takes_value:
            what = f"the button “{button.text}” of the template {title} has nothing to fill"
            findings.hole(place, what, "Remove it here; only a URL with a placeholder takes a value.")
        elif button.index in filled:
            other = filled[button.index]
            by = "by `coupons`" if other is None else f"as `{other}`"
            what = f"the button “{button.text}” is filled twice, here and {by}"
            findings.hole(place, what, "Keep one of the two.")
        elif isinstance(given, Link):
            filled[button.index] = key
            _link(button, title, place, context, findings)
        else:
            filled[button.index] = key
            length = _least_length(button.url or "", dict.fromkeys(button.placeholders, given))
            if length > URL_LENGTH:
                what = (
                    f"with its constant the URL of “{button.text}” has {length:,} characters; Meta takes {URL_LENGTH:,}"
                )
                findings.hole(place, what, "Shorten the constant.")
    for button in template.buttons:
        if button.index not in filled and button.takes_value:
            _unfilled(button, title, path, findings)


def _unfilled(button: TemplateButton, title: str, path: Place, findings: Findings) -> None:
    if _by_coupons(button):
        what = f"nothing gives the code of the button “{button.text}” of the template {title}"
        mend = "Add the message's `coupons`, e.g. coupons: {pool: autumn}."
    else:
        what = f"nothing fills the placeholder in the URL of the button “{button.text}” of the template {title}"
        mend = f"Add it under the message's `buttons`, e.g. {button.text}: {{user: product_id, fallback: …}}."
    findings.hole(path, what, mend)


def _link(button: TemplateButton, title: str, path: Place, context: CheckContext, findings: Findings) -> None:
    """A counted link's button leads to the gateway: nothing else could count the tap."""
    if button.type != "URL":
        what = f"the button “{button.text}” of the template {title} is no link"
        findings.hole(path, what, "Write a variable, or `coupons`; only a button with a URL takes a link.")
        return
    if context.senders is None:
        return  # the settings cannot be read
    if context.base_url is None:
        what = "counted links need the gateway's public address"
        findings.hole((*path, "link"), what, "Add links: {base_url: https://…} to estafette.yaml.")
        return
    wanted = f"{context.base_url}{CODE_PATH}"
    url = button.url or ""
    place = PLACEHOLDER.search(url)
    start, rest = (url[: place.start()], url[place.end() :]) if place is not None else (url, "")
    if _address(start) != _address(wanted) or rest:
        what = f"the button “{button.text}” of the template {title} leads to {url}, where nobody counts the tap"
        mend = f"Give it the URL {wanted}{{{{1}}}} in WhatsApp Manager, or fill its placeholder with a variable."
        findings.hole((*path, "link"), what, mend)


def _address(url: str) -> tuple[object, ...]:
    parts = urlsplit(url.strip())
    return parts.scheme.lower(), parts.netloc.lower(), (parts.path, parts.query, parts.fragment)


def _labels(key: Key, labels: list[str]) -> str:
    if not labels:
        return "It has no buttons at all: remove `buttons`."
    if isinstance(key, str) and key.isdecimal() and int(key) < len(labels):
        return f"For the button at position {key} write the number without quotes."
    near = nearest(key, labels) if isinstance(key, str) else None
    return f"Did you mean “{near}”?" if near else "Its buttons: " + ", ".join(f"“{one}”" for one in labels) + "."


def _least_length(text: str, filled: Mapping[str, Variable]) -> int:
    """The shortest that a text can be once filled: constants as they are, anything else one character."""

    def value(placeholder: re.Match[str]) -> str:
        variable = filled.get(placeholder[1])
        return " ".join(variable.name.split()) if variable is not None and variable.source == "text" else "x"

    return len(PLACEHOLDER.sub(value, text))
