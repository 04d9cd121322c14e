"""Bodies in bulk: a frame of people and a filled template in, one Cloud API request body a person out, or a skip.

What belongs here: `render`, and `with_callback`, which adds the last key. What a template and its variables are is
`template` and `fill`; how values become text is `formats`, `dates` and `text`; how a body looks to a person is `shown`.

How it works: the body is built once with marks where something differs from person to person, and cut at them. Each
variable is one column, brought to its text, escaped, and laid between the constant parts. No person has a turn of
Python: 1M bodies with five variables take one to two seconds. Built as a nested column the body costs three times as
much, and one model a person 27 times.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from journey.dates import Zones
from journey.fill import MessageSpec, needs, spec_for
from journey.formats import written
from journey.shown import ShownButton, ShownMessage, show
from journey.template import PLACEHOLDER
from journey.text import by_distinct, json_escaped, percent_encoded, settled
from journey.variables import Variable
from journey.words import SkipReason

__all__ = [
    "BODY_LENGTH",
    "CALLBACK_LENGTH",
    "HEADER_LENGTH",
    "RENDERED",
    "URL_LENGTH",
    "MessageSpec",
    "ShownButton",
    "ShownMessage",
    "needs",
    "render",
    "show",
    "spec_for",
    "with_callback",
]

# Meta, message templates, "Components": what a filled template may have, in characters.
BODY_LENGTH = 1024
HEADER_LENGTH = 60
URL_LENGTH = 2000
CALLBACK_LENGTH = 512

OWN_COLUMNS = ("contact_id", "phone", "locale")  # what a `user` variable may name beside the contact's properties
RENDERED = {"body": pl.String, "skip_reason": pl.String, "skip_detail": pl.String}

_E164 = r"^\+[1-9][0-9]{6,14}$"
_WEB = r"^(?i:https?)://."
_CUT = re.compile(r"\\u0000(\w+)\\u0000")


def render(spec: MessageSpec, people: pl.DataFrame, *, default_timezone: str = "UTC") -> pl.DataFrame:
    """Makes each person's request body, without `biz_opaque_callback_data` (see `with_callback`).

    `people` has `phone` (String, E.164 with +), `timezone` (String, IANA, may be null or absent) and for each of
    `needs(spec)` a column `user.NAME` or `event.NAME` of any type; for `user` contact_id, phone and locale the column
    of that name serves too. `default_timezone` (IANA) is the zone of times written without one, and of people without
    one.

    Returns the rows in their order with every column but `user.…` and `event.…`, and the columns of RENDERED: `body`
    (JSON that ends in "}", null where skipped), `skip_reason` (SkipReason, null where there is a body), `skip_detail`
    (which variable, which address; null where there is a body). Of several reasons the first counts, in this order:

    1. invalid_phone: no phone, or not E.164
    2. missing_variable: a variable is null or blank and has no fallback; the detail names every such one
    3. missing_media: the header's image, video or document has no address, or what it has is no http(s) address
    4. too_long: the filled body has over 1,024 characters, the header's text over 60, a button's URL over 2,000

    Raises ValueError where a column is missing, or where a format or a time zone cannot be used.
    """
    zones = people["timezone"] if "timezone" in people.columns else None
    if "phone" not in people.columns:
        raise ValueError("the frame of people has no column phone")
    slots = {
        slot.mark: slot.fill(_values(slot.variable, people), spec.template.language, zones, default_timezone)
        for slot in _slots(spec)
    }
    work = pl.DataFrame({"phone": people["phone"]}).with_columns(
        *(column for slot in slots.values() for column in slot.columns)
    )
    phone = pl.col("phone").cast(pl.String)
    skips = [
        _Skip(SkipReason.invalid_phone, ~phone.str.contains(_E164).fill_null(False), _phone_detail(phone)),
        *_missing(slots),
        *_too_long(spec, slots),
    ]
    reason, detail = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for skip in reversed(skips):
        reason = pl.when(skip.when).then(pl.lit(skip.reason.value)).otherwise(reason)
        detail = pl.when(skip.when).then(skip.detail).otherwise(detail)
    work = work.with_columns(reason.alias("skip_reason"), detail.alias("skip_detail"))
    body = pl.when(pl.col("skip_reason").is_null()).then(_body(spec, slots))
    made = work.select(body.alias("body"), "skip_reason", "skip_detail")
    if made.select((pl.col("body").is_null() != pl.col("skip_reason").is_not_null()).any()).item():
        # One null part makes a whole body null: the message would be lost without a skip.
        raise AssertionError("a body is missing without a reason")
    kept = [name for name in people.columns if not name.startswith(("user.", "event.")) and name not in RENDERED]
    return people.select(kept).hstack(made.get_columns())


def with_callback(body: str, data: str) -> str:
    """The body with `biz_opaque_callback_data` as its last key; Meta gives it back in every status.

    Raises ValueError where `data` has more than 512 characters.
    """
    if len(data) > CALLBACK_LENGTH:
        raise ValueError(f"callback data has at most {CALLBACK_LENGTH} characters, and this has {len(data)}")
    return f'{body[:-1]},"biz_opaque_callback_data":{json.dumps(data, ensure_ascii=False)}}}'


@dataclass(frozen=True)
class _Skip:
    reason: SkipReason
    when: pl.Expr
    detail: pl.Expr


@dataclass
class _Slot:
    """One place of a body that a variable fills, and, once filled, its text as an expression (a column, a constant)."""

    mark: str
    what: str
    variable: Variable
    kind: Literal["text", "url", "media"] = "text"
    columns: list[pl.Series] = field(default_factory=list)
    text: pl.Expr = field(default_factory=lambda: pl.lit(None, pl.String))  # escaped; null where there is none
    length: pl.Expr = field(default_factory=lambda: pl.lit(0))
    longest: int = 0

    @property
    def words(self) -> str:
        """The slot in a skip's detail."""
        name = self.variable.name
        source = {"user": f"user property {name}", "event": f"event property {name}", "text": "constant text"}
        return f"{self.what} ({source[self.variable.source]})"

    def fill(self, values: pl.Series, language: str, zones: pl.Series | None, default_zone: str) -> "_Slot":
        variable = self.variable
        constant = variable.source == "text"
        dated = isinstance(variable.format, str)
        if constant and dated and zones is not None:  # a constant time may still be shown in each contact's zone
            constant, values = False, values.new_from_index(0, len(zones))
        in_zones = Zones(variable.timezone, zones, default_zone) if dated else Zones()
        filled = by_distinct(written(values, variable.format, language, in_zones), self._settle)
        self.longest = _most(filled["length"])
        if constant:
            self.text = pl.lit(filled["text"].item(), pl.String)
            self.length = pl.lit(filled["length"].item(), pl.UInt32)
        else:
            self.columns = [filled["text"].alias(self.mark), filled["length"].alias(f"{self.mark}_length")]
            self.text, self.length = pl.col(self.mark), pl.col(f"{self.mark}_length")
        return self

    def _settle(self, texts: pl.Series) -> pl.DataFrame:
        text = pl.col("text")
        frame = texts.alias("text").to_frame()
        frame = frame.select(settled(text, self.variable.case, self.variable.fallback).alias("text"))
        if self.kind == "media":
            frame = frame.select(text.str.strip_chars())
        if self.kind != "text":
            frame = percent_encoded(frame["text"]).to_frame()
        return frame.select(json_escaped(text), text.str.len_chars().alias("length"))


