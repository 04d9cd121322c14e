"""Checks of messages against the templates they are made from: a hole here would be a refusal by Meta.

What belongs here: languages, placeholders, headers, buttons, lengths, and the variables that fill them. The limits are
Meta's (message templates, "Components"): body 1,024 characters, header text 60, URL 2,000.
"""

import re
from collections.abc import Iterable, Mapping

from journey.campaign import Campaign
from journey.clock import zone
from journey.dates import date_pattern_problem
from journey.findings import CheckContext, Findings
from journey.reading import zone_words
from journey.source import Key
from journey.spelling import nearest, suggest
from journey.steps import LanguageByContact, Link, TemplateMessage, TextMessage
from journey.template import PLACEHOLDER, Template, TemplateButton, resolve_language
from journey.variables import Variable

BODY_LENGTH = 1024
HEADER_LENGTH = 60
URL_LENGTH = 2000
#: Properties that every contact has beside those of the files.
OF_EVERY_CONTACT = frozenset({"contact_id", "phone", "locale"})

_PULL = "Run `estafette templates pull` if it is new."
_MEDIA = ("image", "video", "document")
_ADDRESS = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)
_REFUSED = re.compile(r"[\n\r\t]| {5,}")

_Path = tuple[Key, ...]


def check_messages(campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    """Adds the findings about every message step and about the shared variables."""
    used: set[str] = set()
    for name, variable in campaign.variables.items():
        _variable(variable, ("variables", name), campaign, context, findings)
    unclear = False
    for name, step in campaign.message_steps().items():
        message = step.message
        if isinstance(message, TextMessage):
            continue
        path = ("steps", name, "message")
        _own_variables(message, path, campaign, context, findings)
        templates = _templates(message, path, context, findings)
        for template in templates:
            used.update(template.body_placeholders)
            _against(message, template, path, campaign, findings)
        unclear = unclear or not templates
    for name in campaign.variables:
        if name not in used and not unclear:
            what = f"no template of this campaign has a placeholder `{name}`"
            findings.warning(("variables", name), what, "Remove it, or correct its name.")


def _templates(message: TemplateMessage, path: _Path, context: CheckContext, findings: Findings) -> list[Template]:
    """The templates that the message may be made from: one, or one a language where the contact's decides."""
    known = {language: one for (name, language), one in context.templates.items() if name == message.template}
    if not known:
        names = {name for name, _ in context.templates}
        what = f"there is no template `{message.template}` in templates/"
        none = "Run `estafette templates pull` to fetch the templates from Meta."
        mend = suggest(message.template, names, none=none)
        findings.hole((*path, "template"), what, f"{mend} {_PULL}" if names else mend)
        return []
    if isinstance(message.language, str):
        serving = {one: known[one] for one in known if f"{_code(message.language)}_".startswith(f"{_code(one)}_")}
        return _in_language(message.template, message.language, (*path, "language"), serving, known, findings)
    fallback, found = message.language.fallback, list[Template]()
    if fallback is not None:
        # A fallback serves in its own language only, a language also in its base (`resolve_language`).
        exact = {one: known[one] for one in known if _code(one) == _code(fallback)}
        found = _in_language(message.template, fallback, (*path, "language", "fallback"), exact, known, findings)
    else:
        what = "contacts whose language is missing, or is not one of the template's, get no message"
        findings.warning((*path, "language"), what, "Add a fallback, e.g. {user: locale, fallback: fr}.")
        if not any(one.approved for one in known.values()):
            _not_approved(message.template, known.values(), (*path, "template"), findings)
    return found + [one for one in known.values() if one.approved and one not in found]


def _in_language(
    name: str,
    wanted: str,
    path: _Path,
    serving: Mapping[str, Template],
    known: Mapping[str, Template],
    findings: Findings,
) -> list[Template]:
    """The template in a wanted language; `serving` are the known ones that could stand for it."""
    if not serving:
        listed = ", ".join(f"`{language}`" for language in sorted(known))
        what = f"the template `{name}` does not exist in the language `{wanted}`"
        findings.hole(path, what, f"It exists in {listed}. {_PULL}")
        return []
    template = resolve_language(serving, wanted)
    if template is not None:
        return [template]
    _not_approved(name, serving.values(), path, findings)
    return [max(serving.values(), key=lambda one: len(one.language))]


def _code(language: str) -> str:
    return language.strip().replace("-", "_").lower()


def _not_approved(name: str, templates: Iterable[Template], path: _Path, findings: Findings) -> None:
    states = ", ".join(f"{one.status or 'of unknown status'} in `{one.language}`" for one in templates)
    mend = "Its messages wait until Meta approves it; see WhatsApp Manager, then run `estafette templates pull`."
    findings.not_ready(path, f"the template `{name}` is {states}, and not APPROVED", mend)


def _against(message: TemplateMessage, template: Template, path: _Path, campaign: Campaign, findings: Findings) -> None:
    title = f"`{template.name}` ({template.language})"
    if template.unsupported:
        what = f"the template {title} has {', '.join(template.unsupported)}, which a campaign cannot fill"
        findings.hole((*path, "template"), what, "Choose another template.")
        return
    filled = {**campaign.variables, **message.variables}
    for placeholder in template.body_placeholders:
        if placeholder not in filled:
            what = f"nothing fills the placeholder {{{{{placeholder}}}}} of the template {title}"
            spelled = f'"{placeholder}"' if placeholder.isdecimal() else placeholder
            mend = f"Add it under the message's `variables`, e.g. {spelled}: {{user: first_name, fallback: …}}."
            findings.hole((*path, "variables"), what, mend)
    for name in message.variables:
        if name not in template.body_placeholders:
            missing = [one for one in template.body_placeholders if one not in filled]
            mend = suggest(
                name, missing or template.body_placeholders, none="It has none at all: remove this variable."
            )
            findings.hole((*path, "variables", name), f"the template {title} has no placeholder {{{{{name}}}}}", mend)
    length = _least_length(template.body, filled)
    if length > BODY_LENGTH:
        what = f"with its constants the body of {title} has at least {length:,} characters; Meta takes {BODY_LENGTH:,}"
        findings.hole((*path, "variables"), what, "Shorten the constants.")
    _header(message, template, title, path, findings)
    _buttons(message, template, title, path, findings)


def _header(message: TemplateMessage, template: Template, title: str, path: _Path, findings: Findings) -> None:
    header, wanted = message.header, template.header
    path = (*path, "header")
    form = wanted.format.lower() if wanted is not None else None
    fillable = wanted is not None and (form in _MEDIA or (form == "text" and bool(wanted.placeholders)))
    if header is None:
        if wanted is None or (form == "text" and not wanted.placeholders):
            return
        if form in _MEDIA:
            what = f"the template {title} has a header with {_a(form)}, and the message gives none"
            findings.hole(path, what, f'Add header: {{{form}: "https://…"}} with its public address.')
        else:
            what = f"nothing fills the placeholder in the header of the template {title}"
            findings.hole(path, what, "Add header: {text: …}, with a constant or a variable.")
        return
    if not fillable:
        what = f"the header of the template {title} has nothing to fill" if wanted else f"{title} has no header"
        findings.hole(path, what, "Remove `header`.")
    elif header.kind != form:
        what = f"the template {title} has a header with {_a(form)}, not with {_a(header.kind)}"
        findings.hole((*path, header.kind), what, f"Write header: {{{form}: …}}.")
    elif header.kind == "text" and wanted is not None and wanted.text is not None:
        value = dict.fromkeys(wanted.placeholders, header.value) if header.value is not None else {}
        length = _least_length(wanted.text, value)
        if length > HEADER_LENGTH:
            what = f"with its constant the header of {title} has {length} characters; Meta takes {HEADER_LENGTH}"
            findings.hole((*path, "text"), what, "Shorten the constant.")


def _a(kind: str | None) -> str:
    return f"an {kind}" if kind == "image" else "text" if kind == "text" else f"a {kind}"


def _buttons(message: TemplateMessage, template: Template, title: str, path: _Path, findings: Findings) -> None:
    path = (*path, "buttons")
    filled: dict[int, Key] = {}
    for key, variable in message.buttons.items():
        button = _button(key, template)
        if button is None:
            labels = [one.text for one in template.buttons]
            what = f"the template {title} has no button " + (
                f"“{key}”" if isinstance(key, str) else f"at position {key}"
            )
            mend = _labels(key, labels)
            findings.hole((*path, key), what, mend)
        elif not button.placeholders:
            what = f"the button “{button.text}” of the template {title} has nothing to fill"
            findings.hole((*path, key), what, "Remove it here; only a URL with a placeholder takes a value.")
        elif button.index in filled:
            what = f"the button “{button.text}” is filled twice, here and as `{filled[button.index]}`"
            findings.hole((*path, key), what, "Keep one of the two.")
        else:
            filled[button.index] = key
            value = {} if isinstance(variable, Link) else dict.fromkeys(button.placeholders, variable)
            length = _least_length(button.url or "", value)
            if length > URL_LENGTH:
                what = (
                    f"with its constant the URL of “{button.text}” has {length:,} characters; Meta takes {URL_LENGTH:,}"
                )
                findings.hole((*path, key), what, "Shorten the constant.")
    for button in template.buttons:
        if button.placeholders and button.index not in filled:
            what = f"nothing fills the placeholder in the URL of the button “{button.text}” of the template {title}"
            mend = f"Add it under the message's `buttons`, e.g. {button.text}: {{user: product_id, fallback: …}}."
            findings.hole(path, what, mend)


def _labels(key: Key, labels: list[str]) -> str:
    if not labels:
        return "It has no buttons at all: remove `buttons`."
    if isinstance(key, str) and key.isdecimal() and int(key) < len(labels):
        return f"For the button at position {key} write the number without quotes."
    near = nearest(key, labels) if isinstance(key, str) else None
    return f"Did you mean “{near}”?" if near else "Its buttons: " + ", ".join(f"“{one}”" for one in labels) + "."


def _button(key: Key, template: Template) -> TemplateButton | None:
    return next((one for one in template.buttons if key == (one.index if isinstance(key, int) else one.text)), None)


def _least_length(text: str, filled: Mapping[str, Variable]) -> int:
    """The shortest that a text can be once filled: constants as they are, anything else one character."""

    def value(placeholder: re.Match[str]) -> str:
        variable = filled.get(placeholder[1])
        return " ".join(variable.name.split()) if variable is not None and variable.source == "text" else "x"

    return len(PLACEHOLDER.sub(value, text))


def _own_variables(
    message: TemplateMessage, path: _Path, campaign: Campaign, context: CheckContext, findings: Findings
) -> None:
    for name, variable in message.variables.items():
        _variable(variable, (*path, "variables", name), campaign, context, findings)
    for key, button in message.buttons.items():
        if not isinstance(button, Link):
            _variable(button, (*path, "buttons", key), campaign, context, findings)
    if isinstance(message.language, LanguageByContact):
        _property(message.language.user, (*path, "language", "user"), context, findings)
    header = message.header
    if header is None or header.value is None:
        return
    place = findings.source.path((*path, "header", header.kind, "url"))
    _variable(header.value, place, campaign, context, findings)
    if header.kind in _MEDIA and header.value.source == "text" and not _ADDRESS.fullmatch(header.value.name):
        what = f"“{header.value.name}” is no public address"
        findings.hole(place, what, "Write the whole of it, starting with https://.")
    if header.filename is not None:
        _variable(header.filename, (*path, "header", "document", "filename"), campaign, context, findings)


def _variable(variable: Variable, path: _Path, campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    if variable.source == "user":
        _property(variable.name, (*path, "user"), context, findings)
    elif variable.source == "event":
        _attribute(variable, (*path, "event"), campaign, context, findings)
    if variable.fallback is not None and _REFUSED.search(variable.fallback):
        what = "the fallback has a new line, a tab or more than four spaces in a row, which Meta refuses"
        findings.hole((*path, "fallback"), what, "Write it on one line with single spaces.")
    pattern = date_pattern_problem(variable.format) if isinstance(variable.format, str) else None
    if pattern is not None:
        findings.hole((*path, "format"), pattern, 'Write e.g. "%d/%m à %H:%M".')
    if variable.timezone is not None:
        try:
            zone(variable.timezone)
        except ValueError as error:
            findings.hole((*path, "timezone"), *zone_words(str(error)))


def _property(name: str, path: _Path, context: CheckContext, findings: Findings) -> None:
    known = context.properties
    if known is None or name in OF_EVERY_CONTACT or name in known or name.partition(".")[0] in known:
        return
    what = f"no known contact has the property `{name}`"
    mend = suggest(name, {*known, *OF_EVERY_CONTACT}, none="")
    (findings.hole if context.contacts_loaded else findings.warning)(path, what, mend)


def _attribute(variable: Variable, path: _Path, campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    """What an audience brings are the further columns of its segment."""
    root = variable.name.partition(".")[0]
    for _, entry in campaign.audiences():
        columns = context.columns.get(entry.segment)
        if columns is None or root in columns or variable.name in columns:
            continue
        what = f"the segment `{entry.segment}` brings no `{root}`"
        if columns:
            mend = suggest(root, columns, none="")
        else:
            mend = "Only the further columns of a SQL segment can be used; for a contact's property write {user: …}."
        (findings.warning if variable.fallback is not None else findings.hole)(path, what, mend)
