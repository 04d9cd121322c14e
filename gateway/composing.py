"""The answer box of a conversation: what may be written to somebody now, and the fields of a template.

What belongs here: from what is known of a person to the box as its page shows it, and from a form that was posted to an
answer. The doors are `inbox`; whether the answer goes out in the end is decided by the pass that plans it.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.words import Words
from journey.blank import is_blank
from journey.template import MEDIA, Template

if TYPE_CHECKING:
    from journey.inbox_answer import InboxAnswer
    from resources.home import Home

MARKETING = "MARKETING"
PLACE = ("latitude", "longitude", "name", "address")
HEADER, VARIABLE, BUTTON = "header.", "variable.", "button."
LONGEST_FIELD = 2_000


class NotSent(ValueError):
    """What was posted can't be sent as it is: one sentence, for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a template's form. `kind` is that of an `<input>`; `facts` say where its value goes."""

    name: str
    label: str
    value: str
    kind: str = "text"
    facts: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Something to choose: its value, how it is called, and whether it is chosen."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Composer:
    """The box. `kind` is closed, text or template; `why` says why it is closed, or why no text goes. `uuid` is by which
    the answer will be known, so that a form sent twice is one answer. `senders` may send it; `templates` may be chosen,
    `template` is. `free`: a text could be written instead, `picks`: a template could."""

    kind: str
    uuid: str
    why: str = ""
    error: str = ""
    text: str = ""
    senders: Sequence[Choice] = ()
    templates: Sequence[Choice] = ()
    template: Template | None = None
    fields: Sequence[Field] = ()
    free: bool = False
    picks: bool = False

    @property
    def state(self) -> str:
        """What a page that is open compares: the box is put in place of an untouched one only where this changed."""
        return f"{self.kind}.{self.why}.{len(self.senders)}"


def composer(
    windows: Iterable[tuple[str, str]],
    senders: Iterable[str],
    consent: str,
    reachable: bool,
    library: Iterable[Template],
    asked: Mapping[str, str],
    known: Mapping[str, str],
    t: Words,
    error: str = "",
) -> Composer:
    """The box for somebody. `windows`: senders to whom they wrote within 24 hours, and how long that is open; `consent`
    as the page has it; `reachable`: there is a phone. `asked` is the query, or a form that was posted and is shown
    again with its `error`; `known` their properties, which fill placeholders of the same name."""
    made = asked.get("uuid") or str(uuid.uuid4())
    open_ = list(windows)
    if not reachable:
        return Composer("closed", made, "no_phone")
    if consent == "all":
        return Composer("closed", made, "all")
    usable = _usable(library, consent)
    wanted = asked.get("template", "")
    picking = "template" in asked or not open_
    if not picking:
        return Composer(
            "text",
            made,
            error=error,
            text=asked.get("text", ""),
            senders=_senders(((name, f"{name} ({left})") for name, left in open_), asked.get("sender", "")),
            picks=bool(usable),
        )
    why = "" if usable else "not_opted_in" if consent in ("file", "unsaid") else "no_templates"
    if not usable and not open_:
        return Composer("closed", made, why)
    chosen = usable.get(wanted)
    last = [name for name, _ in open_]
    order = sorted(senders, key=lambda name: (name not in last, name))
    return Composer(
        "template",
        made,
        why or ("" if open_ else "window_closed"),
        error=error,
        senders=_senders(((name, name) for name in order), asked.get("sender", "")),
        templates=[Choice(key, f"{one.name} ({one.language})", key == wanted) for key, one in usable.items()],
        template=chosen,
        fields=_fields(chosen, asked, known, t) if chosen is not None else (),
        free=bool(open_),
    )


def answer_of(
    form: Mapping[str, str], contact: str, author: str, library: Iterable[Template], t: Words
) -> "tuple[str, InboxAnswer]":
    """The uuid and the answer that a form means, in a thread. NotSent: what is wrong with it."""
    from journey.inbox_answer import LONGEST_TEXT, read_answer

    # Nobody sees a NUL and nobody means it; a request line with one would go to the quarantine.
    form = {name: value.replace("\0", "") for name, value in form.items()}
    try:
        made = str(uuid.UUID(form.get("uuid", "")))
    except ValueError:
        raise NotSent(t("form_unreadable")) from None
    value: dict[str, Any] = {"contact_id": contact, "sender": form.get("sender", ""), "author": author}
    if "template" in form:
        template = {_key(one): one for one in library}.get(form["template"])
        if template is None:
            raise NotSent(t("answer_no_template"))
        value |= _filled(template, form, t)
    else:
        value["text"] = form.get("text", "").replace("\r\n", "\n").strip()
        if is_blank(value["text"]):
            raise NotSent(t("answer_blank"))
        if len(value["text"]) > LONGEST_TEXT:
            raise NotSent(t("answer_too_long", most=LONGEST_TEXT))
    try:
        return made, read_answer(value)
    except ValueError:
        raise NotSent(t("form_unreadable")) from None


def known_texts(home: "Home", contact: str, template: Template | None) -> dict[str, str]:
    """What is known of a contact for a template's placeholders: properties of the same name that have a text."""
    names = set(template.body_placeholders) & set(home.contacts.properties()) if template is not None else set()
    if not names:
        return {}
    frame = home.contacts.frame(sorted(names), [contact])
    row = frame.row(0, named=True) if frame.height else {}
    return {name: " ".join(value.split()) for name, value in row.items() if isinstance(value, str)}


