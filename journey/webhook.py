"""Webhook bodies, one a line, into frames of statuses, replies and the rest.

What belongs here: reading. What a status does to a message, or a reply to a participant, is decided elsewhere.

Two ways through. The common line (all of it `messages`, all of it well formed) goes through one typed decode. Any other
line is walked item by item in `_walk`, where one bad item is set aside and its neighbours are kept. Polars is not used
to parse: one bad line aborts its whole batch, and a lone surrogate silently becomes U+0000.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import polars as pl

from journey import webhook_rows as rows
from journey import webhook_shapes as shapes
from journey import webhook_walk as walk
from journey.webhook_rows import Row, Where, typed_series
from journey.webhook_statuses import Statuses

_decode = msgspec.json.Decoder(shapes.Delivery).decode
_ABOUT_NUMBERS = frozenset(
    {
        "phone_number_quality_update",
        "phone_number_name_update",
        "business_capability_update",
        "account_update",
        "account_review_update",
        "account_alerts",
    }
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What some lines hold. Columns and types: the schemas of the same names in `webhook_shapes`.

    Every status and message is there as often as it came, in the order of the lines. `other` counts the changes that
    nothing here reads, by field. `bad` has what can't be read: `raw` is the line, or, where only one item of the line
    is bad, a delivery that holds just this item, so that it can be read again.
    """

    statuses: pl.DataFrame
    inbound: pl.DataFrame
    preferences: pl.DataFrame
    identities: pl.DataFrame
    templates: pl.DataFrame
    numbers: pl.DataFrame
    errors: pl.DataFrame
    other: pl.DataFrame
    bad: pl.DataFrame


def parse(lines: Iterable[tuple[int, bytes]]) -> Parsed:
    """Reads lines (number, raw bytes): bodies as Meta sends them, or `{"received_at": …, "body": "the raw text"}`.

    Never raises for what is in a line. Blank lines are passed over.
    """
    reader = _Reader()
    for number, raw in lines:
        reader.read(number, raw)
    return reader.parsed()