def _slots(spec: MessageSpec) -> Iterator[_Slot]:
    if spec.header is not None:
        kind: Literal["text", "media"] = "text" if spec.header_kind == "text" else "media"
        yield _Slot("header", f"header {spec.header_kind}", spec.header, kind)
    if spec.filename is not None:
        yield _Slot("filename", "the document's file name", spec.filename)
    for place, name in enumerate(spec.body_order()):
        yield _Slot(f"body{place}", f"variable {name}", spec.body[name])
    for index, variable in spec.buttons.items():
        yield _Slot(f"button{index}", f"the URL of button {spec.template.buttons[index].text}", variable, "url")


def _values(variable: Variable, people: pl.DataFrame) -> pl.Series:
    if variable.source == "text":
        return pl.Series([variable.name], dtype=pl.String)
    column = f"{variable.source}.{variable.name}"
    own = variable.source == "user" and variable.name in OWN_COLUMNS
    for name in (column, variable.name) if own else (column,):
        if name in people.columns:
            return people[name]
    raise ValueError(f"the frame of people has no column {column}")


def _request(spec: MessageSpec) -> dict[str, Any]:
    """The body as Meta wants it, with marks (a slot's name between NULs) where something differs."""

    def text(mark: str, name: str | None = None) -> dict[str, Any]:
        named = {"parameter_name": name} if name is not None and template.parameter_format == "NAMED" else {}
        return {"type": "text", **named, "text": f"\0{mark}\0"}

    template = spec.template
    components: list[dict[str, Any]] = []
    if spec.header is not None and spec.header_kind == "text":
        names = template.header.placeholders if template.header is not None else ()
        components.append({"type": "header", "parameters": [text("header", next(iter(names), None))]})
    elif spec.header is not None and spec.header_kind is not None:
        media = {"link": "\0header\0"} | ({"filename": "\0filename\0"} if spec.filename is not None else {})
        parameter = {"type": spec.header_kind, spec.header_kind: media}
        components.append({"type": "header", "parameters": [parameter]})
    if spec.body:
        parameters = [text(f"body{place}", name) for place, name in enumerate(spec.body_order())]
        components.append({"type": "body", "parameters": parameters})
    for index in spec.buttons:
        button = {"type": "button", "sub_type": "url", "index": str(index), "parameters": [text(f"button{index}")]}
        components.append(button)
    content: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "\0to\0",
        "type": "template",
        "template": content | ({"components": components} if components else {}),
    }