def chosen_template(library: Iterable[Template], key: str) -> Template | None:
    """The template that a form or a link names."""
    return {_key(one): one for one in library}.get(key)


def _key(template: Template) -> str:
    return f"{template.name}/{template.language}"


def _usable(library: Iterable[Template], consent: str) -> dict[str, Template]:
    """The templates that may be sent to somebody with this consent."""
    if consent in ("file", "unsaid"):
        return {}
    found = [one for one in library if one.approved and not one.unsupported]
    found = [one for one in found if consent != "marketing" or one.category != MARKETING]
    return {_key(one): one for one in sorted(found, key=lambda one: (one.name, one.language))}


def _senders(names: Iterable[tuple[str, str]], chosen: str) -> list[Choice]:
    listed = list(names)
    chosen = chosen if any(name == chosen for name, _ in listed) else listed[0][0] if listed else ""
    return [Choice(name, label, name == chosen) for name, label in listed]


def _fields(template: Template, asked: Mapping[str, str], known: Mapping[str, str], t: Words) -> list[Field]:
    def field(name: str, label: str, kind: str = "text", facts: str = "", usual: str = "") -> Field:
        return Field(name, label, asked.get(name, usual), kind, facts)

    found: list[Field] = []
    header = template.header
    if header is not None:
        kind = header.format.lower()
        if kind == "text" and header.placeholders:
            found.append(field(HEADER + "text", header.placeholders[0], facts=header.text or ""))
        elif header.format in MEDIA:
            found.append(field(HEADER + kind, t("answer_media", what=t(f"inbox_media_{kind}")), "url"))
            if kind == "document":
                found.append(field(HEADER + "filename", t("answer_filename")))
        elif kind == "location":
            found += [field(HEADER + part, t(f"answer_{part}")) for part in PLACE]
    found += [field(VARIABLE + one, one, usual=known.get(one, "")) for one in template.body_placeholders]
    for button in template.buttons:
        if button.takes_value:
            facts = button.url or t("answer_code")
            found.append(field(f"{BUTTON}{button.index}", button.text, facts=facts))
    return found


def _filled(template: Template, form: Mapping[str, str], t: Words) -> dict[str, Any]:
    """What the form says of each field of the template."""
    given: dict[str, str] = {}
    for one in _fields(template, {}, {}, t):
        value = form.get(one.name, "").strip()
        if is_blank(value):
            value = ""
            if one.name != HEADER + "filename":
                raise NotSent(t("answer_field", field=one.label))
        if len(value) > LONGEST_FIELD:
            raise NotSent(t("answer_field_too_long", field=one.label, most=LONGEST_FIELD, length=len(value)))
        given[one.name] = value
    header: dict[str, Any] = {
        name.removeprefix(HEADER): value for name, value in given.items() if name.startswith(HEADER) and value
    }
    if set(PLACE) <= header.keys():
        header = {"location": header}
    return {
        "template": template.name,
        "language": template.language,
        "header": header or None,
        "variables": {name.removeprefix(VARIABLE): v for name, v in given.items() if name.startswith(VARIABLE)},
        "buttons": {int(name.removeprefix(BUTTON)): v for name, v in given.items() if name.startswith(BUTTON)},
    }