class _Reader:
    """The rows so far."""

    def __init__(self) -> None:
        self.statuses = Statuses()
        self.inbound: list[Row] = []
        self.preferences: list[Row] = []
        self.identities: list[Row] = []
        self.templates: list[Row] = []
        self.numbers: list[Row] = []
        self.errors: list[Row] = []
        self.bad: list[Row] = []
        self.other: dict[str, int] = {}
        self._last_received: tuple[object, int | None] = (None, None)

    def parsed(self) -> Parsed:
        return Parsed(
            statuses=self.statuses.frame(),
            inbound=_frame(shapes.INBOUND, self.inbound),
            preferences=_frame(shapes.PREFERENCES, self.preferences),
            identities=_frame(shapes.IDENTITIES, self.identities),
            templates=_frame(shapes.TEMPLATES, self.templates),
            numbers=_frame(shapes.NUMBERS, self.numbers),
            errors=_frame(shapes.ERRORS, self.errors),
            other=_frame(shapes.OTHER, list(self.other.items())),
            bad=_frame(shapes.BAD, self.bad),
        )

    def read(self, number: int, raw: bytes) -> None:
        raw = raw.strip().removeprefix(b"\xef\xbb\xbf")
        if not raw:
            return
        before = len(self.statuses), len(self.inbound), len(self.identities), len(self.errors)
        try:
            if self._quick(number, raw):
                return
        except (ValueError, OverflowError, RecursionError):
            pass  # something in the line is not as usual; the walk finds out what
        self.statuses.cut(before[0])
        for found, length in zip((self.inbound, self.identities, self.errors), before[1:], strict=True):
            del found[length:]
        self._walk(number, raw)

    # the common line

    def _quick(self, number: int, raw: bytes) -> bool:
        delivery = _decode(raw)
        received = self._received(delivery.received_at)
        if delivery.body is not None and delivery.entry is None:
            delivery = _decode(delivery.body)
        if delivery.object != shapes.WABA or delivery.entry is None:
            return False
        for entry in delivery.entry:
            for change in entry.changes:
                value = change.value
                if change.field != "messages" or not (value.statuses or value.messages):
                    return False
                where = (number, received, entry.id, value.metadata.phone_number_id if value.metadata else None)
                if value.statuses:
                    self.statuses.add(where, value.statuses)
                for position, message in enumerate(value.messages or ()):
                    self._message(where, message, value.contacts or [], position, len(value.messages or ()))
                for error in value.errors or ():
                    self.errors.append((*where, *rows.error([error])))
        return True

    def _message(
        self, where: Where, message: shapes.Message, contacts: list[shapes.Contact], position: int, messages: int
    ) -> None:
        contact = rows.match_contact(message, contacts, position, messages)
        if message.type == "system":
            self.identities.append(rows.identity(where, message, contact))
        else:
            self.inbound.append(rows.inbound(where, message, contact))

    def _received(self, value: object) -> int | None:
        if value != self._last_received[0]:
            self._last_received = (value, rows.instant(value))
        return self._last_received[1]

    # every other line

    def _walk(self, number: int, raw: bytes) -> None:
        try:
            line = walk.load(raw.decode())
            received_at = line.get("received_at") if isinstance(line, dict) else None
            received = self._received(received_at)
            delivery = _unwrapped(line)
            if not isinstance(delivery, dict):
                raise ValueError("not a JSON object")
            if delivery.get("object") != shapes.WABA:
                raise ValueError(f"`object` is {walk.dump(delivery.get('object'))[:60]}, not {shapes.WABA}")
            entries = delivery.get("entry")
            if not isinstance(entries, list):
                raise ValueError("`entry` is not a list")
        except UnicodeDecodeError as error:
            self._refuse(number, f"not UTF-8: {error.reason} at byte {error.start}", raw)
        except RecursionError:
            self._refuse(number, "nested too deeply", raw)
        except ValueError as error:
            self._refuse(number, str(error), raw)
        else:
            for item in walk.items(entries):
                self._take(number, received, item, received_at, raw)

    def _refuse(self, number: int, reason: str, raw: bytes) -> None:
        self.bad.append((number, walk.sound(reason), raw.decode(errors="replace")))

    def _take(self, number: int, received: int | None, item: walk.Item, received_at: object, line: bytes) -> None:
        """One item; if it can't be read it becomes a delivery of its own in `bad`."""
        try:
            msgspec.json.encode(item.content)  # a lone surrogate is no text, and can be written nowhere
            self._sort((number, received, walk.waba_id(item), walk.phone_number_id(item)), item)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            reason = "a lone surrogate is no text" if isinstance(error, UnicodeEncodeError) else str(error)
            try:
                self.bad.append((number, walk.sound(f"{item.kind}: {reason}"), item.raw(received_at)))
            except RecursionError:  # json reads a little deeper than it writes
                self._refuse(number, f"{item.kind}: nested too deeply", line)

    def _sort(self, where: Where, item: walk.Item) -> None:
        content, time = item.content, item.entry.get("time")
        match item.kind:
            case "status":
                self.statuses.add(where, [msgspec.convert(content, shapes.Status)])
            case "message":
                message = msgspec.convert(content, shapes.Message)
                self._message(where, message, item.contacts(), item.position, item.siblings)
            case "error":
                self.errors.append((*where, *rows.error([msgspec.convert(content, shapes.Error)])))
            case "preference":
                self.preferences.append(rows.preference(where, msgspec.convert(content, shapes.Preference)))
            case "user id update":
                self.identities.append(rows.user_id_update(where, walk.record(content)))
            case "change" if item.name in rows.ABOUT_TEMPLATES:
                self.templates.append(rows.template(where, item.name, item.value, time))
            case "change" if item.name in _ABOUT_NUMBERS:
                self.numbers.append(rows.number(where, item.name, item.value, time))
            case "change":
                name = walk.sound(item.name)
                self.other[name] = self.other.get(name, 0) + 1
            case "odd change":
                raise ValueError("it must name its field and hold an object with lists")
            case "odd entry":
                raise ValueError("it must be an object with a list of changes")


def _unwrapped(line: object) -> object:
    """The delivery in a line: the line itself, or what its envelope holds (as text, or as it is)."""
    if not isinstance(line, dict) or "body" not in line or "entry" in line:
        return line
    body = line["body"]
    return walk.load(body) if isinstance(body, str) else body


def _frame(schema: shapes.Schema, found: list[Row]) -> pl.DataFrame:
    """Rows as columns of the schema; times come in microseconds."""
    columns = list(zip(*found, strict=True)) if found else [()] * len(schema)
    return pl.DataFrame(
        [typed_series(name, dtype, one) for (name, dtype), one in zip(schema.items(), columns, strict=True)]
    )
