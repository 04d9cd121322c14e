"""One person as rows and texts name them: ids, phones however they are written, WhatsApp's ids, ids of messages.

What belongs here: whether a cell, a JSON value or a line is about a person, and the same line without them. Where the
lines lie and how they are written back is `resources.forget_landing`.

A line that is theirs goes whole. In a line of somebody else only what names them goes, and only where that leaves no
doubt: a phone, an id of WhatsApp's, or a contact id of at least `DISTINCT` characters (`c1` may stand for anything).
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import phonenumbers

from journey.contact_rows import known_column
from journey.event_rows import known_field
from journey.phones import normalise

FORGOTTEN = "forgotten:"
"""What takes the place of the id of somebody who was forgotten, with a number."""

DISTINCT = 8

_GAP = rb"(?:[ .\-()/]|\xc2\xa0|\xe2\x80\xaf)*"
_LEAST_WAMID = 8
_NAMING = ("contact_id", "phone")
_LISTS = ("users", "phones")


class _Gone:
    """Stands for a value of which nothing is left."""


GONE: Final = _Gone()


@dataclass(frozen=True)
class Person:
    """How a person is named. `phones` in E.164; `whatsapp`: wa_ids and Meta's user ids; `wamids`: ids of messages from
    and to them; `lists`: properties of events that name people (`contacts` of a trigger); `region`: for phones that are
    written the national way."""

    ids: frozenset[str]
    phones: frozenset[str]
    whatsapp: frozenset[str]
    wamids: frozenset[str]
    region: str
    lists: frozenset[str] = field(default_factory=frozenset)

    # -- is it theirs? -------------------------------------------------------------------------------------------------

    def is_id(self, value: object) -> bool:
        """Whether a value is one of their ids, or their phone, as a cell or a JSON value gives it."""
        text = _text(value)
        return text is not None and (text in self.ids or self.is_phone(text))

    def is_phone(self, value: object) -> bool:
        """Whether a value is one of their phones, however it is written."""
        text = _text(value)
        if text is None or not self.phones:
            return False
        digits = "".join(one for one in text if one.isdigit())
        if not any(digits.endswith(ending) for ending in self._endings):
            return False
        return normalise(text, self.region) in self.phones

    def is_whatsapp(self, value: object) -> bool:
        """Whether a value is what WhatsApp calls them, or the id of one of their messages."""
        text = _text(value)
        return text is not None and (text.removeprefix("+") in self._called or text in self.wamids)

    def is_named_in(self, raw: bytes) -> bool:
        """Whether a text names them without any doubt."""
        return self.marks is not None and self.marks.search(raw) is not None

    @cached_property
    def _endings(self) -> tuple[str, ...]:
        return tuple(phone[-6:] for phone in self.phones)

    @cached_property
    def _called(self) -> frozenset[str]:
        return self.whatsapp | {phone.removeprefix("+") for phone in self.phones}

    @cached_property
    def in_wamids(self) -> tuple[str, ...]:
        """Their numbers as Meta writes them into the ids of messages: base64, after three bytes."""
        return tuple(b64encode(one.encode()).decode()[: len(one) * 8 // 6] for one in self._called if one.isdigit())

    # -- where to look -------------------------------------------------------------------------------------------------

    @cached_property
    def anywhere(self) -> re.Pattern[bytes]:
        """Finds every line that may name them: more than those that do, never fewer."""
        whole = [*self._called, *self.ids, *self.in_wamids]
        plain = {form for one in whole for form in _written(one)}
        wamids = [re.escape(one.encode()) for one in sorted(self.wamids)]
        numbers = [_GAP.join(re.escape(digit.encode()) for digit in phone[-6:]) for phone in sorted(self.phones)]
        return re.compile(b"|".join([*(re.escape(one) for one in sorted(plain)), *numbers, *wamids]) or rb"(?!)")

    @cached_property
    def marks(self) -> re.Pattern[bytes] | None:
        """Finds what names them without any doubt; None: nothing can."""
        words = {form for one in {*self.ids, *self.whatsapp} if len(one) >= DISTINCT for form in _written(one)}
        words |= {form for one in self.wamids if len(one) >= _LEAST_WAMID for form in _written(one)}
        found = [
            rb"(?<![A-Za-z0-9_])(?:" + b"|".join(map(re.escape, sorted(words, key=len, reverse=True)))
            + rb")(?![A-Za-z0-9_])"
        ] if words else []  # fmt: skip
        found += [_number(phone) for phone in sorted(self.phones)]
        found += [
            rb"wamid\.[A-Za-z0-9+/=_-]*" + re.escape(one.encode()) + rb"[A-Za-z0-9+/=_-]*" for one in self.in_wamids
        ]
        return re.compile(b"|".join(found)) if found else None

    @cached_property
    def words(self) -> list[str]:
        """Texts of which one is in everything that `marks` finds, but for phones with gaps in them."""
        long = [one for one in {*self.ids, *self.whatsapp, *self.wamids} if len(one) >= DISTINCT]
        return sorted({*long, *(phone[-8:] for phone in self.phones), *self.in_wamids})

    def masked(self, raw: bytes) -> bytes:
        """A text without what names them, as long as it was."""
        return raw if self.marks is None else self.marks.sub(lambda found: b" " * len(found[0]), raw)

    def renamed(self, text: str, label: str) -> str:
        """A text in which a label stands for what names them."""
        if self.marks is None:
            return text
        return self.marks.sub(label.encode(), text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def relabelled(self, properties: str, label: str) -> str:
        """The properties of an event (a JSON object's text) of somebody else, with a label where they are named."""
        try:
            value = json.loads(properties)
        except (ValueError, RecursionError):
            return self.renamed(properties, label)
        named = [name for name in self.lists if isinstance(value, dict) and name in value]
        for name in named:
            value[name] = _each(value[name], lambda one: label if self.is_id(one) else one)
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) if named else properties
        return self.renamed(text, label)

    # -- lines of landing files ----------------------------------------------------------------------------------------

    def line(self, kind: str, raw: bytes) -> bytes | None:
        """A line of NDJSON (without its end) without them, at most as long as it was; empty: it was theirs. None: it
        is what it was."""
        try:
            return self._delivery(raw) if kind == "webhooks" else self._line(kind, raw)
        except RecursionError:  # brackets in brackets, which nothing else reads either
            return b"" if self.is_named_in(raw) else None

    def _line(self, kind: str, raw: bytes) -> bytes | None:
        try:
            value = json.loads(raw.strip().removeprefix(b"\xef\xbb\xbf"))
        except ValueError:
            value = None
        if not isinstance(value, dict):
            return b"" if self.is_named_in(raw) else None
        if kind == "requests":
            return self._request(raw, value)
        field = known_column if kind == "contacts" else known_field
        if any(field(key) in _NAMING and self.is_id(one) for key, one in value.items()):
            return b""
        if kind == "events":
            found = self._named_people(value)
            if found is not None:
                shorter = _dumped(found)
                return self.masked(shorter if len(shorter) <= len(raw) else b"")
        return _changed(raw, self.masked(raw))

    def _named_people(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """An event without them among those whom it names; None: they are not."""
        inner = event.get("properties")
        places = {key: dict(inner) for key in ("properties",) if isinstance(inner, dict)}
        found: dict[str, Any] = {**event, **places}
        changed = False
        for place in (found, *places.values()):
            for name in self.lists & set(place):
                if isinstance(place[name], list) and any(self.is_id(one) for one in place[name]):
                    place[name] = [one for one in place[name] if not self.is_id(one)]
                    changed = True
                elif self.is_id(place[name]):
                    place[name] = None
                    changed = True
        return {**found, **places} if changed else None

    def _request(self, raw: bytes, value: dict[str, Any]) -> bytes | None:
        inner = value.get("inbox")
        for about in (value, inner if isinstance(inner, dict) else {}):
            if any(self.is_id(one) for key, one in about.items() if key in ("contact_id", "contact", "phone", "to")):
                return b""
        left = dict(value)
        for name in _LISTS:
            named = value.get(name)
            if named is None:
                continue
            listed = named if isinstance(named, list) else [named]
            kept = [one for one in listed if not self.is_id(one)]
            if listed and not kept:
                return b""
            if len(kept) < len(listed):
                left[name] = kept
        return _changed(raw, self.masked(raw if left == value else _dumped(left)))

    def _delivery(self, raw: bytes) -> bytes | None:
        """A delivery of the webhook log: what Meta says of others stays."""
        try:
            value = json.loads(raw.strip().removeprefix(b"\xef\xbb\xbf"))
            body = json.loads(value["body"]) if isinstance(value, dict) and isinstance(value.get("body"), str) else None
        except ValueError:
            return b"" if self.is_named_in(raw) else None
        left = _without(body if body is not None else value, self.is_whatsapp)
        if left is GONE:
            return b""
        if body is None:
            return None if left == value else _dumped(left)
        return None if left == body else _dumped({**value, "body": _dumped(left).decode("utf-8", "surrogatepass")})


def _without(value: Any, theirs: Callable[[object], bool]) -> Any:
    """A JSON value without every item of a list that is about them; GONE where nothing else was in it."""
    if isinstance(value, list):
        items = [_without(one, theirs) for one in value]
        return [one for one in items if one is not GONE and not _holds(one, theirs)]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    lost = False
    for key, one in value.items():
        left = _without(one, theirs)
        if left is GONE or (isinstance(one, list) and one and not left):
            lost = True
        else:
            kept[key] = left
    # `contacts` only say who the others in the value are.
    if lost and not any(isinstance(one, list) and one for key, one in kept.items() if key != "contacts"):
        return GONE
    return kept


def _holds(value: Any, theirs: Callable[[object], bool]) -> bool:
    if isinstance(value, dict):
        return any(_holds(one, theirs) for one in value.values())
    if isinstance(value, list):
        return any(_holds(one, theirs) for one in value)
    return theirs(value)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return [change(one) for one in value] if isinstance(value, list) else change(value)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _changed(before: bytes, after: bytes) -> bytes | None:
    return None if after == before else after


def _dumped(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, as somebody wrote it
        return json.dumps(value, separators=(",", ":")).encode()


def _written(text: str) -> Iterable[bytes]:
    """A text as it may stand in a file: as it is, and as JSON writes it, once or twice over."""
    once = json.dumps(text)[1:-1]
    forms = {text, once, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(once)[1:-1], once.replace("/", "\\/")}
    return {form.encode("utf-8", "replace") for form in forms}


def _number(phone: str) -> bytes:
    """Finds a phone with its country code or the zero before it; of ten digits and more also alone."""
    try:
        parsed = phonenumbers.parse(phone)
        code, national = str(parsed.country_code), phone[1 + len(str(parsed.country_code)) :]
    except phonenumbers.NumberParseException:
        code, national = "", phone[1:]
    before = rb"(?:(?:\+|00)?" + _GAP + code.encode() + _GAP + rb"(?:\(?0\)?)?|0)"
    alone = rb"?" if len(national) >= 10 else rb""
    digits = _GAP.join(digit.encode() for digit in national)
    return rb"(?<![0-9])" + before + alone + _GAP + digits + rb"(?![0-9])"
