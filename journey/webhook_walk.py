"""A webhook body walked without types, item by item, for the lines that the typed decode does not take whole.

What belongs here: finding the items in a body of doubtful shape, and putting one item back into a delivery of its own,
for the quarantine. Nothing is dropped: what has no place in the shape comes out as an `odd` item.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from journey.webhook_rows import word
from journey.webhook_shapes import WABA, Contact

Kind = Literal["status", "message", "error", "preference", "user id update", "change", "odd change", "odd entry"]
Record = dict[str, object]

# What stands in lists under a field: the list's name and what one item of it is.
_LISTS: dict[str, tuple[tuple[str, Kind], ...]] = {
    "messages": (("statuses", "status"), ("messages", "message"), ("errors", "error")),
    "user_preferences": (("user_preferences", "preference"),),
    "user_id_update": (("user_id_update", "user id update"),),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a delivery says. `name` is the field of its change, `value` and `entry` what it stood in, `listed`
    the list that held it, with its place there and the number of its siblings."""

    kind: Kind
    content: object
    entry: Record = field(default_factory=dict)
    name: str = ""
    value: Record = field(default_factory=dict)
    listed: str = ""
    position: int = 0
    siblings: int = 1

    def contacts(self) -> list[Contact]:
        """The value's contacts, in their places; one that can't be read is an empty one."""
        found = self.value.get("contacts")
        return [_contact(contact) for contact in found] if isinstance(found, list) else []

    def raw(self, received_at: object) -> str:
        """A delivery that holds just this item, in an envelope where there was one."""
        value: object = self.content
        if self.listed:
            kept: Record = {
                key: self.value[key] for key in ("messaging_product", "metadata", "contacts") if key in self.value
            }
            value = {**kept, self.listed: [self.content]}
        change = self.content if self.kind == "odd change" else {"field": self.name, "value": value}
        shell: Record = {key: self.entry[key] for key in ("id", "time") if key in self.entry}
        entry = self.content if self.kind == "odd entry" else {**shell, "changes": [change]}
        body = dump({"object": WABA, "entry": [entry]})
        return body if received_at is None else dump({"received_at": received_at, "body": body})


def items(entries: list[object]) -> Iterator[Item]:
    """Every item of a body's `entry`, in order."""
    for entry in entries:
        changes = entry.get("changes", []) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(changes, list):
            yield Item("odd entry", entry)
            continue
        for change in changes:
            yield from _items_of_change(entry, change)


def _items_of_change(entry: Record, change: object) -> Iterator[Item]:
    if not isinstance(change, dict):
        yield Item("odd change", change, entry)
        return
    name, value = change.get("field"), change.get("value")
    if not isinstance(name, str) or not name or not isinstance(value, dict):
        yield Item("odd change", change, entry)
        return
    empty = True
    for listed, kind in _LISTS.get(name, ()):
        found = value.get(listed)
        if found is None:
            continue
        if not isinstance(found, list):
            yield Item("odd change", change, entry)
            empty = False
            continue
        for position, content in enumerate(found):
            empty = False
            yield Item(kind, content, entry, name, value, listed, position, len(found))
    if empty:
        yield Item("change", value, entry, name, value)


def phone_number_id(item: Item) -> str | None:
    """The sender that the item is about; None where the value doesn't say."""
    metadata = item.value.get("metadata")
    found = word(metadata, "phone_number_id") if isinstance(metadata, dict) else None
    return sound(found) if found else None


def waba_id(item: Item) -> str | None:
    found = word(item.entry, "id")
    return sound(found) if found else None


def record(content: object) -> Record:
    """`content` if it is an object."""
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def load(text: str) -> object:
    """JSON by the standard library, which lets lone surrogates through, so that they cost one item and not the line.

    Raises ValueError with a sentence.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None


def dump(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text == sound(text) else json.dumps(value)


def sound(text: str) -> str:
    """Text that can be written: lone surrogates become question marks."""
    return text.encode(errors="replace").decode()


def _contact(content: object) -> Contact:
    try:
        return msgspec.convert(json.loads(sound(json.dumps(content, ensure_ascii=False))), Contact)
    except (ValueError, RecursionError):
        return Contact()