def _body(spec: MessageSpec, slots: dict[str, _Slot]) -> pl.Expr:
    skeleton = json.dumps(_request(spec), ensure_ascii=False, separators=(",", ":"))
    parts = _CUT.split(skeleton)  # constant, mark, constant, mark, ..., constant
    texts = {"to": pl.col("phone"), **{mark: slot.text for mark, slot in slots.items()}}
    return pl.concat_str([texts[part] if place % 2 else pl.lit(part) for place, part in enumerate(parts)])


def _phone_detail(phone: pl.Expr) -> pl.Expr:
    said = pl.concat_str(pl.lit("phone "), phone, pl.lit(" is not E.164 with +"))
    return said.fill_null("phone is missing")


def _missing(slots: dict[str, _Slot]) -> Iterator[_Skip]:
    texts = [slot for slot in slots.values() if slot.kind != "media"]
    if texts:
        yield _Skip(SkipReason.missing_variable, pl.any_horizontal(s.text.is_null() for s in texts), _empty(texts))
    for slot in slots.values():
        if slot.kind == "media":
            yield _Skip(SkipReason.missing_media, slot.text.is_null(), _empty([slot]))
            words = pl.concat_str(pl.lit(f"{slot.words} is not an http(s) address: "), slot.text)
            yield _Skip(SkipReason.missing_media, ~slot.text.str.contains(_WEB), words)


def _empty(slots: Sequence[_Slot]) -> pl.Expr:
    said = []
    for slot in slots:
        empty = "empty" if slot.variable.format is None else "empty or cannot be read by its format"
        sentence = pl.lit(f"{slot.words} is {empty} and has no fallback")
        said.append(pl.when(slot.text.is_null()).then(sentence))
    return pl.concat_str(said, separator="; ", ignore_nulls=True)


def _too_long(spec: MessageSpec, slots: dict[str, _Slot]) -> Iterator[_Skip]:
    template = spec.template
    by_name = {name: slots[f"body{place}"] for place, name in enumerate(spec.body_order())}
    yield from _over("the body", template.body, BODY_LENGTH, by_name)
    if spec.header_kind == "text" and template.header is not None:
        by_name = dict.fromkeys(template.header.placeholders, slots["header"])
        yield from _over("the header", template.header.text or "", HEADER_LENGTH, by_name)
    for index in spec.buttons:
        button = template.buttons[index]
        by_name = dict.fromkeys(button.placeholders, slots[f"button{index}"])
        yield from _over(f"the URL of button {button.text}", button.url or "", URL_LENGTH, by_name)


def _over(what: str, text: str, limit: int, by_name: dict[str, _Slot]) -> Iterator[_Skip]:
    """A skip where a filled text passes its limit; nothing where the longest values could not."""
    used = [by_name[name] for name in PLACEHOLDER.findall(text)]
    constant = len(PLACEHOLDER.sub("", text))
    if constant + sum(slot.longest for slot in used) <= limit:
        return
    length = pl.lit(constant) + pl.sum_horizontal(slot.length for slot in used)
    words = pl.concat_str(pl.lit(f"{what} would have "), length, pl.lit(f" characters; at most {limit} are allowed"))
    yield _Skip(SkipReason.too_long, length > limit, words)


def _most(lengths: pl.Series) -> int:
    most = lengths.max()
    return most if isinstance(most, int) else 0
